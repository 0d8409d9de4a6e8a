//! A webhook receiver that checks signatures as Standard Webhooks asks, with code of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use aws_lc_rs::hmac;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyrota::controlplane::ControlPlane;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::eventually;
use super::operator::SOON;

const KEY: [u8; 32] = *b"a webhook key of thirty-two byte";

/// One request, whose signature was good.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) timestamp: i64,
    pub(crate) event: Value,
}

struct Shared {
    answer: AtomicU16,
    received: Mutex<Vec<Received>>,
    answering: tokio::sync::watch::Sender<bool>,
}

/// A running receiver.
pub(crate) struct Receiver {
    pub(crate) url: String,
    shared: Arc<Shared>,
    key: TempDir,
    server: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// One that answers with this status.
    pub(crate) async fn answering(status: u16) -> Self {
        let shared = Arc::new(Shared {
            answer: AtomicU16::new(status),
            received: Mutex::default(),
            answering: tokio::sync::watch::Sender::new(true),
        });
        let router = Router::new().route("/hook", post(take)).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let key = TempDir::new().unwrap();
        std::fs::write(key.path().join("key"), format!("whsec_{}\n", STANDARD.encode(KEY))).unwrap();
        Self { url, shared, key, server }
    }

    /// From now on it answers otherwise.
    pub(crate) fn answer(&self, status: u16) {
        self.shared.answer.store(status, Relaxed);
    }

    /// From now on it takes requests, and answers only after `release`.
    pub(crate) fn hold(&self) {
        self.shared.answering.send_replace(false);
    }

    pub(crate) fn release(&self) {
        self.shared.answering.send_replace(true);
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.key.path().join("key")
    }

    pub(crate) fn flags(&self) -> Vec<String> {
        vec!["--webhook-key-file".into(), self.key_file().to_str().unwrap().into()]
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().clone()
    }

    /// Waits until there were this many requests.
    pub(crate) async fn until(&self, count: usize) -> Vec<Received> {
        eventually(&format!("{count} webhook requests have come"), SOON, async || {
            Some(self.received()).filter(|received| received.len() >= count)
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
    let content = format!("{id}.{timestamp}.{body}");
    let good = header("webhook-signature").split(' ').any(|signature| {
        let bytes = signature.strip_prefix("v1,").and_then(|signature| STANDARD.decode(signature).ok());
        bytes.is_some_and(|bytes| hmac::verify(&key, content.as_bytes(), &bytes).is_ok())
    });
    if !good || !header("content-type").starts_with("application/cloudevents+json") {
        return StatusCode::UNAUTHORIZED;
    }
    let event = serde_json::from_str(&body).unwrap();
    shared.received.lock().push(Received { id, timestamp: timestamp.parse().unwrap(), event });
    let _ = shared.answering.subscribe().wait_for(|answering| *answering).await;
    StatusCode::from_u16(shared.answer.load(Relaxed)).unwrap()
}

/// A token issuer for one tenant namespace alone; goes when the test ends.
pub(crate) struct TestIssuer {
    name: String,
    config: kube::Config,
}

impl TestIssuer {
    pub(crate) async fn with(control_plane: &ControlPlane, namespace: &str, notifications: Value) -> Self {
        Self::of(control_plane, namespace, json!({"notifications": notifications})).await
    }

    /// That trusts one foreign issuer, whichever: its External accounts are Ready.
    pub(crate) async fn trusting(control_plane: &ControlPlane, namespace: &str) -> Self {
        let trusted = json!([{"name": "cluster", "issuer": "https://kubernetes.default.svc", "kubernetes": true}]);
        Self::of(control_plane, namespace, json!({"trustedIssuers": trusted})).await
    }

    /// With this spec, besides the namespace.
    pub(crate) async fn of(control_plane: &ControlPlane, namespace: &str, mut spec: Value) -> Self {
        spec["namespaces"] = json!([namespace]);
        let issuers: Api<keyrota::api::TokenIssuer> = Api::all(control_plane.client().unwrap());
        let issuer = json!({
            "apiVersion": "keyrota.dev/v1alpha1", "kind": "TokenIssuer", "metadata": {"name": namespace},
            "spec": spec,
        });
        issuers.create(&PostParams::default(), &serde_json::from_value(issuer).unwrap()).await.unwrap();
        Self { name: namespace.into(), config: control_plane.client_config() }
    }

    /// Merges a change into its spec.
    pub(crate) async fn edit(&self, change: Value) {
        let issuers: Api<keyrota::api::TokenIssuer> = Api::all(Client::try_from(self.config.clone()).unwrap());
        let patch = Patch::Merge(json!({"spec": change}));
        issuers.patch(&self.name, &PatchParams::default(), &patch).await.unwrap();
    }
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        let (name, config) = (self.name.clone(), self.config.clone());
        let delete = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                let issuers: Api<keyrota::api::TokenIssuer> = Api::all(Client::try_from(config).ok()?);
                issuers.delete(&name, &DeleteParams::default()).await.ok()
            })
        };
        let _ = std::thread::spawn(delete).join();
    }
}
