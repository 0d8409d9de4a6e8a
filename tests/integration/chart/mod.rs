//! The Helm chart: rendered by the real Helm, and checked by its users' tools and a real API server.

mod api_server;
mod arguments;
mod checkers;
mod generated;
mod life;
mod monitoring;
mod refusals;
pub(crate) mod tools;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::tools::run;
use crate::generated::checkout;

/// Where the chart is.
pub(crate) fn chart() -> PathBuf {
    checkout("charts/keyrota")
}

/// The sets of values that everything is tried with: what is in `ci`, where chart-testing looks for them, too.
fn value_sets() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(chart().join("ci")).unwrap();
    let mut sets: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    sets.sort();
    assert!(sets.len() >= 12, "{sets:?}");
    sets
}

/// A set's name.
fn name(set: &Path) -> String {
    set.file_name().unwrap().to_str().unwrap().trim_end_matches("-values.yaml").to_owned()
}

/// `helm template` with further arguments; it asks no cluster.
fn template(helm: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(helm);
    command.args(["template", "keyrota"]).arg(chart()).args(["--namespace", "keyrota-system"]).args(arguments);
    command
}

/// What Helm makes of a set of values.
fn rendered(helm: &Path, set: &Path) -> String {
    run(&mut template(helm, &["--values", set.to_str().unwrap()]))
}

fn objects(manifest: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(manifest).unwrap();
    objects.into_iter().filter(|object| !object.is_null()).collect()
}

/// The Pods that the Deployments of a manifest would start, with the name of their container.
fn pod_templates(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects.iter().filter(|object| object["kind"] == "Deployment").map(|deployment| &deployment["spec"]["template"])
}

/// A command that must be content; its output is shown when it is not.
fn passes(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}");
    said
}
