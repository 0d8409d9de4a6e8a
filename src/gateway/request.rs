//! A request before anybody looks at what it says: what all endpoints read alike, and what can be wrong with it.

use std::time::Duration;

use axum::BoxError;
use axum::body::HttpBody;
use bytes::Bytes;
use futures::FutureExt;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, HOST};
use http::request::Parts;
use http_body_util::BodyExt;
use thiserror::Error;

use super::basic::{self, BasicError, Candidate};
use super::refusal::Refusal;
use crate::domain::issuer::Issuer;
use crate::index::World;

/// A body has a few parameters; this leaves room for what libraries add.
pub const MAX_PARAMETERS: usize = 64;

/// The largest body, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// What is wrong with a request. The text stands in the answer: in the brackets of `Invalid Request::[…]`, or as the
/// `error_description`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// Another method than POST.
    #[error("Method not allowed, use POST")]
    Method,
    /// Another path.
    #[error("No such endpoint")]
    Path,
    /// More than one `Host`.
    #[error("More than one Host header")]
    Hosts,
    /// The endpoint is switched off for this host's issuer.
    #[error("This endpoint is disabled for this host")]
    EndpointOff,
    /// Longer than [`MAX_BODY`].
    #[error("Request body is larger than 64 KiB")]
    TooLarge,
    /// It did not arrive in time.
    #[error("Request body did not arrive in time")]
    TooSlow,
    /// It broke off.
    #[error("Request body is incomplete")]
    Incomplete,
    /// gzip and the like.
    #[error("Compressed request bodies are not supported")]
    Compressed,
    /// Not UTF-8.
    #[error("Request body is not UTF-8")]
    NotUtf8,
    /// `%` without two hexadecimal digits, or escapes that are not UTF-8.
    #[error("Malformed percent escape in the request body")]
    BadEscape,
    /// Not JSON, not an object, or `grant_type` is no text.
    #[error("Malformed JSON in the request body")]
    BadJson,
    /// Not multipart as RFC 7578 has it.
    #[error("Malformed multipart form in the request body")]
    BadMultipart,
    /// More than `MAX_PARAMETERS`.
    #[error("Too many parameters in the request body")]
    TooMany,
    /// `grant_type` twice.
    #[error("Repeated parameter grant_type")]
    Repeated,
    /// Another grant.
    #[error("Unsupported grant type")]
    GrantType,
    /// No form, at a standard endpoint.
    #[error("Content-Type is not application/x-www-form-urlencoded")]
    NoForm,
    /// A parameter twice, at a standard endpoint.
    #[error("A parameter is repeated")]
    RepeatedParameter,
    /// No `grant_type`, at the standard endpoint.
    #[error("The parameter grant_type is missing")]
    NoGrantType,
    /// No `token` to introspect.
    #[error("The parameter token is missing")]
    NoToken,
    /// Basic and a secret in the body, and the like.
    #[error("More than one way of client authentication")]
    TwoMethods,
    /// `client_assertion_type` is not the one there is, or one of the two is missing.
    #[error("Unsupported client assertion type")]
    AssertionType,
    /// `client_id` in the body is not the one in the header.
    #[error("The parameter client_id is not the authenticated client")]
    OtherClient,
    /// A malformed scope, or one that the account may not have.
    #[error("The scope is malformed, or not one that this account may have")]
    Scope,
    /// An audience or resource that the issuer does not list.
    #[error("The audience or resource is not one that this issuer issues tokens for")]
    Target,
}

/// The issuer of the host that the caller named; no proxy header counts, for those anybody can send.
///
/// # Errors
/// When more than one host is named.
pub fn issuer<'w>(world: &'w World, parts: &Parts) -> Result<&'w Issuer, Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let named = hosts.next().and_then(|host| host.to_str().ok());
    if hosts.next().is_some() {
        return Err(Refusal::Request(RequestError::Hosts));
    }
    // HTTP/2's `:authority`, or HTTP/1.1's absolute form, which overrides Host (RFC 9112 section 3.2.2).
    let host = parts.uri.host().or(named).unwrap_or_default();
    world.issuer_of_host(host).ok_or(Refusal::Internal)
}

/// The credentials in the `Authorization` header, if there is one.
///
/// # Errors
/// When there is more than one, or it holds none.
pub fn authorization(headers: &HeaderMap) -> Result<Option<Vec<Candidate>>, Refusal> {
    match basic(headers) {
        Err(BasicError::Missing) => Ok(None),
        other => other.map(Some).map_err(Refusal::Credentials),
    }
}

/// The credentials in the one `Authorization` header.
///
/// # Errors
/// When there is none, more than one, or it holds none.
pub fn basic(headers: &HeaderMap) -> Result<Vec<Candidate>, BasicError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Err(BasicError::Missing),
        (Some(_), Some(_)) => Err(BasicError::Repeated),
        (Some(value), None) => basic::candidates(value.as_bytes()),
    }
}

/// A request's body, of whichever server.
pub trait Incoming: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin {}

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin> Incoming for B {}

/// The body, up to [`MAX_BODY`] and for as long as `time`.
///
/// # Errors
/// When it is compressed, too large, too slow, or breaks off.
pub async fn body(headers: &HeaderMap, body: impl Incoming, time: Duration) -> Result<Bytes, RequestError> {
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(RequestError::Compressed);
    }
    let mut read = std::pin::pin!(read(body));
    // Nearly every body has come with its head: there is nothing to wait for, so no timer is needed.
    match read.as_mut().now_or_never() {
        Some(body) => body,
        None => tokio::time::timeout(time, read).await.unwrap_or(Err(RequestError::TooSlow)),
    }
}

async fn read(mut body: impl Incoming) -> Result<Bytes, RequestError> {
    let mut read = Vec::new();
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        // Trailers say nothing to us.
        let Ok(data) = frame.map_err(|_| RequestError::Incomplete)?.into_data() else { continue };
        if read.len() + data.len() > MAX_BODY {
            return Err(RequestError::TooLarge);
        }
        read.extend_from_slice(&data);
    }
    Ok(read.into())
}
