//! What gateway and console can reach, by their own questions and tries.

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::common::operator::Operator;
use crate::controlplane::client_from;

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

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_reads_no_secret_outside_the_operator_namespace_by_any_way() {
    let operator = Operator::start().await;
    operator.ready("exporter", json!({})).await;
    let (tenant, own) = (operator.tenant.name.as_str(), operator.own.name.as_str());
    let kubeconfig = operator.control_plane.service_account_kubeconfig(own, "keyrota-gateway").await.unwrap();
    let client = client_from(&kubeconfig).await;
    for namespace in [tenant, "kube-system", ""] {
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"] {
            assert!(!may(&client, namespace, "secrets", verb).await, "{verb} in {namespace:?}");
        }
    }
    // What it may in its own namespace is to read; and what would lead to more, it may nowhere.
    assert!(may(&client, own, "secrets", "get").await);
    for (resource, verb) in [
        ("secrets", "create"),
        ("secrets", "update"),
        ("secrets", "patch"),
        ("secrets", "delete"),
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
    ] {
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
    for error in refused {
        assert!(matches!(&error, Some(kube::Error::Api(status)) if status.code == 403), "{error:?}");
    }
    Api::<Secret>::namespaced(client, own).get("keyrota-gateway-tls").await.unwrap();
}
