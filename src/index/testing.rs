//! Fixtures that chain: `account("exporter").current("id", "secret")`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

use super::live::{Labelled, Live, LiveError};
use super::{AccountFacts, Accounts, Feed, Index, Item, KeyFacts, Kind, Listing, RecordFacts};
use crate::api::service_account::{Mode, Reason};
use crate::api::{Algorithm, Timestamp, TokenIssuer, TokenIssuerSpec, UserGroup, UserGroupSpec};
use crate::domain::credential::{State, Version};
use crate::domain::keys::{Keys, Tenure};
use crate::domain::names::client_id_label;
use crate::domain::record::{Owner, Record};
use crate::domain::signing::generate;
use crate::domain::verifier::{HashCost, hash};

pub(crate) const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

/// 2026-01-01, the present in all tests.
pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap()
}

pub(crate) fn present() -> Timestamp {
    now().into()
}

/// An account and its record.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) account: AccountFacts,
    pub(crate) record: Record,
    pub(crate) revision: u64,
}

/// An enabled Internal account without credentials, in the namespace `shop`, one day old.
pub(crate) fn account(name: &str) -> Fixture {
    let owner = Owner { uid: format!("uid-of-{name}"), namespace: "shop".into(), name: name.into() };
    Fixture {
        account: AccountFacts {
            credentials: Vec::new(),
            owner: owner.clone(),
            created: present().saturating_add(TimeDelta::days(-1)),
            deleting: false,
            enabled: true,
            mode: Mode::Internal,
            last_access: None,
            external_client_id: None,
            trusted_issuer: None,
            groups: Vec::new(),
            revision: 1.into(),
        },
        record: Record::new(owner),
        revision: 1,
    }
}

impl Fixture {
    pub(crate) fn current(self, client_id: &str, secret: &str) -> Self {
        self.version(client_id, secret, State::Current, TimeDelta::days(90))
    }

    /// A version that ends `left` from now.
    pub(crate) fn version(mut self, client_id: &str, secret: &str, state: State, left: TimeDelta) -> Self {
        self.record.last_version += 1;
        let mut random = StdRng::seed_from_u64(u64::try_from(self.record.last_version).unwrap());
        self.record.versions.push(Version {
            retired_time: None,
            version: self.record.last_version,
            client_id: client_id.into(),
            secret_hash: hash(&secret.into(), HashCost { memory_kib: 8, passes: 1, lanes: 1 }, &mut random).unwrap(),
            state,
            not_before: present().saturating_add(TimeDelta::days(-1)),
            not_after: present().saturating_add(left),
            validity_days: 180,
            reason: Reason::Created,
            answers: None,
            retries: 0,
            unknown: serde_json::Map::new(),
        });
        self
    }

    pub(crate) fn disabled(mut self) -> Self {
        self.account.enabled = false;
        self
    }

    pub(crate) fn deleting(mut self) -> Self {
        self.account.deleting = true;
        self
    }

    pub(crate) fn external(mut self, client_id: &str) -> Self {
        self.account.mode = Mode::External;
        self.account.external_client_id = Some(client_id.into());
        self.record.external_client_id = Some(client_id.into());
        self
    }

    pub(crate) fn of_namespace(mut self, namespace: &str) -> Self {
        self.account.owner.namespace = namespace.into();
        self.record.account.namespace = namespace.into();
        self
    }

    pub(crate) fn born(mut self, days_ago: i64) -> Self {
        self.account.created = present().saturating_add(TimeDelta::days(-days_ago));
        self
    }

    pub(crate) fn groups(mut self, names: &[&str]) -> Self {
        self.account.groups = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    pub(crate) fn compromised(mut self, version: i64) -> Self {
        self.record.compromised_versions.push(version);
        self
    }

    /// Of both objects.
    pub(crate) fn revision(mut self, revision: u64) -> Self {
        self.account.revision = revision.into();
        self.revision = revision;
        self
    }

    pub(crate) fn uid(&self) -> String {
        self.account.owner.uid.clone()
    }

    pub(crate) fn record_facts(&self) -> RecordFacts {
        RecordFacts::new(self.record.clone(), self.revision.into())
    }

    pub(crate) fn items(&self) -> [Item; 2] {
        [Item::Account(self.account.clone()), Item::Record(self.record_facts())]
    }
}

pub(crate) fn issuer(name: &str, born: i64, namespaces: &[&str], hosts: &[&str]) -> TokenIssuer {
    let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let spec = TokenIssuerSpec { namespaces: strings(namespaces), hosts: strings(hosts), ..TokenIssuerSpec::default() };
    TokenIssuer { metadata: meta(name, born), spec, status: None }
}

pub(crate) fn group(name: &str, issuers: &[&str]) -> UserGroup {
    let issuers = issuers.iter().map(|text| (*text).to_owned()).collect();
    UserGroup { metadata: meta(name, 0), spec: UserGroupSpec { issuers, ..UserGroupSpec::default() }, status: None }
}

fn meta(name: &str, born: i64) -> ObjectMeta {
    let born = k8s_openapi::jiff::Timestamp::from_second(born).unwrap();
    ObjectMeta { name: Some(name.into()), creation_timestamp: Some(Time(born)), ..ObjectMeta::default() }
}

/// An HS256 key, and an OAuth key that has signed for a day.
pub(crate) fn keys(issuer: &str) -> Item {
    let content = [("legacy-current".to_owned(), Zeroizing::new(KEY.to_vec()))].into();
    let mut keys = Keys::parse(content);
    add_key(&mut keys, Algorithm::ES256, TimeDelta::days(-1));
    key_item(issuer, keys)
}

pub(crate) fn key_item(issuer: &str, keys: Keys) -> Item {
    Item::Keys(Box::new(KeyFacts { issuer: issuer.into(), keys: Arc::new(keys) }))
}

/// An OAuth key that signs from `from` on, and was made two hours before.
pub(crate) fn add_key(keys: &mut Keys, algorithm: Algorithm, from: TimeDelta) {
    let signs_from = present().saturating_add(from);
    let tenure = Tenure::new(signs_from.saturating_add(TimeDelta::hours(-2)), signs_from, TimeDelta::hours(1));
    keys.add_oauth(algorithm, tenure, generate(algorithm).unwrap()).unwrap();
}

/// An index with a complete, empty list of everything, and keys of the issuer `default`.
pub(crate) fn filled_index() -> Arc<Index> {
    let index = Index::new(Feed::all(&[]));
    for feed in Feed::all(&[]) {
        let items = if feed.kind == Kind::Keys { vec![keys("default")] } else { Vec::new() };
        list(&index, &feed, items, 1);
    }
    Arc::new(index)
}

/// A complete list, begun just now.
pub(crate) fn list(index: &Index, feed: &Feed, items: Vec<Item>, revision: u64) {
    let begun = index.begin_list();
    let listing = Listing { items, unreadable: HashSet::new(), revision: revision.into(), begun, time: now() };
    index.reset(feed, listing);
}

pub(crate) fn feed(index: &Index, fixture: &Fixture) {
    for item in fixture.items() {
        index.apply(item);
    }
}

/// What the API server would say, and how often it was asked.
#[derive(Default)]
pub(crate) struct FakeLive {
    pub(crate) accounts: Mutex<HashMap<String, AccountFacts>>,
    pub(crate) records: Mutex<HashMap<String, RecordFacts>>,
    /// Every read fails.
    pub(crate) away: std::sync::atomic::AtomicBool,
    /// No read ever ends.
    pub(crate) hangs: std::sync::atomic::AtomicBool,
    /// Reads of one account or record.
    pub(crate) reads: AtomicUsize,
    /// The labels of every search.
    pub(crate) searches: Mutex<Vec<Vec<String>>>,
}

impl FakeLive {
    pub(crate) fn holds(&self, fixture: &Fixture) {
        self.accounts.lock().insert(fixture.uid(), fixture.account.clone());
        self.records.lock().insert(fixture.uid(), fixture.record_facts());
    }

    fn answer<T: Send + 'static>(&self, answer: T) -> BoxFuture<'static, Result<T, LiveError>> {
        if self.hangs.load(SeqCst) {
            return std::future::pending().boxed();
        }
        let result = if self.away.load(SeqCst) { Err(LiveError::Late) } else { Ok(answer) };
        std::future::ready(result).boxed()
    }
}

impl Live for FakeLive {
    fn account<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Option<AccountFacts>, LiveError>> {
        self.reads.fetch_add(1, SeqCst);
        let accounts = self.accounts.lock();
        let named = accounts.values().find(|a| (&a.owner.namespace, &a.owner.name) == (&owner.namespace, &owner.name));
        self.answer(named.cloned())
    }

    fn record<'a>(&'a self, uid: &'a str) -> BoxFuture<'a, Result<Option<RecordFacts>, LiveError>> {
        self.reads.fetch_add(1, SeqCst);
        self.answer(self.records.lock().get(uid).cloned())
    }

    fn records<'a>(&'a self, labels: &'a [String]) -> BoxFuture<'a, Result<Labelled, LiveError>> {
        self.searches.lock().push(labels.to_vec());
        let carries = |record: &&RecordFacts| record.client_ids().any(|id| labels.contains(&client_id_label(id)));
        let records = self.records.lock().values().filter(carries).cloned().collect();
        self.answer(Labelled { records, unreadable: HashSet::new() })
    }
}

/// The oldest holder of a client ID under the issuer `default`.
pub(crate) fn holder(index: &Index, client_id: &str) -> Option<String> {
    index.find(&index.world(), "default", client_id).map(|entry| entry.account.owner.name.clone())
}
