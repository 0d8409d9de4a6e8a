//! The record's changes, each a whole step: stage, retire, and the edits of an end.

use chrono::TimeDelta;

use super::account::{Account, SecretSettings};
use super::credential::{Reason, SecretHash, State, Version};
use super::observed::Reported;
use super::plan::Change;
use super::record::{Published, Record};
use crate::api::Timestamp;

/// After a repair the old secret works on at least this long: whoever lost it from the Secret may still hold it.
const REPAIR_GRACE: TimeDelta = TimeDelta::hours(24);

/// Step 1: adds a staged version beside all others. Its validity starts now.
#[must_use]
pub fn stage(
    mut record: Record,
    change: &Change,
    client_id: String,
    secret_hash: SecretHash,
    settings: &SecretSettings,
    now: Timestamp,
) -> Record {
    record.last_version = record.last_version.saturating_add(1);
    record.versions.push(Version {
        version: record.last_version,
        client_id,
        secret_hash,
        state: State::Staged,
        not_before: now,
        not_after: now.saturating_add(settings.validity()),
        validity_days: settings.validity_days,
        reason: change.reason,
        answers: Some(change.answers.clone()),
        retired_time: None,
        retries: 0,
        unknown: serde_json::Map::new(),
    });
    record
}

/// Step 1 of another try at publishing a version that is staged already.
#[must_use]
pub fn stage_again(mut record: Record, version: i64) -> Record {
    let staged = |other: &&mut Version| other.version == version && other.state == State::Staged;
    for staged in record.versions.iter_mut().filter(staged) {
        staged.retries = staged.retries.saturating_add(1);
    }
    record
}

/// Step 3: the version that the live Secret holds becomes the current one, the current one the previous one with its
/// end, and everything else is dropped: the oldest, and what other controllers staged in vain.
///
/// After a leak the tokens of every version before the new one are inactive: a change may just have come in between, so
/// it is not known which of them leaked. Returns the record unchanged when `version` is not staged (any more).
#[must_use]
pub fn retire(mut record: Record, version: i64, published: Published, grace: TimeDelta, now: Timestamp) -> Record {
    let Some(mut next) = record.staged().find(|staged| staged.version == version).cloned() else { return record };
    let outgoing = record.current().cloned().and_then(|old| replaced(old, next.reason, grace, now));
    if next.reason == Reason::Compromised {
        let others = record.versions.iter().map(|other| other.version).filter(|other| *other != version);
        record.compromised_versions.extend(others);
    }
    if let Some(answers) = next.answers.take() {
        record.handled = record.handled.merged(&answers);
    }
    next.state = State::Current;
    record.versions = outgoing.into_iter().chain([next]).collect();
    record.published = Some(published);
    record
}

/// None when it ends at once: kept with its end, it would work on by a clock that lags or is set back.
fn replaced(mut old: Version, reason: Reason, grace: TimeDelta, now: Timestamp) -> Option<Version> {
    old.state = State::Previous;
    old.retired_time = Some(now);
    old.end_by(end_of_outgoing(&old, reason, grace, now));
    Some(old).filter(|old| old.works_at(now))
}

/// When a version ends that one made for `reason` replaced at `retired`, if its own expiry does not come first.
#[must_use]
pub fn end_of_outgoing(old: &Version, reason: Reason, grace: TimeDelta, retired: Timestamp) -> Timestamp {
    match reason {
        Reason::Created | Reason::Scheduled => old.not_after,
        Reason::Requested | Reason::ClientIdRegenerated => retired.saturating_add(grace),
        Reason::Repaired => retired.saturating_add(grace.max(REPAIR_GRACE)),
        Reason::Compromised => retired,
    }
}

/// Moves the end of the current version.
#[must_use]
pub fn move_expiry(mut record: Record, not_after: Timestamp, validity_days: i32) -> Record {
    for version in record.versions.iter_mut().filter(|version| version.state == State::Current) {
        version.not_after = not_after;
        version.validity_days = validity_days;
    }
    record
}

/// Ends the previous version sooner.
#[must_use]
pub fn shorten_grace(mut record: Record, not_after: Timestamp) -> Record {
    for version in record.versions.iter_mut().filter(|version| version.state == State::Previous) {
        version.end_by(not_after);
    }
    record
}

/// The record of an account that has none, or none any more: its numbers go on from those that were reported.
#[must_use]
pub fn fresh_record(account: &Account, reported: &Reported) -> Record {
    let mut record = Record::new(account.owner.clone());
    record.last_version = reported.version;
    record.created_by.clone_from(&account.created_by);
    record.created_time = Some(account.created);
    record
}
