//! Argo CD's configuration holds the scripts that the tests run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::{checkout, none_outdated, outdated};

const SCRIPTS: &str = "docs/gitops/argocd/keyrota.dev";
const HEADER: &str = "\
# Generated from the scripts beside it by `UPDATE=1 cargo test generated`; do not edit.
# Apply it to Argo CD: kubectl -n argocd patch configmap argocd-cm --patch-file argocd-cm.yaml
data:
";

fn script(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(checkout(SCRIPTS).join(path)).ok()
}

fn names(directory: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(checkout(SCRIPTS).join(directory)) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A YAML block with every line moved in.
fn block(text: &str, by: usize) -> String {
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{:by$}{line}\n", "") };
    text.lines().map(line).collect()
}

fn actions(kind: &str) -> Option<String> {
    let discovery = script(format!("{kind}/actions/discovery.lua"))?;
    let mut text = format!("discovery.lua: |\n{}definitions:\n", block(&discovery, 2));
    for name in names(&format!("{kind}/actions")) {
        if let Some(action) = script(format!("{kind}/actions/{name}/action.lua")) {
            write!(text, "- name: {name}\n  action.lua: |\n{}", block(&action, 4)).unwrap();
        }
    }
    Some(text)
}

#[test]
fn argo_cds_configuration_holds_the_scripts() {
    let mut entries = BTreeMap::new();
    for kind in names("") {
        entries
            .insert(format!("resource.customizations.health.keyrota.dev_{kind}"), script(format!("{kind}/health.lua")));
        entries.insert(format!("resource.customizations.actions.keyrota.dev_{kind}"), actions(&kind));
    }
    let entries = entries.into_iter().filter_map(|(key, text)| Some(format!("  {key}: |\n{}", block(&text?, 4))));
    none_outdated([outdated("docs/gitops/argocd/argocd-cm.yaml", &format!("{HEADER}{}", entries.collect::<String>()))]);
}
