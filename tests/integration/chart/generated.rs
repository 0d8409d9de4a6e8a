//! What is in the chart because it is somewhere else too.

use std::path::Path;
use std::process::Command;

use keyrota::crds;
use serde_json::{Map, Value, json};

use super::tools::{helm, helm_docs};
use super::{chart, template};
use crate::common::tools::run;
use crate::generated::{CRD_HEADER, none_outdated, outdated};

#[test]
fn the_chart_has_the_crds_of_the_types() {
    none_outdated(crds::all().iter().map(|crd| {
        let path = format!("charts/keyrota/files/crds/{}", crds::file_name(crd));
        outdated(&path, &format!("{CRD_HEADER}{}", crds::yaml(crd).unwrap()))
    }));
    assert_eq!(std::fs::read_dir(chart().join("files/crds")).unwrap().count(), crds::all().len());
}

#[test]
fn the_default_issuers_values_are_what_the_crd_takes() {
    let crd = crds::all().into_iter().find(|crd| crd.spec.names.kind == "TokenIssuer").unwrap();
    let crd = serde_json::to_value(&crd).unwrap();
    let mut spec = strict(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]);
    // It serves whatever no other issuer lists.
    let fields = spec["properties"].as_object_mut().unwrap();
    for field in ["namespaces", "hosts"] {
        fields.remove(field).unwrap();
    }
    let schema = std::fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let mut schema: Value = serde_json::from_str(&schema).unwrap();
    schema["$defs"]["tokenIssuerSpec"] = spec;
    let expected = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    none_outdated([outdated("charts/keyrota/values.schema.json", &expected)]);
}

/// A CRD's schema as one of values: bounds, and nothing that is not named.
fn strict(schema: &Value) -> Value {
    const BOUNDS: [&str; 10] =
        ["type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "maxItems", "required", "items"];
    let mut values = Map::new();
    for (word, bound) in schema.as_object().unwrap().iter().filter(|(word, _)| BOUNDS.contains(&word.as_str())) {
        let whole = bound.as_f64().filter(|number| number.fract() == 0.0).map(|number| json!(number as i64));
        let bound = if word == "items" { strict(bound) } else { whole.unwrap_or_else(|| bound.clone()) };
        values.insert(word.clone(), bound);
    }
    if schema["x-kubernetes-list-type"] == "set" {
        values.insert("uniqueItems".into(), true.into());
    }
    if let Some(fields) = schema["properties"].as_object() {
        let fields: Map<_, _> = fields.iter().map(|(name, field)| (name.clone(), strict(field))).collect();
        values.insert("properties".into(), fields.into());
        values.insert("additionalProperties".into(), false.into());
    }
    values.into()
}

#[test]
fn the_charts_readme_lists_its_values() {
    let Some(helm_docs) = helm_docs() else { return };
    let mut command = Command::new(helm_docs);
    command.current_dir(chart()).args(["--template-files", "README.md.gotmpl", "--sort-values-order", "file"]);
    let readme = run(command.args(["--chart-search-root", ".", "--dry-run", "--log-level", "warning"]));
    none_outdated([outdated("charts/keyrota/README.md", &format!("{}\n", readme.trim()))]);
}

#[test]
fn the_plain_manifest_is_what_the_chart_renders() {
    let Some(helm) = helm() else { return };
    none_outdated([outdated("charts/install.yaml", &plain_manifest(&helm))]);
}

const PLAIN: &str = "\
# Keyrota without Helm: kubectl apply --server-side -f charts/install.yaml
#
# Generated from charts/keyrota with its defaults by `UPDATE=1 cargo test generated`; do not edit. Change the image, and
# --external-url of controller and gateway, before you apply it. The creator of an account is not stamped, which Kubernetes can do
# from 1.36 on: `helm template --set admissionPolicies.mutating=true` has that policy, too.
---
apiVersion: v1
kind: Namespace
metadata:
  name: keyrota-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
";

/// Without the issuer `default`: kubectl cannot apply a kind and its first object in one go, and without it the built-in
/// defaults apply, which are the same.
fn plain_manifest(helm: &Path) -> String {
    let manifest = run(&mut template(helm, &["--set", "defaultIssuer.create=false"]));
    let lines = manifest.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.fold(PLAIN.to_owned(), |text, line| text + line + "\n")
}
