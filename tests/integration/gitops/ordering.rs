//! Helm orders by kind without the group: our accounts come where core service accounts do. Harmless, but for the CRDs.

use std::process::Command;

use serde_json::Value;

use crate::chart::tools::helm;
use crate::common::tools::run;

const CHART: &str = "apiVersion: v2\nname: accounts\nversion: 1.0.0\n";

/// One of each, in no order that means anything.
const OBJECTS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
---
apiVersion: keyrota.dev/v1alpha1
kind: ServiceAccount
metadata: {name: a}
---
apiVersion: keyrota.dev/v1alpha1
kind: UserGroup
metadata: {name: g}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: x}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: core}
";

#[test]
fn helm_puts_an_account_before_secrets_and_crds_and_a_group_after_everything() {
    let Some(helm) = helm() else { return };
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("templates")).unwrap();
    std::fs::write(directory.path().join("Chart.yaml"), CHART).unwrap();
    std::fs::write(directory.path().join("templates/all.yaml"), OBJECTS).unwrap();
    let rendered = run(Command::new(helm).args(["template", "accounts"]).arg(directory.path()));
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered).unwrap();
    let order: Vec<&str> = objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(order, ["a", "core", "s", "c", "x", "d", "g"], "as docs/gitops says");
}
