//! What Prometheus is told of the console.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::inventory::Holdings;
use super::session::Sessions;
use crate::watch::pulse::Pulse;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    outcome: &'static str,
}

/// Counts and durations.
#[derive(Debug)]
pub struct Metrics {
    sign_ins: Family<Attempt, Counter>,
    failures: Counter<u64, AtomicU64>,
    lists: Histogram,
}

impl Metrics {
    /// Made known to Prometheus.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            sign_ins: Family::default(),
            failures: Counter::default(),
            lists: Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0]),
        };
        registry.register("keyrota_console_sign_ins", "Attempts to sign in", metrics.sign_ins.clone());
        registry.register(
            "keyrota_console_failures",
            "Requests that failed because of the API server or the console",
            metrics.failures.clone(),
        );
        registry.register_with_unit(
            "keyrota_console_list_duration",
            "Time to find, sort and cut a page of the inventory",
            Unit::Seconds,
            metrics.lists.clone(),
        );
        metrics
    }

    /// Somebody tried to sign in.
    pub fn signed_in(&self, outcome: &'static str) {
        self.sign_ins.get_or_create(&Attempt { outcome }).inc();
    }

    /// A request failed, and not by its sender's fault.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// A page of the inventory was found.
    pub fn listed(&self, took: Duration) {
        self.lists.observe(took.as_secs_f64());
    }
}

/// What is looked up when Prometheus asks.
#[derive(Debug)]
pub struct Present {
    /// What the watches know.
    pub holdings: Arc<Holdings>,
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
    /// The watches' signs of life.
    pub pulses: Vec<Arc<Pulse>>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Collector for Present {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (accounts, tombstones) = self.holdings.sizes();
        let (users, sessions) = self.sessions.count();
        let gauges = [
            ("keyrota_console_accounts", "Accounts that the console knows", accounts),
            ("keyrota_console_tombstones", "Deleted accounts that the console knows", tombstones),
            ("keyrota_console_users", "People who are signed in", users),
            ("keyrota_console_sessions", "Their sessions", sessions),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let type_ = prometheus_client::metrics::MetricType::Gauge;
        let help = "Time since a watch last got anything";
        let mut ages = encoder.encode_descriptor("keyrota_console_watch_age", help, Some(&Unit::Seconds), type_)?;
        for pulse in &self.pulses {
            let labels = [("watch", pulse.watch), ("namespace", pulse.namespace.as_str())];
            let age = ConstGauge::new(pulse.reading().silent.as_secs_f64());
            age.encode(ages.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
