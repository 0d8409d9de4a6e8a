//! What Prometheus sees of notices.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::domain::notice::{Channel, Outcome};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    channel: &'static str,
    result: &'static str,
}

/// Counts attempts.
#[derive(Clone, Debug)]
pub struct Metrics {
    notifications: Family<Labels, Counter>,
}

impl Default for Metrics {
    /// All there can be begin at zero: a rate needs a first value.
    fn default() -> Self {
        let notifications = Family::<Labels, Counter>::default();
        for channel in [Channel::Event, Channel::Email, Channel::Webhook] {
            for result in ["sent", "failed", "refused"] {
                drop(notifications.get_or_create_owned(&Labels { channel: channel.name(), result }));
            }
        }
        Self { notifications }
    }
}

impl Metrics {
    /// Registers `keyrota_notifications_total`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "keyrota_notifications",
            "Attempts to deliver an expiry notice: sent, failed and tried again, or refused for good",
            self.notifications.clone(),
        );
    }

    /// Counts an attempt.
    pub fn count(&self, channel: Channel, outcome: &Outcome) {
        let result = match outcome {
            Outcome::Sent => "sent",
            Outcome::Failed(_) => "failed",
            Outcome::Refused(_) => "refused",
            Outcome::Waiting(_) => return,
        };
        self.notifications.get_or_create(&Labels { channel: channel.name(), result }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_counted_by_channel_and_result() {
        let (metrics, mut registry, mut text) = (Metrics::default(), Registry::default(), String::new());
        metrics.register(&mut registry);
        metrics.count(Channel::Email, &Outcome::Failed("down".into()));
        metrics.count(Channel::Email, &Outcome::Waiting("down".into()));
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("keyrota_notifications_total{channel=\"Email\",result=\"failed\"} 1\n"), "{text}");
        assert!(text.contains("keyrota_notifications_total{channel=\"Webhook\",result=\"sent\"} 0\n"), "{text}");
    }
}
