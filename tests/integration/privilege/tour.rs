//! A tour of all that controller, gateway and console do: the API server's audit log then shows every right that their roles give,
//! and no request that was refused.

use std::sync::Arc;

use chrono::TimeDelta;
use keyrota::clock::{Clock, ManualClock, SystemClock};
use keyrota::demo;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::chart::COMPONENTS;
use super::rights::{covered, granted, told, used};
use crate::common::eventually;
use crate::common::operator::{Gateway, Operator, SOON, kubectl};
use crate::common::receiver::TestIssuer;
use crate::console::{Console, VIEWER, person};

fn workload(kind: &str) -> String {
    let labels = json!({"app": kind.to_lowercase()});
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": kind.to_lowercase(), "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "example.com/c"}]}},
        },
    })
    .to_string()
}

/// Lets the clock run, fast: usage is reported and merged every few seconds.
fn tick(clock: &ManualClock) -> tokio::task::JoinHandle<()> {
    let clock = clock.clone();
    tokio::spawn(async move {
        loop {
            clock.advance(TimeDelta::seconds(1));
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
}

/// Workloads, a group, and an account with everything that an account can ask for.
async fn an_account_with_everything(operator: &Operator) {
    let namespace = &operator.tenant.name;
    let kinds = ["Deployment", "StatefulSet", "DaemonSet"];
    for kind in kinds {
        kubectl(operator.control_plane, &["apply", "--namespace", namespace, "-f", "-"], &workload(kind));
    }
    let group = json!({
        "apiVersion": "keyrota.dev/v1alpha1", "kind": "UserGroup", "metadata": {"name": namespace}, "spec": {},
    });
    kubectl(operator.control_plane, &["apply", "-f", "-"], &group.to_string());
    let restarts = kinds.iter().flat_map(|kind| {
        let name = kind.to_lowercase();
        [json!({"kind": kind, "name": name}), json!({"kind": kind, "selector": {"matchLabels": {"app": name}}})]
    });
    let spec = json!({"userGroups": [namespace], "rolloutRestart": restarts.collect::<Vec<_>>()});
    operator.ready("exporter", spec).await;
}

/// Every reason for a new credential, a Secret that is only brought up to date, and Events that repeat.
async fn every_change_of_a_credential(operator: &Operator) {
    let mut pair = operator.credential("exporter-credentials").await;
    for count in 1..=2 {
        operator.edit("exporter", json!({"spec": {"regenerate": {"clientSecret": count}}})).await;
        pair = operator.next_credential("exporter-credentials", &pair).await;
    }
    operator.secrets().delete("exporter-credentials", &DeleteParams::default()).await.unwrap();
    pair = operator.next_credential("exporter-credentials", &pair).await;
    let tampered = Patch::Merge(json!({"stringData": {"client-secret": "altered"}}));
    operator.secrets().patch("exporter-credentials", &PatchParams::default(), &tampered).await.unwrap();
    let altered = (pair.0, "altered".to_owned());
    operator.next_credential("exporter-credentials", &altered).await;
    operator.edit("exporter", json!({"spec": {"clientSecret": {"template": {"labels": {"team": "shop"}}}}})).await;
    operator.until("exporter", "settled", |status| status.credentials.iter().any(|c| c.version > 3)).await;
}

/// Good, wrong and unknown credentials, and an account without any.
async fn every_question_to_a_gateway(operator: &Operator, gateway: &Gateway) {
    let namespace = &operator.tenant.name;
    let pair = operator.credential("exporter-credentials").await;
    eventually("granted", SOON, async || (gateway.token_at(&host(operator), &pair).await.0 == 200).then_some(())).await;
    let wrong = (pair.0.clone(), "wrong".to_owned());
    assert_eq!(gateway.token_at(&host(operator), &wrong).await.0, 400);
    let unknown = ("9f4cbb3e-6f0e-4c39-8e5f-6f9d4c6c3a8e".to_owned(), pair.1.clone());
    assert_eq!(gateway.token_at(&host(operator), &unknown).await.0, 400);

    kubectl(operator.control_plane, &["create", "serviceaccount", "robot", "--namespace", namespace], "");
    let client_id = format!("system:serviceaccount:{namespace}:robot");
    operator.ready("robot", json!({"authentication": {"mode": "External", "externalClientId": client_id}})).await;
    let create = ["create", "token", "robot", "--namespace", namespace, "--audience", "https://tokens.example"];
    let token = kubectl(operator.control_plane, &create, "");
    eventually("the Pod gets a token", SOON, async || {
        (gateway.token_for(&host(operator), token.trim()).await.0 == 200).then_some(())
    })
    .await;
    operator.until("exporter", "used", |status| status.last_access_time.is_some()).await;
    assert_eq!(gateway.token_at(&host(operator), &pair).await.0, 200);
    let first = operator.accounts().get("exporter").await.unwrap().status.unwrap().last_access_time;
    operator.until("exporter", "used again", |status| status.last_access_time > first).await;
}

/// Somebody signs in and looks at everything that is listed: accounts, those that were deleted, groups.
async fn every_list_of_the_console(operator: &Operator) {
    let console = Console::start(operator, &[], Arc::new(SystemClock)).await;
    let token = person(operator, &operator.tenant.name, "auditor", VIEWER).await;
    let visitor = console.signed_in(&token).await;
    visitor.get("/accounts?status=active").await.has(">robot<");
    visitor.get("/accounts?status=deleted").await.has(">exporter<");
    visitor.get(&format!("/accounts/{}/robot/groups", operator.tenant.name)).await.has("robot");
}

fn host(operator: &Operator) -> String {
    format!("{}.example", operator.tenant.name)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_of_controller_gateway_and_console_is_used_and_no_other_is_missed() {
    let clock = ManualClock::at(SystemClock.now());
    let mut operator = Operator::prepared(Arc::new(clock.clone())).await;
    let ticking = tick(&clock);
    let trusted = json!([{"name": "cluster", "issuer": "https://kubernetes.default.svc", "kubernetes": true}]);
    let spec = json!({
        "hosts": [host(&operator)], "oauth": {"issuer": "https://tokens.example"}, "trustedIssuers": trusted,
        "legacy": {"publishKeyTo": {"namespace": operator.tenant.name, "secretName": "legacy-keys"}},
    });
    let _issuer = TestIssuer::of(operator.control_plane, &operator.tenant.name, spec).await;
    let identity = tempfile::tempdir().unwrap();
    let identity = identity.path().to_str().unwrap();
    let first = operator.another_controller(&["--identity", "first", "--gateway-identity-dir", identity]);
    an_account_with_everything(&operator).await;
    let gateway = operator.start_gateway().await;
    every_question_to_a_gateway(&operator, &gateway).await;
    every_change_of_a_credential(&operator).await;
    operator.accounts().delete("exporter", &DeleteParams::default()).await.unwrap();
    eventually("the record became a tombstone", SOON, async || operator.tombstones().await.pop()).await;
    every_list_of_the_console(&operator).await;

    // The next controller takes over, and finds a tombstone that is over.
    first.stop().await;
    clock.advance(TimeDelta::days(31));
    let second = operator.another_controller(&["--identity", "second"]);
    eventually("the tombstone is gone", SOON, async || operator.tombstones().await.is_empty().then_some(())).await;
    second.stop().await;
    operator.stop_gateways().await;
    ticking.abort();

    for component in COMPONENTS {
        let (granted, used) = (granted(demo::INSTALL, component), used(&operator, component));
        let unused = told(granted.difference(&used).cloned());
        let missed = told(used.iter().filter(|right| !covered(right, &granted)).cloned());
        assert_eq!(
            (unused, missed),
            (vec![], vec![]),
            "{component}: rights that are never used, and uses without a right"
        );
    }
}
