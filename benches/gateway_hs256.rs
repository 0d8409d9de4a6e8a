//! HS256 tokens per second over keep-alive connections without TLS, beside an axum handler that echoes the same body:
//! same load, same run, in turn. Needs `wrk` and `taskset` (Debian: wrk, util-linux).
//!
//!     cargo bench --bench gateway_hs256            # 5 pairs of 4 s each
//!     cargo bench --bench gateway_hs256 -- 7 8     # 7 pairs of 8 s each
//!
//! The server runs on core 0 and the load generator on core 1, both bound to loopback; grant logging (JSON, to
//! /dev/null) and metrics are on. What is printed goes into docs/benchmarks.md by hand.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use axum::Router;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyrota::api::service_account::{Mode, Reason};
use keyrota::api::{TYPE_SIGNING_KEYS, Timestamp};
use keyrota::clock::{Clock, SystemClock};
use keyrota::domain::credential::{State, Version};
use keyrota::domain::names;
use keyrota::domain::record::{Owner, Record};
use keyrota::domain::verifier::{self, HashCost};
use keyrota::gateway::endpoint::Dependencies;
use keyrota::gateway::freshen::Pace;
use keyrota::gateway::metrics::Metrics;
use keyrota::gateway::usage::Ledger;
use keyrota::gateway::{App, legacy, router};
use keyrota::index::live::KubeLive;
use keyrota::index::{AccountFacts, Feed, Index, Item, KeyFacts, Kind, Listing, RecordFacts, Revision};
use keyrota::telemetry::{self, LogArgs, LogFormat};
use prometheus_client::registry::Registry;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};

const ACCOUNTS: u32 = 1_000;
const CONNECTIONS: &str = "16";
const GATEWAY: u16 = 31_801;
const ECHO: u16 = 31_802;

fn main() -> anyhow::Result<()> {
    // cargo adds --bench; it says nothing here.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("serve-gateway") => serve(GATEWAY, gateway()?),
        Some("serve-echo") => serve(ECHO, Router::new().route(legacy::PATH, post(async |body: bytes::Bytes| body))),
        _ => compare(&arguments),
    }
}

fn compare(arguments: &[String]) -> anyhow::Result<()> {
    let number = |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (pairs, seconds) = (number(0, 5)?, number(1, 4)?);
    let script = load_script()?;
    let mut ratios = Vec::new();
    println!("{ACCOUNTS} accounts, wrk -t1 -c{CONNECTIONS} -d{seconds}s on core 1, server on core 0");
    println!("{:>4} {:>14} {:>10} {:>14} {:>10} {:>7}", "pair", "gateway req/s", "p99", "echo req/s", "p99", "ratio");
    let (_gateway, _echo) = (Server::start("serve-gateway", GATEWAY)?, Server::start("serve-echo", ECHO)?);
    // The first use of each account costs an Argon2id; this is about the ones after it.
    wrk(GATEWAY, 3, &script)?;
    for pair in 1..=pairs {
        let (gateway, echo) = (wrk(GATEWAY, seconds, &script)?, wrk(ECHO, seconds, &script)?);
        let ratio = gateway.per_second / echo.per_second;
        println!(
            "{pair:>4} {:>14.0} {:>10} {:>14.0} {:>10} {ratio:>7.3}",
            gateway.per_second, gateway.p99, echo.per_second, echo.p99
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "ratio: min {:.3}, median {:.3}, max {:.3}",
        ratios[0],
        ratios[ratios.len() / 2],
        ratios[ratios.len() - 1]
    );
    Ok(())
}

/// This program again, as a server on core 0; stopped when dropped.
struct Server(Child);

impl Server {
    fn start(role: &str, port: u16) -> anyhow::Result<Self> {
        let child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(std::env::current_exe()?)
            .arg(role)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot run taskset: install util-linux")?;
        let server = Self(child);
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if started.elapsed() > Duration::from_secs(60) {
                bail!("{role} does not listen on port {port} after 60 s");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Figure {
    per_second: f64,
    p99: String,
}

fn wrk(port: u16, seconds: u64, script: &std::path::Path) -> anyhow::Result<Figure> {
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "-t1", "-c", CONNECTIONS, "--latency", "-d", &format!("{seconds}s"), "-s"])
        .arg(script)
        .arg(format!("http://127.0.0.1:{port}{}", legacy::PATH))
        .output()
        .context("cannot run wrk: install it (Debian: apt-get install wrk)")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("not every request was answered with 200:\n{text}");
    }
    let after =
        |label: &str| text.lines().find_map(|line| line.trim().strip_prefix(label).map(|rest| rest.trim().to_owned()));
    let per_second = after("Requests/sec:").with_context(|| format!("wrk said no figure:\n{text}"))?.parse()?;
    Ok(Figure { per_second, p99: after("99%").unwrap_or_default() })
}

/// One request after the other for each account, all made before the load begins.
fn load_script() -> anyhow::Result<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join("gateway_hs256.lua");
    let mut file = std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "local all, at = {{}}, 0\nfunction init()")?;
    for number in 0..ACCOUNTS {
        let pair = STANDARD.encode(format!("{}:{}", client_id(number), secret(number)));
        writeln!(
            file,
            "  all[{}] = wrk.format('POST', nil, {{['Authorization'] = 'Basic {pair}', ['Content-Type'] = 'application/x-www-form-urlencoded'}}, 'grant_type=Client_Credentials')",
            number + 1
        )?;
    }
    writeln!(file, "end\nfunction request()\n  at = at % {ACCOUNTS} + 1\n  return all[at]\nend")?;
    Ok(path)
}

fn client_id(number: u32) -> String {
    format!("97074e41-8af9-456d-9a64-{number:012}")
}

fn secret(number: u32) -> String {
    format!("bench-secret.{number:019}")
}

fn serve(port: u16, router: Router) -> anyhow::Result<()> {
    keyrota::server::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let listener = keyrota::server::listen(([127, 0, 0, 1], port).into())?;
        keyrota::server::serve(listener, None, router, axum_server::Handle::new()).await?;
        Ok(())
    })
}

/// The gateway as `keyrota gateway --tls off` runs it, with an index that is fed by hand.
fn gateway() -> anyhow::Result<Router> {
    keyrota::server::install_crypto();
    telemetry::start(&LogArgs { level: "info".into(), format: LogFormat::Json })?;
    let index = Arc::new(Index::new(Feed::all(&[])));
    feed(&index)?;
    let config = kube::Config::new("http://127.0.0.1:1".parse()?);
    let _guard = tokio::runtime::Runtime::new()?;
    let client = _guard.block_on(async { kube::Client::try_from(config) })?;
    // The client's worker belongs to the runtime that made it; this one lives as long as the process.
    std::mem::forget(_guard);
    let dependencies = Dependencies {
        accounts: index,
        live: Arc::new(KubeLive::new(client, "keyrota-system", Vec::new())),
        clock: Arc::new(SystemClock),
        max_stale: TimeDelta::hours(1),
        pace: Pace::default(),
        metrics: Arc::new(Metrics::register(&mut Registry::default())),
        ledger: Arc::new(Ledger::default()),
    };
    Ok(router::router(Arc::new(App::new(dependencies, &mut SysRng)?)))
}

fn feed(index: &Index) -> anyhow::Result<()> {
    let now = SystemClock.timestamp();
    let mut random = StdRng::seed_from_u64(1);
    let (mut accounts, mut records) = (Vec::new(), Vec::new());
    for number in 0..ACCOUNTS {
        let owner =
            Owner { uid: format!("uid-{number}"), namespace: "bench".into(), name: format!("account-{number}") };
        let hash = verifier::hash(&secret(number).into(), HashCost::GENERATED, &mut random)?;
        accounts.push(Item::Account(AccountFacts {
            owner: owner.clone(),
            created: now,
            deleting: false,
            enabled: true,
            mode: Mode::Internal,
            external_client_id: None,
            trusted_issuer: None,
            groups: Vec::new(),
            credentials: Vec::new(),
            revision: Revision::default(),
        }));
        let version = version(number, hash, now);
        let record = Record { versions: vec![version], last_version: 1, ..Record::new(owner) };
        records.push(Item::Record(RecordFacts::new(record, Revision::default())));
    }
    let keys = Secret {
        metadata: ObjectMeta {
            name: Some(names::signing_keys(names::DEFAULT_ISSUER)),
            labels: Some([(names::LABEL_ISSUER.to_owned(), names::DEFAULT_ISSUER.to_owned())].into()),
            ..ObjectMeta::default()
        },
        type_: Some(TYPE_SIGNING_KEYS.into()),
        data: Some([("legacy-current".to_owned(), ByteString(vec![7; 64]))].into()),
        ..Secret::default()
    };
    for feed in Feed::all(&[]) {
        let items = match feed.kind {
            Kind::Accounts => std::mem::take(&mut accounts),
            Kind::Records => std::mem::take(&mut records),
            Kind::Keys => vec![Item::Keys(Box::new(KeyFacts::parse(keys.clone())?))],
            Kind::Issuers | Kind::Groups => Vec::new(),
        };
        let (begun, time) = (index.begin_list(), SystemClock.now());
        index.reset(
            &feed,
            Listing { items, unreadable: Default::default(), revision: Revision::default(), begun, time },
        );
    }
    Ok(())
}

fn version(number: u32, secret_hash: keyrota::domain::credential::SecretHash, now: Timestamp) -> Version {
    Version {
        version: 1,
        client_id: client_id(number),
        secret_hash,
        state: State::Current,
        not_before: now,
        not_after: now.saturating_add(TimeDelta::days(180)),
        validity_days: 180,
        reason: Reason::Created,
        answers: None,
        retired_time: None,
        unknown: Default::default(),
    }
}
