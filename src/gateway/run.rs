//! The role: arguments, parts, listeners, shutdown.

use std::future::Future;
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

use super::assertion::args::ForeignArgs;
use super::endpoint::{App, BODY_TIME, Dependencies, EVEN_TIME};
use super::freshen::Pace;
use super::front::Front;
use super::health::{self, Health};
use super::limit::args::LimitArgs;
use super::metrics::{IndexMetrics, Metrics};
use super::usage::{Ledger, Publisher};
use super::{certificate, identity};
use crate::clock::SharedClock;
use crate::config::{self, ClusterArgs, ExternalArgs};
use crate::domain::duration;
use crate::entropy::{Gathered, SystemEntropy};
use crate::index::live::KubeLive;
use crate::index::{Feed, Index, feed};
use crate::server::phase::Phase;
use crate::server::{self, Patience};

/// Settings of the gateway.
#[derive(Args, Clone, Debug)]
pub struct GatewayArgs {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Where clients find the gateway
    #[command(flatten)]
    pub external: ExternalArgs,

    /// Where tokens are issued
    #[arg(long, env = "KEYROTA_GATEWAY_LISTEN", default_value = "0.0.0.0:8443", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// Where /healthz, /readyz and /metrics answer, in plain HTTP
    #[arg(long, env = "KEYROTA_GATEWAY_HEALTH_LISTEN", default_value = "0.0.0.0:8081", value_name = "ADDRESS")]
    pub health_listen: SocketAddr,

    /// Where the certificate comes from; off only behind a mesh or proxy that does TLS
    #[arg(long, env = "KEYROTA_GATEWAY_TLS", default_value = "secret", value_name = "MODE")]
    pub tls: TlsMode,

    /// The kubernetes.io/tls Secret in the operator namespace; a new certificate in it is used at once
    #[arg(long, env = "KEYROTA_GATEWAY_TLS_SECRET", default_value = "keyrota-gateway-tls", value_name = "NAME")]
    pub tls_secret: String,

    /// This replica's name, under which it reports when credentials were used [default: the host name]
    #[arg(long, env = "KEYROTA_GATEWAY_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// Before anything else, wait until this directory holds a service account's token: the controller of the same Pod
    /// puts it there
    #[arg(long, env = "KEYROTA_GATEWAY_WAIT_FOR_IDENTITY", value_name = "DIR")]
    pub wait_for_identity: Option<PathBuf>,

    /// How long tokens are issued on while the API server is away
    #[arg(long, env = "KEYROTA_GATEWAY_MAX_STALE", default_value = "1h", value_name = "DURATION", value_parser = duration::parse)]
    pub max_stale: TimeDelta,

    /// Foreign issuers' keys.
    #[command(flatten)]
    pub foreign: ForeignArgs,

    /// The limits on failures.
    #[command(flatten)]
    pub limit: LimitArgs,

    /// How long to serve on, no longer ready, after being told to stop: load balancers need a moment to notice
    #[arg(long, env = "KEYROTA_GATEWAY_DRAIN", default_value = "3s", value_name = "DURATION", value_parser = duration::parse)]
    pub drain: TimeDelta,
}

/// Where the certificate comes from.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// From a Secret.
    Secret,
    /// No TLS.
    Off,
}

/// Runs the gateway until `shutdown`; then stops being ready, serves on for `drain`, and ends the requests under way.
///
/// # Errors
/// When there is no cluster, an address cannot be had, or a listener fails.
pub async fn run(args: GatewayArgs, clock: SharedClock, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    // Both ports are taken before anything else, so that a port in use is an error at once.
    let (probes, tokens) = (server::listen(args.health_listen)?, server::listen(args.listen)?);
    tokio::pin!(shutdown);
    if let Some(directory) = &args.wait_for_identity {
        tokio::select! {
            there = identity::wait(directory, &probes) => there?,
            () = &mut shutdown => return Ok(()),
        }
    }
    let client = args.cluster.client().await?;
    let namespace = args.cluster.operator_namespace.clone();
    let index = Arc::new(Index::new(Feed::all(&args.cluster.watch_namespaces)));
    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::register(&mut registry));
    registry.register_collector(Box::new(IndexMetrics { index: index.clone(), clock: clock.clone() }));
    let ledger = Arc::new(Ledger::default());
    let live = KubeLive::new(client.clone(), &namespace, args.cluster.watch_namespaces.clone());
    let clients = args.limit.clients();
    let nodes = clients.nodes.clone();
    let dependencies = Dependencies {
        accounts: index.clone(),
        live: Arc::new(live),
        clock: clock.clone(),
        entropy: Arc::new(Gathered::from(SystemEntropy)),
        external_url: args.external.url().to_owned(),
        max_stale: args.max_stale,
        pace: Pace::default(),
        body_time: BODY_TIME,
        even_time: EVEN_TIME,
        metrics,
        ledger: ledger.clone(),
        foreign: args.foreign.foreign(client.clone())?,
        clients,
    };
    let app = Arc::new(App::new(dependencies)?);
    let phase = Arc::new(Phase::default());
    let max_stale = args.max_stale;
    let health =
        Arc::new(Health { index: index.clone(), clock: clock.clone(), max_stale, registry, phase: phase.clone() });
    let identity = args.identity.clone().unwrap_or_else(config::host_name);
    let publisher =
        Arc::new(Publisher::new(ledger, index.clone(), clock.clone(), client.clone(), &namespace, &identity));
    let mut background = JoinSet::new();
    let keeper = publisher.clone();
    background.spawn(async move {
        keeper.keep_publishing().await;
        Ok(())
    });
    background.spawn(server::serve(probes, None, health::router(health), Handle::new(), Patience::default()));
    let feeds = feed::run(client.clone(), namespace.clone(), index, clock);
    background.spawn(async move {
        feeds.await;
        Ok(())
    });
    if args.limit.exempt_nodes {
        let client = client.clone();
        background.spawn(async move {
            nodes.follow(client).await;
            Ok(())
        });
    }
    let (loaded, first) = oneshot::channel();
    match args.tls {
        TlsMode::Off => drop(loaded.send(None)),
        TlsMode::Secret => {
            let follow = certificate::follow(client, namespace, args.tls_secret.clone(), |config| {
                drop(loaded.send(Some(config)));
            });
            background.spawn(async move {
                follow.await;
                Ok(())
            });
        }
    }
    let drain = args.drain.to_std().unwrap_or_default();
    let scheme = if args.tls == TlsMode::Off { "http" } else { "https" };
    let serving = phase.serve(tokens, first, Front::new(app, scheme), drain, shutdown);
    tokio::select! {
        served = serving => {
            // The last grants, too: nothing is lost by an orderly stop.
            publisher.publish().await;
            served
        }
        ended = background.join_next() => {
            ended.transpose().context("a part of the gateway panicked")?.transpose().context("a listener failed")?;
            anyhow::bail!("a part of the gateway ended by itself")
        }
    }
}
