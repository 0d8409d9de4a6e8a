//! What the gateway serves, as OpenAPI: generated from the handlers, and served itself.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

use super::oauth::answer;
use super::router;

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Keyrota token gateway",
        description = "Trades the credentials of service accounts for tokens. The manual's endpoint answers in the manual's envelope, the standard ones as RFC 6749, 7662, 8414 and 7517 say."
    ),
    paths(
        router::legacy_token,
        router::oauth_token,
        router::introspect,
        router::metadata,
        router::discovery,
        router::jwks,
        router::openapi
    ),
    modifiers(&Basic)
)]
pub struct Description;

struct Basic;

impl Modify for Basic {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("Client ID and client secret, as they are or form-urlencoded (RFC 6749 section 2.3.1)"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("basic", SecurityScheme::Http(scheme));
    }
}

/// The manual's envelope.
#[derive(Serialize, ToSchema)]
pub struct Envelope {
    /// The token; null when it is refused.
    response: Option<String>,
    /// Why it is refused; null when it is not.
    message: Option<String>,
    /// The code that goes with the message.
    #[serde(rename = "appStatusCode")]
    app_status_code: Option<String>,
    /// Always empty.
    #[schema(additional_properties = false)]
    tags: Empty,
    /// Always null.
    #[schema(value_type = Option<Empty>)]
    headers: Option<Empty>,
}

/// An object without members.
#[derive(Serialize, ToSchema)]
pub struct Empty {}

/// A request to the manual's endpoint; an empty body is good, too.
#[derive(Serialize, ToSchema)]
pub struct LegacyRequest {
    /// In any case.
    #[schema(example = "Client_Credentials")]
    grant_type: Option<String>,
    /// A token of a trusted issuer, instead of the Authorization header: for External accounts.
    client_assertion: Option<String>,
    /// Goes with it.
    #[schema(pattern = "^urn:ietf:params:oauth:client-assertion-type:jwt-bearer$")]
    client_assertion_type: Option<String>,
}

/// A request to the standard token endpoint.
#[derive(Serialize, ToSchema)]
pub struct TokenRequest {
    /// The only one there is.
    #[schema(pattern = "^client_credentials$")]
    grant_type: String,
    /// Scopes of the account's groups, separated by spaces; all of them without it.
    scope: Option<String>,
    /// Whom the token is for, of the issuer's list; may be repeated.
    audience: Option<String>,
    /// The same (RFC 8707).
    resource: Option<String>,
    /// Instead of the Authorization header.
    client_id: Option<String>,
    /// Likewise.
    client_secret: Option<String>,
    /// A token of a trusted issuer, instead of both: for External accounts (RFC 7523).
    client_assertion: Option<String>,
    /// Goes with it.
    #[schema(pattern = "^urn:ietf:params:oauth:client-assertion-type:jwt-bearer$")]
    client_assertion_type: Option<String>,
}

/// A request for introspection.
#[derive(Serialize, ToSchema)]
pub struct IntrospectionRequest {
    /// The token.
    token: String,
    /// Not needed, and not looked at.
    token_type_hint: Option<String>,
    /// Instead of the Authorization header.
    client_id: Option<String>,
    /// Likewise.
    client_secret: Option<String>,
    /// A token of a trusted issuer, instead of both: for External accounts (RFC 7523).
    client_assertion: Option<String>,
    /// Goes with it.
    #[schema(pattern = "^urn:ietf:params:oauth:client-assertion-type:jwt-bearer$")]
    client_assertion_type: Option<String>,
}

/// What is told of a token. Of one that does not count: `active` alone.
#[derive(Serialize, ToSchema)]
pub struct Introspection {
    /// Whether it counts.
    active: bool,
    /// Always Bearer.
    token_type: Option<String>,
    /// Scopes, separated by spaces.
    scope: Option<String>,
    /// The client ID.
    client_id: Option<String>,
    /// Seconds since the Unix epoch.
    exp: Option<i64>,
    /// Likewise.
    iat: Option<i64>,
    /// The subject.
    sub: Option<String>,
    /// One or several.
    #[schema(value_type = Option<Object>)]
    aud: Option<serde_json::Value>,
    /// The issuer.
    iss: Option<String>,
    /// The token's own ID.
    jti: Option<String>,
    /// The account's groups.
    groups: Option<Vec<String>>,
}

/// A JSON Web Key Set.
#[derive(Serialize, ToSchema)]
pub struct KeySet {
    /// Public keys.
    keys: Vec<BTreeMap<String, String>>,
}

/// An error of the standard endpoints.
pub type OauthError = answer::Error;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::paths;

    #[test]
    fn every_path_is_described_and_nothing_else() {
        let document = serde_json::to_value(Description::openapi()).unwrap();
        let mut described: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        described.sort_unstable();
        let mut served = [
            paths::LEGACY_TOKEN,
            paths::TOKEN,
            paths::INTROSPECTION,
            paths::METADATA,
            paths::DISCOVERY,
            paths::JWKS,
            paths::OPENAPI,
        ];
        served.sort_unstable();
        assert_eq!(described, served);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        // Every reference leads somewhere.
        for reference in document.to_string().split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        assert_eq!(document["components"]["securitySchemes"]["basic"]["scheme"], "basic");
    }
}
