//! Each state of an account, as kstatus, Flux and Argo CD see it.

use std::sync::Arc;

use chrono::TimeDelta;
use keyrota::api::TokenIssuer;
use keyrota::clock::{Clock, ManualClock, SystemClock};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::tools::judged;
use crate::common::eventually;
use crate::common::operator::{Operator, SOON, condition, kubectl};
use crate::common::receiver::TestIssuer;

/// What is expected: the state, its object, and the words of kstatus, Flux and Argo CD.
struct Case {
    state: &'static str,
    object: Value,
    kstatus: &'static str,
    flux: &'static str,
    argo: &'static str,
}

const IN_PROGRESS: [&str; 3] = ["InProgress", "InProgress", "Progressing"];
const CURRENT: [&str; 3] = ["Current", "Current", "Healthy"];
const FAILED: [&str; 3] = ["Failed", "Failed", "Degraded"];

struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, state: &'static str, object: &impl serde::Serialize, [kstatus, flux, argo]: [&'static str; 3]) {
        self.0.push(Case { state, object: serde_json::to_value(object).unwrap(), kstatus, flux, argo });
    }

    /// All wrong verdicts at once.
    async fn hold(self) {
        let objects = self.0.iter().map(|case| case.object.clone()).collect();
        let Some(verdicts) = judged(objects).await else { return };
        let mut wrong = Vec::new();
        for (case, verdict) in self.0.iter().zip(verdicts) {
            let argo = verdict.argo["status"].as_str().unwrap_or_default();
            let found = [verdict.kstatus.as_str(), verdict.flux.as_str(), argo];
            if found != [case.kstatus, case.flux, case.argo] {
                wrong.push(format!("{}: {found:?}\n  {}", case.state, case.object["status"]));
            }
            assert!(verdict.argo["message"].as_str().is_some_and(|text| !text.is_empty()), "{}", case.state);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Waits until `Ready` has this reason.
async fn until(operator: &Operator, name: &str, reason: &str) -> keyrota::api::ServiceAccount {
    operator.until(name, reason, |status| condition(status, "Ready").1 == reason).await
}

/// Everything of a namespace's accounts that people can bring about, and mend.
async fn settled_states(operator: &Operator, clock: &ManualClock, cases: &mut Cases) {
    cases.add("ready", &operator.ready("ready", json!({})).await, CURRENT);
    let external = json!({"authentication": {"mode": "External", "externalClientId": "ci"}});
    cases.add("external", &operator.ready("external", external.clone()).await, CURRENT);
    let unknown = json!({"authentication": {"mode": "External", "externalClientId": "x", "trustedIssuer": "nobody"}});
    operator.create("untrusted", unknown).await;
    cases.add("nobody trusted", &until(operator, "untrusted", "TrustedIssuerNotFound").await, FAILED);
    operator.create("rival", external).await;
    // The older one keeps it; of two of the same second, either.
    let conflict = eventually("one of the two has a conflict", SOON, async || {
        for name in ["external", "rival"] {
            let account = operator.accounts().get(name).await.unwrap();
            let status = account.status.clone().unwrap_or_default();
            if condition(&status, "Ready").1 == "ClientIdConflict" {
                return Some(account);
            }
        }
        None
    });
    cases.add("client ID conflict", &conflict.await, FAILED);
    cases.add("group missing", &operator.ready("alone", json!({"userGroups": ["nobody"]})).await, CURRENT);
    operator.edit("ready", json!({"spec": {"enabled": false}})).await;
    cases.add("disabled", &until(operator, "ready", "Disabled").await, CURRENT);

    let foreign = ["create", "secret", "generic", "taken-credentials", "--namespace", &operator.tenant.name];
    kubectl(operator.control_plane, &foreign, "");
    operator.create("taken", json!({})).await;
    cases.add("Secret conflict", &until(operator, "taken", "SecretConflict").await, FAILED);

    let manual = json!({"clientSecret": {"rotation": "Manual", "validityDays": 1}});
    operator.ready("manual", manual).await;
    clock.advance(TimeDelta::days(2));
    cases.add("expired", &until(operator, "manual", "Expired").await, FAILED);
}

/// An account whose name was another one's, whose Secret does not go.
async fn waiting_for_garbage_collection(operator: &Operator, cases: &mut Cases) {
    operator.ready("again", json!({})).await;
    let hold = |finalizers: Value| Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    let held = hold(json!(["example.com/hold"]));
    operator.secrets().patch("again-credentials", &PatchParams::default(), &held).await.unwrap();
    operator.accounts().delete("again", &DeleteParams::default()).await.unwrap();
    operator.create("again", json!({})).await;
    cases.add(
        "waits for garbage collection",
        &until(operator, "again", "WaitingForGarbageCollection").await,
        IN_PROGRESS,
    );
    operator.secrets().patch("again-credentials", &PatchParams::default(), &hold(Value::Null)).await.unwrap();
}

/// Deleted, and not gone yet.
async fn deleting(operator: &Operator, cases: &mut Cases) {
    operator.ready("leaving", json!({})).await;
    operator.edit("leaving", json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    operator.accounts().delete("leaving", &DeleteParams::default()).await.unwrap();
    let leaving = until(operator, "leaving", "Deleting").await;
    cases.add("deleting", &leaving, ["Terminating", "InProgress", "Progressing"]);
    operator.edit("leaving", json!({"metadata": {"finalizers": null}})).await;
}

/// The API server refuses the Secret: of a new account, and one that had been there.
async fn refused(operator: &Operator, cases: &mut Cases) {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"count/secrets": "0"}},
    });
    kubectl(operator.control_plane, &["apply", "--namespace", &operator.tenant.name, "-f", "-"], &quota.to_string());
    // The quota counts once its controller has counted what there is.
    let quota = ["get", "resourcequota", "none", "--namespace", &operator.tenant.name, "-o", "jsonpath={.status.used}"];
    eventually("the quota counts", SOON, async || {
        kubectl(operator.control_plane, &quota, "").contains("secrets").then_some(())
    })
    .await;
    operator.create("refused", json!({})).await;
    operator.secrets().delete("new-credentials", &DeleteParams::default()).await.unwrap();
    for (name, state, flux) in [("refused", "new, refused", "InProgress"), ("new", "repair refused", "Failed")] {
        let account = eventually(state, SOON, async || {
            let account = operator.accounts().get(name).await.unwrap();
            let status = account.status.clone().unwrap_or_default();
            (condition(&status, "Ready").1 == "ReconcileFailed").then_some(account)
        });
        cases.add(state, &account.await, ["InProgress", flux, "Degraded"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_of_an_account_means_the_same_to_kstatus_flux_and_argo_cd() {
    let clock = ManualClock::at(SystemClock.now());
    let mut operator = Operator::prepared(Arc::new(clock.clone())).await;
    let mut cases = Cases(Vec::new());
    cases.add("not reconciled yet", &operator.create("new", json!({})).await, IN_PROGRESS);
    let trusted = json!([{"name": "cluster", "issuer": "https://kubernetes.default.svc", "kubernetes": true}]);
    let trusting = json!({"trustedIssuers": trusted});
    let _issuer = TestIssuer::of(operator.control_plane, &operator.tenant.name, trusting).await;
    operator.start_controller();
    settled_states(&operator, &clock, &mut cases).await;
    waiting_for_garbage_collection(&operator, &mut cases).await;
    deleting(&operator, &mut cases).await;
    operator.until("new", "Ready", |status| condition(status, "Ready").1 == "Published").await;
    refused(&operator, &mut cases).await;
    operator.kill_controller().await;
    let edited = operator.edit("new", json!({"spec": {"description": "edited"}})).await;
    cases.add("edited, not reconciled yet", &edited, IN_PROGRESS);
    let wiped = Patch::Merge(json!({"status": null}));
    let wiped = operator.accounts().patch_status("new", &PatchParams::default(), &wiped).await.unwrap();
    cases.add("status wiped", &wiped, IN_PROGRESS);
    cases.hold().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_current_when_it_serves_and_never_before() {
    let mut operator = Operator::prepared(Arc::new(SystemClock)).await;
    let mut cases = Cases(Vec::new());
    let name = operator.tenant.name.clone();
    let issuers: Api<TokenIssuer> = Api::all(operator.client.clone());
    let _first = TestIssuer::of(operator.control_plane, &name, json!({})).await;
    cases.add("not reconciled yet", &issuers.get(&name).await.unwrap(), IN_PROGRESS);
    operator.start_controller();
    let reason = async |name: &str, wanted: &str| {
        eventually(&format!("{name} is {wanted}"), SOON, async || {
            let issuer = issuers.get(name).await.unwrap();
            let conditions = &issuer.status.as_ref()?.conditions;
            conditions.iter().any(|c| c.type_ == "Ready" && c.reason == wanted).then_some(issuer.clone())
        })
        .await
    };
    cases.add("serving", &reason(&name, "Serving").await, CURRENT);
    // The younger one does not get the namespace.
    let second = format!("{name}-b");
    let spec = json!({"namespaces": [name]});
    let object = json!({
        "apiVersion": "keyrota.dev/v1alpha1", "kind": "TokenIssuer", "metadata": {"name": second}, "spec": spec,
    });
    kubectl(operator.control_plane, &["apply", "-f", "-"], &object.to_string());
    cases.add("conflict", &reason(&second, "Conflict").await, ["InProgress", "Failed", "Degraded"]);
    issuers.delete(&second, &DeleteParams::default()).await.unwrap();
    assert_eq!(issuers.get(&name).await.unwrap().name_any(), name);
    cases.hold().await;
}
