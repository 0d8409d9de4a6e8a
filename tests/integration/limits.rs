//! Failures are counted over real connections; good credentials are not touched by them.

use std::net::SocketAddr;
use std::sync::Arc;

use axum_server::Handle;
use futures::future::join_all;
use keyrota::gateway::front::Front;
use keyrota::gateway::limit::client::{Clients, ProxyHeader};
use keyrota::gateway::metrics::Metrics;
use keyrota::server::{self, Patience};
use prometheus_client::registry::Registry;

use crate::fixtures::{FakeLive, account, app_behind, index};

const LIMITED: &str = r#"{"response":null,"message":"Error while processing.","appStatusCode":"avx-common-011","tags":{},"headers":null}"#;

struct Gateway {
    address: SocketAddr,
    http: reqwest::Client,
}

/// With the accounts `a` and `b`, whose secrets are `right`; without TLS.
async fn gateway(clients: Clients) -> Gateway {
    server::install_crypto();
    let accounts = ["a", "b"].map(|name| account(name, name, "right").unwrap());
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let live = Arc::new(FakeLive::new(&accounts, false));
    let app = app_behind(clients, &index(&accounts).unwrap(), live, None, metrics).unwrap();
    let listener = server::listen(([127, 0, 0, 1], 0).into()).unwrap();
    let (address, handle) = (listener.local_addr().unwrap(), Handle::new());
    drop(tokio::spawn(server::serve(
        listener,
        None,
        Front::new(Arc::new(app), "http"),
        handle.clone(),
        Patience::default(),
    )));
    handle.listening().await;
    Gateway { address, http: reqwest::Client::builder().no_proxy().build().unwrap() }
}

impl Gateway {
    async fn ask(&self, id: &str, secret: &str, forwarded: Option<&str>) -> reqwest::Response {
        let url = format!("http://{}/avxapi/acctmgmt-get-service-token", self.address);
        let mut request = self.http.post(url).basic_auth(id, Some(secret));
        if let Some(address) = forwarded {
            request = request.header("x-forwarded-for", address);
        }
        request.send().await.unwrap()
    }

    async fn status(&self, id: &str, secret: &str) -> u16 {
        self.ask(id, secret, None).await.status().as_u16()
    }

    /// Fails as often, each time with another secret. All at once: one by one, each would wait a second for a live read,
    /// and much would be forgiven meanwhile.
    async fn guess(&self, id: &str, times: usize, forwarded: Option<&str>) {
        let guess = async |number| self.ask(id, &format!("guess {number}"), forwarded).await.status();
        let answers = join_all((0..times).map(guess)).await;
        assert!(answers.iter().all(|status| *status == 400), "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_limited_in_the_endpoints_own_words_and_known_credentials_are_served_on() {
    let gateway = gateway(Clients::default()).await;
    assert_eq!(gateway.status("a", "right").await, 200);
    gateway.guess("a", 10, None).await;
    let answer = gateway.ask("a", "another guess", None).await;
    assert_eq!(answer.status(), 429);
    let wait: u32 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    assert_eq!(answer.text().await.unwrap(), LIMITED);
    // The holder of what was verified before is served, and so is everybody with another client ID.
    assert_eq!(gateway.status("a", "right").await, 200);
    assert_eq!(gateway.status("b", "right").await, 200);
    assert_eq!(gateway.status("b", "wrong").await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_secret_tried_again_and_again_counts_once() {
    let gateway = gateway(Clients::default()).await;
    let answers = join_all((0..30).map(async |_| gateway.status("a", "wrong").await)).await;
    assert!(answers.iter().all(|status| *status == 400), "{answers:?}");
    // Escaped in two ways it is still one request with one failure.
    for number in 0..4 {
        assert_eq!(gateway.status("a", &format!("wr%2B{number}+")).await, 400);
    }
    assert_eq!(gateway.status("a", "right").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_each_client_is_counted_alone_and_elsewhere_nobody_can_lie() {
    let proxies = vec!["127.0.0.1/32".parse().unwrap()];
    let trusting = gateway(Clients { proxies, header: ProxyHeader::XForwardedFor, ..Clients::default() }).await;
    trusting.guess("a", 10, Some("198.51.100.9, 203.0.113.7")).await;
    assert_eq!(trusting.ask("a", "more", Some("203.0.113.7")).await.status(), 429);
    assert_eq!(trusting.ask("a", "more", Some("198.51.100.9")).await.status(), 400);
    // The proxy itself is many.
    trusting.guess("a", 20, None).await;
    let plain = gateway(Clients::default()).await;
    plain.guess("a", 10, None).await;
    assert_eq!(plain.ask("a", "more", Some("203.0.113.7")).await.status(), 429);
}
