//! The way of spans out of the process: a bounded queue, and a thread that sends what is in it. A full queue drops spans,
//! and says so when that begins and how many there were at the end; nobody ever waits for it.

use std::time::Duration;

use anyhow::ensure;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

use super::span;

/// What is given to the last batch: with the 3 s of the drain and the 25 s of the requests under way, the 30 s of a Pod.
const LAST_BATCH: Duration = Duration::from_secs(2);

/// Sends the spans that still wait when it is dropped, for two seconds.
pub struct Exporting(SdkTracerProvider);

pub(super) fn begin(endpoint: &str, ratio: f64, service: &'static str) -> anyhow::Result<Exporting> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource(service))
        .with_sampler(sampler(ratio))
        .build();
    ensure!(span::send(provider.tracer("keyrota")), "spans are sent already");
    Ok(Exporting(provider))
}

/// A caller that has decided has decided for us: else there would be traces with holes.
pub(super) fn sampler(ratio: f64) -> Sampler {
    Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)))
}

/// What the environment says, and what it leaves open.
fn resource(service: &'static str) -> Resource {
    let said = Resource::builder().build();
    let name = said.get(&Key::from_static_str("service.name")).map(|name| name.to_string()).unwrap_or_default();
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    match name.starts_with("unknown_service") {
        true => resource.with_service_name(service).build(),
        false => resource.build(),
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_BATCH) {
            tracing::warn!(%error, "the last spans may not have been sent");
        }
    }
}
