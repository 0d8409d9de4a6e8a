//! `TokenIssuer`: what a token is worth — hosts, keys, lifetimes — kept by the platform team.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape::{DNS_LABEL, DNS_SUBDOMAIN, DURATION, EMAIL, HOST, HTTP_URL, HTTPS_URL, ISSUER_URL, PRINTABLE};
use super::{Condition, Timestamp};

/// One tenant's token settings. The one named default serves every namespace that no other issuer lists.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "keyrota.dev",
    version = "v1alpha1",
    kind = "TokenIssuer",
    plural = "tokenissuers",
    shortname = "krti",
    category = "keyrota",
    status = "TokenIssuerStatus",
    derive = "PartialEq",
    doc = "TokenIssuer holds one tenant's token settings. The one named default serves every namespace that no other lists.",
    validation = Rule::new("size(self.metadata.name) <= 63").message("metadata.name must be at most 63 characters: the names of the issuer's keys derive from it"),
    printcolumn(name = "Hosts", type_ = "string", json_path = ".spec.hosts"),
    printcolumn(name = "Grace", type_ = "string", json_path = ".spec.gracePeriod"),
    printcolumn(name = "Lifetime", type_ = "string", json_path = ".spec.tokenLifetime"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
)]
pub struct TokenIssuerSpec {
    /// The tenant's namespaces. A namespace that two issuers list stays with the older one. Default: none.
    /// Example: [team-a, team-a-staging].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(length(min = 1, max = 63), regex(pattern = DNS_LABEL))
    )]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub namespaces: Vec<String>,

    /// The tenant's host names: requests for these hosts see only this issuer's accounts, and its accounts are served
    /// only there. Addresses and hosts that nobody lists belong to the issuer default. Default: none.
    /// Example: [tenant-a.tokens.example.com].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 253),
            regex(pattern = HOST)
        )
    )]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub hosts: Vec<String>,

    /// How long the previous secret still works after a regeneration, never past its own expiry. From 0s to 24h.
    /// Default: 0s. Example: 15m.
    #[serde(default = "zero")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) <= duration('24h')").message("gracePeriod must be at most 24h"))]
    pub grace_period: String,

    /// How long a token is valid. From 60s to 24h. Default: 1h. Example: 15m.
    #[serde(default = "one_hour")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('60s') && duration(self) <= duration('24h')").message("tokenLifetime must be between 60s and 24h"))]
    pub token_lifetime: String,

    /// The manual's endpoint, /avxapi/acctmgmt-get-service-token, and its HS256 tokens.
    #[serde(default)]
    pub legacy: Legacy,

    /// The standard endpoints below /oauth2 and their RFC 9068 tokens.
    #[serde(default)]
    pub oauth: OAuth,

    /// The issuer's signing keys.
    #[serde(default)]
    pub keys: Keys,

    /// Foreign issuers whose tokens External accounts may present instead of a secret. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub trusted_issuers: Vec<TrustedIssuer>,

    /// Who hears of expiring secrets besides each account's own contact.
    #[serde(default)]
    pub notifications: Notifications,
}

/// The built-in defaults, which also apply while no issuer named default exists.
impl Default for TokenIssuerSpec {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            hosts: Vec::new(),
            grace_period: zero(),
            token_lifetime: one_hour(),
            legacy: Legacy::default(),
            oauth: OAuth::default(),
            keys: Keys::default(),
            trusted_issuers: Vec::new(),
            notifications: Notifications::default(),
        }
    }
}

/// Settings of the manual's endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Legacy {
    /// Whether the endpoint answers for this issuer. Default: true.
    pub enabled: bool,
    /// The claim sub; {name} and {namespace} stand for the account's. Default: platform. Example: {namespace}/{name}.
    #[schemars(length(min = 1, max = 255), regex(pattern = PRINTABLE))]
    pub subject: String,
    /// The claim aud. Default: avx.
    #[schemars(length(min = 1, max = 255), regex(pattern = PRINTABLE))]
    pub audience: String,
    /// The claim iss. Default: avx.
    #[schemars(length(min = 1, max = 255), regex(pattern = PRINTABLE))]
    pub issuer: String,
    /// A Secret that gives resource servers the HS256 keys as current, previous and next. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_key_to: Option<PublishKeyTo>,
}

impl Default for Legacy {
    fn default() -> Self {
        Self {
            enabled: true,
            subject: "platform".into(),
            audience: "avx".into(),
            issuer: "avx".into(),
            publish_key_to: None,
        }
    }
}

/// Where resource servers find the HS256 keys.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishKeyTo {
    /// The namespace of the Secret. Example: api-gateway.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub namespace: String,
    /// The name of the Secret. Example: keyrota-legacy-key.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub secret_name: String,
}

/// Settings of the standard endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OAuth {
    /// Whether the standard endpoints answer for this issuer. Default: true.
    pub enabled: bool,
    /// The claim iss, an https URL. Default: the gateway's external URL. Example: https://tokens.example.com.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = ISSUER_URL))]
    pub issuer: Option<String>,
    /// The signing algorithm: ES256, RS256 or EdDSA. Default: ES256.
    pub algorithm: Algorithm,
    /// What aud may be asked for. Default: the issuer itself. Example: [https://api.example.com].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 1024), regex(pattern = PRINTABLE)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub audiences: Vec<String>,
}

impl Default for OAuth {
    fn default() -> Self {
        Self { enabled: true, issuer: None, algorithm: Algorithm::ES256, audiences: Vec::new() }
    }
}

/// Signing algorithms of OAuth tokens (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits.
    RS256,
    /// Ed25519.
    EdDSA,
}

/// The life of the signing keys.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    /// How long an OAuth key signs before the next one takes over. Default: 2160h (90 days).
    #[serde(default = "ninety_days")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('24h')").message("keys.rotation must be at least 24h"))]
    pub rotation: String,
    /// Raise it to make new keys now, the HS256 key too. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub regenerate: i64,
    /// Drop the old keys at once: tokens that they signed are refused from then on. Default: false.
    #[serde(default)]
    pub revoke_old: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self { rotation: ninety_days(), regenerate: 0, revoke_old: false }
    }
}

/// A foreign issuer, with exactly one source of its keys.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.jwks) ? 1 : 0) + (has(self.jwksUri) ? 1 : 0) + (self.kubernetes ? 1 : 0) == 1").message("trustedIssuers: give exactly one of jwks, jwksUri and kubernetes: true"))]
pub struct TrustedIssuer {
    /// What accounts call it in authentication.trustedIssuer. Example: github-actions.
    #[schemars(length(min = 1, max = 255), regex(pattern = PRINTABLE))]
    pub name: String,
    /// The claim iss of its tokens. Example: https://token.actions.githubusercontent.com.
    #[schemars(length(min = 1, max = 1024), regex(pattern = PRINTABLE))]
    pub issuer: String,
    /// The claim aud that its tokens must carry. Default: our own issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = PRINTABLE))]
    pub audience: Option<String>,
    /// The claim that must equal externalClientId. Default: sub. Example: azp.
    #[serde(default = "sub")]
    #[schemars(length(min = 1, max = 255), regex(pattern = PRINTABLE))]
    pub client_id_claim: String,
    /// Its public keys, as a JSON Web Key Set (RFC 7517). Symmetric keys are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub jwks: Option<String>,
    /// Where its public keys are; https only. Example: https://idp.example.com/jwks.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = HTTPS_URL))]
    pub jwks_uri: Option<String>,
    /// It is this cluster: projected service-account tokens, checked by TokenReview. Default: false.
    #[serde(default)]
    pub kubernetes: bool,
}

/// Who hears of expiring secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Notifications {
    /// Mail addresses that get every notice of this issuer's accounts. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 3, max = 254), regex(pattern = EMAIL)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub admin_recipients: Vec<String>,
    /// An http or https URL that gets every notice as a CloudEvent, signed as in Standard Webhooks. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = HTTP_URL))]
    pub webhook: Option<String>,
}

/// What the controller reports of an issuer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenIssuerStatus {
    /// The generation that this status was computed from; -1 before the first time.
    #[serde(default)]
    pub observed_generation: i64,
    /// Ready, and what is wrong if it is not; KeysLost and KeysDamaged while they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The signing keys, in the order in which they sign.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub signing_keys: Vec<SigningKeyStatus>,
}

/// One signing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SigningKeyStatus {
    /// Its kid in the JWKS; an HS256 key has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// ES256, RS256, EdDSA or HS256.
    pub algorithm: String,
    /// Next, Current or Previous.
    pub state: KeyState,
    /// From when on it signs, until another does.
    pub signs_from: Timestamp,
    /// When it is dropped, once another follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Timestamp>,
}

/// What a signing key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum KeyState {
    /// Published, but not yet signing.
    Next,
    /// The one that signs.
    Current,
    /// No longer signing; its tokens may still be about.
    Previous,
}

fn zero() -> String {
    "0s".into()
}

fn one_hour() -> String {
    "1h".into()
}

fn ninety_days() -> String {
    "2160h".into()
}

fn sub() -> String {
    "sub".into()
}
