//! The world that the rules act on, small enough for a property: one account, its record, its published Secret, its
//! status and a clock. A controller lives in it that may die after any write, and a rival that writes in between.
//!
//! Every write, edit and step of time is held against what must never happen, by bookkeeping of its own ([`Ledger`]).

use std::collections::BTreeMap;

use chrono::TimeDelta;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::account::{Account, Authentication, SecretSettings};
use super::credential::{Reason, SecretHash, State, Version};
use super::decide::decide;
use super::notice::{self, Notice};
use super::observed::{Observed, Published, Reported};
use super::plan::{Action, Change, Plan, Standing};
use super::publication::{Endpoints, Publication};
use super::record::{self, Handled, Record};
use super::settle::{Applied, settle};
use super::transition;
use super::trigger::Triggers;
use super::usage::Uses;
use crate::api::service_account::{ClientSecret, Regenerate, Rotation, Template};
use crate::api::{self, ServiceAccount, ServiceAccountSpec, ServiceAccountStatus, Timestamp};

/// More writes than any sound pass needs: a loop that gets here would go on for ever.
const HOT_LOOP: usize = 24;

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

/// Building, by saying what differs.
impl World {
    /// Just applied: no controller has seen it.
    pub fn new() -> Self {
        let mut object = ServiceAccount::new("exporter", ServiceAccountSpec::default());
        object.spec.client_secret = Some(ClientSecret::default());
        object.metadata.namespace = Some("shop".into());
        object.metadata.uid = Some("2f6c3c1a-2f0e-4b52-9c0c-6a1f4c5d7e88".into());
        object.metadata.generation = Some(1);
        object.metadata.creation_timestamp = Some(Time("2026-11-21T12:00:00Z".parse().unwrap()));
        Self {
            object,
            record: None,
            secret: Secret::Missing,
            status: ServiceAccountStatus::default(),
            grace: TimeDelta::zero(),
            endpoints: Endpoints::default(),
            now: start(),
            ledger: Ledger::default(),
            record_revision: 0,
            secret_revision: 0,
            secrets_drawn: 0,
            client_ids_drawn: 0,
        }
    }

    pub fn client_secret(&mut self) -> &mut ClientSecret {
        self.object.spec.client_secret.get_or_insert_default()
    }

    fn regenerate(&mut self) -> &mut Regenerate {
        self.object.spec.regenerate.get_or_insert_default()
    }

    pub fn manual(mut self) -> Self {
        self.client_secret().rotation = Rotation::Manual;
        self
    }

    pub fn valid_for(mut self, days: i32) -> Self {
        self.client_secret().validity_days = days;
        self
    }

    pub fn overlapping(mut self, overlap: &str) -> Self {
        self.client_secret().overlap = Some(overlap.into());
        self
    }

    pub fn grace(mut self, grace: TimeDelta) -> Self {
        self.grace = grace;
        self
    }

    pub fn disabled(mut self) -> Self {
        self.object.spec.enabled = false;
        self
    }

    pub fn enabled(mut self) -> Self {
        self.object.spec.enabled = true;
        self
    }

    pub fn deleting(mut self) -> Self {
        self.object.metadata.deletion_timestamp = self.object.metadata.creation_timestamp.clone();
        self
    }

    pub fn asking_for_secret(mut self, value: i64) -> Self {
        self.regenerate().client_secret = value;
        self
    }

    pub fn asking_for_client_id(mut self, value: i64) -> Self {
        self.regenerate().client_id = value;
        self
    }

    pub fn annotated(mut self, key: &str, value: impl Into<String>) -> Self {
        self.object.annotations_mut().insert(key.into(), value.into());
        self
    }

    /// Leaked at the present moment.
    pub fn compromised(self) -> Self {
        let now = self.now.to_string();
        self.annotated(api::COMPROMISED, now)
    }

    pub fn labelled(mut self, value: &str) -> Self {
        let labels = [("team".to_owned(), value.to_owned())].into();
        self.client_secret().template = Some(Template { labels, ..Template::default() });
        self
    }

    /// Somebody else writes the Secret.
    pub fn with_secret(mut self, secret: Secret) -> Self {
        self.secret = secret;
        self.secret_revision += 1;
        self.ledger.intact = None;
        self.check();
        self
    }

    pub fn garbled(self) -> Self {
        self.holding(0)
    }

    /// A Secret of ours with an earlier content.
    pub fn holding(self, plaintext: Plaintext) -> Self {
        self.with_secret(Secret::Ours { plaintext, fingerprint: String::new() })
    }

    pub fn without_record(mut self) -> Self {
        self.record = None;
        self.record_revision += 1;
        self.ledger.highest = Reported::from(&self.status).version;
        self.ledger.intact = None;
        self.check();
        self
    }

    pub fn without_status(mut self) -> Self {
        self.status = ServiceAccountStatus::default();
        if self.record.is_none() {
            self.ledger.highest = 0;
        }
        self
    }

    /// A record and a status that no controller ever wrote.
    pub fn arbitrary(mut self, record: Option<Record>, status: ServiceAccountStatus) -> Self {
        self.ledger.unchecked = true;
        self.record = record;
        self.status = status;
        self
    }

    /// Time passes and nobody is there.
    pub fn after(mut self, delta: TimeDelta) -> Self {
        self.now = self.now.saturating_add(delta);
        self.check();
        self
    }

    pub fn expiring_in(self, left: TimeDelta) -> Self {
        let delta = self.current().not_after.at() - self.now.at() - left;
        self.after(delta)
    }

    pub fn settled(mut self) -> Self {
        self.reconcile();
        self
    }

    /// The controller dies after so many writes.
    pub fn dying_after(mut self, writes: usize) -> Self {
        self.run(&mut Controller { writes, rival: None });
        self
    }
}

/// Looking at it.
impl World {
    pub fn account(&self) -> Account {
        Account::parse(&self.object).unwrap()
    }

    fn settings(&self) -> SecretSettings {
        match self.account().authentication {
            Authentication::Internal(settings) => settings,
            Authentication::External { .. } => unreachable!("the simulated account is Internal"),
        }
    }

    pub fn current(&self) -> &Version {
        self.record.as_ref().and_then(Record::current).unwrap()
    }

    pub fn previous(&self) -> Option<&Version> {
        self.record.as_ref().and_then(Record::previous)
    }

    pub fn staged(&self) -> usize {
        self.record.as_ref().map_or(0, |record| record.staged().count())
    }

    pub fn triggers(&self) -> Triggers {
        Triggers::read(&self.object, &self.account(), self.now)
    }

    /// As the controller's live read sees it.
    pub fn observe(&self) -> Observed {
        Observed {
            account: self.account(),
            triggers: self.triggers(),
            record: self.record.clone(),
            reported: Reported::from(&self.status),
            secret: self.published(),
            issuer: "default".into(),
            grace: self.grace,
            rival: None,
            missing_groups: Vec::new(),
            missing_trust: None,
            namespace_ending: false,
        }
    }

    fn published(&self) -> Published {
        match &self.secret {
            Secret::Missing => Published::Missing,
            Secret::Foreign => Published::Foreign { owner: "Deployment web".into() },
            Secret::Leftover => Published::Leftover,
            Secret::Ours { plaintext, fingerprint } => {
                let outdated = self.fingerprint().is_some_and(|wanted| wanted != *fingerprint);
                let outdated = if outdated { vec!["annotation keyrota.dev/fingerprint".into()] } else { Vec::new() };
                Published::Ours { holds: self.version_of(*plaintext).map(|version| version.version), outdated }
            }
        }
    }

    fn fingerprint(&self) -> Option<String> {
        let current = self.record.as_ref()?.current()?;
        let owner = self.account().owner;
        Some(Publication::of(&owner, &self.settings(), current, &self.endpoints).fingerprint())
    }

    /// The version whose secret this is; the current one first, as the controller looks.
    pub fn version_of(&self, plaintext: Plaintext) -> Option<&Version> {
        let record = self.record.as_ref()?;
        let same = |version: &&Version| version.secret_hash == hash(plaintext);
        record.current().filter(same).or_else(|| record.versions.iter().find(same))
    }

    /// Whether the gateway accepts a secret of an account that is enabled.
    pub fn accepts(&self, plaintext: Plaintext) -> bool {
        self.version_of(plaintext).is_some_and(|version| version.works_at(self.now))
    }

    pub fn decide(&self) -> Plan {
        decide(&self.observe(), self.now)
    }

    /// The reason for which a change is decided.
    pub fn reason(&self) -> Option<Reason> {
        match self.decide().action {
            Action::Change(change) => Some(change.reason),
            _ => None,
        }
    }

    pub fn settle(&self) -> ServiceAccountStatus {
        let applied = Applied {
            account: self.account(),
            record: self.record.clone(),
            standing: self.decide().standing,
            issuer: "default".into(),
            missing_groups: Vec::new(),
            missing_trust: None,
            uses: Uses::new(),
        };
        settle(&applied, &self.status, self.now)
    }

    /// What is to be recorded of expiry notices. Nobody wants any here: each is recorded, and none is sent.
    pub fn notices(&self) -> Option<Vec<Notice>> {
        notice::plan(&self.account(), &self.settings(), self.record.as_ref()?, &[], self.now)
    }

    pub fn at(&self, time: Timestamp) -> Self {
        Self { now: time, ..self.clone() }
    }
}

/// Acting on it.
impl World {
    /// A healthy controller's pass.
    pub fn reconcile(&mut self) {
        self.run(&mut Controller::HEALTHY.clone());
    }

    /// A controller's pass: one step after the other until there is nothing to do, or until it dies.
    pub fn run(&mut self, controller: &mut Controller) {
        for _ in 0..HOT_LOOP {
            let plan = self.decide();
            if plan.action == Action::Nothing {
                self.record_notices();
                self.status = self.settle();
                return self.check();
            }
            if self.apply(plan.action, controller).is_none() {
                return;
            }
        }
        panic!("a hot loop: {:?} of {self:#?}", self.decide());
    }

    /// Lives through time: wakes whenever it said that it would.
    pub fn run_until(&mut self, time: Timestamp, controller: &mut Controller) {
        while let Some(wake) = self.next_wake().filter(|wake| *wake <= time) {
            assert!(wake > self.now, "to wake at {wake} is not after {}", self.now);
            self.now = wake;
            self.check();
            self.run(controller);
        }
        self.now = time;
        self.check();
        self.run(controller);
    }

    /// But for another's Secret it looks once a day, not every minute: nothing moves it here.
    fn next_wake(&self) -> Option<Timestamp> {
        let plan = self.decide();
        let polled = matches!(plan.standing, Standing::SecretConflict { .. } | Standing::WaitingForGarbageCollection);
        let earliest = self.now.saturating_add(if polled { days(1) } else { TimeDelta::zero() });
        plan.wake.map(|wake| wake.max(earliest))
    }

    /// None when the controller died.
    fn apply(&mut self, action: Action, controller: &mut Controller) -> Option<()> {
        match action {
            Action::Nothing | Action::Register => unreachable!("nothing is applied for {action:?}"),
            Action::Change(change) => return self.change(&change, controller),
            Action::Retire { version } => {
                controller.writes().then_some(())?;
                self.retire(version);
            }
            Action::Republish { .. } => {
                controller.writes().then_some(())?;
                let Secret::Ours { plaintext, .. } = self.secret else { panic!("nothing to publish again") };
                let current = self.current().clone();
                self.publish(plaintext, &current);
            }
            Action::MoveExpiry { not_after, validity_days } => {
                controller.writes().then_some(())?;
                self.move_expiry(not_after, validity_days);
            }
            Action::ShortenGrace { not_after } => {
                controller.writes().then_some(())?;
                self.shorten_grace(not_after);
            }
        }
        self.check();
        Some(())
    }

    fn record_notices(&mut self) {
        if let Some((notices, record)) = self.notices().zip(self.record.clone()) {
            self.write_record(Record { notices, ..record });
        }
    }

    /// Three writes; a conflict at one of them is no error, the next look tells what to do.
    fn change(&mut self, change: &Change, controller: &mut Controller) -> Option<()> {
        let secret_read = self.secret_revision;
        controller.writes().then_some(())?;
        let (staged, plaintext) = self.stage(change);
        let record_written = self.record_revision;
        self.let_rival_in(controller, false);
        if self.secret_revision != secret_read {
            return Some(());
        }
        controller.writes().then_some(())?;
        self.publish(plaintext, &staged);
        self.let_rival_in(controller, true);
        if self.record_revision != record_written {
            return Some(());
        }
        controller.writes().then_some(())?;
        self.retire(staged.version);
        Some(())
    }

    fn let_rival_in(&mut self, controller: &mut Controller, published: bool) {
        if let Some(rival) = controller.rival.take_if(|rival| rival.after_publish == published) {
            self.run(&mut Controller { writes: rival.writes, rival: None });
        }
    }

    fn stage(&mut self, change: &Change) -> (Version, Plaintext) {
        self.check_mint(change);
        self.secrets_drawn += 1;
        let client_id = change.client_id.clone().unwrap_or_else(|| {
            self.client_ids_drawn += 1;
            format!("client-{}", self.client_ids_drawn)
        });
        let reported = Reported::from(&self.status);
        let before = self.record.clone().unwrap_or_else(|| transition::fresh_record(&self.account(), &reported));
        let settings = self.settings();
        let after = transition::stage(before.clone(), change, client_id, hash(self.secrets_drawn), &settings, self.now);
        assert_eq!(after.versions[..before.versions.len()], before.versions, "staging touches no other version");
        let staged = after.versions.last().cloned().unwrap();
        self.write_record(after);
        (staged, self.secrets_drawn)
    }

    fn publish(&mut self, plaintext: Plaintext, version: &Version) {
        let before = self.secret.clone();
        assert!(!matches!(before, Secret::Foreign | Secret::Leftover), "another's Secret is overwritten");
        let owner = self.account().owner;
        let fingerprint = Publication::of(&owner, &self.settings(), version, &self.endpoints).fingerprint();
        self.secret = Secret::Ours { plaintext, fingerprint };
        self.secret_revision += 1;
        self.ledger.published.entry(plaintext).or_default();
        self.ledger.intact = Some(plaintext);
        self.check();
    }

    fn retire(&mut self, version: i64) {
        let before = self.record.clone().unwrap();
        let published = record::Published { uid: "s".into(), resource_version: self.secret_revision.to_string() };
        let after = transition::retire(before.clone(), version, published, self.grace, self.now);
        if !self.ledger.unchecked {
            self.check_retire(&before, &after);
        }
        self.write_record(after);
    }

    fn move_expiry(&mut self, not_after: Timestamp, validity_days: i32) {
        let before = self.current().clone();
        if !self.ledger.unchecked {
            let least = self.now.saturating_add(self.settings().overlap.max(hours(24)));
            let counted = before.not_before.saturating_add(days(validity_days.into()));
            assert!(before.works_at(self.now), "an expired secret is moved");
            assert!(not_after >= counted, "ended before its validity");
            assert!(not_after >= before.not_after.min(least), "less is left than a day");
            assert!(not_after <= before.not_after.max(counted), "left longer than either validity says");
        }
        self.write_record(transition::move_expiry(self.record.clone().unwrap(), not_after, validity_days));
    }

    fn shorten_grace(&mut self, not_after: Timestamp) {
        let before = self.previous().cloned().unwrap();
        assert!(not_after < before.not_after && not_after >= self.now, "a grace is extended or dated back");
        self.write_record(transition::shorten_grace(self.record.clone().unwrap(), not_after));
    }

    fn write_record(&mut self, record: Record) {
        self.record = Some(Record::parse(record.to_json().unwrap().as_bytes()).unwrap());
        self.record_revision += 1;
        self.check();
    }
}

/// What must never happen.
impl World {
    /// Only for an account that may have a credential, and only for a reason that holds.
    fn check_mint(&self, change: &Change) {
        let account = self.account();
        assert!(account.enabled && !account.deleting, "minted while disabled or deleted");
        let Some(record) = self.record.as_ref().filter(|_| !self.ledger.unchecked) else { return };
        let Handled { client_secret, client_id, regenerate_time, compromised_time } = &record.handled;
        let asked = &change.answers;
        let raised = asked.client_secret > *client_secret || asked.regenerate_time > *regenerate_time;
        let raised_id = asked.client_id > *client_id || asked.regenerate_time > *regenerate_time;
        match change.reason {
            Reason::Requested => assert!(raised, "requested by nobody"),
            Reason::ClientIdRegenerated => assert!(raised_id, "a client ID requested by nobody"),
            Reason::Compromised => assert!(asked.compromised_time > *compromised_time, "compromised by nobody"),
            Reason::Created => assert!(record.current().is_none(), "created twice"),
            Reason::Scheduled | Reason::Repaired => {
                let expired = record.current().is_some_and(|current| !current.works_at(self.now));
                let manual = self.settings().rotation == Rotation::Manual;
                assert!(!(manual && expired), "an expired Manual secret came back by itself");
            }
        }
    }

    /// The version in the Secret is the current one, its predecessor ends as its reason says, and nothing else is left.
    fn check_retire(&self, before: &Record, after: &Record) {
        let Secret::Ours { plaintext, .. } = self.secret else { panic!("retired without a published Secret") };
        let current = after.current().unwrap();
        assert_eq!(current.secret_hash, hash(plaintext), "the current version is not the published one");
        assert_eq!(after.staged().count(), 0);
        let Some(old) = before.current() else { return };
        let latest = match current.reason {
            Reason::Created | Reason::Scheduled => old.not_after,
            Reason::Requested | Reason::ClientIdRegenerated => self.now.saturating_add(self.grace),
            Reason::Repaired => self.now.saturating_add(self.grace.max(hours(24))),
            Reason::Compromised => self.now,
        };
        let end = old.not_after.min(latest);
        let previous = after.previous().map(|previous| (previous.version, previous.not_after));
        assert_eq!(previous, (end > self.now).then_some((old.version, end)), "a clock that lags would still accept it");
    }

    /// After every write, edit and step of time.
    fn check(&mut self) {
        if self.ledger.unchecked {
            return;
        }
        assert!(self.status.credentials.len() <= 2);
        let Self { record, ledger, now, .. } = self;
        let versions = record.as_ref().map_or(&[][..], |record| &record.versions[..]);
        let works = |plaintext| versions.iter().any(|v| plaintext_of(v) == plaintext && v.works_at(*now));
        let ended = |plaintext| ledger.published.get(&plaintext) == Some(&true);
        let revived = versions.iter().map(plaintext_of).find(|plaintext| ended(*plaintext) && works(*plaintext));
        assert_eq!(revived, None, "an ended secret works again");
        let ends: Vec<_> =
            ledger.published.iter().filter(|(p, ended)| !**ended && !works(**p)).map(|(p, _)| *p).collect();
        ledger.published.extend(ends.into_iter().map(|plaintext| (plaintext, true)));
        let Some(record) = &self.record else { return };
        let known: Vec<&Version> = record.versions.iter().filter(|version| version.state != State::Staged).collect();
        let live = known.iter().filter(|version| version.works_at(self.now)).count();
        assert!(live <= 2, "{live} live versions");
        let published = |version: &&Version| self.ledger.published.contains_key(&plaintext_of(version));
        assert!(known.iter().all(published), "one never published got beyond Staged");
        if let Some(intact) = self.ledger.intact {
            let version = self.version_of(intact).unwrap_or_else(|| panic!("the published secret is unknown"));
            assert_eq!(self.accepts(intact), self.now < version.not_after);
        }
        let numbers: Vec<i64> = record.versions.iter().map(|version| version.version).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "versions out of order: {numbers:?}");
        assert!(record.last_version >= self.ledger.highest, "version numbers go down");
        self.ledger.highest = record.last_version;
    }
}

/// A stand-in for Argon2.
pub fn hash(plaintext: Plaintext) -> SecretHash {
    SecretHash::from_phc(plaintext.to_string())
}

fn plaintext_of(version: &Version) -> Plaintext {
    version.secret_hash.as_phc().parse().unwrap()
}
