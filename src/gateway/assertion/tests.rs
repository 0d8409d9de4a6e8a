//! Accounts fed by hand, issuers and an API server that the test plays.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::clock::ManualClock;
use crate::domain::assertion::samples::{EC, OTHER};
use crate::gateway::freshen::{Freshener, Pace};
use crate::gateway::metrics::Metrics;
use crate::gateway::verify::Verifier;
use crate::index::testing::{FakeLive, Fixture, account, feed, filled_index, issuer, now, present};
use crate::index::{Accounts, Index, Item};

const OURS: &str = "https://tokens.example";
const IDP: &str = "https://idp.example";
const CLUSTER: &str = "https://kubernetes.default.svc";
const URI: &str = "https://idp.example/jwks";
const POD: &str = "system:serviceaccount:shop:exporter";

/// Key sets by URI, and the tokens that TokenReview takes.
#[derive(Default)]
struct Outside {
    sets: Mutex<HashMap<String, String>>,
    users: Mutex<HashMap<String, String>>,
    reviews: AtomicUsize,
}

impl Fetch for Outside {
    fn fetch<'a>(&'a self, uri: &'a str) -> BoxFuture<'a, Result<KeySet, FetchError>> {
        let set = self.sets.lock().get(uri).cloned();
        Box::pin(async move { Ok(KeySet::parse(set.ok_or(FetchError::Status(503))?.as_bytes())?) })
    }
}

impl Review for Outside {
    fn review<'a>(&'a self, token: &'a str, audience: &'a str) -> BoxFuture<'a, Result<Option<String>, NoReview>> {
        self.reviews.fetch_add(1, SeqCst);
        let users = self.users.lock();
        let answer = match users.get("away") {
            Some(_) => Err(NoReview("away".into())),
            None => Ok(users.get(token).cloned().filter(|_| audience == OURS)),
        };
        Box::pin(std::future::ready(answer))
    }
}

struct Setting {
    authenticator: Authenticator,
    index: Arc<Index>,
    live: Arc<FakeLive>,
    outside: Arc<Outside>,
}

/// A gateway whose issuer `default` trusts these.
fn setting(trusted: &[Value]) -> Setting {
    let (index, live, outside) = (filled_index(), Arc::new(FakeLive::default()), Arc::new(Outside::default()));
    let mut object = issuer("default", 1, &[], &[]);
    object.spec.trusted_issuers = trusted.iter().map(|one| serde_json::from_value(one.clone()).unwrap()).collect();
    index.apply(Item::Issuer(Box::new(object)));
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let pace = Pace { account: std::time::Duration::ZERO, search: std::time::Duration::ZERO, ..Pace::default() };
    let foreign = Foreign { fetch: outside.clone(), review: outside.clone() };
    let key = MacKey::new(&[7; 32]);
    let authenticator = Authenticator {
        accounts: index.clone(),
        verifier: Verifier::new(&mut StdRng::seed_from_u64(1), metrics.clone()).unwrap(),
        freshener: Freshener::new(live.clone(), index.clone(), pace, metrics),
        prover: Prover::new(foreign, Arc::new(ManualClock::at(now())), key),
    };
    Setting { authenticator, index, live, outside }
}

impl Setting {
    /// Known to the watch and to the API server.
    fn with(self, fixture: &Fixture) -> Self {
        feed(&self.index, fixture);
        self.live.holds(fixture);
        self
    }

    async fn ask(&self, token: &str) -> Result<String, Refusal> {
        self.ask_as(token, None, None).await
    }

    /// The account that gets a token, or why there is none.
    async fn ask_as(&self, token: &str, client_id: Option<&str>, limited: Option<Refusal>) -> Result<String, Refusal> {
        let (world, assertion) = (self.index.world(), Assertion::read(token)?);
        let issuer = world.issuer_of_host("").unwrap();
        let now = present();
        let claimed = Claimed { world: &world, issuer, assertion: &assertion, client_id, ours: OURS, limited, now };
        let finding = self.authenticator.assertion(&claimed).await?;
        match decide(finding.question(&claimed.presented())) {
            Verdict::Granted(grant) => {
                assert_eq!((finding.version_number(), grant.version), (Some(0), 0));
                assert_eq!(Some(grant.client_id), grant.entry.account.external_client_id.as_deref());
                Ok(grant.entry.account.owner.name.clone())
            }
            Verdict::Refused(refusal) => Err(refusal),
            Verdict::Unsure(_) => Err(Refusal::Unsure),
        }
    }
}

fn inline() -> Value {
    json!({"name": "idp", "issuer": IDP, "jwks": EC.set("k")})
}

fn kubernetes() -> Value {
    json!({"name": "cluster", "issuer": CLUSTER, "kubernetes": true})
}

fn claims(iss: &str, sub: &str) -> Value {
    let now = present().unix();
    json!({"iss": iss, "sub": sub, "aud": OURS, "exp": now + 60, "iat": now})
}

fn token(sub: &str) -> String {
    EC.sign("k", &claims(IDP, sub))
}

/// Signed by whomever: only TokenReview could tell.
fn pod(subject: &str) -> String {
    OTHER.sign("cluster", &claims(CLUSTER, subject))
}

fn external(name: &str, client_id: &str) -> Fixture {
    account(name).external(client_id)
}

fn trusting(name: &str, client_id: &str, trusted: &str) -> Fixture {
    let mut fixture = external(name, client_id);
    fixture.account.trusted_issuer = Some(trusted.into());
    fixture
}

fn wrong(error: AssertionError) -> Result<String, Refusal> {
    Err(Refusal::Assertion(error))
}

#[tokio::test]
async fn the_holder_of_a_trusted_issuers_token_gets_one_of_ours() {
    let setting = setting(&[inline()]).with(&external("a", "robot"));
    assert_eq!(setting.ask(&token("robot")).await, Ok("a".into()));
    assert_eq!(setting.ask_as(&token("robot"), Some("robot"), None).await, Ok("a".into()));
    assert_eq!(setting.ask_as(&token("robot"), Some("other"), None).await, wrong(AssertionError::OtherClient));
    assert_eq!(setting.live.reads.load(SeqCst), 0);
}

#[rstest]
#[case::of_nobody_we_trust(EC.sign("k", &claims("https://evil.example", "robot")), AssertionError::Issuer)]
#[case::of_an_issuer_that_only_looks_alike(EC.sign("k", &claims("https://idp.example/", "robot")), AssertionError::Issuer)]
#[case::of_another_key(OTHER.sign("k", &claims(IDP, "robot")), AssertionError::Signature)]
#[case::of_an_internal_account(token("internal"), AssertionError::Internal)]
#[tokio::test]
async fn everybody_else_gets_none(#[case] token: String, #[case] error: AssertionError) {
    let setting = setting(&[inline()]).with(&external("a", "robot")).with(&account("b").current("internal", "s"));
    assert_eq!(setting.ask(&token).await, wrong(error));
}

#[rstest]
#[case::unknown(external("a", "other"), Refusal::Unknown)]
#[case::disabled(external("a", "robot").disabled(), Refusal::Disabled)]
#[case::deleted(external("a", "robot").deleting(), Refusal::Deleted)]
#[tokio::test]
async fn an_account_is_refused_only_after_a_live_read(#[case] fixture: Fixture, #[case] refusal: Refusal) {
    let setting = setting(&[inline()]).with(&fixture);
    assert_eq!(setting.ask(&token("robot")).await, Err(refusal));
    setting.live.away.store(true, SeqCst);
    assert_eq!(setting.ask(&token("robot")).await, Err(Refusal::Unsure));
}

#[tokio::test]
async fn a_new_external_account_is_served_before_the_watch_has_told_of_it() {
    let setting = setting(&[inline()]);
    setting.live.holds(&external("a", "robot"));
    assert_eq!(setting.ask(&token("robot")).await, Ok("a".into()));
}

#[tokio::test]
async fn an_account_takes_tokens_of_the_issuer_that_it_names_and_of_no_other() {
    let other = json!({"name": "other", "issuer": "https://other.example", "jwks": OTHER.set("o")});
    let setting = setting(&[inline(), other.clone()])
        .with(&trusting("a", "robot", "idp"))
        .with(&trusting("b", "crawler", "other"))
        .with(&external("c", "nobodys"));
    assert_eq!(setting.ask(&token("robot")).await, Ok("a".into()));
    assert_eq!(setting.ask(&token("crawler")).await, wrong(AssertionError::NotItsIssuer));
    assert_eq!(setting.ask(&token("nobodys")).await, wrong(AssertionError::NotItsIssuer));
    let theirs = OTHER.sign("o", &claims("https://other.example", "crawler"));
    assert_eq!(setting.ask(&theirs).await, Ok("b".into()));
    // Theirs says it is of ours.
    let forged = OTHER.sign("o", &claims(IDP, "robot"));
    assert_eq!(setting.ask(&forged).await, wrong(AssertionError::UnknownKey));
}

#[tokio::test]
async fn an_audience_and_a_claim_of_the_trusted_issuers_own_hold_for_it() {
    let mut own = inline();
    own["audience"] = json!("api://keyrota");
    own["clientIdClaim"] = json!("azp");
    let setting = setting(&[own]).with(&external("a", "robot"));
    let mut claims = claims(IDP, "somebody");
    claims["azp"] = json!("robot");
    assert_eq!(setting.ask(&EC.sign("k", &claims)).await, wrong(AssertionError::Audience));
    claims["aud"] = json!(["api://keyrota"]);
    assert_eq!(setting.ask(&EC.sign("k", &claims)).await, Ok("a".into()));
}

#[tokio::test]
async fn two_entries_of_one_issuer_are_both_tried() {
    let mut first = inline();
    first["audience"] = json!("api://first");
    let mut second = inline();
    second["name"] = json!("second");
    for trusted in [[first.clone(), second.clone()], [second, first]] {
        let setting = setting(&trusted).with(&trusting("a", "robot", "second"));
        assert_eq!(setting.ask(&token("robot")).await, Ok("a".into()));
    }
}

#[tokio::test]
async fn an_issuer_whose_settings_are_broken_is_later_and_not_never() {
    let setting = setting(&[json!({"name": "idp", "issuer": IDP, "jwks": "{}"})]).with(&external("a", "robot"));
    assert_eq!(setting.ask(&token("robot")).await, Err(Refusal::NoIssuerKeys));
}

#[tokio::test]
async fn keys_at_a_uri_are_read_and_read_again_for_one_that_is_new() {
    let setting = setting(&[json!({"name": "idp", "issuer": IDP, "jwksUri": URI})]).with(&external("a", "robot"));
    assert_eq!(setting.ask(&token("robot")).await, Err(Refusal::NoIssuerKeys), "nothing is there yet");
    let setting = self::setting(&[json!({"name": "idp", "issuer": IDP, "jwksUri": URI})]).with(&external("a", "robot"));
    setting.outside.sets.lock().insert(URI.into(), EC.set("k"));
    assert_eq!(setting.ask(&token("robot")).await, Ok("a".into()));
    let unknown = OTHER.sign("new", &claims(IDP, "robot"));
    assert_eq!(setting.ask(&unknown).await, wrong(AssertionError::UnknownKey), "read a moment ago");
}

#[tokio::test]
async fn what_has_expired_makes_nobody_read_keys() {
    let setting = setting(&[json!({"name": "idp", "issuer": IDP, "jwksUri": URI})]).with(&external("a", "robot"));
    let mut old = claims(IDP, "robot");
    old["exp"] = json!(present().unix());
    assert_eq!(setting.ask(&EC.sign("k", &old)).await, wrong(AssertionError::Expired));
}

#[tokio::test]
async fn a_pod_gets_a_token_without_any_secret() {
    let setting = setting(&[kubernetes()]).with(&external("a", POD));
    setting.outside.users.lock().insert(pod_text(), POD.into());
    let token = pod_text();
    for _ in 0..3 {
        assert_eq!(setting.ask(&token).await, Ok("a".into()));
    }
    assert_eq!(setting.outside.reviews.load(SeqCst), 1);
}

/// The same token each time: signatures differ.
fn pod_text() -> String {
    static TOKEN: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| pod(POD));
    TOKEN.clone()
}

#[rstest]
#[case::of_another_namespace("system:serviceaccount:bank:exporter", AssertionError::OtherNamespace)]
#[case::the_default("system:serviceaccount:shop:default", AssertionError::DefaultServiceAccount)]
#[case::no_pod("system:node:shop", AssertionError::NotAServiceAccount)]
#[case::an_internal_accounts("97074e41", AssertionError::NotAServiceAccount)]
#[tokio::test]
async fn which_pods_may_not_is_known_without_asking_kubernetes(#[case] subject: &str, #[case] error: AssertionError) {
    // Even though the account names it, and TokenReview would take it.
    let setting = setting(&[kubernetes()]).with(&external("a", subject)).with(&account("b").current("97074e41", "s"));
    let token = pod(subject);
    setting.outside.users.lock().insert(token.clone(), subject.into());
    assert_eq!(setting.ask(&token).await, wrong(error));
    assert_eq!(setting.outside.reviews.load(SeqCst), 0);
}

#[rstest]
#[case::nobodys(None, wrong(AssertionError::NotAuthenticated))]
#[case::anothers(Some("system:serviceaccount:shop:other"), wrong(AssertionError::NotAuthenticated))]
#[tokio::test]
async fn what_kubernetes_does_not_confirm_is_refused(
    #[case] user: Option<&str>,
    #[case] expected: Result<String, Refusal>,
) {
    let setting = setting(&[kubernetes()]).with(&external("a", POD));
    let token = pod(POD);
    if let Some(user) = user {
        setting.outside.users.lock().insert(token.clone(), user.into());
    }
    assert_eq!(setting.ask(&token).await, expected);
}

#[tokio::test]
async fn while_kubernetes_is_away_a_pod_is_told_to_come_back() {
    let setting = setting(&[kubernetes()]).with(&external("a", POD));
    setting.outside.users.lock().insert("away".into(), String::new());
    assert_eq!(setting.ask(&pod(POD)).await, Err(Refusal::Unsure));
}

#[tokio::test]
async fn kubernetes_is_asked_for_nobody_who_gets_nothing_anyway_and_for_nobody_who_is_limited() {
    let setting = setting(&[kubernetes()]).with(&external("a", POD));
    let limited = Refusal::Limited { retry_after: 3 };
    assert_eq!(setting.ask_as(&pod_text(), None, Some(limited)).await, Err(limited));
    setting.outside.users.lock().insert(pod_text(), POD.into());
    assert_eq!(setting.ask(&pod_text()).await, Ok("a".into()));
    assert_eq!(setting.ask_as(&pod_text(), None, Some(limited)).await, Ok("a".into()), "remembered: no limit holds");
    let setting = setting.with(&external("a", POD).disabled().revision(2));
    assert_eq!(setting.ask(&pod(POD)).await, Err(Refusal::Disabled));
    assert_eq!(setting.outside.reviews.load(SeqCst), 1);
}
