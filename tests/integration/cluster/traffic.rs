//! A client that holds the credential in the published Secret, and asks for tokens without pause.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::common::operator::text;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(50);

/// What the answers were.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    pub(super) granted: usize,
    /// 503, or no connection: a client tries again.
    pub(super) later: usize,
    /// Status and body.
    pub(super) refused: Vec<String>,
}

/// Traffic that runs until it is dropped.
pub(super) struct Traffic {
    answers: Arc<Mutex<Answers>>,
    running: JoinHandle<()>,
}

impl Traffic {
    /// With the Secret's content as it is at each request, to the manual's endpoint at `base`.
    pub(super) fn start(secrets: Api<Secret>, name: &str, base: &str) -> Self {
        let answers = Arc::<Mutex<Answers>>::default();
        let running = tokio::spawn(run(secrets, name.to_owned(), base.to_owned(), answers.clone()));
        Self { answers, running }
    }

    pub(super) fn answers(&self) -> Answers {
        self.answers.lock().clone()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn run(secrets: Api<Secret>, name: String, base: String, answers: Arc<Mutex<Answers>>) {
    let mut http = None;
    loop {
        tokio::time::sleep(PAUSE).await;
        let Ok(secret) = secrets.get(&name).await else { continue };
        let http = http.get_or_insert_with(|| client(&text(&secret, "ca.crt")));
        match ask(http, &base, &text(&secret, "client-id"), &text(&secret, "client-secret")).await {
            Some((200, _)) => answers.lock().granted += 1,
            None | Some((503, _)) => answers.lock().later += 1,
            Some((status, body)) => answers.lock().refused.push(format!("{status} {body}")),
        }
    }
}

/// Trusts the gateway's own CA alone, and opens a connection for each request, as many short-lived clients do.
pub(super) fn client(ca: &str) -> reqwest::Client {
    let ca = reqwest::Certificate::from_pem(ca.as_bytes()).unwrap();
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).pool_max_idle_per_host(0);
    builder.timeout(Duration::from_secs(10)).build().unwrap()
}

/// The manual's request. None without an answer.
pub(super) async fn ask(http: &reqwest::Client, base: &str, id: &str, secret: &str) -> Option<(u16, String)> {
    let url = format!("{base}/avxapi/acctmgmt-get-service-token?gwsource=external");
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let request = http.post(url).header("Authorization", basic).body("grant_type=Client_Credentials");
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.text().await.ok()?))
}
