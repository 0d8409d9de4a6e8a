//! A cluster that cannot mutate by policy (Kubernetes before 1.36): nobody is written down as the creator, so only those
//! who write themselves down have accounts of their own.

use serde_json::json;

use super::{Guarded, account, created_by, prepare, refused};
use crate::common::{control_plane_of_ones_own, namespace};

#[tokio::test(flavor = "multi_thread")]
async fn without_mutating_policies_people_may_still_not_name_others_as_the_creator() {
    let control_plane = control_plane_of_ones_own();
    let Some(()) = prepare(control_plane, false).await else { return };
    let guarded = Guarded { control_plane, namespace: namespace(control_plane).await };
    let (alice, bob) = (guarded.user("alice").await, guarded.user("bob").await);
    let named = |name: &str, creator: &str| {
        let mut object = account(name, json!({}));
        object["metadata"]["annotations"] = json!({"keyrota.dev/created-by": creator});
        object
    };
    refused(bob.create(&named("app", "alice")).await, &["must be your own user name, bob"]);

    // Nobody's: whoever may write accounts of the namespace.
    assert_eq!(created_by(&alice.create(&account("common", json!({}))).await.unwrap()), "");
    bob.merge("common", json!({"spec": {"enabled": false}})).await.unwrap();
    let claim = json!({"metadata": {"annotations": {"keyrota.dev/created-by": "bob"}}});
    refused(bob.merge("common", claim.clone()).await, &["cannot be changed"]);
    bob.delete("common", "Background").await.unwrap();

    // Somebody's: as on every cluster, but that the annotation is not put back by itself.
    alice.create(&named("own", "alice")).await.unwrap();
    refused(bob.merge("own", json!({"spec": {"enabled": false}})).await, &["is alice: you may change"]);
    refused(bob.delete("own", "Background").await, &["is alice: you may change"]);
    refused(alice.merge("own", claim).await, &["cannot be changed"]);
    let without = json!({"metadata": {"annotations": {"keyrota.dev/created-by": null}}});
    refused(alice.merge("own", without).await, &["cannot be changed: put the old value back"]);
    alice.merge("own", json!({"spec": {"enabled": false}})).await.unwrap();
    alice.delete("own", "Background").await.unwrap();
}
