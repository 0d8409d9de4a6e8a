//! A proxy between an operator and the real API server that can stop the operator's world before or after any of its
//! writes. It injects faults and nothing else: every answer is the API server's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Method, Request, StatusCode};
use kube::Client;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// When a write is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The API server never sees it.
    Before,
    /// The API server has committed it, its answer never arrives.
    After,
    /// The API server never sees it, and is said to be out of order. Whoever wrote lives on.
    Failed,
}

/// The proxy, until it is dropped.
pub(crate) struct Proxy {
    pub(crate) kubeconfig: PathBuf,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    client: Client,
    script: Mutex<Script>,
    cut: Notify,
    held: Notify,
    answered: tokio::sync::watch::Sender<Option<StatusCode>>,
}

#[derive(Default)]
struct Script {
    writes: Vec<String>,
    cut_at: Option<(usize, Moment)>,
    hold: Option<(String, usize)>,
}

impl Proxy {
    /// Forwards everything as `client`, and puts a kubeconfig that leads here beside the others in `folder`.
    pub(crate) async fn start(client: Client, folder: &std::path::Path) -> Self {
        let shared = Arc::new(Shared {
            client,
            script: Mutex::default(),
            cut: Notify::new(),
            held: Notify::new(),
            answered: tokio::sync::watch::Sender::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(forward).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let kubeconfig = folder.join(format!("proxy-{}.kubeconfig", address.port()));
        std::fs::write(&kubeconfig, self::kubeconfig(address)).unwrap();
        Self { kubeconfig, shared, server }
    }

    /// From now on writes are counted from 1, and the one with this number is cut off.
    pub(crate) fn cut_at(&self, write: usize, moment: Moment) {
        *self.shared.script.lock() = Script { cut_at: Some((write, moment)), ..Script::default() };
    }

    /// Of the writes to this object from now on, the one with this number is held back until it is released.
    pub(crate) fn hold(&self, object: &str, write: usize) {
        *self.shared.script.lock() = Script { hold: Some((object.to_owned(), write)), ..Script::default() };
    }

    /// Lets the write that is held back go to the API server now, and returns what that answers.
    pub(crate) async fn release(&self) -> StatusCode {
        self.shared.held.notify_one();
        let mut answered = self.shared.answered.subscribe();
        let status = *answered.wait_for(Option::is_some).await.unwrap();
        status.unwrap()
    }

    /// From now on writes are counted from 1, and all pass.
    pub(crate) fn pass(&self) {
        *self.shared.script.lock() = Script::default();
    }

    /// The writes since the count began.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.shared.script.lock().writes.clone()
    }

    /// Ends when the write has been cut off, or is held back.
    pub(crate) async fn until_cut(&self) {
        self.shared.cut.notified().await;
    }
}

/// Leads to an API server at this address that asks for neither TLS nor a name.
pub(crate) fn kubeconfig(address: SocketAddr) -> String {
    format!(
        "{{apiVersion: v1, kind: Config, current-context: p, clusters: [{{name: p, cluster: {{server: 'http://{address}'}}}}], \
         contexts: [{{name: p, context: {{cluster: p, user: p}}}}], users: [{{name: p, user: {{}}}}]}}"
    )
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let cut = shared.note(&request);
    if cut == Some(Moment::Before) {
        return shared.silence().await;
    }
    if cut == Some(Moment::Failed) {
        return Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).body(Body::empty()).unwrap();
    }
    let held = shared.holds(&request);
    if held {
        shared.cut.notify_one();
        shared.held.notified().await;
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut forwarded = Request::builder().method(parts.method).uri(parts.uri.path_and_query().unwrap().as_str());
    for name in [http::header::ACCEPT, http::header::CONTENT_TYPE] {
        if let Some(value) = parts.headers.get(&name) {
            forwarded = forwarded.header(name, value);
        }
    }
    let answer = shared.client.send(forwarded.body(body.to_vec().into()).unwrap()).await;
    if cut == Some(Moment::After) {
        return shared.silence().await;
    }
    if held {
        shared.answered.send_replace(answer.as_ref().ok().map(http::Response::status));
    }
    match answer {
        Ok(answer) => answer.map(Body::new),
        Err(_) => Response::builder().status(StatusCode::BAD_GATEWAY).body(Body::empty()).unwrap(),
    }
}

impl Shared {
    /// Counts a write; Events and Leases are nobody's state.
    fn note(&self, request: &Request<Body>) -> Option<Moment> {
        let path = request.uri().path();
        if request.method() == Method::GET || path.contains("/events") || path.contains("/leases") {
            return None;
        }
        let mut script = self.script.lock();
        script.writes.push(format!("{} {path}", request.method()));
        let number = script.writes.len();
        script.cut_at.filter(|(at, _)| *at == number).map(|(_, moment)| moment)
    }

    fn holds(&self, request: &Request<Body>) -> bool {
        let mut script = self.script.lock();
        let Some((object, left)) = &mut script.hold else { return false };
        if request.method() == Method::GET || !request.uri().path().ends_with(&format!("/{object}")) {
            return false;
        }
        *left = left.saturating_sub(1);
        let holds = *left == 0;
        if holds {
            script.hold = None;
        }
        holds
    }

    async fn silence(&self) -> Response {
        self.cut.notify_one();
        std::future::pending().await
    }
}
