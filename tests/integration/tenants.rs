//! Tenants by host: a tenant's accounts are served at its hosts and nowhere else, under a certificate of its own.

use k8s_openapi::api::core::v1::Secret;
use keyrota::api::TokenIssuer;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::common::eventually;
use super::common::operator::{Gateway, Operator, SOON, text};

const NOT_FOUND: u16 = 400;

/// The status that a client of `host` gets; none when it does not trust the certificate.
async fn asked_at(gateway: &Gateway, host: &str, ca: &str, pair: &(String, String)) -> Option<u16> {
    let ca = reqwest::Certificate::from_pem(ca.as_bytes()).unwrap();
    let client =
        reqwest::Client::builder().no_proxy().tls_certs_only([ca]).resolve(host, gateway.address).build().unwrap();
    let url = format!("https://{host}:{}{}", gateway.address.port(), keyrota::gateway::legacy::PATH);
    let answer = client.post(url).basic_auth(&pair.0, Some(&pair.1)).send().await.ok()?;
    Some(answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_accounts_are_served_at_its_hosts_alone_under_its_own_certificate() {
    let mut operator = Operator::start().await;
    let gateway = operator.start_gateway().await;
    let name = operator.tenant.name.clone();
    let host = format!("{name}.example");
    let issuer = json!({
        "apiVersion": "keyrota.dev/v1alpha1", "kind": "TokenIssuer", "metadata": {"name": name},
        "spec": {"namespaces": [name], "hosts": [host]},
    });
    let issuers: Api<TokenIssuer> = Api::all(operator.client.clone());
    issuers.create(&PostParams::default(), &serde_json::from_value(issuer).unwrap()).await.unwrap();
    operator.ready("app", json!({})).await;
    let pair = operator.credential("app-credentials").await;
    let made = format!("keyrota-gateway-tls-{name}");
    let certificate = eventually("the host's certificate is made", SOON, async || {
        operator.own_secrets().get_opt(&made).await.unwrap()
    })
    .await;
    assert_eq!(certificate.owner_references()[0].name, name, "it goes with the issuer");
    let ca = text(&certificate, "ca.crt");
    eventually("the tenant's host serves the tenant's account", SOON, async || {
        (asked_at(&gateway, &host, &ca, &pair).await == Some(200)).then_some(())
    })
    .await;
    eventually("no other host does", SOON, async || (gateway.token(&pair).await.0 == NOT_FOUND).then_some(())).await;
    assert_eq!(asked_at(&gateway, "other.example", &ca, &pair).await, None, "another name gets no certificate for it");

    // Somebody brings a certificate of their own, as cert-manager would.
    let own = rcgen::generate_simple_self_signed(vec![host.clone()]).unwrap();
    let given = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "zz-given", "labels": {"keyrota.dev/host-certificate": "true"}},
        "stringData": {"tls.crt": own.cert.pem(), "tls.key": own.signing_key.serialize_pem()},
    });
    let given: Secret = serde_json::from_value(given).unwrap();
    operator.own_secrets().create(&PostParams::default(), &given).await.unwrap();
    eventually("the given certificate is served", SOON, async || {
        (asked_at(&gateway, &host, &own.cert.pem(), &pair).await == Some(200)).then_some(())
    })
    .await;
    assert_eq!(gateway.token(&pair).await.0, NOT_FOUND, "and nothing changes at the others");
}
