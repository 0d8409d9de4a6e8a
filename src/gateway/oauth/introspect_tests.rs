//! Introspection in process.

use std::sync::atomic::Ordering::SeqCst;

use chrono::TimeDelta;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use serde_json::json;

use crate::api::Algorithm;
use crate::domain::credential::State;
use crate::domain::keys::Keys;
use crate::gateway::endpoint::tests::*;
use crate::index::testing::{account, add_key, issuer, key_item, keys, now};
use crate::index::{Accounts, Item, Kind};

async fn send(setting: &Setting, path: &str, client: (&str, &str), host: &str, body: String) -> (u16, Value) {
    let basic = BASE64_STANDARD.encode(format!("{}:{}", client.0, client.1));
    let head = Request::post(path).header(HOST, host).header(AUTHORIZATION, format!("Basic {basic}"));
    let request = head.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(Body::from(body)).unwrap();
    let response = match path {
        "/oauth2/token" => setting.app.oauth_token(request, None).await,
        _ => setting.app.introspect(request, None).await,
    };
    assert_eq!(response.headers()["cache-control"], "no-store");
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap())
}

async fn token(setting: &Setting, client: (&str, &str), host: &str) -> String {
    let (status, answer) = send(setting, "/oauth2/token", client, host, "grant_type=client_credentials".into()).await;
    assert_eq!(status, 200, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

async fn legacy_token(setting: &Setting) -> String {
    setting.ask(ID, SECRET).await.1["response"].as_str().unwrap().to_owned()
}

const CALLER: (&str, &str) = ("api", "api-secret");

/// A resource server, and the account that it gets tokens of.
fn both() -> Setting {
    setting().with(&account("api").current(CALLER.0, CALLER.1)).with(&exporter())
}

async fn introspect(setting: &Setting, token: &str) -> Value {
    let (status, answer) = send(setting, "/oauth2/introspect", CALLER, "", format!("token={token}")).await;
    assert_eq!(status, 200, "{answer}");
    if answer["active"] == false {
        assert_eq!(answer, json!({"active": false}), "an inactive token tells nothing");
    }
    answer
}

#[tokio::test]
async fn a_good_token_is_told_all_about() {
    let setting = both();
    let answer = introspect(&setting, &token(&setting, (ID, SECRET), "").await).await;
    let iat = now().timestamp();
    assert!(answer["jti"].as_str().unwrap().starts_with("1.uid-of-exporter."));
    let expected = json!({
        "active": true, "token_type": "Bearer", "iss": EXTERNAL, "sub": ID, "aud": EXTERNAL, "client_id": ID,
        "iat": iat, "exp": iat + 3600, "jti": answer["jti"], "keyrota.dev/namespace": "shop",
    });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn one_of_the_manuals_tokens_too_with_its_time_of_issue() {
    let setting = both();
    let answer = introspect(&setting, &legacy_token(&setting).await).await;
    let iat = now().timestamp();
    let expected = json!({
        "active": true, "token_type": "Bearer", "iss": "avx", "sub": "platform", "aud": "avx", "client_id": ID,
        "iat": iat, "exp": iat + 3600,
    });
    assert_eq!(answer, expected);
}

#[rstest]
#[case::disabled(exporter().disabled().revision(2), false)]
#[case::deleting(exporter().deleting().revision(2), false)]
#[case::leaked(account("exporter").current(ID, SECRET).current(ID, "new").compromised(1).revision(2), false)]
#[case::rotated(account("exporter").version(ID, SECRET, State::Previous, TimeDelta::hours(1)).current(ID, "new").revision(2), true)]
#[case::expired(account("exporter").version(ID, SECRET, State::Current, TimeDelta::zero()).revision(2), true)]
#[tokio::test]
async fn a_token_counts_while_its_account_may_have_tokens_and_its_version_has_not_leaked(
    #[case] then: Fixture,
    #[case] active: bool,
    #[values(true, false)] legacy: bool,
) {
    let setting = both();
    let token = if legacy { legacy_token(&setting).await } else { token(&setting, (ID, SECRET), "").await };
    assert_eq!(introspect(&setting, &token).await["active"], true);
    let mut then = then;
    if let Some(new) = then.record.versions.get_mut(1) {
        // As it is: the version after the one that leaked is made when that is told.
        new.not_before = now().into();
    }
    let setting = setting.with(&then);
    assert_eq!(introspect(&setting, &token).await["active"], active);
}

#[tokio::test]
async fn what_the_manuals_endpoint_issued_after_a_leak_counts() {
    let leaked = account("exporter").current("x", "leaked").current(ID, SECRET).compromised(1);
    let setting = setting().with(&account("api").current(CALLER.0, CALLER.1)).with(&leaked);
    let token = legacy_token(&setting).await;
    assert_eq!(introspect(&setting, &token).await["active"], true);
}

#[tokio::test]
async fn a_token_ends_at_its_end() {
    let setting = both();
    let both = [token(&setting, (ID, SECRET), "").await, legacy_token(&setting).await];
    for (seconds, active) in [(3599, true), (1, false)] {
        setting.clock.advance(TimeDelta::seconds(seconds));
        for token in &both {
            assert_eq!(introspect(&setting, token).await["active"], active, "{seconds}");
        }
    }
}

#[tokio::test]
async fn a_token_still_counts_when_nobody_holds_its_client_id_any_more() {
    let setting = both();
    let token = token(&setting, (ID, SECRET), "").await;
    let setting = setting.with(&account("exporter").current("another", SECRET).revision(2));
    assert_eq!(introspect(&setting, &token).await["active"], true);
}

#[tokio::test]
async fn a_token_of_a_deleted_account_does_not_count_and_none_is_refused_while_that_is_not_sure() {
    let setting = both();
    let tokens = [token(&setting, (ID, SECRET), "").await, legacy_token(&setting).await];
    for (token, revision) in tokens.iter().zip([2, 4]) {
        setting.index.delete(Kind::Accounts, "uid-of-exporter", revision.into());
        setting.live.holds(&exporter().revision(revision + 1));
        // The watch may be late, so the API server is asked, and it has the account.
        assert_eq!(introspect(&setting, token).await["active"], true);
    }
    setting.index.delete(Kind::Accounts, "uid-of-exporter", 6.into());
    setting.live.away.store(true, SeqCst);
    for token in &tokens {
        let answer = send(&setting, "/oauth2/introspect", CALLER, "", format!("token={token}")).await;
        assert_eq!((answer.0, answer.1["error"].as_str()), (503, Some("temporarily_unavailable")));
    }
    setting.live.away.store(false, SeqCst);
    setting.live.accounts.lock().remove("uid-of-exporter");
    setting.live.records.lock().remove("uid-of-exporter");
    for token in &tokens {
        assert_eq!(introspect(&setting, token).await["active"], false);
    }
}

#[tokio::test]
async fn another_tenants_token_is_none_of_ours() {
    let setting = both().with(&account("b").current("b", "s").of_namespace("acme"));
    setting.index.apply(Item::Issuer(Box::new(issuer("acme", 1, &["acme"], &["acme.example"]))));
    setting.index.apply(keys("acme"));
    let theirs = token(&setting, ("b", "s"), "acme.example").await;
    assert_eq!(introspect(&setting, &theirs).await["active"], false);
    let asked = send(&setting, "/oauth2/introspect", ("b", "s"), "acme.example", format!("token={theirs}")).await;
    assert_eq!(asked.1["active"], true);
}

#[tokio::test]
async fn tokens_of_keys_that_are_gone_are_none_of_ours_and_those_of_the_last_key_are() {
    let setting = both();
    let mut all = Keys::default();
    add_key(&mut all, Algorithm::EdDSA, TimeDelta::days(-1));
    add_key(&mut all, Algorithm::RS256, TimeDelta::minutes(1));
    setting.index.apply(key_item("default", all));
    let token = token(&setting, (ID, SECRET), "").await;
    setting.clock.advance(TimeDelta::minutes(2));
    assert_eq!(introspect(&setting, &token).await["active"], true);
    setting.index.apply(keys("default"));
    assert_eq!(introspect(&setting, &token).await["active"], false);
}

#[tokio::test]
async fn whatever_is_no_token_of_ours_is_inactive() {
    let setting = both();
    let good = token(&setting, (ID, SECRET), "").await;
    let [header, payload, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let kid = jsonwebtoken::decode_header(&good).unwrap().kid.unwrap();
    let encode = |value: Value| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let public = {
        let world = setting.index.world();
        let key = world.keys_of("default").unwrap().oauth.signing(now().into()).unwrap();
        serde_json::to_vec(key.key.jwk()).unwrap()
    };
    let headers = [
        json!({"typ": "at+jwt", "alg": "none", "kid": kid}),
        json!({"typ": "at+jwt", "alg": "nOnE"}),
        json!({"typ": "JWT", "alg": "HS256", "kid": kid}),
        json!({"typ": "at+jwt", "alg": "ES256", "kid": "../../etc/passwd"}),
        json!({"typ": "at+jwt", "alg": "ES256", "kid": kid, "jku": "https://evil.example"}),
        json!({"typ": "at+jwt", "alg": "ES256", "kid": kid, "crit": ["exp"]}),
    ];
    let mut bad = vec![
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        "a.b.c".into(),
        good[1..].to_owned(),
        format!("{good}A"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{signature}.{signature}"),
        format!("{header}.{}.{signature}", encode(json!({"exp": 4_000_000_000_i64}))),
    ];
    for header in headers {
        let signed = format!("{}.{payload}", encode(header));
        // With the public key as a secret: the confusion of RFC 8725 section 2.1.
        let confused =
            aws_lc_rs::hmac::sign(&aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &public), signed.as_bytes());
        bad.extend([format!("{signed}."), format!("{signed}.{signature}")]);
        bad.push(format!("{signed}.{}", base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(confused)));
    }
    for token in bad.iter().filter(|token| !token.is_empty()) {
        assert_eq!(introspect(&setting, token).await["active"], false, "{token}");
    }
    assert_eq!(introspect(&setting, &good).await["active"], true);
}

#[rstest]
#[case::float(json!(4.0e9))]
#[case::text(json!("4000000000"))]
#[case::negative(json!(-1))]
#[case::none(json!(null))]
#[tokio::test]
async fn an_end_that_is_no_whole_number_is_no_end_that_we_wrote(#[case] exp: Value) {
    let setting = both();
    let world = setting.index.world();
    let key = world.keys_of("default").unwrap().oauth.signing(now().into()).unwrap();
    let claims = json!({"exp": exp, "client_id": ID, "jti": "1.uid-of-exporter.x"});
    assert_eq!(introspect(&setting, &key.key.sign(&claims.to_string()).unwrap()).await["active"], false);
}

#[rstest]
#[case::wrong_secret(("api", "wrong"), "token=x", 401, "invalid_client")]
#[case::unknown(("nobody", "x"), "token=x", 401, "invalid_client")]
#[case::no_token(CALLER, "", 400, "invalid_request")]
#[case::two_tokens(CALLER, "token=x&token=y", 400, "invalid_request")]
#[case::who_may_not_ask_learns_nothing(("api", "wrong"), "", 401, "invalid_client")]
#[tokio::test]
async fn only_clients_may_ask(
    #[case] client: (&str, &str),
    #[case] body: &str,
    #[case] status: u16,
    #[case] code: &str,
) {
    let (found, answer) = send(&both(), "/oauth2/introspect", client, "", body.into()).await;
    assert_eq!((found, answer["error"].as_str()), (status, Some(code)), "{answer}");
}

#[tokio::test]
async fn the_token_endpoints_answers_are_counted_apart() {
    let mut registry = Registry::default();
    let setting = Setting::register(filled_index(), &mut registry).with(&exporter());
    let setting = setting.with(&account("api").current(CALLER.0, CALLER.1));
    let token = token(&setting, (ID, SECRET), "").await;
    introspect(&setting, &token).await;
    send(&setting, "/oauth2/introspect", ("nobody", "x"), "", "token=x".into()).await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "keyrota_gateway_requests_total{endpoint=\"token\",outcome=\"granted\"} 1",
        "keyrota_gateway_requests_total{endpoint=\"introspection\",outcome=\"answered\"} 1",
        "keyrota_gateway_requests_total{endpoint=\"introspection\",outcome=\"unknown\"} 1",
        "keyrota_gateway_requests_total{endpoint=\"legacy\",outcome=\"granted\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
