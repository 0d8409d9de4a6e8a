//! `ServiceAccount`: a machine identity, kept by the tenant in a namespace of its own.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::shape::{DNS_SUBDOMAIN, DURATION, EMAIL, LABEL_VALUE, NO_PROSE, PRINTABLE, PROSE, SECRET_KEY};
use super::{Condition, Timestamp};

/// A machine identity. The controller generates its client ID and client secret into a Secret and rotates them.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "keyrota.dev",
    version = "v1alpha1",
    kind = "ServiceAccount",
    plural = "serviceaccounts",
    shortname = "krsa",
    category = "keyrota",
    namespaced,
    status = "ServiceAccountStatus",
    derive = "PartialEq",
    doc = "ServiceAccount is a machine identity: a client ID and a client secret in a Secret, rotated, and accepted by the token gateway.",
    selectable = ".spec.enabled",
    selectable = ".spec.authentication.mode",
    selectable = ".status.clientId",
    selectable = ".status.accountStatus",
    validation = Rule::new("size(self.metadata.name) <= 241").message("metadata.name must be at most 241 characters: the name of the published Secret derives from it"),
    printcolumn(name = "Client-ID", type_ = "string", json_path = ".status.clientId"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.authentication.mode"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.accountStatus"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.clientSecretStatus"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.clientSecretExpiryTime"),
    printcolumn(name = "Last-Access", type_ = "date", json_path = ".status.lastAccessTime"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Description", type_ = "string", json_path = ".spec.description", priority = 1),
    printcolumn(name = "Email", type_ = "string", json_path = ".spec.contact.email", priority = 1),
    printcolumn(name = "Groups", type_ = "string", json_path = ".spec.userGroups", priority = 1),
    printcolumn(name = "Created-By", type_ = "string", json_path = ".status.createdBy", priority = 1),
    printcolumn(name = "Next-Rotation", type_ = "string", json_path = ".status.nextRotationTime", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
)]
#[x_kube(validation = Rule::new("self.authentication.mode == 'Internal' || !has(self.clientSecret)").message("clientSecret is only for authentication.mode Internal: an External account has no secret"))]
#[x_kube(validation = Rule::new("self.authentication.mode == 'Internal' || !has(self.contact)").message("contact is only for authentication.mode Internal: it is where expiry notices go"))]
#[x_kube(validation = Rule::new("self.authentication.mode == 'Internal' || !has(self.regenerate) || (self.regenerate.clientSecret == 0 && self.regenerate.clientId == 0)").message("regenerate is only for authentication.mode Internal"))]
#[x_kube(validation = Rule::new("self.authentication.mode == 'Internal' || !has(self.rolloutRestart) || size(self.rolloutRestart) == 0").message("rolloutRestart is only for authentication.mode Internal"))]
#[x_kube(validation = Rule::new("(has(self.clientSecret) && has(self.clientSecret.secretName) ? self.clientSecret.secretName : '') == (has(oldSelf.clientSecret) && has(oldSelf.clientSecret.secretName) ? oldSelf.clientSecret.secretName : '')").message("clientSecret.secretName may not be added, changed or removed after creation"))]
pub struct ServiceAccountSpec {
    /// What the account is for, up to 1024 characters. Example: Nightly certificate export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new(PROSE).message(NO_PROSE))]
    pub description: Option<String>,

    /// Whether tokens are issued. A disabled account keeps its credentials and gets them back when enabled again.
    /// Default: true.
    #[serde(default = "yes")]
    pub enabled: bool,

    /// How the account proves who it is. Fixed after creation.
    #[serde(default)]
    pub authentication: Authentication,

    /// The generated client secret; only for authentication.mode Internal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<ClientSecret>,

    /// Who is told before the secret expires; only for authentication.mode Internal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,

    /// Names of the UserGroups that the account belongs to, at most 64. A missing group is reported in the condition
    /// GroupsMissing; the others still apply. Default: none. Example: ["deployers"].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub user_groups: Vec<String>,

    /// Raise a number to regenerate once. An equal or lower number never does, so reverting a commit is harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regenerate: Option<Regenerate>,

    /// Workloads to restart, as kubectl rollout restart does, after a new secret is published. Default: none.
    /// Example: [{kind: Deployment, name: exporter}].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rollout_restart: Vec<RolloutRestart>,
}

impl Default for ServiceAccountSpec {
    fn default() -> Self {
        Self {
            description: None,
            enabled: true,
            authentication: Authentication::default(),
            client_secret: None,
            contact: None,
            user_groups: Vec::new(),
            regenerate: None,
            rollout_restart: Vec::new(),
        }
    }
}

/// How an account proves who it is.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mode == oldSelf.mode").message("authentication.mode is immutable: create another account"))]
#[x_kube(validation = Rule::new("(self.mode == 'External') == has(self.externalClientId)").message("authentication.externalClientId is required with mode External and forbidden with Internal"))]
#[x_kube(validation = Rule::new("self.mode == 'External' || !has(self.trustedIssuer)").message("authentication.trustedIssuer is forbidden with mode Internal"))]
#[x_kube(validation = Rule::new("(has(self.externalClientId) ? self.externalClientId : '') == (has(oldSelf.externalClientId) ? oldSelf.externalClientId : '')").message("authentication.externalClientId is immutable: create another account"))]
#[x_kube(validation = Rule::new("(has(self.trustedIssuer) ? self.trustedIssuer : '') == (has(oldSelf.trustedIssuer) ? oldSelf.trustedIssuer : '')").message("authentication.trustedIssuer is immutable: create another account"))]
pub struct Authentication {
    /// Internal: a generated client ID and client secret. External: a token of a trusted issuer, no secret at all.
    /// Default: Internal.
    #[serde(default)]
    pub mode: Mode,

    /// External only, and required there: the client ID at the trusted issuer, 1 to 255 characters.
    /// Example: system:serviceaccount:shop:exporter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = PRINTABLE))]
    pub external_client_id: Option<String>,

    /// External only: the name of an entry in the token issuer's trustedIssuers, 1 to 255 characters. May be left out
    /// when there is exactly one. Example: github-actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = PRINTABLE))]
    pub trusted_issuer: Option<String>,
}

/// The manual's authentication modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Client ID and secret are generated here.
    #[default]
    Internal,
    /// The account's tokens come from a trusted issuer.
    External,
}

/// Settings of the generated secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.overlap) || duration(self.overlap).getSeconds() <= self.validityDays * 28800").message("clientSecret.overlap must be at most a third of validityDays (8h for each day)"))]
pub struct ClientSecret {
    /// For how many days of 86,400 seconds a generated secret is valid, from 1 to 365. Default: 180.
    #[serde(default = "half_a_year")]
    #[schemars(range(min = 1, max = 365))]
    pub validity_days: i32,

    /// Automatic: the next secret is published before this one expires. Manual: the secret expires and a person
    /// regenerates it. Default: Automatic.
    #[serde(default)]
    pub rotation: Rotation,

    /// Automatic only: how long before expiry the next secret is published; both are valid meanwhile. At most a third
    /// of the validity. Default: the smaller of 24h and a third of the validity. Example: 12h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("clientSecret.overlap must be at least 1s"))]
    pub overlap: Option<String>,

    /// Whether people are told 90, 60, 30, 7 and 1 days before expiry and 1 day after. Default: true.
    #[serde(default = "yes")]
    pub expiry_notifications: bool,

    /// The name of the published Secret. Fixed after creation. Default: the account's name and "-credentials".
    /// Example: exporter-login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub secret_name: Option<String>,

    /// Labels, annotations, key names and static data of the published Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

impl Default for ClientSecret {
    fn default() -> Self {
        Self {
            validity_days: half_a_year(),
            rotation: Rotation::default(),
            overlap: None,
            expiry_notifications: true,
            secret_name: None,
            template: None,
        }
    }
}

/// Who renews a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Rotation {
    /// The controller, before expiry.
    #[default]
    Automatic,
    /// A person, with `regenerate`.
    Manual,
}

/// The shape of the published Secret.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.labels) || self.labels.all(k, !k.startsWith('keyrota.dev/') && k != 'app.kubernetes.io/managed-by')").message("clientSecret.template.labels: the prefix keyrota.dev/ and app.kubernetes.io/managed-by are reserved"))]
#[x_kube(validation = Rule::new("!has(self.labels) || self.labels.all(k, !format.qualifiedName().validate(k).hasValue())").message("clientSecret.template.labels: a key must be a name as labels have it, example.com/team or team"))]
#[x_kube(validation = Rule::new("!has(self.annotations) || self.annotations.all(k, !k.startsWith('keyrota.dev/'))").message("clientSecret.template.annotations: the prefix keyrota.dev/ is reserved"))]
#[x_kube(validation = Rule::new("!has(self.annotations) || self.annotations.all(k, !format.qualifiedName().validate(k).hasValue())").message("clientSecret.template.annotations: a key must be a name as annotations have it, example.com/team or team"))]
#[x_kube(validation = Rule::new("!has(self.extraData) || self.extraData.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$') && !(k in ['client-id', 'client-secret', 'token-url', 'issuer', 'jwks-uri', 'ca.crt', 'expires-at', 'type', 'provider']) && (!has(self.keys) || !(k in [self.keys.?client__dash__id.orValue('client-id'), self.keys.?client__dash__secret.orValue('client-secret'), self.keys.?token__dash__url.orValue('token-url'), self.keys.?issuer.orValue('issuer'), self.keys.?jwks__dash__uri.orValue('jwks-uri'), self.keys.?ca__dot__crt.orValue('ca.crt'), self.keys.?expires__dash__at.orValue('expires-at'), self.keys.?type.orValue('type'), self.keys.?provider.orValue('provider')])))").message("clientSecret.template.extraData: a key must be a valid Secret key and not one that is published already"))]
pub struct Template {
    /// Labels to add. Default: none. Example: {team: payments}.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE}))]
    pub labels: BTreeMap<String, String>,

    /// Annotations to add. Default: none. Example: {reloader.stakater.com/match: "true"}.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 4096}))]
    pub annotations: BTreeMap<String, String>,

    /// Other names for the published keys. Default: none. Example: {client-id: CLIENT_ID, client-secret: CLIENT_SECRET}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyNames>,

    /// Static data to add. Not for secrets: everybody who may read the account reads it too. Default: none.
    /// Example: {tenant: acme}.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 16384}))]
    pub extra_data: BTreeMap<String, String>,
}

/// Other names for the keys of the published Secret; each must stay different from all others.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[x_kube(validation = Rule::new("[self.?client__dash__id.orValue('client-id'), self.?client__dash__secret.orValue('client-secret'), self.?token__dash__url.orValue('token-url'), self.?issuer.orValue('issuer'), self.?jwks__dash__uri.orValue('jwks-uri'), self.?ca__dot__crt.orValue('ca.crt'), self.?expires__dash__at.orValue('expires-at'), self.?type.orValue('type'), self.?provider.orValue('provider')].all(name, [self.?client__dash__id.orValue('client-id'), self.?client__dash__secret.orValue('client-secret'), self.?token__dash__url.orValue('token-url'), self.?issuer.orValue('issuer'), self.?jwks__dash__uri.orValue('jwks-uri'), self.?ca__dot__crt.orValue('ca.crt'), self.?expires__dash__at.orValue('expires-at'), self.?type.orValue('type'), self.?provider.orValue('provider')].exists_one(other, other == name))").message("clientSecret.template.keys: two published keys would have the same name"))]
pub struct KeyNames {
    /// Published as client-id. Default: client-id. Example: CLIENT_ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub client_id: Option<String>,
    /// Published as client-secret. Default: client-secret. Example: CLIENT_SECRET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub client_secret: Option<String>,
    /// Published as token-url. Default: token-url. Example: TOKEN_URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub token_url: Option<String>,
    /// Published as issuer. Default: issuer. Example: ISSUER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub issuer: Option<String>,
    /// Published as jwks-uri. Default: jwks-uri. Example: JWKS_URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub jwks_uri: Option<String>,
    /// Published as ca.crt. Default: ca.crt. Example: CA_CRT.
    #[serde(rename = "ca.crt", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub ca_crt: Option<String>,
    /// Published as expires-at. Default: expires-at. Example: EXPIRES_AT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub expires_at: Option<String>,
    /// Published as type. Default: type. Example: TYPE.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub type_: Option<String>,
    /// Published as provider. Default: provider. Example: PROVIDER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub provider: Option<String>,
}

/// Who is told of an expiring secret.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    /// One bare mail address, without a display name. Example: team-payments@example.com.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 254), regex(pattern = EMAIL))]
    pub email: Option<String>,
}

/// Triggers that are safe in Git.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Regenerate {
    /// Raise it to get a new secret for the same client ID. Default: 0. Example: 1.
    #[schemars(range(min = 0))]
    pub client_secret: i64,
    /// Raise it to get a new client ID and a new secret. Default: 0. Example: 1.
    #[schemars(range(min = 0))]
    pub client_id: i64,
}

/// Workloads to restart, by name or by label selector.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.name) != has(self.selector)").message("rolloutRestart: give exactly one of name and selector"))]
#[x_kube(validation = Rule::new("!has(self.selector) || (has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0) || (has(self.selector.matchExpressions) && size(self.selector.matchExpressions) > 0)").message("rolloutRestart.selector may not be empty: it would restart every workload of the kind"))]
pub struct RolloutRestart {
    /// Deployment, StatefulSet or DaemonSet.
    pub kind: WorkloadKind,
    /// The workload's name. Example: exporter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub name: Option<String>,
    /// Or the labels of the workloads. Example: {matchLabels: {app: exporter}}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector")]
    pub selector: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>,
}

/// A label selector as the API server checks those of its own kinds: one that it would refuse in a list call must not
/// be found out after the secret was rotated.
fn selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels that a workload must have. Example: {app: exporter}.",
                "maxProperties": 16,
                "additionalProperties": {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE},
                "x-kubernetes-validations": [{
                    "rule": "self.all(k, !format.qualifiedName().validate(k).hasValue())",
                    "message": "rolloutRestart.selector.matchLabels: a key must be a name as labels have it",
                }],
            },
            "matchExpressions": {
                "type": "array",
                "description": "Conditions on a workload's labels, all of which must hold.",
                "maxItems": 16,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "type": "string",
                            "description": "The label's key. Example: app.",
                            "minLength": 1,
                            "maxLength": 317,
                            "x-kubernetes-validations": [{
                                "rule": "!format.qualifiedName().validate(self).hasValue()",
                                "message": "rolloutRestart.selector.matchExpressions: key must be a name as labels have it",
                            }],
                        },
                        "operator": {
                            "type": "string",
                            "description": "In, NotIn, Exists or DoesNotExist.",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "type": "array",
                            "description": "For In and NotIn: the values to compare with. Example: [exporter].",
                            "maxItems": 32,
                            "x-kubernetes-list-type": "atomic",
                            "items": {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE},
                        },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                        "message": "rolloutRestart.selector.matchExpressions: values are required with In and NotIn, and forbidden with the others",
                    }],
                },
            },
        },
    })
}

/// Kinds that have a Pod template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// apps/v1 Deployment.
    Deployment,
    /// apps/v1 StatefulSet.
    StatefulSet,
    /// apps/v1 DaemonSet.
    DaemonSet,
}

/// What the controller reports of an account. A report only: wiped, it is rebuilt from the record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountStatus {
    /// The generation that this status was computed from; -1 before the first time.
    #[serde(default)]
    pub observed_generation: i64,
    /// The client ID in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Active, or Inactive when disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_status: Option<AccountStatus>,
    /// Active, Inactive when expired or the account disabled, None for External accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_status: Option<ClientSecretStatus>,
    /// When the current secret stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_expiry_time: Option<Timestamp>,
    /// When the next secret will be published; absent with rotation Manual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_time: Option<Timestamp>,
    /// When a token was last issued to the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_access_time: Option<Timestamp>,
    /// Who created the account, as the admission policy saw them; unknown where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When the account was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_time: Option<Timestamp>,
    /// The TokenIssuer that serves the account's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The published Secret, as a provisioned service of servicebinding.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// The credential versions that still work, newest first; at most two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Credential>,
    /// The trigger values that were acted on already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled: Option<HandledTriggers>,
    /// Notices of the current credential version, sent and to come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notifications: Vec<Notification>,
    /// Ready always; others when they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The manual's account status; deleted accounts live on as tombstones only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccountStatus {
    /// Tokens are issued.
    Active,
    /// Disabled.
    Inactive,
}

/// The manual's client secret status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClientSecretStatus {
    /// The current secret works.
    Active,
    /// It has expired, or there is none yet.
    Inactive,
    /// The account is External and has no secret.
    None,
}

/// The published Secret, servicebinding.io style.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Binding {
    /// The Secret's name.
    pub name: String,
}

/// One credential version, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    /// Counts up from 1 over the account's life.
    pub version: i64,
    /// The client ID of this version.
    pub client_id: String,
    /// Current, or Previous while its grace or overlap lasts.
    pub state: CredentialState,
    /// When it began to work.
    pub not_before: Timestamp,
    /// When it stops working.
    pub not_after: Timestamp,
    /// When it first got a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_used_time: Option<Timestamp>,
    /// When it last got a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_time: Option<Timestamp>,
    /// Why it was made.
    pub reason: Reason,
}

/// States of a credential version that a user sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CredentialState {
    /// The one in the published Secret.
    Current,
    /// The one before, while it still works.
    Previous,
}

/// Why a credential was changed; there are no other reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    /// The account is new.
    Created,
    /// Its time came.
    Scheduled,
    /// Somebody asked for it.
    Requested,
    /// Somebody asked for a new client ID, which brings a new secret.
    ClientIdRegenerated,
    /// The old secret leaked.
    Compromised,
    /// The published Secret was gone or altered.
    Repaired,
}

/// The trigger values that were acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HandledTriggers {
    /// Of spec.regenerate.clientSecret.
    #[serde(default)]
    pub client_secret: i64,
    /// Of spec.regenerate.clientId.
    #[serde(default)]
    pub client_id: i64,
    /// Of the annotation keyrota.dev/regenerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regenerate_time: Option<Timestamp>,
    /// Of the annotation keyrota.dev/compromised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compromised_time: Option<Timestamp>,
}

/// One expiry notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Days before expiry; negative after it. Example: 30.
    pub threshold: i32,
    /// When it is due.
    pub due_time: Timestamp,
    /// When it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_time: Option<Timestamp>,
    /// By which way: Email, Webhook or Event; All for one that was skipped.
    pub channel: String,
    /// Pending, Sent, Failed or Skipped.
    pub result: String,
}

fn yes() -> bool {
    true
}

fn half_a_year() -> i32 {
    180
}
