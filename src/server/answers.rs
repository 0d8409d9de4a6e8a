//! What answers requests: a router, or something quicker before it.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use tower::Service;

/// What answers the requests that come to a listener.
pub trait Answers: Clone + Send + Sync + 'static {
    /// The answer to a request of `peer`.
    fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> impl Future<Output = Response> + Send;
}

/// Tells its handlers the peer as [`ConnectInfo`].
impl Answers for Router {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        // A router is always ready.
        let Ok(response) = self.clone().call(request).await;
        response
    }
}
