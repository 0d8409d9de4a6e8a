//! A gateway fed by hand: accounts with credentials, a live side that says what the test wants. Shared with the bench.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use chrono::{TimeDelta, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use keyrota::api::Timestamp;
use keyrota::api::service_account::{Mode, Reason};
use keyrota::clock::{Clock, SystemClock};
use keyrota::domain::credential::{State, Version};
use keyrota::domain::keys::Keys;
use keyrota::domain::names::client_id_label;
use keyrota::domain::record::{Owner, Record};
use keyrota::domain::verifier::{HashCost, hash};
use keyrota::entropy::{Gathered, SystemEntropy};
use keyrota::gateway::App;
use keyrota::gateway::endpoint::{BODY_TIME, Dependencies, EVEN_TIME};
use keyrota::gateway::freshen::Pace;
use keyrota::gateway::limit::client::Clients;
use keyrota::gateway::metrics::Metrics;
use keyrota::index::live::{Labelled, Live, LiveError};
use keyrota::index::{AccountFacts, Feed, Index, Item, KeyFacts, Kind, Listing, RecordFacts};
use rand::rngs::SysRng;
use zeroize::Zeroizing;

/// The HS256 key of the issuer `default`.
pub const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

/// An enabled account of the namespace `shop` with one credential.
///
/// # Errors
/// When there is no randomness.
pub fn account(name: &str, client_id: &str, secret: &str) -> anyhow::Result<(AccountFacts, RecordFacts)> {
    let owner = Owner { uid: format!("uid-of-{name}"), namespace: "shop".into(), name: name.into() };
    let mut record = Record::new(owner.clone());
    record.last_version = 1;
    record.versions.push(current(HashCost { memory_kib: 64, passes: 1, lanes: 1 }, client_id, secret)?);
    let account = AccountFacts {
        credentials: Vec::new(),
        owner,
        created: Timestamp::from(chrono::DateTime::<Utc>::UNIX_EPOCH),
        deleting: false,
        enabled: true,
        mode: Mode::Internal,
        last_access: None,
        external_client_id: None,
        trusted_issuer: None,
        groups: Vec::new(),
        revision: 1.into(),
    };
    Ok((account, RecordFacts::new(record, 1.into())))
}

/// Version 1, in force from now on; its hash costs this much.
///
/// # Errors
/// When there is no randomness.
pub fn current(cost: HashCost, client_id: &str, secret: &str) -> anyhow::Result<Version> {
    let now = SystemClock.timestamp();
    Ok(Version {
        version: 1,
        client_id: client_id.into(),
        secret_hash: hash(&secret.into(), cost, &mut SysRng)?,
        state: State::Current,
        not_before: now,
        not_after: now.saturating_add(TimeDelta::days(180)),
        validity_days: 180,
        reason: Reason::Created,
        answers: None,
        retired_time: None,
        retries: 0,
        unknown: serde_json::Map::new(),
    })
}

/// An index whose first lists have all arrived, with these accounts and one signing key.
///
/// # Errors
/// None.
pub fn index(accounts: &[(AccountFacts, RecordFacts)]) -> anyhow::Result<Arc<Index>> {
    index_of(
        accounts.iter().map(|(account, _)| Item::Account(account.clone())).collect(),
        accounts.iter().map(|(_, record)| Item::Record(record.clone())).collect(),
    )
}

/// The same, from the two lists.
///
/// # Errors
/// None.
pub fn index_of(accounts: Vec<Item>, records: Vec<Item>) -> anyhow::Result<Arc<Index>> {
    let index = Index::new(Feed::all(&[]));
    let (mut accounts, mut records) = (Some(accounts), Some(records));
    for feed in Feed::all(&[]) {
        let items = match feed.kind {
            Kind::Accounts => accounts.take().unwrap_or_default(),
            Kind::Records => records.take().unwrap_or_default(),
            Kind::Keys => vec![signing_key()?],
            Kind::Issuers | Kind::Groups => Vec::new(),
        };
        let begun = index.begin_list();
        let listing = Listing { items, unreadable: HashSet::new(), revision: 1.into(), begun, time: SystemClock.now() };
        index.reset(&feed, listing);
    }
    Ok(Arc::new(index))
}

fn signing_key() -> anyhow::Result<Item> {
    let content = [("legacy-current".to_owned(), Zeroizing::new(KEY.to_vec()))].into();
    Ok(Item::Keys(Box::new(KeyFacts { issuer: "default".into(), keys: Arc::new(Keys::parse(content)) })))
}

/// The gateway itself.
///
/// # Errors
/// When there is no randomness.
pub fn app(
    index: &Arc<Index>,
    live: Arc<dyn Live>,
    body_time: Option<std::time::Duration>,
    metrics: Arc<Metrics>,
) -> anyhow::Result<App> {
    app_behind(Clients::default(), index, live, body_time, metrics)
}

/// The gateway itself, behind proxies.
///
/// # Errors
/// When there is no randomness.
pub fn app_behind(
    clients: Clients,
    index: &Arc<Index>,
    live: Arc<dyn Live>,
    body_time: Option<std::time::Duration>,
    metrics: Arc<Metrics>,
) -> anyhow::Result<App> {
    let dependencies = Dependencies {
        foreign: Default::default(),
        clients,
        ledger: Arc::default(),
        entropy: Arc::new(Gathered::from(SystemEntropy)),
        external_url: "https://localhost:31443".into(),
        accounts: index.clone(),
        live,
        clock: Arc::new(SystemClock),
        max_stale: TimeDelta::hours(1),
        pace: Pace::default(),
        body_time: body_time.unwrap_or(BODY_TIME),
        even_time: EVEN_TIME,
        metrics,
    };
    Ok(App::new(dependencies)?)
}

/// What the API server would say.
pub struct FakeLive {
    known: Mutex<HashMap<String, (AccountFacts, RecordFacts)>>,
    away: bool,
}

impl FakeLive {
    /// Knows these accounts; gives no answers when it is `away`.
    pub fn new(accounts: &[(AccountFacts, RecordFacts)], away: bool) -> Self {
        let known = accounts.iter().map(|pair| (pair.0.owner.uid.clone(), pair.clone())).collect();
        Self { known: Mutex::new(known), away }
    }

    fn answer<T: Send + 'static>(
        &self,
        read: impl FnOnce(&HashMap<String, (AccountFacts, RecordFacts)>) -> T,
    ) -> BoxFuture<'static, Result<T, LiveError>> {
        let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let result = if self.away { Err(LiveError::Late) } else { Ok(read(&known)) };
        std::future::ready(result).boxed()
    }
}

impl Live for FakeLive {
    fn account<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Option<AccountFacts>, LiveError>> {
        self.answer(|known| known.get(&owner.uid).map(|(account, _)| account.clone()))
    }

    fn record<'a>(&'a self, uid: &'a str) -> BoxFuture<'a, Result<Option<RecordFacts>, LiveError>> {
        self.answer(|known| known.get(uid).map(|(_, record)| record.clone()))
    }

    fn records<'a>(&'a self, labels: &'a [String]) -> BoxFuture<'a, Result<Labelled, LiveError>> {
        self.answer(|known| {
            let carries = |record: &&RecordFacts| record.client_ids().any(|id| labels.contains(&client_id_label(id)));
            let records = known.values().map(|(_, record)| record).filter(carries).cloned().collect();
            Labelled { records, unreadable: HashSet::new() }
        })
    }
}
