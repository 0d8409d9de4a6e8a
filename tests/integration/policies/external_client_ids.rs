//! No account claims the client ID of another namespace's Pods.

use serde_json::json;

use super::{Guarded, account, external, refused};

#[tokio::test(flavor = "multi_thread")]
async fn an_external_account_claims_no_service_account_of_another_namespace() {
    let Some(guarded) = Guarded::new().await else { return };
    let own = &guarded.namespace.name;
    let user = guarded.user(&format!("frank-{own}")).await;
    for client_id in [
        format!("system:serviceaccount:{own}:robot"),
        "repo:acme/shop:ref:refs/heads/main".into(),
        "system:serviceaccounts".into(),
        "a system:serviceaccount:other:robot".into(),
    ] {
        user.dry_run(&account("app", external(&client_id))).await.unwrap();
    }
    let others = [
        "system:serviceaccount:other:robot".to_owned(),
        format!("system:serviceaccount:{own}2:robot"),
        format!("system:serviceaccount:{own}"),
        "system:serviceaccount::robot".to_owned(),
        "system:serviceaccount:".to_owned(),
    ];
    guarded.grant(&user, "keyrota.dev", "serviceaccounts", "manageall").await;
    for client_id in &others {
        let words = [
            &format!("spec.authentication.externalClientId: {client_id} is of another namespace"),
            "create the account there",
        ];
        refused(user.create(&account("app", external(client_id))).await, &words);
        refused(user.apply(&account("app", external(client_id))).await, &words);
    }
    user.create(&account("internal", json!({}))).await.unwrap();

    guarded.grant_everywhere(&user, "serviceaccounts", "manageall", &[]).await;
    for client_id in &others {
        user.dry_run(&account("app", external(client_id))).await.unwrap();
    }
}
