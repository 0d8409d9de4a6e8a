//! `UserGroup`: what members of a group may ask for, kept by the platform team.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;
use super::shape::{DNS_SUBDOMAIN, NO_PROSE, PROSE};

/// A group of service accounts. Groups decide what a token is worth, so they are cluster-scoped and belong to the
/// platform team; an account joins by naming the group in spec.userGroups.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "keyrota.dev",
    version = "v1alpha1",
    kind = "UserGroup",
    plural = "usergroups",
    shortname = "krug",
    category = "keyrota",
    status = "UserGroupStatus",
    derive = "PartialEq",
    doc = "UserGroup grants scopes and claims to the service accounts that name it in spec.userGroups.",
    printcolumn(name = "Members", type_ = "integer", json_path = ".status.members"),
    printcolumn(name = "Description", type_ = "string", json_path = ".spec.description"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct UserGroupSpec {
    /// What the group is for, up to 1024 characters. Example: Deployment pipelines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new(PROSE).message(NO_PROSE))]
    pub description: Option<String>,

    /// The OAuth scopes (RFC 6749 section 3.3) that a member's token may ask for. Default: none. Example: [read, deploy].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 255), regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub scopes: Vec<String>,

    /// Static claims, placed under the one claim keyrota.dev/claims of members' OAuth tokens. Default: none.
    /// Example: {tier: gold}.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^[!-~]{1,253}$'))").message("claims: a key must have 1 to 253 printable ASCII characters and no space"))]
    pub claims: BTreeMap<String, String>,

    /// Limits the group to accounts of these token issuers. Default: every issuer. Example: ["default"].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63), regex(pattern = DNS_SUBDOMAIN)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub issuers: Vec<String>,
}

/// What the controller reports of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserGroupStatus {
    /// The generation that this status was computed from; -1 before the first time.
    #[serde(default)]
    pub observed_generation: i64,
    /// How many service accounts name this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<i64>,
    /// Ready, and what is wrong if it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
