//! How far each feed is: whether its first complete list has arrived, and when it was last known to be up to date.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// The kinds of objects that the index is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `ServiceAccount`.
    Accounts,
    /// Secrets of type `keyrota.dev/account-record`.
    Records,
    /// Secrets of type `keyrota.dev/signing-keys`.
    Keys,
    /// `TokenIssuer`.
    Issuers,
    /// `UserGroup`.
    Groups,
}

/// One watch: a kind, and for accounts perhaps one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Feed {
    /// What is watched.
    pub kind: Kind,
    /// Where; all namespaces (or the only one there is) when absent.
    pub namespace: Option<String>,
}

impl Feed {
    /// All feeds of an index that watches these namespaces, or all if none is given.
    #[must_use]
    pub fn all(watch_namespaces: &[String]) -> Vec<Self> {
        let mut feeds: Vec<Self> = [Kind::Records, Kind::Keys, Kind::Issuers, Kind::Groups].map(Self::of).into();
        if watch_namespaces.is_empty() {
            feeds.push(Self::of(Kind::Accounts));
        }
        let mut namespaces = watch_namespaces.to_vec();
        namespaces.sort_unstable();
        namespaces.dedup();
        feeds.extend(namespaces.into_iter().map(|name| Self { kind: Kind::Accounts, namespace: Some(name) }));
        feeds
    }

    /// The feed of a kind in all namespaces.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        Self { kind, namespace: None }
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Accounts => "serviceaccounts",
            Kind::Records => "records",
            Kind::Keys => "signing-keys",
            Kind::Issuers => "tokenissuers",
            Kind::Groups => "usergroups",
        })?;
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, "/{namespace}"))
    }
}

/// The state of one feed.
#[derive(Debug)]
pub struct Progress {
    /// Which feed.
    pub feed: Feed,
    listed: AtomicBool,
    /// Milliseconds since the Unix epoch.
    advanced: AtomicI64,
    born: Instant,
    /// Milliseconds since `born`: a clock that is set must not look like a feed that hangs.
    attempted: AtomicU64,
    unreadable: AtomicU64,
}

impl Progress {
    pub(super) fn new(feed: Feed) -> Self {
        Self {
            feed,
            listed: AtomicBool::new(false),
            advanced: AtomicI64::new(i64::MIN),
            born: Instant::now(),
            attempted: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
        }
    }

    /// The first complete list has arrived.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.listed.load(Relaxed)
    }

    /// How long ago the feed was last known to be up to date; zero when the clock was set back, the longest time there
    /// is when it never was.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> TimeDelta {
        let elapsed = now.timestamp_millis().saturating_sub(self.advanced.load(Relaxed)).max(0);
        TimeDelta::try_milliseconds(elapsed).unwrap_or(TimeDelta::MAX)
    }

    /// How long ago the feed last tried anything: a feed that hangs shows here, an API server that is away does not.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.born.elapsed().saturating_sub(Duration::from_millis(self.attempted.load(Relaxed)))
    }

    /// How many objects could not be read since the start.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Relaxed)
    }

    pub(super) fn attempt(&self) {
        self.attempted.store(u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn advance(&self, now: DateTime<Utc>) {
        self.advanced.store(now.timestamp_millis(), Relaxed);
        self.attempt();
    }

    pub(super) fn complete(&self, now: DateTime<Utc>) {
        self.advance(now);
        self.listed.store(true, Relaxed);
    }

    pub(super) fn skip(&self) {
        self.unreadable.fetch_add(1, Relaxed);
    }
}
