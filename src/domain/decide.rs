//! The rules: from what was seen to the one next step. Asked again after each step, until there is nothing to do.

use chrono::TimeDelta;

use super::account::{Authentication, SecretSettings};
use super::credential::{Reason, Version};
use super::notice;
use super::observed::{Observed, Published};
use super::plan::{Action, Change, Plan, Standing};
use super::record::Record;
use super::schedule;
use super::transition;
use crate::api::Timestamp;
use crate::api::service_account::Rotation;

/// How soon to look again at a Secret of somebody else that has our name.
const CONFLICT_RETRY: TimeDelta = TimeDelta::seconds(60);
/// How soon to look again at a Secret that the garbage collector is about to delete.
const LEFTOVER_RETRY: TimeDelta = TimeDelta::seconds(2);
/// The least that an edited validity leaves of the current secret.
const LEAST_LEFT: TimeDelta = TimeDelta::hours(24);

/// An Internal account with everything that its rules look at.
struct Situation<'a> {
    observed: &'a Observed,
    settings: &'a SecretSettings,
    record: Option<&'a Record>,
    current: Option<&'a Version>,
    now: Timestamp,
}

type Rule = for<'a> fn(&Situation<'a>) -> Option<Action>;

/// In order: the first that has something to do is taken. What mints stands below the two that keep out of it.
const RULES: [Rule; 14] = [
    stay_out_if_ending,   // the account or its namespace is being deleted
    finish_publishing,    // a crash between publish and retire
    follow_validity,      // validityDays was edited; before the schedule that follows from it
    follow_grace,         // gracePeriod was edited while a grace runs
    stay_out_of_the_way,  // another's Secret has the name
    keep_up_if_disabled,  // nothing is minted for a disabled account
    create_first,         // no credential yet
    rebuild_lost_record,  // no credential any more
    answer_compromised,   // zero grace
    answer_client_id,     // brings a new secret, too
    answer_client_secret, //
    repair_lost_secret,   // the plaintext is gone from the published Secret
    rotate_on_schedule,   // Automatic only
    republish_outdated,   // template, endpoints, labels
];

/// The next step for an account at `now`.
#[must_use]
pub fn decide(observed: &Observed, now: Timestamp) -> Plan {
    let settings = match &observed.account.authentication {
        Authentication::External { client_id, .. } => return decide_external(observed, client_id, now),
        Authentication::Internal(settings) => settings,
    };
    let record = observed.record.as_ref();
    let situation = Situation { observed, settings, record, current: record.and_then(Record::current), now };
    let action = RULES.iter().find_map(|rule| rule(&situation)).unwrap_or(Action::Nothing);
    let standing = standing(&situation);
    let wake = wake(&situation, &standing);
    Plan { action, standing, wake }
}

fn decide_external(observed: &Observed, client_id: &str, now: Timestamp) -> Plan {
    if ending(observed) {
        return Plan { action: Action::Nothing, standing: Standing::Deleting, wake: None };
    }
    if let Some(rival) = observed.rival.clone() {
        let wake = Some(now.saturating_add(CONFLICT_RETRY));
        return Plan { action: Action::Nothing, standing: Standing::ClientIdConflict { rival }, wake };
    }
    let registered = observed.record.as_ref().is_some_and(|r| r.external_client_id.as_deref() == Some(client_id));
    let action = if registered { Action::Nothing } else { Action::Register };
    let standing = if observed.account.enabled { Standing::Ready } else { Standing::Disabled };
    Plan { action, standing, wake: None }
}

fn standing(s: &Situation<'_>) -> Standing {
    match &s.observed.secret {
        _ if ending(s.observed) => Standing::Deleting,
        Published::Foreign { owner } => Standing::SecretConflict { owner: owner.clone() },
        Published::Leftover => Standing::WaitingForGarbageCollection,
        _ if !s.observed.account.enabled => Standing::Disabled,
        _ if expired_manual(s) => Standing::Expired,
        Published::Missing | Published::Ours { .. } => Standing::Ready,
    }
}

/// The next moment at which time alone changes the plan or the status.
fn wake(s: &Situation<'_>, standing: &Standing) -> Option<Timestamp> {
    let ends = [s.current, s.record.and_then(Record::previous)].map(|version| version.map(|version| version.not_after));
    let acts = match standing {
        Standing::Ready | Standing::Expired => [rotation_time(s), opening(s)],
        Standing::SecretConflict { .. } => [Some(s.now.saturating_add(CONFLICT_RETRY)), None],
        Standing::WaitingForGarbageCollection => [Some(s.now.saturating_add(LEFTOVER_RETRY)), None],
        Standing::Disabled | Standing::Deleting | Standing::ClientIdConflict { .. } => [None, None],
    };
    ends.into_iter().chain(acts).chain([notices(s)]).flatten().filter(|time| *time > s.now).min()
}

/// When the next notice of the expiry is due.
fn notices(s: &Situation<'_>) -> Option<Timestamp> {
    s.record
        .filter(|_| !ending(s.observed))
        .and_then(|record| notice::wake(&s.observed.account, s.settings, record, s.now))
}

fn ending(observed: &Observed) -> bool {
    observed.account.deleting || observed.namespace_ending
}

fn expired_manual(s: &Situation<'_>) -> bool {
    s.settings.rotation == Rotation::Manual && s.current.is_some_and(|current| !current.works_at(s.now))
}

fn rotation_time(s: &Situation<'_>) -> Option<Timestamp> {
    schedule::rotation_time(&s.observed.account, s.settings, s.current?)
}

fn opening(s: &Situation<'_>) -> Option<Timestamp> {
    s.observed.triggers.opening(&s.record?.handled)
}

fn stay_out_if_ending(s: &Situation<'_>) -> Option<Action> {
    ending(s.observed).then_some(Action::Nothing)
}

fn finish_publishing(s: &Situation<'_>) -> Option<Action> {
    let Published::Ours { holds: Some(holds), .. } = s.observed.secret else { return None };
    s.record?.staged().find(|staged| staged.version == holds).map(|staged| Action::Retire { version: staged.version })
}

/// Counted from the secret's creation, never below the floor, never for an expired one.
fn follow_validity(s: &Situation<'_>) -> Option<Action> {
    let current = s.current.filter(|current| current.works_at(s.now))?;
    if current.validity_days == s.settings.validity_days {
        return None;
    }
    let counted = current.not_before.saturating_add(s.settings.validity());
    let floor = s.now.saturating_add(s.settings.overlap.max(LEAST_LEFT));
    // A secret that had less left than the floor keeps what it had: shortening never lengthens.
    let not_after = counted.max(floor.min(current.not_after));
    Some(Action::MoveExpiry { not_after, validity_days: s.settings.validity_days })
}

/// From `now` on at the earliest: what was accepted a minute ago did not end an hour ago.
fn follow_grace(s: &Situation<'_>) -> Option<Action> {
    let previous = s.record?.previous().filter(|previous| previous.works_at(s.now))?;
    let retired = previous.retired_time?;
    let not_after = transition::end_of_outgoing(previous, s.current?.reason, s.observed.grace, retired).max(s.now);
    (not_after < previous.not_after).then_some(Action::ShortenGrace { not_after })
}

fn stay_out_of_the_way(s: &Situation<'_>) -> Option<Action> {
    matches!(s.observed.secret, Published::Foreign { .. } | Published::Leftover).then_some(Action::Nothing)
}

/// The credential that enabling brings back stands in a Secret as its template wants it.
fn keep_up_if_disabled(s: &Situation<'_>) -> Option<Action> {
    (!s.observed.account.enabled).then(|| republish_outdated(s).unwrap_or(Action::Nothing))
}

fn create_first(s: &Situation<'_>) -> Option<Action> {
    let never_had_one = s.observed.reported.client_id.is_none() && s.observed.secret == Published::Missing;
    (s.current.is_none() && never_had_one).then(|| change(s, Reason::Created, staged_client_id(s)))
}

/// Also after a crash that left a rebuilt record with nothing but a staged version.
fn rebuild_lost_record(s: &Situation<'_>) -> Option<Action> {
    let client_id = || s.observed.reported.client_id.clone().or_else(|| staged_client_id(s));
    s.current.is_none().then(|| change(s, Reason::Repaired, client_id()))
}

/// Answers every other trigger at the same time, so it has to bring a new client ID when one is asked for.
fn answer_compromised(s: &Situation<'_>) -> Option<Action> {
    let triggers = &s.observed.triggers;
    let handled = &s.record?.handled;
    let client_id = || if triggers.client_id(handled) { staged_client_id(s) } else { kept_client_id(s) };
    triggers.compromised(handled).then(|| change(s, Reason::Compromised, client_id()))
}

fn answer_client_id(s: &Situation<'_>) -> Option<Action> {
    let asked = s.observed.triggers.client_id(&s.record?.handled);
    asked.then(|| change(s, Reason::ClientIdRegenerated, staged_client_id(s)))
}

fn answer_client_secret(s: &Situation<'_>) -> Option<Action> {
    let asked = s.observed.triggers.client_secret(&s.record?.handled);
    asked.then(|| change(s, Reason::Requested, kept_client_id(s)))
}

/// Not for an expired Manual secret: deleting the Secret must not do what only regenerating may.
fn repair_lost_secret(s: &Situation<'_>) -> Option<Action> {
    (!intact(s) && !expired_manual(s)).then(|| change(s, Reason::Repaired, kept_client_id(s)))
}

fn rotate_on_schedule(s: &Situation<'_>) -> Option<Action> {
    (s.now >= rotation_time(s)?).then(|| change(s, Reason::Scheduled, kept_client_id(s)))
}

/// Only around the current secret: anything else in there is not ours to carry over.
fn republish_outdated(s: &Situation<'_>) -> Option<Action> {
    let Published::Ours { outdated, .. } = &s.observed.secret else { return None };
    (intact(s) && !outdated.is_empty()).then(|| Action::Republish { outdated: outdated.clone() })
}

/// Whether the published Secret holds the current version.
fn intact(s: &Situation<'_>) -> bool {
    let current = s.current.map(|current| current.version);
    current.is_some() && matches!(s.observed.secret, Published::Ours { holds, .. } if holds == current)
}

fn kept_client_id(s: &Situation<'_>) -> Option<String> {
    s.current.map(|current| current.client_id.clone())
}

/// The new client ID that a change staged before and did not live to publish. Taken up again, so that the staged
/// versions never have more than one new ID between them: a record has one label to be found by it.
fn staged_client_id(s: &Situation<'_>) -> Option<String> {
    s.record?.staged_client_id().map(ToOwned::to_owned)
}

fn change(s: &Situation<'_>, reason: Reason, client_id: Option<String>) -> Action {
    Action::Change(Change { reason, client_id, answers: s.observed.triggers.present.clone() })
}

#[cfg(test)]
mod tests;
