//! What must never happen in the simulated world, looked at after every write, edit and step of time.

use super::{Secret, World, hash, hours, plaintext_of};
use crate::api::service_account::Rotation;
use crate::domain::credential::{Reason, State, Version};
use crate::domain::plan::Change;
use crate::domain::record::{Handled, Record};

impl World {
    /// Only for an account that may have a credential, and only for a reason that holds.
    pub(super) fn check_mint(&self, change: &Change) {
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
    pub(super) fn check_retire(&self, before: &Record, after: &Record) {
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
    pub(super) fn check(&mut self) {
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
