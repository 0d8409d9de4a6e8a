//! The life of an account's credential, against the real API server.

use std::time::Duration;

use k8s_openapi::ByteString;
use keyrota::api::service_account::{AccountStatus, ClientSecretStatus, Reason};
use keyrota::api::{ConditionStatus, ServiceAccount, TYPE_CREDENTIALS};
use keyrota::domain::mint;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::common::eventually;
use super::common::operator::{Operator, SOON, condition, kubectl, text};
use super::common::receiver::TestIssuer;

fn ready_reason(account: &ServiceAccount) -> String {
    condition(&account.status.clone().unwrap_or_default(), "Ready").1
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_account_becomes_a_credential_in_a_secret_of_its_own() {
    let operator = Operator::start().await;
    let account = operator.ready("exporter", json!({"description": "Nightly export"})).await;
    let secret = operator.secrets().get("exporter-credentials").await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some(TYPE_CREDENTIALS));
    assert_eq!(secret.owner_references()[0].uid, account.uid().unwrap());
    assert!(mint::well_formed(&text(&secret, "client-secret")));
    assert_eq!(
        text(&secret, "token-url"),
        "https://localhost:31443/avxapi/acctmgmt-get-service-token?gwsource=external"
    );
    assert!(text(&secret, "ca.crt").starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!((text(&secret, "type"), text(&secret, "provider")), ("keyrota".into(), "keyrota".into()));

    let status = account.status.unwrap();
    assert_eq!(status.client_id, Some(text(&secret, "client-id")));
    assert_eq!(status.client_secret_expiry_time.unwrap().to_string(), text(&secret, "expires-at"));
    assert_eq!(
        (status.account_status, status.client_secret_status),
        (Some(AccountStatus::Active), Some(ClientSecretStatus::Active))
    );
    assert_eq!((status.credentials.len(), status.credentials[0].reason), (1, Reason::Created));
    assert_eq!(status.binding.unwrap().name, "exporter-credentials");
    assert_eq!(status.created_by.as_deref(), Some("unknown"));
    kubectl(
        operator.control_plane,
        &["wait", "--for=condition=Ready", "--timeout=5s", "-n", &operator.tenant.name, "krsa/exporter"],
        "",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_account_mints_nothing_and_gets_the_same_credential_back_when_enabled() {
    let operator = Operator::start().await;
    let account = operator.ready("sleeper", json!({"enabled": false})).await;
    assert_eq!(ready_reason(&account), "Disabled");
    assert!(operator.secrets().get_opt("sleeper-credentials").await.unwrap().is_none());
    operator.edit("sleeper", json!({"spec": {"enabled": true}})).await;
    operator.until("sleeper", "published", |status| condition(status, "Ready").1 == "Published").await;
    let before = operator.credential("sleeper-credentials").await;

    operator.edit("sleeper", json!({"spec": {"enabled": false, "regenerate": {"clientSecret": 1}}})).await;
    let disabled = operator.until("sleeper", "disabled", |status| condition(status, "Ready").1 == "Disabled").await;
    assert_eq!(disabled.status.unwrap().client_secret_status, Some(ClientSecretStatus::Inactive));
    assert_eq!(operator.credential("sleeper-credentials").await, before);
    operator.edit("sleeper", json!({"spec": {"enabled": true, "regenerate": {"clientSecret": 0}}})).await;
    operator.until("sleeper", "published", |status| condition(status, "Ready").1 == "Published").await;
    assert_eq!(operator.credential("sleeper-credentials").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_secret_is_repaired_under_the_same_client_id() {
    let operator = Operator::start().await;
    let account = operator.ready("exporter", json!({})).await;
    let before = operator.credential("exporter-credentials").await;
    operator.secrets().delete("exporter-credentials", &DeleteParams::default()).await.unwrap();
    let after = operator.next_credential("exporter-credentials", &before).await;
    assert_eq!(after.0, before.0);
    let record = operator.settled_record(&account).await;
    assert_eq!(record.current().map(|version| version.reason), Some(Reason::Repaired));
    let grace = record.previous().unwrap().not_after.unix() - record.previous().unwrap().retired_time.unwrap().unix();
    assert_eq!(grace, 86_400, "the lost secret works on for a day");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_secret_is_repaired_and_altered_surroundings_are_put_right_around_the_same_secret() {
    let operator = Operator::start().await;
    operator.ready("exporter", json!({})).await;
    let before = operator.credential("exporter-credentials").await;
    let secrets = operator.secrets();
    let patch = |change: serde_json::Value| {
        let secrets = secrets.clone();
        async move { secrets.patch("exporter-credentials", &PatchParams::default(), &Patch::Merge(change)).await.unwrap() }
    };
    patch(json!({"data": {"client-id": "Zm9yZ2Vk"}, "metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}))
        .await;
    eventually("client ID and label are back", SOON, async || {
        let secret = secrets.get("exporter-credentials").await.unwrap();
        (text(&secret, "client-id") == before.0 && secret.labels().contains_key("app.kubernetes.io/managed-by"))
            .then_some(())
    })
    .await;
    assert_eq!(operator.credential("exporter-credentials").await, before);

    for garbage in ["", "not-a-secret", "////"] {
        let old = operator.credential("exporter-credentials").await;
        let mut secret = secrets.get("exporter-credentials").await.unwrap();
        let bytes = if garbage == "////" { vec![0xff, 0xfe] } else { garbage.as_bytes().to_vec() };
        secret.data.as_mut().unwrap().insert("client-secret".into(), ByteString(bytes));
        secrets.replace("exporter-credentials", &PostParams::default(), &secret).await.unwrap();
        let repaired = eventually("a well-formed secret is back", SOON, async || {
            let secret = secrets.get("exporter-credentials").await.unwrap();
            let bytes = secret.data.as_ref()?.get("client-secret")?.0.clone();
            String::from_utf8(bytes).ok().filter(|secret| mint::well_formed(secret))
        })
        .await;
        assert_ne!(repaired, old.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_secret_in_the_way_is_never_touched_and_the_conflict_heals_when_it_goes() {
    let (operator, clock) = Operator::on_manual_clock().await;
    let foreign = json!({"metadata": {"name": "exporter-credentials"}, "data": {"mine": "eA=="}});
    let foreign = serde_json::from_value(foreign).unwrap();
    let before = operator.secrets().create(&PostParams::default(), &foreign).await.unwrap();
    operator.create("exporter", json!({})).await;
    operator.until("exporter", "in conflict", |status| condition(status, "Ready").1 == "SecretConflict").await;
    let after = operator.secrets().get("exporter-credentials").await.unwrap();
    assert_eq!(after.resource_version(), before.resource_version());
    operator.secrets().delete("exporter-credentials", &DeleteParams::default()).await.unwrap();
    clock.advance(chrono::TimeDelta::seconds(60));
    operator.until("exporter", "Ready", |status| condition(status, "Ready").0 == Some(ConditionStatus::True)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_accounts_that_name_one_secret_the_first_keeps_it() {
    let operator = Operator::start().await;
    operator.ready("first", json!({"clientSecret": {"secretName": "shared"}})).await;
    let before = operator.credential("shared").await;
    operator.create("second", json!({"clientSecret": {"secretName": "shared"}})).await;
    let second =
        operator.until("second", "in conflict", |status| condition(status, "Ready").1 == "SecretConflict").await;
    assert!(second.status.unwrap().conditions[0].message.contains("ServiceAccount first"));
    assert_eq!(operator.credential("shared").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_leaves_a_tombstone_without_hashes_and_a_recreated_one_starts_afresh() {
    let operator = Operator::start().await;
    let account = operator.ready("exporter", json!({"contact": {"email": "team@example.com"}})).await;
    let before = operator.credential("exporter-credentials").await;
    operator.accounts().delete("exporter", &DeleteParams::default()).await.unwrap();
    operator.create("exporter", json!({})).await;
    let after = operator.next_credential("exporter-credentials", &before).await;
    assert!(after.0 != before.0 && after.1 != before.1);
    eventually("the old record is gone", SOON, async || operator.record(&account).await.is_none().then_some(())).await;
    let tombstones = operator.tombstones().await;
    let text = serde_json::to_string(&tombstones).unwrap();
    assert!(text.contains("\"accountStatus\":\"deleted\"") && text.contains(&before.0), "{text}");
    assert!(!text.contains("argon2") && !text.contains("team@example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_deleted_while_the_controller_was_away_is_found_when_it_comes_back() {
    let mut operator = Operator::start().await;
    let account = operator.ready("exporter", json!({})).await;
    operator.kill_controller().await;
    operator.accounts().delete("exporter", &DeleteParams::default()).await.unwrap();
    operator.start_controller();
    eventually("the record is gone", SOON, async || operator.record(&account).await.is_none().then_some(())).await;
    assert_eq!(operator.tombstones().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_account_is_registered_without_a_secret_and_keeps_its_client_id_from_younger_ones() {
    let operator = Operator::start().await;
    let _issuer = TestIssuer::trusting(operator.control_plane, &operator.tenant.name).await;
    let external = json!({"authentication": {"mode": "External", "externalClientId": "system:serviceaccount:shop:a"}});
    let older = operator.ready("older", external.clone()).await;
    let status = older.status.unwrap();
    assert_eq!(status.client_id.as_deref(), Some("system:serviceaccount:shop:a"));
    assert_eq!(status.client_secret_status, Some(ClientSecretStatus::None));
    assert!(operator.secrets().list(&Default::default()).await.unwrap().items.is_empty());
    // Ages are told apart by whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    operator.create("younger", external).await;
    operator.until("younger", "in conflict", |status| condition(status, "Ready").1 == "ClientIdConflict").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_template_is_published_around_the_same_secret() {
    let operator = Operator::start().await;
    operator.ready("exporter", json!({})).await;
    let before = operator.credential("exporter-credentials").await;
    let template =
        json!({"keys": {"client-secret": "PASSWORD"}, "extraData": {"tenant": "acme"}, "labels": {"team": "a"}});
    operator.edit("exporter", json!({"spec": {"clientSecret": {"template": template}}})).await;
    let secrets = operator.secrets();
    let secret = eventually("the new shape is published", SOON, async || {
        let secret = secrets.get("exporter-credentials").await.unwrap();
        (text(&secret, "tenant") == "acme").then_some(secret)
    })
    .await;
    assert_eq!((text(&secret, "PASSWORD"), text(&secret, "client-secret")), (before.1, String::new()));
    assert_eq!(secret.labels()["team"], "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_status_and_a_restart_rotate_nothing() {
    let mut operator = Operator::start().await;
    let account = operator.ready("exporter", json!({})).await;
    let before = operator.credential("exporter-credentials").await;
    let record = operator.settled_record(&account).await;
    let wiped = Patch::Merge(json!({"status": null}));
    operator.accounts().patch_status("exporter", &PatchParams::default(), &wiped).await.unwrap();
    operator.until("exporter", "reported again", |status| status.client_id.is_some()).await;
    operator.kill_controller().await;
    let writes = operator.writes().len();
    operator.start_controller();
    operator.ready("marker", json!({"enabled": false})).await;
    assert_eq!(operator.credential("exporter-credentials").await, before);
    assert_eq!(operator.settled_record(&account).await, record);
    let since: Vec<_> =
        operator.writes().split_off(writes).into_iter().filter(|(_, _, name)| name != "marker").collect();
    assert!(since.is_empty(), "a restart wrote {since:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_record_is_repaired_under_the_same_client_id_and_says_so() {
    let operator = Operator::start().await;
    let account = operator.ready("exporter", json!({})).await;
    let before = operator.credential("exporter-credentials").await;
    let record = keyrota::domain::names::record(&account.uid().unwrap());
    operator.own_secrets().delete(&record, &DeleteParams::default()).await.unwrap();
    let after = operator.next_credential("exporter-credentials", &before).await;
    assert_eq!(after.0, before.0);
    assert_eq!(operator.settled_record(&account).await.current().unwrap().reason, Reason::Repaired);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_regenerates_once_and_its_revert_does_nothing() {
    let operator = Operator::start().await;
    let account = operator.ready("exporter", json!({"regenerate": {"clientSecret": 7}})).await;
    assert_eq!(operator.settled_record(&account).await.last_version, 1, "present values count as handled at creation");
    let first = operator.credential("exporter-credentials").await;
    operator.edit("exporter", json!({"spec": {"regenerate": {"clientSecret": 8}}})).await;
    let second = operator.next_credential("exporter-credentials", &first).await;
    assert_eq!(second.0, first.0);
    operator.edit("exporter", json!({"spec": {"regenerate": {"clientSecret": 7}}})).await;
    operator.edit("exporter", json!({"spec": {"regenerate": {"clientId": 1}}})).await;
    let third = operator.next_credential("exporter-credentials", &second).await;
    assert_ne!(third.0, second.0);
    let record = operator.settled_record(&account).await;
    assert_eq!((record.last_version, record.handled.client_secret, record.handled.client_id), (3, 8, 1));
    let time = operator.clock.timestamp();
    operator
        .edit("exporter", json!({"metadata": {"annotations": {"keyrota.dev/compromised": time.to_string()}}}))
        .await;
    operator.next_credential("exporter-credentials", &third).await;
    let record = operator.settled_record(&account).await;
    assert_eq!((record.last_version, record.compromised_versions.clone()), (4, vec![3]));
    assert!(record.previous().is_none(), "a version that ends at once is not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn once_all_is_ready_nothing_is_written_for_a_minute() {
    let operator = Operator::start().await;
    let _issuer = TestIssuer::trusting(operator.control_plane, &operator.tenant.name).await;
    for name in ["a", "b", "c"] {
        operator.ready(name, json!({"userGroups": ["nobody-has-it"]})).await;
    }
    operator.ready("d", json!({"authentication": {"mode": "External", "externalClientId": "x"}})).await;
    // The last writes' own events come back as triggers first.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = operator.writes().len();
    assert!(before > 4 * 3, "the audit log shows the controller's writes");
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Groups and issuers that other tests make concern every operator, and so do the issuers' keys.
    let of_all = |(_, resource, name): &(String, String, String)| {
        ["usergroups", "tokenissuers"].contains(&resource.as_str()) || name.starts_with("signing-keys-test-")
    };
    let since: Vec<_> = operator.writes().split_off(before).into_iter().filter(|write| !of_all(write)).collect();
    assert!(since.is_empty(), "{since:?}");
}
