//! The wait for an identity that somebody else puts in place: in the sidecar form the controller, which may start later.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use axum_server::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::server::probe::report;
use crate::server::{self, Patience};

/// The file that is written last.
const TOKEN: &str = "token";
/// How soon it is noticed.
const POLL: Duration = Duration::from_millis(100);
/// Between two lines that say what is waited for.
const REMINDER: Duration = Duration::from_secs(15);

/// Ends when `directory` holds a token. Until then the probes say that the gateway lives and why it is not ready.
///
/// # Errors
/// When the probes' listener fails.
pub async fn wait(directory: &Path, probes: &TcpListener) -> anyhow::Result<()> {
    if is_there(directory) {
        return Ok(());
    }
    let shown = directory.display().to_string();
    info!(directory = shown, "waiting for an identity: the controller of this Pod puts it there");
    // Ends with this function.
    let mut serving = JoinSet::new();
    let listener = probes.try_clone().context("the probes' listener cannot be shared")?;
    let waiting = format!("there is no identity in {shown} yet");
    let router = Router::new()
        .route("/healthz", get(|| async { report(&[]) }))
        .route("/readyz", get(move || async move { report(&[waiting]) }));
    serving.spawn(server::serve(listener, None, router, Handle::new(), Patience::default()));
    let mut reminded = Instant::now();
    while !is_there(directory) {
        tokio::select! {
            () = sleep(POLL) => {}
            ended = serving.join_next() => anyhow::bail!("the probes' listener failed: {ended:?}"),
        }
        if reminded.elapsed() >= REMINDER {
            warn!(directory = shown, "still waiting for an identity: look into the controller's log");
            reminded = Instant::now();
        }
    }
    info!(directory = shown, "the gateway has its identity");
    Ok(())
}

fn is_there(directory: &Path) -> bool {
    std::fs::metadata(directory.join(TOKEN)).is_ok_and(|data| data.len() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn probe(address: std::net::SocketAddr, path: &str) -> Option<(u16, String)> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("http://{address}{path}")).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.unwrap()))
    }

    #[tokio::test]
    async fn it_lives_and_says_what_it_waits_for_until_the_token_is_there() {
        server::install_crypto();
        let directory = tempfile::tempdir().unwrap();
        let probes = server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = probes.local_addr().unwrap();
        let wait = wait(directory.path(), &probes);
        tokio::pin!(wait);
        let asked = async {
            let ready = probe(address, "/readyz").await.unwrap();
            assert_eq!(ready.0, 503);
            assert!(ready.1.starts_with("there is no identity in "), "{}", ready.1);
            assert_eq!(probe(address, "/healthz").await.unwrap().0, 200);
        };
        tokio::select! {
            _ = &mut wait => panic!("it did not wait"),
            () = asked => {}
        }
        std::fs::write(directory.path().join(TOKEN), "t").unwrap();
        wait.await.unwrap();
    }

    #[tokio::test]
    async fn an_identity_that_is_there_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(TOKEN), "t").unwrap();
        let probes = server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        wait(directory.path(), &probes).await.unwrap();
    }
}
