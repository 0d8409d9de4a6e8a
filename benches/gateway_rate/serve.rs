//! The two servers that are compared.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::routing::post;
use axum::serve::ListenerExt;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use bytes::Bytes;
use clap::ValueEnum;
use keyrota::api::{Algorithm, TokenIssuer};
use keyrota::domain::keys::{Content, Keys, RING};
use keyrota::domain::signing::{self, SigningKey};
use keyrota::gateway::front::Front;
use keyrota::gateway::metrics::Metrics;
use keyrota::index::{Item, KeyFacts};
use keyrota::server::{self, Patience};
use keyrota::telemetry::{self, LogArgs, LogFormat};
use prometheus_client::registry::Registry;
use serde_json::json;
use zeroize::Zeroizing;

use crate::fixtures::{FakeLive, KEY, account, app, index};
use crate::{ACCOUNTS, credentials, load};

/// What runs in a process of its own, on core 0.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The manual's endpoint and the standard one with ES256
    Es256,
    /// The standard endpoint with `EdDSA`
    Eddsa,
    /// The standard endpoint with RS256
    Rs256,
    /// As es256, with TLS
    Tls,
    /// The floor of every request
    Echo,
    /// Prints bare signatures and handshakes per second
    Floors,
}

/// Runs until it is killed; the first line on standard output is the origin of its URLs.
pub fn run(part: Part) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = server::listen(([127, 0, 0, 1], 0).into())?;
        let scheme = if part == Part::Tls { "https" } else { "http" };
        println!("{scheme}://{}", listener.local_addr()?);
        match part {
            Part::Echo => echo(listener).await,
            Part::Eddsa => gateway(listener, Algorithm::EdDSA, None).await,
            Part::Rs256 => gateway(listener, Algorithm::RS256, None).await,
            Part::Tls => {
                let (certificate, key, _) = load::certificate()?;
                let config = server::tls_config(certificate.as_bytes(), key.as_bytes())?;
                gateway(listener, Algorithm::ES256, Some(RustlsConfig::from_config(Arc::new(config)))).await
            }
            Part::Es256 | Part::Floors => gateway(listener, Algorithm::ES256, None).await,
        }
    })
}

async fn gateway(listener: TcpListener, algorithm: Algorithm, tls: Option<RustlsConfig>) -> anyhow::Result<()> {
    let log = LogArgs { level: "info".into(), format: LogFormat::Json };
    tracing::subscriber::set_global_default(telemetry::subscriber(&log, std::io::sink)?)?;
    let numbered = |number| {
        let (client_id, secret) = credentials(number);
        account(&format!("account-{number}"), &client_id, &secret)
    };
    let accounts: Vec<_> = (0..ACCOUNTS).map(numbered).collect::<Result<_, _>>()?;
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let index = index(&accounts)?;
    index.apply(Item::Issuer(Box::new(issuer(algorithm)?)));
    index.apply(Item::Keys(Box::new(KeyFacts { issuer: "default".into(), keys: Arc::new(keys(algorithm)?) })));
    let app = app(&index, Arc::new(FakeLive::new(&accounts, false)), None, metrics)?;
    let handle: Handle<SocketAddr> = Handle::new();
    server::serve(listener, tls, Front::new(Arc::new(app), "http"), handle, Patience::default())
        .await
        .context("the gateway failed")
}

fn issuer(algorithm: Algorithm) -> anyhow::Result<TokenIssuer> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "keyrota.dev/v1alpha1", "kind": "TokenIssuer",
        "metadata": {
            "name": "default", "uid": "uid-of-default", "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"oauth": {"algorithm": signing::name(algorithm)}},
    }))?)
}

/// The issuer's Secret, as the controller writes it.
fn keys(algorithm: Algorithm) -> anyhow::Result<Keys> {
    let der = signing::generate(algorithm)?;
    let kid = SigningKey::from_pkcs8(algorithm, &der)?.kid().to_owned();
    let ring = json!({"schemaVersion": 1, "oauth": [{
        "kid": kid, "alg": signing::name(algorithm), "createdTime": "2026-01-01T00:00:00Z",
        "signsFrom": "2026-01-01T00:00:00Z", "longestTokenSeconds": 3600,
    }]});
    Ok(Keys::parse(Content::from([
        (RING.to_owned(), Zeroizing::new(serde_json::to_vec(&ring)?)),
        (format!("{kid}.p8"), der),
        ("legacy-current".to_owned(), Zeroizing::new(KEY.to_vec())),
    ])))
}

async fn echo(listener: TcpListener) -> anyhow::Result<()> {
    let router = Router::new().route(keyrota::gateway::legacy::PATH, post(async |body: Bytes| body));
    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
    });
    axum::serve(listener, router).await.context("the echo failed")
}
