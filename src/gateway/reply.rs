//! What the answers of all endpoints are made of.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// What a caller may wait for us before it asks again, in seconds.
pub(super) const SOON: u32 = 1;

/// Headers that every answer of an endpoint has: to copy them costs half of what it costs to insert each.
pub(super) fn headers<const N: usize>(pairs: [(HeaderName, &'static str); N]) -> HeaderMap {
    pairs.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect()
}

/// An answer.
pub(super) fn reply(status: StatusCode, headers: &HeaderMap, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().clone_from(headers);
    response
}
