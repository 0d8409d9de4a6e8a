//! Paths to handlers.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::any;
use http::Request;

use super::endpoint::App;
use super::oauth::Document;
use crate::domain::paths;

/// All endpoints of the gateway. Methods are the endpoints' own business: a wrong one gets their kind of answer.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(paths::LEGACY_TOKEN, any(token))
        .route(paths::TOKEN, any(oauth_token))
        .route(paths::INTROSPECTION, any(introspect))
        .route(paths::METADATA, document(Document::Metadata))
        .route(paths::DISCOVERY, document(Document::Discovery))
        .route(paths::JWKS, document(Document::Jwks))
        .fallback(no_such_path)
        .with_state(app)
}

async fn token(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.token(request).await
}

async fn oauth_token(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.oauth_token(request).await
}

async fn introspect(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.introspect(request).await
}

fn document(which: Document) -> axum::routing::MethodRouter<Arc<App>> {
    any(move |State(app): State<Arc<App>>, request: Request<Body>| async move { app.document(which, request) })
}

async fn no_such_path(State(app): State<Arc<App>>) -> Response {
    app.no_such_path()
}
