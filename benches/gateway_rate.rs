//! Tokens per second, beside their floors: an axum handler that only echoes the body, the bare cryptography, and rustls'
//! bare handshakes. Same load, same core, same run.
//!
//! `cargo bench --bench gateway_rate [-- --seconds 3 --repetitions 7]`; needs wrk. The servers run on core 0, wrk on
//! core 1. Logs are formatted in full and thrown away; metrics are on.

#[path = "../tests/integration/fixtures.rs"]
mod fixtures;
#[path = "gateway_rate/floors.rs"]
mod floors;
#[path = "gateway_rate/load.rs"]
mod load;
#[path = "gateway_rate/serve.rs"]
mod serve;

use anyhow::{Context, bail};
use clap::Parser;

use load::{Child, Connections, Load};
use serve::Part;

/// Accounts that ask in turn.
const ACCOUNTS: usize = 1000;

#[derive(Parser)]
struct Args {
    /// How long each measurement lasts
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How often everything is measured
    #[arg(long, default_value_t = 7)]
    repetitions: usize,
    /// Connections of wrk
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Run one of the servers, or measure one of the floors (the bench starts itself so)
    #[arg(long)]
    serve: Option<Part>,
    /// cargo bench says so
    #[arg(long)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    keyrota::server::install_crypto();
    match args.serve {
        Some(Part::Floors) => floors::print(),
        Some(part) => serve::run(part),
        None if args.bench => measure(&args),
        // `cargo test --benches` starts it too, without a word: nothing is to be measured there.
        None => Ok(()),
    }
}

/// A figure, and the floor or goal that it is held against, of each repetition.
struct Row {
    what: &'static str,
    beside: &'static str,
    pairs: Vec<(f64, f64)>,
}

impl Row {
    fn new(what: &'static str, beside: &'static str) -> Self {
        Self { what, beside, pairs: Vec::new() }
    }

    fn print(&self) -> anyhow::Result<()> {
        let (rate, floor) =
            (spread(self.pairs.iter().map(|pair| pair.0))?, spread(self.pairs.iter().map(|pair| pair.1))?);
        let ratio = spread(self.pairs.iter().map(|pair| pair.0 / pair.1))?;
        println!(
            "| {} | {:.0} ({:.0} to {:.0}) | {}: {:.0} | **{:.3}** ({:.3} to {:.3}) |",
            self.what, rate.1, rate.0, rate.2, self.beside, floor.1, ratio.1, ratio.0, ratio.2
        );
        Ok(())
    }
}

/// Lowest, median and highest.
fn spread(values: impl Iterator<Item = f64>) -> anyhow::Result<(f64, f64, f64)> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (sorted.first(), sorted.last()) else { bail!("nothing was measured") };
    Ok((*low, *sorted.get(sorted.len() / 2).context("nothing was measured")?, *high))
}

fn measure(args: &Args) -> anyhow::Result<()> {
    load::find_wrk()?;
    let manual = Load::manual(ACCOUNTS, Connections::Kept)?;
    let standard = Load::standard(ACCOUNTS)?;
    let afresh = Load::manual(ACCOUNTS, Connections::Afresh)?;
    let (es256, eddsa, rs256) = (Child::start("es256")?, Child::start("eddsa")?, Child::start("rs256")?);
    let (tls, echo) = (Child::start("tls")?, Child::start("echo")?);
    let run = |child: &Child, load: &Load, seconds| child.wrk(load, seconds, args.connections);
    // Every secret is hashed once before anything is measured.
    for (child, load) in
        [(&es256, &manual), (&eddsa, &standard), (&rs256, &standard), (&tls, &manual), (&echo, &manual)]
    {
        run(child, load, 2)?;
    }
    let mut rows = [
        Row::new("HS256, the manual's endpoint", "echo"),
        Row::new("ES256", "1 ÷ (1 ÷ echo + 1 ÷ bare ES256)"),
        Row::new("EdDSA", "1 ÷ (1 ÷ echo + 1 ÷ bare EdDSA)"),
        Row::new("RS256, 2048 bits", "1 ÷ (1 ÷ echo + 1 ÷ bare RS256)"),
        Row::new("HS256 over TLS 1.3, kept connections", "the same without TLS"),
        Row::new("HS256 over TLS 1.3, a new connection for each token", "bare TLS 1.3 handshakes of rustls"),
    ];
    println!("accounts {ACCOUNTS}, connections {}, {} s each", args.connections, args.seconds);
    for repetition in 1..=args.repetitions.max(1) {
        let floors = floors::measure()?;
        println!("{repetition:2}  {floors:.0?}");
        let mut rows = rows.iter_mut();
        let mut push = |pair: (f64, f64)| {
            let row = rows.next().context("there are more figures than rows")?;
            println!("    {:9.0}/s  {:.3}  {}", pair.0, pair.0 / pair.1, row.what);
            row.pairs.push(pair);
            anyhow::Ok(())
        };
        // The machine is another one a few seconds later, so each stands between two measurements of its peer.
        let mut before = run(&echo, &manual, args.seconds)?;
        let plain = [
            (&es256, &manual, None),
            (&es256, &standard, Some(floors.es256)),
            (&eddsa, &standard, Some(floors.eddsa)),
            (&rs256, &standard, Some(floors.rs256)),
        ];
        for (child, load, bare) in plain {
            let rate = run(child, load, args.seconds)?;
            let after = run(&echo, &manual, args.seconds)?;
            let echoes = f64::midpoint(before, after);
            push((rate, bare.map_or(echoes, |bare| 1.0 / (1.0 / echoes + 1.0 / bare))))?;
            before = after;
        }
        let before = run(&es256, &manual, args.seconds)?;
        let kept = run(&tls, &manual, args.seconds)?;
        push((kept, f64::midpoint(before, run(&es256, &manual, args.seconds)?)))?;
        push((run(&tls, &afresh, args.seconds)?, floors.handshakes))?;
    }
    println!("\n| what | tokens/s: median (from, to) | beside | ratio: median (from, to) |\n|---|---|---|---|");
    rows.iter().try_for_each(Row::print)
}

/// The credentials of an account by its number: a UUID and a secret as the controller makes them.
fn credentials(number: usize) -> (String, String) {
    (format!("97074e41-8af9-456d-9a64-{number:012x}"), format!("aB3-{number:024x}-Zz9"))
}
