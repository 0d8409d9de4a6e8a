//! Trouble that one account brings stays that account's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use keyrota::clock::{Clock, SystemClock};
use keyrota::entropy::{Entropy, EntropyError, SystemEntropy};
use serde_json::json;

use super::common::eventually;
use super::common::operator::{Operator, SOON, condition, free_address, metrics};

/// Panics as long as it is broken when a client ID is drawn, which is in the middle of a pass, and nowhere else.
struct Broken(AtomicBool);

impl Entropy for Broken {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        assert!(bytes.len() != 16 || !self.0.load(Relaxed), "this panic is part of the test");
        SystemEntropy.fill(bytes)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_panics_is_reported_and_tried_again_while_all_others_go_on() {
    let mut operator = Operator::prepared(Arc::new(SystemClock)).await;
    let broken = Arc::new(Broken(AtomicBool::new(true)));
    operator.entropy = broken.clone();
    let address = free_address().to_string();
    let controller = operator.another_controller(&["--leader-elect", "false", "--health-listen", &address]);
    operator.create("exporter", json!({})).await;
    let failed = |status: &keyrota::api::ServiceAccountStatus| condition(status, "Ready").1 == "ReconcileFailed";
    eventually("it is told of in the status", SOON, async || {
        operator.accounts().get("exporter").await.unwrap().status.as_ref().is_some_and(failed).then_some(())
    })
    .await;
    operator.ready("other", json!({"enabled": false})).await;
    assert!(controller.is_running());
    let panics = || async {
        let text = metrics(&address).await;
        let line =
            text.lines().find(|line| line.starts_with("keyrota_controller_reconciles_total{outcome=\"panicked\"}"));
        line.unwrap().rsplit_once(' ').unwrap().1.parse::<u32>().unwrap()
    };
    let before = panics().await;
    assert!(before >= 1);
    eventually("it is tried again", SOON, async || (panics().await > before).then_some(())).await;
    eventually("it is told of once", SOON, async || {
        (operator.events("ReconcileFailed").await.len() == 1).then_some(())
    })
    .await;
    broken.0.store(false, Relaxed);
    operator.until("exporter", "Ready", |status| condition(status, "Ready").1 == "Published").await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_annotation_that_cannot_be_acted_on_is_told_of_once_and_regenerates_nothing() {
    let (operator, clock) = Operator::on_manual_clock().await;
    let account = operator.ready("exporter", json!({})).await;
    let credential = operator.credential("exporter-credentials").await;
    let annotate = async |key: &str, value: Option<String>| {
        operator.edit("exporter", json!({"metadata": {"annotations": {key: value}}})).await;
    };
    let (regenerate, compromised) = ("keyrota.dev/regenerate", "keyrota.dev/compromised");
    let tells = async |part: &str| {
        eventually(&format!("the status tells of {part:?}"), SOON, async || {
            let status = operator.accounts().get("exporter").await.unwrap().status?;
            let ignored = status.conditions.into_iter().find(|condition| condition.type_ == "TriggerIgnored")?;
            ignored.message.contains(part).then_some(())
        })
        .await;
    };
    annotate(regenerate, Some("client-secret".into())).await;
    tells("the annotation keyrota.dev/regenerate: \"client-secret\" has no @").await;
    annotate(compromised, Some("yes\r\n\u{1b}[31m".into())).await;
    tells("the annotation keyrota.dev/compromised: \"yes\\r\\n\\u{1b}[31m\" is not an RFC 3339 time").await;
    annotate(regenerate, None).await;
    let ahead = clock.timestamp().saturating_add(chrono::TimeDelta::seconds(301));
    annotate(compromised, Some(ahead.to_string())).await;
    tells("is more than 5 minutes in the future").await;
    eventually("an Event tells of it", SOON, async || {
        (!operator.events("TriggerIgnored").await.is_empty()).then_some(())
    })
    .await;

    // Passes that find nothing new tell of nothing.
    let times = async || {
        let events = operator.events("TriggerIgnored").await;
        events.iter().map(|event| event.series.as_ref().map_or(1, |series| series.count)).sum::<i32>()
    };
    eventually("each of the three was told of", SOON, async || (times().await == 3).then_some(())).await;
    for description in ["a", "b"] {
        operator.edit("exporter", json!({"spec": {"description": description}})).await;
        operator.until("exporter", "seen", |_| true).await;
    }
    assert_eq!(times().await, 3);
    let record = operator.settled_record(&account).await;
    assert_eq!((record.last_version, operator.credential("exporter-credentials").await), (1, credential.clone()));

    // Five minutes before the time that it names, it is a trigger like any other.
    clock.advance(chrono::TimeDelta::seconds(1));
    operator.next_credential("exporter-credentials", &credential).await;
    operator.until("exporter", "clear", |status| condition(status, "TriggerIgnored").0.is_none()).await;
    assert_eq!(operator.settled_record(&account).await.last_version, 2);
}
