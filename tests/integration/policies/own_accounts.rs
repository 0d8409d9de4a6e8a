//! An account is changed and deleted by its creator or a holder of `manageall`; and what the cluster does by itself passes.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use keyrota::clock::SystemClock;
use kube::api::{DeleteParams, PostParams, PropagationPolicy};
use kube::{Api, Resource};
use serde_json::{Value, json};

use super::{Guarded, PREDATING, SOON, User, account, created_by, refused};
use crate::common::eventually;
use crate::common::operator::{Operator, condition};

const REGENERATE: &str = "keyrota.dev/regenerate";

/// Every way to change an account, one after the other.
async fn changes(user: &User, name: &str) -> Vec<Result<Value, String>> {
    let mut applied = account(name, json!({"description": format!("applied by {}", user.name)}));
    applied["metadata"]["labels"] = json!({"by": user.name});
    vec![
        user.merge(name, json!({"spec": {"enabled": false}})).await,
        user.merge(name, json!({"metadata": {"annotations": {REGENERATE: "client-secret@2026-01-01T00:00:00Z"}}}))
            .await,
        user.merge(name, json!({"metadata": {"finalizers": ["example.com/mine"]}})).await,
        user.merge(name, json!({"metadata": {"finalizers": null}})).await,
        user.json_patch(name, json!([{"op": "replace", "path": "/spec/enabled", "value": true}])).await,
        user.replace(name, |object| object["spec"]["description"] = user.name.clone().into()).await,
        user.apply(&applied).await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_changed_and_deleted_by_its_creator_or_a_holder_of_manageall_alone() {
    let Some(guarded) = Guarded::new().await else { return };
    let (alice, bob, carol) = (guarded.user("alice").await, guarded.user("bob").await, guarded.user("carol").await);
    guarded.grant(&carol, "keyrota.dev", "serviceaccounts", "manageall").await;
    alice.create(&account("app", json!({}))).await.unwrap();
    let words = ["is alice: you may change and delete only the accounts that you created", "the verb manageall"];
    for outcome in changes(&bob, "app").await {
        refused(outcome, &words);
    }
    for propagation in ["Background", "Foreground", "Orphan"] {
        refused(bob.delete("app", propagation).await, &words);
    }
    let said = bob.kubectl(&["delete", "krsa", "app"], &json!({})).unwrap_err();
    assert!(said.contains("Forbidden") && said.contains(words[0]), "{said}");
    for user in [&alice, &carol, &guarded.admin().await] {
        for outcome in changes(user, "app").await {
            assert_eq!(created_by(&outcome.unwrap()), "alice", "{}", user.name);
        }
    }
    alice.delete("app", "Background").await.unwrap();
    alice.create(&account("app", json!({}))).await.unwrap();
    carol.delete("app", "Background").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn manageall_may_be_given_for_a_single_account() {
    let Some(guarded) = Guarded::new().await else { return };
    let (alice, dave) = (guarded.user("alice").await, guarded.user(&format!("dave-{}", guarded.namespace.name)).await);
    for name in ["shared", "private"] {
        alice.create(&account(name, json!({}))).await.unwrap();
    }
    guarded.grant_everywhere(&dave, "serviceaccounts", "manageall", &["shared"]).await;
    dave.merge("shared", json!({"spec": {"enabled": false}})).await.unwrap();
    refused(dave.merge("private", json!({"spec": {"enabled": false}})).await, &["is alice"]);
    dave.delete("shared", "Background").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_all_accounts_deletes_none_of_somebody_elses() {
    let Some(guarded) = Guarded::new().await else { return };
    let (alice, bob) = (guarded.user("alice").await, guarded.user("bob").await);
    alice.create(&account("app", json!({}))).await.unwrap();
    refused(bob.delete_all().await, &["is alice"]);
    alice.get("app").await.unwrap();
    alice.delete_all().await.unwrap();
    refused(alice.get("app").await, &["not found"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_acts_as_another_may_do_what_the_other_may() {
    let Some(guarded) = Guarded::new().await else { return };
    let acting = async |name: &str| {
        // In two groups: the administrator, who manages all, acting as this user, who does not.
        let client = guarded.control_plane.client_for(name, &["people", "others"]).await.unwrap();
        User::with(&guarded, name, client)
    };
    guarded.user("alice").await.create(&account("app", json!({}))).await.unwrap();
    refused(acting("bob").await.merge("app", json!({"spec": {"enabled": false}})).await, &["is alice"]);
    acting("alice").await.merge("app", json!({"spec": {"enabled": false}})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_older_than_the_policies_is_for_those_who_manage_all_and_they_may_give_it_a_creator() {
    let Some(guarded) = Guarded::new().await else { return };
    let ivan = guarded.user("ivan").await;
    guarded.grant_everywhere(&ivan, "serviceaccounts", "manageall", &[PREDATING]).await;
    let (alice, ivan) = (guarded.user("alice").await.in_namespace(PREDATING), ivan.in_namespace(PREDATING));
    assert_eq!(created_by(&alice.get(PREDATING).await.unwrap()), "");
    refused(alice.merge(PREDATING, json!({"spec": {"enabled": false}})).await, &["is missing", "manageall"]);
    let adopted = json!({"metadata": {"annotations": {"keyrota.dev/created-by": "alice"}}});
    refused(alice.merge(PREDATING, adopted.clone()).await, &["cannot be changed"]);
    let touched = ivan.merge(PREDATING, json!({"spec": {"description": "touched"}})).await.unwrap();
    assert_eq!(touched["metadata"]["annotations"], json!(null), "an edit makes nobody the creator");
    assert_eq!(created_by(&ivan.merge(PREDATING, adopted).await.unwrap()), "alice");
    alice.merge(PREDATING, json!({"spec": {"enabled": false}})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_with_accounts_goes_whoever_deletes_it() {
    let Some(guarded) = Guarded::new().await else { return };
    guarded.user("alice").await.create(&account("app", json!({}))).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(guarded.control_plane.client().unwrap());
    namespaces.delete(&guarded.namespace.name, &DeleteParams::default()).await.unwrap();
    eventually("the namespace is gone", SOON, async || {
        namespaces.get_opt(&guarded.namespace.name).await.unwrap().is_none().then_some(())
    })
    .await;
}

/// An account of alice's that belongs to a ConfigMap of the same name.
async fn owned(guarded: &Guarded, name: &str) -> Api<ConfigMap> {
    let maps: Api<ConfigMap> = Api::namespaced(guarded.control_plane.client().unwrap(), &guarded.namespace.name);
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    let map = maps.create(&PostParams::default(), &map).await.unwrap();
    let mut object = account(name, json!({}));
    object["metadata"]["ownerReferences"] = json!([map.owner_ref(&()).unwrap()]);
    guarded.user("alice").await.create(&object).await.unwrap();
    maps
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_goes_with_its_owner_and_stays_when_it_is_orphaned() {
    let Some(guarded) = Guarded::new().await else { return };
    let alice = guarded.user("alice").await;
    let maps = owned(&guarded, "goes").await;
    maps.delete("goes", &DeleteParams::background()).await.unwrap();
    eventually("the account is gone", SOON, async || alice.get("goes").await.err()).await;

    let maps = owned(&guarded, "stays").await;
    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    maps.delete("stays", &orphan).await.unwrap();
    let stored = eventually("the account has no owner", SOON, async || {
        let stored = alice.get("stays").await.unwrap();
        stored["metadata"]["ownerReferences"].is_null().then_some(stored)
    })
    .await;
    assert_eq!(created_by(&stored), "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_deleted_in_the_foreground_goes() {
    let Some(guarded) = Guarded::new().await else { return };
    let alice = guarded.user("alice").await;
    alice.create(&account("app", json!({}))).await.unwrap();
    alice.delete("app", "Foreground").await.unwrap();
    eventually("the account is gone", SOON, async || alice.get("app").await.err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_controller_works_without_any_of_these_rights() {
    let Some(guarded) = Guarded::new().await else { return };
    let mut operator = Operator::prepared_on(guarded.control_plane, Arc::new(SystemClock)).await;
    operator.start_controller();
    let account = operator.ready("app", json!({})).await;
    assert_eq!(account.status.unwrap().created_by.as_deref(), Some("keyrota-admin"));
    let first = operator.credential("app-credentials").await;
    operator.edit("app", json!({"spec": {"regenerate": {"clientSecret": 1}}})).await;
    let second = operator.next_credential("app-credentials", &first).await;
    assert_eq!(first.0, second.0);
    operator.edit("app", json!({"spec": {"enabled": false}})).await;
    operator.until("app", "Disabled", |status| condition(status, "Ready").1 == "Disabled").await;
    operator.accounts().delete("app", &DeleteParams::default()).await.unwrap();
    eventually("the tombstone is there", Duration::from_secs(30), async || operator.tombstones().await.pop()).await;
}
