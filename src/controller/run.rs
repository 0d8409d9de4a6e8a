//! The controller as a process: it watches from the start, writes while it leads, and ends in order.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;

use anyhow::Context as _;
use axum_server::Handle;
use chrono::TimeDelta;
use clap::Args;
use futures::future::FutureExt;
use kube::Client;
use kube::runtime::reflector::Store;
use tokio::task::JoinSet;

use super::backlog::Backlog;
use super::certificates::Ours;
use super::context::{Context, Settings};
use super::deadlines::Deadlines;
use super::health::{self, Health};
use super::identity::{IdentityArgs, Keeper};
use super::lease::Election;
use super::metrics::Metrics;
use super::notify::{NoticeArgs, Ways};
use super::term::Term;
use super::triggers::Triggers;
use super::watches;
use crate::clock::SharedClock;
use crate::config::{ClusterArgs, ExternalArgs, MaybeAddress};
use crate::domain::verifier::HashCost;
use crate::entropy::{EntropyError, SharedEntropy};
use crate::server::{self, Patience};

/// Settings of `keyrota controller`.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// The cluster and what of it is ours
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Where clients find the gateway
    #[command(flatten)]
    pub external: ExternalArgs,

    /// Who makes the gateway's certificate: "own" keeps a CA and a certificate in the operator namespace, "given" leaves
    /// that to somebody else
    #[arg(long, env = "KEYROTA_GATEWAY_CERTIFICATE", default_value = "own", value_parser = ["own", "given"])]
    pub gateway_certificate: String,

    /// Further host names and addresses of the gateway's own certificate, separated by commas
    #[arg(long, env = "KEYROTA_GATEWAY_NAMES", value_delimiter = ',', value_name = "NAMES")]
    pub gateway_names: Vec<String>,

    /// The identity of a gateway in the same Pod
    #[command(flatten)]
    pub identity_of_gateway: IdentityArgs,

    /// Host names and addresses of the console's certificate, separated by commas: with any, a certificate for them is
    /// kept in the Secret keyrota-console-tls, signed by the same CA as the gateway's [default: none]
    #[arg(long, env = "KEYROTA_CONSOLE_NAMES", value_delimiter = ',', value_name = "NAMES")]
    pub console_names: Vec<String>,

    /// Argon2id memory for generated secrets, in KiB
    #[arg(long, env = "KEYROTA_HASH_MEMORY_KIB", default_value_t = HashCost::GENERATED.memory_kib, value_name = "KIB")]
    pub hash_memory_kib: u32,

    /// Argon2id passes for generated secrets
    #[arg(long, env = "KEYROTA_HASH_PASSES", default_value_t = HashCost::GENERATED.passes, value_name = "N")]
    pub hash_passes: u32,

    /// How many days the inventory remembers a deleted account
    #[arg(long, env = "KEYROTA_TOMBSTONE_DAYS", default_value_t = 30, value_name = "DAYS")]
    pub tombstone_days: u32,

    /// How people are told that a secret expires
    #[command(flatten)]
    pub notices: NoticeArgs,

    /// How many accounts' statuses are updated in a second because their credentials were used
    #[arg(long, env = "KEYROTA_USAGE_WRITES_PER_SECOND", default_value = "2", value_name = "N")]
    pub usage_writes_per_second: NonZeroU32,

    /// Write only while holding the lease keyrota-controller in the operator namespace; needed with more than one replica
    #[arg(long, env = "KEYROTA_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub leader_elect: bool,

    /// This process's name in the lease [default: the host's name and a random suffix]
    #[arg(long, env = "KEYROTA_IDENTITY", value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub identity: Option<String>,

    /// Where /healthz, /readyz and /metrics answer, in plain HTTP; empty for nowhere
    #[arg(long, env = "KEYROTA_CONTROLLER_HEALTH_LISTEN", default_value = "0.0.0.0:8082", value_name = "ADDRESS")]
    pub health_listen: MaybeAddress,

    /// How many accounts are worked on at once
    #[arg(long, env = "KEYROTA_CONCURRENCY", default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
}

/// Runs until `shutdown` ends; passes under way are finished first, and the lease is given back.
///
/// # Errors
/// When the cluster cannot be used at all, or a part ended that never does.
pub async fn run(
    args: ControllerArgs,
    clock: SharedClock,
    entropy: SharedEntropy,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    run_with(args, clock, entropy, Backlog::default(), shutdown).await
}

/// [`run`] for one who wants to know what is left to do.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    args: ControllerArgs,
    clock: SharedClock,
    entropy: SharedEntropy,
    backlog: Backlog,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let metrics = Metrics::default();
    let client = metrics.counted(&args.cluster.client().await?);
    let settings = settings(&args, metrics.clone(), &client)?;
    let shutdown = shutdown.boxed().shared();
    let triggers = Arc::new(Triggers::new(backlog.clone()));
    let mut background = JoinSet::new();
    // Before anything is waited for: the gateway in this Pod waits for it.
    if let Some(keeper) = Keeper::new(&args.identity_of_gateway, &args.cluster, &client, &clock) {
        background.spawn(keeper.run());
    }
    background.spawn(settings.ways.clone().tell_problems());
    let (stores, pulses) = watches::start(&client, &args.cluster, &mut background, &triggers);
    if let Some(address) = args.health_listen.0 {
        let health = Health::new(stores.clone(), pulses, metrics.clone(), backlog.clone(), &settings.ways.metrics);
        let serving =
            server::serve(server::listen(address)?, None, health::router(health), Handle::new(), Patience::default());
        background.spawn(serving.map(drop));
    }
    // Stands for election only with full hands: a leader that still lists would keep everybody waiting.
    tokio::select! {
        () = watches::ready(&stores) => {}
        () = shutdown.clone() => return Ok(()),
    }
    let accounts = stores.accounts.iter().map(Store::len).sum::<usize>();
    tracing::info!(accounts, "the controller has its lists");
    let mut election = match args.leader_elect {
        true => Election::stand(&args.cluster, identity(&args, &entropy)?, clock.clone()).await?,
        false => Election::unopposed(),
    };
    loop {
        tokio::select! {
            won = election.won() => won?,
            () = shutdown.clone() => break,
            ended = background.join_next() => return Err(ended_early(ended)),
        }
        let deadlines = Deadlines::new(clock.clone());
        let (client, clock, entropy) = (client.clone(), clock.clone(), entropy.clone());
        let context =
            Context::new(client, clock, entropy, settings.clone(), stores.clone(), deadlines, backlog.clone());
        let term = term(&args, context, &triggers);
        metrics.lead(true);
        tokio::select! {
            biased;
            lost = election.lost() => {
                lost?;
                triggers.close();
                metrics.lead(false);
            }
            done = term.run(shutdown.clone()) => {
                done?;
                break;
            }
            ended = background.join_next() => return Err(ended_early(ended)),
        }
    }
    triggers.close();
    election.resign().await;
    tracing::info!("the controller has finished its work and stops");
    Ok(())
}

fn ended_early(ended: Option<Result<(), tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Err(error)) => anyhow::Error::new(error).context("a part of the controller broke down"),
        _ => anyhow::anyhow!("a part of the controller ended by itself"),
    }
}

/// Unique, so that a process never takes another's lease for its own: two may share a host's name.
fn identity(args: &ControllerArgs, entropy: &SharedEntropy) -> Result<String, EntropyError> {
    if let Some(identity) = &args.identity {
        return Ok(identity.clone());
    }
    // In a Pod this is the Pod's name.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "keyrota" } else { host.trim() };
    let mut suffix = [0; 5];
    entropy.fill(&mut suffix)?;
    Ok(suffix.iter().fold(format!("{host}_"), |name, byte| format!("{name}{byte:02x}")))
}

fn term(args: &ControllerArgs, context: Context, triggers: &Arc<Triggers>) -> Term {
    Term {
        context: Arc::new(context),
        triggers: triggers.clone(),
        namespaces: watches::namespaces(&args.cluster),
        concurrency: args.concurrency,
        usage_writes_per_second: args.usage_writes_per_second,
        certificates: Ours {
            gateway: (args.gateway_certificate == "own").then(|| certificate_names(args)),
            console: console_names(args),
        },
    }
}

fn settings(args: &ControllerArgs, metrics: Metrics, client: &Client) -> anyhow::Result<Settings> {
    Ok(Settings {
        metrics,
        ways: Ways::new(&args.notices, client).context("the settings of expiry notices")?,
        operator_namespace: args.cluster.operator_namespace.clone(),
        watch_namespaces: args.cluster.watch_namespaces.clone(),
        external_url: args.external.url().to_owned(),
        hash_cost: HashCost { memory_kib: args.hash_memory_kib, passes: args.hash_passes, lanes: 1 },
        tombstone_retention: TimeDelta::days(args.tombstone_days.into()),
    })
}

/// Empty names are what an unset environment variable gives.
fn console_names(args: &ControllerArgs) -> Option<Vec<String>> {
    let names = args.console_names.iter().map(|name| name.trim_matches(['[', ']']).to_owned());
    let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    (!names.is_empty()).then_some(names)
}

/// The names that a client in the cluster, on this machine, or at the external URL uses.
fn certificate_names(args: &ControllerArgs) -> Vec<String> {
    let namespace = &args.cluster.operator_namespace;
    let external = args.external.url().parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let mut names = vec![
        "localhost".into(),
        "127.0.0.1".into(),
        "::1".into(),
        "keyrota-gateway".into(),
        format!("keyrota-gateway.{namespace}"),
        format!("keyrota-gateway.{namespace}.svc"),
        format!("keyrota-gateway.{namespace}.svc.cluster.local"),
    ];
    for name in external.into_iter().chain(args.gateway_names.iter().cloned()) {
        let name = name.trim_matches(['[', ']']).to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
