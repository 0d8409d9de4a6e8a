//! Watch-fed memory: what the gateway (and the console) know of the cluster without asking it.
//!
//! `endpoint ← Accounts ← Index ← feed`: tests feed an [`Index`] by hand, `feed` runs the watches. Every method here is
//! synchronous and short; a look-up takes two read locks and clones one `Arc`.

mod facts;
#[cfg(test)]
pub(crate) mod fake_server;
pub mod feed;
mod joined;
pub mod live;
mod memo;
mod progress;
mod table;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod world;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::{Mutex, RwLock};

pub use facts::{AccountFacts, FactsError, KeyFacts, RecordFacts, Revision, VersionFacts};
pub use joined::Entry;
pub use progress::{Feed, Kind, Progress};
pub use world::{GroupFacts, World};

use crate::api::{TokenIssuer, UserGroup};
use joined::Joined;
use table::{Complete, Epoch};
use world::Sources;

/// What an endpoint asks of the index.
pub trait Accounts: Send + Sync + 'static {
    /// Issuers, keys and groups at this moment.
    fn world(&self) -> Arc<World>;

    /// The oldest account that holds the client ID, of those in namespaces that `issuer` serves in this world.
    fn find(&self, world: &World, issuer: &str, client_id: &str) -> Option<Arc<Entry>>;

    /// An account that can be served, by its UID.
    fn entry(&self, uid: &str) -> Option<Arc<Entry>>;

    /// Takes what a live read found, if it is news. Only accounts and records are taken.
    fn offer(&self, item: Item);

    /// Whether every feed has delivered its first list, and none was last up to date longer ago than `max_age`.
    fn is_fresh(&self, now: DateTime<Utc>, max_age: TimeDelta) -> bool;
}

/// An object on its way into the index.
#[derive(Clone, Debug)]
pub enum Item {
    /// Of [`Kind::Accounts`].
    Account(AccountFacts),
    /// Of [`Kind::Records`].
    Record(RecordFacts),
    /// Of [`Kind::Keys`].
    Keys(Box<KeyFacts>),
    /// Of [`Kind::Issuers`].
    Issuer(Box<TokenIssuer>),
    /// Of [`Kind::Groups`].
    Group(Box<UserGroup>),
}

/// A complete list of what one feed watches.
#[derive(Debug)]
pub struct Listing {
    /// Its objects.
    pub items: Vec<Item>,
    /// Keys (see [`Index::delete`]) of objects in it that could not be read; what was known of them stays in force.
    pub unreadable: HashSet<String>,
    /// The list's `metadata.resourceVersion`.
    pub revision: Revision,
    /// What [`Index::begin_list`] said before the list was asked for.
    pub begun: Begun,
    /// When it was asked for: it is at least as fresh.
    pub time: DateTime<Utc>,
}

/// Tells a list from the live reads that came after it began.
#[derive(Clone, Copy, Debug)]
pub struct Begun(Epoch);

/// The memory itself.
#[derive(Debug)]
pub struct Index {
    joined: RwLock<Joined>,
    world: RwLock<Arc<World>>,
    sources: Mutex<Sources>,
    progress: Vec<Progress>,
    epoch: AtomicU64,
}

impl Index {
    /// An empty index that these feeds will fill.
    #[must_use]
    pub fn new(feeds: Vec<Feed>) -> Self {
        let sources = Sources::default();
        Self {
            joined: RwLock::default(),
            world: RwLock::new(Arc::new(sources.world())),
            sources: Mutex::new(sources),
            progress: feeds.into_iter().map(Progress::new).collect(),
            epoch: AtomicU64::new(0),
        }
    }

    /// An object was added or changed, says the watch.
    pub fn apply(&self, item: Item) {
        match item {
            Item::Account(facts) => self.joined.write().apply_account(facts),
            Item::Record(facts) => self.joined.write().apply_record(facts),
            other => self.change_world(|sources| insert(sources, other)),
        }
    }

    /// An object was deleted, says the watch. `key` is the account's UID (accounts, records), the issuer's name (keys)
    /// or the object's name (issuers, groups).
    pub fn delete(&self, kind: Kind, key: &str, at: Revision) {
        match kind {
            Kind::Accounts => self.joined.write().delete_account(key, at),
            Kind::Records => self.joined.write().delete_record(key, at),
            Kind::Keys => self.change_world(|sources| drop(sources.keys.remove(key))),
            Kind::Issuers => self.change_world(|sources| drop(sources.issuers.remove(key))),
            Kind::Groups => self.change_world(|sources| drop(sources.groups.remove(key))),
        }
    }

    /// To be called before a list is asked for.
    pub fn begin_list(&self) -> Begun {
        Begun(self.epoch.fetch_add(1, SeqCst) + 1)
    }

    /// A complete list arrived: what it does not have is gone.
    pub fn reset(&self, feed: &Feed, listing: Listing) {
        let Listing { items, unreadable, revision, begun, time } = listing;
        let (mut accounts, mut records, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Account(facts) => accounts.push(facts),
                Item::Record(facts) => records.push(facts),
                other => others.push(other),
            }
        }
        let unreadable = &unreadable;
        match feed.kind {
            Kind::Accounts => self.joined.write().reset_accounts(
                Complete { facts: accounts, unreadable, revision, begun: begun.0 },
                feed.namespace.as_deref(),
            ),
            Kind::Records => {
                let list = Complete { facts: records, unreadable, revision, begun: begun.0 };
                self.joined.write().reset_records(list);
            }
            kind => self.change_world(|sources| {
                match kind {
                    Kind::Keys => sources.keys.retain(|key, _| unreadable.contains(key)),
                    Kind::Issuers => sources.issuers.retain(|key, _| unreadable.contains(key)),
                    _ => sources.groups.retain(|key, _| unreadable.contains(key)),
                }
                others.into_iter().for_each(|item| insert(sources, item));
            }),
        }
        if let Some(progress) = self.progress_of(feed) {
            progress.complete(time);
        }
    }

    /// The watch of `feed` is known to be up to date at `now`: it told something, or ended when it should.
    pub fn advance(&self, feed: &Feed, now: DateTime<Utc>) {
        if let Some(progress) = self.progress_of(feed) {
            progress.advance(now);
        }
    }

    /// `feed` is about to try something, so it does not hang.
    pub fn attempt(&self, feed: &Feed) {
        if let Some(progress) = self.progress_of(feed) {
            progress.attempt();
        }
    }

    /// `feed` met an object that could not be read.
    pub fn skip(&self, feed: &Feed) {
        if let Some(progress) = self.progress_of(feed) {
            progress.skip();
        }
    }

    /// Every feed and how far it is.
    #[must_use]
    pub fn progress(&self) -> &[Progress] {
        &self.progress
    }

    /// Whether every feed has delivered its first complete list.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.progress.iter().all(Progress::is_listed)
    }

    /// Numbers of custom resources, of records, and of accounts that have both.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize, usize) {
        self.joined.read().sizes()
    }

    fn progress_of(&self, feed: &Feed) -> Option<&Progress> {
        self.progress.iter().find(|progress| progress.feed == *feed)
    }

    fn change_world(&self, change: impl FnOnce(&mut Sources)) {
        let mut sources = self.sources.lock();
        change(&mut sources);
        *self.world.write() = Arc::new(sources.world());
    }
}

impl Accounts for Index {
    fn world(&self) -> Arc<World> {
        self.world.read().clone()
    }

    fn find(&self, world: &World, issuer: &str, client_id: &str) -> Option<Arc<Entry>> {
        self.joined.read().find(world, issuer, client_id)
    }

    fn entry(&self, uid: &str) -> Option<Arc<Entry>> {
        self.joined.read().entry(uid)
    }

    fn offer(&self, item: Item) {
        let epoch = self.epoch.load(SeqCst);
        match item {
            Item::Account(facts) => self.joined.write().offer_account(facts, epoch),
            Item::Record(facts) => self.joined.write().offer_record(facts, epoch),
            Item::Keys(_) | Item::Issuer(_) | Item::Group(_) => {}
        }
    }

    fn is_fresh(&self, now: DateTime<Utc>, max_age: TimeDelta) -> bool {
        self.progress.iter().all(|progress| progress.is_listed() && progress.age(now) <= max_age)
    }
}

fn insert(sources: &mut Sources, item: Item) {
    match item {
        Item::Keys(keys) => drop(sources.keys.insert(keys.issuer.clone(), *keys)),
        Item::Issuer(issuer) => {
            drop(sources.issuers.insert(issuer.metadata.name.clone().unwrap_or_default(), *issuer));
        }
        Item::Group(group) => {
            let (name, facts) = world::group_facts(*group);
            drop(sources.groups.insert(name, facts));
        }
        Item::Account(_) | Item::Record(_) => {}
    }
}
