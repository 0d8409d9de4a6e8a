//! Answers of the standard endpoints: RFC 6749 sections 5.1 and 5.2 to the letter.

use std::sync::LazyLock;

use axum::response::Response;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use crate::domain::json::Object;
use crate::gateway::basic::BasicError;
use crate::gateway::refusal::Refusal;
use crate::gateway::reply::{SOON, headers, reply};
use crate::gateway::request::RequestError;

/// RFC 7617: what we want is Basic, and non-ASCII in it is UTF-8.
const CHALLENGE: &str = r#"Basic realm="keyrota", charset="UTF-8""#;

/// A token for the one who asked.
#[derive(ToSchema)]
pub struct Granted<'a> {
    /// The token.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// In seconds.
    pub expires_in: i64,
    /// Separated by spaces; absent without any.
    #[schema(nullable = false)]
    pub scope: Option<&'a str>,
}

/// RFC 6749 section 5.2.
#[derive(Serialize, ToSchema)]
#[schema(as = OauthError)]
pub struct Error {
    /// One of the RFC's codes.
    error: &'static str,
    /// For people.
    error_description: String,
}

/// 200 with a token.
#[must_use]
pub fn granted(answer: &Granted<'_>) -> Response {
    let Granted { access_token, token_type, expires_in, scope } = answer;
    let mut json = Object::with_capacity(access_token.len() + 128);
    json.plain("access_token", access_token);
    json.plain("token_type", token_type);
    json.number("expires_in", *expires_in);
    if let Some(scope) = scope {
        json.text("scope", scope);
    }
    reply(StatusCode::OK, &HEADERS, json.end())
}

/// 200, and not to be stored by anybody.
#[must_use]
pub fn private(body: &impl Serialize) -> Response {
    json(StatusCode::OK, body)
}

/// 200, and good for `seconds`.
#[must_use]
pub fn public(body: &impl Serialize, seconds: u32) -> Response {
    let mut response = json(StatusCode::OK, body);
    response.headers_mut().remove(PRAGMA);
    if let Ok(value) = HeaderValue::from_str(&format!("public, max-age={seconds}")) {
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    response
}

/// The answer to a refusal. `allow`: the methods of this endpoint.
#[must_use]
pub fn refused(refusal: Refusal, allow: &'static str) -> Response {
    let (status, code, description) = row(refusal);
    let mut response = json(status, &Error { error: code, error_description: description });
    let headers = response.headers_mut();
    match refusal {
        Refusal::Limited { retry_after } => drop(headers.insert(RETRY_AFTER, HeaderValue::from(retry_after))),
        _ if status == StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(RETRY_AFTER, HeaderValue::from(SOON))),
        _ if status == StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        Refusal::Request(RequestError::Method) => drop(headers.insert(ALLOW, HeaderValue::from_static(allow))),
        // What is left of the body is not read: the connection cannot be used again.
        Refusal::Request(RequestError::TooLarge | RequestError::TooSlow | RequestError::Incomplete) => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

/// Status, code and description. Who is unknown, disabled or has another secret is told the same.
fn row(refusal: Refusal) -> (StatusCode, &'static str, String) {
    match refusal {
        // Not a failed authentication: the request is no request.
        Refusal::Credentials(error @ (BasicError::Repeated | BasicError::TooLong)) => {
            (StatusCode::BAD_REQUEST, "invalid_request", error.to_string())
        }
        Refusal::Unknown
        | Refusal::Disabled
        | Refusal::Deleted
        | Refusal::WrongSecret
        | Refusal::Ended
        | Refusal::External
        | Refusal::Assertion(_)
        | Refusal::Credentials(_) => {
            (StatusCode::UNAUTHORIZED, "invalid_client", "Client authentication failed".into())
        }
        Refusal::Request(error) => {
            let (status, code) = match error {
                RequestError::Method => (StatusCode::METHOD_NOT_ALLOWED, "invalid_request"),
                RequestError::Path | RequestError::EndpointOff => (StatusCode::NOT_FOUND, "invalid_request"),
                RequestError::GrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
                RequestError::Scope => (StatusCode::BAD_REQUEST, "invalid_scope"),
                RequestError::Target => (StatusCode::BAD_REQUEST, "invalid_target"),
                _ => (StatusCode::BAD_REQUEST, "invalid_request"),
            };
            (status, code, error.to_string())
        }
        Refusal::Limited { .. } => {
            (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", "Too many failures, try again later".into())
        }
        Refusal::Overloaded | Refusal::NotReady | Refusal::Unsure | Refusal::NoKey | Refusal::NoIssuerKeys => {
            (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "Try again in a moment".into())
        }
        Refusal::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", "Error while processing".into()),
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let (status, body) = match serde_json::to_vec(body) {
        Ok(body) => (status, body),
        Err(error) => {
            error!(%error, "an answer cannot be serialized");
            (StatusCode::INTERNAL_SERVER_ERROR, br#"{"error":"server_error"}"#.to_vec())
        }
    };
    reply(status, &HEADERS, body)
}

static HEADERS: LazyLock<HeaderMap> =
    LazyLock::new(|| headers([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")]));
