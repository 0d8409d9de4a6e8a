//! Answers of the manual's endpoint, byte for byte: compact JSON, the fields in this order, `tags` always `{}`.

use std::borrow::Cow;
use std::sync::LazyLock;

use axum::response::Response;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::gateway::refusal::Refusal;
use crate::gateway::reply::{SOON, headers, reply};
use crate::gateway::request::RequestError;

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
        Refusal::Request(RequestError::Method) => {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        // What is left of the body is not read: the connection cannot be used again.
        Refusal::Request(RequestError::TooLarge | RequestError::TooSlow | RequestError::Incomplete) => {
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
        Refusal::Assertion(error) if error.is_unreadable() => {
            (StatusCode::BAD_REQUEST, "ACCT_SA_001", "Invalid Request::[Invalid client assertion]".into())
        }
        Refusal::Assertion(_) => (StatusCode::BAD_REQUEST, "OAUTH_CLNT_015", WRONG.into()),
        Refusal::Credentials(_) => (StatusCode::BAD_REQUEST, "ACCT_SA_001", NO_CREDENTIALS.into()),
        Refusal::Request(error) => (status_of(error), "ACCT_SA_001", format!("Invalid Request::[{error}]").into()),
        Refusal::Limited { .. } => (StatusCode::TOO_MANY_REQUESTS, "avx-common-011", OURS.into()),
        Refusal::Overloaded | Refusal::NotReady | Refusal::Unsure | Refusal::NoKey | Refusal::NoIssuerKeys => {
            (StatusCode::SERVICE_UNAVAILABLE, "avx-common-011", OURS.into())
        }
        Refusal::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "avx-common-011", OURS.into()),
    }
}

fn status_of(error: RequestError) -> StatusCode {
    match error {
        RequestError::Method => StatusCode::METHOD_NOT_ALLOWED,
        RequestError::Path | RequestError::EndpointOff => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn retry_after(refusal: Refusal) -> Option<u32> {
    match refusal {
        Refusal::Limited { retry_after } => Some(retry_after),
        Refusal::Overloaded | Refusal::NotReady | Refusal::Unsure | Refusal::NoKey | Refusal::NoIssuerKeys => {
            Some(SOON)
        }
        _ => None,
    }
}

static HEADERS: LazyLock<HeaderMap> =
    LazyLock::new(|| headers([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")]));

fn json(status: StatusCode, body: String) -> Response {
    reply(status, &HEADERS, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::assertion::AssertionError;
    use crate::gateway::basic::BasicError;
    use futures::FutureExt;
    use http_body_util::BodyExt;
    use rstest::rstest;

    fn text(response: Response) -> String {
        let body = response.into_body().collect().now_or_never().unwrap().unwrap().to_bytes();
        String::from_utf8(body.into()).unwrap()
    }

    const NOT_FOUND: &str = r#"{"response":null,"message":"Service account is invalid/not found::[Service account not found in the database]","appStatusCode":"ACCT_SA_003","tags":{},"headers":null}"#;
    const WRONG: &str = r#"{"response":null,"message":"Client Password is incorrect::[Invalid Client credential]","appStatusCode":"OAUTH_CLNT_015","tags":{},"headers":null}"#;
    const NO_CREDENTIALS: &str = r#"{"response":null,"message":"Invalid Request::[Invalid client Id or secret]","appStatusCode":"ACCT_SA_001","tags":{},"headers":null}"#;
    const ASSERTION: &str = r#"{"response":null,"message":"Invalid Request::[Invalid client assertion]","appStatusCode":"ACCT_SA_001","tags":{},"headers":null}"#;
    const GRANT_TYPE: &str = r#"{"response":null,"message":"Invalid Request::[Unsupported grant type]","appStatusCode":"ACCT_SA_001","tags":{},"headers":null}"#;
    const METHOD: &str = r#"{"response":null,"message":"Invalid Request::[Method not allowed, use POST]","appStatusCode":"ACCT_SA_001","tags":{},"headers":null}"#;
    const PATH: &str = r#"{"response":null,"message":"Invalid Request::[No such endpoint]","appStatusCode":"ACCT_SA_001","tags":{},"headers":null}"#;
    const OURS: &str = r#"{"response":null,"message":"Error while processing.","appStatusCode":"avx-common-011","tags":{},"headers":null}"#;

    #[rstest]
    #[case(Refusal::Unknown, 400, NOT_FOUND, None)]
    #[case(Refusal::Disabled, 400, NOT_FOUND, None)]
    #[case(Refusal::Deleted, 400, NOT_FOUND, None)]
    #[case(Refusal::WrongSecret, 400, WRONG, None)]
    #[case(Refusal::Ended, 400, WRONG, None)]
    #[case(Refusal::External, 400, WRONG, None)]
    #[case(Refusal::Assertion(AssertionError::Signature), 400, WRONG, None)]
    #[case(Refusal::Assertion(AssertionError::OtherNamespace), 400, WRONG, None)]
    #[case(Refusal::Assertion(AssertionError::NotAJwt), 400, ASSERTION, None)]
    #[case(Refusal::NoIssuerKeys, 503, OURS, Some("1"))]
    #[case(Refusal::Credentials(BasicError::Missing), 400, NO_CREDENTIALS, None)]
    #[case(Refusal::Credentials(BasicError::EmptySecret), 400, NO_CREDENTIALS, None)]
    #[case(Refusal::Request(RequestError::GrantType), 400, GRANT_TYPE, None)]
    #[case(Refusal::Request(RequestError::Method), 405, METHOD, None)]
    #[case(Refusal::Request(RequestError::Path), 404, PATH, None)]
    #[case(Refusal::Limited { retry_after: 7 }, 429, OURS, Some("7"))]
    #[case(Refusal::Overloaded, 503, OURS, Some("1"))]
    #[case(Refusal::NotReady, 503, OURS, Some("1"))]
    #[case(Refusal::Unsure, 503, OURS, Some("1"))]
    #[case(Refusal::NoKey, 503, OURS, Some("1"))]
    #[case(Refusal::Internal, 500, OURS, None)]
    fn every_refusal_is_answered_as_the_manual_says_byte_for_byte(
        #[case] refusal: Refusal,
        #[case] status: u16,
        #[case] body: &str,
        #[case] retry_after: Option<&str>,
    ) {
        let response = refused(refusal);
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers().get("retry-after").map(|value| value.to_str().unwrap()), retry_after);
        assert_eq!(response.headers().get("allow").is_some(), status == 405);
        assert_eq!(text(response), body);
    }

    #[test]
    fn a_token_is_answered_in_the_manuals_envelope() {
        let response = granted("eyJ0.eyJz.HZnk_-");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(
            text(response),
            r#"{"response":"eyJ0.eyJz.HZnk_-","message":null,"appStatusCode":null,"tags":{},"headers":null}"#
        );
    }

    #[rstest]
    fn no_message_needs_escaping_in_json(
        #[values(
            RequestError::Hosts,
            RequestError::EndpointOff,
            RequestError::TooLarge,
            RequestError::TooSlow,
            RequestError::Incomplete,
            RequestError::Compressed,
            RequestError::NotUtf8,
            RequestError::BadEscape,
            RequestError::BadJson,
            RequestError::BadMultipart,
            RequestError::TooMany,
            RequestError::Repeated,
            RequestError::RepeatedParameter,
            RequestError::TwoMethods,
            RequestError::AssertionType
        )]
        error: RequestError,
    ) {
        let body: serde_json::Value = serde_json::from_str(&text(refused(Refusal::Request(error)))).unwrap();
        assert_eq!(body["message"], format!("Invalid Request::[{error}]"));
        assert_eq!(body["appStatusCode"], "ACCT_SA_001");
    }
}
