//! More than one controller: one writes, another takes over, and even two that write lose nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::rbac::v1::Role;
use keyrota::clock::SystemClock;
use keyrota::domain::verifier;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::common::eventually;
use super::common::operator::{Operator, SOON, text};

const LEASE: &str = "keyrota-controller";
const SECRET: &str = "exporter-credentials";

async fn operator() -> Operator {
    Operator::prepared(Arc::new(SystemClock)).await
}

fn leases(operator: &Operator) -> Api<Lease> {
    Api::namespaced(operator.client.clone(), &operator.own.name)
}

async fn lease(operator: &Operator) -> LeaseSpec {
    let lease = leases(operator).get_opt(LEASE).await.unwrap();
    lease.and_then(|lease| lease.spec).unwrap_or_default()
}

async fn until_held_by(operator: &Operator, holder: &str, within: Duration) {
    eventually(&format!("{holder} has the lease"), within, async || {
        (lease(operator).await.holder_identity.as_deref() == Some(holder)).then_some(())
    })
    .await;
}

fn lease_calls(operator: &Operator, wanted: impl Fn(&Value) -> bool) -> usize {
    let on_lease = |entry: &&Value| entry["objectRef"]["resource"] == "leases" && wanted(entry);
    operator.audited().iter().filter(on_lease).count()
}

/// A standby shows itself by nothing but its looks at the lease; a leader only writes.
async fn until_somebody_stands_by(operator: &Operator) {
    let looks = || lease_calls(operator, |entry| entry["verb"] == "get");
    let before = looks();
    eventually("somebody stands by", SOON, async || (looks() >= before + 2).then_some(())).await;
}

async fn regenerate(operator: &Operator, count: i64) {
    operator.edit("exporter", json!({"spec": {"regenerate": {"clientSecret": count}}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_within_20_s_of_a_kill_and_2_s_of_a_graceful_stop() {
    let operator = operator().await;
    let first = operator.another_controller(&["--identity", "first"]);
    until_held_by(&operator, "first", SOON).await;
    operator.ready("exporter", json!({})).await;
    let credential = operator.credential(SECRET).await;
    let second = operator.another_controller(&["--identity", "second"]);
    until_somebody_stands_by(&operator).await;

    first.kill().await;
    let killed = Instant::now();
    regenerate(&operator, 1).await;
    let credential = operator.next_credential(SECRET, &credential).await;
    let after_kill = killed.elapsed();
    until_held_by(&operator, "second", SOON).await;
    assert_eq!(lease(&operator).await.lease_transitions, Some(2));
    assert!(after_kill >= Duration::from_secs(10), "a lease of 15 s was not waited for: {after_kill:?}");
    assert!(after_kill <= Duration::from_secs(20), "the take-over took {after_kill:?}");

    let third = operator.another_controller(&["--identity", "third"]);
    until_somebody_stands_by(&operator).await;
    regenerate(&operator, 2).await;
    let stopped = Instant::now();
    let ((), ()) = tokio::join!(second.stop(), until_held_by(&operator, "third", SOON));
    let after_stop = stopped.elapsed();
    operator.next_credential(SECRET, &credential).await;
    let working = stopped.elapsed();
    println!(
        "take-over: {after_kill:.1?} after a kill; {after_stop:.1?}, at work {working:.1?}, after a graceful stop"
    );
    assert!(after_stop <= Duration::from_secs(2), "the take-over took {after_stop:?}");
    third.stop().await;
    assert_eq!(lease(&operator).await.holder_identity.as_deref(), Some(""), "the last one gives it back, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_fails_is_survived_until_the_deadline_and_a_lost_lease_is_won_again_without_a_restart() {
    let operator = operator().await;
    let controller = operator.another_controller(&["--identity", "only"]);
    until_held_by(&operator, "only", SOON).await;
    operator.ready("exporter", json!({})).await;
    let credential = operator.credential(SECRET).await;

    let note = Patch::Merge(json!({"metadata": {"annotations": {"touched-by": "somebody"}}}));
    leases(&operator).patch(LEASE, &PatchParams::default(), &note).await.unwrap();
    eventually("a renewal met a conflict", SOON, async || refusals(&operator, 409).then_some(())).await;
    until_renewed(&operator).await;

    allow_renewals(&operator, false).await;
    eventually("a renewal was forbidden", SOON, async || refusals(&operator, 403).then_some(())).await;
    regenerate(&operator, 1).await;
    let credential = operator.next_credential(SECRET, &credential).await;
    allow_renewals(&operator, true).await;
    until_renewed(&operator).await;
    assert_eq!(lease(&operator).await.lease_transitions, Some(1), "it led all the time");

    allow_renewals(&operator, false).await;
    // No condition to wait for: that nothing happens is what is to be seen. 10 s, and what is under way then.
    tokio::time::sleep(Duration::from_secs(13)).await;
    regenerate(&operator, 2).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(operator.credential(SECRET).await, credential, "it wrote without a lease");
    assert!(controller.is_running(), "it goes back to standing by");
    allow_renewals(&operator, true).await;
    operator.next_credential(SECRET, &credential).await;
    controller.stop().await;
}

fn refusals(operator: &Operator, code: u16) -> bool {
    lease_calls(operator, |entry| entry["responseStatus"]["code"] == code) > 0
}

async fn until_renewed(operator: &Operator) {
    let before = lease(operator).await.renew_time;
    eventually("the lease is renewed", Duration::from_secs(9), async || {
        (lease(operator).await.renew_time != before).then_some(())
    })
    .await;
}

async fn allow_renewals(operator: &Operator, allowed: bool) {
    let roles: Api<Role> = Api::namespaced(operator.client.clone(), &operator.own.name);
    let mut role = roles.get("keyrota-controller").await.unwrap();
    let named = role.rules.iter_mut().flatten().find(|rule| rule.resource_names.is_some()).unwrap();
    named.verbs = if allowed { vec!["get".into(), "update".into()] } else { vec!["get".into()] };
    roles.replace("keyrota-controller", &PostParams::default(), &role).await.unwrap();
}

/// The fence is the data's own, whatever the lease says: both write as fast as they can, at grace 0.
#[tokio::test(flavor = "multi_thread")]
async fn two_controllers_that_both_write_never_publish_a_secret_that_their_record_refuses() {
    let operator = operator().await;
    let both = [(); 2].map(|()| operator.another_controller(&["--leader-elect", "false"]));
    let account = operator.ready("exporter", json!({})).await;
    for count in 1..=30 {
        regenerate(&operator, count).await;
        let handled = async || {
            let published = operator.credential(SECRET).await.1;
            let record = operator.record(&account).await.unwrap();
            if operator.credential(SECRET).await.1 == published {
                let accepted = record.versions.iter().any(|v| verifier::matches(published.as_bytes(), &v.secret_hash));
                assert!(accepted, "regeneration {count}: the published secret is in no version of the record");
            }
            (record.handled.client_secret == count && record.staged().count() == 0).then_some(record)
        };
        let record = eventually("the regeneration is handled", SOON, handled).await;
        let published = operator.secrets().get(SECRET).await.unwrap();
        let current = record.current().unwrap();
        assert!(verifier::matches(text(&published, "client-secret").as_bytes(), &current.secret_hash));
        assert_eq!(text(&published, "client-id"), current.client_id);
        assert!(record.previous().is_none_or(|previous| previous.version < current.version));
    }
    let record = operator.settled_record(&account).await;
    let wasted = record.last_version - 31;
    println!("30 regenerations by two controllers: {wasted} versions staged in vain");
    assert!(both.iter().all(super::common::operator::Controller::is_running));
}
