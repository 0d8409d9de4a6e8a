//! The chart, installed with Helm into a whole cluster: real Pods, real Services, real probes.
//!
//! One cluster for all of it, one step after the other, each with its time on stderr. By default the cluster is one node
//! on this machine (`node/`); `docs/cluster-suite.md` says how to run it on any other.

mod images;
mod killed;
mod node;
mod place;
mod release;
mod steps;
mod traffic;
mod workload;

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;

use place::Place;
use steps::Suite;

/// How long anything may take on a busy machine: a roll-out of Pods that start, become ready and drain took 150 s while
/// other builds ran.
const SOON: Duration = Duration::from_secs(400);

/// On a thread of its own, since it moves to another network.
#[test]
fn the_chart_does_what_it_promises_in_a_whole_cluster() {
    let suite = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(whole_suite());
    };
    let before = place::leftovers();
    let outcome = std::thread::spawn(suite).join();
    let left: Vec<String> = place::leftovers().into_iter().filter(|one| !before.contains(one)).collect();
    if let Err(panic) = outcome {
        if !left.is_empty() {
            say(&format!("besides, this is left on the machine: {left:?}"));
        }
        std::panic::resume_unwind(panic);
    }
    assert_eq!(left, Vec::<String>::new(), "the machine is as it was");
}

async fn whole_suite() {
    crate::common::install_tls_provider();
    let started = Instant::now();
    let Some(place) = Place::find().await else { return };
    say(&format!("a cluster is there ({:.0} s)", started.elapsed().as_secs_f64()));
    let outcome = AssertUnwindSafe(all_steps(&place)).catch_unwind().await;
    if outcome.is_err() {
        say(&steps::post_mortem(&place));
    }
    place.leave().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    say(&format!("all steps, and everything stopped ({:.0} s)", started.elapsed().as_secs_f64()));
}

async fn all_steps(place: &Place) {
    step("the images are made and loaded", async { place.load_images() }).await;
    let mut suite = Suite::new(place).await;
    step("helm install, to a Ready sample account", suite.install()).await;
    step("every Pod is Ready, in a namespace that enforces Pod Security restricted", suite.pods_are_ready()).await;
    step("workloads mount their Secret and get tokens through the Service", suite.workloads_get_tokens()).await;
    step("the NodePort answers the manual's curl", suite.node_port_answers()).await;
    step("the gateway's container cannot do what it must not", suite.gateway_is_confined()).await;
    step("people sign in to the console and see what they may", suite.console_shows_accounts()).await;
    step("the console can read no Secret at all", suite.console_is_confined()).await;
    step("a requested rotation with a grace, under traffic", suite.requested_rotation()).await;
    step("a scheduled rotation, under traffic", suite.scheduled_rotation()).await;
    step("the leader's Pod is killed", suite.leader_is_killed()).await;
    step("the chart is upgraded, without a rotation", suite.upgrade()).await;
    step("three gateways", suite.three_gateways()).await;
    step("the other form: gateways in Pods of their own", suite.other_form()).await;
    step("a Pod authenticates with its projected token alone", suite.projected_token()).await;
    step("helm rollback, to the first form", suite.rollback()).await;
    step("helm uninstall and install again: the same credentials go on", suite.reinstall()).await;
    step("a tenant's namespace is deleted", suite.namespace_deleted()).await;
    suite.end().await;
}

/// Runs a step and says how long it took.
async fn step<T>(name: &str, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    let seconds = started.elapsed().as_secs_f64();
    match outcome {
        Ok(value) => {
            say(&format!("{name} ({seconds:.1} s)"));
            value
        }
        Err(panic) => {
            say(&format!("FAILED: {name} (after {seconds:.1} s)"));
            std::panic::resume_unwind(panic);
        }
    }
}

/// Past the test harness' capture: whoever waits for minutes wants to see something.
fn say(text: &str) {
    writeln!(std::io::stderr(), "cluster: {text}").unwrap();
}
