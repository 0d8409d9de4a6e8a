//! What a page of the console's inventory takes with 10,000 accounts, from the request on a kept connection to the last
//! byte; beside its floor, the same bytes from a handler that only hands them over, by the same server on the same socket.
//!
//! `cargo bench --bench console_pages`. The aim is 100 ms (100,000 µs) for any page. Not in it: TLS, and the questions to
//! the API server about the user's rights, which are remembered for 30 s.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use axum_server::Handle;
use bytes::Bytes;
use keyrota::api::{ServiceAccount, Timestamp};
use keyrota::console::inventory::{Holdings, Row};
use keyrota::console::pages::inventory::rendered;
use keyrota::console::{Extent, Sight};
use keyrota::server::{self, Patience};
use serde_json::json;

const ACCOUNTS: usize = 10_000;
const ROUNDS: usize = 200;

/// Queries from the cheapest to the dearest.
const QUERIES: [(&str, &str); 7] = [
    ("first page", ""),
    ("last page", "page=500"),
    ("100 on a page", "size=100"),
    ("by another column", "sort=-expiry"),
    ("one namespace of 100", "namespace=team-42"),
    ("a search of two words", "q=batch+number+9&sort=description"),
    ("a search without a hit", "q=nothing-is-called-so"),
];

fn main() -> anyhow::Result<()> {
    // `cargo test --benches` starts it too, without a word: nothing is to be measured there.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    server::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let holdings = Arc::new(Holdings::new(1));
    for number in 0..ACCOUNTS {
        holdings.insert(Row::of(account(number)?));
    }
    let accounts = holdings.sizes().0;
    println!("{accounts} accounts, {ROUNDS} requests each over HTTP; µs, and bytes of the page");
    println!("{:<26}{:>9}{:>9}{:>9}{:>9}{:>10}", "", "median", "99 %", "floor", "99 %", "bytes");
    let cases = QUERIES.map(|(what, query)| (what, query, Extent::Everything));
    for (what, query, extent) in cases.into_iter().chain([("only one's own", "", Extent::Own)]) {
        let (page, floor, bytes) = pair(&holdings, query, extent).await?;
        let at = |times: &[Duration], part: usize| times[(times.len() - 1) * part / 100].as_micros();
        let [median, high, floor, floor_high] = [at(&page, 50), at(&page, 99), at(&floor, 50), at(&floor, 99)];
        println!("{what:<26}{median:>9}{high:>9}{floor:>9}{floor_high:>9}{bytes:>10}");
    }
    Ok(())
}

/// The times of the page and of its floor, in turn, each sorted; and the bytes of the page.
async fn pair(
    holdings: &Arc<Holdings>,
    query: &'static str,
    extent: Extent,
) -> anyhow::Result<(Vec<Duration>, Vec<Duration>, usize)> {
    let now = Timestamp::parse("2026-11-22T12:00:00Z")?;
    let sight = Arc::new(Sight::of("alice", extent));
    let ready = Bytes::from(rendered(holdings, &sight, query, now));
    let (holdings, bytes, handed) = (holdings.clone(), ready.len(), ready);
    let router = Router::new()
        .route("/page", get(async move || rendered(&holdings, &sight, query, now)))
        .route("/floor", get(async move || handed.clone()));
    let listener = server::listen(([127, 0, 0, 1], 0).into())?;
    let base = format!("http://{}", listener.local_addr()?);
    let handle = Handle::new();
    let serving = tokio::spawn(server::serve(listener, None, router, handle.clone(), Patience::default()));
    let client = reqwest::Client::builder().no_proxy().build()?;
    let (mut pages, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (path, times) in [("page", &mut pages), ("floor", &mut floors)] {
            let started = Instant::now();
            let body = client.get(format!("{base}/{path}")).send().await?.bytes().await?;
            times.push(started.elapsed());
            anyhow::ensure!(body.len() == bytes, "{path} has {} bytes, not {bytes}", body.len());
        }
    }
    handle.shutdown();
    serving.await?.context("the server failed")?;
    pages.sort_unstable();
    floors.sort_unstable();
    Ok((pages, floors, bytes))
}

fn account(number: usize) -> anyhow::Result<ServiceAccount> {
    let (team, day) = (number % 100, number % 27 + 1);
    Ok(ServiceAccount {
        metadata: kube::api::ObjectMeta {
            name: Some(format!("job-{number:05}")),
            namespace: Some(format!("team-{team}")),
            uid: Some(format!("00000000-0000-4000-8000-{number:012}")),
            annotations: Some(
                [("keyrota.dev/created-by".to_owned(), ["alice", "bob", "carol"][number % 3].to_owned())].into(),
            ),
            ..kube::api::ObjectMeta::default()
        },
        spec: serde_json::from_value(json!({
            "description": format!("Batch job number {number} of the nightly run, which imports orders and writes reports"),
            "contact": {"email": format!("team-{team}@example.com")},
        }))?,
        status: Some(serde_json::from_value(json!({
            "observedGeneration": 1, "clientId": format!("{number:08x}-0000-4000-8000-000000000000"),
            "accountStatus": if number.is_multiple_of(7) { "Inactive" } else { "Active" }, "clientSecretStatus": "Active",
            "clientSecretExpiryTime": format!("2027-02-{day:02}T12:00:00Z"), "lastAccessTime": format!("2026-11-{:02}T12:00:00Z", day.min(22)),
        }))?),
    })
}
