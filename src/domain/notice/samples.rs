//! An account with a record, for the tests of this module.

use chrono::{DateTime, TimeDelta};

use super::recipient::Recipient;
use super::{Channel, Outcome, deliverable, plan, settled};
use crate::api::service_account::{ClientSecret, Reason, Rotation};
use crate::api::{ServiceAccount, ServiceAccountSpec, Timestamp};
use crate::domain::account::{Account, Authentication, SecretSettings};
use crate::domain::credential::{SecretHash, State, Version};
use crate::domain::record::Record;

/// `day` days after the first secret was made.
pub(super) fn at(day: i64) -> Timestamp {
    let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
    Timestamp::from(start).saturating_add(TimeDelta::days(day))
}

pub(super) fn days(count: i32) -> TimeDelta {
    TimeDelta::days(count.into())
}

pub(super) fn seconds(count: i64) -> TimeDelta {
    TimeDelta::seconds(count)
}

#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) account: Account,
    pub(super) record: Record,
    pub(super) recipients: Vec<Recipient>,
}

impl Sample {
    pub(super) fn manual(validity_days: i32) -> Self {
        Self::new(validity_days, Rotation::Manual)
    }

    pub(super) fn automatic(validity_days: i32) -> Self {
        Self::new(validity_days, Rotation::Automatic)
    }

    fn new(validity_days: i32, rotation: Rotation) -> Self {
        let client_secret = ClientSecret { validity_days, rotation, ..ClientSecret::default() };
        let spec = ServiceAccountSpec { client_secret: Some(client_secret), ..ServiceAccountSpec::default() };
        let mut object = ServiceAccount::new("exporter", spec);
        object.metadata.namespace = Some("shop".into());
        object.metadata.uid = Some("uid-1".into());
        let account = Account::parse(&object).unwrap();
        let record = Record::new(account.owner.clone());
        let recipients = vec![Recipient::of(Channel::Event), Recipient::mail("team@example.com")];
        let mut sample = Self { account, record, recipients };
        sample.rotate(at(0));
        sample
    }

    /// A new version takes the place of the current one.
    pub(super) fn rotate(&mut self, now: Timestamp) {
        let settings = self.settings().clone();
        self.record.last_version += 1;
        for version in &mut self.record.versions {
            version.state = State::Previous;
        }
        let keep = self.record.versions.pop();
        self.record.versions = keep.into_iter().collect();
        self.record.versions.push(Version {
            version: self.record.last_version,
            client_id: "97074e41-8af9-456d-9a64-f0c4bb908048".into(),
            secret_hash: SecretHash::from_phc(String::new()),
            state: State::Current,
            not_before: now,
            not_after: now.saturating_add(settings.validity()),
            validity_days: settings.validity_days,
            reason: Reason::Requested,
            answers: None,
            retired_time: None,
            retries: 0,
            unknown: serde_json::Map::new(),
        });
    }

    pub(super) fn settings(&self) -> &SecretSettings {
        match &self.account.authentication {
            Authentication::Internal(settings) => settings,
            Authentication::External { .. } => unreachable!("samples are Internal"),
        }
    }

    pub(super) fn settings_mut(&mut self) -> &mut SecretSettings {
        match &mut self.account.authentication {
            Authentication::Internal(settings) => settings,
            Authentication::External { .. } => unreachable!("samples are Internal"),
        }
    }

    pub(super) fn current(&self) -> &Version {
        self.record.current().unwrap()
    }

    /// Moves the end of the current secret.
    pub(super) fn move_expiry(&mut self, validity_days: i32) {
        let current = self.record.versions.last_mut().unwrap();
        current.validity_days = validity_days;
        current.not_after = current.not_before.saturating_add(days(validity_days));
        self.settings_mut().validity_days = validity_days;
    }

    /// What a pass of the controller does.
    pub(super) fn plan(&mut self, now: Timestamp) {
        if let Some(notices) = plan(&self.account, self.settings(), &self.record, &self.recipients, now) {
            self.record.notices = notices;
        }
        let again = plan(&self.account, self.settings(), &self.record, &self.recipients, now);
        assert_eq!(again, None, "planning twice adds nothing");
    }

    /// What a pass and the outbox do; the thresholds of which something was sent.
    pub(super) fn plan_and_send(&mut self, now: Timestamp) -> Vec<(i64, i32)> {
        self.plan_and_try(now, &Outcome::Sent)
    }

    pub(super) fn plan_and_try(&mut self, now: Timestamp, outcome: &Outcome) -> Vec<(i64, i32)> {
        self.plan(now);
        let keys = deliverable(&self.account, self.settings(), &self.record, now);
        let tried = keys.iter().map(|key| (key.version, key.threshold)).collect();
        for key in &keys {
            self.record = settled(self.record.clone(), key, outcome, now);
        }
        tried
    }

    /// The recorded states of the current version's notices.
    pub(super) fn states(&self) -> Vec<(i32, super::State)> {
        let current = self.current().version;
        let ours = self.record.notices.iter().filter(|notice| notice.version == current);
        ours.map(|notice| (notice.threshold, notice.state)).collect()
    }
}
