//! What holds for every answer: where requests may come from, what a page may load, and that errors have pages.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use governor::{DefaultDirectRateLimiter, Quota};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use tower_http::csrf::{ConfigError, CsrfLayer, ProtectionError};

use super::frame::Frame;
use super::pages::error;
use super::problem::Problem;
use super::visit::{App, claimed};

/// A form's bytes: a description of 1024 characters is at most 12 KiB in percent encoding.
const BODY: usize = 64 * 1024;

/// Nothing but our own files; no inline script or style, no frame around us, no base, no form to elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// How many sign-ins there may be: each costs a TokenReview, and anybody may try.
pub type Pace = DefaultDirectRateLimiter;

/// Twenty sign-ins a second, sixty in a burst.
#[must_use]
pub fn pace() -> Pace {
    let of = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Pace::direct(Quota::per_second(of(20)).allow_burst(of(60)))
}

/// What is sent with every answer.
#[derive(Clone, Debug)]
struct Headers {
    /// Browsers are to use TLS alone from now on: not said for localhost, where it would bind every other program.
    tls_only: bool,
}

/// Puts the guards around the pages. `origin` is what browsers see, which may differ from the Host behind a proxy.
///
/// # Errors
/// When the origin is none.
pub fn around(router: Router<Arc<App>>, app: Arc<App>, origin: &str, tls: bool) -> Result<Router, ConfigError> {
    let refuse = |_: ProtectionError| Problem::CrossSite.into_response();
    let csrf = CsrfLayer::new().add_trusted_origin(origin)?.with_rejection_response(refuse);
    let local = ["localhost", "127.0.0.1", "[::1]"];
    let host = origin.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let headers = Headers { tls_only: tls && !local.contains(&host.as_str()) };
    Ok(router
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::Method)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(csrf)
        .layer(middleware::from_fn_with_state(app.clone(), dressed))
        .layer(middleware::from_fn_with_state(headers, with_headers))
        .with_state(app))
}

async fn with_headers(State(headers): State<Headers>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let fixed = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if headers.tls_only {
        let year = HeaderValue::from_static("max-age=31536000");
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, year);
    }
    // Nobody who presses "back" after the sign-out, and no cache in between, sees a page again.
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Makes a page of a problem, and a redirect of a missing session.
async fn dressed(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut frame, name) = (Frame::of(request.headers(), request.uri()), claimed(request.headers()));
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    if let Problem::SignIn { next, ended } = problem {
        return to_sign_in(&next, ended, frame.partial);
    }
    if let Problem::Refused(status) = &problem
        && status.code == 401
    {
        // The user's token: what is refused to the console itself is told otherwise.
        name.iter().for_each(|name| app.sessions.end(name));
        return to_sign_in(&frame.here, true, frame.partial);
    }
    if matches!(problem, Problem::Unreachable | Problem::Broken(_)) {
        app.metrics.failed();
        tracing::warn!(path = %frame.here.split('?').next().unwrap_or_default(), problem = problem.title(), "a request failed");
    }
    frame.user = name.and_then(|name| app.sessions.peek(&name)).map(|session| session.user.name.clone());
    error::page(frame, &problem)
}

fn to_sign_in(next: &str, ended: bool, partial: bool) -> Response {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("next", next);
    if ended {
        query.append_pair("ended", "");
    }
    let to = format!("/signin?{}", query.finish());
    let Ok(to) = HeaderValue::from_str(&to) else { return Problem::NotFound.status().into_response() };
    // htmx would follow a redirect and put the sign-in page into a part of this one.
    let (status, header) = match partial {
        true => (http::StatusCode::OK, HeaderName::from_static("hx-redirect")),
        false => (http::StatusCode::SEE_OTHER, LOCATION),
    };
    (status, [(header, to)]).into_response()
}
