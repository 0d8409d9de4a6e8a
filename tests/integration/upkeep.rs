//! What a platform team does to a running Keyrota day by day rotates nothing.

use std::sync::Arc;

use keyrota::api::{ConditionStatus, TYPE_CREDENTIALS};
use keyrota::clock::{Clock, ManualClock, SystemClock};
use keyrota::domain::record::Record;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::common::operator::{Operator, SOON, condition, kubectl};
use super::common::receiver::TestIssuer;
use super::common::{control_plane_of_ones_own, eventually};

const NAMES: [&str; 5] = ["automatic", "manual", "asked-before", "disabled", "external"];

/// The accounts as they stand in Git, with these labels and annotations besides.
fn manifests(namespace: &str, label: &str) -> String {
    let specs = [
        json!({"clientSecret": {"validityDays": 90, "template": {"labels": {"team": "shop"}}}, "userGroups": ["nobody"]}),
        json!({"clientSecret": {"rotation": "Manual", "validityDays": 90}, "contact": {"email": "team@example.com"}}),
        json!({"regenerate": {"clientSecret": 7, "clientId": 3}}),
        json!({"enabled": false, "regenerate": {"clientSecret": 1}}),
        json!({"authentication": {"mode": "External", "externalClientId": "ci"}}),
    ];
    let object = |(name, spec): (&str, Value)| {
        json!({
            "apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace, "labels": {"track": label}, "annotations": {
                "example.com/synced": label,
                "keyrota.dev/regenerate": "client-secret@2020-01-01T00:00:00Z",
                "keyrota.dev/compromised": "2020-01-01T00:00:00Z",
            }},
            "spec": spec,
        })
        .to_string()
    };
    NAMES.into_iter().zip(specs).map(object).collect::<Vec<_>>().join("\n---\n")
}

/// The CRDs as the release before had them, as far as their users can tell.
fn earlier_crds() -> String {
    let crds = keyrota::crds::all().into_iter().map(|crd| {
        let mut crd = serde_json::to_value(crd).unwrap();
        let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        schema["description"] = json!("As the release before described it");
        schema["properties"]["spec"]["description"] = json!("What is wanted");
        crd.to_string()
    });
    crds.collect::<Vec<_>>().join("\n---\n")
}

fn applied(operator: &Operator, manifests: &str) {
    kubectl(operator.control_plane, &["apply", "-f", "-"], manifests);
}

/// Waits until a pass that began now has come to its end for each account.
async fn all_seen(operator: &Operator, mark: &str) {
    for name in NAMES {
        operator.edit(name, json!({"spec": {"description": mark}})).await;
        operator.until(name, "Ready", |status| condition(status, "Ready").0 == Some(ConditionStatus::True)).await;
    }
}

async fn wipe_all(operator: &Operator) {
    for name in NAMES {
        let wiped = Patch::Merge(json!({"status": null}));
        operator.accounts().patch_status(name, &PatchParams::default(), &wiped).await.unwrap();
    }
}

/// All that matters of the accounts: their records, and what is published.
async fn everything(operator: &Operator) -> (Vec<Record>, Vec<Value>) {
    let mut records = Vec::new();
    for name in NAMES {
        let account = operator.accounts().get(name).await.unwrap();
        records.extend(operator.record(&account).await);
    }
    let secrets = operator.secrets().list(&Default::default()).await.unwrap().items;
    let ours = secrets.into_iter().filter(|secret| secret.type_.as_deref() == Some(TYPE_CREDENTIALS));
    (records, ours.map(|secret| json!([secret.name_any(), secret.data, secret.resource_version()])).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_an_upgraded_crd_another_label_a_wiped_status_and_a_reapplied_manifest_rotate_nothing() {
    let control_plane = control_plane_of_ones_own();
    kubectl(control_plane, &["apply", "-f", "-"], &earlier_crds());
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
    kubectl(control_plane, &established, "");
    let clock = ManualClock::at(SystemClock.now());
    let mut operator = Operator::prepared_on(control_plane, Arc::new(clock.clone())).await;
    operator.start_controller();
    let namespace = operator.tenant.name.clone();
    let _issuer = TestIssuer::trusting(control_plane, &namespace).await;
    applied(&operator, &manifests(&namespace, "a"));
    all_seen(&operator, "new").await;
    let before = everything(&operator).await;
    assert_eq!((before.0.len(), before.1.len()), (4, 3), "a disabled account has neither record nor Secret yet");
    clock.advance(chrono::TimeDelta::days(1));

    applied(&operator, &manifests(&namespace, "a"));
    all_seen(&operator, "manifest applied again").await;
    assert_eq!(everything(&operator).await, before);

    applied(&operator, &manifests(&namespace, "b"));
    all_seen(&operator, "labelled otherwise").await;
    assert_eq!(everything(&operator).await, before);

    kubectl(control_plane, &["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/crds")], "");
    let described = ["get", "crd", "serviceaccounts.keyrota.dev", "-o", "yaml"];
    assert!(!kubectl(control_plane, &described, "").contains("As the release before"));
    all_seen(&operator, "upgraded").await;
    assert_eq!(everything(&operator).await, before);

    wipe_all(&operator).await;
    for name in NAMES {
        operator.until(name, "reported again", |status| status.account_status.is_some()).await;
    }
    assert_eq!(everything(&operator).await, before);

    // All of it at once, while nobody looks.
    operator.kill_controller().await;
    wipe_all(&operator).await;
    applied(&operator, &manifests(&namespace, "c"));
    kubectl(control_plane, &["apply", "-f", "-"], &earlier_crds());
    clock.advance(chrono::TimeDelta::days(1));
    operator.start_controller();
    all_seen(&operator, "restarted").await;
    assert_eq!(everything(&operator).await, before);
    let published = ["CredentialRotated", "ClientSecretRegenerated", "ClientIdRegenerated", "CredentialRepaired"];
    for reason in published.into_iter().chain(["CredentialCompromised", "SecretUpdated"]) {
        assert!(operator.events(reason).await.is_empty(), "{reason}");
    }
    eventually("each account was created once", SOON, async || {
        (operator.events("CredentialCreated").await.len() == 3).then_some(())
    })
    .await;
}
