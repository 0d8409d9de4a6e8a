//! kstatus, Flux' health expressions and Argo CD's Lua, as one Go program that is built once; see `tests/gitops`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::common::tools::own_go_tool;
use crate::generated::checkout;

const ACTIONS: [&str; 4] = ["regenerate-client-secret", "regenerate-client-id", "enable", "disable"];

/// What each tool says of one object.
#[derive(Debug, Deserialize)]
pub(super) struct Verdict {
    pub(super) kstatus: String,
    #[serde(default)]
    pub(super) flux: String,
    #[serde(default)]
    pub(super) argo: Value,
    /// Argo CD's actions that are offered.
    #[serde(default)]
    pub(super) actions: BTreeMap<String, Value>,
    /// What each of them makes of the object.
    #[serde(default)]
    pub(super) after: BTreeMap<String, Value>,
}

fn tool() -> Option<PathBuf> {
    own_go_tool("gitops", &["lua.go"], "building the libraries of GitOps tools, once")
}

fn script(path: &str) -> String {
    std::fs::read_to_string(checkout("docs/gitops/argocd/keyrota.dev").join(path)).unwrap_or_default()
}

/// The scripts and expressions that the documentation hands out, by kind.
fn kinds() -> Value {
    let text = std::fs::read_to_string(checkout("docs/gitops/flux/kustomization.yaml")).unwrap();
    let flux: Value = serde_saphyr::from_str(&text).unwrap();
    let kinds = ["ServiceAccount", "TokenIssuer", "UserGroup"].map(|kind| {
        let checks = flux["spec"]["healthCheckExprs"].as_array().unwrap();
        let mut scripts = json!({"health": script(&format!("{kind}/health.lua"))});
        if let Some(check) = checks.iter().find(|check| check["kind"] == kind) {
            scripts["flux"] = check.clone();
        }
        if kind == "ServiceAccount" {
            scripts["discovery"] = script(&format!("{kind}/actions/discovery.lua")).into();
            let actions =
                ACTIONS.map(|name| (name.to_owned(), script(&format!("{kind}/actions/{name}/action.lua")).into()));
            scripts["actions"] = Value::Object(actions.into_iter().collect());
        }
        (kind.to_owned(), scripts)
    });
    Value::Object(kinds.into_iter().collect())
}

/// What the tools say of these objects. None without Go.
pub(super) async fn judged(objects: Vec<Value>) -> Option<Vec<Verdict>> {
    let count = objects.len();
    let input = json!({"kinds": kinds(), "objects": objects});
    let output = tokio::task::spawn_blocking(move || {
        let mut child = Command::new(tool()?).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
        Some(child.wait_with_output().unwrap())
    });
    let output = output.await.unwrap()?;
    assert!(output.status.success(), "the program says why, above");
    let text = String::from_utf8(output.stdout).unwrap();
    let verdicts: Vec<Verdict> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verdicts.len(), count);
    Some(verdicts)
}
