//! Paths to handlers.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use axum::routing::{MethodRouter, any};
use http::Request;
use utoipa::OpenApi;

use super::endpoint::App;
use super::oauth::{self, Document, Metadata};
use super::openapi::{
    Description, Envelope, Introspection, IntrospectionRequest, KeySet, LegacyRequest, OauthError, TokenRequest,
};
use crate::domain::paths;

/// All endpoints of the gateway.
pub fn router(app: Arc<App>) -> Router {
    let router = routes().into_iter().fold(Router::new(), |router, (path, endpoint)| router.route(&path, endpoint));
    router.fallback(no_such_path).with_state(app)
}

/// Their paths.
pub fn paths() -> impl Iterator<Item = String> {
    routes().into_iter().map(|(path, _)| path)
}

/// Methods are the endpoints' own business: a wrong one gets their kind of answer.
fn routes() -> Vec<(String, MethodRouter<Arc<App>>)> {
    vec![
        (paths::LEGACY_TOKEN.into(), any(legacy_token)),
        (paths::TOKEN.into(), any(oauth_token)),
        (paths::INTROSPECTION.into(), any(introspect)),
        (paths::METADATA.into(), any(metadata)),
        (below(paths::METADATA), any(metadata)),
        (paths::DISCOVERY.into(), any(discovery)),
        (below(paths::DISCOVERY), any(discovery)),
        (paths::JWKS.into(), any(jwks)),
        (paths::OPENAPI.into(), any(openapi)),
    ]
}

/// Where RFC 8414 section 3.1 puts the document of an issuer whose URL has a path.
fn below(well_known: &str) -> String {
    format!("{well_known}/{{*issuer}}")
}

/// Whose connection a request came on.
fn peer(request: &Request<Body>) -> Option<SocketAddr> {
    request.extensions().get().map(|ConnectInfo(peer)| *peer)
}

/// The manual's endpoint
#[utoipa::path(
    post,
    path = paths::LEGACY_TOKEN,
    params(("gwsource" = Option<String>, Query, description = "Not looked at")),
    request_body(
        description = "A form, JSON (at the top or under `payload`) or a multipart form, whatever the Content-Type says",
        content(
            (LegacyRequest = "application/x-www-form-urlencoded"),
            (LegacyRequest = "application/json"),
            (LegacyRequest = "multipart/form-data"),
        )
    ),
    responses(
        (status = 200, description = "A token", body = Envelope),
        (status = 400, description = "The credentials or the request are wrong", body = Envelope),
        (status = 404, description = "Switched off for this host", body = Envelope),
        (status = 405, description = "Another method than POST", body = Envelope),
        (status = 429, description = "Too many failures", body = Envelope),
        (status = 500, description = "Our fault", body = Envelope),
        (status = 503, description = "Not ready, or not sure: ask again", body = Envelope),
    ),
    security(("basic" = [])),
)]
pub(super) async fn legacy_token(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let peer = peer(&request);
    app.token(request, peer).await
}

/// A token for a client (RFC 6749 section 4.4, RFC 9068)
#[utoipa::path(
    post,
    path = paths::TOKEN,
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "A token", body = oauth::answer::Granted<'static>),
        (status = 400, description = "The request is wrong", body = OauthError),
        (status = 401, description = "The credentials are wrong", body = OauthError),
        (status = 404, description = "Switched off for this host", body = OauthError),
        (status = 405, description = "Another method than POST", body = OauthError),
        (status = 429, description = "Too many failures", body = OauthError),
        (status = 500, description = "Our fault", body = OauthError),
        (status = 503, description = "Not ready, or not sure: ask again", body = OauthError),
    ),
    security(("basic" = []), ()),
)]
pub(super) async fn oauth_token(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let peer = peer(&request);
    app.oauth_token(request, peer).await
}

/// Whether a token of this issuer counts (RFC 7662)
#[utoipa::path(
    post,
    path = paths::INTROSPECTION,
    request_body(content = IntrospectionRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "What the token says, or that it does not count", body = Introspection),
        (status = 400, description = "The request is wrong", body = OauthError),
        (status = 401, description = "The credentials are wrong", body = OauthError),
        (status = 404, description = "Switched off for this host", body = OauthError),
        (status = 405, description = "Another method than POST", body = OauthError),
        (status = 429, description = "Too many failures", body = OauthError),
        (status = 500, description = "Our fault", body = OauthError),
        (status = 503, description = "Not ready, or not sure: ask again", body = OauthError),
    ),
    security(("basic" = []), ()),
)]
pub(super) async fn introspect(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let peer = peer(&request);
    app.introspect(request, peer).await
}

/// Where everything is (RFC 8414)
#[utoipa::path(
    get,
    path = paths::METADATA,
    responses(
        (status = 200, description = "Metadata", body = Metadata),
        (status = 404, description = "Switched off for this host", body = OauthError),
        (status = 405, description = "Another method than GET or HEAD", body = OauthError),
        (status = 503, description = "There is no key yet", body = OauthError),
    ),
)]
pub(super) async fn metadata(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.document(Document::Metadata, request)
}

/// The same for those who look for an OpenID provider (OpenID Connect Discovery 1.0)
#[utoipa::path(
    get,
    path = paths::DISCOVERY,
    responses(
        (status = 200, description = "Metadata", body = Metadata),
        (status = 404, description = "Switched off for this host", body = OauthError),
        (status = 405, description = "Another method than GET or HEAD", body = OauthError),
        (status = 503, description = "There is no key yet", body = OauthError),
    ),
)]
pub(super) async fn discovery(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.document(Document::Discovery, request)
}

/// The keys that verify tokens of the standard endpoint (RFC 7517)
#[utoipa::path(
    get,
    path = paths::JWKS,
    responses(
        (status = 200, description = "Keys", body = KeySet),
        (status = 404, description = "Switched off for this host", body = OauthError),
        (status = 405, description = "Another method than GET or HEAD", body = OauthError),
        (status = 503, description = "There is no key yet", body = OauthError),
    ),
)]
pub(super) async fn jwks(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.document(Document::Jwks, request)
}

/// This document
#[utoipa::path(
    get,
    path = paths::OPENAPI,
    responses(
        (status = 200, description = "OpenAPI", body = Object),
        (status = 405, description = "Another method than GET or HEAD", body = OauthError),
    ),
)]
pub(super) async fn openapi(request: Request<Body>) -> Response {
    // Made from types alone: the same for every request.
    static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(Description::openapi);
    oauth::described(&*DOCUMENT, request.method())
}

/// But OpenID Connect Discovery 1.0 section 4 puts its document below the issuer's path, which no route can say.
async fn no_such_path(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    if request.uri().path().ends_with(paths::DISCOVERY) {
        return app.document(Document::Discovery, request);
    }
    app.no_such_path()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::endpoint::tests::setting;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn ask(method: &str, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router(Arc::new(setting().app)).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap())
    }

    #[tokio::test]
    async fn every_described_path_is_served_and_no_other() {
        for path in Description::openapi().paths.paths.keys() {
            assert_eq!(ask("OPTIONS", path).await.0, 405, "{path}");
        }
        for path in ["/", "/oauth2", "/oauth2/token/", "/.well-known/", "//oauth2/token", "/oauth2/../oauth2/token"] {
            let (status, body) = ask("POST", path).await;
            assert!(status == 404 && body.contains("[No such endpoint]"), "{path}: {body}");
        }
    }

    #[tokio::test]
    async fn documents_of_an_issuer_with_a_path_are_routed() {
        for path in [below(paths::METADATA), below(paths::DISCOVERY), format!("/{{*issuer}}{}", paths::DISCOVERY)] {
            let (status, body) = ask("DELETE", &path.replace("{*issuer}", "tenants/a")).await;
            assert_eq!(status, 405, "{path}: {body}");
        }
    }

    #[tokio::test]
    async fn the_description_is_served_to_everybody() {
        let (status, body) = ask("GET", paths::OPENAPI).await;
        assert_eq!(status, 200);
        assert_eq!(body, Description::openapi().to_json().unwrap());
    }
}
