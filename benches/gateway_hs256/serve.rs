//! The two servers that are compared.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::routing::post;
use axum::serve::ListenerExt;
use axum_server::Handle;
use bytes::Bytes;
use keyrota::gateway::metrics::Metrics;
use keyrota::gateway::router;
use keyrota::server::{self, Patience};
use keyrota::telemetry::{self, LogArgs, LogFormat};
use prometheus_client::registry::Registry;

use crate::fixtures::{FakeLive, account, app, index};
use crate::{ACCOUNTS, Server, credentials};

/// Runs until it is killed; the first line on standard output is the address.
pub fn run(server: Server) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = server::listen(([127, 0, 0, 1], 0).into())?;
        println!("{}", listener.local_addr()?);
        match server {
            Server::Gateway => gateway(listener).await,
            Server::Echo => echo(listener).await,
        }
    })
}

async fn gateway(listener: std::net::TcpListener) -> anyhow::Result<()> {
    let log = LogArgs { level: "info".into(), format: LogFormat::Json };
    tracing::subscriber::set_global_default(telemetry::subscriber(&log, std::io::sink)?)?;
    let numbered = |number| {
        let (client_id, secret) = credentials(number);
        account(&format!("account-{number}"), &client_id, &secret)
    };
    let accounts: Vec<_> = (0..ACCOUNTS).map(numbered).collect::<Result<_, _>>()?;
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let app = app(&index(&accounts)?, Arc::new(FakeLive::new(&accounts, false)), None, metrics)?;
    let handle: Handle<SocketAddr> = Handle::new();
    server::serve(listener, None, router::router(Arc::new(app)), handle, Patience::default())
        .await
        .context("the gateway failed")
}

async fn echo(listener: std::net::TcpListener) -> anyhow::Result<()> {
    let router = Router::new().route(keyrota::gateway::legacy::PATH, post(async |body: Bytes| body));
    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
    });
    axum::serve(listener, router).await.context("the echo failed")
}
