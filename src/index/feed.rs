//! The watches that fill an [`Index`]: list, then watch, each feed on its own with its own back-off.
//!
//! Not kube's `watcher`: it hides bookmarks and the ends of watches, by which a quiet watch is told from a dead one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{FutureExt, TryStreamExt, future::BoxFuture, pin_mut};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::DeserializeGuard;
use kube::{Api, Client, Resource};
use rand::TryRng;
use rand::rngs::SysRng;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::{FactsError, Feed, Index, Item, KeyFacts, Kind, Listing, RecordFacts, Revision};
use crate::api::{TYPE_RECORD, TYPE_SIGNING_KEYS};
use crate::clock::SharedClock;
use crate::config::{CALL_TIMEOUT, WATCH_TIMEOUT};

/// Objects asked for at once: client-go's page size.
const PAGE: u32 = 500;

/// A watch that is silent this long after it should have ended is dead: 35 s, so that nothing is stale unnoticed for 40.
const SILENCE: Duration = Duration::from_secs(5);

/// Feeds the index for ever; ends only when dropped.
pub async fn run(client: Client, operator_namespace: String, index: Arc<Index>, clock: SharedClock) {
    let feeds: Vec<Feed> = index.progress().iter().map(|progress| progress.feed.clone()).collect();
    let follow = |feed: Feed| -> BoxFuture<'static, ()> {
        let (client, index, clock) = (client.clone(), index.clone(), clock.clone());
        let ours: Api<DeserializeGuard<Secret>> = Api::namespaced(client.clone(), &operator_namespace);
        let of_type = |name: &str| Some(format!("type={name}"));
        match (feed.kind, &feed.namespace) {
            (Kind::Accounts, namespace) => {
                let api = match namespace {
                    Some(name) => Api::namespaced(client, name),
                    None => Api::all(client),
                };
                Follower { api, feed, fields: None, key: uid, parse: account, index, clock }.run().boxed()
            }
            (Kind::Records, _) => {
                let fields = of_type(TYPE_RECORD);
                Follower { api: ours, feed, fields, key: record_uid, parse: record, index, clock }.run().boxed()
            }
            (Kind::Keys, _) => {
                let fields = of_type(TYPE_SIGNING_KEYS);
                Follower { api: ours, feed, fields, key: keys_issuer, parse: keys, index, clock }.run().boxed()
            }
            (Kind::Issuers, _) => {
                let api = Api::all(client);
                Follower { api, feed, fields: None, key: name, parse: issuer, index, clock }.run().boxed()
            }
            (Kind::Groups, _) => {
                let api = Api::all(client);
                Follower { api, feed, fields: None, key: name, parse: group, index, clock }.run().boxed()
            }
        }
    };
    join_all(feeds.into_iter().map(follow)).await;
}

fn account(object: crate::api::ServiceAccount) -> Result<Item, FactsError> {
    Ok(Item::Account(object.into()))
}

fn record(object: Secret) -> Result<Item, FactsError> {
    RecordFacts::parse(&object).map(Item::Record)
}

fn keys(object: Secret) -> Result<Item, FactsError> {
    let facts = KeyFacts::parse(object)?;
    for problem in &facts.keys.problems {
        warn!(issuer = facts.issuer, %problem, "a signing key is left out: the others go on");
    }
    Ok(Item::Keys(Box::new(facts)))
}

fn issuer(mut object: crate::api::TokenIssuer) -> Result<Item, FactsError> {
    object.metadata.managed_fields = None;
    object.metadata.annotations = None;
    object.status = None;
    Ok(Item::Issuer(Box::new(object)))
}

fn group(object: crate::api::UserGroup) -> Result<Item, FactsError> {
    Ok(Item::Group(Box::new(object)))
}

fn uid(meta: &ObjectMeta) -> String {
    meta.uid.clone().unwrap_or_default()
}

fn name(meta: &ObjectMeta) -> String {
    meta.name.clone().unwrap_or_default()
}

fn record_uid(meta: &ObjectMeta) -> String {
    let name = name(meta);
    name.strip_prefix("record-").map_or(name.clone(), str::to_owned)
}

fn keys_issuer(meta: &ObjectMeta) -> String {
    let name = name(meta);
    name.strip_prefix("signing-keys-").map_or(name.clone(), str::to_owned)
}

/// Why a feed has to try again.
#[derive(Debug, Error)]
enum Setback {
    #[error("{0}")]
    Api(Box<kube::Error>),
    #[error("the answer cannot be read")]
    Garbled,
    #[error("no answer within {} s", CALL_TIMEOUT.as_secs())]
    NoAnswer,
    #[error("the watch was silent for {} s", (WATCH_TIMEOUT + SILENCE).as_secs())]
    Silent,
    #[error("the watch ended early, twice, without having told anything")]
    Short,
    #[error("the API server no longer knows where the watch stood")]
    Gone,
    #[error("the API server ended the watch: {0}")]
    Refused(String),
    #[error("the list has no resourceVersion")]
    NoRevision,
}

impl Setback {
    /// Whether only a new list helps; else the watch goes on from where it stood.
    fn lost_its_place(&self) -> bool {
        match self {
            Self::Api(error) => matches!(&**error, kube::Error::Api(status) if status.code == 410),
            Self::NoAnswer => false,
            Self::Garbled | Self::Silent | Self::Short | Self::Gone | Self::Refused(_) | Self::NoRevision => true,
        }
    }
}

impl From<kube::Error> for Setback {
    /// serde's messages may quote values, and values here can be secrets: they are left out.
    fn from(error: kube::Error) -> Self {
        if matches!(error, kube::Error::SerdeError(_)) { Self::Garbled } else { Self::Api(Box::new(error)) }
    }
}

struct Follower<K> {
    api: Api<DeserializeGuard<K>>,
    feed: Feed,
    fields: Option<String>,
    /// The index's key of an object, also of one that cannot be read.
    key: fn(&ObjectMeta) -> String,
    parse: fn(K) -> Result<Item, FactsError>,
    index: Arc<Index>,
    clock: SharedClock,
}

impl<K> Follower<K>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    async fn run(self) {
        let mut place: Option<String> = None;
        let mut failures = 0;
        let mut short = 0;
        loop {
            self.index.attempt(&self.feed);
            let step = match &place {
                None => self.list().await,
                Some(from) => self.watch(from.clone(), &mut short).await,
            };
            match step {
                Ok(at) => {
                    if failures > 0 {
                        info!(feed = %self.feed, failures, "the watch works again");
                    }
                    failures = 0;
                    place = Some(at);
                }
                Err(setback) => {
                    self.report(&setback, failures);
                    if setback.lost_its_place() || self.is_old() {
                        place = None;
                    }
                    tokio::time::sleep(pause(failures)).await;
                    failures += 1;
                }
            }
        }
    }

    /// Whether only a list shows soon enough that nothing was missed: a quiet watch has to last for all of its time.
    fn is_old(&self) -> bool {
        let age = self.index.progress_of(&self.feed).map(|progress| progress.age(self.clock.now()));
        age.and_then(|age| age.to_std().ok()).is_none_or(|age| age > WATCH_TIMEOUT + SILENCE)
    }

    /// The first failure in a row is a warning, the others would only repeat it.
    fn report(&self, setback: &Setback, failures: u32) {
        match setback {
            Setback::Gone => info!(feed = %self.feed, "listing again: {setback}"),
            _ if failures == 0 => warn!(feed = %self.feed, error = %setback, "the watch failed and is tried again"),
            _ => debug!(feed = %self.feed, error = %setback, failures, "the watch failed again"),
        }
    }

    async fn list(&self) -> Result<String, Setback> {
        let (begun, time) = (self.index.begin_list(), self.clock.now());
        let mut params = ListParams { field_selector: self.fields.clone(), ..ListParams::default() }.limit(PAGE);
        let (mut items, mut unreadable) = (Vec::new(), HashSet::new());
        loop {
            self.index.attempt(&self.feed);
            let page = timeout(CALL_TIMEOUT, self.api.list(&params)).await.map_err(|_| Setback::NoAnswer)??;
            for object in page.items {
                match self.read(object) {
                    Ok(item) => items.push(item),
                    Err(key) => drop(unreadable.insert(key)),
                }
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                let at = page.metadata.resource_version.filter(|at| !at.is_empty()).ok_or(Setback::NoRevision)?;
                let revision = at.parse().map(u64::into).unwrap_or_default();
                debug!(feed = %self.feed, objects = items.len(), unreadable = unreadable.len(), "listed");
                self.index.reset(&self.feed, Listing { items, unreadable, revision, begun, time });
                return Ok(at);
            }
        }
    }

    /// Watches from a resource version on, for one watch request; returns where it stood at its end.
    async fn watch(&self, from: String, short: &mut u32) -> Result<String, Setback> {
        let params = WatchParams { field_selector: self.fields.clone(), ..WatchParams::default() }
            .timeout(u32::try_from(WATCH_TIMEOUT.as_secs()).unwrap_or(30));
        let started = Instant::now();
        let events = timeout(CALL_TIMEOUT, self.api.watch(&params, &from)).await.map_err(|_| Setback::NoAnswer)??;
        pin_mut!(events);
        let mut place = from;
        let mut told = false;
        loop {
            let next = timeout(WATCH_TIMEOUT + SILENCE, events.try_next()).await;
            let Some(event) = next.map_err(|_| Setback::Silent)?? else {
                break;
            };
            place = self.take(event)?.unwrap_or(place);
            self.index.advance(&self.feed, self.clock.now());
            told = true;
        }
        // A cut connection looks like an end, too: only one that comes when it should proves that nothing was missed.
        if started.elapsed() + Duration::from_secs(1) >= WATCH_TIMEOUT {
            self.index.advance(&self.feed, self.clock.now());
            told = true;
        }
        *short = if told { 0 } else { *short + 1 };
        if *short >= 2 {
            *short = 0;
            return Err(Setback::Short);
        }
        Ok(place)
    }

    /// Returns the place in the history that the event stands for.
    fn take(&self, event: WatchEvent<DeserializeGuard<K>>) -> Result<Option<String>, Setback> {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let place = object.meta().resource_version.clone();
                if let Ok(item) = self.read(object) {
                    self.index.apply(item);
                }
                Ok(place)
            }
            WatchEvent::Deleted(object) => {
                let meta = object.meta();
                self.index.delete(self.feed.kind, &(self.key)(meta), Revision::of(meta));
                Ok(meta.resource_version.clone())
            }
            WatchEvent::Bookmark(bookmark) => Ok(Some(bookmark.metadata.resource_version)),
            WatchEvent::Error(status) if status.code == 410 => Err(Setback::Gone),
            WatchEvent::Error(status) => Err(Setback::Refused(status.message)),
        }
    }

    /// The item, or the key of an object that cannot be read; that one is reported and what was known of it stays.
    fn read(&self, object: DeserializeGuard<K>) -> Result<Item, String> {
        let meta = object.meta().clone();
        let parsed = match object.0 {
            Ok(object) => (self.parse)(object).map_err(|error| error.to_string()),
            // The same about serde's messages.
            Err(_) => Err("it does not have the fields of its kind".to_owned()),
        };
        parsed.map_err(|problem| {
            self.index.skip(&self.feed);
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            let name = meta.name.as_deref().unwrap_or_default();
            warn!(feed = %self.feed, namespace, name, problem, "an object is skipped: it cannot be read");
            (self.key)(&meta)
        })
    }
}

/// 200 ms doubled up to 5 s, so that a feed is back within 10 s of the fault's end; the upper half of each is random,
/// so that replicas do not come back all at once.
fn pause(failures: u32) -> Duration {
    let longest = Duration::from_millis(200 << failures.min(5)).min(Duration::from_secs(5));
    let random = SysRng.try_next_u32().unwrap_or(u32::MAX);
    longest / 2 + longest.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
