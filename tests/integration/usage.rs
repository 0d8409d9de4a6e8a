//! Who still uses the old secret: from the gateway's grants to the account's status.

use std::sync::Arc;

use chrono::TimeDelta;
use k8s_openapi::api::core::v1::ConfigMap;
use keyrota::api::ConditionStatus;
use keyrota::api::service_account::CredentialState;
use keyrota::clock::{Clock, ManualClock, SystemClock};
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use super::common::eventually;
use super::common::operator::{Operator, SOON, condition, free_address, metrics};

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_when_each_version_was_first_and_last_used_and_that_the_previous_one_still_is() {
    let clock = ManualClock::at(SystemClock.now());
    let mut operator = Operator::prepared(Arc::new(clock.clone())).await;
    let address = free_address().to_string();
    operator.flags = vec!["--health-listen".into(), address.clone()];
    operator.start_controller();
    let gateway = operator.start_gateway().await;
    operator.ready("exporter", json!({})).await;
    let old = operator.credential("exporter-credentials").await;
    let granted_at = clock.timestamp();
    assert_eq!(gateway.token(&old).await.0, 200);
    let ticking = tick(&clock);
    let used = operator.until("exporter", "used", |status| status.last_access_time.is_some()).await;
    assert_eq!(used.status.unwrap().credentials[0].first_used_time, Some(granted_at));

    // Repaired leaves the old secret a day: its holder is the one to be warned of.
    operator.secrets().delete("exporter-credentials", &Default::default()).await.unwrap();
    operator.next_credential("exporter-credentials", &old).await;
    operator.until("exporter", "repaired", |status| status.credentials.len() == 2).await;
    // Less than what a gateway may be behind the API server by its clock.
    clock.advance(TimeDelta::minutes(30));
    assert_eq!(gateway.token(&old).await.0, 200);
    let in_use = |status: &keyrota::api::ServiceAccountStatus| {
        condition(status, "PreviousSecretInUse").0 == Some(ConditionStatus::True)
    };
    let warned = operator.until("exporter", "warned", in_use).await.status.unwrap();
    let previous = warned.credentials.iter().find(|c| c.state == CredentialState::Previous).unwrap();
    assert_eq!(previous.last_used_time, warned.last_access_time);
    let message = &warned.conditions.iter().find(|c| c.type_ == "PreviousSecretInUse").unwrap().message;
    assert!(message.contains(&previous.not_after.to_string()), "{message}");

    // An hour before the old secret's day is over they are told once more.
    let last_call = previous.not_after.saturating_add(TimeDelta::hours(-1));
    while clock.timestamp() < last_call {
        clock.advance(TimeDelta::minutes(30).min(last_call.at() - clock.now()));
        tokio::task::yield_now().await;
    }
    let ends_soon = |status: &keyrota::api::ServiceAccountStatus| {
        condition(status, "PreviousSecretInUse").1 == "PreviousSecretEndsSoon"
    };
    operator.until("exporter", "warned again", ends_soon).await;
    for reason in ["PreviousSecretInUse", "PreviousSecretEndsSoon"] {
        eventually(reason, SOON, async || (operator.events(reason).await.len() == 1).then_some(())).await;
    }
    let series = format!(
        "keyrota_previous_secret_in_use_end_timestamp_seconds{{namespace=\"{}\",name=\"exporter\"}} {}",
        operator.tenant.name,
        previous.not_after.unix()
    );
    assert!(metrics(&address).await.lines().any(|line| line == series), "{series}");

    clock.advance(TimeDelta::hours(24));
    let ended = operator.until("exporter", "ended", |status| status.credentials.len() == 1).await;
    assert_eq!(condition(&ended.status.unwrap(), "PreviousSecretInUse").0, None);
    assert!(!metrics(&address).await.contains("keyrota_previous_secret_in_use_end_timestamp_seconds{"));
    ticking.abort();
}

/// Lets the clock run, twenty times as fast: a report is due five seconds after the one before.
fn tick(clock: &ManualClock) -> tokio::task::JoinHandle<()> {
    let clock = clock.clone();
    tokio::spawn(async move {
        loop {
            clock.advance(TimeDelta::seconds(1));
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_use_is_lost_when_a_gateway_stops_in_order() {
    let (mut operator, _clock) = Operator::on_manual_clock().await;
    let gateway = operator.start_gateway().await;
    operator.ready("exporter", json!({})).await;
    let pair = operator.credential("exporter-credentials").await;
    assert_eq!(gateway.token(&pair).await.0, 200);
    // The clock stands still: only the orderly stop can have published it.
    operator.stop_gateways().await;
    operator.until("exporter", "used", |status| status.last_access_time.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_replicas_saw_is_one_and_a_restart_of_all_of_them_loses_nothing_of_it() {
    let clock = ManualClock::at(SystemClock.now());
    let mut operator = Operator::prepared(Arc::new(clock.clone())).await;
    operator.start_controller();
    let replicas = [operator.start_gateway().await, operator.start_gateway().await];
    for name in ["both", "one", "later"] {
        operator.ready(name, json!({})).await;
    }
    let pair = async |name: &str| operator.credential(&format!("{name}-credentials")).await;
    let (both, one, later) = (pair("both").await, pair("one").await, pair("later").await);
    // Nobody merges, so that only the reports know.
    operator.kill_controller().await;
    let first = clock.timestamp();
    assert_eq!(replicas[0].token(&both).await.0, 200);
    clock.advance(TimeDelta::minutes(1));
    let middle = clock.timestamp();
    assert_eq!((replicas[1].token(&both).await.0, replicas[1].token(&one).await.0), (200, 200));
    clock.advance(TimeDelta::minutes(1));
    let last = clock.timestamp();
    assert_eq!(replicas[0].token(&both).await.0, 200);

    // Of their successors one sees something, and the other nothing at all.
    operator.stop_gateways().await;
    let successors = [operator.start_gateway().await, operator.start_gateway().await];
    clock.advance(TimeDelta::minutes(1));
    let after = clock.timestamp();
    assert_eq!(successors[1].token(&later).await.0, 200);
    operator.stop_gateways().await;

    operator.start_controller();
    for (name, first, last) in [("both", first, last), ("one", middle, middle), ("later", after, after)] {
        let used = operator.until(name, "used", |status| status.last_access_time == Some(last)).await.status.unwrap();
        let credential = &used.credentials[0];
        assert_eq!((credential.first_used_time, credential.last_used_time), (Some(first), Some(last)), "{name}");
    }

    // Gateways of other names may have come instead of these: what they left is kept for a day, and not for ever.
    let reports: Api<ConfigMap> = Api::namespaced(operator.client.clone(), &operator.own.name);
    let selector = ListParams::default().labels("keyrota.dev/usage-report=true");
    let left = async || reports.list(&selector).await.unwrap().items.len();
    assert_eq!(left().await, 2);
    clock.advance(TimeDelta::hours(25));
    eventually("the reports of gateways that are gone go", SOON, async || (left().await == 0).then_some(())).await;
}
