//! Limits on failures, per address and client ID together: whoever guesses is slowed down, and nobody is ever refused for
//! a client ID alone.
//!
//! ```text
//! remembered credentials ──────────────────────────────► served, whatever was counted
//! those that were good once ───────────────────────────► neither limited nor counted: who has not heard yet that a
//!                                                        secret has ended does not guess
//! others: check (looks, before any hashing) → verify → failed (counts, identical repeats once)
//! ```

pub mod args;
pub mod client;
pub mod nodes;

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use quick_cache::unsync::Cache;

use super::refusal::Refusal;
use client::Client;

/// Failures that an address and client ID may have at once.
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// After which one more is free. As long as a repeat counts for nothing, so that a client which only has a wrong secret
/// and tries it again and again is told so, for ever.
const PERIOD: Duration = Duration::from_secs(5);
/// Within which an identical repeat counts for nothing: Go's client tries Basic and then the body.
const REPEAT: Duration = PERIOD;
/// Pairs and repeats in memory, at some 40 bytes each.
const REMEMBERED: usize = 50_000;

type Memory = Arc<Mutex<Cache<u64, Nanos>>>;

/// A bounded memory of what governor counts. What is used least is forgotten first, and that is a pair without failures.
struct Counts {
    memory: Memory,
    /// Else it only looks.
    counts: bool,
}

impl StateStore for Counts {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut memory = self.memory.lock();
        let (outcome, next) = f(memory.get(key).copied())?;
        if self.counts {
            memory.insert(*key, next);
        }
        Ok(outcome)
    }
}

type Rate<C> = RateLimiter<u64, Counts, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Counts failures. On a monotonic clock of its own: one that is set back must not lock anybody out.
pub struct Limiter<C: Clock = MonotonicClock> {
    looking: Rate<C>,
    counting: Rate<C>,
    repeats: Rate<C>,
    proven: Mutex<Cache<u64, ()>>,
    #[cfg(test)]
    pairs: Memory,
    #[cfg(test)]
    seen: Memory,
    /// With random keys, so that nobody can make two pairs collide, and no secret can be guessed from memory.
    hasher: RandomState,
}

/// One request's try with credentials that are not remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pair: u64,
    content: u64,
    credentials: u64,
}

impl Default for Limiter {
    fn default() -> Self {
        Self::on(MonotonicClock)
    }
}

impl<C: Clock + Clone> Limiter<C> {
    /// On this clock.
    pub fn on(clock: C) -> Self {
        let memory = || Arc::new(Mutex::new(Cache::new(REMEMBERED)));
        let failures = Quota::with_period(PERIOD).unwrap_or(Quota::per_minute(BURST)).allow_burst(BURST);
        let once = Quota::with_period(REPEAT).unwrap_or(Quota::per_minute(NonZeroU32::MIN));
        let (pairs, seen): (Memory, Memory) = (memory(), memory());
        let limiter = |quota, memory, counts| Rate::new(quota, Counts { memory, counts }, clock.clone());
        Self {
            looking: limiter(failures, pairs.clone(), false),
            counting: limiter(failures, pairs.clone(), true),
            repeats: limiter(once, seen.clone(), true),
            proven: Mutex::new(Cache::new(REMEMBERED)),
            #[cfg(test)]
            pairs,
            #[cfg(test)]
            seen,
            hasher: RandomState::new(),
        }
    }

    /// A try of this client; none for one that is exempt, because many share its address, nor for credentials that
    /// were good before. `content` is what was presented, so that a repeat is recognized.
    pub fn attempt(&self, client: &Client, client_id: &str, content: &str) -> Option<Attempt> {
        let address = client.limited()?;
        let address = block(address);
        let credentials = self.hasher.hash_one((client_id, content));
        if self.proven.lock().get(&credentials).is_some() {
            return None;
        }
        Some(Attempt {
            credentials,
            pair: self.hasher.hash_one((address, client_id)),
            content: self.hasher.hash_one((address, client_id, content)),
        })
    }

    /// Whether it may be tried.
    ///
    /// # Errors
    /// [`Refusal::Limited`] after too many failures.
    pub fn check(&self, attempt: Attempt) -> Result<(), Refusal> {
        self.looking.check_key(&attempt.pair).map_err(|until| {
            let wait = until.wait_time_from(self.looking.clock().now());
            // Rounded up: earlier would be refused again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Refusal::Limited { retry_after: u32::try_from(seconds).unwrap_or(u32::MAX) }
        })
    }

    /// It was good.
    pub fn proved(&self, attempt: Attempt) {
        self.proven.lock().insert(attempt.credentials, ());
    }

    /// It failed.
    pub fn failed(&self, attempt: Attempt) {
        if self.repeats.check_key(&attempt.content).is_ok() {
            // Beyond the limit nothing is added, so that who stops is soon free.
            let _ = self.counting.check_key(&attempt.pair);
        }
    }
}

/// What one holder has: an address of version 4, a /64 of version 6.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;
