//! Putting an account into a UserGroup needs `assign` on that group.

use serde_json::{Value, json};

use super::{Guarded, User, account, refused};

fn groups(names: impl IntoIterator<Item = impl Into<String>>) -> Value {
    json!({"userGroups": names.into_iter().map(Into::into).collect::<Vec<String>>()})
}

/// A user of this namespace's own, since groups belong to the whole cluster.
async fn somebody(guarded: &Guarded) -> User {
    guarded.user(&format!("grace-{}", guarded.namespace.name)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_added_by_those_who_may_assign_it_alone() {
    let Some(guarded) = Guarded::new().await else { return };
    let user = somebody(&guarded).await;
    guarded.grant_everywhere(&user, "usergroups", "assign", &["ok", "fine"]).await;
    let refused = |outcome, added: &str| {
        let words =
            ["spec.userGroups: you need the verb assign", &format!("that you add ({added}): ask the platform team")];
        refused(outcome, &words);
    };
    refused(user.create(&account("app", groups(["ok", "secret"]))).await, "ok, secret");
    refused(user.create(&account("app", groups(["other", "fine", "secret"]))).await, "other, fine, secret");
    refused(user.apply(&account("app", groups(["secret"]))).await, "secret");
    user.create(&account("app", groups(["ok"]))).await.unwrap();

    refused(user.merge("app", json!({"spec": groups(["ok", "secret"])})).await, "secret");
    refused(user.merge("app", json!({"spec": groups(["secret"])})).await, "secret");
    refused(user.apply(&account("app", groups(["secret"]))).await, "secret");
    refused(user.replace("app", |object| object["spec"] = groups(["fine", "secret"])).await, "fine, secret");
    let add = json!([{"op": "add", "path": "/spec/userGroups/-", "value": "secret"}]);
    refused(user.json_patch("app", add).await, "secret");
    let said = user.kubectl(&["replace", "-f", "-"], &account("app", groups(["secret"]))).unwrap_err();
    assert!(said.contains("Forbidden") && said.contains("that you add (secret)"), "{said}");
    user.merge("app", json!({"spec": groups(["fine", "ok"])})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_there_already_stays_and_comes_back_only_with_the_right() {
    let Some(guarded) = Guarded::new().await else { return };
    let user = somebody(&guarded).await;
    user.create(&account("app", json!({}))).await.unwrap();
    guarded.admin().await.merge("app", json!({"spec": groups(["secret"])})).await.unwrap();
    user.merge("app", json!({"spec": {"description": "edited"}})).await.unwrap();
    user.replace("app", |object| object["spec"]["enabled"] = false.into()).await.unwrap();
    user.merge("app", json!({"spec": {"userGroups": null}})).await.unwrap();
    refused(user.merge("app", json!({"spec": groups(["secret"])})).await, &["that you add (secret)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dozen_groups_are_added_at_once_each_with_its_own_right() {
    let Some(guarded) = Guarded::new().await else { return };
    let user = somebody(&guarded).await;
    let names: Vec<String> = (1..=25).map(|number| format!("group-{number}")).collect();
    guarded
        .grant_everywhere(&user, "usergroups", "assign", &names.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let most = &names[..24];
    user.create(&account("app", groups(most))).await.unwrap();
    let words = ["spec.userGroups: add at most 24 groups at a time"];
    refused(user.create(&account("other", groups(&names))).await, &words);
    user.merge("app", json!({"spec": groups(&names)})).await.unwrap();

    // Whichever of them may not be assigned, it is found.
    let strange: Vec<String> = (1..=24).map(|number| format!("strange-{number}")).collect();
    for number in [0, 1, 12, 22, 23] {
        let mut wanted = most.to_vec();
        wanted[number].clone_from(&strange[number]);
        refused(user.dry_run(&account("third", groups(&wanted))).await, &[&wanted.join(", ")]);
    }
    refused(user.dry_run(&account("third", groups(&strange))).await, &[&strange.join(", ")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_assign_all_groups_adds_as_many_as_an_account_can_have() {
    let Some(guarded) = Guarded::new().await else { return };
    let user = somebody(&guarded).await;
    guarded.grant_everywhere(&user, "usergroups", "assign", &[]).await;
    user.create(&account("app", groups((1..=64).map(|number| format!("group-{number}"))))).await.unwrap();
}
