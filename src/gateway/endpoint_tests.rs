//! The endpoint in process: an index fed by hand, a live side that fails on demand, a clock that stands still.

use std::sync::atomic::Ordering::SeqCst;

pub(in crate::gateway) use axum::body::Body;
pub(in crate::gateway) use base64::Engine;
pub(in crate::gateway) use base64::prelude::BASE64_STANDARD;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
pub(in crate::gateway) use http::header::{AUTHORIZATION, CONTENT_ENCODING, HOST};
use http::request::Builder;
use http_body_util::BodyExt;
pub(in crate::gateway) use prometheus_client::registry::Registry;
pub(in crate::gateway) use rstest::rstest;
pub(in crate::gateway) use serde_json::Value;

use super::*;
use crate::clock::ManualClock;
use crate::domain::credential::State;
use crate::entropy::SystemEntropy;
use crate::index::testing::{FakeLive, account, feed, group, issuer, now};
pub(in crate::gateway) use crate::index::testing::{Fixture, filled_index};
use crate::index::{Feed, Index, Item, Kind};

pub(in crate::gateway) const ID: &str = "97074e41-8af9-456d-9a64-f0c4bb908048";
pub(in crate::gateway) const EXTERNAL: &str = "https://tokens.example.com:31443";
pub(in crate::gateway) const SECRET: &str = "aB3-aB3-aB3-aB3-aB3-aB3-aB3-aB3z";

pub(in crate::gateway) struct Setting {
    pub(in crate::gateway) app: App,
    pub(in crate::gateway) index: Arc<Index>,
    pub(in crate::gateway) live: Arc<FakeLive>,
    pub(in crate::gateway) clock: ManualClock,
    pub(in crate::gateway) metrics: Arc<Metrics>,
}

pub(in crate::gateway) fn setting() -> Setting {
    setting_with(filled_index())
}

pub(in crate::gateway) fn setting_with(index: Arc<Index>) -> Setting {
    Setting::register(index, &mut Registry::default())
}

impl Setting {
    pub(in crate::gateway) fn register(index: Arc<Index>, registry: &mut Registry) -> Self {
        Self::make(index, registry, Duration::ZERO)
    }

    /// One that answers failed authentications at the standard endpoints after this time.
    pub(in crate::gateway) fn with_even(even_time: Duration) -> Self {
        Self::make(filled_index(), &mut Registry::default(), even_time)
    }

    fn make(index: Arc<Index>, registry: &mut Registry, even_time: Duration) -> Self {
        let (live, clock) = (Arc::new(FakeLive::default()), ManualClock::at(now()));
        let metrics = Arc::new(Metrics::register(registry));
        let dependencies = Dependencies {
            foreign: Default::default(),
            clients: Default::default(),
            ledger: Default::default(),
            entropy: Arc::new(SystemEntropy),
            external_url: EXTERNAL.into(),
            accounts: index.clone(),
            live: live.clone(),
            clock: Arc::new(clock.clone()),
            max_stale: TimeDelta::hours(1),
            pace: Pace { account: Duration::ZERO, search: Duration::ZERO, ..Pace::default() },
            body_time: BODY_TIME,
            even_time,
            metrics: metrics.clone(),
        };
        let app = App::new(dependencies).unwrap();
        Setting { app, index, live, clock, metrics }
    }

    /// Known to the watch and to the API server.
    pub(in crate::gateway) fn with(self, fixture: &Fixture) -> Self {
        feed(&self.index, fixture);
        self.live.holds(fixture);
        self
    }

    pub(in crate::gateway) async fn send(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.app.token(request, None).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    pub(in crate::gateway) async fn ask(&self, client_id: &str, secret: &str) -> (u16, Value) {
        self.send(signed(client_id, secret).body(Body::empty()).unwrap()).await
    }

    /// Status and code of the answer.
    async fn code(&self, client_id: &str, secret: &str) -> (u16, String) {
        let (status, body) = self.ask(client_id, secret).await;
        (status, body["appStatusCode"].as_str().unwrap_or_default().to_owned())
    }
}

pub(in crate::gateway) fn post() -> Builder {
    Request::post("/avxapi/acctmgmt-get-service-token?gwsource=external").header(HOST, "127.0.0.1:31443")
}

pub(in crate::gateway) fn signed(client_id: &str, secret: &str) -> Builder {
    post().header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(format!("{client_id}:{secret}"))))
}

pub(in crate::gateway) fn exporter() -> Fixture {
    account("exporter").current(ID, SECRET)
}

fn claims(body: &Value) -> Value {
    let token = body["response"].as_str().unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn the_manuals_request_gets_the_manuals_token() {
    let id = "521c3ad2-ea4e-447b-a51b-9621bb7ea126";
    let setting = setting().with(&account("a").current(id, "55AU#NO8%*ZhgvNfaYUmtvX0dkEhodbi"));
    let header =
        "Basic NTIxYzNhZDItZWE0ZS00NDdiLWE1MWItOTYyMWJiN2VhMTI2OjU1QVUjTk84JSpaaGd2TmZhWVVtdHZYMGRrRWhvZGJpCg==";
    let form = "application/x-www-form-urlencoded";
    let request = post().header(AUTHORIZATION, header).header(CONTENT_TYPE, form);
    let (status, body) = setting.send(request.body(Body::from("grant_type=Client_Credentials")).unwrap()).await;
    assert_eq!(status, 200, "{body}");
    let expected = serde_json::json!({
        "sub": "platform", "aud": "avx", "clientId": id, "iss": "avx",
        "exp": now().timestamp() + 3600, "grant type": "client_credentials"
    });
    assert_eq!(claims(&body), expected);
}

#[tokio::test]
async fn a_token_names_existing_groups_that_hold_for_the_issuer() {
    let fixture = exporter().groups(&["elsewhere", "here", "missing", "everywhere"]);
    let setting = setting().with(&fixture);
    for (name, issuers) in [("everywhere", &[][..]), ("here", &["default"]), ("elsewhere", &["acme"])] {
        setting.index.apply(Item::Group(Box::new(group(name, issuers))));
    }
    let (_, body) = setting.ask(ID, SECRET).await;
    assert_eq!(claims(&body)["groups"], serde_json::json!(["here", "everywhere"]));
}

#[tokio::test]
async fn the_second_request_needs_no_hashing_and_no_request_needs_the_api_server() {
    let setting = setting().with(&exporter());
    for _ in 0..3 {
        assert_eq!(setting.ask(ID, SECRET).await.0, 200);
    }
    assert_eq!((setting.metrics.verifications.get(), setting.metrics.remembered.get()), (1, 2));
    assert_eq!(setting.live.reads.load(SeqCst), 0);
}

#[rstest]
#[case::unknown(account("a"), "somebody", SECRET, "ACCT_SA_003")]
#[case::wrong(exporter(), ID, "wrong", "OAUTH_CLNT_015")]
#[case::cut(exporter(), ID, &SECRET[..31], "OAUTH_CLNT_015")]
#[case::prefixed(exporter(), ID, "xaB3-aB3-aB3-aB3-aB3-aB3-aB3-aB3-aB3z", "OAUTH_CLNT_015")]
#[case::with_nul(exporter(), ID, "aB3-aB3-aB3-aB3-aB3-aB3-aB3-aB3z\0", "OAUTH_CLNT_015")]
#[case::disabled(exporter().disabled(), ID, SECRET, "ACCT_SA_003")]
#[case::deleting(exporter().deleting(), ID, SECRET, "ACCT_SA_003")]
#[case::expired(account("a").version(ID, SECRET, State::Current, TimeDelta::zero()), ID, SECRET, "OAUTH_CLNT_015")]
#[case::retired(account("a").version(ID, SECRET, State::Previous, TimeDelta::seconds(-1)), ID, SECRET, "OAUTH_CLNT_015")]
#[case::compromised(exporter().compromised(1), ID, SECRET, "OAUTH_CLNT_015")]
#[case::external(account("a").external("github"), "github", SECRET, "OAUTH_CLNT_015")]
#[case::another_tenants(exporter().of_namespace("acme"), ID, SECRET, "ACCT_SA_003")]
#[tokio::test]
async fn every_refusal_has_the_manuals_code_and_hashes_nothing_needlessly(
    #[case] fixture: Fixture,
    #[case] client_id: &str,
    #[case] secret: &str,
    #[case] code: &str,
) {
    let setting = setting().with(&fixture);
    setting.index.apply(Item::Issuer(Box::new(issuer("acme", 1, &["acme"], &["acme.example"]))));
    assert_eq!(setting.code(client_id, secret).await, (400, code.into()));
    let hashed = u64::from(code == "OAUTH_CLNT_015" && fixture.record.compromised_versions.is_empty());
    assert!(setting.metrics.verifications.get() <= hashed);
}

#[rstest]
#[case(State::Staged)]
#[case(State::Current)]
#[case(State::Previous)]
#[tokio::test]
async fn a_secret_works_until_its_end_also_when_it_is_remembered(#[case] state: State) {
    let setting = setting().with(&account("a").version(ID, SECRET, state, TimeDelta::seconds(60)));
    setting.clock.advance(TimeDelta::seconds(59));
    assert_eq!(setting.ask(ID, SECRET).await.0, 200);
    setting.clock.advance(TimeDelta::seconds(1));
    assert_eq!(setting.code(ID, SECRET).await, (400, "OAUTH_CLNT_015".into()));
}

#[tokio::test]
async fn a_disabled_account_is_refused_although_its_secret_is_remembered_and_served_again_when_enabled() {
    let setting = setting().with(&exporter());
    assert_eq!(setting.ask(ID, SECRET).await.0, 200);
    let setting = setting.with(&exporter().disabled().revision(2));
    assert_eq!(setting.code(ID, SECRET).await, (400, "ACCT_SA_003".into()));
    let setting = setting.with(&exporter().revision(3));
    assert_eq!(setting.ask(ID, SECRET).await.0, 200);
    assert_eq!(setting.metrics.verifications.get(), 1);
}

#[rstest]
#[case::a_new_secret(exporter(), account("exporter").current(ID, "old").current(ID, SECRET).revision(2))]
#[case::a_new_client_id(account("exporter").current("old", "old"), exporter().revision(2))]
#[case::enabled_again(exporter().disabled(), exporter().revision(2))]
#[tokio::test]
async fn the_holder_of_a_good_secret_is_served_although_the_watch_is_late(
    #[case] watched: Fixture,
    #[case] real: Fixture,
) {
    let setting = setting().with(&watched);
    setting.live.holds(&real);
    assert_eq!(setting.ask(ID, SECRET).await.0, 200);
    let reads = setting.live.reads.load(SeqCst);
    assert_eq!(setting.ask(ID, SECRET).await.0, 200);
    assert_eq!(setting.live.reads.load(SeqCst), reads, "the index is up to date now");
}

#[tokio::test]
async fn a_new_account_is_served_before_the_watch_has_told_of_it() {
    let setting = setting();
    setting.live.holds(&exporter());
    assert_eq!(setting.ask(ID, SECRET).await.0, 200);
}

#[rstest]
#[case::unknown(account("a"), "somebody")]
#[case::wrong(exporter(), ID)]
#[case::disabled(exporter().disabled(), ID)]
#[tokio::test]
async fn while_the_api_server_is_away_nobody_is_refused_for_what_it_might_say(
    #[case] fixture: Fixture,
    #[case] client_id: &str,
) {
    let setting = setting().with(&fixture);
    setting.live.away.store(true, SeqCst);
    assert_eq!(setting.code(client_id, "another").await, (503, "avx-common-011".into()));
}

#[tokio::test]
async fn while_the_api_server_is_away_known_credentials_are_served_for_an_hour() {
    let setting = setting().with(&exporter());
    setting.live.away.store(true, SeqCst);
    setting.clock.advance(TimeDelta::hours(1));
    assert_eq!(setting.ask(ID, SECRET).await.0, 200);
    setting.clock.advance(TimeDelta::seconds(1));
    assert_eq!(setting.code(ID, SECRET).await, (503, "avx-common-011".into()));
}

#[tokio::test]
async fn an_index_that_is_not_filled_yet_refuses_nobody() {
    let setting = setting_with(Arc::new(Index::new(Feed::all(&[])))).with(&exporter());
    assert_eq!(setting.code(ID, SECRET).await, (503, "avx-common-011".into()));
    assert_eq!(setting.code("somebody", "x").await, (503, "avx-common-011".into()));
}

#[tokio::test]
async fn an_account_that_the_api_server_no_longer_has_is_refused_as_unknown() {
    let setting = setting().with(&exporter());
    setting.live.accounts.lock().clear();
    assert_eq!(setting.code(ID, "wrong").await, (400, "ACCT_SA_003".into()));
}

#[tokio::test]
async fn without_a_signing_key_the_answer_is_503() {
    let setting = setting().with(&exporter());
    setting.index.delete(Kind::Keys, "default", 2.into());
    assert_eq!(setting.code(ID, SECRET).await, (503, "avx-common-011".into()));
}

#[rstest]
#[case("127.0.0.1:31443", 200)]
#[case("unlisted.example", 200)]
#[case("acme.example", 400)]
#[case("ACME.example.:31443", 400)]
#[tokio::test]
async fn a_tenants_host_sees_only_the_tenants_accounts(#[case] host: &str, #[case] status: u16) {
    let setting = setting().with(&exporter());
    setting.index.apply(Item::Issuer(Box::new(issuer("acme", 1, &["acme"], &["acme.example"]))));
    let mut request = signed(ID, SECRET).header("x-forwarded-host", "acme.example").body(Body::empty()).unwrap();
    request.headers_mut().insert(HOST, host.parse().unwrap());
    assert_eq!(setting.send(request).await.0, status);
    // HTTP/2 and the absolute form name the host in the URI, and that counts.
    let mut request = signed(ID, SECRET).body(Body::empty()).unwrap();
    *request.uri_mut() = format!("https://{host}/avxapi/acctmgmt-get-service-token").parse().unwrap();
    assert_eq!(setting.send(request).await.0, status);
}

#[tokio::test]
async fn an_endpoint_that_is_switched_off_for_a_host_answers_404() {
    let setting = setting().with(&exporter());
    let mut off = issuer("default", 1, &[], &[]);
    off.spec.legacy.enabled = false;
    setting.index.apply(Item::Issuer(Box::new(off)));
    assert_eq!(setting.code(ID, SECRET).await, (404, "ACCT_SA_001".into()));
}

#[rstest]
#[case::none(post(), "", "[Invalid client Id or secret]")]
#[case::two(signed(ID, SECRET).header(AUTHORIZATION, "Basic eDp5"), "", "[Invalid client Id or secret]")]
#[case::bearer(post().header(AUTHORIZATION, "Bearer x"), "", "[Invalid client Id or secret]")]
#[case::empty_secret(signed(ID, ""), "", "[Invalid client Id or secret]")]
#[case::empty_id(signed("", SECRET), "", "[Invalid client Id or secret]")]
#[case::grant(signed(ID, SECRET), "grant_type=password", "[Unsupported grant type]")]
#[case::escape(signed(ID, SECRET), "grant_type=%zz", "[Malformed percent escape in the request body]")]
#[case::hosts(signed(ID, SECRET).header(HOST, "x"), "", "[More than one Host header]")]
#[case::gzip(signed(ID, SECRET).header(CONTENT_ENCODING, "gzip"), "x", "[Compressed request bodies are not supported]")]
#[case::credentials_in_the_query(
    Request::post(format!("/avxapi/acctmgmt-get-service-token?client_id={ID}&client_secret={SECRET}")),
    "",
    "[Invalid client Id or secret]"
)]
#[tokio::test]
async fn a_bad_request_is_told_what_is_wrong_with_it(
    #[case] head: Builder,
    #[case] body: &'static str,
    #[case] text: &str,
) {
    let setting = setting().with(&exporter());
    let (status, answer) = setting.send(head.body(Body::from(body)).unwrap()).await;
    assert_eq!((status, answer["appStatusCode"].as_str()), (400, Some("ACCT_SA_001")));
    assert_eq!(answer["message"], format!("Invalid Request::{text}"));
    assert_eq!(setting.metrics.verifications.get(), 0);
}

#[rstest]
#[case(request::MAX_BODY, 200)]
#[case(request::MAX_BODY + 1, 400)]
#[case(10 * 1024 * 1024, 400)]
#[tokio::test]
async fn a_body_may_have_64_kilobytes_and_not_a_byte_more(#[case] length: usize, #[case] status: u16) {
    let setting = setting().with(&exporter());
    let body = format!("scope={}", "x".repeat(length - 6));
    assert_eq!(setting.send(signed(ID, SECRET).body(Body::from(body)).unwrap()).await.0, status);
}

#[rstest]
#[tokio::test]
async fn other_methods_are_not_allowed(
    #[values(Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH)] method: Method,
) {
    let mut request = signed(ID, SECRET).body(Body::empty()).unwrap();
    *request.method_mut() = method;
    let response = setting().with(&exporter()).app.token(request, None).await;
    assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (405, "POST"));
}

#[tokio::test]
async fn several_ways_to_read_the_credentials_are_one_failure_and_the_right_one_wins() {
    let setting = setting().with(&account("a").current("a:b", "s+%2F"));
    // Raw; with only the colon escaped; and escaped as a form.
    for (id, secret) in [("a%3Ab", "s+%2F"), ("a%3Ab", "s%2B%252F")] {
        assert_eq!(setting.ask(id, secret).await.0, 200, "{id} {secret}");
    }
    assert_eq!(setting.code("a%3Ab", "s+").await, (400, "OAUTH_CLNT_015".into()));
}

/// Past the 72nd byte, with a letter of two bytes, and with a colon.
const LONG: &str =
    "aB3-0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890:\u{e9}z";

#[rstest]
#[case::its_last_byte_is_missing(&LONG[..LONG.len() - 1])]
#[case::its_first_byte_is_missing(&LONG[1..])]
#[case::as_long_as_bcrypt_looks(&LONG[..72])]
#[case::up_to_the_colon(LONG.split(':').next().unwrap())]
#[case::behind_the_colon(LONG.split(':').next_back().unwrap())]
#[case::with_more_behind_it(&format!("{LONG}z"))]
#[case::with_more_before_it(&format!("a{LONG}"))]
#[case::with_nul_behind_it(&format!("{LONG}\0"))]
#[case::with_nul_and_more_behind_it(&format!("{LONG}\0z"))]
#[case::with_nul_before_it(&format!("\0{LONG}"))]
#[case::with_a_space_before_it(&format!(" {LONG}"))]
#[case::in_capitals(&LONG.to_uppercase())]
#[case::with_the_accent_apart(&LONG.replace('\u{e9}', "e\u{301}"))]
#[case::without_the_accent(&LONG.replace('\u{e9}', "e"))]
#[tokio::test]
async fn a_secret_is_compared_whole_and_as_it_stands(#[case] altered: &str) {
    let setting = setting().with(&account("exporter").current(ID, LONG));
    assert_eq!(setting.code(ID, altered).await, (400, "OAUTH_CLNT_015".into()));
    assert_eq!(setting.code(ID, LONG).await.0, 200);
    assert_eq!(
        setting.code(ID, altered).await,
        (400, "OAUTH_CLNT_015".into()),
        "nor is it when the right one is known"
    );
}
