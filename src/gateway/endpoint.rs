//! The manual's endpoint from request to answer; counts and logs each exactly once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use bytes::Bytes;
use chrono::TimeDelta;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use rand::TryRng;
use tracing::{error, info};

use super::assertion::{Claimed, Foreign, Prover};
use super::authenticate::{Authenticator, Finding, Presented};
use super::basic::{self, BasicError, Candidate};
use super::freshen::{Freshener, Pace};
use super::grant::{Verdict, decide};
use super::legacy::{answer, wire};
use super::limit::client::Clients;
use super::limit::{Attempt, Limiter};
use super::metrics::Metrics;
use super::refusal::Refusal;
use super::usage::Ledger;
use super::verify::{Verifier, random_key};
use crate::api::Timestamp;
use crate::clock::SharedClock;
use crate::domain::assertion::Assertion;
use crate::domain::issuer::Issuer;
use crate::index::live::Live;
use crate::index::{Accounts, World};
use wire::{Asked, WireError};

/// For the whole body; a caller that needs longer is no client of ours.
pub const BODY_TIME: Duration = Duration::from_secs(30);

/// What all requests share.
pub struct App {
    authenticator: Authenticator,
    clock: SharedClock,
    max_stale: TimeDelta,
    body_time: Duration,
    metrics: Arc<Metrics>,
    ledger: Arc<Ledger>,
    limiter: Limiter,
    clients: Clients,
}

/// What an [`App`] is made of.
pub struct Dependencies {
    /// What the watches say.
    pub accounts: Arc<dyn Accounts>,
    /// Where live reads go.
    pub live: Arc<dyn Live>,
    /// The time.
    pub clock: SharedClock,
    /// How long tokens are issued on while the API server is away.
    pub max_stale: TimeDelta,
    /// How often the API server is asked.
    pub pace: Pace,
    /// How long a request's body may take; [`BODY_TIME`].
    pub body_time: Duration,
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
#[derive(Default)]
struct Seen<'w> {
    issuer: Option<&'w str>,
    now: Option<Timestamp>,
    finding: Finding,
    stranger: Option<String>,
}

impl App {
    /// Puts it together; the random source makes the keys under which verifications are remembered.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn new<R: TryRng>(dependencies: Dependencies, random: &mut R) -> Result<Self, R::Error> {
        let Dependencies { accounts, live, clock, max_stale, pace, body_time, metrics, ledger, foreign, clients } =
            dependencies;
        let verifier = Verifier::new(random, metrics.clone())?;
        let prover = Prover::new(foreign, clock.clone(), random_key(random)?);
        let freshener = Freshener::new(live, accounts.clone(), pace, metrics.clone());
        Ok(Self {
            authenticator: Authenticator { accounts, verifier, freshener, prover },
            clock,
            max_stale,
            body_time,
            metrics,
            ledger,
            limiter: Limiter::default(),
            clients,
        })
    }

    /// Answers a request to the manual's endpoint.
    pub async fn token(&self, request: Request<Body>) -> Response {
        let started = Instant::now();
        let world = self.authenticator.accounts.world();
        let mut seen = Seen::default();
        let result = self.exchange(&world, request, &mut seen).await;
        self.conclude(started, &seen, result)
    }

    /// Answers a request to a path that is nobody's.
    pub fn no_such_path(&self) -> Response {
        self.conclude(Instant::now(), &Seen::default(), Err(Refusal::Request(WireError::Path)))
    }

    async fn exchange<'w>(
        &self,
        world: &'w World,
        request: Request<Body>,
        seen: &mut Seen<'w>,
    ) -> Result<String, Refusal> {
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            return Err(Refusal::Request(WireError::Method));
        }
        let now = self.clock.now();
        if !self.authenticator.accounts.is_fresh(now, self.max_stale) {
            return Err(Refusal::NotReady);
        }
        let issuer = issuer_of(world, &parts)?;
        seen.issuer = Some(&issuer.name);
        let credentials = credentials(&parts.headers);
        // Only without a header can the credentials be in the body.
        let alone = matches!(credentials, Err(BasicError::Missing));
        let candidates = if alone { Vec::new() } else { credentials.map_err(Refusal::Credentials)? };
        let asked = self.read_body(&parts.headers, body).await.map_err(Refusal::Request)?;
        let now = Timestamp::from(now);
        seen.now = Some(now);
        let presented = Presented { world, issuer, candidates: &candidates, now };
        match asked.assertion {
            Some(_) if !alone => return Err(Refusal::Request(WireError::TwoMethods)),
            Some(text) => {
                let assertion = Assertion::read(&text)?;
                let client_id = assertion.subject().unwrap_or_default();
                seen.stranger = Some(self.authenticator.verifier.pseudonym(client_id));
                let attempt = self.attempt(&parts, client_id, &text);
                let limited = attempt.and_then(|attempt| self.limiter.check(attempt).err());
                let ours = issuer.oauth.issuer.as_deref();
                let asked = asked.client_id.as_deref();
                let claimed = Claimed { world, issuer, assertion: &assertion, client_id: asked, ours, limited, now };
                let finding = Box::pin(self.authenticator.assertion(&claimed)).await;
                let result = finding.and_then(|finding| {
                    seen.finding = finding;
                    sign(&presented, &seen.finding)
                });
                self.judged(attempt, limited, result)
            }
            None if alone => Err(Refusal::Credentials(BasicError::Missing)),
            None => {
                if let Some(finding) = self.authenticator.recall(&presented) {
                    self.metrics.remembered.inc();
                    seen.finding = finding;
                    return sign(&presented, &seen.finding);
                }
                let Some(first) = candidates.first() else { return Err(Refusal::Internal) };
                let attempt = self.attempt(&parts, &first.client_id, &first.secret);
                attempt.map_or(Ok(()), |attempt| self.limiter.check(attempt))?;
                // In a box, because it is rare and large: every request would carry room for it.
                seen.finding = Box::pin(self.authenticator.verify(&presented)).await?;
                if seen.finding.entry.is_none() {
                    seen.stranger = Some(self.authenticator.verifier.pseudonym(&first.client_id));
                }
                let result = sign(&presented, &seen.finding);
                self.judged(attempt, None, result)
            }
        }
    }

    /// What the limits know of a request whose credentials are not remembered.
    fn attempt(&self, parts: &Parts, client_id: &str, content: &str) -> Option<Attempt> {
        let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
        self.limiter.attempt(&self.clients.of(*peer, &parts.headers), client_id, content)
    }

    /// Counts a failure; one that was limited already is answered so.
    fn judged<T>(
        &self,
        attempt: Option<Attempt>,
        limited: Option<Refusal>,
        result: Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Some(attempt) = attempt else { return result };
        result.map_err(|refusal| {
            if !refusal.is_failure() {
                return refusal;
            }
            self.limiter.failed(attempt);
            limited.unwrap_or(refusal)
        })
    }

    async fn read_body(&self, headers: &HeaderMap, body: Body) -> Result<Asked, WireError> {
        if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(WireError::Compressed);
        }
        let body = read(body, self.body_time).await?;
        wire::read(headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()), &body)
    }

    /// Counts, logs and answers: every request comes through here once.
    fn conclude(&self, started: Instant, seen: &Seen<'_>, result: Result<String, Refusal>) -> Response {
        let elapsed = started.elapsed();
        self.metrics.request(result.as_ref().err().copied(), elapsed.as_secs_f64());
        let owner = seen.finding.entry.as_ref().map(|entry| &entry.account.owner);
        let namespace = owner.map(|owner| owner.namespace.as_str());
        let account = owner.map(|owner| owner.name.as_str());
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let issuer = seen.issuer;
        match result {
            Ok(token) => {
                let version = seen.finding.version_number();
                if let (Some(owner), Some(version), Some(now)) = (owner, version, seen.now) {
                    self.ledger.note(&owner.uid, version, now);
                }
                info!(endpoint = "legacy", namespace, account, issuer, version, micros, "token granted");
                answer::granted(&token)
            }
            Err(refusal) => {
                let (reason, detail) = (refusal.reason(), detail(refusal));
                let stranger = seen.stranger.as_deref();
                info!(
                    endpoint = "legacy",
                    namespace,
                    account,
                    issuer,
                    reason,
                    detail,
                    client_id_hash = stranger,
                    micros,
                    "token refused"
                );
                answer::refused(refusal)
            }
        }
    }
}

fn sign(presented: &Presented<'_>, finding: &Finding) -> Result<String, Refusal> {
    let claims = match decide(finding.question(presented)) {
        Verdict::Claims(claims) => claims,
        Verdict::Refused(refusal) => return Err(refusal),
        Verdict::Unsure(_) => return Err(Refusal::Unsure),
    };
    let keys = presented.world.keys_of(&presented.issuer.name).ok_or(Refusal::NoKey)?;
    let key = keys.legacy.signing(presented.now).ok_or(Refusal::NoKey)?;
    key.key.sign(&claims).map_err(|error| {
        error!(%error, "no token could be made");
        Refusal::Internal
    })
}

/// More of the cause than the reason says; never anything that the caller wrote.
fn detail(refusal: Refusal) -> Option<String> {
    match refusal {
        Refusal::Credentials(error) => Some(error.to_string()),
        Refusal::Request(error) => Some(error.to_string()),
        _ => None,
    }
}

/// The host that the caller named, and no proxy header: those anybody can send.
fn issuer_of<'w>(world: &'w World, parts: &Parts) -> Result<&'w Issuer, Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let named = hosts.next().and_then(|host| host.to_str().ok());
    if hosts.next().is_some() {
        return Err(Refusal::Request(WireError::Hosts));
    }
    // HTTP/2's `:authority`, or HTTP/1.1's absolute form, which overrides Host (RFC 9112 section 3.2.2).
    let host = parts.uri.host().or(named).unwrap_or_default();
    let issuer = world.issuer_of_host(host).ok_or(Refusal::Internal)?;
    if issuer.legacy.enabled { Ok(issuer) } else { Err(Refusal::Request(WireError::EndpointOff)) }
}

fn credentials(headers: &HeaderMap) -> Result<Vec<Candidate>, BasicError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Err(BasicError::Missing),
        (Some(_), Some(_)) => Err(BasicError::Repeated),
        (Some(value), None) => basic::candidates(value.as_bytes()),
    }
}

async fn read(body: Body, time: Duration) -> Result<Bytes, WireError> {
    let read = Limited::new(body, wire::MAX_BODY).collect();
    match tokio::time::timeout(time, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(WireError::TooLarge),
        Ok(Err(_)) => Err(WireError::Incomplete),
        Err(_) => Err(WireError::TooSlow),
    }
}

#[cfg(test)]
#[path = "endpoint_log_tests.rs"]
mod log_tests;
#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
