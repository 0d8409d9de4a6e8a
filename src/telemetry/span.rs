//! One span for each request and each pass, after OpenTelemetry's semantic conventions. Nothing that a caller wrote gets
//! into one but the IDs of `traceparent`, the method, and the path if it is one of ours: people paste secrets into the
//! wrong field, query strings hold some, and a trace is read by many.

use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::{HeaderMap, Method, Version};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{FutureExt, SpanBuilder, SpanId, SpanKind, Status, TraceContextExt, TraceId, Tracer};
use opentelemetry::{Context, KeyValue, StringValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;

/// Of this process; absent while no endpoint is given.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// From now on spans are made. False if they are already.
pub(super) fn send(tracer: SdkTracer) -> bool {
    TRACER.set(tracer).is_ok()
}

/// Whether spans are sent at all.
#[must_use]
pub fn are_sent() -> bool {
    TRACER.get().is_some()
}

/// The span that a line of the log is in.
pub(super) struct Ids {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
}

/// None outside of any span.
pub(super) fn ids() -> Option<Ids> {
    Context::map_current(|context| {
        let span = context.has_active_span().then(|| context.span().span_context().clone())?;
        span.is_valid().then(|| Ids { trace: span.trace_id(), span: span.span_id() })
    })
}

/// Puts a span around each request to `router`, which serves these paths as `scheme`, http or https; the same router while
/// no spans are sent.
pub fn around<P: Into<String>>(router: Router, paths: impl Iterator<Item = P>, scheme: &'static str) -> Router {
    match TRACER.get() {
        None => router,
        Some(tracer) => traced(router, Serving { tracer: tracer.clone(), routes: routes(paths), scheme }),
    }
}

fn traced(router: Router, serving: Serving) -> Router {
    router.layer(middleware::from_fn_with_state(serving, serve))
}

#[derive(Clone)]
struct Serving {
    tracer: SdkTracer,
    routes: Arc<matchit::Router<StringValue>>,
    scheme: &'static str,
}

/// What the router cannot hold, it does not route either.
fn routes<P: Into<String>>(paths: impl Iterator<Item = P>) -> Arc<matchit::Router<StringValue>> {
    let mut routes = matchit::Router::new();
    for path in paths.map(Into::into) {
        let _ = routes.insert(path.clone(), path.into());
    }
    Arc::new(routes)
}

async fn serve(State(serving): State<Serving>, request: Request, next: Next) -> Response {
    let context = serving.begin(&request);
    let response = next.run(request).with_context(context.clone()).await;
    let (span, status) = (context.span(), response.status());
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_server_error() {
        span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
        span.set_status(Status::error(""));
    }
    span.end();
    response
}

impl Serving {
    fn begin(&self, request: &Request) -> Context {
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Parent(request.headers()));
        let method = known(request.method());
        let mut about = vec![
            KeyValue::new("http.request.method", method.unwrap_or("_OTHER")),
            KeyValue::new("url.scheme", self.scheme),
        ];
        about.extend(protocol(request.version()).map(|version| KeyValue::new("network.protocol.version", version)));
        let mut name = method.unwrap_or("HTTP").to_owned();
        // A path that is nobody's may hold anything.
        let path = request.uri().path();
        if let Ok(found) = self.routes.at(path) {
            name = format!("{name} {}", found.value);
            about.push(KeyValue::new("http.route", found.value.clone()));
            about.push(KeyValue::new("url.path", path.to_owned()));
        }
        let span = SpanBuilder::from_name(name).with_kind(SpanKind::Server).with_attributes(about);
        parent.with_span(self.tracer.build_with_context(span, &parent))
    }
}

/// The one header that is read. More than one is none (W3C Trace Context section 3.2.1), and `tracestate` may hold
/// anything.
struct Parent<'a>(&'a HeaderMap);

impl Extractor for Parent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.0.get_all("traceparent").iter();
        let (value, more) = (values.next(), values.next());
        value.filter(|_| key == "traceparent" && more.is_none())?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

/// Another method is whatever the caller wrote.
fn known(method: &Method) -> Option<&'static str> {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    known.into_iter().find(|known| method.as_str() == *known)
}

fn protocol(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}

/// Does some work in a span of its own, which begins a trace.
pub async fn within<T, const N: usize>(
    name: &'static str,
    about: impl FnOnce() -> [(&'static str, Option<String>); N],
    work: impl Future<Output = T>,
) -> T {
    let Some(tracer) = TRACER.get() else { return work.await };
    let span = SpanBuilder::from_name(name).with_kind(SpanKind::Internal).with_attributes(attributes(about()));
    let begun = Context::new();
    let context = begun.with_span(tracer.build_with_context(span, &begun));
    work.with_context(context).await
}

/// Says more about the span that this is called in.
pub fn note<const N: usize>(about: impl FnOnce() -> [(&'static str, Option<String>); N]) {
    if are_sent() {
        Context::map_current(|context| context.span().set_attributes(attributes(about())));
    }
}

/// Says that what the span that this is called in stands for has failed: what kind of failure, and why.
pub fn failed(kind: &'static str, why: impl Display) {
    if are_sent() {
        Context::map_current(|context| {
            context.span().set_attribute(KeyValue::new("error.type", kind));
            context.span().set_status(Status::error(why.to_string()));
        });
    }
}

fn attributes<const N: usize>(about: [(&'static str, Option<String>); N]) -> Vec<KeyValue> {
    about.into_iter().filter_map(|(key, value)| Some(KeyValue::new(key, value?))).collect()
}

#[cfg(test)]
#[path = "span_tests.rs"]
mod tests;
