//! Applying the same manifests again shows no difference, writes nothing and rotates nothing.

use std::process::{Command, Stdio};
use std::sync::Arc;

use keyrota::api::ConditionStatus;
use keyrota::clock::SystemClock;
use kube::ResourceExt;
use rstest::rstest;
use serde_json::json;

use crate::common::operator::{Operator, condition};
use crate::common::receiver::TestIssuer;
use crate::common::tools::run;
use crate::policies::Guarded;

const NAMES: [&str; 4] = ["plain", "everything", "disabled", "external"];

/// Accounts as they may stand in Git: what defaults fill in, what policies add, and what triggers was left there.
fn manifests(namespace: &str) -> String {
    let specs = [
        json!({}),
        json!({
            "description": "all of it", "userGroups": ["b", "a"], "regenerate": {"clientSecret": 3},
            "clientSecret": {"validityDays": 90, "overlap": "12h", "template": {
                "labels": {"team": "shop"}, "keys": {"client-id": "ID"}, "extraData": {"region": "eu"}}},
            "contact": {"email": "team@example.com"}, "rolloutRestart": [{"kind": "Deployment", "name": "web"}],
        }),
        json!({"enabled": false}),
        json!({"authentication": {"mode": "External", "externalClientId": "ci"}}),
    ];
    let object = |(name, spec)| {
        json!({
            "apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec,
        })
        .to_string()
    };
    NAMES.into_iter().zip(specs).map(object).collect::<Vec<_>>().join("\n---\n")
}

/// kubectl with these arguments and the manifests: its exit code and what it prints.
fn kubectl(operator: &Operator, file: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(operator.control_plane.kubectl())
        .arg("--kubeconfig")
        .arg(operator.control_plane.kubeconfig())
        .args(arguments)
        .arg("-f")
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// What a rotation, and every write, would change.
async fn versions(operator: &Operator) -> Vec<(Option<String>, Option<String>)> {
    let mut versions = Vec::new();
    for name in NAMES {
        let account = operator.accounts().get(name).await.unwrap();
        let secret = operator.secrets().get_opt(&format!("{name}-credentials")).await.unwrap();
        versions.push((account.resource_version(), secret.and_then(|secret| secret.resource_version())));
    }
    versions
}

#[rstest]
#[case::client_side(&["apply"], &["diff"])]
#[case::server_side(&["apply", "--server-side"], &["diff", "--server-side"])]
#[tokio::test(flavor = "multi_thread")]
async fn the_same_manifests_show_no_difference_and_change_nothing(#[case] apply: &[&str], #[case] diff: &[&str]) {
    let Some(guarded) = Guarded::new().await else { return };
    let mut operator = Operator::prepared_on(guarded.control_plane, Arc::new(SystemClock)).await;
    let trusted = json!([{"name": "cluster", "issuer": "https://kubernetes.default.svc", "kubernetes": true}]);
    let trusting = json!({"trustedIssuers": trusted});
    let _issuer = TestIssuer::of(operator.control_plane, &operator.tenant.name, trusting).await;
    operator.start_controller();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), manifests(&operator.tenant.name)).unwrap();
    assert_eq!(kubectl(&operator, file.path(), apply).0, Some(0));
    for name in NAMES {
        operator.until(name, "Ready", |status| condition(status, "Ready").0 == Some(ConditionStatus::True)).await;
    }
    let before = versions(&operator).await;
    for _ in 0..2 {
        assert_eq!(kubectl(&operator, file.path(), diff), (Some(0), String::new()));
        let (code, said) = kubectl(&operator, file.path(), apply);
        assert_eq!(code, Some(0), "{said}");
        if apply.len() == 1 {
            assert_eq!(said.matches(" unchanged").count(), NAMES.len(), "{said}");
        }
    }
    assert_eq!(versions(&operator).await, before, "neither kubectl nor the controller wrote anything");
    // The test can fail: an edit is a difference.
    std::fs::write(file.path(), manifests(&operator.tenant.name).replace("all of it", "nearly all")).unwrap();
    let (code, said) = kubectl(&operator, file.path(), diff);
    assert!(code == Some(1) && said.contains("+  description: nearly all"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_names_of_kubectl_mean_kubernetes_own_service_accounts() {
    let Some(guarded) = Guarded::new().await else { return };
    let operator = Operator::prepared_on(guarded.control_plane, Arc::new(SystemClock)).await;
    let namespace = operator.tenant.name.clone();
    operator.create("ours", json!({})).await;
    let named = |kind: &str| {
        let mut kubectl = Command::new(operator.control_plane.kubectl());
        kubectl.arg("--kubeconfig").arg(operator.control_plane.kubeconfig());
        run(kubectl.args(["get", kind, "--namespace", &namespace, "-o", "name"]))
    };
    for bare in ["sa", "serviceaccount", "serviceaccounts"] {
        assert!(!named(bare).contains("ours"), "{bare}");
    }
    for ours in ["krsa", "serviceaccounts.keyrota.dev", "serviceaccount.v1alpha1.keyrota.dev"] {
        assert_eq!(named(ours), "serviceaccount.keyrota.dev/ours\n", "{ours}");
    }
    // Besides groups and issuers, which have no namespace: other tests have some, too.
    assert!(named("keyrota").lines().any(|line| line == "serviceaccount.keyrota.dev/ours"), "keyrota");
    assert!(!named("all").contains("ours"), "so `delete all --all` leaves accounts alone");
}
