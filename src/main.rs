//! The one binary, a role per subcommand.

use std::io::{ErrorKind, Write};

use anyhow::Context;
use clap::{Parser, Subcommand};

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
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Crds => print(&keyrota::crds::manifest()?),
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
