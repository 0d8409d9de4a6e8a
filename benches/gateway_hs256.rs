//! What the manual's endpoint costs, beside an axum handler that only echoes the body: same load, same core, same run.
//!
//! `cargo bench --bench gateway_hs256 [-- --seconds 5 --repetitions 5]`; needs wrk. The servers run on core 0, wrk on
//! core 1. Logs are formatted in full and thrown away; metrics are on.

#[path = "../tests/integration/fixtures.rs"]
mod fixtures;
#[path = "gateway_hs256/load.rs"]
mod load;
#[path = "gateway_hs256/serve.rs"]
mod serve;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};

/// Accounts that ask in turn.
const ACCOUNTS: usize = 1000;

#[derive(Parser)]
struct Args {
    /// How long each measurement lasts
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often both are measured
    #[arg(long, default_value_t = 7)]
    repetitions: usize,
    /// Connections of wrk
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Run one of the servers (the bench starts itself so)
    #[arg(long)]
    serve: Option<Server>,
    /// cargo bench says so
    #[arg(long)]
    bench: bool,
}

#[derive(ValueEnum, Clone, Copy)]
enum Server {
    Gateway,
    Echo,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.serve {
        Some(server) => serve::run(server),
        None if args.bench => measure(&args),
        // `cargo test --benches` starts it too, without a word: nothing is to be measured there.
        None => Ok(()),
    }
}

fn measure(args: &Args) -> anyhow::Result<()> {
    load::find_wrk()?;
    let gateway = load::Child::start("gateway")?;
    let echo = load::Child::start("echo")?;
    let script = load::script(ACCOUNTS)?;
    let run = |child: &load::Child, seconds| load::wrk(child, script.path(), seconds, args.connections);
    // Every secret is hashed once before anything is measured.
    run(&gateway, 2)?;
    run(&echo, 2)?;
    let mut ratios = Vec::new();
    println!("accounts {ACCOUNTS}, connections {}, {} s each", args.connections, args.seconds);
    for repetition in 1..=args.repetitions.max(1) {
        let (tokens, echoes) = (run(&gateway, args.seconds)?, run(&echo, args.seconds)?);
        println!("{repetition:2}  gateway {tokens:9.0}/s  echo {echoes:9.0}/s  ratio {:.3}", tokens / echoes);
        ratios.push(tokens / echoes);
    }
    ratios.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (ratios.first(), ratios.last()) else { bail!("nothing was measured") };
    let median = ratios.get(ratios.len() / 2).context("nothing was measured")?;
    println!("ratio median {median:.3}, from {low:.3} to {high:.3}");
    Ok(())
}

/// The credentials of an account by its number: a UUID and a secret as the controller makes them.
fn credentials(number: usize) -> (String, String) {
    (format!("97074e41-8af9-456d-9a64-{number:012x}"), format!("aB3-{number:024x}-Zz9"))
}
