//! The rules: from what was seen to the one next step. Asked again after each step, until there is nothing to do.

use chrono::TimeDelta;

use super::account::{Authentication, SecretSettings, validity};
use super::credential::{Reason, Version};
use super::observed::{Observed, Published};
use super::plan::{Action, Change, Plan, Standing};
use super::record::Record;
use super::schedule;
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

/// In order: the first that has something to do is taken.
const RULES: [Rule; 12] = [
    finish_publishing,    // a crash between publish and retire
    stay_out_if_disabled, // nothing is minted for a disabled account
    create_first,         // no credential yet
    rebuild_lost_record,  // the record is gone, its account is not new
    answer_compromised,   // zero grace
    answer_client_id,     // brings a new secret, too
    answer_client_secret, //
    repair_lost_secret,   // the plaintext is gone from the published Secret
    rotate_on_schedule,   // Automatic only
    follow_validity,      // validityDays was edited
    follow_grace,         // gracePeriod was edited while a grace runs
    republish_outdated,   // template, endpoints, labels
];

/// The next step for an account at `now`.
#[must_use]
pub fn decide(observed: &Observed, now: Timestamp) -> Plan {
    if observed.account.deleting || observed.namespace_ending {
        return rest(Standing::Deleting, None);
    }
    if let Some(rival) = &observed.rival {
        return rest(Standing::ClientIdConflict { rival: rival.clone() }, Some(now.saturating_add(CONFLICT_RETRY)));
    }
    let settings = match &observed.account.authentication {
        Authentication::External { client_id } => return decide_external(observed, client_id),
        Authentication::Internal(settings) => settings,
    };
    match &observed.secret {
        Published::Foreign { owner } => {
            let standing = Standing::SecretConflict { owner: owner.clone() };
            return rest(standing, Some(now.saturating_add(CONFLICT_RETRY)));
        }
        Published::Leftover => {
            return rest(Standing::WaitingForGarbageCollection, Some(now.saturating_add(LEFTOVER_RETRY)));
        }
        Published::Missing | Published::Ours { .. } => {}
    }
    let record = observed.record.as_ref();
    let situation = Situation { observed, settings, record, current: record.and_then(Record::current), now };
    let action = RULES.iter().find_map(|rule| rule(&situation)).unwrap_or(Action::Nothing);
    Plan { action, standing: standing(&situation), wake: schedule::wake(&observed.account, settings, record, now) }
}

fn rest(standing: Standing, wake: Option<Timestamp>) -> Plan {
    Plan { action: Action::Nothing, standing, wake }
}

fn decide_external(observed: &Observed, client_id: &str) -> Plan {
    let registered = observed.record.as_ref().is_some_and(|r| r.external_client_id.as_deref() == Some(client_id));
    let action = if registered { Action::Nothing } else { Action::Register };
    let standing = if observed.account.enabled { Standing::Ready } else { Standing::Disabled };
    Plan { action, standing, wake: None }
}

fn standing(situation: &Situation<'_>) -> Standing {
    if !situation.observed.account.enabled {
        return Standing::Disabled;
    }
    let expired = situation.current.is_some_and(|current| !current.works_at(situation.now));
    if expired && situation.settings.rotation == Rotation::Manual { Standing::Expired } else { Standing::Ready }
}

fn finish_publishing(s: &Situation<'_>) -> Option<Action> {
    let Published::Ours { holds: Some(holds), .. } = s.observed.secret else { return None };
    s.record?.staged().find(|staged| staged.version == holds).map(|staged| Action::Retire { version: staged.version })
}

fn stay_out_if_disabled(s: &Situation<'_>) -> Option<Action> {
    (!s.observed.account.enabled).then_some(Action::Nothing)
}

fn create_first(s: &Situation<'_>) -> Option<Action> {
    let never_had_one = match s.record {
        Some(_) => s.current.is_none(),
        None => s.observed.reported_client_id.is_none() && s.observed.secret == Published::Missing,
    };
    never_had_one.then(|| change(s, Reason::Created, None))
}

fn rebuild_lost_record(s: &Situation<'_>) -> Option<Action> {
    s.record.is_none().then(|| change(s, Reason::Repaired, s.observed.reported_client_id.clone()))
}

fn answer_compromised(s: &Situation<'_>) -> Option<Action> {
    let asked = s.observed.triggers.compromised(&s.record?.handled);
    asked.then(|| change(s, Reason::Compromised, kept_client_id(s)))
}

fn answer_client_id(s: &Situation<'_>) -> Option<Action> {
    let asked = s.observed.triggers.client_id(&s.record?.handled);
    asked.then(|| change(s, Reason::ClientIdRegenerated, None))
}

fn answer_client_secret(s: &Situation<'_>) -> Option<Action> {
    let asked = s.observed.triggers.client_secret(&s.record?.handled);
    asked.then(|| change(s, Reason::Requested, kept_client_id(s)))
}

/// Not for an expired Manual secret: deleting the Secret must not do what only regenerating may.
fn repair_lost_secret(s: &Situation<'_>) -> Option<Action> {
    let current = s.current?;
    let expired = s.settings.rotation == Rotation::Manual && !current.works_at(s.now);
    let intact = matches!(s.observed.secret, Published::Ours { holds: Some(holds), .. } if holds == current.version);
    (!intact && !expired).then(|| change(s, Reason::Repaired, kept_client_id(s)))
}

fn rotate_on_schedule(s: &Situation<'_>) -> Option<Action> {
    let due = schedule::rotation_time(&s.observed.account, s.settings, s.current?)?;
    (s.now >= due).then(|| change(s, Reason::Scheduled, kept_client_id(s)))
}

fn follow_validity(s: &Situation<'_>) -> Option<Action> {
    let current = s.current.filter(|current| current.works_at(s.now))?;
    if current.validity_days == s.settings.validity_days {
        return None;
    }
    let counted = current.not_before.saturating_add(validity(s.settings.validity_days));
    let floor = s.now.saturating_add(s.settings.overlap.max(LEAST_LEFT));
    // A secret that had less left than the floor keeps what it had: shortening never lengthens.
    let not_after = if counted < current.not_after { counted.max(floor).min(current.not_after) } else { counted };
    Some(Action::MoveExpiry { not_after, validity_days: s.settings.validity_days })
}

fn follow_grace(s: &Situation<'_>) -> Option<Action> {
    let previous = s.record?.previous().filter(|previous| previous.works_at(s.now))?;
    let graced = matches!(s.current?.reason, Reason::Requested | Reason::ClientIdRegenerated);
    let end = previous.retired_time?.saturating_add(s.observed.grace);
    (graced && end < previous.not_after).then_some(Action::ShortenGrace { not_after: end })
}

fn republish_outdated(s: &Situation<'_>) -> Option<Action> {
    let Published::Ours { outdated, .. } = &s.observed.secret else { return None };
    (!outdated.is_empty()).then(|| Action::Republish { outdated: outdated.clone() })
}

fn kept_client_id(s: &Situation<'_>) -> Option<String> {
    s.current.map(|current| current.client_id.clone())
}

fn change(s: &Situation<'_>, reason: Reason, client_id: Option<String>) -> Action {
    Action::Change(Change { reason, client_id, answers: s.observed.triggers.present.clone() })
}
