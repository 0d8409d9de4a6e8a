//! Keys at JWKS URIs, kept in memory: read when they are first needed, when a token names an unknown one, and when they
//! are old; by one request at a time and at most once a minute for each URI. What was read last stays in use for a day when
//! the issuer cannot be reached.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::fetch::Fetch;
use crate::clock::SharedClock;
use crate::domain::assertion::jwks::KeySet;

/// Between two reads of one URI.
pub const PACE: TimeDelta = TimeDelta::minutes(1);
/// Keys older than this are read again in the background, so that one that its issuer withdrew is not trusted for ever.
pub const OLD: TimeDelta = TimeDelta::minutes(15);
/// Keys older than this are used no more, though their issuer cannot be reached: whoever keeps us from reaching it must
/// not keep a key in force that it withdrew.
pub const MOST: TimeDelta = TimeDelta::hours(24);
/// URIs in memory; TokenIssuers name few, and of a URI that none names any more the oldest goes first.
const SOURCES: usize = 256;

/// The keys could not be had, and there are no earlier ones that would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

type Flight = Shared<BoxFuture<'static, ()>>;

/// Reads and remembers.
#[derive(Clone)]
pub struct Remote(Arc<Inner>);

struct Inner {
    fetch: Arc<dyn Fetch>,
    clock: SharedClock,
    sources: Mutex<HashMap<String, Source>>,
}

#[derive(Default)]
struct Source {
    keys: Option<Arc<KeySet>>,
    read: Option<DateTime<Utc>>,
    tried: Option<DateTime<Utc>>,
    failed: bool,
    flight: Option<Flight>,
}

impl Source {
    /// Whether a minute has passed; a clock that was set back cannot keep it from passing.
    fn may_try(&self, now: DateTime<Utc>) -> bool {
        self.tried.is_none_or(|tried| (now - tried).abs() >= PACE)
    }

    fn is_old(&self, now: DateTime<Utc>) -> bool {
        self.read.is_some_and(|read| (now - read).abs() >= OLD)
    }

    /// The keys, while they may be used.
    fn usable(&self, now: DateTime<Utc>) -> Option<Arc<KeySet>> {
        self.keys.clone().filter(|_| self.read.is_some_and(|read| (now - read).abs() < MOST))
    }
}

impl Remote {
    /// Reads through `fetch`.
    #[must_use]
    pub fn new(fetch: Arc<dyn Fetch>, clock: SharedClock) -> Self {
        Self(Arc::new(Inner { fetch, clock, sources: Mutex::default() }))
    }

    /// The keys at `uri`.
    ///
    /// # Errors
    /// When they were not read within a day, and cannot be now.
    pub async fn keys(&self, uri: &str) -> Result<Arc<KeySet>, Unavailable> {
        let flight = {
            let (mut sources, now) = (self.0.sources.lock(), self.0.clock.now());
            let source = self.source(&mut sources, uri);
            if let Some(keys) = source.usable(now) {
                if source.is_old(now) && source.may_try(now) && source.flight.is_none() {
                    drop(self.launch(source, uri, now));
                }
                return Ok(keys);
            }
            self.join(source, uri, now).ok_or(Unavailable)?
        };
        flight.await;
        self.present(uri).ok_or(Unavailable)
    }

    /// Keys at `uri` that are newer than `seen`, in which one was not found; none when those are a minute old at most.
    ///
    /// # Errors
    /// When the last read failed, so that nothing can be said.
    pub async fn newer(&self, uri: &str, seen: &Arc<KeySet>) -> Result<Option<Arc<KeySet>>, Unavailable> {
        let is_news = |keys: &Arc<KeySet>| !Arc::ptr_eq(keys, seen);
        let flight = {
            let (mut sources, now) = (self.0.sources.lock(), self.0.clock.now());
            let source = self.source(&mut sources, uri);
            if let Some(news) = source.usable(now).filter(is_news) {
                return Ok(Some(news));
            }
            match self.join(source, uri, now) {
                Some(flight) => flight,
                None if source.failed => return Err(Unavailable),
                None => return Ok(None),
            }
        };
        flight.await;
        self.present(uri).filter(is_news).map(Some).ok_or(Unavailable)
    }

    fn present(&self, uri: &str) -> Option<Arc<KeySet>> {
        self.0.sources.lock().get(uri)?.usable(self.0.clock.now())
    }

    fn source<'a>(&self, sources: &'a mut HashMap<String, Source>, uri: &str) -> &'a mut Source {
        if sources.len() >= SOURCES && !sources.contains_key(uri) {
            let oldest = sources.iter().min_by_key(|(_, source)| source.tried).map(|(uri, _)| uri.clone());
            oldest.and_then(|uri| sources.remove(&uri));
        }
        sources.entry(uri.to_owned()).or_default()
    }

    /// The read that is under way, or a new one if it may be.
    fn join(&self, source: &mut Source, uri: &str, now: DateTime<Utc>) -> Option<Flight> {
        match &source.flight {
            Some(flight) => Some(flight.clone()),
            None => source.may_try(now).then(|| self.launch(source, uri, now)),
        }
    }

    /// Runs on its own, so that it goes on when all who wait for it have left.
    fn launch(&self, source: &mut Source, uri: &str, now: DateTime<Utc>) -> Flight {
        source.tried = Some(now);
        let (inner, uri) = (self.0.clone(), uri.to_owned());
        let read = async move {
            let found = inner.fetch.fetch(&uri).await;
            let mut sources = inner.sources.lock();
            let source = sources.entry(uri.clone()).or_default();
            source.flight = None;
            source.failed = found.is_err();
            match found {
                Ok(keys) => {
                    info!(uri, "read the keys of a trusted issuer");
                    source.keys = Some(Arc::new(keys));
                    source.read = Some(now);
                }
                Err(error) => {
                    let kept = source.usable(now).is_some();
                    warn!(uri, %error, kept, "the keys of a trusted issuer cannot be had");
                }
            }
        };
        let flight = read.boxed().shared();
        source.flight = Some(flight.clone());
        drop(tokio::spawn(flight.clone()));
        flight
    }
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
