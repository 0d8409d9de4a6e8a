//! What gateway and console can reach, by their own questions and tries.

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::common::operator::Operator;
use crate::controlplane::client_from;

/// All that can be done to a Secret.
const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// What would lead to more rights than were given.
const WAYS_TO_MORE: [(&str, &str); 11] = [
    ("serviceaccounts/token", "create"),
    ("pods", "create"),
    ("pods/exec", "create"),
    ("deployments.apps", "patch"),
    ("users", "impersonate"),
    ("serviceaccounts", "impersonate"),
    ("roles.rbac.authorization.k8s.io", "escalate"),
    ("roles.rbac.authorization.k8s.io", "bind"),
    ("rolebindings.rbac.authorization.k8s.io", "create"),
    ("serviceaccounts.keyrota.dev", "update"),
    ("serviceaccounts.keyrota.dev/status", "update"),
];

/// Whether a service account of the operator namespace may do something, by its own question to the API server.
async fn may(client: &Client, namespace: &str, resource: &str, verb: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let review = json!({"spec": {"resourceAttributes": {
        "namespace": namespace, "group": group, "resource": resource, "subresource": subresource, "verb": verb,
    }}});
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &serde_json::from_value(review).unwrap()).await.unwrap();
    answer.status.unwrap().allowed
}

fn all_forbidden(errors: impl IntoIterator<Item = Option<kube::Error>>) {
    for error in errors {
        assert!(matches!(&error, Some(kube::Error::Api(status)) if status.code == 403), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_reads_no_secret_outside_the_operator_namespace_by_any_way() {
    let operator = Operator::start().await;
    operator.ready("exporter", json!({})).await;
    let (tenant, own) = (operator.tenant.name.as_str(), operator.own.name.as_str());
    let kubeconfig = operator.control_plane.service_account_kubeconfig(own, "keyrota-gateway").await.unwrap();
    let client = client_from(&kubeconfig).await;
    for namespace in [tenant, "keyrota-notifications", "kube-system", ""] {
        for verb in VERBS {
            assert!(!may(&client, namespace, "secrets", verb).await, "{verb} in {namespace:?}");
        }
    }
    // What it may in its own namespace is to read; and what would lead to more, it may nowhere.
    assert!(may(&client, own, "secrets", "get").await);
    let writes = ["create", "update", "patch", "delete"].map(|verb| ("secrets", verb));
    for (resource, verb) in writes.into_iter().chain(WAYS_TO_MORE) {
        for namespace in [tenant, own] {
            assert!(!may(&client, namespace, resource, verb).await, "{verb} {resource} in {namespace}");
        }
    }

    let secrets: Api<Secret> = Api::namespaced(client.clone(), tenant);
    let everywhere: Api<Secret> = Api::all(client.clone());
    let refused = [
        secrets.get("exporter-credentials").await.err(),
        secrets.list(&ListParams::default()).await.err(),
        secrets.list_metadata(&ListParams::default()).await.err(),
        secrets.watch(&Default::default(), "0").await.err(),
        everywhere.list(&ListParams::default()).await.err(),
    ];
    all_forbidden(refused);
    Api::<Secret>::namespaced(client, own).get("keyrota-gateway-tls").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_reads_no_secret_anywhere_by_any_way_and_changes_nothing() {
    let operator = Operator::start().await;
    operator.ready("exporter", json!({})).await;
    let (tenant, own) = (operator.tenant.name.as_str(), operator.own.name.as_str());
    let kubeconfig = operator.control_plane.service_account_kubeconfig(own, "keyrota-console").await.unwrap();
    let client = client_from(&kubeconfig).await;
    assert!(may(&client, "", "serviceaccounts.keyrota.dev", "list").await);
    for namespace in [tenant, own, "keyrota-notifications", "kube-system", ""] {
        for verb in VERBS {
            assert!(!may(&client, namespace, "secrets", verb).await, "{verb} in {namespace:?}");
        }
        for (resource, verb) in WAYS_TO_MORE {
            assert!(!may(&client, namespace, resource, verb).await, "{verb} {resource} in {namespace:?}");
        }
    }
    for namespace in [tenant, own] {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let refused = [
            secrets.get("keyrota-console-tls").await.err(),
            secrets.list(&ListParams::default()).await.err(),
            secrets.list_metadata(&ListParams::default()).await.err(),
            secrets.watch(&Default::default(), "0").await.err(),
        ];
        all_forbidden(refused);
    }
    all_forbidden([Api::<Secret>::all(client).list(&ListParams::default()).await.err()]);
}
