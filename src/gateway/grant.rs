//! Who gets a token: pure. Looked at on every request, also when the secret was verified before: only the comparison of
//! secrets is ever remembered.

use super::refusal::Refusal;
use crate::api::Timestamp;
use crate::api::service_account::Mode;
use crate::domain::claims::LegacyClaims;
use crate::domain::issuer::Issuer;
use crate::index::{Entry, VersionFacts, World};

/// Everything that a decision rests on.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Issuers, keys and groups.
    pub world: &'a World,
    /// The issuer of the request's host.
    pub issuer: &'a Issuer,
    /// The account of that issuer that holds the presented client ID.
    pub entry: Option<&'a Entry>,
    /// The version whose secret was presented.
    pub verified: Option<&'a VersionFacts>,
    /// Whether a live read has confirmed what the watch said, so that a refusal cannot be the watch's lateness.
    pub confirmed: bool,
    /// The present time.
    pub now: Timestamp,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Here is what the token says.
    Claims(LegacyClaims<'a>),
    /// No.
    Refused(Refusal),
    /// No, unless a live read says otherwise.
    Unsure(Refusal),
}

/// Decides. Unknown, disabled and deleted come before everything about the secret.
#[must_use]
pub fn decide(question: Question<'_>) -> Verdict<'_> {
    match check(&question) {
        Ok(claims) => Verdict::Claims(claims),
        Err(refusal) if question.confirmed || is_final(refusal) => Verdict::Refused(refusal),
        Err(refusal) => Verdict::Unsure(refusal),
    }
}

fn check<'a>(question: &Question<'a>) -> Result<LegacyClaims<'a>, Refusal> {
    let Question { world, issuer, entry, verified, confirmed: _, now } = *question;
    let entry = entry.ok_or(Refusal::Unknown)?;
    stands(entry)?;
    let version = verified.ok_or(Refusal::WrongSecret)?;
    if !works(entry, version, now) {
        return Err(Refusal::Ended);
    }
    if world.keys_of(&issuer.name).is_none() {
        return Err(Refusal::NoKey);
    }
    let groups = world.groups_of(&entry.account.groups, &issuer.name);
    Ok(LegacyClaims::new(issuer, &entry.account.owner, &version.client_id, groups, now))
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
        stands && version.client_id == client_id && works(entry, version, now)
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
