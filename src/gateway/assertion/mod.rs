//! External accounts: whoever presents a token of a trusted issuer instead of a secret.
//!
//! `Assertion` (pure) → trusted issuers of its `iss` → audience, times → signature, or TokenReview → the account that
//! has its client ID and trusts that issuer.

pub mod args;
pub mod fetch;
pub mod remote;
pub mod review;

use std::sync::Arc;

use futures::future::BoxFuture;

use super::authenticate::{Authenticator, Finding, Presented};
use super::grant::{Verdict, decide};
use super::refusal::Refusal;
use crate::api::Timestamp;
use crate::api::service_account::Mode;
use crate::clock::SharedClock;
use crate::domain::assertion::jwks::KeySet;
use crate::domain::assertion::trusted::{Proof, TrustedIssuer, trusts};
use crate::domain::assertion::{Assertion, AssertionError, check_service_account};
use crate::domain::issuer::Issuer;
use crate::domain::mac::MacKey;
use crate::index::World;
use fetch::{Fetch, FetchError};
use remote::Remote;
use review::{NoReview, Review, ReviewError, Reviewer};

/// Where proofs come from.
#[derive(Clone)]
pub struct Foreign {
    /// Reads keys at JWKS URIs.
    pub fetch: Arc<dyn Fetch>,
    /// Asks this cluster about its service accounts' tokens.
    pub review: Arc<dyn Review>,
}

/// Nobody is there: for a gateway that trusts no foreign issuers, or is fed by hand.
impl Default for Foreign {
    fn default() -> Self {
        Self { fetch: Arc::new(Nobody), review: Arc::new(Nobody) }
    }
}

struct Nobody;

impl Fetch for Nobody {
    fn fetch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<KeySet, FetchError>> {
        Box::pin(std::future::ready(Err(FetchError::Unreachable("nobody is there".into()))))
    }
}

impl Review for Nobody {
    fn review<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Option<String>, NoReview>> {
        Box::pin(std::future::ready(Err(NoReview("nobody is there".into()))))
    }
}

/// Proves assertions, and remembers with what.
pub struct Prover {
    remote: Remote,
    reviewer: Reviewer,
}

impl Prover {
    /// Remembers tokens under `key`, which nobody else has.
    #[must_use]
    pub fn new(foreign: Foreign, clock: SharedClock, key: MacKey) -> Self {
        let Foreign { fetch, review } = foreign;
        Self { remote: Remote::new(fetch, clock.clone()), reviewer: Reviewer::new(review, clock, key) }
    }

    /// Checks the signature with the keys at `uri`; an unknown one may be new.
    async fn check_remotely(&self, assertion: &Assertion<'_>, uri: &str) -> Result<(), Refusal> {
        let keys = self.remote.keys(uri).await.map_err(|_| Refusal::NoIssuerKeys)?;
        match assertion.check_signature(&keys) {
            Err(AssertionError::UnknownKey) => {}
            other => return other.map_err(Refusal::Assertion),
        }
        let newer = self.remote.newer(uri, &keys).await.map_err(|_| Refusal::NoIssuerKeys)?;
        let newer = newer.ok_or(Refusal::Assertion(AssertionError::UnknownKey))?;
        assertion.check_signature(&newer).map_err(Refusal::Assertion)
    }
}

/// What was claimed, where and when.
#[derive(Clone, Copy)]
pub struct Claimed<'a> {
    /// Issuers, keys and groups.
    pub world: &'a World,
    /// The issuer of the request's host.
    pub issuer: &'a Issuer,
    /// The assertion.
    pub assertion: &'a Assertion<'a>,
    /// The request's `client_id`, if it has one besides.
    pub client_id: Option<&'a str>,
    /// Our issuer, which is the audience unless a trusted issuer names another.
    pub ours: &'a str,
    /// Why the API server is not to be asked for this client.
    pub limited: Option<Refusal>,
    /// The present time.
    pub now: Timestamp,
}

impl<'a> Claimed<'a> {
    /// The same without credentials, for the decision.
    #[must_use]
    pub fn presented(&self) -> Presented<'a> {
        Presented { world: self.world, issuer: self.issuer, candidates: &[], now: self.now }
    }

    fn grants(&self, finding: &Finding) -> bool {
        matches!(decide(finding.question(&self.presented())), Verdict::Granted(_))
    }

    /// What says most comes last: a grant, then that nothing can be said, then an account that gets none.
    fn weight(&self, outcome: &Result<Finding, Refusal>) -> u8 {
        match outcome {
            Ok(finding) if self.grants(finding) => 3,
            Err(Refusal::Assertion(_)) => 0,
            Err(_) => 2,
            Ok(_) => 1,
        }
    }
}

impl Authenticator {
    /// Finds out whose assertion it is. The finding still has to be decided upon, as with a secret.
    ///
    /// # Errors
    /// [`Refusal::Assertion`] when it proves nothing; [`Refusal::NoIssuerKeys`] or [`Refusal::Unsure`] when that could
    /// not be found out; [`Claimed::limited`] when that would have to be asked for.
    pub async fn assertion(&self, claimed: &Claimed<'_>) -> Result<Finding, Refusal> {
        let mut best = Err(Refusal::Assertion(AssertionError::Issuer));
        let named = claimed.assertion.issuer();
        for trusted in claimed.issuer.trusted.iter().filter(|trusted| Some(trusted.issuer.as_str()) == named) {
            let outcome = self.prove(trusted, claimed).await;
            if claimed.weight(&outcome) >= claimed.weight(&best) {
                best = outcome;
            }
            if claimed.weight(&best) == 3 {
                break;
            }
        }
        best
    }

    async fn prove(&self, trusted: &TrustedIssuer, claimed: &Claimed<'_>) -> Result<Finding, Refusal> {
        let Claimed { assertion, ours, now, .. } = *claimed;
        let proof = trusted.proof.as_ref().map_err(|_| Refusal::NoIssuerKeys)?;
        let audience = trusted.audience.as_deref().unwrap_or(ours);
        assertion.check_claims(audience, now)?;
        // Kubernetes alone can tell of its tokens, and is asked last: only for what would be granted.
        match proof {
            Proof::Keys(keys) => assertion.check_signature(keys)?,
            Proof::Uri(uri) => self.prover.check_remotely(assertion, uri).await?,
            Proof::Kubernetes => {}
        }
        let kubernetes = *proof == Proof::Kubernetes;
        let client_id = assertion.client_id(if kubernetes { "sub" } else { &trusted.client_id_claim })?;
        if claimed.client_id.is_some_and(|other| other != client_id) {
            return Err(AssertionError::OtherClient.into());
        }
        let finding = self.holder(client_id, claimed).await?;
        let Some(account) = finding.entry.as_ref().map(|entry| &entry.account) else { return Ok(finding) };
        if account.mode == Mode::External
            && !trusts(account.trusted_issuer.as_deref(), trusted, &claimed.issuer.trusted)
        {
            return Err(AssertionError::NotItsIssuer.into());
        }
        if kubernetes {
            check_service_account(client_id, &account.owner.namespace)?;
            if claimed.grants(&finding) {
                self.review(client_id, audience, claimed).await?;
            }
        }
        Ok(finding)
    }

    async fn review(&self, subject: &str, audience: &str, claimed: &Claimed<'_>) -> Result<(), Refusal> {
        let (reviewer, token) = (&self.prover.reviewer, claimed.assertion.text());
        let user = match (reviewer.recall(token, audience), claimed.limited) {
            (Some(user), _) => user,
            (None, Some(limited)) => return Err(limited),
            (None, None) => reviewer.user(token, audience).await.map_err(|error| match error {
                ReviewError::Refused(error) => error.into(),
                ReviewError::NoAnswer => Refusal::Unsure,
            })?,
        };
        if *user == *subject { Ok(()) } else { Err(AssertionError::NotAuthenticated.into()) }
    }

    /// The account of the host's issuer that has this client ID; before it is refused, the API server is asked whether
    /// the watch is merely late.
    async fn holder(&self, client_id: &str, claimed: &Claimed<'_>) -> Result<Finding, Refusal> {
        let find = || self.accounts.find(claimed.world, &claimed.issuer.name, client_id);
        let finding = Finding::asserted(find(), false);
        if !matches!(decide(finding.question(&claimed.presented())), Verdict::Unsure(_)) {
            return Ok(finding);
        }
        let known: Vec<_> = finding.entry.iter().map(|entry| &entry.account.owner).collect();
        let unknown = if known.is_empty() { vec![client_id] } else { Vec::new() };
        let gone = self.freshener.refresh(&known, &unknown).await.map_err(|_| Refusal::Unsure)?;
        let entry = find().filter(|entry| !gone.contains(&entry.account.owner.uid));
        Ok(Finding::asserted(entry, true))
    }
}

#[cfg(test)]
mod tests;
