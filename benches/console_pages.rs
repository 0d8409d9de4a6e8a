//! What a page of the console's inventory costs with 10,000 accounts, beside its floor: going through all of them once.
//!
//! `cargo bench --bench console_pages`. The aim is 100 ms on the server for any page.

use std::hint::black_box;
use std::time::{Duration, Instant};

use keyrota::api::{ServiceAccount, Timestamp};
use keyrota::console::inventory::{Holdings, Query, Row};
use keyrota::console::pages::inventory::rendered;
use keyrota::console::{Extent, Sight};
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

fn main() {
    let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap_or_else(|_| std::process::exit(1));
    let holdings = Holdings::new(1);
    for number in 0..ACCOUNTS {
        if let Ok(object) = serde_json::from_value(account(number)) {
            holdings.insert(Row::of(object));
        }
    }
    println!(
        "{} accounts, {ROUNDS} pages each; milliseconds: median, 99th percentile, bytes of the page",
        holdings.sizes().0
    );
    let everything = Sight::of("alice", Extent::Everything);
    let own = Sight::of("alice", Extent::Own);
    let floor = measured(|| holdings.find(&Query::parse("q=nothing-is-called-so"), now, |_| false).len());
    line("floor: every row once", &floor, 0);
    for (what, query) in QUERIES {
        line(
            what,
            &measured(|| rendered(&holdings, &everything, query, now).len()),
            rendered(&holdings, &everything, query, now).len(),
        );
    }
    line(
        "only one's own",
        &measured(|| rendered(&holdings, &own, "", now).len()),
        rendered(&holdings, &own, "", now).len(),
    );
}

fn measured(mut page: impl FnMut() -> usize) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            black_box(page());
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}

fn line(what: &str, times: &[Duration], bytes: usize) {
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0;
    println!("{what:<28}{:>9.2}{:>9.2}{bytes:>10}", at(50), at(99));
}

fn account(number: usize) -> serde_json::Value {
    let (team, day) = (number % 100, number % 27 + 1);
    json!(ServiceAccount {
        metadata: kube::api::ObjectMeta {
            name: Some(format!("job-{number:05}")),
            namespace: Some(format!("team-{team}")),
            uid: Some(format!("00000000-0000-4000-8000-{number:012}")),
            annotations: Some([("keyrota.dev/created-by".to_owned(), ["alice", "bob", "carol"][number % 3].to_owned())].into()),
            ..kube::api::ObjectMeta::default()
        },
        spec: serde_json::from_value(json!({
            "description": format!("Batch job number {number} of the nightly run, which imports orders and writes reports"),
            "contact": {"email": format!("team-{team}@example.com")},
        }))
        .unwrap_or_default(),
        status: serde_json::from_value(json!({
            "observedGeneration": 1, "clientId": format!("{number:08x}-0000-4000-8000-000000000000"),
            "accountStatus": if number.is_multiple_of(7) { "Inactive" } else { "Active" }, "clientSecretStatus": "Active",
            "clientSecretExpiryTime": format!("2027-02-{day:02}T12:00:00Z"), "lastAccessTime": format!("2026-11-{:02}T12:00:00Z", day.min(22)),
        }))
        .ok(),
    })
}
