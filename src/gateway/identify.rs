//! From credentials of either kind to a grant, with the limits on failures around what costs something.

use std::net::SocketAddr;

use http::HeaderMap;
use zeroize::Zeroizing;

use super::assertion::Claimed;
use super::authenticate::Presented;
use super::basic::Candidate;
use super::endpoint::{App, Seen};
use super::grant::{Grant, Verdict, decide};
use super::limit::Attempt;
use super::refusal::Refusal;
use crate::api::Timestamp;
use crate::domain::assertion::Assertion;
use crate::domain::issuer::Issuer;
use crate::index::World;

/// What a request authenticates with. No `Debug`: it is secret.
pub enum Credentials {
    /// A client ID and a secret, in every way to read them.
    Secret(Vec<Candidate>),
    /// A foreign issuer's token, and the `client_id` besides it.
    Assertion(Zeroizing<String>, Option<String>),
}

/// Where and when a request asks.
pub(super) struct Here<'a> {
    /// Issuers, keys and groups.
    pub world: &'a World,
    /// The issuer of the request's host.
    pub issuer: &'a Issuer,
    /// The present time.
    pub now: Timestamp,
    /// Whose connection it came on, if that is known.
    pub peer: Option<SocketAddr>,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

impl App {
    /// Finds out whose credentials were presented, and whether they are good.
    pub(super) async fn identify<'s>(
        &self,
        here: &Here<'_>,
        credentials: &Credentials,
        seen: &'s mut Seen<'_>,
    ) -> Result<Grant<'s>, Refusal> {
        match credentials {
            Credentials::Secret(candidates) => self.by_secret(here, candidates, seen).await,
            // In a box, because it is rare and large: every request would carry room for it.
            Credentials::Assertion(text, client_id) => {
                Box::pin(self.by_assertion(here, text, client_id.as_deref(), seen)).await
            }
        }
    }

    async fn by_secret<'s>(
        &self,
        here: &Here<'_>,
        candidates: &[Candidate],
        seen: &'s mut Seen<'_>,
    ) -> Result<Grant<'s>, Refusal> {
        let &Here { world, issuer, now, .. } = here;
        let presented = Presented { world, issuer, candidates, now };
        let mut attempt = None;
        match self.authenticator.recall(&presented) {
            Some(finding) => {
                self.metrics.remembered.inc();
                seen.finding = finding;
            }
            None => {
                // However many ways there are to read it, it is one try: the likeliest way's.
                let first = candidates.first().ok_or(Refusal::Internal)?;
                attempt = self.attempt(here, first.client_id(), first.secret());
                attempt.map_or(Ok(()), |attempt| self.limiter.check(attempt))?;
                seen.finding = Box::pin(self.authenticator.verify(&presented)).await?;
                if seen.finding.entry.is_none() {
                    seen.stranger = Some(self.authenticator.verifier.pseudonym(first.client_id()));
                }
            }
        }
        let granted = grant(seen, &presented);
        self.count(attempt, granted.as_ref().err());
        if let Some(attempt) = attempt.filter(|_| granted.is_ok()) {
            self.limiter.proved(attempt);
        }
        granted
    }

    /// Signatures are checked whatever was counted, so that a good assertion is never limited; only Kubernetes is not
    /// asked about one whose holder failed too often.
    async fn by_assertion<'s>(
        &self,
        here: &Here<'_>,
        text: &str,
        client_id: Option<&str>,
        seen: &'s mut Seen<'_>,
    ) -> Result<Grant<'s>, Refusal> {
        let &Here { world, issuer, now, .. } = here;
        let assertion = Assertion::read(text)?;
        let subject = assertion.subject().unwrap_or_default();
        let attempt = self.attempt(here, subject, text);
        let limited = attempt.and_then(|attempt| self.limiter.check(attempt).err());
        let ours = &issuer.url(&self.external_url);
        let claimed = Claimed { world, issuer, assertion: &assertion, client_id, ours, limited, now };
        let found = self.authenticator.assertion(&claimed).await;
        let granted = found.and_then(|finding| {
            seen.finding = finding;
            if seen.finding.entry.is_none() {
                seen.stranger = Some(self.authenticator.verifier.pseudonym(subject));
            }
            grant(seen, &claimed.presented())
        });
        let failed = self.count(attempt, granted.as_ref().err());
        granted.map_err(|refusal| limited.filter(|_| failed).unwrap_or(refusal))
    }

    /// What the limits know of a request whose credentials are not remembered.
    fn attempt(&self, here: &Here<'_>, client_id: &str, content: &str) -> Option<Attempt> {
        self.limiter.attempt(&self.clients.of(here.peer?, here.headers), client_id, content)
    }

    /// Counts a failure, and tells whether it was one.
    fn count(&self, attempt: Option<Attempt>, refusal: Option<&Refusal>) -> bool {
        let failed = refusal.is_some_and(|refusal| refusal.is_failed_authentication());
        if let Some(attempt) = attempt.filter(|_| failed) {
            self.limiter.failed(attempt);
        }
        failed
    }
}

fn grant<'s>(seen: &'s Seen<'_>, presented: &Presented<'_>) -> Result<Grant<'s>, Refusal> {
    match decide(seen.finding.question(presented)) {
        Verdict::Granted(grant) => Ok(grant),
        Verdict::Refused(refusal) => Err(refusal),
        Verdict::Unsure(_) => Err(Refusal::Unsure),
    }
}

#[cfg(test)]
#[path = "identify_tests.rs"]
mod tests;
