//! The one binary, a table of contents: one arm for each role.

use std::sync::Arc;

use clap::{Parser, Subcommand};
use keyrota::clock::SystemClock;
use keyrota::gateway::{self, GatewayArgs};
use keyrota::telemetry::{self, LogArgs};
use keyrota::{crds, server};

/// Machine identities for Kubernetes
#[derive(Parser)]
#[command(name = "keyrota", version)]
struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the CustomResourceDefinitions
    Crds,
    /// Run the token gateway
    Gateway(Box<GatewayArgs>),
}

fn main() -> anyhow::Result<()> {
    let Cli { log, command } = Cli::parse();
    match command {
        Command::Crds => print_crds(),
        Command::Gateway(args) => {
            telemetry::start(&log)?;
            server::install_crypto();
            runtime()?.block_on(gateway::run(*args, Arc::new(SystemClock), server::told_to_stop()))
        }
    }
}

fn print_crds() -> anyhow::Result<()> {
    for crd in crds::all() {
        println!("---\n{}", crds::yaml(&crd)?);
    }
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
