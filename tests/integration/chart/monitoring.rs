//! What alerts and dashboard ask for is what controller, gateway and console tell.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyrota::clock::SystemClock;
use keyrota::{config, gateway};
use serde_json::{Value, json};

use super::chart;
use crate::common::eventually;
use crate::common::operator::{Operator, SOON, free_address, metrics};
use crate::console::Console;
use crate::generated::checkout;

fn alerts() -> Vec<Value> {
    let text = std::fs::read_to_string(chart().join("files/alerts.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let alerts: BTreeSet<_> = alerts().iter().map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect();
    let files = std::fs::read_dir(checkout("docs/runbooks")).unwrap();
    let pages: BTreeSet<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap().trim_end_matches(".md").to_owned())
        .filter(|page| page != "README")
        .collect();
    assert_eq!(pages, alerts);
    let list = std::fs::read_to_string(checkout("docs/runbooks/README.md")).unwrap();
    let missing: Vec<_> = alerts.iter().filter(|alert| !list.contains(&format!("({alert}.md)"))).collect();
    assert!(missing.is_empty(), "not in docs/runbooks/README.md: {missing:?}");
}

/// The metrics of ours in expressions: `keyrota_…`, up to what is no part of a name.
fn names(text: &str) -> BTreeSet<String> {
    let starts = text.match_indices("keyrota_").map(|(start, _)| &text[start..]);
    let end = |rest: &str| rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    starts.map(|rest| rest[..end(rest)].to_owned()).collect()
}

/// A metric's series as Prometheus stores them.
fn series(metrics: &str) -> BTreeSet<String> {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let suffix = |kind: &str| match kind {
        "counter" => "_total",
        "histogram" => "_bucket",
        _ => "",
    };
    types.map(|(name, kind)| format!("{name}{}", suffix(kind))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let operator = Operator::prepared(Arc::new(SystemClock)).await;
    let (controller, gateway_health) = (free_address().to_string(), free_address().to_string());
    let running = operator.another_controller(&["--health-listen", &controller]);
    operator.ready("exporter", json!({})).await;
    let identity = operator.control_plane.service_account_kubeconfig(&operator.own.name, "keyrota-gateway");
    let kubeconfig = identity.await.unwrap();
    let listen = free_address().to_string();
    let arguments = [
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--operator-namespace",
        &operator.own.name,
        "--listen",
        &listen,
        "--health-listen",
        &gateway_health,
    ];
    let run = gateway::run(config::parse(&arguments).unwrap(), Arc::new(SystemClock), std::future::pending());
    let gateway = tokio::spawn(run);
    let console = Console::start(&operator, &[], Arc::new(SystemClock)).await;
    // Before it refuses a stranger, the gateway asks the API server.
    let http = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().unwrap();
    let ask = http.post(format!("https://{listen}/oauth2/token")).body("grant_type=client_credentials");
    let ask = ask.header("Authorization", "Basic c3RyYW5nZXI6c2VjcmV0");
    let told = eventually("all three tell what they have", SOON, async || {
        ask.try_clone().unwrap().send().await.ok()?;
        let told = metrics(&controller).await + &metrics(&gateway_health).await + &metrics(&console.health).await;
        let of_both = ["keyrota_client_secret_expiry", "keyrota_gateway_live_reads"];
        of_both.iter().all(|metric| told.contains(metric)).then(|| series(&told))
    })
    .await;
    gateway.abort();
    running.stop().await;

    let expressions: String = alerts().iter().map(|alert| alert["expr"].as_str().unwrap().to_owned() + "\n").collect();
    let dashboard = std::fs::read_to_string(chart().join("files/dashboard.json")).unwrap();
    let asked: BTreeSet<_> = names(&expressions).union(&names(&dashboard)).cloned().collect();
    assert!(asked.len() > 15, "{asked:?}");
    let unknown: Vec<_> = asked.difference(&told).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not among {told:?}");
}
