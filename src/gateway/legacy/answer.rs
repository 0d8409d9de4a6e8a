//! Answers of the manual's endpoint, byte for byte: compact JSON, the fields in this order, `tags` always `{}`.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use super::wire::WireError;
use crate::gateway::refusal::Refusal;

/// What a caller may wait for us before it asks again, in seconds.
const SOON: u32 = 1;

/// 200 with a token. A token has base64url characters and dots only, so it needs no escaping.
#[must_use]
pub fn granted(token: &str) -> Response {
    let parts = [r#"{"response":""#, token, r#"","message":null,"appStatusCode":null,"tags":{},"headers":null}"#];
    json(StatusCode::OK, parts.concat())
}

/// The table of SPEC 5.1.
#[must_use]
pub fn refused(refusal: Refusal) -> Response {
    let (status, code, message) = row(refusal);
    let parts = [
        r#"{"response":null,"message":""#,
        &*message,
        r#"","appStatusCode":""#,
        code,
        r#"","tags":{},"headers":null}"#,
    ];
    let mut response = json(status, parts.concat());
    let headers = response.headers_mut();
    if let Some(seconds) = retry_after(refusal) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match refusal {
        Refusal::Request(WireError::Method) => {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        // What is left of the body is not read: the connection cannot be used again.
        Refusal::Request(WireError::TooLarge | WireError::TooSlow | WireError::Incomplete) => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

/// Status, code and message. No message has a character that JSON escapes (held by a test).
fn row(refusal: Refusal) -> (StatusCode, &'static str, Cow<'static, str>) {
    const NOT_FOUND: &str = "Service account is invalid/not found::[Service account not found in the database]";
    const WRONG: &str = "Client Password is incorrect::[Invalid Client credential]";
    const NO_CREDENTIALS: &str = "Invalid Request::[Invalid client Id or secret]";
    const OURS: &str = "Error while processing.";
    match refusal {
        Refusal::Unknown | Refusal::Disabled | Refusal::Deleted => {
            (StatusCode::BAD_REQUEST, "ACCT_SA_003", NOT_FOUND.into())
        }
        Refusal::WrongSecret | Refusal::Ended | Refusal::External => {
            (StatusCode::BAD_REQUEST, "OAUTH_CLNT_015", WRONG.into())
        }
        Refusal::Credentials(_) => (StatusCode::BAD_REQUEST, "ACCT_SA_001", NO_CREDENTIALS.into()),
        Refusal::Request(error) => (status_of(error), "ACCT_SA_001", format!("Invalid Request::[{error}]").into()),
        Refusal::Limited { .. } => (StatusCode::TOO_MANY_REQUESTS, "avx-common-011", OURS.into()),
        Refusal::Overloaded | Refusal::NotReady | Refusal::Unsure | Refusal::NoKey => {
            (StatusCode::SERVICE_UNAVAILABLE, "avx-common-011", OURS.into())
        }
        Refusal::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "avx-common-011", OURS.into()),
    }
}

fn status_of(error: WireError) -> StatusCode {
    match error {
        WireError::Method => StatusCode::METHOD_NOT_ALLOWED,
        WireError::Path | WireError::EndpointOff => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn retry_after(refusal: Refusal) -> Option<u32> {
    match refusal {
        Refusal::Limited { retry_after } => Some(retry_after),
        Refusal::Overloaded | Refusal::NotReady | Refusal::Unsure | Refusal::NoKey => Some(SOON),
        _ => None,
    }
}

fn json(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
