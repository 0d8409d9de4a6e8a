//! Leaders that come back too late, and candidates that come at the same moment.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use keyrota::clock::SystemClock;
use keyrota::domain::names;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::common::eventually;
use super::common::operator::{Operator, SOON, free_address, metrics};

const LEASE: &str = "keyrota-controller";
const SECRET: &str = "exporter-credentials";

fn leases(operator: &Operator) -> Api<Lease> {
    Api::namespaced(operator.client.clone(), &operator.own.name)
}

async fn holder(operator: &Operator) -> (String, i32) {
    let lease = leases(operator).get_opt(LEASE).await.unwrap().and_then(|lease| lease.spec).unwrap_or_default();
    (lease.holder_identity.unwrap_or_default(), lease.lease_transitions.unwrap_or_default())
}

async fn until_held_by(operator: &Operator, name: &str) {
    eventually(&format!("{name} leads"), SOON, async || (holder(operator).await.0 == name).then_some(())).await;
}

/// A controller in a process of its own, which can be stopped in the middle of anything.
struct Process(Child);

impl Process {
    fn start(operator: &Operator, identity: &str, health: &str) -> Self {
        let arguments = ["--operator-namespace", &operator.own.name, "--watch-namespaces", &operator.tenant.name];
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyrota"));
        command.args(["controller", "--kubeconfig", &operator.kubeconfig, "--identity", identity]);
        command.args(arguments).args(["--health-listen", health]).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Which of the three writes of a regeneration is under way when the leader is stopped; by object, and which of the
/// writes to it.
async fn stopped_in(write: &str) {
    let mut operator = Operator::prepared(Arc::new(SystemClock)).await;
    let direct = operator.kubeconfig.clone();
    let proxy = operator.through_a_proxy().await;
    let address = free_address().to_string();
    let frozen = Process::start(&operator, "frozen", &address);
    until_held_by(&operator, "frozen").await;
    operator.kubeconfig = direct;
    let account = operator.ready("exporter", json!({})).await;
    operator.settled_record(&account).await;
    let first = operator.credential(SECRET).await;
    let heir = operator.another_controller(&["--identity", "heir"]);

    let record = names::record(&account.uid().unwrap());
    match write {
        "stage" => proxy.hold(&record, 1),
        "publish" => proxy.hold(SECRET, 1),
        _ => proxy.hold(&record, 2),
    }
    operator.edit("exporter", json!({"spec": {"regenerate": {"clientSecret": 1}}})).await;
    proxy.until_cut().await;
    frozen.signal(Signal::STOP);
    until_held_by(&operator, "heir").await;
    let done = eventually("the heir regenerates", SOON, async || {
        let record = operator.record(&account).await?;
        (record.handled.client_secret == 1 && record.staged().count() == 0).then_some(record)
    })
    .await;
    let published = operator.credential(SECRET).await;
    assert_ne!(published, first);

    // It goes on where it stopped, and finds that somebody else has written since.
    assert_eq!(proxy.release().await.as_u16(), 409, "{write}");
    frozen.signal(Signal::CONT);
    let leads = "\nkeyrota_controller_leader ";
    eventually("it stands by", SOON, async || metrics(&address).await.contains(&format!("{leads}0")).then_some(()))
        .await;
    assert_eq!(
        (operator.record(&account).await, operator.credential(SECRET).await),
        (Some(done), published),
        "{write}"
    );
    assert_eq!(holder(&operator).await, ("heir".into(), 2));
    heir.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_stopped_in_the_middle_of_a_write_and_wakes_after_a_take_over_changes_nothing() {
    tokio::join!(stopped_in("stage"), stopped_in("publish"), stopped_in("retire"));
}

/// Candidates see an expired lease at the same moment, and both try.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_controllers_that_find_an_expired_lease_exactly_one_leads() {
    const AT_ONCE: usize = 12;
    const ROUNDS: usize = 3;
    let places = futures::future::join_all((0..AT_ONCE).map(|_| Operator::prepared(Arc::new(SystemClock)))).await;
    let contests = places.iter().map(|operator| async move {
        for _ in 0..ROUNDS {
            contest(operator).await;
        }
    });
    futures::future::join_all(contests).await;
    println!("{} expired leases, each taken over by exactly one of two", AT_ONCE * ROUNDS);
}

async fn contest(operator: &Operator) {
    let expired = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE},
        "spec": {"holderIdentity": "gone", "leaseDurationSeconds": 15, "leaseTransitions": 7,
                 "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z"},
    });
    leases(operator).create(&PostParams::default(), &serde_json::from_value(expired).unwrap()).await.unwrap();
    let addresses = [(); 2].map(|()| free_address().to_string());
    let names = ["one", "two"];
    let both: Vec<_> = names
        .iter()
        .zip(&addresses)
        .map(|(name, address)| operator.another_controller(&["--identity", name, "--health-listen", address]))
        .collect();
    let leaders = async || {
        let mut leaders = Vec::new();
        for (name, address) in names.iter().zip(&addresses) {
            if metrics(address).await.contains("\nkeyrota_controller_leader 1\n") {
                leaders.push((*name).to_owned());
            }
        }
        assert!(leaders.len() <= 1, "{leaders:?} lead");
        leaders
    };
    let leader = eventually("one of them leads", SOON * 2, async || leaders().await.pop()).await;
    // Long enough for the other to look and to have written.
    let renewed = async || leases(operator).get(LEASE).await.unwrap().spec.unwrap().renew_time;
    for _ in 0..2 {
        let before = renewed().await;
        eventually("the lease is renewed", Duration::from_secs(10), async || {
            assert!(leaders().await.len() <= 1);
            (renewed().await != before).then_some(())
        })
        .await;
    }
    assert_eq!(holder(operator).await, (leader.clone(), 8), "it changed hands once");
    assert_eq!(leaders().await, [leader]);
    for controller in both {
        controller.kill().await;
    }
    leases(operator).delete(LEASE, &DeleteParams::default()).await.unwrap();
}
