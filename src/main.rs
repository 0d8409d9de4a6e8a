//! The one binary, a role per subcommand.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use keyrota::clock::SystemClock;
use keyrota::controller::{self, ControllerArgs};
use keyrota::demo::{self, DemoArgs};
use keyrota::entropy::SystemEntropy;
use keyrota::gateway::{self, GatewayArgs};

/// Machine identities for Kubernetes: rotated client credentials, and the token gateway that accepts them
#[derive(Parser)]
#[command(name = "keyrota", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the CustomResourceDefinitions as YAML, for kubectl apply --server-side -f -
    Crds,
    /// Make and rotate credentials: the one role that writes
    Controller(ControllerArgs),
    /// Trade credentials for tokens
    Gateway(GatewayArgs),
    /// Show it all at work in a real Kubernetes control plane on this machine
    Demo(DemoArgs),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The causes on one line; a backtrace tells a user nothing.
            eprintln!("keyrota: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Crds => print(&keyrota::crds::manifest()?),
        Command::Controller(args) => {
            block_on(controller::run(args, Arc::new(SystemClock), Arc::new(SystemEntropy), told_to_stop()))
        }
        Command::Gateway(args) => block_on(gateway::run(args, Arc::new(SystemClock), told_to_stop())),
        Command::Demo(args) => block_on(demo::run(args)),
    }
}

fn block_on(role: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed already"))?;
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(role)
}

/// SIGTERM, as the kubelet sends it, or Ctrl-C.
async fn told_to_stop() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// A reader that has seen enough (`keyrota crds | head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn verify_cli() {
        super::Cli::command().debug_assert();
    }
}
