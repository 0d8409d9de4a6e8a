//! The gateway with ten thousand accounts: its memory, its first minute, and its good clients beside bad ones.
//!
//! `cargo bench --bench gateway_under_load [-- --repetitions 5]`. The server is a process of its own, on both cores
//! like its clients; hashes cost what generated secrets' do; logs are formatted in full and thrown away.

#[path = "gateway_under_load/clients.rs"]
mod clients;
#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/integration/fixtures.rs"]
mod fixtures;
#[path = "gateway_under_load/serve.rs"]
mod serve;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;

use clients::{Latencies, Target, Wrong};
use serve::Lists;

/// As many as the goals name.
const ACCOUNTS: usize = 10_000;
/// Connections that ask for the first tokens, and that send wrong secrets.
const CONNECTIONS: usize = 64;
/// Connections of the clients whose latency is watched.
const WARM: usize = 8;

#[derive(Parser)]
struct Args {
    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// How long latencies are watched, each time
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Run the server (the bench starts itself so)
    #[arg(long)]
    serve: Option<PathBuf>,
    /// cargo bench says so
    #[arg(long)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(lists) = args.serve {
        return serve::run(&lists);
    }
    // `cargo test --benches` starts it too, without a word: nothing is to be measured there.
    if !args.bench {
        return Ok(());
    }
    // The clients' library wants some, though it speaks plain HTTP here.
    keyrota::server::install_crypto();
    println!("hashing {ACCOUNTS} secrets …");
    let lists = Lists::write(ACCOUNTS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for repetition in 1..=args.repetitions.max(1) {
        println!("-- {repetition} of {}", args.repetitions);
        runtime.block_on(measure(&lists, Duration::from_secs(args.seconds)))?;
    }
    Ok(())
}

async fn measure(lists: &Lists, time: Duration) -> anyhow::Result<()> {
    let server = serve::Child::start(lists)?;
    println!("ready: lists of {ACCOUNTS} accounts parsed and indexed in {:.2} s", server.ready.as_secs_f64());
    println!("memory: {:.1} MiB resident before the first request", server.resident_mib()?);
    let target = Target::new(&server.address);
    let began = Instant::now();
    clients::ask_once_each(&target, ACCOUNTS, CONNECTIONS).await?;
    println!("first tokens: {ACCOUNTS} over {CONNECTIONS} connections in {:.2} s", began.elapsed().as_secs_f64());
    println!("memory: {:.1} MiB resident when all secrets are remembered", server.resident_mib()?);
    let undisturbed = clients::watch(&target, WARM, time).await?;
    say("undisturbed", &undisturbed, None);
    for wrong in [Wrong::SecretOfOneAccount, Wrong::SecretOfAnyAccount, Wrong::ClientId] {
        let flood = clients::flood(&target, wrong, CONNECTIONS);
        let watched = clients::watch(&target, WARM, time).await?;
        let answered = flood.stop().await?;
        say(&format!("beside {CONNECTIONS} connections with a wrong {wrong}"), &watched, Some(&undisturbed));
        println!("        the flood was answered {:.0}/s: {answered:?}", answered.total() / time.as_secs_f64());
    }
    Ok(())
}

fn say(what: &str, latencies: &Latencies, beside: Option<&Latencies>) {
    let (median, p99) = (latencies.percentile(50), latencies.percentile(99));
    let ratio = beside.map(|other| format!(", {:.1} times", p99.as_secs_f64() / other.percentile(99).as_secs_f64()));
    println!(
        "latency of {WARM} warm clients {what}: median {:.3} ms, p99 {:.3} ms{}; {} granted, {} refused",
        median.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
        ratio.unwrap_or_default(),
        latencies.granted(),
        latencies.refused,
    );
}

/// The credentials of an account by its number: a UUID and a secret as the controller makes them.
fn credentials(number: usize) -> (String, String) {
    (format!("97074e41-8af9-456d-9a64-{number:012x}"), format!("aB3-{number:024x}-Zz9"))
}

/// A line's value after a colon, as Linux's /proc writes it.
fn kib(text: &str, key: &str) -> anyhow::Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).context("the system does not say")?;
    let Some(number) = line.trim_start_matches(':').split_whitespace().next() else { bail!("an empty line") };
    Ok(number.parse()?)
}
