//! `keyrota demo`: a real Kubernetes API server on this machine, with controller, gateway and console at work in it, and
//! the main job done once before your eyes.

mod browser;
mod install;
mod show;
mod steps;
mod token;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::SystemClock;
use crate::config;
use crate::console::{self, ConsoleArgs};
use crate::controller::{self, ControllerArgs};
use crate::controlplane::{self, ControlPlane, Environment};
use crate::entropy::SystemEntropy;
use crate::gateway::{self, GatewayArgs};
use crate::telemetry::{self, LogArgs};
use browser::Files;
pub use install::INSTALL;
use steps::Steps;

/// The namespace, the account and its Secret that the demo waits for: those of `crds/samples/serviceaccount.yaml`.
const NAMESPACE: &str = "demo";
const ACCOUNT: &str = "exporter";
const SECRET: &str = "exporter-credentials";

/// Settings of `keyrota demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Show everything once, clean up, and exit with 0
    #[arg(long)]
    pub once: bool,

    /// Write where everything is to this file, as JSON, once it is ready
    #[arg(long, value_name = "FILE")]
    pub info: Option<PathBuf>,

    /// The gateway's port
    #[arg(long, default_value_t = 31443, value_name = "PORT")]
    pub port: u16,

    /// The console's port
    #[arg(long, default_value_t = 31444, value_name = "PORT")]
    pub console_port: u16,
}

/// Runs the demo until it is interrupted, or once.
///
/// # Errors
/// The first step that fails, with the remedy. Everything that was started is stopped again.
pub async fn run(args: DemoArgs, log: &LogArgs) -> anyhow::Result<()> {
    let mut steps = Steps::start();
    check_port("--port", args.port)?;
    check_port("--console-port", args.console_port)?;
    let log_file =
        tempfile::Builder::new().prefix("keyrota-demo-").suffix(".log").tempfile().context("cannot make a log file")?;
    telemetry::start_in_file(log, log_file.reopen()?)?;
    let control_plane = ControlPlane::start(&Environment::from_process(), &controlplane::Options::default()).await?;
    steps.done(&format!("a real kube-apiserver, etcd and controller-manager at {}", control_plane.url()));
    let outcome = tokio::select! {
        outcome = in_cluster(&args, &control_plane, &mut steps) => outcome,
        interrupted = interrupted() => interrupted,
    };
    if let Some(info) = &args.info {
        // What it says is no longer true.
        let _ = std::fs::remove_file(info);
    }
    control_plane.stop().await?;
    steps.done("all stopped and cleaned up");
    outcome.or_else(|error| {
        let (_, log) = log_file.keep().context("cannot keep the log file")?;
        Err(error.context(format!("the demo failed; its log is {}", log.display())))
    })
}

/// Found out before minutes are spent on a control plane.
fn check_port(flag: &str, port: u16) -> anyhow::Result<()> {
    std::net::TcpListener::bind(("127.0.0.1", port)).map(drop).with_context(|| {
        format!("port {port} on 127.0.0.1 is taken: stop what listens there, or give {flag} another one")
    })
}

async fn interrupted() -> anyhow::Result<()> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C"),
        _ = terminated.recv() => Ok(()),
    }
}

async fn in_cluster(args: &DemoArgs, control_plane: &ControlPlane, steps: &mut Steps) -> anyhow::Result<()> {
    install::crds_and_roles(control_plane).await?;
    steps.done("CRDs, namespace keyrota-system, and an identity with its own rights for each role");
    let (stop, stopped) = watch::channel(false);
    let mut roles = JoinSet::new();
    let health = Health { gateway: free_port()?, console: free_port()? };
    let files = Files::of(control_plane);
    start_roles(args, control_plane, &health, &files, &stopped, &mut roles).await?;
    let shown = async {
        install::samples(control_plane).await?;
        steps.done("the samples of crds/samples applied");
        let account = token::wait_until_ready(control_plane, steps).await?;
        steps.done(&format!("the account {NAMESPACE}/{ACCOUNT} is Ready, its credential in the Secret {SECRET}"));
        steps.until_ready("gateway", health.gateway).await?;
        let grant = token::get_and_verify(control_plane, args.port).await?;
        steps.done("a token from the gateway, with the manual's request, and verified with the issuer's key");
        files.fill(control_plane).await?;
        steps.until_ready("console", health.console).await?;
        let visitor = browser::sign_in_token(control_plane).await?;
        steps.done("the console, and a token to sign in with");
        show::everything(args, control_plane, &account, &grant, &visitor, health.gateway)
    };
    tokio::select! {
        shown = shown => shown?,
        ended = roles.join_next() => return Err(ended_early(ended)),
    }
    if !args.once {
        tokio::select! {
            ended = roles.join_next() => return Err(ended_early(ended)),
            interrupted = interrupted() => interrupted?,
        }
    }
    stop.send_replace(true);
    while let Some(ended) = roles.join_next().await {
        ended.context("a role panicked")??;
    }
    Ok(())
}

fn ended_early(ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => anyhow::Error::new(error).context("a role panicked"),
        Some(Ok(Ok(()))) | None => anyhow::anyhow!("a role ended by itself"),
    }
}

/// Where the probes of the roles answer.
struct Health {
    gateway: u16,
    console: u16,
}

/// The roles, each under its own service account.
async fn start_roles(
    args: &DemoArgs,
    control_plane: &ControlPlane,
    health: &Health,
    files: &Files,
    stopped: &watch::Receiver<bool>,
    roles: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let as_controller = control_plane.service_account_kubeconfig("keyrota-system", "keyrota-controller").await?;
    let as_gateway = control_plane.service_account_kubeconfig("keyrota-system", "keyrota-gateway").await?;
    let external_url = format!("https://localhost:{}", args.port);
    let controller: ControllerArgs = config::parse(&[
        "--kubeconfig",
        path(&as_controller)?,
        "--external-url",
        &external_url,
        "--health-listen",
        "",
        "--console-names",
        "localhost,127.0.0.1,::1",
    ])?;
    let listen = format!("127.0.0.1:{}", args.port);
    let probes = format!("127.0.0.1:{}", health.gateway);
    let gateway: GatewayArgs = config::parse(&[
        "--kubeconfig",
        path(&as_gateway)?,
        "--external-url",
        &external_url,
        "--listen",
        &listen,
        "--health-listen",
        &probes,
        "--drain",
        "0s",
    ])?;
    let console = console_args(args, control_plane, health, files).await?;
    let wait = |mut stopped: watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let clock = Arc::new(SystemClock);
    roles.spawn(controller::run(controller, clock.clone(), Arc::new(SystemEntropy), wait(stopped.clone())));
    roles.spawn(gateway::run(gateway, clock.clone(), wait(stopped.clone())));
    roles.spawn(console::run(console, clock, Arc::new(SystemEntropy), wait(stopped.clone())));
    Ok(())
}

async fn console_args(
    args: &DemoArgs,
    control_plane: &ControlPlane,
    health: &Health,
    files: &Files,
) -> anyhow::Result<ConsoleArgs> {
    let kubeconfig = control_plane.service_account_kubeconfig("keyrota-system", "keyrota-console").await?;
    Ok(config::parse(&[
        "--kubeconfig",
        path(&kubeconfig)?,
        "--external-url",
        &format!("https://localhost:{}", args.console_port),
        "--listen",
        &format!("127.0.0.1:{}", args.console_port),
        "--health-listen",
        &format!("127.0.0.1:{}", health.console),
        "--tls-cert-file",
        path(&files.certificate)?,
        "--tls-key-file",
        path(&files.key)?,
        "--drain",
        "0s",
    ])?)
}

fn path(path: &std::path::Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("the path {} is not UTF-8: set TMPDIR to one that is", path.display()))
}

fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
    match listener.local_addr()?.port() {
        0 => bail!("the system gave no port"),
        port => Ok(port),
    }
}
