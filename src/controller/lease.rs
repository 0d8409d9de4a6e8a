//! Leader election: a candidate that looks at the Lease, does as [`leadership::decide`] says, and tells the outcome.
//!
//! On tokio's time, not on the injectable clock: that one is for credentials, and a test that steps it by a year must
//! not make every lease expire. tokio's is monotonic, so setting the machine's clock elects nobody either.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::calls::{call_within, found};
use super::error::Error;
use crate::api::{MANAGED_BY, MANAGER};
use crate::clock::SharedClock;
use crate::config::{ClusterArgs, LEASE_CALL_TIMEOUT};
use crate::domain::leadership::{self, Claim, LEASE_DURATION, LOOK, RENEW_DEADLINE, RETRY, Sighting, Step};

/// The lease's name in the operator namespace.
pub const LEASE: &str = "keyrota-controller";

/// How soon to look again after somebody else wrote first.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);

/// Whether this process leads, now and from now on.
pub struct Election {
    leading: watch::Receiver<bool>,
    resign: Option<oneshot::Sender<()>>,
    /// Aborted when dropped, as a kill would; the lease then runs out.
    candidate: JoinSet<()>,
}

impl Election {
    /// Without rivals: leads at once and for ever.
    pub fn unopposed() -> Self {
        // A receiver keeps the last value when its sender is gone.
        Self { leading: watch::channel(true).1, resign: None, candidate: JoinSet::new() }
    }

    /// Stands for election under `identity`.
    ///
    /// # Errors
    /// When there is no way to the cluster.
    pub async fn stand(cluster: &ClusterArgs, identity: String, clock: SharedClock) -> anyhow::Result<Self> {
        let client = cluster.lease_client().await.context("leader election")?;
        let api = Api::namespaced(client, &cluster.operator_namespace);
        let (tell, leading) = watch::channel(false);
        let (resign, resigned) = oneshot::channel();
        let mut candidate = JoinSet::new();
        tracing::info!(identity, lease = LEASE, "standing for election");
        let standing =
            Candidate { api, identity, clock, started: Instant::now(), lease: None, sighting: None, renewed: None };
        candidate.spawn(standing.run(tell, resigned));
        Ok(Self { leading, resign: Some(resign), candidate })
    }

    /// Ends when this process leads.
    pub async fn won(&mut self) {
        self.becomes(true).await;
    }

    /// Ends when it leads no more.
    pub async fn lost(&mut self) {
        self.becomes(false).await;
    }

    async fn becomes(&mut self, wanted: bool) {
        if self.leading.wait_for(|leading| *leading == wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Gives the lease back, so that another need not wait for its end.
    pub async fn resign(mut self) {
        if let Some(resign) = self.resign.take() {
            // A candidate that is gone has nothing to give back.
            let _ = resign.send(());
        }
        while self.candidate.join_next().await.is_some() {}
    }
}

struct Candidate {
    api: Api<Lease>,
    identity: String,
    clock: SharedClock,
    started: Instant,
    /// As last read or written; none when it has to be read (again).
    lease: Option<Lease>,
    sighting: Option<Sighting>,
    /// When the last successful write began, while leading.
    renewed: Option<Duration>,
}

impl Candidate {
    async fn run(mut self, leading: watch::Sender<bool>, mut resigned: oneshot::Receiver<()>) {
        loop {
            let pause = self.turn_in_time().await;
            self.tell(&leading);
            tokio::select! {
                () = sleep(self.before_deadline(pause)) => {}
                _ = &mut resigned => break,
            }
        }
        if self.renewed.is_some() {
            leading.send_replace(false);
            self.release().await;
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn before_deadline(&self, pause: Duration) -> Duration {
        self.renewed.map_or(pause, |renewed| pause.min((renewed + RENEW_DEADLINE).saturating_sub(self.now())))
    }

    fn tell(&self, leading: &watch::Sender<bool>) {
        let leads = self.renewed.is_some();
        leading.send_if_modified(|before| std::mem::replace(before, leads) != leads);
    }

    /// One turn, cut off at the deadline: a leader that waits for an answer is none for longer than that.
    async fn turn_in_time(&mut self) -> Duration {
        let Some(renewed) = self.renewed else { return self.turn().await };
        let left = (renewed + RENEW_DEADLINE).saturating_sub(self.now());
        let Ok(pause) = timeout(left, self.turn()).await else {
            self.lose("no renewal succeeded in time");
            return RETRY;
        };
        pause
    }

    /// Looks, decides, does; returns how long to wait for the next turn.
    async fn turn(&mut self) -> Duration {
        let done = self.step().await;
        done.unwrap_or_else(|error| {
            // What stands there now is unknown: it is read before the next write.
            self.lease = None;
            if error.is_race() {
                tracing::debug!(%error, "somebody else wrote the lease first");
                return AFTER_CONFLICT;
            }
            tracing::warn!(%error, leading = self.renewed.is_some(), "the leader's lease could not be kept up; tried again");
            RETRY
        })
    }

    async fn step(&mut self) -> Result<Duration, Error> {
        if self.renewed.is_none() || self.lease.is_none() {
            self.look().await?;
        }
        let now = self.now();
        let sighting = self.sighting.clone().unwrap_or(Sighting { claim: None, since: now });
        Ok(match leadership::decide(&self.identity, self.renewed, &sighting, now) {
            Step::Acquire | Step::Renew => {
                self.write().await?;
                RETRY
            }
            Step::Wait { until } => LOOK.min(until - now),
            Step::Lost => {
                self.lose("another process has the lease");
                LOOK
            }
        })
    }

    fn lose(&mut self, why: &str) {
        self.renewed = None;
        self.lease = None;
        tracing::warn!(identity = self.identity, why, "leadership is lost");
    }

    async fn look(&mut self) -> Result<(), Error> {
        let lease = found(in_time("read", self.api.get(LEASE)).await)?;
        self.saw(lease);
        Ok(())
    }

    fn saw(&mut self, lease: Option<Lease>) {
        let claim = lease.as_ref().map(claim);
        self.sighting = Some(Sighting::after(self.sighting.take(), claim, self.now()));
        self.lease = lease;
    }

    /// Writes ourselves in. The lease counts from before the call: others cannot have seen it sooner.
    async fn write(&mut self) -> Result<(), Error> {
        let began = self.now();
        let before = self.lease.clone();
        let wall = self.clock.now().timestamp_micros();
        let spec = taken(before.as_ref().and_then(|lease| lease.spec.as_ref()), &self.identity, wall);
        let written = match before {
            Some(lease) => in_time("write", self.replace(Lease { spec: Some(spec), ..lease })).await?,
            None => in_time("create", self.create(spec)).await?,
        };
        self.saw(Some(written));
        if self.renewed.replace(began).is_none() {
            tracing::info!(identity = self.identity, "this process leads now");
        }
        Ok(())
    }

    async fn create(&self, spec: LeaseSpec) -> kube::Result<Lease> {
        let metadata = ObjectMeta {
            name: Some(LEASE.into()),
            labels: Some([(MANAGED_BY.to_owned(), MANAGER.to_owned())].into()),
            ..ObjectMeta::default()
        };
        self.api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await
    }

    /// With the `resourceVersion` as read, so that of two writers one gets a 409.
    async fn replace(&self, mut lease: Lease) -> kube::Result<Lease> {
        lease.metadata.managed_fields = None;
        self.api.replace(LEASE, &PostParams::default(), &lease).await
    }

    async fn release(&mut self) {
        let released = async {
            if self.lease.is_none() {
                self.look().await?;
            }
            let ours = self.lease.take().filter(|lease| claim(lease).holder == self.identity);
            let Some(mut lease) = ours else { return Ok(()) };
            lease.spec.get_or_insert_default().holder_identity = Some(String::new());
            in_time("release", self.replace(lease)).await.map(drop)
        };
        match released.await {
            Ok(()) => tracing::info!(lease = LEASE, "the lease is given back"),
            Err(error) => tracing::warn!(%error, "the lease is not given back: another process waits until it ends"),
        }
    }
}

async fn in_time<T>(verb: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    call_within(LEASE_CALL_TIMEOUT, || format!("{verb} the Lease {LEASE}"), call).await
}

fn claim(lease: &Lease) -> Claim {
    let spec = lease.spec.clone().unwrap_or_default();
    Claim {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: Duration::from_secs(spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(0)),
        renewed: spec.renew_time.map(|time| time.0.to_string()).unwrap_or_default(),
        transitions: spec.lease_transitions.unwrap_or(0),
    }
}

/// The lease's content once `identity` has it. The times are for people alone, but each renewal must differ from the
/// ones before, else the API server writes nothing and nobody sees it: where the clock stands or goes back, a
/// microsecond is added.
fn taken(before: Option<&LeaseSpec>, identity: &str, wall_micros: i64) -> LeaseSpec {
    let before = before.cloned().unwrap_or_default();
    let kept = before.holder_identity.as_deref() == Some(identity);
    let last = before.renew_time.as_ref().map(|time| time.0.as_microsecond());
    let micros = last.filter(|last| kept && *last >= wall_micros).map_or(wall_micros, |last| last.saturating_add(1));
    let now = MicroTime(jiff::Timestamp::from_microsecond(micros).unwrap_or_default());
    let transitions = before.lease_transitions.unwrap_or(0);
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
        acquire_time: before.acquire_time.filter(|_| kept).or_else(|| Some(now.clone())),
        renew_time: Some(now),
        lease_transitions: Some(if kept { transitions } else { transitions.saturating_add(1) }),
        ..before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_renewals_are_alike_though_the_clock_stands_or_goes_back() {
        let first = taken(None, "me", 5);
        let second = taken(Some(&first), "me", 5);
        let third = taken(Some(&second), "me", 1);
        assert!(first != second && second != third && first != third);
        assert_eq!((&third.acquire_time, third.lease_transitions), (&first.acquire_time, first.lease_transitions));
    }

    #[test]
    fn a_take_over_is_counted_and_keeps_what_is_not_ours() {
        let other = LeaseSpec {
            holder_identity: Some("other".into()),
            lease_transitions: Some(3),
            strategy: Some("OldestEmulationVersion".into()),
            ..LeaseSpec::default()
        };
        let mine = taken(Some(&other), "me", 5);
        assert_eq!((mine.lease_transitions, mine.strategy), (Some(4), other.strategy));
    }
}
