//! A gateway that cannot hear the API server, or hears it late: who was known is served on, and nobody is refused whom the
//! API server would not refuse.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use chrono::TimeDelta;
use futures::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};

use super::common::eventually;
use super::common::link::{Link, State};
use super::common::operator::{Operator, SOON, free_address};

const BOTH: [&str; 2] = [keyrota::gateway::legacy::PATH, "/oauth2/token"];
/// Longer than a caller is kept waiting for a live read.
const LATE: Duration = Duration::from_secs(4);
/// As many as ask at once in a flood: three times what one search takes.
const FLOOD: usize = 300;

type Pair = (String, String);

/// A gateway without TLS: one that is cold has no certificate yet, and could answer nobody.
struct Gateway {
    address: SocketAddr,
    health: SocketAddr,
    http: reqwest::Client,
}

/// What a client is told.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    retry_after: Option<String>,
    error: String,
}

impl Answer {
    fn of(status: u16, error: &str) -> Self {
        Self { status, retry_after: None, error: error.into() }
    }
}

impl Gateway {
    /// Not ready yet.
    async fn launch(operator: &mut Operator) -> Self {
        operator.gateway_flags = ["--tls", "off"].map(str::to_owned).to_vec();
        let address = free_address();
        let health = operator.launch_gateway(address, &format!("http://{address}")).await;
        let http = reqwest::Client::builder().no_proxy().timeout(SOON).build().unwrap();
        let gateway = Self { address, health, http };
        eventually("it listens", SOON, async || tokio::net::TcpStream::connect(address).await.ok()).await;
        gateway
    }

    async fn start(operator: &mut Operator) -> Self {
        let gateway = Self::launch(operator).await;
        eventually("it is ready", SOON, async || gateway.is_ready().await.then_some(())).await;
        gateway
    }

    async fn is_ready(&self) -> bool {
        let answer = self.http.get(format!("http://{}/readyz", self.health)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    async fn ask(&self, path: &str, pair: &Pair) -> Answer {
        let request = self.http.post(format!("http://{}{path}", self.address)).basic_auth(&pair.0, Some(&pair.1));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let answer = request.body("grant_type=client_credentials").send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers());
        let retry_after = headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let error = body["appStatusCode"].as_str().or(body["error"].as_str()).unwrap_or_default().to_owned();
        Answer { status, retry_after, error }
    }

    async fn serves(&self, pair: &Pair) {
        for path in BOTH {
            assert_eq!(self.ask(path, pair).await, Answer::of(200, ""), "{path}");
        }
    }

    /// Says that nothing can be said, at both endpoints at once.
    async fn does_not_know(&self, pairs: &[&Pair]) {
        for path in BOTH {
            for answer in join_all(pairs.iter().map(|pair| self.ask(path, pair))).await {
                assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("1")), "{path}: {answer:?}");
            }
        }
    }

    /// Comes to this answer, and says nothing but 503 before.
    async fn comes_to(&self, path: &str, pair: &Pair, expected: Answer) {
        let answer = eventually("another answer than 503", SOON, async || {
            Some(self.ask(path, pair).await).filter(|answer| answer.status != 503)
        });
        assert_eq!(answer.await, expected, "{path}");
    }

    async fn comes_to_serve(&self, pair: &Pair) {
        for path in BOTH {
            self.comes_to(path, pair, Answer::of(200, "")).await;
        }
    }

    async fn comes_to_refuse(&self, pair: &Pair, code: &str) {
        self.comes_to(BOTH[0], pair, Answer::of(400, code)).await;
        self.comes_to(BOTH[1], pair, Answer::of(401, "invalid_client")).await;
    }
}

/// An operator with the account `warm`, whose credential is this, and a link before its gateways.
async fn setting() -> (Operator, Link, Pair) {
    let mut operator = Operator::start().await;
    let link = operator.gateways_behind_a_link().await;
    operator.ready("warm", json!({})).await;
    let pair = operator.credential("warm-credentials").await;
    (operator, link, pair)
}

async fn warmed(operator: &mut Operator, pair: &Pair) -> Gateway {
    let gateway = Gateway::start(operator).await;
    gateway.comes_to_serve(pair).await;
    gateway
}

fn wrong(pair: &Pair) -> Pair {
    (pair.0.clone(), "wrong".to_owned())
}

fn stranger() -> Pair {
    ("97074e41-8af9-456d-9a64-f0c4bb908048".to_owned(), "aB3-nobody-knows-it-Zz9".to_owned())
}

#[rstest]
#[case::stopped(State::Stopped)]
#[case::frozen(State::Frozen)]
#[case::slow(State::Slow(LATE))]
#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_cannot_be_heard_who_was_known_is_served_and_nobody_is_refused(#[case] trouble: State) {
    let (mut operator, mut link, warm) = setting().await;
    let gateway = warmed(&mut operator, &warm).await;
    link.becomes(trouble).await;
    // The controller goes its own way: this secret is published, and the gateway has not heard of it.
    operator.ready("fresh", json!({})).await;
    let fresh = operator.credential("fresh-credentials").await;
    gateway.serves(&warm).await;
    if !matches!(trouble, State::Slow(_)) {
        // A watch that is merely slow tells of it after a while.
        gateway.does_not_know(&[&fresh]).await;
    }
    gateway.does_not_know(&[&wrong(&warm), &stranger()]).await;
    gateway.serves(&warm).await;
    assert!(gateway.is_ready().await, "it is of use");
    link.becomes(State::Open).await;
    gateway.comes_to_serve(&fresh).await;
    gateway.comes_to_refuse(&wrong(&warm), "OAUTH_CLNT_015").await;
    gateway.comes_to_refuse(&stranger(), "ACCT_SA_003").await;
    gateway.serves(&warm).await;
}

#[rstest]
#[case::stopped(State::Stopped)]
#[case::frozen(State::Frozen)]
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_starts_without_an_api_server_refuses_nobody_and_is_not_ready(#[case] trouble: State) {
    let (mut operator, mut link, known) = setting().await;
    link.becomes(trouble).await;
    let gateway = Gateway::launch(&mut operator).await;
    gateway.does_not_know(&[&known, &wrong(&known), &stranger()]).await;
    let keys = gateway.http.get(format!("http://{}/.well-known/jwks.json", gateway.address)).send().await.unwrap();
    assert_eq!(keys.status(), 503);
    assert!(!gateway.is_ready().await);
    link.becomes(State::Open).await;
    gateway.comes_to_serve(&known).await;
    gateway.comes_to_refuse(&wrong(&known), "OAUTH_CLNT_015").await;
    eventually("it is ready", SOON, async || gateway.is_ready().await.then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_published_a_moment_ago_gets_in_by_a_live_read_alone_and_so_through_a_flood_of_strangers() {
    let (mut operator, mut link, warm) = setting().await;
    let gateway = Arc::new(warmed(&mut operator, &warm).await);
    link.becomes(State::WithoutWatches).await;
    operator.ready("fresh", json!({})).await;
    gateway.serves(&operator.credential("fresh-credentials").await).await;
    gateway.comes_to_refuse(&wrong(&warm), "OAUTH_CLNT_015").await;

    operator.ready("late", json!({})).await;
    let late = operator.credential("late-credentials").await;
    operator.edit("warm", json!({"spec": {"regenerate": {"clientSecret": 1}}})).await;
    let regenerated = operator.next_credential("warm-credentials", &warm).await;
    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let flood: Vec<_> = (0..FLOOD)
        .map(|number| tokio::spawn(strangers(gateway.clone(), number, over.clone(), asked.clone())))
        .collect();
    eventually("the flood runs", SOON, async || (asked.load(Relaxed) > 3 * FLOOD).then_some(())).await;
    gateway.serves(&warm).await;
    for pair in [&late, &regenerated] {
        gateway.comes_to_serve(pair).await;
    }
    over.store(true, Relaxed);
    for stranger in flood {
        stranger.await.unwrap();
    }
}

/// Asks with one client ID after the other that is nobody's, until it is over.
async fn strangers(gateway: Arc<Gateway>, number: usize, over: Arc<AtomicBool>, asked: Arc<AtomicUsize>) {
    while !over.load(Relaxed) {
        let id = format!("97074e41-8af9-456d-{number:04x}-{:012x}", asked.fetch_add(1, Relaxed));
        let answer = gateway.ask(BOTH[0], &(id, "aB3-guessed-Zz9".to_owned())).await;
        assert!([400, 503].contains(&answer.status), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_has_fallen_silent_is_noticed_and_what_it_missed_is_listed() {
    let (mut operator, mut link, warm) = setting().await;
    let gateway = warmed(&mut operator, &warm).await;
    link.becomes(State::WithoutWatches).await;
    operator.edit("warm", json!({"spec": {"enabled": false}})).await;
    gateway.serves(&warm).await;
    // No watch says it: after 35 s of silence a list does.
    eventually("what is disabled is refused", 3 * SOON, async || {
        (gateway.ask(BOTH[0], &warm).await == Answer::of(400, "ACCT_SA_003")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_server_for_longer_than_max_stale_nobody_is_served_until_it_is_back() {
    let (mut operator, clock) = Operator::on_manual_clock().await;
    let mut link = operator.gateways_behind_a_link().await;
    operator.ready("warm", json!({})).await;
    let warm = operator.credential("warm-credentials").await;
    let gateway = warmed(&mut operator, &warm).await;
    link.becomes(State::Stopped).await;
    clock.advance(TimeDelta::minutes(59));
    gateway.serves(&warm).await;
    clock.advance(TimeDelta::minutes(2));
    gateway.does_not_know(&[&warm, &wrong(&warm), &stranger()]).await;
    assert!(!gateway.is_ready().await);
    // A quiet watch proves nothing for half a minute: a list does at once.
    link.becomes(State::WithoutWatches).await;
    gateway.comes_to_serve(&warm).await;
}
