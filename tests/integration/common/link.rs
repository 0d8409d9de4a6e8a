//! The way from a gateway to the real API server, which a test can cut, freeze or slow down, and on which it can hold back
//! watches alone. Every answer that comes through is the API server's.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum_server::Handle;
use futures::TryStreamExt;
use http::{Request, Response, StatusCode};
use keyrota::server;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It comes through.
    Open,
    /// Nobody listens, and what was open is closed.
    Stopped,
    /// Requests are taken and never answered; watches fall silent.
    Frozen,
    /// Each answer comes this much later.
    Slow(Duration),
    /// Watches are silent, all else comes through.
    WithoutWatches,
}

/// The link, until it is dropped.
pub(crate) struct Link {
    pub(crate) kubeconfig: PathBuf,
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Option<(Handle<SocketAddr>, JoinHandle<()>)>,
}

struct Shared {
    client: Client,
    state: watch::Sender<State>,
}

impl Link {
    /// Open, and forwards everything as `client`; a kubeconfig that leads here stands in `folder`.
    pub(crate) async fn open(client: Client, folder: &Path) -> Self {
        let shared = Arc::new(Shared { client, state: watch::Sender::new(State::Open) });
        let address = super::operator::free_address();
        let kubeconfig = folder.join(format!("link-{}.kubeconfig", address.port()));
        std::fs::write(&kubeconfig, super::proxy::kubeconfig(address)).unwrap();
        let mut link = Self { kubeconfig, address, shared, server: None };
        link.becomes(State::Open).await;
        link
    }

    /// From now on.
    pub(crate) async fn becomes(&mut self, state: State) {
        self.shared.state.send_replace(state);
        if state == State::Stopped {
            if let Some((handle, server)) = self.server.take() {
                handle.shutdown();
                server.await.unwrap();
            }
        } else if self.server.is_none() {
            let listener = server::listen(self.address).unwrap();
            let shared = self.shared.clone();
            let router = Router::new().fallback(move |request| forward(shared.clone(), request));
            let handle = Handle::new();
            let serving = axum_server::from_tcp(listener).unwrap().handle(handle.clone());
            let serve = async { serving.serve(router.into_make_service()).await.unwrap() };
            self.server = Some((handle, tokio::spawn(serve)));
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.server.iter().for_each(|(handle, _)| handle.shutdown());
    }
}

async fn forward(shared: Arc<Shared>, request: Request<Body>) -> Response<Body> {
    let watches = request.uri().query().unwrap_or_default().contains("watch=true");
    shared.passable(watches).await;
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut forwarded = Request::builder().method(parts.method).uri(parts.uri.path_and_query().unwrap().as_str());
    for name in [http::header::ACCEPT, http::header::CONTENT_TYPE] {
        if let Some(value) = parts.headers.get(&name) {
            forwarded = forwarded.header(name, value);
        }
    }
    let answer = shared.client.send(forwarded.body(body.to_vec().into()).unwrap()).await;
    shared.passable(watches).await;
    match answer {
        Ok(answer) => answer.map(|body| {
            let pieces = Body::new(body).into_data_stream();
            Body::from_stream(pieces.and_then(move |piece| {
                let shared = shared.clone();
                async move {
                    shared.passable(watches).await;
                    Ok(piece)
                }
            }))
        }),
        Err(_) => Response::builder().status(StatusCode::BAD_GATEWAY).body(Body::empty()).unwrap(),
    }
}

impl Shared {
    /// Ends when what a watch, or another request, has to say may pass.
    async fn passable(&self, watches: bool) {
        let open = |state: &State| match state {
            State::Open | State::Slow(_) => true,
            State::WithoutWatches => !watches,
            State::Stopped | State::Frozen => false,
        };
        let mut state = self.state.subscribe();
        let state = *state.wait_for(open).await.unwrap();
        if let State::Slow(time) = state {
            tokio::time::sleep(time).await;
        }
    }
}
