//! Who created an account is written into it, and stays there.

use serde_json::{Value, json};

use super::{Guarded, account, created_by, refused};
use crate::common::eventually;

const KEY: &str = "keyrota.dev/created-by";
const POINTER: &str = "/metadata/annotations/keyrota.dev~1created-by";

fn claiming(name: &str, creator: &str) -> Value {
    let mut object = account(name, json!({}));
    object["metadata"]["annotations"] = json!({KEY: creator});
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_creates_an_account_is_written_into_it_however_it_is_created() {
    let Some(guarded) = Guarded::new().await else { return };
    let alice = guarded.user("alice").await;
    let mut annotated = account("annotated", json!({}));
    annotated["metadata"]["annotations"] = json!({"team": "payments"});
    let stored = alice.create(&annotated).await.unwrap();
    assert_eq!(stored["metadata"]["annotations"], json!({"team": "payments", KEY: "alice"}));

    assert_eq!(created_by(&alice.create(&account("bare", json!({}))).await.unwrap()), "alice");
    assert_eq!(created_by(&alice.create(&claiming("empty", "")).await.unwrap()), "alice");
    assert_eq!(created_by(&alice.create(&claiming("own", "alice")).await.unwrap()), "alice");
    assert_eq!(created_by(&alice.apply(&account("applied", json!({}))).await.unwrap()), "alice");
    let mut generated = account("", json!({}));
    generated["metadata"] = json!({"generateName": "generated-"});
    assert_eq!(created_by(&alice.create(&generated).await.unwrap()), "alice");

    alice.kubectl(&["apply", "-f", "-"], &account("by-kubectl", json!({}))).unwrap();
    assert_eq!(created_by(&alice.get("by-kubectl").await.unwrap()), "alice");
    assert_eq!(
        created_by(&guarded.admin().await.create(&account("by-admin", json!({}))).await.unwrap()),
        "keyrota-admin"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_acts_as_another_creates_as_the_other() {
    let Some(guarded) = Guarded::new().await else { return };
    // In two groups: the administrator, acting as this user.
    let client = guarded.control_plane.client_for("erin", &["people", "others"]).await.unwrap();
    let erin = super::User::with(&guarded, "erin", client);
    assert_eq!(created_by(&erin.create(&account("app", json!({}))).await.unwrap()), "erin");
    refused(erin.create(&claiming("forged", "keyrota-admin")).await, &["must be your own user name, erin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_names_another_creator_but_who_manages_all_accounts() {
    let Some(guarded) = Guarded::new().await else { return };
    let (bob, carol) = (guarded.user("bob").await, guarded.user("carol").await);
    let words = ["metadata.annotations[keyrota.dev/created-by] must be your own user name, bob", "leave it out"];
    refused(bob.create(&claiming("app", "alice")).await, &words);
    refused(bob.apply(&claiming("app", "alice")).await, &words);
    let said = bob.kubectl(&["create", "-f", "-"], &claiming("app", "alice")).unwrap_err();
    assert!(said.contains("Forbidden") && said.contains(words[0]), "{said}");

    guarded.grant(&carol, "keyrota.dev", "serviceaccounts", "manageall").await;
    assert_eq!(created_by(&carol.create(&claiming("app", "alice")).await.unwrap()), "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_without_the_annotation_does_not_lose_the_creator() {
    let Some(guarded) = Guarded::new().await else { return };
    let alice = guarded.user("alice").await;
    alice.create(&account("app", json!({}))).await.unwrap();
    let without = |object: &mut Value| {
        object["metadata"].as_object_mut().unwrap().remove("annotations");
        object["spec"]["description"] = "replaced".into();
    };
    let stored = alice.replace("app", without).await.unwrap();
    assert_eq!((created_by(&stored), &stored["spec"]["description"]), ("alice", &json!("replaced")));
    for patch in [json!({"metadata": {"annotations": {KEY: null}}}), json!({"metadata": {"annotations": null}})] {
        assert_eq!(created_by(&alice.merge("app", patch).await.unwrap()), "alice");
    }
    for patch in [json!([{"op": "remove", "path": POINTER}]), json!([{"op": "replace", "path": POINTER, "value": ""}])]
    {
        assert_eq!(created_by(&alice.json_patch("app", patch).await.unwrap()), "alice");
    }
    // Applied with it, then without: what a manager no longer names is removed, and put back.
    alice.apply(&claiming("app", "alice")).await.unwrap();
    assert_eq!(created_by(&alice.apply(&account("app", json!({}))).await.unwrap()), "alice");
    alice.kubectl(&["replace", "-f", "-"], &account("app", json!({}))).unwrap();
    alice.kubectl(&["annotate", "serviceaccounts.keyrota.dev", "app", &format!("{KEY}-")], &json!({})).unwrap();
    assert_eq!(created_by(&alice.get("app").await.unwrap()), "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_the_creator_not_even_who_manages_all_accounts() {
    let Some(guarded) = Guarded::new().await else { return };
    let (alice, carol) = (guarded.user("alice").await, guarded.user("carol").await);
    guarded.grant(&carol, "keyrota.dev", "serviceaccounts", "manageall").await;
    alice.create(&account("app", json!({}))).await.unwrap();
    let words = ["metadata.annotations[keyrota.dev/created-by] cannot be changed", "leave it out"];
    for user in [&alice, &carol] {
        refused(user.merge("app", json!({"metadata": {"annotations": {KEY: "carol"}}})).await, &words);
        refused(user.json_patch("app", json!([{"op": "replace", "path": POINTER, "value": "carol"}])).await, &words);
        refused(user.replace("app", |object| object["metadata"]["annotations"][KEY] = "carol".into()).await, &words);
        refused(user.apply(&claiming("app", "carol")).await, &words);
        // In two steps: the first one does not take it away.
        user.merge("app", json!({"metadata": {"annotations": {KEY: null}}})).await.unwrap();
        refused(user.merge("app", json!({"metadata": {"annotations": {KEY: "carol"}}})).await, &words);
    }
    assert_eq!(created_by(&alice.get("app").await.unwrap()), "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_own_service_accounts_are_not_touched() {
    let Some(guarded) = Guarded::new().await else { return };
    let admin = guarded.control_plane.client().unwrap();
    let accounts: kube::Api<k8s_openapi::api::core::v1::ServiceAccount> =
        kube::Api::namespaced(admin, &guarded.namespace.name);
    let default = eventually("the default one", super::SOON, async || accounts.get_opt("default").await.unwrap()).await;
    assert_eq!(default.metadata.annotations, None);
}
