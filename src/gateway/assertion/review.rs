//! This cluster's projected service-account tokens: the API server says whose they are (TokenReview), and for a minute
//! its answer is remembered under a keyed hash.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use quick_cache::sync::Cache;
use thiserror::Error;
use tokio::sync::Semaphore;
use tracing::debug;

use crate::clock::SharedClock;
use crate::domain::assertion::AssertionError;
use crate::domain::mac::MacKey;

/// How long an answer is remembered: that long a token of a deleted Pod may still be taken.
pub const REMEMBERED_FOR: TimeDelta = TimeDelta::seconds(60);
/// Tokens in memory, at some 150 bytes each.
const REMEMBERED: usize = 10_000;
/// Reviews at once, so that a storm of tokens does not become one of requests to the API server.
const AT_ONCE: usize = 16;
/// For a review, with the wait for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where reviews are asked for.
pub trait Review: Send + Sync + 'static {
    /// The user whose token this is, if it is somebody's and for this audience.
    fn review<'a>(&'a self, token: &'a str, audience: &'a str) -> BoxFuture<'a, Result<Option<String>, NoReview>>;
}

/// The API server gave no answer. Does not hold the token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the API server gave no answer to a TokenReview: {0}")]
pub struct NoReview(pub String);

/// Why a token is not somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewError {
    /// It is not.
    Refused(AssertionError),
    /// It could not be found out.
    NoAnswer,
}

/// Reviews of a real cluster.
pub struct KubeReview(Api<TokenReview>);

impl KubeReview {
    /// Needs the right to create TokenReviews.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self(Api::all(client))
    }
}

impl Review for KubeReview {
    fn review<'a>(&'a self, token: &'a str, audience: &'a str) -> BoxFuture<'a, Result<Option<String>, NoReview>> {
        Box::pin(async move {
            let spec = TokenReviewSpec { token: Some(token.into()), audiences: Some(vec![audience.into()]) };
            let question = TokenReview { spec, ..TokenReview::default() };
            let answer = self.0.create(&PostParams::default(), &question).await.map_err(|error| match error {
                kube::Error::Api(status) => NoReview(format!("{} {}", status.code, status.reason)),
                // Others may quote what was sent.
                _ => NoReview("no connection".into()),
            })?;
            let status = answer.status.unwrap_or_default();
            // A webhook or an old server that knows no audiences says none: then nobody has checked it.
            let meant = status.audiences.unwrap_or_default().iter().any(|found| found == audience);
            let user = status.user.and_then(|user| user.username);
            Ok(user.filter(|_| meant && status.authenticated == Some(true)))
        })
    }
}

#[derive(Clone)]
struct Known {
    user: Arc<str>,
    since: DateTime<Utc>,
}

/// Asks, and remembers for a minute.
pub struct Reviewer {
    review: Arc<dyn Review>,
    clock: SharedClock,
    key: MacKey,
    known: Cache<[u8; 32], Known>,
    turns: Semaphore,
}

impl Reviewer {
    /// Remembers under `key`, which nobody else has.
    #[must_use]
    pub fn new(review: Arc<dyn Review>, clock: SharedClock, key: MacKey) -> Self {
        Self { review, clock, key, known: Cache::new(REMEMBERED), turns: Semaphore::new(AT_ONCE) }
    }

    /// Who is remembered to hold this token.
    #[must_use]
    pub fn recall(&self, token: &str, audience: &str) -> Option<Arc<str>> {
        let (known, now) = (self.known.get(&self.tag(token, audience))?, self.clock.now());
        // A clock that was set back makes nothing live longer.
        (TimeDelta::zero()..REMEMBERED_FOR).contains(&(now - known.since)).then_some(known.user)
    }

    /// Whose token it is. Of many who ask for the same one at a time, one asks the API server.
    ///
    /// # Errors
    /// When it is nobody's, or that cannot be found out.
    pub async fn user(&self, token: &str, audience: &str) -> Result<Arc<str>, ReviewError> {
        if let Some(user) = self.recall(token, audience) {
            return Ok(user);
        }
        let tag = self.tag(token, audience);
        let now = self.clock.now();
        self.known.remove_if(&tag, |known| !(TimeDelta::zero()..REMEMBERED_FOR).contains(&(now - known.since)));
        let ask = async {
            let turn = async {
                let _turn = self.turns.acquire().await.map_err(|_| NoReview("it is shutting down".into()))?;
                self.review.review(token, audience).await
            };
            let answer = tokio::time::timeout(PATIENCE, turn).await;
            match answer.unwrap_or_else(|_| Err(NoReview(format!("not within {} s", PATIENCE.as_secs())))) {
                // Since before it was asked, so that it is never older than it says.
                Ok(Some(user)) => Ok(Known { user: user.into(), since: now }),
                Ok(None) => Err(ReviewError::Refused(AssertionError::NotAuthenticated)),
                Err(error) => {
                    debug!(%error, "a TokenReview failed");
                    Err(ReviewError::NoAnswer)
                }
            }
        };
        self.known.get_or_insert_async(&tag, ask).await.map(|known| known.user)
    }

    fn tag(&self, token: &str, audience: &str) -> [u8; 32] {
        // A token has no NUL, so that no two pairs give one text.
        self.key.tag(&[token.as_bytes(), &[0], audience.as_bytes()])
    }
}

#[cfg(test)]
#[path = "review_tests.rs"]
mod tests;
