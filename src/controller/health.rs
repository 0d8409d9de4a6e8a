//! Health, readiness and metrics of the controller, in plain HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use futures::FutureExt;
use kube::runtime::reflector::Store;
use prometheus_client::registry::Registry;

use super::backlog::Backlog;
use super::context::Stores;
use super::metrics::{Inventory, Metrics};
use super::notify;
use crate::server::probe::{self, Text, report};
use crate::watch::pulse::{Pulse, silent};

/// What the probes look at. The loops need no look: the process ends with the first that does.
pub struct Health {
    stores: Stores,
    pulses: Vec<Arc<Pulse>>,
    registry: Registry,
}

impl Health {
    /// Of these watches.
    pub fn new(
        stores: Stores,
        pulses: Vec<Arc<Pulse>>,
        metrics: Metrics,
        backlog: Backlog,
        notices: &notify::Metrics,
    ) -> Self {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        notices.register(&mut registry);
        let inventory = Inventory { stores: stores.clone(), pulses: pulses.clone(), metrics, backlog };
        registry.register_collector(Box::new(inventory));
        Self { stores, pulses, registry }
    }

    /// Lists that have not arrived; a standby is as ready as a leader.
    fn missing(&self) -> Vec<String> {
        let Stores { accounts, secrets, records, issuers, groups } = &self.stores;
        let lists = [
            ("serviceaccounts", accounts.iter().all(listed)),
            ("published secrets", secrets.iter().all(listed)),
            ("account records", listed(records)),
            ("tokenissuers", listed(issuers)),
            ("usergroups", listed(groups)),
        ];
        lists.into_iter().filter(|(_, listed)| !listed).map(|(what, _)| format!("{what} are not listed yet")).collect()
    }
}

fn listed<K>(store: &Store<K>) -> bool
where
    K: kube::runtime::reflector::Lookup + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    store.wait_until_ready().now_or_never().is_some()
}

/// `/healthz`, `/readyz` and `/metrics`.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async |State(health): State<Arc<Health>>| report(&silent(&health.pulses))))
        .route("/readyz", get(async |State(health): State<Arc<Health>>| report(&health.missing())))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(health))
}

async fn metrics(State(health): State<Arc<Health>>) -> Text {
    probe::metrics(&health.registry)
}
