//! By when the standard endpoint refuses, nobody can tell who is unknown, disabled, or has another secret.
//!
//! Compared by ranks, never by times: the AUC is the chance that of two samples of two kinds the one of the second took
//! longer, so a half where the kinds cannot be told apart, whatever the machine and however busy it is.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use serde_json::json;

use super::common::eventually;
use super::common::operator::{Gateway, Operator, SOON};

/// Of each kind; `just timing` takes fifty thousand.
const SAMPLES: usize = 300;
/// Of each kind at the manual's endpoint, which answers as soon as it can.
const CONTROLS: usize = 40;
const CONNECTIONS: usize = 100;

const KINDS: [&str; 3] = ["unknown", "disabled", "wrong secret"];

#[expect(clippy::disallowed_methods, reason = "only a test asks how long it is to be")]
fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |number| number.parse().unwrap())
}

/// How long the refusals of one kind took, in order.
type Times = Vec<Duration>;

struct Asker<'a> {
    gateway: &'a Gateway,
    /// Answers that said nothing, of each kind.
    unsure: [AtomicUsize; 3],
    url: String,
    disabled: String,
    known: String,
}

impl Asker<'_> {
    /// One sample of a kind. Each comes from an address of its own, as a proxy that the gateway trusts says: nothing is
    /// limited. A busy machine's 503 is counted, and asked again.
    async fn sample(&self, kind: usize, number: usize) -> Duration {
        let id = match kind {
            0 => format!("97074e41-8af9-456d-9a64-{number:012x}"),
            1 => self.disabled.clone(),
            _ => self.known.clone(),
        };
        let address = Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(number).unwrap());
        let body = "grant_type=client_credentials";
        loop {
            let request = self.gateway.http.post(&self.url).basic_auth(&id, Some(format!("guess-{number}")));
            let request = request.header("X-Forwarded-For", address.to_string());
            let request = request.header("Content-Type", "application/x-www-form-urlencoded");
            let started = Instant::now();
            let answer = request.body(body).send().await.unwrap();
            let status = answer.status().as_u16();
            answer.bytes().await.unwrap();
            let elapsed = started.elapsed();
            if status != 503 {
                assert!([400, 401].contains(&status), "{}: {status}", KINDS[kind]);
                return elapsed;
            }
            self.unsure[kind].fetch_add(1, Relaxed);
        }
    }

    /// As many of each kind, in turn.
    async fn times(&self, each: usize, connections: usize) -> [Times; 3] {
        let mut times = [Times::new(), Times::new(), Times::new()];
        let taken = stream::iter(0..3 * each).map(async |at| (at % 3, self.sample(at % 3, at).await));
        let mut taken = std::pin::pin!(taken.buffer_unordered(connections));
        while let Some((kind, time)) = taken.next().await {
            times[kind].push(time);
        }
        println!("{connections} connections at {}; answers of 503: {:?}", self.url, self.unsure);
        times.each_mut().into_iter().for_each(|times| times.sort_unstable());
        times
    }
}

/// Mann and Whitney's U as a share of all pairs; both in order, equal times count a half.
fn auc(first: &Times, second: &Times) -> f64 {
    let pairs: f64 = second
        .iter()
        .map(|time| {
            let (below, through) = (first.partition_point(|x| x < time), first.partition_point(|x| x <= time));
            (below + through) as f64 / 2.0
        })
        .sum();
    pairs / (first.len() as f64 * second.len() as f64)
}

/// Of each two kinds, the AUC; printed besides the percentiles.
fn compared(times: &[Times; 3]) -> [f64; 3] {
    for (kind, times) in KINDS.iter().zip(times) {
        let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
        let [p1, p25, p50, p75, p99] = [1, 25, 50, 75, 99].map(at);
        println!(
            "{kind:12} {:6} samples, ms: p1 {p1:.2} p25 {p25:.2} p50 {p50:.2} p75 {p75:.2} p99 {p99:.2}",
            times.len()
        );
    }
    [(0, 1), (0, 2), (1, 2)].map(|(first, second)| {
        let auc = auc(&times[first], &times[second]);
        println!("AUC {} / {}: {auc:.4}", KINDS[first], KINDS[second]);
        auc
    })
}

#[test]
fn the_measure_tells_two_kinds_apart_and_one_from_itself_not() {
    let times = |all: &[u64]| all.iter().map(|ms| Duration::from_millis(*ms)).collect::<Times>();
    let (low, high) = (times(&[1, 2, 3]), times(&[4, 5]));
    assert_eq!([auc(&low, &high), auc(&high, &low), auc(&low, &low)], [1.0, 0.0, 0.5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_disabled_and_a_wrong_secret_cannot_be_told_apart_by_the_time_of_the_answer() {
    let mut operator = Operator::start().await;
    operator.gateway_flags = ["--trusted-proxy", "127.0.0.0/8"].map(str::to_owned).to_vec();
    let gateway = operator.start_gateway().await;
    for name in ["known", "disabled"] {
        operator.ready(name, json!({})).await;
    }
    let [known, disabled] = ["known", "disabled"].map(|name| format!("{name}-credentials"));
    let (known, disabled) = (operator.credential(&known).await, operator.credential(&disabled).await);
    operator.edit("disabled", json!({"spec": {"enabled": false}})).await;
    eventually("disabled", SOON, async || (gateway.token(&disabled).await.0 == 400).then_some(())).await;
    eventually("known", SOON, async || (gateway.token(&known).await.0 == 200).then_some(())).await;
    let manuals = format!("https://{}{}", gateway.address, keyrota::gateway::legacy::PATH);
    let standard = format!("https://{}/oauth2/token", gateway.address);
    let asker = |url| Asker {
        gateway: &gateway,
        unsure: Default::default(),
        url,
        disabled: disabled.0.clone(),
        known: known.0.clone(),
    };

    let told_apart = compared(&asker(manuals).times(CONTROLS, 1).await);
    let (each, connections) =
        (number("KEYROTA_TIMING_SAMPLES", SAMPLES), number("KEYROTA_TIMING_CONNECTIONS", CONNECTIONS));
    let even = compared(&asker(standard).times(each, connections).await);

    // What can be seen where nothing is held back is what would be seen here.
    assert!(told_apart[0] > 0.9, "{told_apart:?}");
    // Four standard errors and more, of three hundred samples.
    assert!(even.iter().all(|auc| (0.4..=0.6).contains(auc)), "{even:?}");
}
