//! The role: arguments, parts, listeners, shutdown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use axum_server::Handle;
use chrono::TimeDelta;
use clap::{Args, ValueEnum};
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::authority::Authority;
use super::health::{self, Health};
use super::inventory::feed;
use super::metrics::{Metrics, Present};
use super::session::Sessions;
use super::visit::App;
use super::{guard, router};
use crate::clock::SharedClock;
use crate::config::ClusterArgs;
use crate::domain::duration;
use crate::entropy::SharedEntropy;
use crate::server::phase::Phase;
use crate::server::{self, Patience, files};
use crate::telemetry::span;

/// Settings of `keyrota console`.
#[derive(Args, Clone, Debug)]
pub struct ConsoleArgs {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// The console's URL as browsers see it: forms are taken from there, and from nowhere else
    #[arg(long, env = "KEYROTA_CONSOLE_URL", default_value = "https://localhost:31444", value_name = "URL")]
    pub external_url: String,

    /// Where the pages are
    #[arg(long, env = "KEYROTA_CONSOLE_LISTEN", default_value = "0.0.0.0:8444", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// Where /healthz, /readyz and /metrics answer, in plain HTTP
    #[arg(long, env = "KEYROTA_CONSOLE_HEALTH_LISTEN", default_value = "0.0.0.0:8083", value_name = "ADDRESS")]
    pub health_listen: SocketAddr,

    /// Where the certificate comes from; off only behind a mesh or proxy that does TLS
    #[arg(long, env = "KEYROTA_CONSOLE_TLS", default_value = "files", value_name = "MODE")]
    pub tls: TlsMode,

    /// The certificate in PEM; a new one in it is used within seconds
    #[arg(
        long,
        env = "KEYROTA_CONSOLE_TLS_CERT_FILE",
        default_value = "/etc/keyrota/console-tls/tls.crt",
        value_name = "FILE"
    )]
    pub tls_cert_file: PathBuf,

    /// Its key in PEM
    #[arg(
        long,
        env = "KEYROTA_CONSOLE_TLS_KEY_FILE",
        default_value = "/etc/keyrota/console-tls/tls.key",
        value_name = "FILE"
    )]
    pub tls_key_file: PathBuf,

    /// How long to serve on, no longer ready, after being told to stop: load balancers need a moment to notice
    #[arg(long, env = "KEYROTA_CONSOLE_DRAIN", default_value = "3s", value_name = "DURATION", value_parser = duration::parse)]
    pub drain: TimeDelta,
}

/// Where the certificate comes from.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// From two files.
    Files,
    /// No TLS.
    Off,
}

/// Runs the console until `shutdown`; then stops being ready, serves on for `drain`, and ends the requests under way.
///
/// # Errors
/// When there is no cluster, an address cannot be had, or a listener fails.
pub async fn run(
    args: ConsoleArgs,
    clock: SharedClock,
    entropy: SharedEntropy,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let client = args.cluster.client().await?;
    let (holdings, watches, pulses) = feed::start(&client, &args.cluster);
    let sessions = Arc::new(Sessions::new(clock.clone(), entropy));
    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::register(&mut registry));
    let present = Present { holdings: holdings.clone(), sessions: sessions.clone(), pulses: pulses.clone() };
    registry.register_collector(Box::new(present));
    let authority = Arc::new(Authority::new(client, args.cluster.config().await?));
    let app = Arc::new(App { holdings: holdings.clone(), authority, sessions, clock, pace: guard::pace(), metrics });
    let origin = args.external_url.trim_end_matches('/');
    let pages = guard::around(router::router(), app, origin, args.tls == TlsMode::Files).with_context(|| {
        format!("--external-url {origin} is no origin: it must be https://HOST or https://HOST:PORT")
    })?;
    let pages = span::around(pages, router::paths(), if args.tls == TlsMode::Off { "http" } else { "https" });
    let phase = Arc::new(Phase::default());
    let health = Health { holdings, pulses, phase: phase.clone(), registry };
    // Both ports are taken before anything else, so that a port in use is an error at once.
    let (probes, listener) = (server::listen(args.health_listen)?, server::listen(args.listen)?);
    let mut background = JoinSet::new();
    background.spawn(server::serve(probes, None, health::router(health), Handle::new(), Patience::default()));
    for watch in watches {
        background.spawn(async move {
            watch.await;
            Ok(())
        });
    }
    let (loaded, first) = oneshot::channel();
    match args.tls {
        TlsMode::Off => drop(loaded.send(None)),
        TlsMode::Files => {
            let follow = files::follow(args.tls_cert_file, args.tls_key_file, files::LOOK, |config| {
                drop(loaded.send(Some(config)));
            });
            background.spawn(async move {
                follow.await;
                Ok(())
            });
        }
    }
    let drain = args.drain.to_std().unwrap_or_default();
    tokio::select! {
        served = phase.serve(listener, first, pages, drain, shutdown) => served,
        ended = background.join_next() => {
            ended.transpose().context("a part of the console panicked")?.transpose().context("a listener failed")?;
            anyhow::bail!("a part of the console ended by itself")
        }
    }
}
