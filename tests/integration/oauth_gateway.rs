//! The standard endpoints of a real gateway, fed by the real API server, as clients and resource servers use them.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use keyrota::api::{UserGroup, UserGroupSpec};
use keyrota::clock::{Clock, SystemClock};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use super::common::eventually;
use super::common::operator::{Gateway, Operator, SOON, free_address, text};

/// Where things are, as a client finds out from nothing but its published Secret.
struct Found {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    introspection_endpoint: String,
}

async fn get(gateway: &Gateway, url: &str) -> Option<Value> {
    let answer = gateway.http.get(url).send().await.ok()?;
    let good = answer.status().is_success();
    let body = answer.bytes().await.ok()?;
    good.then(|| serde_json::from_slice(&body).unwrap())
}

async fn post(gateway: &Gateway, url: &str, pair: &(String, String), form: &[(&str, &str)]) -> (u16, Value) {
    let basic = BASE64_STANDARD.encode(format!("{}:{}", pair.0, pair.1));
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = gateway.http.post(url).header("Authorization", format!("Basic {basic}"));
    let answer = request.header("Content-Type", "application/x-www-form-urlencoded").body(body).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

/// As a resource server would: the keys from the issuer's key set, the algorithm from the key, and every claim checked.
async fn verified(gateway: &Gateway, found: &Found, token: &str) -> Value {
    let keys: JwkSet = serde_json::from_value(get(gateway, &found.jwks_uri).await.unwrap()).unwrap();
    let header = decode_header(token).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
    let mut checks = Validation::new(key.common.key_algorithm.unwrap().to_string().parse().unwrap());
    checks.set_issuer(&[&found.issuer]);
    checks.set_audience(&[&found.issuer]);
    checks.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &checks).unwrap().claims
}

async fn active(gateway: &Gateway, found: &Found, caller: &(String, String), token: &str) -> bool {
    let (status, answer) = post(gateway, &found.introspection_endpoint, caller, &[("token", token)]).await;
    assert!(status == 200 || status == 503, "{answer}");
    answer["active"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_finds_all_it_needs_from_its_secret_and_its_tokens_count_while_it_may_have_them() {
    let mut operator = Operator::prepared(Arc::new(SystemClock)).await;
    let listen = free_address();
    let external_url = format!("https://{listen}");
    operator.flags = vec!["--external-url".into(), external_url.clone()];
    operator.start_controller();
    let gateway = operator.start_gateway_at(listen, &external_url).await;
    // Groups belong to no namespace, and other tests run beside this one.
    let groups: Api<UserGroup> = Api::all(operator.client.clone());
    let group = format!("writers-{}", operator.tenant.name);
    let spec = UserGroupSpec { scopes: vec!["read".into(), "write".into()], ..UserGroupSpec::default() };
    groups.create(&PostParams::default(), &UserGroup::new(&group, spec)).await.unwrap();
    operator.ready("exporter", json!({"userGroups": [group]})).await;
    operator.ready("api", json!({})).await;
    let (pair, caller) =
        (operator.credential("exporter-credentials").await, operator.credential("api-credentials").await);

    let secret = operator.secrets().get("exporter-credentials").await.unwrap();
    let issuer = text(&secret, "issuer");
    let discovery = format!("{issuer}/.well-known/openid-configuration");
    let document = eventually("the issuer has its keys", SOON, async || get(&gateway, &discovery).await).await;
    let metadata = get(&gateway, &format!("{issuer}/.well-known/oauth-authorization-server")).await.unwrap();
    let member = |name: &str| {
        assert_eq!(document[name], metadata[name]);
        document[name].as_str().unwrap().to_owned()
    };
    let found = Found {
        issuer: member("issuer"),
        token_endpoint: member("token_endpoint"),
        jwks_uri: member("jwks_uri"),
        introspection_endpoint: member("introspection_endpoint"),
    };
    assert_eq!((found.issuer.as_str(), text(&secret, "jwks-uri")), (external_url.as_str(), found.jwks_uri.clone()));

    let grant = ("grant_type", "client_credentials");
    let (status, answer) = eventually("the group has arrived", SOON, async || {
        let answer = post(&gateway, &found.token_endpoint, &pair, &[grant]).await;
        (answer.1["scope"] == "read write").then_some(answer)
    })
    .await;
    assert_eq!(status, 200, "{answer}");
    let token = answer["access_token"].as_str().unwrap();
    let claims = verified(&gateway, &found, token).await;
    assert_eq!((&claims["client_id"], &claims["groups"]), (&json!(pair.0), &json!([group])));
    assert_eq!(claims["keyrota.dev/namespace"], operator.tenant.name.as_str());
    let (status, answer) = post(&gateway, &found.token_endpoint, &pair, &[grant, ("scope", "admin")]).await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_scope")));
    let wrong = (pair.0.clone(), "wrong".to_owned());
    let (status, answer) = post(&gateway, &found.token_endpoint, &wrong, &[grant]).await;
    assert_eq!((status, &answer["error"]), (401, &json!("invalid_client")));

    // What anybody can write into a request changes nothing.
    let spoofed =
        gateway.http.get(&discovery).header("Host", "evil.example").header("X-Forwarded-Host", "evil.example");
    let spoofed = spoofed.header("Forwarded", "host=evil.example;proto=http").send().await.unwrap();
    let spoofed: Value = serde_json::from_slice(&spoofed.bytes().await.unwrap()).unwrap();
    assert_eq!(spoofed["issuer"], found.issuer.as_str());

    let (_, legacy) = gateway.token(&pair).await;
    for token in [token, &legacy] {
        assert!(active(&gateway, &found, &caller, token).await);
    }
    operator.edit("exporter", json!({"spec": {"enabled": false}})).await;
    for token in [token, &legacy] {
        eventually("a disabled account's token does not count", SOON, async || {
            (!active(&gateway, &found, &caller, token).await).then_some(())
        })
        .await;
    }
    operator.edit("exporter", json!({"spec": {"enabled": true}})).await;
    eventually("an enabled account's token counts again", SOON, async || {
        active(&gateway, &found, &caller, token).await.then_some(())
    })
    .await;

    let leaked = SystemClock.timestamp().to_string();
    operator.edit("exporter", json!({"metadata": {"annotations": {"keyrota.dev/compromised": leaked}}})).await;
    let new = operator.next_credential("exporter-credentials", &pair).await;
    for token in [token, &legacy] {
        eventually("a token of a leaked secret does not count", SOON, async || {
            (!active(&gateway, &found, &caller, token).await).then_some(())
        })
        .await;
    }
    let (_, answer) = post(&gateway, &found.token_endpoint, &new, &[grant]).await;
    assert!(active(&gateway, &found, &caller, answer["access_token"].as_str().unwrap()).await, "{answer}");
    groups.delete(&group, &DeleteParams::default()).await.unwrap();
}
