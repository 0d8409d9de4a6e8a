//! The token endpoint in process.

use std::time::{Duration, Instant};

use axum::response::Response;
use chrono::TimeDelta;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::request::Builder;
use http::{Method, Request};
use http_body_util::BodyExt;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::json;

use crate::api::Algorithm;
use crate::domain::keys::Keys;
use crate::gateway::endpoint::tests::*;
use crate::index::testing::{account, add_key, group, issuer, key_item, keys, now};
use crate::index::{Accounts, Item, Kind};

const FORM: &str = "application/x-www-form-urlencoded";
const GRANT: &str = "grant_type=client_credentials";

fn request() -> Builder {
    Request::post("/oauth2/token").header(HOST, "127.0.0.1:31443").header(CONTENT_TYPE, FORM)
}

fn basic(client_id: &str, secret: &str) -> Builder {
    request().header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(format!("{client_id}:{secret}"))))
}

fn posted(client_id: &str, secret: &str) -> String {
    let secret: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    format!("{GRANT}&client_id={client_id}&client_secret={secret}")
}

async fn ask(setting: &Setting, head: Builder, body: impl Into<Body>) -> (Response, Value) {
    let response = setting.app.oauth_token(head.body(body.into()).unwrap(), None).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let value = serde_json::from_slice(&body).unwrap();
    (Response::from_parts(parts, Body::from(body)), value)
}

/// Status and error of the answer.
async fn error(setting: &Setting, head: Builder, body: impl Into<Body>) -> (u16, String) {
    let (response, body) = ask(setting, head, body).await;
    (response.status().as_u16(), body["error"].as_str().unwrap_or_default().to_owned())
}

/// The claims, checked by another library with a key that is published.
fn verified(setting: &Setting, answer: &Value) -> Value {
    let token = answer["access_token"].as_str().unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let world = setting.index.world();
    let keys = world.keys_of("default").unwrap();
    let jwk: Jwk = keys
        .oauth
        .published(now().into())
        .map(|key| key.key.jwk())
        .find(|jwk| jwk.common.key_id == header.kid)
        .cloned()
        .unwrap();
    let mut checks = Validation::new(header.alg);
    checks.validate_exp = false;
    checks.validate_aud = false;
    jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(&jwk).unwrap(), &checks).unwrap().claims
}

/// Name, scopes and claims.
type Group<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);

fn member(setting: Setting, groups: &[Group<'_>]) -> Setting {
    let names: Vec<&str> = groups.iter().map(|(name, ..)| *name).collect();
    for (name, scopes, claims) in groups {
        let mut object = group(name, &[]);
        object.spec.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        object.spec.claims = claims.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        setting.index.apply(Item::Group(Box::new(object)));
    }
    setting.with(&exporter().groups(&names))
}

#[rstest]
#[case::basic(basic(ID, SECRET), GRANT.to_owned())]
#[case::post(request(), posted(ID, SECRET))]
#[tokio::test]
async fn a_client_gets_an_access_token_by_either_way_of_authentication(#[case] head: Builder, #[case] body: String) {
    let setting = setting().with(&exporter());
    let (response, answer) = ask(&setting, head, body).await;
    assert_eq!(response.status(), 200, "{answer}");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["pragma"], "no-cache");
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&"Bearer".into(), &3600.into()));
    assert!(answer.get("scope").is_none());
    let mut claims = verified(&setting, &answer);
    let jti = claims["jti"].take();
    assert!(jti.as_str().unwrap().starts_with("1.uid-of-exporter."), "{jti}");
    let expected = json!({
        "iss": EXTERNAL, "sub": ID, "aud": EXTERNAL, "client_id": ID, "jti": null, "keyrota.dev/namespace": "shop",
        "iat": now().timestamp(), "exp": now().timestamp() + 3600,
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn no_two_tokens_are_the_same() {
    let setting = setting().with(&exporter());
    let (_, first) = ask(&setting, basic(ID, SECRET), GRANT).await;
    let (_, second) = ask(&setting, basic(ID, SECRET), GRANT).await;
    assert_ne!(first["access_token"], second["access_token"]);
    assert_eq!(setting.metrics.verifications.get(), 1);
}

#[rstest]
#[case::unknown(account("a"), "somebody", SECRET)]
#[case::wrong(exporter(), ID, "wrong")]
#[case::disabled(exporter().disabled(), ID, SECRET)]
#[case::deleting(exporter().deleting(), ID, SECRET)]
#[case::compromised(exporter().compromised(1), ID, SECRET)]
#[case::external(account("a").external("github"), "github", SECRET)]
#[case::another_tenants(exporter().of_namespace("acme"), ID, SECRET)]
#[tokio::test]
async fn every_failed_authentication_is_answered_alike_whichever_way_was_used(
    #[case] fixture: Fixture,
    #[case] client_id: &str,
    #[case] secret: &str,
    #[values(true, false)] in_the_header: bool,
) {
    let setting = setting().with(&fixture);
    setting.index.apply(Item::Issuer(Box::new(issuer("acme", 1, &["acme"], &["acme.example"]))));
    let (response, answer) = if in_the_header {
        ask(&setting, basic(client_id, secret), GRANT).await
    } else {
        ask(&setting, request(), posted(client_id, secret)).await
    };
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], r#"Basic realm="keyrota", charset="UTF-8""#);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(answer, json!({"error": "invalid_client", "error_description": "Client authentication failed"}));
}

#[rstest]
#[case::no_grant(basic(ID, SECRET), "", 400, "invalid_request")]
#[case::empty_grant(basic(ID, SECRET), "grant_type=", 400, "invalid_request")]
#[case::another_grant(basic(ID, SECRET), "grant_type=password", 400, "unsupported_grant_type")]
#[case::another_case(basic(ID, SECRET), "grant_type=Client_Credentials", 400, "unsupported_grant_type")]
#[case::repeated(
    basic(ID, SECRET),
    "grant_type=client_credentials&grant_type=client_credentials",
    400,
    "invalid_request"
)]
#[case::two_methods(
    basic(ID, SECRET),
    "grant_type=client_credentials&client_id=x&client_secret=y",
    400,
    "invalid_request"
)]
#[case::another_client(basic(ID, SECRET), "grant_type=client_credentials&client_id=x", 400, "invalid_request")]
#[case::json(request().header(CONTENT_TYPE, "application/json"), "{}", 400, "invalid_request")]
#[case::no_credentials(request(), GRANT, 401, "invalid_client")]
#[case::bearer(request().header(AUTHORIZATION, "Bearer x"), GRANT, 401, "invalid_client")]
#[case::garbage(request().header(AUTHORIZATION, "Basic !"), GRANT, 401, "invalid_client")]
#[case::credentials_in_the_query(
    Request::post(format!("/oauth2/token?client_id={ID}&client_secret={SECRET}")),
    GRANT,
    401,
    "invalid_client"
)]
#[case::two_headers(basic(ID, SECRET).header(AUTHORIZATION, "Basic eDp5"), GRANT, 400, "invalid_request")]
#[case::two_hosts(basic(ID, SECRET).header(HOST, "x"), GRANT, 400, "invalid_request")]
#[case::compressed(basic(ID, SECRET).header(CONTENT_ENCODING, "gzip"), GRANT, 400, "invalid_request")]
#[case::a_scope_that_nobody_gave(basic(ID, SECRET), "grant_type=client_credentials&scope=admin", 400, "invalid_scope")]
#[case::a_malformed_scope(basic(ID, SECRET), "grant_type=client_credentials&scope=a%22b", 400, "invalid_scope")]
#[case::line_ends_in_a_scope(
    basic(ID, SECRET),
    "grant_type=client_credentials&scope=a%0D%0ASet-Cookie:%20x",
    400,
    "invalid_scope"
)]
#[case::another_audience(basic(ID, SECRET), "grant_type=client_credentials&audience=x", 400, "invalid_target")]
#[case::another_resource(basic(ID, SECRET), "grant_type=client_credentials&resource=https://x", 400, "invalid_target")]
#[tokio::test]
async fn bad_requests_have_the_error_of_rfc_6749(
    #[case] head: Builder,
    #[case] body: &'static str,
    #[case] status: u16,
    #[case] code: &str,
) {
    let setting = setting().with(&exporter());
    let head = if code == "invalid_request" && body == "{}" {
        Request::post("/oauth2/token").header(CONTENT_TYPE, "application/json")
    } else {
        head
    };
    let (response, answer) = ask(&setting, head, body).await;
    assert_eq!((response.status().as_u16(), answer["error"].as_str()), (status, Some(code)), "{answer}");
    let description = answer["error_description"].as_str().unwrap();
    // RFC 6749 section 5.2.
    assert!(description.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E)), "{description}");
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn a_scope_of_50_000_characters_is_refused_in_no_time() {
    let setting = member(setting(), &[("g", &["a"], &[])]);
    let body = format!("{GRANT}&scope={}", "a+".repeat(25_000));
    assert_eq!(error(&setting, basic(ID, SECRET), body).await, (400, "invalid_scope".into()));
}

#[tokio::test]
async fn scopes_come_from_the_groups_and_less_may_be_asked_for() {
    let groups: &[Group<'_>] = &[
        ("writers", &["write", "read"], &[("tier", "gold"), ("team", "w")]),
        ("admins", &["admin"], &[("tier", "top")]),
    ];
    let setting = member(setting(), groups);
    let (_, answer) = ask(&setting, basic(ID, SECRET), GRANT).await;
    assert_eq!(answer["scope"], "admin read write");
    let claims = verified(&setting, &answer);
    assert_eq!((&claims["scope"], &claims["groups"]), (&"admin read write".into(), &json!(["admins", "writers"])));
    assert_eq!(claims["keyrota.dev/claims"], json!({"tier": "top", "team": "w"}));
    let (_, answer) = ask(&setting, basic(ID, SECRET), format!("{GRANT}&scope=write+read")).await;
    assert_eq!((&answer["scope"], &verified(&setting, &answer)["scope"]), (&"read write".into(), &"read write".into()));
}

#[tokio::test]
async fn audiences_are_those_of_the_issuers_list() {
    let setting = setting().with(&exporter());
    let mut object = issuer("default", 1, &[], &[]);
    object.spec.oauth.audiences = vec!["https://api".into(), "https://other".into()];
    setting.index.apply(Item::Issuer(Box::new(object)));
    for (asked, expected) in [
        ("", json!("https://api")),
        ("&audience=https://other", json!("https://other")),
        ("&resource=https%3A%2F%2Fother&audience=https://api", json!(["https://other", "https://api"])),
    ] {
        let (_, answer) = ask(&setting, basic(ID, SECRET), format!("{GRANT}{asked}")).await;
        assert_eq!(verified(&setting, &answer)["aud"], expected, "{asked}");
    }
    let own = format!("{GRANT}&audience={EXTERNAL}");
    assert_eq!(error(&setting, basic(ID, SECRET), own).await, (400, "invalid_target".into()));
}

#[tokio::test]
async fn the_issuer_is_what_the_settings_say_whatever_host_and_proxy_headers_say() {
    let setting = setting().with(&exporter()).with(&account("b").current("b", "s").of_namespace("acme"));
    let mut acme = issuer("acme", 1, &["acme"], &["acme.example", "second.example"]);
    acme.spec.oauth.issuer = Some("https://named.example".into());
    setting.index.apply(Item::Issuer(Box::new(acme)));
    setting.index.apply(keys("acme"));
    let head = basic(ID, SECRET).header("x-forwarded-host", "evil.example").header("forwarded", "host=evil.example");
    let (_, answer) = ask(&setting, head, GRANT).await;
    assert_eq!(verified(&setting, &answer)["iss"], EXTERNAL);
    let mut request = basic("b", "s").body(Body::from(GRANT)).unwrap();
    request.headers_mut().insert(HOST, "second.example".parse().unwrap());
    let response = setting.app.oauth_token(request, None).await;
    let body: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(
        jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims["iss"],
        "https://named.example"
    );
}

#[rstest]
#[case(Algorithm::ES256)]
#[case(Algorithm::EdDSA)]
#[case(Algorithm::RS256)]
#[tokio::test]
async fn the_key_whose_time_has_come_signs(#[case] next: Algorithm) {
    let setting = setting().with(&exporter());
    let mut all = Keys::default();
    add_key(&mut all, Algorithm::ES256, TimeDelta::days(-1));
    add_key(&mut all, next, TimeDelta::hours(1));
    let kids: Vec<String> = all.oauth.line().iter().map(|key| key.key.kid().to_owned()).collect();
    setting.index.apply(key_item("default", all));
    for (minutes, expected) in [(59, &kids[0]), (1, &kids[1])] {
        setting.clock.advance(TimeDelta::minutes(minutes));
        let (_, answer) = ask(&setting, basic(ID, SECRET), GRANT).await;
        let header = jsonwebtoken::decode_header(answer["access_token"].as_str().unwrap()).unwrap();
        assert_eq!(header.kid.as_ref(), Some(expected), "{minutes}");
        verified(&setting, &answer);
    }
}

#[tokio::test]
async fn what_is_not_ready_yet_is_503_and_never_a_refusal() {
    let setting = setting().with(&exporter());
    setting.index.apply(key_item("default", Keys::default()));
    let (response, answer) = ask(&setting, basic(ID, SECRET), GRANT).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(answer["error"], "temporarily_unavailable");
    setting.index.delete(Kind::Keys, "default", 2.into());
    assert_eq!(error(&setting, basic(ID, SECRET), GRANT).await.0, 503);
    setting.live.away.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(error(&setting, basic(ID, "wrong"), GRANT).await.0, 503);
    assert_eq!(error(&setting, basic("somebody", "wrong"), GRANT).await.0, 503);
    setting.clock.advance(TimeDelta::hours(2));
    assert_eq!(error(&setting, basic(ID, SECRET), GRANT).await.0, 503);
}

#[rstest]
#[tokio::test]
async fn other_methods_are_not_allowed(
    #[values(Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS)] method: Method,
) {
    let setting = setting().with(&exporter());
    let mut request = basic(ID, SECRET).body(Body::from(GRANT)).unwrap();
    *request.method_mut() = method;
    let response = setting.app.oauth_token(request, None).await;
    assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (405, "POST"));
}

#[tokio::test]
async fn switched_off_endpoints_answer_404_and_the_other_one_goes_on() {
    let setting = setting().with(&exporter());
    let mut off = issuer("default", 1, &[], &[]);
    off.spec.oauth.enabled = false;
    setting.index.apply(Item::Issuer(Box::new(off)));
    assert_eq!(error(&setting, basic(ID, SECRET), GRANT).await.0, 404);
    assert_eq!(setting.ask(ID, SECRET).await.0, 200);
}

#[tokio::test]
async fn an_escaped_secret_in_the_header_is_the_same_as_a_raw_one_and_in_the_form_it_is_read_once() {
    let setting = setting().with(&account("a").current("a:b", "s+%2F"));
    for (id, secret) in [("a%3Ab", "s+%2F"), ("a%3Ab", "s%2B%252F")] {
        assert_eq!(ask(&setting, basic(id, secret), GRANT).await.0.status(), 200, "{id} {secret}");
    }
    assert_eq!(ask(&setting, request(), posted("a%3Ab", "s+%2F")).await.0.status(), 200);
    assert_eq!(error(&setting, request(), posted("a%3Ab", "s%2B%252F")).await.0, 401);
}

#[rstest]
#[case::unknown(account("a"), "somebody", SECRET)]
#[case::wrong(exporter(), ID, "wrong")]
#[case::disabled(exporter().disabled(), ID, SECRET)]
#[case::external(account("a").external("github"), "github", SECRET)]
#[tokio::test]
async fn every_failed_authentication_takes_the_same_time_however_soon_it_was_known(
    #[case] fixture: Fixture,
    #[case] client_id: &str,
    #[case] secret: &str,
) {
    let even = Duration::from_millis(150);
    let setting = Setting::with_even(even).with(&fixture);
    let started = Instant::now();
    assert_eq!(error(&setting, basic(client_id, secret), GRANT).await.0, 401);
    assert!(started.elapsed() >= even);
}

#[tokio::test]
async fn nothing_but_a_failed_authentication_is_held_back() {
    let setting = Setting::with_even(Duration::from_secs(3600)).with(&exporter());
    assert_eq!(ask(&setting, basic(ID, SECRET), GRANT).await.0.status(), 200);
    assert_eq!(error(&setting, basic(ID, SECRET), "grant_type=password").await.0, 400);
    assert_eq!(error(&setting, basic(ID, SECRET), format!("{GRANT}&scope=x")).await.0, 400);
    assert_eq!(error(&setting, request(), GRANT).await.0, 401);
    setting.live.away.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(error(&setting, basic(ID, "wrong"), GRANT).await.0, 503);
}
