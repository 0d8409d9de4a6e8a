//! What all endpoints share, and the manual's endpoint from request to answer; counts and logs each request exactly once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::Response;
use chrono::TimeDelta;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Request};
use tracing::{error, info};

use super::assertion::{Foreign, Prover};
use super::authenticate::{Authenticator, Finding};
use super::freshen::{Freshener, Pace};
use super::identify::Here;
use super::legacy::{answer, wire};
use super::limit::Limiter;
use super::limit::client::Clients;
use super::metrics::{Endpoint, Metrics};
use super::refusal::Refusal;
use super::request::{self, Incoming, RequestError};
use super::usage::Ledger;
use super::verify::{Verifier, random_key};
use crate::api::Timestamp;
use crate::clock::SharedClock;
use crate::domain::claims::LegacyClaims;
use crate::domain::issuer::Issuer;
use crate::domain::token::TokenError;
use crate::entropy::{Draw, EntropyError, SharedEntropy};
use crate::index::live::Live;
use crate::index::{Accounts, World};
use crate::telemetry::span;

/// For the whole body; a caller that needs longer is no client of ours.
pub const BODY_TIME: Duration = Duration::from_secs(30);

/// When a failed authentication is answered at the standard endpoints. A live read of a known account may have to wait a
/// second for its turn, a search for an unknown one a tenth: by the time that a refusal takes they could be told apart.
pub const EVEN_TIME: Duration = Duration::from_millis(1250);

/// How long the answer to one who has failed too often is held back. Sixty-four connections that ask without a pause got
/// 20,000 answers a second without it, and good clients waited four times as long as otherwise.
pub(super) const LIMITED_TIME: Duration = Duration::from_millis(100);

/// What all requests share.
pub struct App {
    pub(super) authenticator: Authenticator,
    pub(super) clock: SharedClock,
    pub(super) entropy: SharedEntropy,
    pub(super) external_url: String,
    pub(super) body_time: Duration,
    even_time: Duration,
    max_stale: TimeDelta,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limiter: Limiter,
    pub(super) clients: Clients,
    ledger: Arc<Ledger>,
}

/// What an [`App`] is made of.
pub struct Dependencies {
    /// What the watches say.
    pub accounts: Arc<dyn Accounts>,
    /// Where live reads go.
    pub live: Arc<dyn Live>,
    /// The time.
    pub clock: SharedClock,
    /// The randomness, of token IDs and of the keys under which verifications are remembered.
    pub entropy: SharedEntropy,
    /// The gateway's URL as clients see it, without a trailing slash.
    pub external_url: String,
    /// How long tokens are issued on while the API server is away.
    pub max_stale: TimeDelta,
    /// How often the API server is asked.
    pub pace: Pace,
    /// How long a request's body may take; [`BODY_TIME`].
    pub body_time: Duration,
    /// When a failed authentication is answered at the standard endpoints; [`EVEN_TIME`].
    pub even_time: Duration,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where uses are noted.
    pub ledger: Arc<Ledger>,
    /// What proves assertions.
    pub foreign: Foreign,
    /// Whose requests they are, for the limits.
    pub clients: Clients,
}

/// What is known of a request, for its one line in the log.
pub(super) struct Seen<'w> {
    endpoint: Endpoint,
    started: Instant,
    issuer: Option<&'w str>,
    now: Option<Timestamp>,
    /// A client ID that is nobody's, as a keyed hash.
    pub(super) stranger: Option<String>,
    /// Whose credentials it presented.
    pub(super) finding: Finding,
}

impl Seen<'_> {
    pub(super) fn start(endpoint: Endpoint) -> Self {
        Self { endpoint, started: Instant::now(), issuer: None, now: None, stranger: None, finding: Finding::default() }
    }
}

impl App {
    /// Puts it together.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn new(dependencies: Dependencies) -> Result<Self, EntropyError> {
        let Dependencies {
            accounts,
            live,
            clock,
            entropy,
            external_url,
            max_stale,
            pace,
            body_time,
            even_time,
            metrics,
            ledger,
            foreign,
            clients,
        } = dependencies;
        let verifier = Verifier::new(&mut Draw(&*entropy), metrics.clone())?;
        let freshener = Freshener::new(live, accounts.clone(), pace, metrics.clone());
        let prover = Prover::new(foreign, clock.clone(), random_key(&mut Draw(&*entropy))?);
        let authenticator = Authenticator { accounts, verifier, freshener, prover };
        let limiter = Limiter::default();
        Ok(Self {
            authenticator,
            clock,
            entropy,
            external_url,
            body_time,
            even_time,
            max_stale,
            metrics,
            limiter,
            clients,
            ledger,
        })
    }

    /// Answers a request of `peer` to the manual's endpoint.
    pub async fn token(&self, request: Request<impl Incoming>, peer: Option<SocketAddr>) -> Response {
        let world = self.authenticator.accounts.world();
        let mut seen = Seen::start(Endpoint::Legacy);
        let result = self.exchange(&world, request, peer, &mut seen).await;
        self.conclude_slowly(&seen, result.as_ref().err().copied()).await;
        result.map_or_else(answer::refused, |token| answer::granted(&token))
    }

    /// Answers a request to a path that is nobody's.
    pub fn no_such_path(&self) -> Response {
        let refusal = Refusal::Request(RequestError::Path);
        self.conclude(&Seen::start(Endpoint::Legacy), Some(refusal));
        answer::refused(refusal)
    }

    async fn exchange<'w>(
        &self,
        world: &'w World,
        request: Request<impl Incoming>,
        peer: Option<SocketAddr>,
        seen: &mut Seen<'w>,
    ) -> Result<String, Refusal> {
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            return Err(Refusal::Request(RequestError::Method));
        }
        let (issuer, now) = self.admit(world, &parts, seen)?;
        if !issuer.legacy.enabled {
            return Err(Refusal::Request(RequestError::EndpointOff));
        }
        let header = request::authorization(&parts.headers)?;
        let body = request::body(&parts.headers, body, self.body_time).await.map_err(Refusal::Request)?;
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let asked = wire::read(content_type, &body).map_err(Refusal::Request)?;
        let credentials = asked.credentials(header)?;
        let grant =
            self.identify(&Here { world, issuer, now, peer, headers: &parts.headers }, &credentials, seen).await?;
        let account = &grant.entry.account;
        let groups = world.memberships(&account.groups, &issuer.name).map(|(name, _)| name).collect();
        let claims = LegacyClaims::new(issuer, &account.owner, grant.client_id, groups, now);
        let key = world.keys_of(&issuer.name).and_then(|keys| keys.legacy.signing(now)).ok_or(Refusal::NoKey)?;
        key.key.sign(&claims.to_json()).map_err(unsigned)
    }

    /// Lets a request in, and says whose it is: while the index is not filled or too old, nobody can be refused nor
    /// served.
    pub(super) fn admit<'w>(
        &self,
        world: &'w World,
        parts: &Parts,
        seen: &mut Seen<'w>,
    ) -> Result<(&'w Issuer, Timestamp), Refusal> {
        let now = self.clock.now();
        if !self.authenticator.accounts.is_fresh(now, self.max_stale) {
            return Err(Refusal::NotReady);
        }
        let issuer = request::issuer(world, parts)?;
        let now = Timestamp::from(now);
        seen.issuer = Some(&issuer.name);
        seen.now = Some(now);
        Ok((issuer, now))
    }

    /// Concludes, and holds back the answer to one who has failed too often.
    pub(super) async fn conclude_slowly(&self, seen: &Seen<'_>, refusal: Option<Refusal>) {
        self.conclude(seen, refusal);
        if let Some(Refusal::Limited { .. }) = refusal {
            tokio::time::sleep(LIMITED_TIME).await;
        }
    }

    /// Concludes so, and holds a failed authentication back until its time has come: nobody can tell who is unknown,
    /// disabled, or has another secret, neither by the answer nor by when it comes.
    pub(super) async fn conclude_evenly(&self, seen: &Seen<'_>, refusal: Option<Refusal>) {
        self.conclude_slowly(seen, refusal).await;
        if refusal.is_some_and(Refusal::is_failed_authentication) {
            tokio::time::sleep_until((seen.started + self.even_time).into()).await;
        }
    }

    /// Counts and logs: every request comes through here once.
    pub(super) fn conclude(&self, seen: &Seen<'_>, refusal: Option<Refusal>) {
        let Seen { endpoint, started, issuer, now, stranger, finding } = seen;
        let elapsed = started.elapsed();
        self.metrics.request(*endpoint, refusal, elapsed.as_secs_f64());
        let owner = finding.entry.as_ref().map(|entry| &entry.account.owner);
        let namespace = owner.map(|owner| owner.namespace.as_str());
        let account = owner.map(|owner| owner.name.as_str());
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let (kind, version) = (endpoint.name(), finding.version_number());
        span::note(|| {
            [
                ("k8s.namespace.name", namespace),
                ("keyrota.account", account),
                ("keyrota.issuer", *issuer),
                ("keyrota.outcome", Some(endpoint.outcome(refusal))),
            ]
            .map(|(key, value)| (key, value.map(str::to_owned)))
        });
        let Some(refusal) = refusal else {
            if let (Some(owner), Some(version), Some(now)) = (owner, version, now) {
                // The ledger knows a second only once.
                if finding.verified().is_none_or(|version| version.memo.is_news(now.unix())) {
                    self.ledger.note(&owner.uid, version, *now);
                }
            }
            match endpoint {
                // As a field it is written as it stands, without a formatter.
                Endpoint::Legacy | Endpoint::Token => {
                    info!(message = "token granted", endpoint = kind, namespace, account, issuer, version, micros);
                }
                Endpoint::Introspection => {
                    info!(endpoint = kind, namespace, account, issuer, version, micros, "token introspected");
                }
                Endpoint::Document => {}
            }
            return;
        };
        let (reason, detail) = (refusal.reason(), detail(refusal));
        info!(
            endpoint = kind,
            namespace,
            account,
            issuer,
            reason,
            detail,
            client_id_hash = stranger.as_deref(),
            micros,
            "token refused"
        );
    }
}

/// Should not happen, so it is told at once.
pub(super) fn unsigned(error: TokenError) -> Refusal {
    error!(%error, "no token could be made");
    Refusal::Internal
}

/// More of the cause than the reason says; never anything that the caller wrote.
fn detail(refusal: Refusal) -> Option<String> {
    match refusal {
        Refusal::Credentials(error) => Some(error.to_string()),
        Refusal::Request(error) => Some(error.to_string()),
        Refusal::Assertion(error) => Some(error.to_string()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "endpoint_log_tests.rs"]
mod log_tests;
#[cfg(test)]
#[path = "endpoint_tests.rs"]
pub(super) mod tests;
