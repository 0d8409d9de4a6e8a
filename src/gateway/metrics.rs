//! What Prometheus sees of the gateway.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::refusal::Refusal;
use crate::clock::SharedClock;
use crate::index::Index;

/// From a tenth of a millisecond, a warm request's, to 5 s.
const BUCKETS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 5.0];

/// Labels of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    endpoint: &'static str,
    outcome: &'static str,
}

/// Labels of a live read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LiveRead {
    object: &'static str,
    result: &'static str,
}

/// Counters that requests touch.
pub struct Metrics {
    requests: Family<Outcome, Counter>,
    /// In the order of [`Endpoint::ALL`]: found without hashing labels.
    successes: [Counter; 4],
    /// How long requests took.
    pub duration: Histogram,
    /// Argon2 verifications.
    pub verifications: Counter,
    /// Secrets that were remembered.
    pub remembered: Counter,
    live_reads: Family<LiveRead, Counter>,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The manual's endpoint.
    Legacy,
    /// The standard token endpoint.
    Token,
    /// Introspection.
    Introspection,
    /// Metadata and key sets.
    Document,
}

impl Endpoint {
    const ALL: [Self; 4] = [Self::Legacy, Self::Token, Self::Introspection, Self::Document];

    /// Its name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Token => "token",
            Self::Introspection => "introspection",
            Self::Document => "document",
        }
    }

    /// How a request ended, in metrics and spans.
    #[must_use]
    pub fn outcome(self, refusal: Option<Refusal>) -> &'static str {
        refusal.map_or_else(|| self.success(), Refusal::reason)
    }

    /// The outcome that is no refusal.
    fn success(self) -> &'static str {
        match self {
            Self::Legacy | Self::Token => "granted",
            Self::Introspection | Self::Document => "answered",
        }
    }
}

impl Metrics {
    /// Registers all of them, below `keyrota_gateway`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let requests = Family::<Outcome, Counter>::default();
        for endpoint in [Endpoint::Legacy, Endpoint::Token, Endpoint::Introspection] {
            for outcome in Refusal::REASONS {
                drop(requests.get_or_create_owned(&Outcome { endpoint: endpoint.name(), outcome }));
            }
        }
        let metrics = Self {
            successes: Endpoint::ALL.map(|endpoint| {
                requests.get_or_create_owned(&Outcome { endpoint: endpoint.name(), outcome: endpoint.success() })
            }),
            requests,
            duration: Histogram::new(BUCKETS),
            verifications: Counter::default(),
            remembered: Counter::default(),
            live_reads: Family::default(),
        };
        let ours = registry.sub_registry_with_prefix("keyrota_gateway");
        ours.register("requests", "Requests by endpoint and outcome", metrics.requests.clone());
        ours.register_with_unit("request_duration", "How long requests took", Unit::Seconds, metrics.duration.clone());
        ours.register("argon2_verifications", "Secrets checked with Argon2", metrics.verifications.clone());
        ours.register("verification_cache_hits", "Secrets recognized without Argon2", metrics.remembered.clone());
        ours.register("live_reads", "Reads of the API server before a refusal", metrics.live_reads.clone());
        metrics
    }

    /// Counts a request.
    pub fn request(&self, endpoint: Endpoint, refusal: Option<Refusal>, seconds: f64) {
        match refusal {
            None => drop(self.successes[endpoint as usize].inc()),
            Some(refusal) => {
                let labels = Outcome { endpoint: endpoint.name(), outcome: refusal.reason() };
                self.requests.get_or_create(&labels).inc();
            }
        }
        self.duration.observe(seconds);
    }

    /// Counts a live read.
    pub fn live_read(&self, object: &'static str, good: bool) {
        let result = if good { "ok" } else { "failed" };
        self.live_reads.get_or_create(&LiveRead { object, result }).inc();
    }
}

/// Looks at the index when Prometheus asks.
pub struct IndexMetrics {
    /// The index.
    pub index: Arc<Index>,
    /// For the age of its feeds.
    pub clock: SharedClock,
}

impl fmt::Debug for IndexMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexMetrics")
    }
}

impl Collector for IndexMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (accounts, records, served) = self.index.sizes();
        let mut sizes = encoder.encode_descriptor(
            "keyrota_gateway_index_objects",
            "Objects in memory: account resources, records, and accounts that have both",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for (kind, count) in [("serviceaccounts", accounts), ("records", records), ("served", served)] {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(sizes.encode_family(&[("kind", kind)])?)?;
        }
        let now = self.clock.now();
        let mut ages = encoder.encode_descriptor(
            "keyrota_gateway_feed_age",
            "How long ago the watch was last known to be up to date",
            Some(&Unit::Seconds),
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for progress in self.index.progress().iter().filter(|progress| progress.is_listed()) {
            let feed = progress.feed.to_string();
            #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 ms")]
            let gauge = ConstGauge::new(progress.age(now).num_milliseconds() as f64 / 1000.0);
            gauge.encode(ages.encode_family(&[("feed", feed.as_str())])?)?;
        }
        let mut unreadable = encoder.encode_descriptor(
            "keyrota_gateway_unreadable_objects",
            "Objects that could not be read and were skipped",
            None,
            prometheus_client::metrics::MetricType::Counter,
        )?;
        for progress in self.index.progress() {
            let feed = progress.feed.to_string();
            ConstCounter::new(progress.unreadable()).encode(unreadable.encode_family(&[("feed", feed.as_str())])?)?;
        }
        Ok(())
    }
}
