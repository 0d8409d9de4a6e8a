//! The paths that the gateway serves and the published Secret names.

/// The manual's endpoint.
pub const LEGACY_TOKEN: &str = "/avxapi/acctmgmt-get-service-token";
/// RFC 6749 section 3.2.
pub const TOKEN: &str = "/oauth2/token";
/// RFC 7662.
pub const INTROSPECTION: &str = "/oauth2/introspect";
/// RFC 8414 section 3.
pub const METADATA: &str = "/.well-known/oauth-authorization-server";
/// OpenID Connect Discovery 1.0 section 4.
pub const DISCOVERY: &str = "/.well-known/openid-configuration";
/// RFC 7517 section 5.
pub const JWKS: &str = "/.well-known/jwks.json";
/// The OpenAPI document of all of them.
pub const OPENAPI: &str = "/openapi.json";
