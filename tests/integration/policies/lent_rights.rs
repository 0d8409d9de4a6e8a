//! What the controller does for an account, its writer must be allowed to do.

use rstest::rstest;
use serde_json::{Value, json};

use super::{Guarded, User, account, refused};

async fn somebody(guarded: &Guarded) -> User {
    guarded.user(&format!("heidi-{}", guarded.namespace.name)).await
}

fn restarting(entries: Value) -> Value {
    json!({"rolloutRestart": entries})
}

#[rstest]
#[case("Deployment", "deployments")]
#[case("StatefulSet", "statefulsets")]
#[case("DaemonSet", "daemonsets")]
#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_restarted_for_those_who_may_patch_its_kind(#[case] kind: &str, #[case] resource: &str) {
    let Some(guarded) = Guarded::new().await else { return };
    let user = somebody(&guarded).await;
    let words =
        [&format!("spec.rolloutRestart: a {kind} is restarted"), &*format!("the verb patch on {resource}.apps")];
    let named = restarting(json!([{"kind": kind, "name": "app"}]));
    let selected = restarting(json!([{"kind": kind, "selector": {"matchLabels": {"app": "app"}}}]));
    user.create(&account("app", json!({}))).await.unwrap();
    // To read it, or to patch the others, is not enough.
    guarded.grant(&user, "apps", resource, "get").await;
    for other in ["deployments", "statefulsets", "daemonsets"].iter().filter(|other| **other != resource) {
        guarded.grant(&user, "apps", other, "patch").await;
    }
    for spec in [&named, &selected] {
        refused(user.create(&account("other", spec.clone())).await, &words);
        refused(user.merge("app", json!({"spec": spec})).await, &words);
        refused(user.apply(&account("app", spec.clone())).await, &words);
        refused(user.replace("app", |object| object["spec"] = spec.clone()).await, &words);
    }
    guarded.grant(&user, "apps", resource, "patch").await;
    user.create(&account("other", named.clone())).await.unwrap();
    user.merge("app", json!({"spec": selected})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_is_there_already_stays_and_another_one_needs_the_right() {
    let Some(guarded) = Guarded::new().await else { return };
    let user = somebody(&guarded).await;
    user.create(&account("app", json!({}))).await.unwrap();
    let entry = |name: &str| json!({"kind": "Deployment", "name": name});
    guarded.admin().await.merge("app", json!({"spec": restarting(json!([entry("app")]))})).await.unwrap();
    user.merge("app", json!({"spec": {"description": "edited"}})).await.unwrap();
    let words = ["spec.rolloutRestart: a Deployment"];
    refused(user.merge("app", json!({"spec": restarting(json!([entry("app"), entry("other")]))})).await, &words);
    refused(user.merge("app", json!({"spec": restarting(json!([entry("other")]))})).await, &words);
    let rename = json!([{"op": "replace", "path": "/spec/rolloutRestart/0/name", "value": "other"}]);
    refused(user.json_patch("app", rename).await, &words);
    user.merge("app", json!({"spec": {"rolloutRestart": null}})).await.unwrap();
    refused(user.merge("app", json!({"spec": restarting(json!([entry("app")]))})).await, &words);
}

fn shaped(part: &str, entries: Value) -> Value {
    json!({"clientSecret": {"template": {part: entries}}})
}

#[rstest]
#[case("labels")]
#[case("annotations")]
#[case("extraData")]
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shaped_for_those_who_may_create_secrets(#[case] part: &str) {
    let Some(guarded) = Guarded::new().await else { return };
    let (user, admin) = (somebody(&guarded).await, guarded.admin().await);
    let words = [&format!("spec.clientSecret.template.{part} is written into a Secret"), "the verb create on secrets"];
    user.create(&account("app", json!({}))).await.unwrap();
    guarded.grant(&user, "", "secrets", "get").await;
    for entries in [json!({"a": "b"}), json!({"a": ""})] {
        let spec = shaped(part, entries);
        refused(user.create(&account("other", spec.clone())).await, &words);
        refused(user.merge("app", json!({"spec": spec})).await, &words);
        refused(user.apply(&account("app", spec.clone())).await, &words);
        refused(user.replace("app", |object| object["spec"] = spec).await, &words);
    }
    // What is there already stays; another value, and an entry beside it, are additions.
    admin.merge("app", json!({"spec": shaped(part, json!({"a": "b", "c": ""}))})).await.unwrap();
    user.merge("app", json!({"spec": {"description": "edited"}})).await.unwrap();
    refused(user.merge("app", json!({"spec": shaped(part, json!({"a": "other"}))})).await, &words);
    refused(user.merge("app", json!({"spec": shaped(part, json!({"d": ""}))})).await, &words);
    user.merge("app", json!({"spec": shaped(part, json!({"a": null}))})).await.unwrap();
    refused(user.merge("app", json!({"spec": shaped(part, json!({"a": "b"}))})).await, &words);
    user.merge("app", json!({"spec": {"clientSecret": {"template": null}}})).await.unwrap();

    guarded.grant(&user, "", "secrets", "create").await;
    user.merge("app", json!({"spec": shaped(part, json!({"a": "b"}))})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_for_the_published_keys_need_no_right() {
    let Some(guarded) = Guarded::new().await else { return };
    let user = somebody(&guarded).await;
    let keys = shaped("keys", json!({"client-id": "CLIENT_ID"}));
    user.create(&account("app", keys)).await.unwrap();
    user.merge("app", json!({"spec": shaped("keys", json!({"client-id": "ID"}))})).await.unwrap();
}
