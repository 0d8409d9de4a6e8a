//! Health, readiness and metrics, in plain HTTP on a port of their own.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use prometheus_client::registry::Registry;

use super::inventory::Holdings;
use crate::server::phase::Phase;
use crate::server::probe::{metrics, report};
use crate::watch::pulse::{Pulse, silent};

/// What the probes look at.
pub struct Health {
    /// What the watches know.
    pub holdings: Arc<Holdings>,
    /// Their signs of life.
    pub pulses: Vec<Arc<Pulse>>,
    /// The listener.
    pub phase: Arc<Phase>,
    /// The metrics.
    pub registry: Registry,
}

impl Health {
    fn missing(&self) -> Vec<String> {
        let mut missing = self.phase.missing();
        missing.extend(self.holdings.missing());
        missing
    }
}

/// `/healthz`, `/readyz` and `/metrics`.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async |State(health): State<Arc<Health>>| report(&silent(&health.pulses))))
        .route("/readyz", get(async |State(health): State<Arc<Health>>| report(&health.missing())))
        .route("/metrics", get(async |State(health): State<Arc<Health>>| metrics(&health.registry)))
        .with_state(Arc::new(health))
}
