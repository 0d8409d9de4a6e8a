//! External accounts against a real API server: its own service accounts' tokens, and those of foreign issuers.

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount as CoreAccount};
use keyrota::api::ConditionStatus;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::common::eventually;
use super::common::idp::{ISSUER, Idp, Key};
use super::common::operator::{Gateway, Operator, SOON, condition};
use super::common::receiver::TestIssuer;

const OURS: &str = "https://tokens.example";
const CLUSTER: &str = "https://kubernetes.default.svc";
const WRONG: (u16, &str) = (400, "OAUTH_CLNT_015");
const NOT_FOUND: (u16, &str) = (400, "ACCT_SA_003");

/// The tenant's host.
fn host(operator: &Operator) -> String {
    format!("{}.example", operator.tenant.name)
}

/// The tenant's issuer, which trusts these.
async fn trusting(operator: &Operator, trusted: Value) -> TestIssuer {
    let spec = json!({"hosts": [host(operator)], "oauth": {"issuer": OURS}, "trustedIssuers": trusted});
    TestIssuer::of(operator.control_plane, &operator.tenant.name, spec).await
}

async fn answer(operator: &Operator, gateway: &Gateway, assertion: &str) -> (u16, String) {
    let (status, said) = gateway.token_for(&host(operator), assertion).await;
    (status, if status == 200 { String::new() } else { said })
}

/// Once the gateway's watches and keys have come.
async fn granted(operator: &Operator, gateway: &Gateway, assertion: &str) {
    eventually("granted", SOON, async || (answer(operator, gateway, assertion).await.0 == 200).then_some(())).await;
}

async fn refused(operator: &Operator, gateway: &Gateway, assertion: &str, (status, code): (u16, &str)) {
    assert_eq!(answer(operator, gateway, assertion).await, (status, code.to_owned()));
}

async fn external(operator: &Operator, name: &str, client_id: &str) {
    operator.ready(name, json!({"authentication": {"mode": "External", "externalClientId": client_id}})).await;
}

fn core_accounts(operator: &Operator, namespace: &str) -> Api<CoreAccount> {
    Api::namespaced(operator.client.clone(), namespace)
}

/// A service account of Kubernetes, if it is not there already.
async fn core_account(operator: &Operator, namespace: &str, name: &str) {
    let accounts = core_accounts(operator, namespace);
    if accounts.get_opt(name).await.unwrap().is_none() {
        let account = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        accounts.create(&PostParams::default(), &account).await.unwrap();
    }
}

/// What kubelet projects into a Pod.
async fn projected(
    operator: &Operator,
    namespace: &str,
    name: &str,
    audience: &str,
    bound: Option<BoundObjectReference>,
) -> String {
    let spec =
        TokenRequestSpec { audiences: vec![audience.into()], expiration_seconds: Some(3600), bound_object_ref: bound };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let accounts = core_accounts(operator, namespace);
    let made = accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
    made.status.unwrap().token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_gets_a_token_with_its_projected_service_account_token_and_no_secret_at_all() {
    let mut operator = Operator::start().await;
    let _issuer = trusting(&operator, json!([{"name": "cluster", "issuer": CLUSTER, "kubernetes": true}])).await;
    let (tenant, other) = (operator.tenant.name.clone(), operator.own.name.clone());
    let subject = |namespace: &str, name: &str| format!("system:serviceaccount:{namespace}:{name}");
    for (namespace, name) in [(&tenant, "exporter"), (&tenant, "default"), (&other, "stranger")] {
        core_account(&operator, namespace, name).await;
    }
    external(&operator, "exporter", &subject(&tenant, "exporter")).await;
    external(&operator, "everybody", &subject(&tenant, "default")).await;
    external(&operator, "foreign", &subject(&other, "stranger")).await;
    operator.ready("internal", json!({})).await;
    let gateway = operator.start_gateway().await;

    let good = projected(&operator, &tenant, "exporter", OURS, None).await;
    granted(&operator, &gateway, &good).await;
    refused(&operator, &gateway, &projected(&operator, &tenant, "exporter", CLUSTER, None).await, WRONG).await;
    refused(&operator, &gateway, &projected(&operator, &tenant, "default", OURS, None).await, WRONG).await;
    refused(&operator, &gateway, &projected(&operator, &other, "stranger", OURS, None).await, WRONG).await;
    eventually("the issuer has its OAuth keys", SOON, async || {
        (gateway.oauth_token_for(&host(&operator), &good).await.0 == 200).then_some(())
    })
    .await;
    let theirs = projected(&operator, &other, "stranger", OURS, None).await;
    assert_eq!(gateway.oauth_token_for(&host(&operator), &theirs).await, (401, "invalid_client".into()));
    // Signed by nobody: the API server is asked, and says no.
    let (content, _) = good.rsplit_once('.').unwrap();
    refused(&operator, &gateway, &format!("{content}.AAAA"), WRONG).await;
    // At the host of nobody the account is nobody's.
    let (status, _) = gateway.token_for("127.0.0.1", &good).await;
    assert_eq!(status, 400);
    // Used, says its status.
    operator.until("exporter", "used", |status| status.last_access_time.is_some()).await;

    operator.edit("exporter", json!({"spec": {"enabled": false}})).await;
    eventually("disabled", SOON, async || {
        (answer(&operator, &gateway, &good).await == (NOT_FOUND.0, NOT_FOUND.1.to_owned())).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pods_token_is_worth_nothing() {
    let mut operator = Operator::start().await;
    let _issuer = trusting(&operator, json!([{"name": "cluster", "issuer": CLUSTER, "kubernetes": true}])).await;
    let tenant = operator.tenant.name.clone();
    core_account(&operator, &tenant, "exporter").await;
    external(&operator, "exporter", &format!("system:serviceaccount:{tenant}:exporter")).await;
    let gateway = operator.start_gateway().await;
    let pods: Api<Pod> = Api::namespaced(operator.client.clone(), &tenant);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "job"},
        "spec": {"serviceAccountName": "exporter", "automountServiceAccountToken": false,
                 "containers": [{"name": "job", "image": "job"}]},
    }))
    .unwrap();
    let pod = pods.create(&PostParams::default(), &pod).await.unwrap();
    let bound = BoundObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some("job".into()),
        uid: pod.uid(),
    };
    let used = projected(&operator, &tenant, "exporter", OURS, Some(bound.clone())).await;
    granted(&operator, &gateway, &used).await;
    let unused = projected(&operator, &tenant, "exporter", OURS, Some(bound)).await;
    assert_ne!(used, unused);
    pods.delete("job", &DeleteParams::default().grace_period(0)).await.unwrap();
    eventually("the Pod is gone", SOON, async || pods.get_opt("job").await.unwrap().is_none().then_some(())).await;
    eventually("refused", SOON, async || {
        (answer(&operator, &gateway, &unused).await == (WRONG.0, WRONG.1.to_owned())).then_some(())
    })
    .await;
}

/// Claims of the foreign issuer's token for us, at the operator's time.
fn claims(operator: &Operator, sub: &str, aud: &str) -> Value {
    let now = operator.clock.now().timestamp();
    json!({"iss": ISSUER, "sub": sub, "aud": aud, "iat": now, "exp": now + 300})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_issuer_with_its_keys_in_the_spec_is_trusted() {
    let mut operator = Operator::start().await;
    let key = Key::new("k");
    let _issuer = trusting(&operator, json!([{"name": "idp", "issuer": ISSUER, "jwks": key.set()}])).await;
    external(&operator, "robot", "robot").await;
    let internal = operator.ready("internal", json!({})).await;
    let gateway = operator.start_gateway().await;
    granted(&operator, &gateway, &key.sign(&claims(&operator, "robot", OURS))).await;
    let of = |sub: &str, aud: &str| key.sign(&claims(&operator, sub, aud));
    refused(&operator, &gateway, &of("robot", "https://elsewhere.example"), WRONG).await;
    refused(&operator, &gateway, &of("nobody", OURS), NOT_FOUND).await;
    refused(&operator, &gateway, &of(&internal.status.unwrap().client_id.unwrap(), OURS), WRONG).await;
    let forged = Key::new("k").sign(&claims(&operator, "robot", OURS));
    refused(&operator, &gateway, &forged, WRONG).await;
    refused(&operator, &gateway, "no.jwt", (400, "ACCT_SA_001")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_issuers_keys_at_a_uri_are_read_and_read_again_when_it_changes_them() {
    let (mut operator, clock) = Operator::on_manual_clock().await;
    let (first, second) = (Key::new("first"), Key::new("second"));
    let idp = Idp::start(first.set()).await;
    let _issuer = trusting(&operator, json!([{"name": "idp", "issuer": ISSUER, "jwksUri": idp.uri("/jwks")}])).await;
    external(&operator, "robot", "robot").await;
    let ca = idp.ca.path().to_str().unwrap();
    let flags = ["--jwks-allowed-host", &idp.host(), "--jwks-allowed-network", "127.0.0.0/8", "--jwks-ca-file", ca];
    operator.gateway_flags = flags.map(str::to_owned).to_vec();
    let gateway = operator.start_gateway().await;
    granted(&operator, &gateway, &first.sign(&claims(&operator, "robot", OURS))).await;
    assert_eq!(idp.asked(), 1);
    // Changed a moment after they were read: known when a minute is over, not earlier.
    idp.publishes(second.set());
    refused(&operator, &gateway, &second.sign(&claims(&operator, "robot", OURS)), WRONG).await;
    assert_eq!(idp.asked(), 1);
    clock.advance(chrono::TimeDelta::minutes(1));
    assert_eq!(answer(&operator, &gateway, &second.sign(&claims(&operator, "robot", OURS))).await.0, 200);
    refused(&operator, &gateway, &first.sign(&claims(&operator, "robot", OURS)), WRONG).await;
    assert_eq!(idp.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_the_operator_does_not_list_is_not_asked_and_the_caller_is_told_to_come_back() {
    let mut operator = Operator::start().await;
    let key = Key::new("k");
    let idp = Idp::start(key.set()).await;
    let _issuer = trusting(&operator, json!([{"name": "idp", "issuer": ISSUER, "jwksUri": idp.uri("/jwks")}])).await;
    external(&operator, "robot", "robot").await;
    let gateway = operator.start_gateway().await;
    let token = key.sign(&claims(&operator, "robot", OURS));
    refused(&operator, &gateway, &token, (503, "avx-common-011")).await;
    assert_eq!(idp.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_whose_trusted_issuer_is_not_there_is_told_so_until_it_is() {
    let operator = Operator::start().await;
    let entry = |name: &str| json!({"name": name, "issuer": format!("https://{name}.example"), "kubernetes": true});
    let issuer = trusting(&operator, json!([entry("one")])).await;
    let of = |named: &str| json!({"authentication": {"mode": "External", "externalClientId": named, "trustedIssuer": named}});
    operator.create("two", of("two")).await;
    let told = operator.until("two", "told", |status| condition(status, "Ready").1 == "TrustedIssuerNotFound").await;
    let status = told.status.unwrap();
    assert_eq!(condition(&status, "Stalled").0, Some(ConditionStatus::True));
    let message = &status.conditions.iter().find(|found| found.type_ == "Ready").unwrap().message;
    assert!(message.contains("\"two\"") && message.contains(&operator.tenant.name), "{message}");
    operator.ready("any", json!({"authentication": {"mode": "External", "externalClientId": "any"}})).await;

    // Both at once: the one is there now, and the other does not know any more which is meant.
    issuer.edit(json!({"trustedIssuers": [entry("one"), entry("two")]})).await;
    operator.until("two", "healed", |status| condition(status, "Ready").1 == "Registered").await;
    operator.until("any", "told", |status| condition(status, "Ready").1 == "TrustedIssuerNotFound").await;
}
