//! What people see: kubectl, field selectors, samples, and a status that is nobody's but the controller's.

use std::path::Path;
use std::time::Duration;

use keyrota::api::ServiceAccount;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Kind, Server};
use crate::common::{control_plane, eventually};
use crate::generated::checkout;

/// What kubectl prints, or what it complains of.
async fn try_kubectl(arguments: &[&str]) -> Result<String, String> {
    let control_plane = control_plane();
    let output = Command::new(control_plane.kubectl())
        .arg("--kubeconfig")
        .arg(control_plane.kubeconfig())
        // Its cache of kinds belongs to this control plane, not to the home of whoever runs the tests.
        .arg("--cache-dir")
        .arg(control_plane.data_dir().join("kubectl"))
        .args(arguments)
        .output()
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

async fn kubectl(arguments: &[&str]) -> String {
    try_kubectl(arguments).await.unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")))
}

/// The words of each line.
fn table(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

fn named(name: &str, spec: Value) -> Value {
    let mut object = Kind::ServiceAccount.object(spec);
    object["metadata"]["name"] = name.into();
    object
}

/// The documents of a YAML file.
fn documents(path: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn samples() -> Vec<Value> {
    let files = std::fs::read_dir(checkout("crds/samples")).unwrap();
    files.flat_map(|file| documents(&file.unwrap().path())).collect()
}

#[tokio::test]
async fn the_crd_files_pass_strict_validation_of_kubectl() {
    let directory = checkout("crds");
    let arguments =
        ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-o", "name", "-f"];
    let applied = kubectl(&[arguments.as_slice(), &[directory.to_str().unwrap()]].concat()).await;
    let expected = ["serviceaccounts", "tokenissuers", "usergroups"];
    let expected =
        expected.map(|plural| format!("customresourcedefinition.apiextensions.k8s.io/{plural}.keyrota.dev\n"));
    assert_eq!(applied, expected.concat());
}

#[tokio::test]
async fn every_sample_is_let_in_strictly_and_read() {
    let server = Server::new().await;
    let mut seen = Vec::new();
    for mut object in samples() {
        let Some(kind) = Kind::of(&object) else {
            assert_eq!(object["kind"], "Namespace", "{object}");
            continue;
        };
        if kind == Kind::ServiceAccount {
            object["metadata"]["namespace"] = server.namespace.name.clone().into();
        }
        let stored = server.dry_run(kind, &object).await.unwrap();
        seen.push(format!("{kind:?} {}", stored["spec"]["authentication"]["mode"].as_str().unwrap_or("")));
        kind.parse(stored).unwrap();
    }
    for kind in ["ServiceAccount Internal", "ServiceAccount External", "UserGroup ", "TokenIssuer "] {
        assert!(seen.iter().any(|seen| seen == kind), "no sample of {kind}");
    }
}

#[test]
fn the_samples_are_the_account_that_the_demo_waits_for_and_fit_together() {
    let exporter = documents(&checkout("crds/samples/serviceaccount.yaml"));
    assert_eq!(exporter.len(), 1);
    assert_eq!(exporter[0]["metadata"], json!({"name": "exporter", "namespace": "demo"}));

    let samples = samples();
    let names = |kind: &str| -> Vec<&Value> {
        samples.iter().filter(|object| object["kind"] == kind).map(|object| &object["metadata"]["name"]).collect()
    };
    let trusted: Vec<_> = samples
        .iter()
        .flat_map(|object| object["spec"]["trustedIssuers"].as_array().into_iter().flatten())
        .map(|issuer| &issuer["name"])
        .collect();
    for account in samples.iter().filter(|object| object["kind"] == "ServiceAccount") {
        assert!(names("Namespace").contains(&&account["metadata"]["namespace"]), "{account}");
        let groups = account["spec"]["userGroups"].as_array().into_iter().flatten();
        groups.for_each(|group| assert!(names("UserGroup").contains(&group), "{group}"));
        let issuer = &account["spec"]["authentication"]["trustedIssuer"];
        assert!(issuer.is_null() || trusted.contains(&issuer), "{issuer}");
    }
}

#[tokio::test]
async fn the_core_kind_keeps_its_short_name_and_ours_has_its_own() {
    let server = Server::new().await;
    server.create(Kind::ServiceAccount, &named("exporter", json!({"userGroups": ["readers"]}))).await;
    let namespace = server.namespace.name.as_str();

    let core = eventually("the namespace's own service account", Duration::from_secs(90), async || {
        let core = kubectl(&["get", "sa", "-n", namespace, "-o", "name"]).await;
        (!core.is_empty()).then_some(core)
    })
    .await;
    assert_eq!(core, "serviceaccount/default\n");
    assert_eq!(kubectl(&["get", "serviceaccounts", "-n", namespace, "-o", "name"]).await, core);

    let ours = "serviceaccount.keyrota.dev/exporter\n";
    for name in ["krsa", "serviceaccounts.keyrota.dev", "keyrota"] {
        assert_eq!(kubectl(&["get", name, "-n", namespace, "-o", "name"]).await, ours, "{name}");
    }
    assert!(!kubectl(&["get", "all", "-n", namespace, "-o", "name"]).await.contains("keyrota"));
}

#[tokio::test]
async fn the_table_shows_what_the_inventory_of_the_manual_shows() {
    let server = Server::new().await;
    let spec =
        json!({"description": "Nightly export", "contact": {"email": "a@example.com"}, "userGroups": ["readers"]});
    server.create(Kind::ServiceAccount, &named("exporter", spec)).await;
    let namespace = server.namespace.name.as_str();
    let narrow = ["CLIENT-ID", "MODE", "STATUS", "SECRET", "EXPIRES", "LAST-ACCESS", "READY", "AGE"];

    // `kubectl get krsa -A` as it is typed, narrowed to one name since other tests have accounts too.
    let fresh = kubectl(&["get", "krsa", "-A"]).await;
    assert_eq!(table(&fresh)[0], [["NAMESPACE", "NAME"].as_slice(), &narrow].concat());
    assert!(table(&fresh).iter().any(|row| row.starts_with(&[namespace, "exporter", "Internal"])), "{fresh}");

    let status = json!({"status": {
        "observedGeneration": 1, "clientId": "97074e41-8af9-456d-9a64-f0c4bb908048", "accountStatus": "Active",
        "clientSecretStatus": "Active", "clientSecretExpiryTime": "2999-01-02T03:04:05Z",
        "nextRotationTime": "2999-01-01T03:04:05Z", "createdBy": "alice",
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Ready", "message": "published",
            "lastTransitionTime": "2026-11-21T12:00:00Z", "observedGeneration": 1,
        }],
    }});
    let path = format!("{}/exporter/status", server.collection(Kind::ServiceAccount));
    server.send("PATCH", &path, &status).await.unwrap();
    let row = kubectl(&["get", "krsa", "exporter", "-n", namespace]).await;
    assert_eq!(table(&row)[0], [["NAME"].as_slice(), &narrow].concat());
    let id = "97074e41-8af9-456d-9a64-f0c4bb908048";
    // Future times are text: kubectl prints <invalid> for a future date.
    let expected = ["exporter", id, "Internal", "Active", "Active", "2999-01-02T03:04:05Z", "True"];
    assert_eq!(table(&row)[1][..7], expected);

    let wide = kubectl(&["get", "krsa", "exporter", "-n", namespace, "-o", "wide"]).await;
    let more = ["DESCRIPTION", "EMAIL", "GROUPS", "CREATED-BY", "NEXT-ROTATION", "MESSAGE"];
    assert_eq!(table(&wide)[0][9..], more);
    let end = r#"Nightly export   a@example.com   ["readers"]   alice   2999-01-01T03:04:05Z   published"#;
    let squeezed = wide.lines().nth(1).unwrap().split("  ").filter(|cell| !cell.is_empty());
    let cells: Vec<_> = squeezed.map(str::trim).collect();
    assert_eq!(cells[cells.len() - 6..].join("   "), end);
}

#[tokio::test]
async fn explain_tells_meaning_default_and_bounds() {
    Server::new().await;
    let explained = async |what: &str| {
        // Words only: where a line ends is kubectl's to decide. The API server publishes the schema of a new kind a moment after the kind.
        eventually("the schema is published", Duration::from_secs(60), async || {
            let text = try_kubectl(&["explain", what]).await.ok()?;
            Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .await
    };
    let settings = explained("krsa.spec.clientSecret").await;
    for said in
        ["GROUP: keyrota.dev", "validityDays <integer>", "from 1 to 365", "Default: 180", "Manual", "overlap <string>"]
    {
        assert!(settings.contains(said), "{said:?} is not in\n{settings}");
    }
    let selector = explained("krsa.spec.rolloutRestart.selector").await;
    for said in ["matchLabels", "DESCRIPTION:", "Or the labels of the workloads"] {
        assert!(selector.contains(said), "{said:?} is not in\n{selector}");
    }
    assert!(explained("krti.spec").await.contains("gracePeriod"));
    assert!(explained("krug.spec").await.contains("scopes"));
}

#[tokio::test]
async fn accounts_can_be_selected_by_state_mode_and_client_id() {
    let server = Server::new().await;
    server.create(Kind::ServiceAccount, &named("on", json!({}))).await;
    server.create(Kind::ServiceAccount, &named("off", json!({"enabled": false}))).await;
    let external = json!({"authentication": {"mode": "External", "externalClientId": "x"}});
    server.create(Kind::ServiceAccount, &named("foreign", external)).await;
    let status = json!({"status": {"observedGeneration": 1, "clientId": "id-1", "accountStatus": "Inactive"}});
    server.send("PATCH", &format!("{}/off/status", server.collection(Kind::ServiceAccount)), &status).await.unwrap();

    let accounts: Api<ServiceAccount> = Api::namespaced(server.client.clone(), &server.namespace.name);
    for (selector, expected) in [
        ("spec.enabled=false", vec!["off"]),
        ("spec.enabled=true", vec!["foreign", "on"]),
        ("spec.authentication.mode=External", vec!["foreign"]),
        ("spec.authentication.mode=Internal,spec.enabled=true", vec!["on"]),
        ("status.clientId=id-1", vec!["off"]),
        ("status.accountStatus=Inactive", vec!["off"]),
        ("status.accountStatus!=Inactive", vec!["foreign", "on"]),
    ] {
        let found = accounts.list(&ListParams::default().fields(selector)).await.unwrap();
        let names: Vec<_> = found.items.iter().map(|account| account.metadata.name.as_deref().unwrap()).collect();
        assert_eq!(names, expected, "{selector}");
    }
}

#[tokio::test]
async fn a_new_object_is_not_ready_yet_for_anyone_who_waits_by_generation() {
    let server = Server::new().await;
    for kind in Kind::ALL {
        let mut object = kind.object(json!({}));
        object["spec"] = Value::Null;
        let created = server.dry_run(kind, &object).await.unwrap();
        assert_eq!(created["status"], json!({"observedGeneration": -1}), "{kind:?}");
        assert_eq!(created["metadata"]["generation"], 1);
        kind.parse(created).unwrap();
    }
}

#[tokio::test]
async fn whoever_edits_the_spec_cannot_edit_the_status_with_it_nor_the_other_way_round() {
    let server = Server::new().await;
    server.create(Kind::ServiceAccount, &named("exporter", json!({}))).await;
    let path = format!("{}/exporter", server.collection(Kind::ServiceAccount));
    let both = json!({"spec": {"enabled": false}, "status": {"observedGeneration": 7, "clientId": "forged"}});
    let edited = server.send("PATCH", &path, &both).await.unwrap();
    assert_eq!((&edited["spec"]["enabled"], &edited["status"]), (&json!(false), &json!({"observedGeneration": -1})));
    let both = json!({"spec": {"enabled": true}, "status": {"observedGeneration": 2}});
    let reported = server.send("PATCH", &format!("{path}/status"), &both).await.unwrap();
    assert_eq!((&reported["spec"]["enabled"], &reported["status"]["observedGeneration"]), (&json!(false), &json!(2)));
    assert_eq!(reported["metadata"]["generation"], 2);
}
