//! From presented credentials to the account and version that they belong to: remembered, verified, or looked up live.

use std::sync::Arc;

use super::assertion::Prover;
use super::basic::Candidate;
use super::freshen::Freshener;
use super::grant::{Question, Verdict, acceptable, decide};
use super::refusal::Refusal;
use super::verify::Verifier;
use crate::api::Timestamp;
use crate::domain::issuer::Issuer;
use crate::domain::record::Owner;
use crate::domain::usage::EXTERNAL;
use crate::index::{Accounts, Entry, VersionFacts, World};

/// Finds out whose credentials were presented.
pub struct Authenticator {
    /// What the watches say.
    pub accounts: Arc<dyn Accounts>,
    /// Compares secrets.
    pub verifier: Verifier,
    /// Asks the API server.
    pub freshener: Freshener,
    /// Proves assertions of External accounts.
    pub prover: Prover,
}

/// What was presented, where and when.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// Issuers, keys and groups.
    pub world: &'a World,
    /// The issuer of the request's host.
    pub issuer: &'a Issuer,
    /// The ways to read the credentials.
    pub candidates: &'a [Candidate],
    /// The present time.
    pub now: Timestamp,
}

/// How far the credentials led.
#[derive(Clone, Default)]
pub struct Finding {
    /// The account that holds the client ID.
    pub entry: Option<Arc<Entry>>,
    /// The position among its record's versions of the one whose secret was presented.
    version: Option<usize>,
    /// Whether an assertion proved that the account is the caller's.
    asserted: bool,
    /// Whether a live read confirmed it.
    confirmed: bool,
}

impl Finding {
    /// The account whose client ID an assertion proved.
    #[must_use]
    pub fn asserted(entry: Option<Arc<Entry>>, confirmed: bool) -> Self {
        Self { entry, version: None, asserted: true, confirmed }
    }

    /// What the decision rests on.
    #[must_use]
    pub fn question<'a>(&'a self, presented: &Presented<'_>) -> Question<'a> {
        Question {
            entry: self.entry.as_deref(),
            verified: self.verified(),
            asserted: self.asserted,
            confirmed: self.confirmed,
            now: presented.now,
        }
    }

    /// The number of the version whose secret was presented; [`EXTERNAL`] for an
    /// assertion.
    #[must_use]
    pub fn version_number(&self) -> Option<i64> {
        if self.asserted {
            return self.entry.as_ref().map(|_| EXTERNAL);
        }
        self.verified().map(|version| version.version)
    }

    /// The version whose secret was presented.
    #[must_use]
    pub fn verified(&self) -> Option<&VersionFacts> {
        self.entry.as_ref()?.record.versions.get(self.version?)
    }
}

/// An account that holds the client ID of a candidate.
type Held<'a> = (&'a Candidate, Arc<Entry>);

impl Authenticator {
    /// Recognizes credentials that were verified before; microseconds, and no waiting.
    #[must_use]
    pub fn recall(&self, presented: &Presented<'_>) -> Option<Finding> {
        let Presented { world, issuer, candidates, now } = *presented;
        candidates.iter().find_map(|candidate| {
            let entry = self.accounts.find(world, &issuer.name, candidate.client_id())?;
            let version = acceptable(&entry, candidate.client_id(), now)
                .find(|(_, version)| self.verifier.remembers(version, candidate.secret()))
                .map(|(at, _)| at)?;
            Some(Finding { entry: Some(entry), version: Some(version), asserted: false, confirmed: false })
        })
    }

    /// Verifies credentials that are not remembered; and before they are refused, makes sure that the watch is not
    /// merely late.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`], [`Refusal::Unsure`] or [`Refusal::Internal`]: when it could not be found out.
    pub async fn verify(&self, presented: &Presented<'_>) -> Result<Finding, Refusal> {
        let mut tried = Vec::new();
        let held = self.holders(presented);
        let finding = self.compare(&held, presented.now, &mut tried).await?;
        if !matches!(decide(finding.question(presented)), Verdict::Unsure(_)) {
            return Ok(finding);
        }
        let known: Vec<&Owner> = held.iter().map(|(_, entry)| &entry.account.owner).collect();
        let is_known = |id: &str| held.iter().any(|(candidate, _)| candidate.client_id() == id);
        let mut unknown: Vec<&str> = presented.candidates.iter().map(|candidate| candidate.client_id()).collect();
        unknown.retain(|id| !is_known(id));
        unknown.dedup();
        let gone = self.freshener.refresh(&known, &unknown).await.map_err(|_| Refusal::Unsure)?;
        let mut held = self.holders(presented);
        held.retain(|(_, entry)| !gone.contains(&entry.account.owner.uid));
        let finding = self.compare(&held, presented.now, &mut tried).await?;
        Ok(Finding { confirmed: true, ..finding })
    }

    fn holders<'a>(&self, presented: &Presented<'a>) -> Vec<Held<'a>> {
        let Presented { world, issuer, candidates, .. } = *presented;
        let hold = |candidate: &'a Candidate| {
            self.accounts.find(world, &issuer.name, candidate.client_id()).map(|entry| (candidate, entry))
        };
        candidates.iter().filter_map(hold).collect()
    }

    /// Compares with everything acceptable that was not tried yet: all in memory first, then by Argon2.
    async fn compare(
        &self,
        held: &[Held<'_>],
        now: Timestamp,
        tried: &mut Vec<(usize, [u8; 32])>,
    ) -> Result<Finding, Refusal> {
        let pairs: Vec<_> = held
            .iter()
            .enumerate()
            .flat_map(|(way, (candidate, entry))| {
                acceptable(entry, candidate.client_id(), now)
                    .map(move |(at, version)| (way, *candidate, entry, at, version))
            })
            .collect();
        let found = |entry: &Arc<Entry>, at| Finding {
            entry: Some(entry.clone()),
            version: Some(at),
            asserted: false,
            confirmed: false,
        };
        for (_, candidate, entry, at, version) in &pairs {
            if self.verifier.remembers(version, candidate.secret()) {
                return Ok(found(entry, *at));
            }
        }
        for (way, candidate, entry, at, version) in pairs {
            let attempt = (way, version.fingerprint);
            if !tried.contains(&attempt) && self.verifier.verify(version, candidate.secret()).await? {
                return Ok(found(entry, at));
            }
            tried.push(attempt);
        }
        let entry = held.first().map(|(_, entry)| entry.clone());
        Ok(Finding { entry, version: None, asserted: false, confirmed: false })
    }
}
