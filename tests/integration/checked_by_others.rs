//! The gateway as other people's checkers see it: its OpenAPI document held against its answers by schemathesis, and its
//! TLS against Mozilla's intermediate configuration by sslyze.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use keyrota::clock::SystemClock;
use serde_json::json;
use tempfile::NamedTempFile;

use super::common::operator::{Operator, free_address, text};
use super::common::tools::{install_python_packages, installed};

const PACKAGES: [&str; 2] = ["schemathesis==4.32.5", "sslyze==6.3.1"];

/// Cases in all; `just contract` asks for ten times as many.
const CASES: usize = 1000;

/// A round of both modes asks for all the cases, but sometimes makes only two thirds of them: hypothesis, which makes them
/// up, gives up an operation early when it finds nothing new there.
const ROUNDS: usize = 5;

/// What can go wrong however a request is: a request that should have been refused is for our own tests.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance";

struct Served {
    origin: String,
    ca: NamedTempFile,
    pair: (String, String),
    _operator: Operator,
}

async fn served() -> Served {
    let mut operator = Operator::prepared(Arc::new(SystemClock)).await;
    let listen = free_address();
    let origin = format!("https://{listen}");
    operator.flags = vec!["--external-url".into(), origin.clone()];
    operator.start_controller();
    operator.start_gateway_at(listen, &origin).await;
    operator.ready("app", json!({})).await;
    let published = operator.secrets().get("app-credentials").await.unwrap();
    let ca = NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), text(&published, "ca.crt")).unwrap();
    let pair = (text(&published, "client-id"), text(&published, "client-secret"));
    Served { origin, ca, pair, _operator: operator }
}

fn checkers() -> Option<PathBuf> {
    let install = |home: &std::path::Path| install_python_packages(home, &PACKAGES);
    Some(installed("checkers-schemathesis-4.32.5-sslyze-6.3.1", "python3", install)?.join("bin/python"))
}

/// What a checker says. A failure does not show the command, in which the secret stands.
async fn output_of(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output()).await.unwrap().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[expect(clippy::disallowed_methods, reason = "only a test asks how long it is to be")]
fn cases() -> usize {
    std::env::var("KEYROTA_CONTRACT_CASES").map_or(CASES, |number| number.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_server_error_and_no_answer_that_the_openapi_document_does_not_tell() {
    let Some(python) = checkers() else { return };
    let served = served().await;
    // GET takes nothing that could be made up: three operations in two modes share the cases.
    let of_each = cases().div_ceil(6);
    let mut generated = 0;
    for mode in ["positive", "negative"].into_iter().cycle().take(2 * ROUNDS) {
        generated += passed_cases(&python, &served, mode, of_each).await;
        if generated >= cases() {
            return;
        }
    }
    panic!("only {generated} cases were made up");
}

/// How many cases there were, all of which passed.
async fn passed_cases(python: &Path, served: &Served, mode: &str, of_each: usize) -> usize {
    let mut command = Command::new(python);
    // A configuration of the user's own must not decide.
    command.current_dir(served.ca.path().parent().unwrap()).args(["-m", "schemathesis.cli", "run"]);
    command.arg(format!("{}/openapi.json", served.origin)).arg("--tls-verify").arg(served.ca.path());
    command.args(["--auth", &format!("{}:{}", served.pair.0, served.pair.1)]);
    command.args(["--max-examples", &of_each.to_string(), "--mode", mode, "--phases", "fuzzing"]);
    command.args(["--workers", "2", "--no-color", "--continue-on-failure", "--checks", CHECKS]);
    let said = output_of(command).await;
    let summary = said.lines().find(|line| line.contains(" generated, ")).unwrap_or(&said).trim().to_owned();
    println!("{mode}: {summary}");
    let (generated, passed) = summary.split_once(" generated, ").unwrap();
    assert_eq!(passed, format!("{generated} passed"), "{said}");
    generated.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sslyze_finds_mozillas_intermediate_configuration() {
    let Some(python) = checkers() else { return };
    let served = served().await;
    let address = served.origin.trim_start_matches("https://").to_owned();
    let mut command = Command::new(python);
    command.args(["-m", "sslyze", "--mozilla_config", "intermediate", "--certinfo_ca_file"]).arg(served.ca.path());
    command.arg(&address);
    let said = output_of(command).await;
    assert!(said.contains("OK - Compliant"), "{said}");
}
