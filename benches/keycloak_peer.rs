//! Tokens per second of the gateway beside Keycloak's, for the same grant: same load, same core, same run.
//!
//! `cargo bench --bench keycloak_peer [-- --seconds 5 --repetitions 5]`; needs wrk, Java and Maven. The servers take turns
//! on core 0, wrk runs on core 1. Keycloak is as its makers ship it (production mode, its database in memory), with one
//! realm and one client; our logs are formatted in full and thrown away, and metrics are on.

#[path = "../tests/integration/fixtures.rs"]
mod fixtures;
#[path = "../tests/integration/common/keycloak.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod keycloak;
#[path = "gateway_rate/load.rs"]
#[expect(dead_code, reason = "the other bench uses the rest of it")]
mod load;
#[path = "gateway_rate/serve.rs"]
mod serve;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use keyrota::controlplane::Environment;

use keycloak::{CLIENT, Keycloak, REALM};
use load::{Child, Connections, Load};

/// Accounts that ask in turn. Keycloak's client is one, which is no disadvantage.
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
    /// How long Keycloak is loaded before: Java compiles what runs often, and on one core has little time for it
    #[arg(long, default_value_t = 120)]
    warm_up: u64,
    /// Run the gateway (the bench starts itself so)
    #[arg(long)]
    serve: Option<serve::Part>,
    /// cargo bench says so
    #[arg(long)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    keyrota::server::install_crypto();
    match args.serve {
        Some(part) => serve::run(part),
        None if args.bench => tokio::runtime::Runtime::new()?.block_on(measure(&args)),
        // `cargo test --benches` starts it too, without a word: nothing is to be measured there.
        None => Ok(()),
    }
}

async fn measure(args: &Args) -> anyhow::Result<()> {
    load::find_wrk()?;
    let keycloak = Keycloak::start(load::pinned(0, Path::new("sh")), &installed()?, None).await?;
    // What is measured is tokens.
    keycloak.token().await?;
    let origin = format!("http://{}", keycloak.address);
    let theirs = Load::of(&script()?)?;
    let gateway = Child::start("es256")?;
    let ours = Load::manual(ACCOUNTS, Connections::Kept)?;
    // Every secret is hashed once before anything is measured.
    gateway.wrk(&ours, 2, args.connections)?;
    println!("Keycloak {} warms up for {} s", keycloak::VERSION, args.warm_up);
    for _ in 0..args.warm_up / 10 {
        // The first requests may take longer than wrk waits.
        match load::wrk(&origin, &theirs, 10, args.connections) {
            Ok(rate) => println!("    {rate:9.0}/s"),
            Err(error) => println!("    {error}"),
        }
    }
    let mut ratios = Vec::new();
    println!("connections {}, {} s each", args.connections, args.seconds);
    for repetition in 1..=args.repetitions.max(1) {
        let tokens = gateway.wrk(&ours, args.seconds, args.connections)?;
        let others = load::wrk(&origin, &theirs, args.seconds, args.connections)?;
        println!("| {repetition} | {tokens:.0} | {others:.0} | {:.1} |", tokens / others);
        ratios.push(tokens / others);
    }
    ratios.sort_by(f64::total_cmp);
    let at = |place: usize| ratios.get(place).copied().context("nothing was measured");
    println!("ratio: median {:.1}, from {:.1} to {:.1}", at(ratios.len() / 2)?, at(0)?, at(ratios.len() - 1)?);
    Ok(())
}

/// A wrk script that asks Keycloak for a token of its one client.
fn script() -> anyhow::Result<String> {
    let form = [("grant_type", "client_credentials"), ("client_id", CLIENT.0), ("client_secret", CLIENT.1)];
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let path = keycloak::token_path(REALM);
    Ok(format!(
        "wrk.method, wrk.path, wrk.body = \"POST\", \"{path}\", \"{body}\"\n\
         wrk.headers[\"Content-Type\"] = \"application/x-www-form-urlencoded\"\n"
    ))
}

/// Where the tests install it, too.
fn installed() -> anyhow::Result<PathBuf> {
    let cache = Environment::from_process().cache_home.context("there is no home directory")?;
    let tools = cache.join("keyrota/tools");
    let home = tools.join(format!("keycloak-{}", keycloak::VERSION));
    if !home.exists() {
        println!("installing Keycloak into {}", home.display());
        let unfinished = tools.join("keycloak.unfinished");
        std::fs::create_dir_all(&unfinished)?;
        keycloak::install(&unfinished)?;
        std::fs::rename(&unfinished, &home)?;
    }
    Ok(home)
}

/// The credentials of an account by its number: a UUID and a secret as the controller makes them.
fn credentials(number: usize) -> (String, String) {
    (format!("97074e41-8af9-456d-9a64-{number:012x}"), format!("aB3-{number:024x}-Zz9"))
}
