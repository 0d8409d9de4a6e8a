//! Least privilege, proven: on a tour of all that controller and gateway do, the API server's audit log shows every right
//! that their roles give, and no request that was refused.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use chrono::TimeDelta;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::Secret;
use keyrota::clock::{Clock, ManualClock, SystemClock};
use keyrota::demo;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::common::eventually;
use super::common::operator::{Gateway, Operator, SOON, kubectl};
use super::common::receiver::TestIssuer;
use super::controlplane::client_from;

/// Where a right is given, or was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// In the operator namespace.
    Own,
    /// Outside it: in a tenant's namespace, or cluster-wide.
    Elsewhere,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    place: Place,
    resource: String,
    verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, resource, verb } = self;
        write!(f, "{verb} {resource} ({place:?})")
    }
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn resource(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// What the roles of a component give.
fn granted(component: &str) -> BTreeSet<Right> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(demo::INSTALL).unwrap();
    let mut rights = BTreeSet::new();
    for role in objects.iter().filter(|object| object["metadata"]["name"] == component) {
        let place = if role["kind"] == "ClusterRole" { Place::Elsewhere } else { Place::Own };
        for rule in role["rules"].as_array().into_iter().flatten() {
            for (group, name) in
                strings(&rule["apiGroups"]).flat_map(|group| strings(&rule["resources"]).map(move |name| (group, name)))
            {
                let verbs = strings(&rule["verbs"]).map(str::to_owned);
                rights.extend(verbs.map(|verb| Right { place, resource: resource(group, name), verb }));
            }
        }
    }
    rights
}

/// What a service account of the operator namespace did; fails when anything was refused to it.
fn used(operator: &Operator, account: &str) -> BTreeSet<Right> {
    let user = format!("system:serviceaccount:{}:{account}", operator.own.name);
    let log = std::fs::read_to_string(operator.control_plane.audit_log().unwrap()).unwrap();
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let entries: Vec<Value> = entries.filter(|entry| entry["user"]["username"] == user.as_str()).collect();
    let refused: Vec<&Value> = entries.iter().filter(|entry| entry["responseStatus"]["code"] == 403).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    entries
        .iter()
        .map(|entry| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let object = &entry["objectRef"];
            let name = match object["subresource"].as_str() {
                Some(subresource) => format!("{}/{subresource}", text(&object["resource"])),
                None => text(&object["resource"]),
            };
            let place = if object["namespace"] == operator.own.name.as_str() { Place::Own } else { Place::Elsewhere };
            Right { place, resource: resource(&text(&object["apiGroup"]), &name), verb: text(&entry["verb"]) }
        })
        .collect()
}

fn told(rights: impl IntoIterator<Item = Right>) -> Vec<String> {
    rights.into_iter().map(|right| right.to_string()).collect()
}

/// A right for everywhere covers the operator namespace as well.
fn covered(right: &Right, granted: &BTreeSet<Right>) -> bool {
    granted.contains(right) || granted.contains(&Right { place: Place::Elsewhere, ..right.clone() })
}

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

fn host(operator: &Operator) -> String {
    format!("{}.example", operator.tenant.name)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_of_controller_and_gateway_is_used_and_no_other_is_missed() {
    let clock = ManualClock::at(SystemClock.now());
    let mut operator = Operator::prepared(Arc::new(clock.clone())).await;
    let ticking = tick(&clock);
    let trusted = json!([{"name": "cluster", "issuer": "https://kubernetes.default.svc", "kubernetes": true}]);
    let spec = json!({
        "hosts": [host(&operator)], "oauth": {"issuer": "https://tokens.example"}, "trustedIssuers": trusted,
        "legacy": {"publishKeyTo": {"namespace": operator.tenant.name, "secretName": "legacy-keys"}},
    });
    let _issuer = TestIssuer::of(operator.control_plane, &operator.tenant.name, spec).await;
    let first = operator.another_controller(&["--identity", "first"]);
    an_account_with_everything(&operator).await;
    let gateway = operator.start_gateway().await;
    every_question_to_a_gateway(&operator, &gateway).await;
    every_change_of_a_credential(&operator).await;
    operator.accounts().delete("exporter", &DeleteParams::default()).await.unwrap();
    eventually("the record became a tombstone", SOON, async || operator.tombstones().await.pop()).await;

    // The next controller takes over, and finds a tombstone that is over.
    first.stop().await;
    clock.advance(TimeDelta::days(31));
    let second = operator.another_controller(&["--identity", "second"]);
    eventually("the tombstone is gone", SOON, async || operator.tombstones().await.is_empty().then_some(())).await;
    second.stop().await;
    operator.stop_gateways().await;
    ticking.abort();

    for component in ["keyrota-controller", "keyrota-gateway"] {
        let (granted, used) = (granted(component), used(&operator, component));
        let unused = told(granted.difference(&used).cloned());
        let missed = told(used.iter().filter(|right| !covered(right, &granted)).cloned());
        assert_eq!(
            (unused, missed),
            (vec![], vec![]),
            "{component}: rights that are never used, and uses without a right"
        );
    }
}

/// Whether a service account of the operator namespace may do something, by its own question to the API server.
async fn may(client: &Client, namespace: &str, resource: &str, verb: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let review = json!({"spec": {"resourceAttributes": {
        "namespace": namespace, "group": group, "resource": resource, "subresource": subresource, "verb": verb,
    }}});
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &serde_json::from_value(review).unwrap()).await.unwrap();
    answer.status.unwrap().allowed
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_reads_no_secret_outside_the_operator_namespace_by_any_way() {
    let operator = Operator::start().await;
    operator.ready("exporter", json!({})).await;
    let (tenant, own) = (operator.tenant.name.as_str(), operator.own.name.as_str());
    let kubeconfig = operator.control_plane.service_account_kubeconfig(own, "keyrota-gateway").await.unwrap();
    let client = client_from(&kubeconfig).await;
    for namespace in [tenant, "kube-system", ""] {
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"] {
            assert!(!may(&client, namespace, "secrets", verb).await, "{verb} in {namespace:?}");
        }
    }
    // What it may in its own namespace is to read; and what would lead to more, it may nowhere.
    assert!(may(&client, own, "secrets", "get").await);
    for (resource, verb) in [
        ("secrets", "create"),
        ("secrets", "update"),
        ("secrets", "patch"),
        ("secrets", "delete"),
        ("serviceaccounts/token", "create"),
        ("pods", "create"),
        ("pods/exec", "create"),
        ("deployments.apps", "patch"),
        ("users", "impersonate"),
        ("serviceaccounts", "impersonate"),
        ("roles.rbac.authorization.k8s.io", "escalate"),
        ("roles.rbac.authorization.k8s.io", "bind"),
        ("rolebindings.rbac.authorization.k8s.io", "create"),
        ("serviceaccounts.keyrota.dev", "update"),
        ("serviceaccounts.keyrota.dev/status", "update"),
    ] {
        for namespace in [tenant, own] {
            assert!(!may(&client, namespace, resource, verb).await, "{verb} {resource} in {namespace}");
        }
    }

    let secrets: Api<Secret> = Api::namespaced(client.clone(), tenant);
    let everywhere: Api<Secret> = Api::all(client.clone());
    let refused = [
        secrets.get("exporter-credentials").await.err(),
        secrets.list(&ListParams::default()).await.err(),
        secrets.list_metadata(&ListParams::default()).await.err(),
        secrets.watch(&Default::default(), "0").await.err(),
        everywhere.list(&ListParams::default()).await.err(),
    ];
    for error in refused {
        assert!(matches!(&error, Some(kube::Error::Api(status)) if status.code == 403), "{error:?}");
    }
    Api::<Secret>::namespaced(client, own).get("keyrota-gateway-tls").await.unwrap();
}
