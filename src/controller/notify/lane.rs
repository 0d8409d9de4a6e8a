//! A lane for each server, which is left alone for a while when it does not work.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// How many deliveries one server gets at once.
const AT_ONCE: usize = 4;

/// Where a delivery goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The API server.
    Cluster,
    /// The mail server.
    Mail,
    /// A webhook, by its URL: of two on one host, one may work.
    Webhook(String),
}

/// All lanes that were ever used.
#[derive(Default)]
pub struct Lanes(Mutex<HashMap<Lane, Arc<Gate>>>);

impl Lanes {
    /// The gate of a lane.
    pub fn gate(&self, lane: &Lane) -> Arc<Gate> {
        self.0.lock().entry(lane.clone()).or_default().clone()
    }
}

/// Lets deliveries through to one server, or makes them wait.
pub struct Gate {
    state: Mutex<State>,
    /// Places at the server.
    pub places: Semaphore,
}

#[derive(Default)]
struct State {
    failures: u32,
    closed: Option<(DateTime<Utc>, String)>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { state: Mutex::default(), places: Semaphore::new(AT_ONCE) }
    }
}

impl Gate {
    /// Until when, and why, nothing is tried here.
    pub fn closed(&self, now: DateTime<Utc>) -> Option<(DateTime<Utc>, String)> {
        self.state.lock().closed.clone().filter(|(until, _)| *until > now)
    }

    /// Failures in a row so far; to be given back to [`Self::failed`].
    pub fn failures(&self) -> u32 {
        self.state.lock().failures
    }

    /// It works.
    pub fn worked(&self) {
        *self.state.lock() = State::default();
    }

    /// It does not: closed for a while. Attempts under way at the same time count as one, by `before`.
    pub fn failed(&self, before: u32, problem: &str, now: DateTime<Utc>, draw: u32) {
        let mut state = self.state.lock();
        if state.failures == before {
            state.closed = Some((now + pause(state.failures, draw), problem.to_owned()));
            state.failures = state.failures.saturating_add(1);
        }
    }
}

/// How long to wait after so many failures before this one: from 1 min, doubled, to 40 min, and up to half as much again
/// by `draw`, so that many operators do not come back at once. 1 h at most.
pub fn pause(failures: u32, draw: u32) -> TimeDelta {
    let seconds = (60_i64 << failures.min(10)).min(2400);
    TimeDelta::seconds(seconds + i64::from(draw) % (seconds / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_minute_to_an_hour_and_differ() {
        let all: Vec<_> = (0..20).map(|n| (pause(n, 0).num_seconds(), pause(n, u32::MAX).num_seconds())).collect();
        assert_eq!(all[..3].iter().map(|pair| pair.0).collect::<Vec<_>>(), [60, 120, 240]);
        assert!(all.iter().all(|(least, most)| (60..=3600).contains(least) && (60..=3600).contains(most)));
        assert_eq!(pause(19, 1200), TimeDelta::hours(1));
        assert_ne!(pause(0, 7), pause(0, 8));
    }

    #[test]
    fn a_server_that_fails_is_left_alone_until_its_time_and_attempts_of_one_moment_count_once() {
        let gate = Gate::default();
        let start = DateTime::UNIX_EPOCH;
        assert!(gate.closed(start).is_none());
        let before = gate.failures();
        for _ in 0..4 {
            gate.failed(before, "no answer", start, 0);
        }
        assert_eq!(gate.failures(), 1);
        assert_eq!(gate.closed(start + TimeDelta::seconds(59)).map(|(_, why)| why), Some("no answer".into()));
        assert!(gate.closed(start + TimeDelta::seconds(60)).is_none());
        gate.failed(gate.failures(), "no answer", start, 0);
        assert!(gate.closed(start + TimeDelta::seconds(119)).is_some());
        gate.worked();
        assert!(gate.closed(start).is_none() && gate.failures() == 0);
    }

    #[test]
    fn one_lane_knows_nothing_of_another() {
        let lanes = Lanes::default();
        lanes.gate(&Lane::Mail).failed(0, "no answer", DateTime::UNIX_EPOCH, 0);
        let closed = |lane| lanes.gate(&lane).closed(DateTime::UNIX_EPOCH).is_some();
        assert!(closed(Lane::Mail) && !closed(Lane::Cluster) && !closed(Lane::Webhook("http://a/".into())));
    }
}
