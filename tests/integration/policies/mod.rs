//! The chart's admission policies on a real API server, tried by real users under RBAC.

mod created_by;
mod external_client_ids;
mod lent_rights;
mod older;
mod own_accounts;
mod render;
mod user;
mod user_groups;

use std::sync::OnceLock;
use std::time::Duration;

use keyrota::controlplane::ControlPlane;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::common::operator::kubectl;
use crate::common::{TestNamespace, control_plane_of_ones_own, eventually, install, namespace};

pub(crate) use render::rendered;
pub(crate) use user::User;

/// How long the API server may take until a new policy or role counts.
const SOON: Duration = Duration::from_secs(60);

/// An account, and its namespace, from before the policies.
const PREDATING: &str = "predating";

/// Whom these tests call by name: each may write accounts, and nothing else.
const PEOPLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: try-edit}
rules:
- {apiGroups: [keyrota.dev], resources: [serviceaccounts], verbs: ["get", "list", "create", "update", "patch", "delete", "deletecollection"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: try-edit}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: try-edit}
subjects: [{kind: Group, name: people}]
"#;

/// A control plane that has the policies, and a namespace in it.
pub(crate) struct Guarded {
    pub(crate) control_plane: &'static ControlPlane,
    pub(crate) namespace: TestNamespace,
}

impl Guarded {
    /// With every policy. None without Go, which Helm is built with.
    pub(crate) async fn new() -> Option<Self> {
        static CONTROL_PLANE: OnceLock<&ControlPlane> = OnceLock::new();
        static PREPARED: OnceCell<Option<()>> = OnceCell::const_new();
        let control_plane = *CONTROL_PLANE.get_or_init(control_plane_of_ones_own);
        (*PREPARED.get_or_init(async || prepare(control_plane, true).await).await)?;
        Some(Self { control_plane, namespace: namespace(control_plane).await })
    }

    /// A user of the group that may write accounts.
    pub(crate) async fn user(&self, name: &str) -> User {
        User::of(self, name).await
    }

    /// One who may do everything.
    pub(crate) async fn admin(&self) -> User {
        User::with(self, "keyrota-admin", self.control_plane.client().unwrap())
    }

    /// Gives a user further rights in the namespace, and waits until they count.
    pub(crate) async fn grant(&self, user: &User, group: &str, resource: &str, verb: &str) {
        let role = named(&self.namespace.name, user, group, resource, verb);
        let input = format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: {role}, namespace: {0}}}, \
             rules: [{{apiGroups: ['{group}'], resources: ['{resource}'], verbs: ['{verb}']}}]}}\n---\n\
             {{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: {role}, namespace: {0}}}, \
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {role}}}, \
             subjects: [{{kind: User, name: '{1}'}}]}}\n",
            self.namespace.name, user.name
        );
        kubectl(self.control_plane, &["apply", "-f", "-"], &input);
        user.until_allowed(
            &json!({"namespace": self.namespace.name, "group": group, "resource": resource, "verb": verb}),
        )
        .await;
    }

    /// Gives a user rights on objects of these names (all, when there are none) in the whole cluster.
    pub(crate) async fn grant_everywhere(&self, user: &User, resource: &str, verb: &str, names: &[&str]) {
        let role = named(&self.namespace.name, user, "keyrota.dev", resource, verb);
        let input = format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: {role}}}, \
             rules: [{{apiGroups: [keyrota.dev], resources: ['{resource}'], resourceNames: [{}], verbs: ['{verb}']}}]}}\n---\n\
             {{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: {role}}}, \
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}, \
             subjects: [{{kind: User, name: '{}'}}]}}\n",
            names.join(","),
            user.name
        );
        kubectl(self.control_plane, &["apply", "-f", "-"], &input);
        let name = names.first().copied().unwrap_or_default();
        user.until_allowed(&json!({"group": "keyrota.dev", "resource": resource, "verb": verb, "name": name})).await;
    }
}

fn named(namespace: &str, user: &User, group: &str, resource: &str, verb: &str) -> String {
    format!("{namespace}-{}-{group}{resource}-{verb}", user.name.replace(':', "-"))
}

/// Installs kinds, people, an account that is older than the policies, and these, and waits until each policy acts.
async fn prepare(control_plane: &'static ControlPlane, mutating: bool) -> Option<()> {
    let policies = rendered(mutating)?;
    for crd in keyrota::crds::all() {
        install(&control_plane.client().unwrap(), &crd).await;
    }
    kubectl(control_plane, &["apply", "-f", "-"], PEOPLE);
    kubectl(control_plane, &["create", "namespace", PREDATING], "");
    kubectl(
        control_plane,
        &["create", "--namespace", PREDATING, "-f", "-"],
        &account(PREDATING, json!({})).to_string(),
    );
    kubectl(control_plane, &["apply", "-f", "-"], &policies);
    let probe = Guarded { control_plane, namespace: namespace(control_plane).await };
    let user = probe.user("probe").await;
    let acting = user.clone();
    acting.until_allowed(&json!({"group": "keyrota.dev", "resource": "serviceaccounts", "verb": "create"})).await;
    let mut foreign = account("probe", json!({}));
    foreign["metadata"]["annotations"] = json!({"keyrota.dev/created-by": "somebody"});
    for (policy, refused) in [
        ("keyrota-own-accounts", foreign),
        ("keyrota-user-groups", account("probe", json!({"userGroups": ["any"]}))),
        ("keyrota-lent-rights", account("probe", json!({"clientSecret": {"template": {"labels": {"a": "b"}}}}))),
        ("keyrota-external-client-ids", account("probe", external("system:serviceaccount:other:robot"))),
    ] {
        eventually(&format!("{policy} acts"), SOON, async || {
            user.dry_run(&refused).await.is_err_and(|error| error.contains(policy)).then_some(())
        })
        .await;
    }
    if mutating {
        eventually("keyrota-created-by acts", SOON, async || {
            let stored = user.dry_run(&account("probe", json!({}))).await.ok()?;
            (created_by(&stored) == "probe").then_some(())
        })
        .await;
    }
    Some(())
}

/// An account.
pub(crate) fn account(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount", "metadata": {"name": name}, "spec": spec,
    })
}

fn external(client_id: &str) -> Value {
    json!({"authentication": {"mode": "External", "externalClientId": client_id}})
}

fn created_by(object: &Value) -> &str {
    object["metadata"]["annotations"]["keyrota.dev/created-by"].as_str().unwrap_or_default()
}

/// Holds that a request was refused in words that hold all of these.
#[track_caller]
fn refused(outcome: Result<Value, String>, words: &[&str]) {
    match outcome {
        Ok(object) => panic!("let in: {object}"),
        Err(message) => {
            for word in words {
                assert!(message.contains(word), "{word:?} is not in: {message}");
            }
        }
    }
}
