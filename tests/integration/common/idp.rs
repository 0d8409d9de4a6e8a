//! A foreign issuer: key pairs, tokens, and a TLS server that publishes its keys.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use keyrota::server::{self, Patience};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

/// The claim `iss` of its tokens.
pub(crate) const ISSUER: &str = "https://idp.example";

/// A key pair of P-256.
pub(crate) struct Key {
    kid: &'static str,
    pair: EncodingKey,
}

impl Key {
    pub(crate) fn new(kid: &'static str) -> Self {
        server::install_crypto();
        Self { kid, pair: EncodingKey::from_ec_der(&KeyPair::generate().unwrap().serialize_der()) }
    }

    /// A set of its public half alone.
    pub(crate) fn set(&self) -> String {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.pair, Algorithm::ES256).unwrap()).unwrap();
        jwk["kid"] = json!(self.kid);
        json!({ "keys": [jwk] }).to_string()
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.into()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.pair).unwrap()
    }
}

struct Shared {
    set: Mutex<String>,
    asked: AtomicUsize,
}

/// Its server, and the file with its authority's certificate.
pub(crate) struct Idp {
    pub(crate) address: SocketAddr,
    pub(crate) ca: tempfile::NamedTempFile,
    shared: Arc<Shared>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Idp {
    pub(crate) async fn start(set: String) -> Self {
        server::install_crypto();
        let (authority, certificate, key) = certificate();
        let mut ca = tempfile::NamedTempFile::new().unwrap();
        ca.write_all(authority.as_bytes()).unwrap();
        let tls = server::tls_config(certificate.as_bytes(), key.as_bytes()).unwrap();
        let shared = Arc::new(Shared { set: Mutex::new(set), asked: AtomicUsize::new(0) });
        let routes = Router::new()
            .route("/jwks", get(keys))
            .route("/moved", get(|| async { (StatusCode::FOUND, [(LOCATION, "/jwks")]) }))
            .route("/huge", get(huge))
            .with_state(shared.clone());
        let listener = server::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let (address, handle) = (listener.local_addr().unwrap(), Handle::new());
        let tls = Some(RustlsConfig::from_config(Arc::new(tls)));
        let served = tokio::spawn(server::serve(listener, tls, routes, handle.clone(), Patience::default()));
        handle.listening().await;
        Self { address, ca, shared, served }
    }

    /// By the name that its certificate has.
    pub(crate) fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("https://{}{path}", self.host())
    }

    pub(crate) fn publishes(&self, set: String) {
        *self.shared.set.lock() = set;
    }

    /// How often its keys were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(SeqCst)
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        self.served.abort();
    }
}

async fn keys(State(shared): State<Arc<Shared>>) -> String {
    shared.asked.fetch_add(1, SeqCst);
    shared.set.lock().clone()
}

/// A gigabyte, in pieces and without a Content-Length.
async fn huge() -> Response {
    let pieces = (0..1_000_000).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 1000])));
    axum::body::Body::from_stream(futures::stream::iter(pieces)).into_response()
}

/// An authority and a certificate of it for localhost, with its key; all PEM.
pub(crate) fn certificate() -> (String, String, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = authority.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(authority, ca_key)).unwrap();
    (ca, leaf.pem(), key.serialize_pem())
}
