//! Status, made from what was really applied and from nothing else.

use chrono::TimeDelta;

use super::account::{Account, Authentication};
use super::credential::{State, Version};
use super::notice;
use super::plan::Standing;
use super::record::Record;
use super::schedule;
use super::usage::Uses;
use super::words::{self, Abnormal, Word};
use crate::api::service_account::{
    AccountStatus, Binding, ClientSecretStatus, Credential, CredentialState, HandledTriggers,
};
use crate::api::{Condition, ServiceAccountStatus, Timestamp};

/// The most that lies between the last warning and the end.
const MOST_NOTICE: TimeDelta = TimeDelta::hours(1);

/// The end of a pass: what stands in the cluster now.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The account that was looked at.
    pub account: Account,
    /// Its record as last written, or none.
    pub record: Option<Record>,
    /// How it stands.
    pub standing: Standing,
    /// The issuer that serves it.
    pub issuer: String,
    /// Names in `userGroups` that no UserGroup has.
    pub missing_groups: Vec<String>,
    /// Why no foreign issuer's token can be accepted for it, if it is External.
    pub missing_trust: Option<String>,
    /// Uses that gateways have reported and status may not show yet.
    pub uses: Uses,
}

/// The status to report. `old` gives what only status knows (uses, transition times).
#[must_use]
pub fn settle(applied: &Applied, old: &ServiceAccountStatus, now: Timestamp) -> ServiceAccountStatus {
    let Applied { account, record, standing, issuer, missing_groups: _, missing_trust: _, uses } = applied;
    let current = record.as_ref().and_then(Record::current);
    let internal = match &account.authentication {
        Authentication::Internal(settings) => Some(settings),
        Authentication::External { .. } => None,
    };
    let credentials = credentials(record.as_ref(), old, uses, now);
    let last_used = uses.values().map(|used| used.last).chain(old.last_access_time).max();
    let in_use = previous_in_use(record.as_ref(), &credentials);
    let external_id = record.as_ref().and_then(|record| record.external_client_id.clone());
    ServiceAccountStatus {
        observed_generation: account.generation,
        // Of a lost record the status is all that is left: kept until the record is rebuilt from it.
        client_id: match standing {
            Standing::ClientIdConflict { .. } => None,
            _ => current.map(|version| version.client_id.clone()).or(external_id).or_else(|| old.client_id.clone()),
        },
        account_status: Some(if account.enabled { AccountStatus::Active } else { AccountStatus::Inactive }),
        client_secret_status: Some(secret_status(account, current, now)),
        client_secret_expiry_time: current.map(|version| version.not_after),
        next_rotation_time: internal
            .filter(|_| account.enabled)
            .zip(current)
            .and_then(|(settings, current)| schedule::rotation_time(account, settings, current)),
        last_access_time: last_used,
        created_by: Some(created_by(applied)),
        created_time: Some(account.created),
        issuer: Some(issuer.clone()),
        binding: internal.filter(|_| current.is_some()).map(|settings| Binding { name: settings.secret_name.clone() }),
        credentials,
        handled: record.as_ref().map(handled),
        notifications: record.as_ref().map_or_else(|| old.notifications.clone(), notice::notifications),
        conditions: conditions(applied, current, in_use, &old.conditions, now),
    }
}

fn created_by(applied: &Applied) -> String {
    let recorded = applied.record.as_ref().and_then(|record| record.created_by.clone());
    recorded.or_else(|| applied.account.created_by.clone()).unwrap_or_else(|| "unknown".into())
}

fn secret_status(account: &Account, current: Option<&Version>, now: Timestamp) -> ClientSecretStatus {
    match (&account.authentication, current) {
        (Authentication::External { .. }, _) => ClientSecretStatus::None,
        (Authentication::Internal(_), Some(version)) if account.enabled && version.works_at(now) => {
            ClientSecretStatus::Active
        }
        (Authentication::Internal(_), _) => ClientSecretStatus::Inactive,
    }
}

/// Newest first; a previous version only while it works. Without a record, as they were reported last.
fn credentials(record: Option<&Record>, old: &ServiceAccountStatus, uses: &Uses, now: Timestamp) -> Vec<Credential> {
    let Some(record) = record else { return old.credentials.clone() };
    let previous = record.previous().filter(|version| version.works_at(now));
    record.current().into_iter().chain(previous).map(|version| credential(version, old, uses)).collect()
}

fn credential(version: &Version, old: &ServiceAccountStatus, uses: &Uses) -> Credential {
    let shown = old.credentials.iter().find(|known| known.version == version.version);
    let reported = uses.get(&version.version);
    let first = shown.and_then(|known| known.first_used_time).into_iter().chain(reported.map(|used| used.first)).min();
    let last = shown.and_then(|known| known.last_used_time).max(reported.map(|used| used.last));
    Credential {
        version: version.version,
        client_id: version.client_id.clone(),
        state: if version.state == State::Previous { CredentialState::Previous } else { CredentialState::Current },
        not_before: version.not_before,
        not_after: version.not_after,
        first_used_time: first,
        last_used_time: last,
        reason: version.reason,
    }
}

/// A previous version that got a token after the current one was published.
#[derive(Clone, Copy)]
struct InUse {
    last: Timestamp,
    ends: Timestamp,
    last_call: Timestamp,
}

fn previous_in_use(record: Option<&Record>, credentials: &[Credential]) -> Option<InUse> {
    let retired = record?.previous()?.retired_time?;
    let previous = credentials.iter().find(|credential| credential.state == CredentialState::Previous)?;
    let last = previous.last_used_time.filter(|last| *last > retired)?;
    Some(InUse { last, ends: previous.not_after, last_call: last_call(retired, previous.not_after) })
}

/// When its users are warned for the last time: a tenth of what it had from its replacement to its end, at most an hour.
fn last_call(retired: Timestamp, ends: Timestamp) -> Timestamp {
    let notice = TimeDelta::seconds(ends.unix().saturating_sub(retired.unix()).max(0) / 10).min(MOST_NOTICE);
    ends.saturating_add(-notice)
}

/// The next moment at which time alone changes what the status tells, beside those that the plan wakes for: when the
/// previous secret, still in use, is about to end.
#[must_use]
pub fn wake(applied: &Applied, status: &ServiceAccountStatus, now: Timestamp) -> Option<Timestamp> {
    let in_use = previous_in_use(applied.record.as_ref(), &status.credentials)?;
    Some(in_use.last_call).filter(|time| *time > now)
}

fn handled(record: &Record) -> HandledTriggers {
    let super::record::Handled { client_secret, client_id, regenerate_time, compromised_time } = record.handled.clone();
    HandledTriggers { client_secret, client_id, regenerate_time, compromised_time }
}

fn conditions(
    applied: &Applied,
    current: Option<&Version>,
    in_use: Option<InUse>,
    old: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let Applied { account, record, missing_groups, .. } = applied;
    let generation = account.generation;
    let (word, message) = ready(applied, current);
    let mut all = vec![word.condition(generation, now, message.clone())];
    all.extend(abnormal(word).map(|abnormal| word.abnormal(abnormal, generation, now, message)));
    let mut add = |word: &Word, message| all.push(word.condition(generation, now, message));
    if let Some(version) = current.filter(|version| !version.works_at(now)) {
        add(&words::EXPIRED, format!("the client secret expired at {}", version.not_after));
    }
    if let Some(InUse { last, ends, last_call }) = in_use {
        let (word, soon) = if now < last_call { (&words::IN_USE, "") } else { (&words::ENDS_SOON, " soon,") };
        let message = format!("the previous client secret was still used at {last}; it stops working{soon} at {ends}");
        add(word, message);
    }
    if !missing_groups.is_empty() {
        let message = format!("no UserGroup is named {}; the other groups apply", missing_groups.join(", "));
        add(&words::GROUPS_MISSING, message);
    }
    for (word, message) in notice::conditions(account, record.as_ref(), now) {
        add(word, message);
    }
    all.into_iter().map(|condition| condition.since(old)).collect()
}

/// What kstatus is told besides, when something is out of the ordinary: that it goes on by itself, or not without
/// somebody. What is being deleted it sees by itself.
fn abnormal(ready: &Word) -> Option<Abnormal> {
    if *ready == words::PUBLISHING || *ready == words::WAITING {
        return Some(Abnormal::Reconciling);
    }
    let stalled = [words::READY_EXPIRED, words::SECRET_CONFLICT, words::CLIENT_ID_CONFLICT, words::UNTRUSTED];
    stalled.contains(ready).then_some(Abnormal::Stalled)
}

fn ready(applied: &Applied, current: Option<&Version>) -> (&'static Word, String) {
    let Applied { account, standing, issuer, missing_trust, .. } = applied;
    match standing {
        Standing::Ready => match (&account.authentication, missing_trust) {
            (Authentication::Internal(settings), _) if current.is_some() => {
                (&words::PUBLISHED, format!("the credential is in the Secret {}", settings.secret_name))
            }
            (Authentication::Internal(_), _) => (&words::PUBLISHING, "the credential is being made".into()),
            (Authentication::External { .. }, Some(problem)) => {
                (&words::UNTRUSTED, format!("the TokenIssuer {issuer} accepts no tokens for it: {problem}"))
            }
            (Authentication::External { client_id, .. }, None) => {
                (&words::REGISTERED, format!("tokens of {client_id} are accepted"))
            }
        },
        Standing::Disabled => (&words::DISABLED, "the account is disabled: no tokens are issued".into()),
        Standing::Expired => (
            &words::READY_EXPIRED,
            "the client secret has expired and rotation is Manual: raise spec.regenerate.clientSecret".into(),
        ),
        Standing::Deleting => (&words::DELETING, "the account is being deleted".into()),
        Standing::SecretConflict { owner } => (
            &words::SECRET_CONFLICT,
            format!(
                "the Secret {} belongs to {owner}: delete it, or create the account with another clientSecret.secretName",
                secret_name(account)
            ),
        ),
        Standing::WaitingForGarbageCollection => (
            &words::WAITING,
            format!("the Secret {} of an earlier account with this name is being deleted", secret_name(account)),
        ),
        Standing::ClientIdConflict { rival } => (
            &words::CLIENT_ID_CONFLICT,
            format!("the older account {rival} has this authentication.externalClientId: delete one of the two"),
        ),
    }
}

fn secret_name(account: &Account) -> &str {
    match &account.authentication {
        Authentication::Internal(settings) => &settings.secret_name,
        Authentication::External { .. } => "",
    }
}

#[cfg(test)]
mod tests;
