//! kstatus, Flux' health expressions and Argo CD's Lua, as one Go program that is built once; see `tests/gitops`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use aws_lc_rs::digest::{Context, SHA256};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::common::tools::{during, installed, run};
use crate::generated::checkout;

const SOURCES: [&str; 4] = ["go.mod", "go.sum", "main.go", "lua.go"];
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
    let folder = checkout("tests/gitops");
    let mut digest = Context::new(&SHA256);
    SOURCES.iter().for_each(|source| digest.update(&std::fs::read(folder.join(source)).unwrap()));
    let digest: String = digest.finish().as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let home = installed(&format!("gitops-{digest}"), "go", |home| {
        let mut go = Command::new("go");
        go.env("CGO_ENABLED", "0").env("GOWORK", "off").current_dir(&folder);
        go.args(["build", "-trimpath", "-ldflags", "-s -w", "-o"]).arg(home.join("gitops")).arg(".");
        during("building the libraries of GitOps tools, once", || run(&mut go));
    })?;
    Some(home.join("gitops"))
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
