//! Clients with HTTP/1.1 connections of their own: good ones whose latency is watched, and bad ones.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::ensure;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::future::try_join_all;
use keyrota::gateway::legacy;
use tokio::task::JoinSet;

use crate::{ACCOUNTS, credentials};

/// Where the gateway is.
#[derive(Clone)]
pub struct Target {
    url: Arc<str>,
}

impl Target {
    /// By the address of its listener.
    pub fn new(address: &str) -> Self {
        Self { url: format!("http://{address}{}?gwsource=external", legacy::PATH).into() }
    }

    async fn ask(&self, connection: &reqwest::Client, (id, secret): &(String, String)) -> anyhow::Result<u16> {
        let basic = BASE64_STANDARD.encode(format!("{id}:{secret}"));
        let request = connection.post(&*self.url).header("Authorization", format!("Basic {basic}"));
        let answer = request.body("grant_type=Client_Credentials").send().await?;
        let status = answer.status().as_u16();
        answer.bytes().await?;
        Ok(status)
    }
}

/// A client that keeps one connection.
fn connection() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().pool_max_idle_per_host(1).http1_only().build()?)
}

/// Every account's first token, over so many connections.
pub async fn ask_once_each(target: &Target, accounts: usize, connections: usize) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    try_join_all((0..connections).map(|_| async {
        let connection = connection()?;
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= accounts {
                return anyhow::Ok(());
            }
            let status = target.ask(&connection, &credentials(number)).await?;
            ensure!(status == 200, "account {number} got {status}");
        }
    }))
    .await
    .map(drop)
}

/// How long each request took.
#[derive(Default)]
pub struct Latencies {
    sorted: Vec<Duration>,
    /// Answers other than 200.
    pub refused: usize,
}

impl Latencies {
    /// The nearest-rank percentile.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.sorted.len() * percent).div_ceil(100).saturating_sub(1);
        self.sorted.get(rank).copied().unwrap_or_default()
    }

    /// How many got a token.
    pub fn granted(&self) -> usize {
        self.sorted.len()
    }
}

/// Clients that were verified before, each asking 200 times a second; a pause between requests, so that their own load
/// is not what is measured.
pub async fn watch(target: &Target, clients: usize, time: Duration) -> anyhow::Result<Latencies> {
    let end = Instant::now() + time;
    let all = try_join_all((0..clients).map(|client| async move {
        let connection = connection()?;
        let mut latencies = Latencies::default();
        let mut number = client;
        let mut turns = tokio::time::interval(Duration::from_millis(5));
        while Instant::now() < end {
            turns.tick().await;
            number = (number + clients) % ACCOUNTS;
            let pair = credentials(number);
            let began = Instant::now();
            match target.ask(&connection, &pair).await? {
                200 => latencies.sorted.push(began.elapsed()),
                _ => latencies.refused += 1,
            }
        }
        anyhow::Ok(latencies)
    }))
    .await?;
    let mut merged = Latencies::default();
    for one in all {
        merged.sorted.extend(one.sorted);
        merged.refused += one.refused;
    }
    merged.sorted.sort_unstable();
    Ok(merged)
}

/// What the bad clients get wrong.
#[derive(Clone, Copy)]
pub enum Wrong {
    /// Always of the same account.
    SecretOfOneAccount,
    /// Of all accounts in turn.
    SecretOfAnyAccount,
    /// One that nobody has; never the same twice.
    ClientId,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecretOfOneAccount => "secret of one account",
            Self::SecretOfAnyAccount => "secret of any account",
            Self::ClientId => "client ID",
        })
    }
}

/// How often each status was answered.
#[derive(Debug, Default)]
pub struct Answers(BTreeMap<u16, usize>);

impl Answers {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.0.values().map(|count| f64::from(u32::try_from(*count).unwrap_or(u32::MAX))).sum()
    }
}

/// Bad clients at work.
pub struct Flood {
    done: Arc<AtomicBool>,
    clients: JoinSet<anyhow::Result<Answers>>,
}

impl Flood {
    /// Ends them, and says what they were answered.
    pub async fn stop(mut self) -> anyhow::Result<Answers> {
        self.done.store(true, Relaxed);
        let mut merged = Answers::default();
        while let Some(ended) = self.clients.join_next().await {
            for (status, count) in ended??.0 {
                *merged.0.entry(status).or_default() += count;
            }
        }
        Ok(merged)
    }
}

/// Starts bad clients, each as fast as it can.
pub fn flood(target: &Target, wrong: Wrong, connections: usize) -> Flood {
    let done = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for client in 0..connections {
        let (target, done) = (target.clone(), done.clone());
        clients.spawn(async move {
            let connection = connection()?;
            let mut answers = Answers::default();
            let mut number = client;
            while !done.load(Relaxed) {
                number += connections;
                let pair = match wrong {
                    Wrong::SecretOfOneAccount => (credentials(0).0, format!("wrong-{number}")),
                    Wrong::SecretOfAnyAccount => (credentials(number % ACCOUNTS).0, format!("wrong-{number}")),
                    Wrong::ClientId => (credentials(ACCOUNTS + number).0, "wrong".to_owned()),
                };
                *answers.0.entry(target.ask(&connection, &pair).await?).or_default() += 1;
            }
            Ok(answers)
        });
    }
    Flood { done, clients }
}
