//! Metadata and key sets in process.

use axum::response::Response;
use chrono::TimeDelta;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::json;

use super::Document;
use crate::api::Algorithm;
use crate::domain::keys::Keys;
use crate::gateway::endpoint::tests::*;
use crate::index::Item;
use crate::index::testing::{add_key, issuer, key_item, keys};

fn get(setting: &Setting, which: Document, host: &str) -> Response {
    setting.app.document(which, Request::get("/").header(HOST, host).body(Body::empty()).unwrap())
}

async fn read(response: Response) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn authorization_server_metadata_is_rfc_8414s() {
    let response = get(&setting(), Document::Metadata, "anything");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "public, max-age=300");
    let expected = json!({
        "issuer": EXTERNAL,
        "token_endpoint": format!("{EXTERNAL}/oauth2/token"),
        "jwks_uri": format!("{EXTERNAL}/.well-known/jwks.json"),
        "introspection_endpoint": format!("{EXTERNAL}/oauth2/introspect"),
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": ["none"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    });
    assert_eq!(read(response).await, expected);
}

#[tokio::test]
async fn who_trusts_another_issuer_tells_that_assertions_are_accepted_and_what_signs_them() {
    let setting = setting();
    let mut trusting = issuer("default", 1, &[], &[]);
    trusting.spec.trusted_issuers = vec![
        serde_json::from_value(json!({"name": "idp", "issuer": "https://idp.example", "kubernetes": true})).unwrap(),
    ];
    setting.index.apply(Item::Issuer(Box::new(trusting)));
    let document = read(get(&setting, Document::Metadata, "")).await;
    let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
    assert_eq!(document["token_endpoint_auth_methods_supported"], methods);
    let algorithms = document["token_endpoint_auth_signing_alg_values_supported"].as_array().unwrap();
    assert!(algorithms.contains(&json!("RS256")) && algorithms.iter().all(|name| name != "none" && name != "HS256"));
}

#[tokio::test]
async fn discovery_tells_every_algorithm_of_the_published_keys() {
    let setting = setting();
    let mut all = Keys::default();
    add_key(&mut all, Algorithm::ES256, TimeDelta::days(-1));
    add_key(&mut all, Algorithm::RS256, TimeDelta::hours(1));
    setting.index.apply(key_item("default", all));
    let document = read(get(&setting, Document::Discovery, "")).await;
    assert_eq!(document["id_token_signing_alg_values_supported"], json!(["ES256", "RS256"]));
    assert_eq!((&document["issuer"], &document["subject_types_supported"]), (&EXTERNAL.into(), &json!(["public"])));
}

#[tokio::test]
async fn the_key_set_has_the_next_key_and_the_last_one_while_its_tokens_live_and_no_hs256_key() {
    let setting = setting();
    let mut all = Keys::parse([("legacy-current".to_owned(), zeroize::Zeroizing::new(vec![7; 32]))].into());
    for (algorithm, from) in [
        // Its tokens ended an hour after the next key began, and the margin another hour later.
        (Algorithm::ES256, TimeDelta::days(-3)),
        (Algorithm::EdDSA, TimeDelta::days(-2)),
        (Algorithm::RS256, TimeDelta::hours(-1)),
        (Algorithm::ES256, TimeDelta::hours(1)),
    ] {
        add_key(&mut all, algorithm, from);
    }
    let kids: Vec<String> = all.oauth.line().iter().map(|key| key.key.kid().to_owned()).collect();
    setting.index.apply(key_item("default", all));
    let document = read(get(&setting, Document::Jwks, "")).await;
    let published: Vec<&str> =
        document["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(published, kids[1..]);
    assert!(document["keys"].as_array().unwrap().iter().all(|key| key["use"] == "sig" && key.get("d").is_none()));
    assert!(!document.to_string().contains("oct"));
}

#[rstest]
#[case("acme.example", "https://acme.example:31443", "https://acme.example:31443")]
#[case("SECOND.example:1", "https://acme.example:31443", "https://acme.example:31443")]
#[case("named.example", "https://named.example/path", "https://named.example:31443")]
#[case("evil.example", EXTERNAL, EXTERNAL)]
#[tokio::test]
async fn addresses_come_from_the_settings_of_the_hosts_issuer(
    #[case] host: &str,
    #[case] iss: &str,
    #[case] base: &str,
) {
    let setting = setting();
    let acme = issuer("acme", 1, &[], &["acme.example", "second.example"]);
    let mut named = issuer("named", 1, &[], &["named.example"]);
    named.spec.oauth.issuer = Some("https://named.example/path".into());
    for object in [acme, named] {
        setting.index.apply(keys(object.metadata.name.as_deref().unwrap()));
        setting.index.apply(Item::Issuer(Box::new(object)));
    }
    for which in [Document::Metadata, Document::Discovery] {
        let document = read(get(&setting, which, host)).await;
        assert_eq!(
            (&document["issuer"], &document["token_endpoint"]),
            (&iss.into(), &format!("{base}/oauth2/token").into())
        );
    }
}

#[rstest]
#[tokio::test]
async fn documents_are_for_reading_when_there_is_a_key(
    #[values(Document::Metadata, Document::Discovery, Document::Jwks)] which: Document,
) {
    let setting = setting();
    let send =
        |method: Method| setting.app.document(which, Request::builder().method(method).body(Body::empty()).unwrap());
    assert_eq!(send(Method::HEAD).status(), 200);
    let refused = send(Method::POST);
    assert_eq!((refused.status().as_u16(), refused.headers()["allow"].to_str().unwrap()), (405, "GET, HEAD"));
    setting.index.apply(key_item("default", Keys::default()));
    assert_eq!(send(Method::GET).status(), 503);
    let mut off = issuer("default", 1, &[], &[]);
    off.spec.oauth.enabled = false;
    setting.index.apply(Item::Issuer(Box::new(off)));
    assert_eq!(send(Method::GET).status(), 404);
}

#[rstest]
#[case(Document::Metadata, "/.well-known/oauth-authorization-server/tenants/a", 200)]
#[case(Document::Metadata, "/.well-known/oauth-authorization-server/tenants/a/", 200)]
#[case(Document::Metadata, "/.well-known/oauth-authorization-server", 200)]
#[case(Document::Metadata, "/.well-known/oauth-authorization-server/tenants/b", 404)]
#[case(Document::Metadata, "/.well-known/oauth-authorization-server/tenants", 404)]
#[case(Document::Discovery, "/tenants/a/.well-known/openid-configuration", 200)]
#[case(Document::Discovery, "/.well-known/openid-configuration/tenants/a", 200)]
#[case(Document::Discovery, "/.well-known/openid-configuration", 200)]
#[case(Document::Discovery, "/tenants/b/.well-known/openid-configuration", 404)]
#[tokio::test]
async fn an_issuer_with_a_path_is_found_where_the_standards_put_it_and_no_other_is_found_there(
    #[case] which: Document,
    #[case] path: &str,
    #[case] status: u16,
) {
    let setting = setting();
    let mut with_path = issuer("default", 1, &[], &[]);
    with_path.spec.oauth.issuer = Some("https://tokens.example/tenants/a/".into());
    setting.index.apply(Item::Issuer(Box::new(with_path)));
    let answer = setting.app.document(which, Request::get(path).body(Body::empty()).unwrap());
    assert_eq!(answer.status().as_u16(), status);
    if status == 200 {
        assert_eq!(read(answer).await["issuer"], "https://tokens.example/tenants/a/");
    }
}
