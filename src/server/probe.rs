//! What probes and Prometheus are answered, in plain HTTP.

use http::header::CONTENT_TYPE;
use http::{HeaderName, StatusCode};
use prometheus_client::registry::Registry;

/// A text with its type.
pub type Text = (StatusCode, [(HeaderName, &'static str); 1], String);

/// 200 where nothing is wrong, else 503 with a line for each problem.
#[must_use]
pub fn report(problems: &[String]) -> Text {
    let plain = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    if problems.is_empty() {
        return (StatusCode::OK, plain, "ok\n".into());
    }
    (StatusCode::SERVICE_UNAVAILABLE, plain, problems.join("\n") + "\n")
}

/// All metrics, as OpenMetrics text.
#[must_use]
pub fn metrics(registry: &Registry) -> Text {
    let open_metrics = [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => (StatusCode::OK, open_metrics, text),
        Err(_) => report(&["the metrics cannot be encoded".to_owned()]),
    }
}
