//! Health, readiness and metrics: plain HTTP on a port of its own, so that probes answer whatever happens to the other.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use chrono::TimeDelta;
use prometheus_client::registry::Registry;

use crate::clock::SharedClock;
use crate::index::Index;
use crate::server::phase::Phase;
use crate::server::probe::{self, Text, report};

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
    /// Where the listener for tokens stands.
    pub phase: Arc<Phase>,
}

impl Health {
    /// What keeps the gateway from serving; empty when nothing does.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = self.phase.missing();
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

async fn healthz(State(health): State<Arc<Health>>) -> Text {
    report(&health.hanging())
}

async fn readyz(State(health): State<Arc<Health>>) -> Text {
    report(&health.missing())
}

async fn metrics(State(health): State<Arc<Health>>) -> Text {
    probe::metrics(&health.registry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::index::testing::{filled_index, now};
    use crate::index::{Feed, Index};
    use tower::ServiceExt;

    fn health(index: Arc<Index>, clock: &ManualClock) -> Arc<Health> {
        let phase = Arc::new(Phase::default());
        phase.listens();
        let (clock, max_stale) = (Arc::new(clock.clone()), TimeDelta::hours(1));
        Arc::new(Health { index, clock, max_stale, registry: Registry::default(), phase })
    }

    async fn get(health: &Arc<Health>, path: &str) -> (u16, String) {
        let request = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = router(health.clone()).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        (status, String::from_utf8(body.into()).unwrap())
    }

    #[tokio::test]
    async fn a_filled_index_and_a_certificate_make_it_ready() {
        let health = health(filled_index(), &ManualClock::at(now()));
        assert_eq!(get(&health, "/readyz").await, (200, "ok\n".into()));
        let health = Arc::new(Health { phase: Arc::default(), ..Arc::into_inner(health).unwrap() });
        assert_eq!(get(&health, "/readyz").await, (503, "the TLS certificate is not loaded\n".into()));
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let index = Arc::new(Index::new(Feed::all(&["shop".into()])));
        let health = health(index, &ManualClock::at(now()));
        let (status, text) = get(&health, "/readyz").await;
        let expected = ["records", "signing-keys", "tokenissuers", "usergroups", "serviceaccounts/shop"]
            .map(|feed| format!("{feed} are not listed yet\n"));
        assert_eq!((status, text), (503, expected.concat()));
        assert_eq!(get(&health, "/healthz").await.0, 200, "a restart would not help");
    }

    #[tokio::test]
    async fn it_stops_being_ready_when_the_index_is_too_old_but_stays_alive() {
        let clock = ManualClock::at(now());
        let health = health(filled_index(), &clock);
        clock.advance(TimeDelta::seconds(3600));
        assert_eq!(get(&health, "/readyz").await.0, 200);
        clock.advance(TimeDelta::seconds(1));
        let (status, text) = get(&health, "/readyz").await;
        assert!(status == 503 && text.contains("records were last up to date 1h 1s ago\n"), "{text}");
        assert_eq!(get(&health, "/healthz").await.0, 200);
    }

    #[tokio::test]
    async fn it_stops_being_ready_before_it_stops() {
        let health = health(filled_index(), &ManualClock::at(now()));
        health.phase.drains();
        assert_eq!(get(&health, "/readyz").await, (503, "shutting down\n".into()));
    }

    #[tokio::test]
    async fn metrics_tell_of_the_index() {
        let (index, clock) = (filled_index(), ManualClock::at(now()));
        let mut registry = Registry::default();
        let collector = crate::gateway::metrics::IndexMetrics { index: index.clone(), clock: Arc::new(clock.clone()) };
        registry.register_collector(Box::new(collector));
        clock.advance(TimeDelta::milliseconds(1500));
        let health = Health { registry, ..Arc::into_inner(health(index, &clock)).unwrap() };
        let (status, text) = get(&Arc::new(health), "/metrics").await;
        assert_eq!(status, 200);
        for line in [
            "keyrota_gateway_index_objects{kind=\"served\"} 0",
            "keyrota_gateway_feed_age_seconds{feed=\"records\"} 1.5",
            "keyrota_gateway_unreadable_objects_total{feed=\"usergroups\"} 0",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
