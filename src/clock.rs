//! The time, as a parameter: the system's, or one that a test moves.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::api::Timestamp;

/// Where the time comes from; the only way to learn it.
pub trait Clock: Send + Sync + 'static {
    /// The present time.
    fn now(&self) -> DateTime<Utc>;

    /// Ends when `now` has reached `time`, also when the time jumps past it.
    fn wait_until(&self, time: DateTime<Utc>) -> BoxFuture<'_, ()>;

    /// The present time in whole seconds, as the rules and the wire have it.
    fn timestamp(&self) -> Timestamp {
        Timestamp::from(self.now())
    }
}

/// A clock that all parts of a process share.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// How long a wait trusts the monotonic clock before it looks at the wall clock again: a laptop that slept, or a clock
/// that was set, is noticed within this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn wait_until(&self, time: DateTime<Utc>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            while let Ok(left) = (time - self.now()).to_std() {
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LOOK_AGAIN)).await;
            }
        })
    }
}

/// A clock that stands still until it is moved.
#[derive(Clone, Debug)]
pub struct ManualClock(watch::Sender<DateTime<Utc>>);

impl ManualClock {
    /// Starts at `time`.
    #[must_use]
    pub fn at(time: DateTime<Utc>) -> Self {
        Self(watch::Sender::new(time))
    }

    /// Moves it forward (or back) by `delta`.
    pub fn advance(&self, delta: TimeDelta) {
        self.0.send_modify(|time| *time += delta);
    }

    /// Sets it.
    pub fn set(&self, time: DateTime<Utc>) {
        self.0.send_replace(time);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.borrow()
    }

    fn wait_until(&self, time: DateTime<Utc>) -> BoxFuture<'_, ()> {
        let mut watched = self.0.subscribe();
        Box::pin(async move {
            // The sender lives in `self`, so the channel cannot close while this is awaited.
            let _ = watched.wait_for(|now| *now >= time).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_ends_at_its_time_and_not_a_second_before() {
        let start = DateTime::from_timestamp(1_000, 0).unwrap();
        let clock = ManualClock::at(start);
        let mut wait = clock.wait_until(start + TimeDelta::seconds(5));
        clock.advance(TimeDelta::seconds(4));
        assert!(futures::poll!(&mut wait).is_pending());
        clock.advance(TimeDelta::seconds(1));
        assert!(futures::poll!(&mut wait).is_ready());
    }

    #[tokio::test]
    async fn the_system_clock_does_not_wait_for_the_past() {
        SystemClock.wait_until(DateTime::UNIX_EPOCH).await;
    }
}
