//! The world that the rules act on, small enough for a property: one account, its record, its published Secret, its
//! status and a clock. A controller lives in it that may die after any write, and a rival that writes in between.
//!
//! Every write, edit and step of time is held against what must never happen, by bookkeeping of its own ([`Ledger`]).

mod acting;
mod building;
mod checking;
mod looking;

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::credential::{SecretHash, Version};
use super::publication::Endpoints;
use super::record::Record;
use crate::api::{ServiceAccount, ServiceAccountStatus, Timestamp};

/// A client secret; each has a number of its own, and nobody ever draws 0.
pub type Plaintext = u64;

/// The Secret under the published name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    Missing,
    Foreign,
    Leftover,
    Ours { plaintext: Plaintext, fingerprint: String },
}

/// One account and all around it.
#[derive(Clone, Debug)]
pub struct World {
    pub object: ServiceAccount,
    pub record: Option<Record>,
    pub secret: Secret,
    pub status: ServiceAccountStatus,
    pub grace: TimeDelta,
    pub endpoints: Endpoints,
    pub now: Timestamp,
    pub ledger: Ledger,
    record_revision: u64,
    secret_revision: u64,
    secrets_drawn: Plaintext,
    client_ids_drawn: u64,
}

/// What was really published, whatever the record says of it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Every secret that ever stood in the published Secret; whether its end has come.
    pub published: BTreeMap<Plaintext, bool>,
    /// What we put into the Secret last, unless somebody else wrote it since.
    intact: Option<Plaintext>,
    /// Version numbers given out so far.
    highest: i64,
    /// Off for records that no controller wrote.
    unchecked: bool,
}

/// A controller: how many writes it lives, and the rival that comes in between.
#[derive(Clone, Copy, Debug)]
pub struct Controller {
    pub writes: usize,
    pub rival: Option<Rival>,
}

/// Another controller that is active after our first (stage) or second (publish) write of a change.
#[derive(Clone, Copy, Debug)]
pub struct Rival {
    pub after_publish: bool,
    pub writes: usize,
}

impl Controller {
    pub const HEALTHY: Self = Self { writes: usize::MAX, rival: None };

    /// Whether it lives to make one more write.
    fn writes(&mut self) -> bool {
        let alive = self.writes > 0;
        self.writes = self.writes.saturating_sub(1);
        alive
    }
}

/// An account of 180 days that was created at [`start`], and settled.
pub fn account() -> World {
    let mut world = World::new();
    world.reconcile();
    world
}

pub fn start() -> Timestamp {
    Timestamp::parse("2026-11-21T12:00:00Z").unwrap()
}

pub fn days(n: i64) -> TimeDelta {
    TimeDelta::days(n)
}

pub fn hours(n: i64) -> TimeDelta {
    TimeDelta::hours(n)
}

pub fn seconds(n: i64) -> TimeDelta {
    TimeDelta::seconds(n)
}

/// A stand-in for Argon2.
pub fn hash(plaintext: Plaintext) -> SecretHash {
    SecretHash::from_phc(plaintext.to_string())
}

fn plaintext_of(version: &Version) -> Plaintext {
    version.secret_hash.as_phc().parse().unwrap()
}
