//! Both endpoints in process: assertions, and the limits on failures.

use std::time::Instant;

use futures::future::join_all;
use http::Request;
use http::request::Builder;
use http_body_util::BodyExt;
use serde_json::json;

use crate::domain::assertion::ASSERTION_TYPE;
use crate::domain::assertion::samples::{EC, OTHER};
use crate::gateway::endpoint::LIMITED_TIME;
use crate::gateway::endpoint::tests::*;
use crate::index::Item;
use crate::index::testing::{account, issuer, present};

const IDP: &str = "https://idp.example";
const PEER: &str = "192.0.2.1:50000";

/// Trusts one foreign issuer, and knows its `robot` and an Internal account.
fn trusting() -> Setting {
    let setting = setting().with(&account("a").external("robot")).with(&exporter());
    let mut object = issuer("default", 1, &[], &[]);
    let trusted = json!({"name": "idp", "issuer": IDP, "jwks": EC.set("k")});
    object.spec.trusted_issuers = vec![serde_json::from_value(trusted).unwrap()];
    setting.index.apply(Item::Issuer(Box::new(object)));
    setting
}

fn token(sub: &str) -> String {
    let now = present().unix();
    // For our issuer, which is the external URL where nothing else is said.
    EC.sign("k", &json!({"iss": IDP, "sub": sub, "aud": EXTERNAL, "exp": now + 60}))
}

fn body(assertion: &str, more: &str) -> String {
    format!("grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}&client_assertion={assertion}{more}")
}

fn standard() -> Builder {
    Request::post("/oauth2/token").header(HOST, "127.0.0.1:31443")
}

/// The standard endpoint's answer to a request from `PEER`.
async fn ask(setting: &Setting, head: Builder, body: &str) -> (u16, http::HeaderMap, Value) {
    let request = head.body(Body::from(body.to_owned())).unwrap();
    let (parts, body) = setting.app.oauth_token(request, Some(PEER.parse().unwrap())).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, serde_json::from_slice(&body).unwrap())
}

/// The claims of a token, unchecked.
fn claims(token: &Value) -> Value {
    let part = token.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn an_assertion_gets_a_token_at_either_endpoint() {
    let setting = trusting();
    let (status, answer) = setting.send(post().body(Body::from(body(&token("robot"), ""))).unwrap()).await;
    assert_eq!((status, &claims(&answer["response"])["clientId"]), (200, &json!("robot")), "{answer}");
    let (status, _, answer) = ask(&setting, standard(), &body(&token("robot"), "&client_id=robot")).await;
    assert_eq!(status, 200, "{answer}");
    let claims = claims(&answer["access_token"]);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("robot"), &json!("robot")));
    assert!(claims["jti"].as_str().unwrap().starts_with("0.uid-of-a."), "{claims}");
}

#[rstest]
#[case::wrong_signature(OTHER.sign("k", &json!({"iss": IDP, "sub": "robot", "aud": EXTERNAL, "exp": present().unix() + 60})), "OAUTH_CLNT_015")]
#[case::expired(EC.sign("k", &json!({"iss": IDP, "sub": "robot", "aud": EXTERNAL, "exp": present().unix()})), "OAUTH_CLNT_015")]
#[case::an_internal_accounts(token(ID), "OAUTH_CLNT_015")]
#[case::nobodys(token("nobody"), "ACCT_SA_003")]
#[case::no_assertion("x".into(), "ACCT_SA_001")]
#[tokio::test]
async fn a_bad_assertion_is_refused_in_each_endpoints_words(#[case] assertion: String, #[case] code: &str) {
    let setting = trusting();
    let (status, answer) = setting.send(post().body(Body::from(body(&assertion, ""))).unwrap()).await;
    assert_eq!((status, &answer["appStatusCode"]), (400, &json!(code)));
    let (status, headers, answer) = ask(&setting, standard(), &body(&assertion, "")).await;
    let expected = json!({"error": "invalid_client", "error_description": "Client authentication failed"});
    assert_eq!((status, answer), (401, expected));
    assert!(headers.contains_key("www-authenticate") && headers["cache-control"] == "no-store");
}

#[rstest]
#[case::basic(true, "")]
#[case::a_secret_in_the_body(false, "&client_secret=s")]
#[tokio::test]
async fn two_ways_of_authentication_are_refused_even_if_both_are_good(#[case] basic: bool, #[case] more: &str) {
    let setting = trusting();
    let with = |head: Builder| {
        let header = format!("Basic {}", BASE64_STANDARD.encode(format!("{ID}:{SECRET}")));
        if basic { head.header(AUTHORIZATION, header) } else { head }
    };
    let body = body(&token("robot"), more);
    let (status, answer) = setting.send(with(post()).body(Body::from(body.clone())).unwrap()).await;
    assert_eq!(status, 400);
    assert_eq!(answer["message"], "Invalid Request::[More than one way of client authentication]");
    let (status, _, answer) = ask(&setting, with(standard()), &body).await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_request")));
    assert_eq!(setting.metrics.verifications.get(), 0);
}

fn basic(client_id: &str, secret: &str) -> Builder {
    standard().header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(format!("{client_id}:{secret}"))))
}

/// Fails as often, each time with another secret.
async fn guess(setting: &Setting, client_id: &str, times: usize) -> Vec<u16> {
    let guess = async |number| {
        ask(setting, basic(client_id, &format!("guess {number}")), "grant_type=client_credentials").await.0
    };
    join_all((0..times).map(guess)).await
}

#[tokio::test]
async fn after_ten_failures_nothing_is_hashed_any_more_answers_are_held_back_and_who_was_verified_is_served() {
    let setting = trusting();
    let grant = "grant_type=client_credentials";
    assert_eq!(ask(&setting, basic(ID, SECRET), grant).await.0, 200);
    assert_eq!(guess(&setting, ID, 10).await, [401; 10]);
    let hashed = setting.metrics.verifications.get();
    let began = Instant::now();
    let (status, headers, answer) = ask(&setting, basic(ID, "another"), grant).await;
    assert_eq!((status, &answer["error"]), (429, &json!("temporarily_unavailable")));
    assert!(began.elapsed() >= LIMITED_TIME, "whoever floods is slowed down");
    assert!(headers.contains_key("retry-after"));
    assert_eq!(setting.metrics.verifications.get(), hashed);
    assert_eq!(ask(&setting, basic(ID, SECRET), grant).await.0, 200);
    assert_eq!(ask(&setting, basic("somebody", "x"), grant).await.0, 401, "another client ID is not limited");
}

#[tokio::test]
async fn who_still_has_an_ended_secret_locks_out_nobody_with_the_next() {
    let setting = trusting();
    let grant = "grant_type=client_credentials";
    let mut fixture = account("exporter");
    for number in 0..20 {
        let secret = format!("secret {number}");
        fixture.record.versions.clear();
        fixture = fixture.current(ID, &secret).revision(number + 2);
        fixture.items().into_iter().for_each(|item| setting.index.apply(item));
        setting.live.holds(&fixture);
        assert_eq!(ask(&setting, basic(ID, &secret), grant).await.0, 200, "{number}");
        if number > 0 {
            assert_eq!(ask(&setting, basic(ID, &format!("secret {}", number - 1)), grant).await.0, 401, "{number}");
        }
    }
}

#[tokio::test]
async fn what_could_not_be_found_out_is_no_failure() {
    let setting = trusting();
    setting.live.away.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(guess(&setting, ID, 30).await, [503; 30]);
    setting.live.away.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(ask(&setting, basic(ID, SECRET), "grant_type=client_credentials").await.0, 200);
}

#[tokio::test]
async fn a_good_assertion_is_served_however_many_bad_ones_came_before() {
    let setting = trusting();
    let bad = |number: i64| {
        let exp = present().unix() + 60 + number;
        OTHER.sign("k", &json!({"iss": IDP, "sub": "robot", "aud": EXTERNAL, "exp": exp}))
    };
    for number in 0..10 {
        assert_eq!(ask(&setting, standard(), &body(&bad(number), "")).await.0, 401, "{number}");
    }
    assert_eq!(ask(&setting, standard(), &body(&bad(10), "")).await.0, 429);
    assert_eq!(ask(&setting, standard(), &body(&token("robot"), "")).await.0, 200);
}
