//! Where spans go, and how many of them.

use clap::Args;

/// Settings of spans. Everything else is taken from the environment as OpenTelemetry has it: OTEL_EXPORTER_OTLP_HEADERS,
/// OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME, and OTEL_BSP_* for the queue.
#[derive(Args, Clone, Debug)]
pub struct TraceArgs {
    /// The OpenTelemetry collector that spans are sent to, in OTLP over HTTP; /v1/traces is added [default: none]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true, value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// How many of the traces that begin here are sent, from 0 to 1; of others, what their caller has decided
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value = "1", value_name = "RATIO", value_parser = ratio)]
    pub trace_ratio: f64,
}

fn ratio(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "it is a number from 0 to 1".to_owned())
}

#[cfg(feature = "otlp")]
pub use super::otlp::Exporting;

/// Nothing that could be dropped.
#[cfg(not(feature = "otlp"))]
pub enum Exporting {}

/// Begins to send spans, if there is somewhere to send them: once in a process, outside of any runtime.
///
/// # Errors
/// When the endpoint is no URL of HTTP, or this program cannot send spans.
pub(super) fn start(args: &TraceArgs, service: &'static str) -> anyhow::Result<Option<Exporting>> {
    // An empty value is what an unset one in a manifest comes to.
    let Some(endpoint) = args.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty()) else {
        return Ok(None);
    };
    begin(endpoint, args.trace_ratio, service).map(Some)
}

#[cfg(feature = "otlp")]
fn begin(endpoint: &str, ratio: f64, service: &'static str) -> anyhow::Result<Exporting> {
    use anyhow::{Context, ensure};

    // Not quoted: a URL may hold a password.
    let url = reqwest::Url::parse(endpoint).context("--otlp-endpoint is no URL")?;
    ensure!(["http", "https"].contains(&url.scheme()), "--otlp-endpoint must begin with http:// or https://");
    super::otlp::begin(endpoint, ratio, service).context("spans cannot be sent to --otlp-endpoint")
}

#[cfg(not(feature = "otlp"))]
fn begin(_: &str, _: f64, _: &'static str) -> anyhow::Result<Exporting> {
    anyhow::bail!("this keyrota was built without the feature otlp: leave --otlp-endpoint out, or build it with it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0", Some(0.0))]
    #[case("0.25", Some(0.25))]
    #[case("1", Some(1.0))]
    #[case("1.1", None)]
    #[case("-0.1", None)]
    #[case("NaN", None)]
    #[case("", None)]
    fn a_ratio_is_from_none_to_all(#[case] text: &str, #[case] expected: Option<f64>) {
        assert_eq!(ratio(text).ok(), expected);
    }

    #[rstest]
    #[case(None)]
    #[case(Some(""))]
    fn nothing_is_begun_without_an_endpoint(#[case] endpoint: Option<&str>) {
        let args = TraceArgs { otlp_endpoint: endpoint.map(str::to_owned), trace_ratio: 1.0 };
        assert!(matches!(start(&args, "keyrota-test"), Ok(None)));
        assert!(!super::super::span::are_sent());
    }

    #[cfg(feature = "otlp")]
    #[rstest]
    #[case("collector:4318")]
    #[case("collector")]
    #[case("grpc://user:s3cret@collector:4317")]
    #[case("unix:///run/s3cret")]
    fn an_endpoint_that_cannot_be_used_is_refused_without_being_quoted(#[case] endpoint: &str) {
        let args = TraceArgs { otlp_endpoint: Some(endpoint.to_owned()), trace_ratio: 1.0 };
        let error = format!("{:#}", start(&args, "keyrota-test").map(drop).unwrap_err());
        assert!(error.contains("--otlp-endpoint") && !error.contains("s3cret"), "{error}");
    }

    #[cfg(not(feature = "otlp"))]
    #[test]
    fn a_program_that_cannot_send_spans_says_so() {
        let args = TraceArgs { otlp_endpoint: Some("http://collector:4318".into()), trace_ratio: 1.0 };
        let error = format!("{:#}", start(&args, "keyrota-test").map(drop).unwrap_err());
        assert!(error.contains("without the feature otlp"), "{error}");
    }
}
