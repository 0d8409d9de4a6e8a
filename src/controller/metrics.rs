//! What Prometheus sees of the controller. What is registered lives as long as the process, terms come and go.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use kube::Client;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::backlog::{Backlog, Size};
use super::context::Stores;
use super::error::Error;
use crate::api::service_account::{CredentialState, Reason};
use crate::api::{ServiceAccount, Timestamp};
use crate::domain::words;
use crate::watch::pulse::{Pulse, Sign, listened};

/// From a pass that finds nothing to do to one that waits for a slow API server.
const BUCKETS: [f64; 12] = [0.000_5, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: String,
}

/// What is counted.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<Outcome, Counter>,
    duration: Histogram,
    published: Family<Why, Counter>,
    api_errors: Family<Code, Counter>,
    leader: Gauge,
}

impl Default for Metrics {
    /// All that can be known begins at zero: a rate needs a first value.
    fn default() -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            duration: Histogram::new(BUCKETS),
            published: Family::default(),
            api_errors: Family::default(),
            leader: Gauge::default(),
        };
        for outcome in ["done", "race", "failed", "panicked"] {
            drop(metrics.reconciles.get_or_create_owned(&Outcome { outcome }));
        }
        use Reason::{ClientIdRegenerated, Compromised, Created, Repaired, Requested, Scheduled};
        for reason in [Created, Scheduled, Requested, ClientIdRegenerated, Compromised, Repaired] {
            drop(metrics.published.get_or_create_owned(&Why { reason: name(reason) }));
        }
        metrics
    }
}

/// A reason in metrics and logs.
pub const fn name(reason: Reason) -> &'static str {
    match reason {
        Reason::Created => "Created",
        Reason::Scheduled => "Scheduled",
        Reason::Requested => "Requested",
        Reason::ClientIdRegenerated => "ClientIdRegenerated",
        Reason::Compromised => "Compromised",
        Reason::Repaired => "Repaired",
    }
}

/// How a pass ended, in metrics and spans.
pub fn outcome<T>(result: &Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(error) if error.is_race() => "race",
        Err(Error::Panicked) => "panicked",
        Err(_) => "failed",
    }
}

impl Metrics {
    /// Registers all of them.
    pub fn register(&self, registry: &mut Registry) {
        let ours = registry.sub_registry_with_prefix("keyrota_controller");
        ours.register(
            "reconciles",
            "Passes over accounts: done, given up after a lost race, failed, or panicked; all but the first are tried again",
            self.reconciles.clone(),
        );
        let help = "How long passes over accounts took";
        ours.register_with_unit("reconcile_duration", help, Unit::Seconds, self.duration.clone());
        ours.register("credentials_published", "New credentials in Secrets, by reason", self.published.clone());
        ours.register(
            "api_errors",
            "Answers of the API server other than success, by HTTP status; none when it did not answer",
            self.api_errors.clone(),
        );
        ours.register("leader", "1 while this process holds the lease and writes, else 0", self.leader.clone());
    }

    /// Counts a pass that ended as [`outcome`] says.
    pub fn pass(&self, outcome: &'static str, seconds: f64) {
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.duration.observe(seconds);
    }

    /// Counts a published credential.
    pub fn published(&self, reason: Reason) {
        self.published.get_or_create(&Why { reason: name(reason) }).inc();
    }

    /// Tells whether this process leads.
    pub fn lead(&self, leading: bool) {
        self.leader.set(leading.into());
    }

    fn leads(&self) -> bool {
        self.leader.get() == 1
    }

    /// The same client, its errors counted.
    pub fn counted(&self, client: &Client) -> Client {
        let errors = self.api_errors.clone();
        let count = move |code: String| {
            errors.get_or_create(&Code { code }).inc();
        };
        listened(client, move |sign| match sign {
            Sign::Data => {}
            Sign::Refused(status) => count(StatusCode::as_str(&status).to_owned()),
            Sign::Unanswered => count("none".to_owned()),
        })
    }
}

/// Looks at what the watches have when Prometheus asks, so that no series outlives its account.
pub struct Inventory {
    /// The accounts.
    pub stores: Stores,
    /// The watches.
    pub pulses: Vec<Arc<Pulse>>,
    /// What is left to do.
    pub backlog: Backlog,
    /// Accounts are told by the leader alone, so that sums over replicas are right.
    pub metrics: Metrics,
}

impl fmt::Debug for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inventory")
    }
}

impl Collector for Inventory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.times(
            &mut encoder,
            "keyrota_client_secret_expiry_timestamp",
            "When the present client secret expires, as a Unix time",
            |account| account.status.as_ref()?.client_secret_expiry_time,
        )?;
        self.times(
            &mut encoder,
            "keyrota_client_secret_last_rotation_timestamp",
            "When the present client secret was made, as a Unix time",
            |account| {
                let credentials = &account.status.as_ref()?.credentials;
                Some(credentials.iter().find(|credential| credential.state == CredentialState::Current)?.not_before)
            },
        )?;
        self.times(
            &mut encoder,
            "keyrota_previous_secret_in_use_end_timestamp",
            "When a previous client secret that is still used stops working, as a Unix time",
            |account| {
                let status = account.status.as_ref()?;
                status.conditions.iter().find(|condition| condition.type_ == words::IN_USE.type_())?;
                let mut credentials = status.credentials.iter();
                Some(credentials.find(|credential| credential.state == CredentialState::Previous)?.not_after)
            },
        )?;
        let Size { waiting, under_way } = self.backlog.size();
        for (name, help, size) in [
            ("keyrota_controller_accounts_waiting", "Accounts that wait for a pass", waiting),
            ("keyrota_controller_passes_under_way", "Passes over accounts under way", under_way),
        ] {
            let size = ConstGauge::new(i64::try_from(size).unwrap_or(i64::MAX));
            size.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let help = "How long ago a watch last got a list, an event or a bookmark; above 75 s something is wrong";
        let mut ages =
            encoder.encode_descriptor("keyrota_controller_watch_age", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for pulse in &self.pulses {
            let labels = [("watch", pulse.watch), ("namespace", pulse.namespace.as_str())];
            let age = ConstGauge::new(pulse.reading().silent.as_secs_f64());
            age.encode(ages.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Inventory {
    fn times(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        time: impl Fn(&ServiceAccount) -> Option<Timestamp>,
    ) -> fmt::Result {
        if !self.metrics.leads() {
            return Ok(());
        }
        let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for account in self.stores.accounts.iter().flat_map(kube::runtime::reflector::Store::state) {
            let Some(time) = time(&account) else { continue };
            let meta = &account.metadata;
            let labels = [
                ("namespace", meta.namespace.as_deref().unwrap_or_default()),
                ("name", meta.name.as_deref().unwrap_or_default()),
            ];
            ConstGauge::new(time.unix()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_counted_is_there_from_the_start() {
        let (metrics, mut registry, mut text) = (Metrics::default(), Registry::default(), String::new());
        metrics.register(&mut registry);
        metrics.pass("done", 0.001);
        metrics.published(Reason::Repaired);
        metrics.lead(true);
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "keyrota_controller_reconciles_total{outcome=\"done\"} 1",
            "keyrota_controller_reconciles_total{outcome=\"failed\"} 0",
            "keyrota_controller_reconcile_duration_seconds_count 1",
            "keyrota_controller_credentials_published_total{reason=\"Repaired\"} 1",
            "keyrota_controller_leader 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        }
    }
}
