//! An OpenTelemetry collector that keeps what it is sent, decoded with OpenTelemetry's own types.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::watch;

use super::eventually;
use super::operator::SOON;

/// One span, as a backend would show it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for the first of a trace.
    pub(crate) parent: String,
    pub(crate) about: BTreeMap<String, String>,
}

struct Shared {
    received: Mutex<Vec<Bytes>>,
    answering: watch::Sender<bool>,
}

/// A running collector.
pub(crate) struct Collector {
    pub(crate) url: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared { received: Mutex::default(), answering: watch::Sender::new(true) });
        let router = Router::new().route("/v1/traces", post(take)).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, server }
    }

    /// From now on it takes spans, and never answers.
    pub(crate) fn hang(&self) {
        self.shared.answering.send_replace(false);
    }

    /// Every byte that has come.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.shared.received.lock().concat()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let received = self.shared.received.lock().clone();
        received.into_iter().flat_map(|body| decoded(&ExportTraceServiceRequest::decode(body).unwrap())).collect()
    }

    /// Waits until a span like this has come.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Span) -> bool) -> Span {
        eventually(what, SOON, async || self.spans().into_iter().find(&wanted)).await
    }

    /// Waits until anything has come.
    pub(crate) async fn until_any(&self) {
        let some = async || (!self.shared.received.lock().is_empty()).then_some(());
        eventually("the collector was sent something", SOON, some).await;
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if headers.get("content-type").is_none_or(|type_| type_ != "application/x-protobuf") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    shared.received.lock().push(body);
    let _ = shared.answering.subscribe().wait_for(|answering| *answering).await;
    StatusCode::OK
}

fn decoded(request: &ExportTraceServiceRequest) -> Vec<Span> {
    let mut all = Vec::new();
    for of_process in &request.resource_spans {
        let resource = about(&of_process.resource.as_ref().unwrap().attributes);
        for span in of_process.scope_spans.iter().flat_map(|scope| &scope.spans) {
            all.push(Span {
                service: resource["service.name"].clone(),
                name: span.name.clone(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                about: about(&span.attributes),
            });
        }
    }
    all
}

fn about(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    attributes.iter().map(|about| (about.key.clone(), text(about.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
