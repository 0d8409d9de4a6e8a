//! `rolloutRestart`: workloads take up a new credential once for each version, whatever happens in between.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::rbac::v1::ClusterRole;
use keyrota::api::{ConditionStatus, ServiceAccountStatus};
use keyrota::clock::SystemClock;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::common::eventually;
use super::common::operator::{Operator, SOON, condition};
use super::common::proxy::Moment;

const SECRET: &str = "exporter-credentials";
const FAILED: &str = "RolloutRestartFailed";

fn resource(kind: &str) -> ApiResource {
    match kind {
        "Deployment" => ApiResource::erase::<Deployment>(&()),
        "StatefulSet" => ApiResource::erase::<StatefulSet>(&()),
        _ => ApiResource::erase::<DaemonSet>(&()),
    }
}

fn workloads(operator: &Operator, kind: &str) -> Api<DynamicObject> {
    Api::namespaced_with(operator.client.clone(), &operator.tenant.name, &resource(kind))
}

async fn create(operator: &Operator, kind: &str, name: &str, label: &str) {
    let labels = json!({"app": label});
    let mut spec = json!({
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "example.com/c"}]}},
    });
    if kind == "StatefulSet" {
        spec["serviceName"] = json!(name);
    }
    let object = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec,
    });
    let object = serde_json::from_value(object).unwrap();
    workloads(operator, kind).create(&PostParams::default(), &object).await.unwrap();
}

/// Counts the changes of the spec, so the restarts.
async fn generation(operator: &Operator, kind: &str, name: &str) -> i64 {
    workloads(operator, kind).get(name).await.unwrap().metadata.generation.unwrap()
}

async fn until_generation(operator: &Operator, kind: &str, name: &str, wanted: i64) {
    eventually(&format!("{kind} {name} has generation {wanted}"), SOON, async || {
        (generation(operator, kind, name).await == wanted).then_some(())
    })
    .await;
}

async fn regenerate(operator: &Operator, count: i64) {
    operator.edit("exporter", json!({"spec": {"regenerate": {"clientSecret": count}}})).await;
}

fn patches(operator: &Operator, name: &str) -> usize {
    operator.writes().iter().filter(|(verb, _, of)| verb == "patch" && of == name).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_version_but_the_first_restarts_its_workloads_once_by_name_and_by_label() {
    let operator = Operator::start().await;
    let all = [("Deployment", "web"), ("Deployment", "worker-a"), ("StatefulSet", "db"), ("DaemonSet", "agent")];
    for (kind, name) in all {
        create(&operator, kind, name, name.split('-').next().unwrap()).await;
    }
    create(&operator, "Deployment", "bystander", "bystander").await;
    let targets = json!([
        {"kind": "Deployment", "name": "web"},
        {"kind": "Deployment", "selector": {"matchLabels": {"app": "worker"}}},
        {"kind": "StatefulSet", "selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["db"]}]}},
        {"kind": "DaemonSet", "name": "agent"},
    ]);
    let account = operator.ready("exporter", json!({"rolloutRestart": targets})).await;
    let mut credential = operator.credential(SECRET).await;
    for (kind, name) in all {
        assert_eq!(generation(&operator, kind, name).await, 1, "{name} waited for the first Secret, or never used it");
    }
    for count in 1..=2 {
        regenerate(&operator, count).await;
        credential = operator.next_credential(SECRET, &credential).await;
        for (kind, name) in all {
            until_generation(&operator, kind, name, 1 + count).await;
        }
        eventually("the restart is finished", SOON, async || {
            operator.record(&account).await.filter(|r| r.restart.is_none() && r.last_version == 1 + count).map(drop)
        })
        .await;
    }
    let web = workloads(&operator, "Deployment").get("web").await.unwrap();
    let annotations = &web.data["spec"]["template"]["metadata"]["annotations"];
    assert!(annotations["kubectl.kubernetes.io/restartedAt"].is_string(), "{annotations}");
    operator.until("exporter", "told of no failure", |status| condition(status, FAILED).0.is_none()).await;
    // A restart and an edit that concerns no credential restart nothing.
    operator.edit("exporter", json!({"spec": {"description": "edited"}})).await;
    operator.until("exporter", "edited", |_| true).await;
    assert_eq!(all.map(|(_, name)| patches(&operator, name)), [2; 4]);
    assert_eq!(generation(&operator, "Deployment", "bystander").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_target_is_reported_and_holds_up_neither_the_rotation_nor_the_other_targets() {
    let operator = Operator::start().await;
    create(&operator, "Deployment", "web", "web").await;
    let web = json!({"kind": "Deployment", "name": "web"});
    let targets = json!([{"kind": "Deployment", "name": "nobody"}, web]);
    operator.ready("exporter", json!({"rolloutRestart": targets})).await;
    let first = operator.credential(SECRET).await;
    regenerate(&operator, 1).await;
    let second = operator.next_credential(SECRET, &first).await;
    let account = operator
        .until("exporter", "told of the missing target", |s| condition(s, FAILED).1 == "WorkloadNotFound")
        .await;
    assert_eq!(condition(&account.status.unwrap(), "Ready").0, Some(ConditionStatus::True));
    until_generation(&operator, "Deployment", "web", 2).await;

    // As a GitOps tool does that knows nothing of the annotations.
    let stripped = json!({"spec": {"template": {"metadata": {"annotations": null}}}});
    let patch = Patch::Merge(stripped);
    workloads(&operator, "Deployment").patch("web", &PatchParams::default(), &patch).await.unwrap();
    operator
        .edit("exporter", json!({"spec": {"rolloutRestart": [web, {"kind": "DaemonSet", "name": "nobody"}]}}))
        .await;
    operator
        .until("exporter", "told of the other missing target", |status| {
            status.conditions.iter().any(|c| c.type_ == FAILED && c.message.contains("DaemonSet nobody"))
        })
        .await;
    assert_eq!(patches(&operator, "web"), 1, "a retry restarted what had been restarted");

    regenerate(&operator, 2).await;
    operator.next_credential(SECRET, &second).await;
    until_generation(&operator, "Deployment", "web", 4).await;
    operator.edit("exporter", json!({"spec": {"rolloutRestart": [web]}})).await;
    operator.until("exporter", "told of no failure", |status| condition(status, FAILED).0.is_none()).await;
    assert_eq!(patches(&operator, "web"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_restart_is_reported_and_the_credential_is_published_all_the_same() {
    let operator = Operator::start().await;
    create(&operator, "Deployment", "web", "web").await;
    let roles: Api<ClusterRole> = Api::all(operator.client.clone());
    let name = format!("keyrota-controller-{}", operator.own.name);
    let mut role = roles.get(&name).await.unwrap();
    let of_apps = |rule: &k8s_openapi::api::rbac::v1::PolicyRule| rule.api_groups == Some(vec!["apps".to_owned()]);
    role.rules.as_mut().unwrap().retain(|rule| !of_apps(rule));
    roles.replace(&name, &PostParams::default(), &role).await.unwrap();
    let targets = json!([{"kind": "Deployment", "name": "web"}]);
    operator.ready("exporter", json!({"rolloutRestart": targets})).await;
    let first = operator.credential(SECRET).await;
    regenerate(&operator, 1).await;
    operator.next_credential(SECRET, &first).await;
    let account = operator.until("exporter", "told of the refusal", |s| condition(s, FAILED).1 == "Refused").await;
    assert_eq!(condition(&account.status.unwrap(), "Ready").0, Some(ConditionStatus::True));
    assert_eq!(generation(&operator, "Deployment", "web").await, 1);
}

/// Write 1 stages, 2 publishes, 3 retires, 4 restarts, 5 finishes.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_killed_between_publishing_and_restarting_restarts_once_when_it_is_back() {
    let mut operator = Operator::prepared(Arc::new(SystemClock)).await;
    let proxy = operator.through_a_proxy().await;
    operator.start_controller();
    create(&operator, "Deployment", "web", "web").await;
    let targets = json!([{"kind": "Deployment", "name": "web"}]);
    let account = operator.ready("exporter", json!({"rolloutRestart": targets})).await;
    let mut count = 0;
    for write in 3..=5 {
        for moment in [Moment::Before, Moment::After] {
            count += 1;
            proxy.cut_at(write, moment);
            regenerate(&operator, count).await;
            tokio::time::timeout(SOON, proxy.until_cut()).await.unwrap();
            let writes: Vec<Value> = proxy.writes().into_iter().map(Value::from).collect();
            assert_eq!(writes[write - 1].as_str().unwrap().starts_with("PATCH"), write == 4, "{writes:?}");
            operator.kill_controller().await;
            proxy.pass();
            operator.start_controller();
            eventually("all is finished", SOON, async || {
                let record = operator.record(&account).await?;
                let finished = record.restart.is_none() && record.handled.client_secret == count;
                (finished && record.staged().count() == 0).then_some(())
            })
            .await;
            // Its last write, so that the next round's are counted from none.
            let told = |status: &ServiceAccountStatus| status.handled.as_ref().map(|h| h.client_secret) == Some(count);
            operator.until("exporter", "told of it", told).await;
            let what = format!("restarts after a cut {moment:?} write {write}");
            assert_eq!(generation(&operator, "Deployment", "web").await, 1 + count, "{what}");
        }
    }
    // What is still on its way would show within this.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(generation(&operator, "Deployment", "web").await, 1 + count);
    assert_eq!(account.name_any(), "exporter");
}
