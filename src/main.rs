//! The one binary, a table of contents: one arm for each role.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use keyrota::clock::SystemClock;
use keyrota::console::{self, ConsoleArgs};
use keyrota::controller::{self, ControllerArgs};
use keyrota::demo::{self, DemoArgs};
use keyrota::doctor::{self, DoctorArgs};
use keyrota::entropy::SystemEntropy;
use keyrota::gateway::{self, GatewayArgs};
use keyrota::telemetry::{self, LogArgs, TraceArgs};
use keyrota::{crds, server};

/// Machine identities for Kubernetes: rotated client credentials, and the token gateway that accepts them
#[derive(Parser)]
#[command(name = "keyrota", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the CustomResourceDefinitions as YAML, for kubectl apply --server-side -f -
    Crds,
    /// Make and rotate credentials: the one role that writes
    Controller(Box<Served<ControllerArgs>>),
    /// Trade credentials for tokens
    Gateway(Box<Served<GatewayArgs>>),
    /// Show accounts in a browser, and let people work on theirs
    Console(Box<Served<ConsoleArgs>>),
    /// Show it all at work, in a real Kubernetes control plane on this machine
    Demo(DemoArgs),
    /// Try out what Keyrota relies on, and say what is wrong
    Doctor(Box<DoctorArgs>),
}

/// A role that serves, and can be traced.
#[derive(Args)]
struct Served<A: Args> {
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    role: A,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The causes on one line; a backtrace tells a user nothing.
            eprintln!("keyrota: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Cli { log, command }: Cli) -> anyhow::Result<()> {
    server::install_crypto();
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    match command {
        Command::Crds => print(&crds::manifest()?),
        Command::Controller(served) => {
            let Served { trace, role } = *served;
            let _flushed_at_the_end = telemetry::start(&log, &trace, "keyrota-controller")?;
            block_on(controller::run(role, clock, entropy, server::told_to_stop()))
        }
        Command::Gateway(served) => {
            let Served { trace, role } = *served;
            let _flushed_at_the_end = telemetry::start(&log, &trace, "keyrota-gateway")?;
            block_on(gateway::run(role, clock, server::told_to_stop()))
        }
        Command::Console(served) => {
            let Served { trace, role } = *served;
            let _flushed_at_the_end = telemetry::start(&log, &trace, "keyrota-console")?;
            block_on(console::run(role, clock, entropy, server::told_to_stop()))
        }
        Command::Demo(args) => block_on(demo::run(args, &log)),
        Command::Doctor(args) => block_on(doctor::run(*args, clock)),
    }
}

fn block_on(role: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(role)
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
