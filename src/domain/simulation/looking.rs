//! What the rules see of the simulated world.

use super::{Plaintext, Secret, World, hash};
use crate::api::{ServiceAccountStatus, Timestamp};
use crate::domain::account::{Account, Authentication, SecretSettings};
use crate::domain::credential::{Reason, Version};
use crate::domain::decide::decide;
use crate::domain::notice::{self, Notice};
use crate::domain::observed::{Observed, Published, Reported};
use crate::domain::plan::{Action, Plan};
use crate::domain::publication::Publication;
use crate::domain::record::Record;
use crate::domain::settle::{Applied, settle};
use crate::domain::trigger::Triggers;
use crate::domain::usage::Uses;

impl World {
    pub fn account(&self) -> Account {
        Account::parse(&self.object).unwrap()
    }

    pub(super) fn settings(&self) -> SecretSettings {
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

    pub(super) fn published(&self) -> Published {
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

    pub(super) fn fingerprint(&self) -> Option<String> {
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
