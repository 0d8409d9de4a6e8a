//! The way in: requests for tokens go to their endpoint at once, all others by way of the router.
//!
//! axum's router takes what it serves through four boxes, which costs an HS256 token a twelfth of all its instructions.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use http::{Method, Request};
use hyper::body::Incoming;

use super::endpoint::App;
use super::router;
use crate::domain::paths;
use crate::server::Answers;
use crate::telemetry::span;

/// What answers at the gateway's listener.
#[derive(Clone)]
pub struct Front {
    app: Arc<App>,
    /// Has all endpoints, those for tokens too.
    router: Router,
    /// Whether tokens do not go by way of the router: spans are begun there.
    quick: bool,
}

impl Front {
    /// Of this gateway; `scheme`, http or https, is for spans.
    #[must_use]
    pub fn new(app: Arc<App>, scheme: &'static str) -> Self {
        let router = span::around(router::router(app.clone()), router::paths(), scheme);
        Self { app, router, quick: !span::are_sent() }
    }
}

impl Answers for Front {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response {
        let quick = self.quick && request.method() == Method::POST;
        match request.uri().path() {
            paths::LEGACY_TOKEN if quick => self.app.token(request, Some(peer)).await,
            paths::TOKEN if quick => self.app.oauth_token(request, Some(peer)).await,
            _ => Box::pin(self.router.answer(request, peer)).await,
        }
    }
}
