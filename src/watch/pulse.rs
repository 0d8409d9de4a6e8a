//! Signs of life of each watch. kube's watcher keeps bookmarks and ended requests to itself, so they are seen where they
//! pass: in the answers of the client that the watch uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use tower::service_fn;

use crate::config::WATCH_TIMEOUT;

/// A healthy watch gets something at least as often as this: the API server sends a bookmark shortly before a request
/// ends, every 30 s; one may be lost, and a pause after an error takes a while.
pub const STUCK: Duration = Duration::from_secs(2 * WATCH_TIMEOUT.as_secs() + 15);
/// A watch tries something at least every 35 s, and every 30 s after an error; this is more than three times as long.
pub const HANGS: Duration = Duration::from_secs(120);

/// The signs of life of one watch.
#[derive(Debug)]
pub struct Pulse {
    /// What is watched.
    pub watch: &'static str,
    /// Where; empty for everywhere, and for what has no namespace.
    pub namespace: String,
    born: Instant,
    progressed: AtomicU64,
    tried: AtomicU64,
    refused: AtomicBool,
}

/// How a watch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Since it last got anything: a list, an event or a bookmark.
    pub silent: Duration,
    /// Since it last got any answer, or an error.
    pub idle: Duration,
    /// The API server's last answer was a refusal.
    pub refused: bool,
}

impl Pulse {
    /// Begins to count now.
    pub fn new(watch: &'static str, namespace: Option<&str>) -> Arc<Self> {
        Arc::new(Self {
            watch,
            namespace: namespace.unwrap_or_default().to_owned(),
            born: Instant::now(),
            progressed: AtomicU64::default(),
            tried: AtomicU64::default(),
            refused: AtomicBool::default(),
        })
    }

    /// The same client, listened to.
    pub fn of(self: &Arc<Self>, client: &Client) -> Client {
        let pulse = self.clone();
        listened(client, move |sign| pulse.beat(sign, pulse.born.elapsed()))
    }

    fn beat(&self, sign: Sign, age: Duration) {
        let now = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.tried.store(now, Relaxed);
        match sign {
            Sign::Data => {
                self.progressed.store(now, Relaxed);
                self.refused.store(false, Relaxed);
            }
            Sign::Refused(status) => self.refused.store(status.is_client_error(), Relaxed),
            Sign::Unanswered => {}
        }
    }

    /// How it does now.
    pub fn reading(&self) -> Reading {
        self.reading_at(self.born.elapsed())
    }

    fn reading_at(&self, age: Duration) -> Reading {
        let since = |beat: &AtomicU64| age.saturating_sub(Duration::from_millis(beat.load(Relaxed)));
        Reading { silent: since(&self.progressed), idle: since(&self.tried), refused: self.refused.load(Relaxed) }
    }
}

/// Which watches only a restart helps. Not those of an API server that is away, or that refuses us one kind or
/// namespace: a restart would lose what is in memory, and mend neither.
pub fn stuck(readings: &[Reading]) -> Vec<bool> {
    let answered = readings.iter().any(|reading| reading.silent <= STUCK);
    let stuck = |reading: &Reading| reading.idle > HANGS || (answered && !reading.refused && reading.silent > STUCK);
    readings.iter().map(stuck).collect()
}

/// What passed through a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A part of a good answer.
    Data,
    /// Another answer.
    Refused(StatusCode),
    /// None.
    Unanswered,
}

/// A client that tells what passes through it. The connections are the other client's.
pub fn listened(client: &Client, tell: impl Fn(Sign) + Clone + Send + Sync + 'static) -> Client {
    let inner = client.clone();
    let service = service_fn(move |request: Request<Body>| {
        let (inner, tell) = (inner.clone(), tell.clone());
        async move {
            let answer = inner.send(request).await.inspect_err(|_| tell(Sign::Unanswered))?;
            let status = answer.status();
            if !status.is_success() && status != StatusCode::SWITCHING_PROTOCOLS {
                tell(Sign::Refused(status));
            }
            Ok::<_, kube::Error>(answer.map(|body| {
                body.map_frame(move |frame| {
                    if status.is_success() {
                        tell(Sign::Data);
                    }
                    frame
                })
            }))
        }
    });
    Client::new(service, client.default_namespace())
}

/// The watches that are [`stuck`], for a liveness probe.
#[must_use]
pub fn silent(pulses: &[Arc<Pulse>]) -> Vec<String> {
    let readings: Vec<Reading> = pulses.iter().map(|pulse| pulse.reading()).collect();
    let all = pulses.iter().zip(&readings).zip(stuck(&readings));
    let say = |((pulse, reading), _): ((&Arc<Pulse>, &Reading), bool)| {
        format!("the watch of {} {} is silent for {} s", pulse.watch, pulse.namespace, reading.silent.as_secs())
    };
    all.filter(|(_, stuck)| *stuck).map(say).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn reading(silent: u64, idle: u64, refused: bool) -> Reading {
        Reading { silent: Duration::from_secs(silent), idle: Duration::from_secs(idle), refused }
    }

    #[rstest]
    #[case::all_well([reading(30, 30, false), reading(1, 1, false)], false)]
    #[case::silent_while_others_hear([reading(76, 5, false), reading(30, 30, false)], true)]
    #[case::at_the_limit([reading(75, 5, false), reading(30, 30, false)], false)]
    #[case::all_silent_as_the_api_server_is_away([reading(900, 5, false), reading(900, 5, false)], false)]
    #[case::refused([reading(900, 5, true), reading(1, 1, false)], false)]
    #[case::tries_nothing_any_more([reading(900, 121, false), reading(900, 5, false)], true)]
    #[case::tries_nothing_though_refused([reading(900, 121, true), reading(1, 1, false)], true)]
    fn a_watch_is_stuck_when_a_restart_would_help_it(#[case] readings: [Reading; 2], #[case] expected: bool) {
        assert_eq!(stuck(&readings), [expected, false]);
    }

    #[test]
    fn a_refusal_is_no_progress_but_a_sign_that_somebody_tries() {
        let (pulse, at) = (Pulse::new("records", None), Duration::from_secs);
        pulse.beat(Sign::Data, at(10));
        pulse.beat(Sign::Refused(StatusCode::FORBIDDEN), at(30));
        assert_eq!(pulse.reading_at(at(31)), reading(21, 1, true));
        pulse.beat(Sign::Unanswered, at(40));
        assert_eq!(pulse.reading_at(at(40)), reading(30, 0, true));
        pulse.beat(Sign::Data, at(50));
        assert_eq!(pulse.reading_at(at(50)), reading(0, 0, false));
    }
}
