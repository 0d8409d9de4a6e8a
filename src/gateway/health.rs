//! Health, readiness and metrics: plain HTTP on a port of its own, so that probes answer whatever happens to the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use chrono::TimeDelta;
use http::header::CONTENT_TYPE;
use http::{HeaderName, StatusCode};
use prometheus_client::registry::Registry;

use crate::clock::SharedClock;
use crate::index::Index;

/// A feed tries something at least every 35 s (a watch's end) and every page of a list; this is three times as long.
const HANGS: Duration = Duration::from_secs(120);

/// What the probes look at.
pub struct Health {
    /// The index.
    pub index: Arc<Index>,
    /// The time.
    pub clock: SharedClock,
    /// How old the index may be.
    pub max_stale: TimeDelta,
    /// The metrics.
    pub registry: Registry,
    /// The gateway listens, with a certificate if it needs one.
    pub listening: AtomicBool,
    /// It is about to stop: no new traffic, please.
    pub draining: AtomicBool,
}

impl Health {
    /// What keeps the gateway from serving; empty when nothing does.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.draining.load(Relaxed) {
            missing.push("shutting down".to_owned());
        }
        if !self.listening.load(Relaxed) {
            missing.push("the TLS certificate is not loaded".to_owned());
        }
        let now = self.clock.now();
        for progress in self.index.progress() {
            if !progress.is_listed() {
                missing.push(format!("{} are not listed yet", progress.feed));
            } else if progress.age(now) > self.max_stale {
                let age = crate::domain::duration::human(progress.age(now));
                missing.push(format!("{} were last up to date {age} ago", progress.feed));
            }
        }
        missing
    }

    /// Feeds that hang. An API server that is away does not count: a restart would only lose what is in memory.
    #[must_use]
    pub fn hanging(&self) -> Vec<String> {
        let hang = self.index.progress().iter().filter(|progress| progress.idle() > HANGS);
        hang.map(|progress| format!("the watch of {} hangs", progress.feed)).collect()
    }
}

/// `/healthz`, `/readyz` and `/metrics`.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

type Text = (StatusCode, [(HeaderName, &'static str); 1], String);

fn report(problems: &[String]) -> Text {
    let plain = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    if problems.is_empty() {
        return (StatusCode::OK, plain, "ok\n".into());
    }
    (StatusCode::SERVICE_UNAVAILABLE, plain, problems.join("\n") + "\n")
}

async fn healthz(State(health): State<Arc<Health>>) -> Text {
    report(&health.hanging())
}

async fn readyz(State(health): State<Arc<Health>>) -> Text {
    report(&health.missing())
}

async fn metrics(State(health): State<Arc<Health>>) -> Text {
    let open_metrics = [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &health.registry) {
        Ok(()) => (StatusCode::OK, open_metrics, text),
        Err(_) => report(&["the metrics cannot be encoded".to_owned()]),
    }
}
