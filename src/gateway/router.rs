//! Paths to handlers.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::any;
use http::Request;

use super::endpoint::App;
use super::legacy;

/// All endpoints of the gateway. Methods are the endpoints' own business: a wrong one gets their kind of answer.
pub fn router(app: Arc<App>) -> Router {
    Router::new().route(legacy::PATH, any(token)).fallback(no_such_path).with_state(app)
}

async fn token(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.token(request).await
}

async fn no_such_path(State(app): State<Arc<App>>) -> Response {
    app.no_such_path()
}
