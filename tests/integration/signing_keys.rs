//! Signing keys over their life, on a clock that the test moves, against the real API server.

use chrono::TimeDelta;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use keyrota::api::token_issuer::{KeyState, SigningKeyStatus};
use keyrota::api::{ConditionStatus, TokenIssuer};
use keyrota::clock::ManualClock;
use keyrota::domain::keys::Keys;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use zeroize::Zeroizing;

use super::common::eventually;
use super::common::operator::{Gateway, Operator, SOON, text};
use super::common::proxy::Moment;

/// One lifetime and one hour.
const OVERLAP: TimeDelta = TimeDelta::hours(2);
const ROTATION: TimeDelta = TimeDelta::days(90);

/// An issuer for one tenant namespace alone, and the one operator that looks after it.
struct Tenant {
    operator: Operator,
    clock: ManualClock,
    name: String,
}

impl Tenant {
    async fn new(spec: serde_json::Value) -> Self {
        let (operator, clock) = Operator::on_manual_clock().await;
        let tenant = Self { name: operator.tenant.name.clone(), operator, clock };
        tenant.create(spec).await;
        tenant
    }

    /// Waits until a request is handled, the copy holds the key that came of it, and the status lists that.
    async fn settled(&self, counter: i64, case: &str) -> Keys {
        eventually(case, SOON, async || {
            let keys = self.keys().await.filter(|keys| keys.handled_regenerate == Some(counter))?;
            let copy = self.operator.secrets().get_opt("copy").await.unwrap()?;
            let status = self.issuers().get(&self.name).await.unwrap().status?;
            let listed: Vec<_> = status.signing_keys.into_iter().filter_map(|key| key.kid).collect();
            let copied = copy.data?.get("current").map(|bytes| bytes.0.clone());
            (copied == legacy(&keys, KeyState::Current) && listed == kids(&keys)).then_some(keys)
        })
        .await
    }

    async fn create(&self, mut spec: serde_json::Value) {
        spec["namespaces"] = json!([self.operator.tenant.name]);
        let object = json!({
            "apiVersion": "keyrota.dev/v1alpha1", "kind": "TokenIssuer", "metadata": {"name": self.name}, "spec": spec,
        });
        self.issuers().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }

    fn issuers(&self) -> Api<TokenIssuer> {
        Api::all(self.operator.client.clone())
    }

    async fn edit(&self, spec: serde_json::Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.issuers().patch(&self.name, &PatchParams::default(), &patch).await.unwrap();
    }

    fn secret_name(&self) -> String {
        format!("signing-keys-{}", self.name)
    }

    async fn secret(&self) -> Option<Secret> {
        self.operator.own_secrets().get_opt(&self.secret_name()).await.unwrap()
    }

    async fn keys(&self) -> Option<Keys> {
        let data = self.secret().await?.data.unwrap_or_default();
        Some(Keys::parse(data.into_iter().map(|(item, bytes)| (item, Zeroizing::new(bytes.0))).collect()))
    }

    /// Waits until the Secret's keys are as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Keys) -> bool) -> Keys {
        eventually(what, SOON, async || self.keys().await.filter(|keys| wanted(keys))).await
    }

    fn signing(&self, keys: &Keys) -> String {
        use keyrota::clock::Clock;
        keys.oauth.signing(self.clock.timestamp()).unwrap().key.kid().to_owned()
    }

    /// Reasons of the issuer's Events.
    async fn events(&self) -> Vec<String> {
        let events: Api<Event> = Api::all(self.operator.client.clone());
        let selector = ListParams::default().fields(&format!("regarding.name={}", self.name));
        let events = events.list(&selector).await.unwrap().items;
        events.into_iter().filter_map(|event| event.reason).collect()
    }

    async fn told(&self, reason: &str) {
        eventually(reason, SOON, async || self.events().await.iter().any(|told| told == reason).then_some(())).await;
    }

    /// The keys in the status.
    async fn listed(&self) -> Vec<SigningKeyStatus> {
        eventually("keys in the status", SOON, async || {
            let keys = self.issuers().get(&self.name).await.unwrap().status?.signing_keys;
            (!keys.is_empty()).then_some(keys)
        })
        .await
    }

    /// Replaces one item of the Secret.
    async fn put(&self, item: &str, bytes: &[u8]) {
        let mut secret = self.secret().await.unwrap();
        secret.data.as_mut().unwrap().insert(item.into(), ByteString(bytes.to_vec()));
        let secrets = self.operator.own_secrets();
        secrets.replace(&self.secret_name(), &PostParams::default(), &secret).await.unwrap();
    }

    async fn end(self) {
        self.issuers().delete(&self.name, &DeleteParams::default()).await.unwrap();
    }
}

fn kids(keys: &Keys) -> Vec<String> {
    keys.oauth.line().iter().map(|key| key.key.kid().to_owned()).collect()
}

fn legacy(keys: &Keys, state: KeyState) -> Option<Vec<u8>> {
    keys.legacy.slots().find(|(found, _)| *found == state).map(|(_, key)| key.expose().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oauth_key_is_rotated_on_schedule_with_its_successor_published_before() {
    let tenant = Tenant::new(json!({})).await;
    let first = kids(&tenant.until("the first key", |keys| keys.oauth.line().len() == 1).await);
    assert_eq!(tenant.secret().await.unwrap().owner_references()[0].name, tenant.name);
    tenant.told("SigningKeysCreated").await;
    tenant.clock.advance(ROTATION - OVERLAP);
    let keys = tenant.until("the next key", |keys| keys.oauth.line().len() == 2).await;
    assert_eq!(tenant.signing(&keys), first[0]);
    tenant.clock.advance(OVERLAP);
    // The ring says so once the controller has woken; the key signs without that.
    assert_ne!(tenant.signing(&keys), first[0]);
    eventually("the take-over in the ring", SOON, async || {
        text(&tenant.secret().await?, "keys.json").contains("\"Previous\"").then_some(())
    })
    .await;
    assert_eq!(tenant.keys().await.unwrap().oauth.line().len(), 2);
    tenant.clock.advance(OVERLAP);
    let keys = tenant.until("the old key goes", |keys| keys.oauth.line().len() == 1).await;
    assert!(!kids(&keys).contains(&first[0]));
    tenant.end().await;
}

/// The key IDs that resource servers find at the tenant's host.
async fn published(gateway: &Gateway, host: &str) -> Vec<String> {
    let url = format!("https://{}/.well-known/jwks.json", gateway.address);
    let answer = gateway.http.get(url).header("Host", host).send().await.unwrap();
    let set: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let keys = set["keys"].as_array().cloned().unwrap_or_default();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Waits until as many keys are published, each once.
async fn until_published(gateway: &Gateway, host: &str, count: usize) -> Vec<String> {
    eventually(&format!("{count} keys are published"), SOON, async || {
        Some(published(gateway, host).await).filter(|kids| kids.len() == count)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_servers_know_each_key_before_it_signs_and_while_its_tokens_live() {
    let mut tenant = Tenant::new(json!({})).await;
    let host = format!("{}.example", tenant.name);
    tenant.edit(json!({"hosts": [host], "tokenLifetime": "1h"})).await;
    tenant.operator.ready("app", json!({"clientSecret": {"validityDays": 365}})).await;
    let pair = tenant.operator.credential("app-credentials").await;
    // Its watches are silent while months pass in no time.
    tenant.operator.gateway_flags = ["--max-stale", "10000h"].map(str::to_owned).to_vec();
    let gateway = tenant.operator.start_gateway().await;
    let signed = async || {
        let url = format!("https://{}/oauth2/token", gateway.address);
        let request = gateway.http.post(url).header("Host", &host).basic_auth(&pair.0, Some(&pair.1));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let answer = request.body("grant_type=client_credentials").send().await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        Some(jsonwebtoken::decode_header(answer["access_token"].as_str()?).unwrap().kid.unwrap())
    };
    let first = until_published(&gateway, &host, 1).await;
    eventually("the first key signs", SOON, async || signed().await.filter(|kid| *kid == first[0])).await;

    tenant.clock.advance(ROTATION - OVERLAP);
    let both = until_published(&gateway, &host, 2).await;
    assert_eq!(signed().await.as_ref(), Some(&first[0]), "the next one is known, and does not sign yet");
    // A second before and at the take-over, which the gateway needs nobody's word for.
    tenant.clock.advance(OVERLAP - TimeDelta::seconds(1));
    assert_eq!(signed().await.as_ref(), Some(&first[0]));
    tenant.clock.advance(TimeDelta::seconds(1));
    let second = signed().await.unwrap();
    assert!(second != first[0] && both.contains(&second));
    // The token of a second ago lives for an hour, and who verifies it may have a clock that is behind.
    tenant.clock.advance(OVERLAP - TimeDelta::seconds(1));
    assert!(published(&gateway, &host).await.contains(&first[0]));
    tenant.clock.advance(TimeDelta::seconds(2));
    assert_eq!(until_published(&gateway, &host, 1).await, [second]);
    tenant.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raised_counter_makes_new_keys_once_and_revoke_old_drops_the_old_ones() {
    let tenant = Tenant::new(json!({"oauth": {"algorithm": "RS256"}})).await;
    let before = tenant.until("the first keys", |keys| keys.oauth.line().len() == 1).await;
    assert_eq!(before.oauth.line()[0].key.algorithm(), keyrota::api::Algorithm::RS256);
    tenant.edit(json!({"keys": {"regenerate": 1}})).await;
    let asked = tenant.until("the next keys", |keys| keys.oauth.line().len() == 2).await;
    assert_eq!(legacy(&asked, KeyState::Current), legacy(&before, KeyState::Current));
    tenant.clock.advance(OVERLAP);
    let taken = tenant.until("the take-over", |keys| legacy(keys, KeyState::Previous).is_some()).await;
    assert_eq!(legacy(&taken, KeyState::Current), legacy(&asked, KeyState::Next));
    assert_eq!(legacy(&taken, KeyState::Previous), legacy(&before, KeyState::Current));
    // Git takes it back, and brings it again: no new key, neither by the edits nor by another controller.
    tenant.edit(json!({"keys": {"regenerate": 0}})).await;
    tenant.edit(json!({"keys": {"regenerate": 1}})).await;
    tenant.edit(json!({"keys": {"revokeOld": true}})).await;
    let alone = tenant.until("the old ones go", |keys| keys.oauth.line().len() == 1).await;
    assert_eq!((tenant.signing(&alone), alone.legacy.slots().count()), (tenant.signing(&taken), 1));
    tenant.edit(json!({"keys": {"regenerate": 2}})).await;
    let revoked = tenant.until("new keys at once", |keys| kids(keys) != kids(&alone)).await;
    assert_eq!((revoked.oauth.line().len(), revoked.legacy.slots().count()), (1, 1));
    assert_ne!(legacy(&revoked, KeyState::Current), legacy(&alone, KeyState::Current));
    tenant.told("SigningKeysRevoked").await;
    tenant.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_secret_is_made_anew_and_told() {
    let tenant = Tenant::new(json!({})).await;
    let before = tenant.until("the first keys", |keys| !keys.is_empty()).await;
    tenant.told("SigningKeysCreated").await;
    tenant.operator.own_secrets().delete(&tenant.secret_name(), &DeleteParams::default()).await.unwrap();
    let after = tenant.until("new keys", |keys| kids(keys) != kids(&before)).await;
    assert_ne!(legacy(&after, KeyState::Current), legacy(&before, KeyState::Current));
    assert_eq!(after.loss.as_ref().map(|loss| loss.what.as_str()), Some("all signing keys"));
    tenant.told("SigningKeysLost").await;
    tenant.clock.advance(TimeDelta::hours(25));
    tenant.until("the loss is over", |keys| keys.loss.is_none()).await;
    tenant.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told_and_the_good_keys_go_on() {
    let tenant = Tenant::new(json!({"keys": {"regenerate": 0}})).await;
    tenant.until("the first keys", |keys| !keys.is_empty()).await;
    tenant.edit(json!({"keys": {"regenerate": 1}})).await;
    let both = tenant.until("two keys", |keys| keys.oauth.line().len() == 2).await;
    tenant.put(&format!("{}.p8", kids(&both)[0]), b"garbage").await;
    let damaged = tenant.until("the damage is noticed", |keys| keys.loss.is_some()).await;
    assert_eq!(kids(&damaged), kids(&both)[1..]);
    assert_eq!(tenant.signing(&damaged), kids(&both)[1]);
    assert_eq!(legacy(&damaged, KeyState::Current), legacy(&both, KeyState::Current));
    tenant.told("SigningKeysLost").await;
    tenant.put("keys.json", b"{").await;
    let repaired = tenant.until("the ring is written anew", |keys| keys.handled_regenerate == Some(1)).await;
    assert!(kids(&repaired).contains(&kids(&both)[1]));
    tenant.told("SigningKeysRepaired").await;
    tenant.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_servers_get_the_hs256_keys_and_a_foreign_secret_is_left_alone() {
    let tenant = Tenant::new(json!({})).await;
    let secrets = tenant.operator.secrets();
    let foreign = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken"}, "stringData": {"current": "theirs"},
    });
    secrets.create(&PostParams::default(), &serde_json::from_value(foreign).unwrap()).await.unwrap();
    let to = |name: &str| json!({"legacy": {"publishKeyTo": {"namespace": tenant.operator.tenant.name, "secretName": name}}});
    tenant.edit(to("taken")).await;
    let ready = eventually("the conflict is told", SOON, async || {
        let status = tenant.issuers().get(&tenant.name).await.unwrap().status?;
        status.conditions.into_iter().find(|ready| ready.type_ == "Ready" && ready.reason == "SecretConflict")
    })
    .await;
    assert_eq!(ready.status, ConditionStatus::False);
    assert_eq!(text(&secrets.get("taken").await.unwrap(), "current"), "theirs");
    secrets.delete("taken", &DeleteParams::default()).await.unwrap();
    tenant.clock.advance(TimeDelta::seconds(60));
    let copy = async |name: &str, wanted: usize| {
        eventually(&format!("{wanted} keys in {name}"), SOON, async || {
            let found = secrets.get_opt(name).await.unwrap()?;
            (found.data.clone().unwrap_or_default().len() == wanted).then_some(found)
        })
        .await
    };
    let of = |secret: &Secret, item: &str| secret.data.as_ref().unwrap()[item].0.clone();
    let published = copy("taken", 1).await;
    let keys = tenant.keys().await.unwrap();
    assert_eq!(Some(of(&published, "current")), legacy(&keys, KeyState::Current));
    tenant.edit(json!({"keys": {"regenerate": 1}})).await;
    let next = of(&copy("taken", 2).await, "next");
    tenant.clock.advance(OVERLAP);
    eventually("the next key is the current one", SOON, async || {
        let secret = secrets.get("taken").await.unwrap();
        (of(&secret, "current") == next && of(&secret, "previous") == of(&published, "current")).then_some(())
    })
    .await;
    tenant.edit(to("elsewhere")).await;
    copy("elsewhere", 2).await;
    copy("taken", 0).await;
    tenant.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_lists_the_keys_and_an_issuer_made_anew_has_none_of_its_namesake() {
    let tenant = Tenant::new(json!({})).await;
    let first = tenant.until("the first keys", |keys| !keys.is_empty()).await;
    let listed = tenant.listed().await;
    let shown: Vec<_> = listed.iter().map(|key| (key.algorithm.as_str(), key.state, key.kid.is_some())).collect();
    assert_eq!(shown, [("ES256", KeyState::Current, true), ("HS256", KeyState::Current, false)]);
    tenant.issuers().delete(&tenant.name, &DeleteParams::default()).await.unwrap();
    tenant.create(json!({})).await;
    tenant.until("keys of its own", |keys| !keys.is_empty() && kids(keys) != kids(&first)).await;
    assert!(!tenant.events().await.contains(&"SigningKeysLost".to_owned()));
    tenant.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_a_wiped_status_and_a_touched_secret_change_no_key() {
    let mut tenant = Tenant::new(json!({"keys": {"regenerate": 3}})).await;
    let before = tenant.until("the first keys", |keys| !keys.is_empty()).await;
    tenant.listed().await;
    let wiped = Patch::Merge(json!({"status": null}));
    tenant.issuers().patch_status(&tenant.name, &PatchParams::default(), &wiped).await.unwrap();
    tenant.listed().await;
    tenant.put("note", b"from an administrator").await;
    tenant.operator.kill_controller().await;
    tenant.issuers().patch_status(&tenant.name, &PatchParams::default(), &wiped).await.unwrap();
    tenant.operator.start_controller();
    tenant.listed().await;
    let after = tenant.keys().await.unwrap();
    assert_eq!((kids(&after), after.legacy.slots().count()), (kids(&before), 1));
    assert_eq!(legacy(&after, KeyState::Current), legacy(&before, KeyState::Current));
    assert_eq!(text(&tenant.secret().await.unwrap(), "note"), "from an administrator");
    assert!(!tenant.events().await.contains(&"SigningKeysLost".to_owned()));
    tenant.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_controllers_make_one_set_of_keys() {
    let tenant = Tenant::new(json!({})).await;
    let rival = tenant.operator.another_controller(&["--leader-elect", "false"]);
    let first = tenant.until("the first keys", |keys| !keys.is_empty()).await;
    for counter in 1..=3 {
        tenant.edit(json!({"keys": {"regenerate": counter, "revokeOld": true}})).await;
        tenant.until("the request is handled", |keys| keys.handled_regenerate == Some(counter)).await;
    }
    let last = tenant.until("one key", |keys| keys.oauth.line().len() == 1).await;
    assert_ne!(kids(&last), kids(&first));
    rival.stop().await;
    let written = |entry: &serde_json::Value| {
        let write = ["create", "update"].contains(&entry["verb"].as_str().unwrap_or_default());
        let done = entry["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300);
        write
            && done
            && entry["objectRef"]["resource"] == "secrets"
            && entry["objectRef"]["name"] == tenant.secret_name()
    };
    let writes = tenant.operator.audited().iter().filter(|entry| written(entry)).count();
    assert_eq!(writes, 4, "one for the first keys and one for each request");
    tenant.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_survives_a_kill_at_every_write_and_is_handled_once() {
    let clock = ManualClock::at(keyrota::clock::Clock::now(&keyrota::clock::SystemClock));
    let mut operator = Operator::prepared(std::sync::Arc::new(clock.clone())).await;
    let proxy = operator.through_a_proxy().await;
    operator.start_controller();
    let mut tenant = Tenant { name: operator.tenant.name.clone(), operator, clock };
    let to = json!({"namespace": tenant.name, "secretName": "copy"});
    tenant.create(json!({"keys": {"revokeOld": true}, "legacy": {"publishKeyTo": to}})).await;
    tenant.settled(0, "the first keys").await;
    proxy.pass();
    tenant.edit(json!({"keys": {"regenerate": 1}})).await;
    tenant.settled(1, "undisturbed").await;
    let writes: Vec<_> = proxy.writes();
    assert!(writes.len() >= 3, "keys, copy and status: {writes:?}");
    let (mut counter, mut cuts) = (1, 0);
    for number in 1..=3 {
        for moment in [Moment::Before, Moment::After] {
            counter += 1;
            let case = format!("killed {moment:?} write {number} of {writes:?}");
            proxy.cut_at(number, moment);
            tenant.edit(json!({"keys": {"regenerate": counter}})).await;
            tokio::select! {
                biased;
                () = proxy.until_cut() => cuts += 1,
                _ = tenant.settled(counter, &case) => {}
            }
            tenant.operator.kill_controller().await;
            let left = tenant.keys().await.filter(|keys| keys.handled_regenerate == Some(counter));
            proxy.pass();
            tenant.operator.start_controller();
            let end = tenant.settled(counter, &case).await;
            assert_eq!((end.oauth.line().len(), end.legacy.slots().count()), (1, 1), "{case}");
            if let Some(left) = left {
                assert_eq!(kids(&left), kids(&end), "{case}: made twice");
            }
        }
    }
    assert!(cuts >= 5, "only {cuts} cuts");
    tenant.end().await;
}
