//! The controller's pass in the simulated world, write by write.

use chrono::TimeDelta;

use super::{Controller, Plaintext, Secret, World, days, hash, hours};
use crate::api::Timestamp;
use crate::domain::credential::Version;
use crate::domain::observed::Reported;
use crate::domain::plan::{Action, Change, Standing};
use crate::domain::publication::Publication;
use crate::domain::record::{self, Record};
use crate::domain::transition;

/// More writes than any sound pass needs: a loop that gets here would go on for ever.
const HOT_LOOP: usize = 24;

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
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        let plan = self.decide();
        let polled = matches!(plan.standing, Standing::SecretConflict { .. } | Standing::WaitingForGarbageCollection);
        let earliest = self.now.saturating_add(if polled { days(1) } else { TimeDelta::zero() });
        plan.wake.map(|wake| wake.max(earliest))
    }

    /// None when the controller died.
    pub(super) fn apply(&mut self, action: Action, controller: &mut Controller) -> Option<()> {
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

    pub(super) fn record_notices(&mut self) {
        if let Some((notices, record)) = self.notices().zip(self.record.clone()) {
            self.write_record(Record { notices, ..record });
        }
    }

    /// Three writes; a conflict at one of them is no error, the next look tells what to do.
    pub(super) fn change(&mut self, change: &Change, controller: &mut Controller) -> Option<()> {
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

    pub(super) fn let_rival_in(&mut self, controller: &mut Controller, published: bool) {
        if let Some(rival) = controller.rival.take_if(|rival| rival.after_publish == published) {
            self.run(&mut Controller { writes: rival.writes, rival: None });
        }
    }

    pub(super) fn stage(&mut self, change: &Change) -> (Version, Plaintext) {
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

    pub(super) fn publish(&mut self, plaintext: Plaintext, version: &Version) {
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

    pub(super) fn retire(&mut self, version: i64) {
        let before = self.record.clone().unwrap();
        let published = record::Published { uid: "s".into(), resource_version: self.secret_revision.to_string() };
        let after = transition::retire(before.clone(), version, published, self.grace, self.now);
        if !self.ledger.unchecked {
            self.check_retire(&before, &after);
        }
        self.write_record(after);
    }

    pub(super) fn move_expiry(&mut self, not_after: Timestamp, validity_days: i32) {
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

    pub(super) fn shorten_grace(&mut self, not_after: Timestamp) {
        let before = self.previous().cloned().unwrap();
        assert!(not_after < before.not_after && not_after >= self.now, "a grace is extended or dated back");
        self.write_record(transition::shorten_grace(self.record.clone().unwrap(), not_after));
    }

    pub(super) fn write_record(&mut self, record: Record) {
        self.record = Some(Record::parse(record.to_json().unwrap().as_bytes()).unwrap());
        self.record_revision += 1;
        self.check();
    }
}
