//! What probes and Prometheus see of a controller.

use std::sync::Arc;

use keyrota::clock::SystemClock;
use serde_json::json;

use super::common::eventually;
use super::common::operator::{Operator, SOON, free_address};

async fn get(url: &str) -> Option<(u16, String)> {
    let answer = reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.unwrap()))
}

/// The value of a series, told by the start of its line.
fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_and_a_standby_are_ready_and_alive_and_only_the_leader_tells_of_accounts() {
    let operator = Operator::prepared(Arc::new(SystemClock)).await;
    let (leading, standing) = (free_address().to_string(), free_address().to_string());
    let leader = operator.another_controller(&["--health-listen", &leading]);
    let account = operator.ready("exporter", json!({})).await;
    let standby = operator.another_controller(&["--health-listen", &standing]);
    for address in [&leading, &standing] {
        eventually("it is ready", SOON, async || {
            (get(&format!("http://{address}/readyz")).await? == (200, "ok\n".into())).then_some(())
        })
        .await;
        assert_eq!(get(&format!("http://{address}/healthz")).await, Some((200, "ok\n".into())));
    }
    let status = account.status.unwrap();
    let labels = format!("{{namespace=\"{}\",name=\"exporter\"}}", operator.tenant.name);
    let of_leader = eventually("the leader tells of the account", SOON, async || {
        let (_, metrics) = get(&format!("http://{leading}/metrics")).await?;
        value(&metrics, &format!("keyrota_client_secret_expiry_timestamp_seconds{labels}")).map(|time| (time, metrics))
    })
    .await;
    let (expiry, metrics) = of_leader;
    assert_eq!(expiry as i64, status.client_secret_expiry_time.unwrap().unix());
    let rotation = format!("keyrota_client_secret_last_rotation_timestamp_seconds{labels}");
    assert_eq!(value(&metrics, &rotation).unwrap() as i64, status.credentials[0].not_before.unix());
    assert_eq!(value(&metrics, "keyrota_controller_leader"), Some(1.0));
    assert_eq!(value(&metrics, "keyrota_controller_credentials_published_total{reason=\"Created\"}"), Some(1.0));
    assert!(value(&metrics, "keyrota_controller_reconciles_total{outcome=\"done\"}").unwrap() >= 1.0);
    let ages = metrics.lines().filter(|line| line.starts_with("keyrota_controller_watch_age_seconds{"));
    assert_eq!(ages.count(), 6, "{metrics}");
    assert!(metrics.contains("\nkeyrota_notifications_total{"), "{metrics}");

    let (_, metrics) = get(&format!("http://{standing}/metrics")).await.unwrap();
    assert_eq!(value(&metrics, "keyrota_controller_leader"), Some(0.0));
    assert!(!metrics.contains("keyrota_client_secret_expiry"), "{metrics}");
    standby.stop().await;
    leader.stop().await;
}

/// kube's watcher swallows bookmarks; without them every quiet watch would look dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_watch_shows_signs_of_life_by_its_bookmarks() {
    let operator = Operator::prepared(Arc::new(SystemClock)).await;
    let address = free_address().to_string();
    let controller = operator.another_controller(&["--health-listen", &address, "--leader-elect", "false"]);
    let ages = async || {
        let (_, metrics) = get(&format!("http://{address}/metrics")).await?;
        // What has no namespace, other tests may change at any time.
        let quiet = |line: &&str| line.starts_with("keyrota_controller_watch_age_seconds{") && line.contains("\"test-");
        let of_watches = metrics.lines().filter(quiet);
        Some(of_watches.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).collect::<Vec<_>>())
    };
    eventually("all watches have grown quiet", SOON, async || {
        ages().await?.iter().all(|age| *age > 15.0).then_some(())
    })
    .await;
    let mut seen = [false; 4];
    eventually("each watch was heard of again though nothing changed", SOON, async || {
        for (seen, age) in seen.iter_mut().zip(ages().await?) {
            *seen |= age < 10.0;
        }
        seen.iter().all(|seen| *seen).then_some(())
    })
    .await;
    assert_eq!(get(&format!("http://{address}/healthz")).await.unwrap().0, 200);
    controller.stop().await;
}
