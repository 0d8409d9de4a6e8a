use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::routing::get;
use http::StatusCode;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use parking_lot::Mutex;
use rstest::rstest;
use tower::ServiceExt;

use super::super::otlp::sampler;
use super::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const CANARY: &str = "canary";

#[derive(Clone, Debug, Default)]
struct Sent(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Sent {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().extend(batch);
        Ok(())
    }
}

/// Sends one request, made from this one, and returns the spans that were sent.
async fn spans_of(ratio: f64, request: http::request::Builder) -> Vec<SpanData> {
    let sent = Sent::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(sent.clone()).with_sampler(sampler(ratio)).build();
    let paths = ["/accounts/{name}", "/broken"];
    let pages = Router::new()
        .route(paths[0], get(async || "shown"))
        .route(paths[1], get(async || StatusCode::SERVICE_UNAVAILABLE));
    let tracer = provider.tracer("test");
    let router = traced(pages, Serving { tracer, routes: routes(paths.into_iter()), scheme: "https" });
    router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    std::mem::take(&mut sent.0.lock())
}

async fn span_of(request: http::request::Builder) -> SpanData {
    let [span] = spans_of(1.0, request).await.try_into().unwrap();
    span
}

fn about(span: &SpanData) -> BTreeMap<String, String> {
    span.attributes.iter().map(|about| (about.key.to_string(), about.value.to_string())).collect()
}

fn from(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

#[tokio::test]
async fn a_request_is_a_span_by_the_conventions_whose_name_is_its_route() {
    let span = span_of(Request::get("/accounts/exporter?token=canary")).await;
    assert_eq!((span.name.as_ref(), &span.span_kind), ("GET /accounts/{name}", &SpanKind::Server));
    let expected = [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/accounts/{name}"),
        ("network.protocol.version", "1.1"),
        ("url.path", "/accounts/exporter"),
        ("url.scheme", "https"),
    ];
    assert_eq!(about(&span), expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    assert_eq!(span.status, Status::Unset);
}

#[tokio::test]
async fn only_a_failure_of_the_server_is_an_error() {
    let (absent, broken) = (span_of(Request::get("/nowhere")).await, span_of(Request::get("/broken")).await);
    assert_eq!((absent.status.clone(), about(&absent).get("error.type")), (Status::Unset, None));
    assert_eq!((broken.status.clone(), about(&broken)["error.type"].as_str()), (Status::error(""), "503"));
}

#[tokio::test]
async fn a_span_belongs_to_the_trace_of_its_caller() {
    let span = span_of(Request::get("/broken").header("traceparent", from("01"))).await;
    assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!((span.parent_span_id.to_string().as_str(), span.parent_span_is_remote), (CALLER, true));
}

#[rstest]
#[case::two(&["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"; 2])]
#[case::cut_off(&["00-0af7651916cd43dd8448eb211c80319c"])]
#[case::nobodys(&["00-00000000000000000000000000000000-b7ad6b7169203331-01"])]
#[case::words(&["canary"])]
#[tokio::test]
async fn a_malformed_parent_is_none(#[case] values: &[&str]) {
    let request = values.iter().fold(Request::get("/broken"), |request, value| request.header("traceparent", *value));
    let span = span_of(request).await;
    assert_eq!((span.parent_span_id, span.span_context.trace_id().to_string() == TRACE), (SpanId::INVALID, false));
}

#[rstest]
#[case::caller_says_yes(0.0, Some("01"), 1)]
#[case::caller_says_no(1.0, Some("00"), 0)]
#[case::nobody_asked_and_none_wanted(0.0, None, 0)]
#[case::nobody_asked_and_all_wanted(1.0, None, 1)]
#[tokio::test]
async fn the_caller_decides_and_else_the_ratio(#[case] ratio: f64, #[case] flags: Option<&str>, #[case] sent: usize) {
    let request = Request::get("/broken");
    let request = flags.iter().fold(request, |request, flags| request.header("traceparent", from(flags)));
    assert_eq!(spans_of(ratio, request).await.len(), sent);
}

#[rstest]
#[case(Request::get("/accounts/exporter?client_secret=canary"))]
#[case(Request::get("/canary"))]
#[case(Request::get("/canary/../accounts/x"))]
#[case(Request::builder().method("CANARY").uri("/broken"))]
#[case(Request::get("/broken").header("authorization", "Basic canary"))]
#[case(Request::get("/broken").header("host", "canary"))]
#[case(Request::get("/broken").header("user-agent", "canary").header("cookie", "canary"))]
#[case(Request::get("/broken").header("traceparent", from("01")).header("tracestate", "canary=canary"))]
#[case(Request::get("/broken").header("traceparent", from("01")).header("baggage", "canary=canary"))]
#[tokio::test]
async fn nothing_else_that_a_caller_wrote_is_in_a_span(#[case] request: http::request::Builder) {
    let span = format!("{:?}", span_of(request).await).to_lowercase();
    assert!(!span.contains(CANARY), "{span}");
}
