//! Who gets a token: pure. Looked at on every request, also when the secret was verified before: only the comparison of
//! secrets is ever remembered.

use super::refusal::Refusal;
use crate::api::Timestamp;
use crate::api::service_account::Mode;
use crate::domain::assertion::AssertionError;
use crate::domain::usage::EXTERNAL;
use crate::index::{Entry, VersionFacts};

/// Everything that a decision rests on.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The account of the host's issuer that holds the presented client ID.
    pub entry: Option<&'a Entry>,
    /// The version whose secret was presented.
    pub verified: Option<&'a VersionFacts>,
    /// Whether it was proven by an assertion instead.
    pub asserted: bool,
    /// Whether a live read has confirmed what the watch said, so that a refusal cannot be the watch's lateness.
    pub confirmed: bool,
    /// The present time.
    pub now: Timestamp,
}

/// Whose good credentials were presented.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grant<'a> {
    /// The account.
    pub entry: &'a Entry,
    /// The client ID, as it was presented.
    pub client_id: &'a str,
    /// The number of the version whose secret it was; [`EXTERNAL`] for an External account.
    pub version: i64,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict<'a> {
    /// Yes.
    Granted(Grant<'a>),
    /// No.
    Refused(Refusal),
    /// No, unless a live read says otherwise.
    Unsure(Refusal),
}

/// Decides. Unknown, disabled and deleted come before everything about the secret.
#[must_use]
pub fn decide(question: Question<'_>) -> Verdict<'_> {
    match check(&question) {
        Ok(grant) => Verdict::Granted(grant),
        Err(refusal) if question.confirmed || is_final(refusal) => Verdict::Refused(refusal),
        Err(refusal) => Verdict::Unsure(refusal),
    }
}

fn check<'a>(question: &Question<'a>) -> Result<Grant<'a>, Refusal> {
    let Question { entry, verified, asserted, confirmed: _, now } = *question;
    let entry = entry.ok_or(Refusal::Unknown)?;
    match stands(entry) {
        Err(Refusal::External) if asserted => {
            let client_id = entry.record.external_client_id.as_deref().ok_or(Refusal::Unknown)?;
            return Ok(Grant { entry, client_id, version: EXTERNAL });
        }
        Ok(()) if asserted => return Err(AssertionError::Internal.into()),
        other => other?,
    }
    let version = verified.ok_or(Refusal::WrongSecret)?;
    if !works(entry, version, now) {
        return Err(Refusal::Ended);
    }
    Ok(Grant { entry, client_id: &version.client_id, version: version.version })
}

/// Whether an account may have tokens at all.
///
/// # Errors
/// Disabled or deleted first, then External.
pub fn stands(entry: &Entry) -> Result<(), Refusal> {
    let account = &entry.account;
    match (account.deleting, account.enabled, account.mode) {
        (true, _, _) => Err(Refusal::Deleted),
        (_, false, _) => Err(Refusal::Disabled),
        (_, _, Mode::External) => Err(Refusal::External),
        (false, true, Mode::Internal) => Ok(()),
    }
}

/// The versions whose secret may be presented with this client ID, each with its position: Staged, Current, and Previous
/// until its end. None for an account that does not [stand](stands), so that nothing is hashed for it.
pub fn acceptable<'a>(
    entry: &'a Entry,
    client_id: &str,
    now: Timestamp,
) -> impl Iterator<Item = (usize, &'a VersionFacts)> {
    let stands = stands(entry).is_ok();
    let fits = move |(_, version): &(usize, &VersionFacts)| {
        stands && *version.client_id == *client_id && works(entry, version, now)
    };
    // The newest first: it is the one in use.
    entry.record.versions.iter().enumerate().rev().filter(fits)
}

fn works(entry: &Entry, version: &VersionFacts, now: Timestamp) -> bool {
    now < version.not_after && !entry.record.compromised_versions.contains(&version.version)
}

/// Whether no live read can change it: an account's mode is immutable, and the other causes are not about accounts.
fn is_final(refusal: Refusal) -> bool {
    !matches!(refusal, Refusal::Unknown | Refusal::Disabled | Refusal::Deleted | Refusal::WrongSecret | Refusal::Ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::credential::State;
    use crate::index::testing::{Fixture, account, present};
    use chrono::TimeDelta;
    use rstest::rstest;
    use std::sync::Arc;

    const ID: &str = "97074e41-8af9-456d-9a64-f0c4bb908048";

    fn entry(fixture: &Fixture) -> Entry {
        Entry { account: Arc::new(fixture.account.clone()), record: Arc::new(fixture.record_facts()) }
    }

    /// The refusal of a request whose secret was verified for the version at `verified`.
    fn refusal(
        entry: Option<&Entry>,
        verified: Option<usize>,
        confirmed: bool,
        now: Timestamp,
    ) -> Option<(Refusal, bool)> {
        let question = Question {
            entry,
            verified: entry.zip(verified).and_then(|(entry, at)| entry.record.versions.get(at)),
            asserted: false,
            confirmed,
            now,
        };
        match decide(question) {
            Verdict::Granted(_) => None,
            Verdict::Refused(refusal) => Some((refusal, true)),
            Verdict::Unsure(refusal) => Some((refusal, false)),
        }
    }

    #[rstest]
    #[case::unknown(None, None, Refusal::Unknown)]
    #[case::wrong(Some(account("a").current(ID, "s")), None, Refusal::WrongSecret)]
    #[case::disabled(Some(account("a").current(ID, "s").disabled()), Some(0), Refusal::Disabled)]
    #[case::disabled_and_wrong(Some(account("a").current(ID, "s").disabled()), None, Refusal::Disabled)]
    #[case::deleted(Some(account("a").current(ID, "s").deleting()), Some(0), Refusal::Deleted)]
    #[case::deleted_and_disabled(Some(account("a").current(ID, "s").deleting().disabled()), None, Refusal::Deleted)]
    #[case::compromised(Some(account("a").current(ID, "s").compromised(1)), Some(0), Refusal::Ended)]
    fn what_a_late_watch_could_explain_is_refused_only_once_it_is_confirmed(
        #[case] fixture: Option<Fixture>,
        #[case] verified: Option<usize>,
        #[case] expected: Refusal,
    ) {
        let entry = fixture.as_ref().map(entry);
        assert_eq!(refusal(entry.as_ref(), verified, false, present()), Some((expected, false)));
        assert_eq!(refusal(entry.as_ref(), verified, true, present()), Some((expected, true)));
    }

    #[test]
    fn an_external_account_is_refused_at_once_for_its_mode_never_changes() {
        let entry = entry(&account("a").external("sys:a"));
        assert_eq!(refusal(Some(&entry), None, false, present()), Some((Refusal::External, true)));
    }

    #[test]
    fn a_disabled_external_account_is_refused_as_disabled() {
        let entry = entry(&account("a").external("sys:a").disabled());
        assert_eq!(refusal(Some(&entry), None, true, present()), Some((Refusal::Disabled, true)));
    }

    #[rstest]
    #[case(account("a").external("sys:a"), Ok(("sys:a", 0)))]
    #[case(account("a").external("sys:a").disabled(), Err(Refusal::Disabled))]
    #[case(account("a").external("sys:a").deleting(), Err(Refusal::Deleted))]
    #[case(account("a").current(ID, "s"), Err(AssertionError::Internal.into()))]
    fn an_assertion_proves_an_external_account_alone_and_does_not_outdo_disabling(
        #[case] fixture: Fixture,
        #[case] expected: Result<(&str, i64), Refusal>,
    ) {
        let entry = entry(&fixture);
        let verified = entry.record.versions.first();
        let question = Question { entry: Some(&entry), verified, asserted: true, confirmed: true, now: present() };
        let found = match decide(question) {
            Verdict::Granted(grant) => Ok((grant.client_id, grant.version)),
            Verdict::Refused(refusal) | Verdict::Unsure(refusal) => Err(refusal),
        };
        assert_eq!(found, expected);
    }

    #[rstest]
    fn every_version_works_until_its_end_and_not_at_it(
        #[values(State::Staged, State::Current, State::Previous)] state: State,
    ) {
        let entry = entry(&account("a").version(ID, "s", state, TimeDelta::seconds(60)));
        let at = |seconds| present().saturating_add(TimeDelta::seconds(seconds));
        for (seconds, works) in [(59, true), (60, false), (61, false)] {
            assert_eq!(refusal(Some(&entry), Some(0), true, at(seconds)).is_none(), works, "{seconds}");
            assert_eq!(acceptable(&entry, ID, at(seconds)).count(), usize::from(works), "{seconds}");
        }
    }

    #[test]
    fn staged_current_and_previous_secrets_are_acceptable_the_newest_first() {
        let fixture = account("a")
            .version(ID, "1", State::Previous, TimeDelta::hours(1))
            .current(ID, "2")
            .version("another", "3", State::Staged, TimeDelta::days(1))
            .version(ID, "4", State::Staged, TimeDelta::days(1));
        let entry = entry(&fixture);
        let numbers = |id| acceptable(&entry, id, present()).map(|(_, v)| v.version).collect::<Vec<_>>();
        assert_eq!((numbers(ID), numbers("another"), numbers("nobody")), (vec![4, 2, 1], vec![3], vec![]));
    }

    #[rstest]
    #[case(account("a").current(ID, "s").disabled())]
    #[case(account("a").current(ID, "s").deleting())]
    #[case(account("a").current(ID, "s").compromised(1))]
    #[case(account("a").version(ID, "s", State::Previous, TimeDelta::zero()))]
    fn nothing_is_hashed_for_an_account_that_gets_no_token_anyway(#[case] fixture: Fixture) {
        assert_eq!(acceptable(&entry(&fixture), ID, present()).count(), 0);
    }
}
