//! What the watches know: accounts, tombstones, groups and issuers, each kind replaced as a whole by a new list.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use super::query::Query;
use super::row::{AccountState, Row};
use crate::api::{Timestamp, TokenIssuer, UserGroup};
use crate::domain::issuer::{Issuer, Issuers};

/// One kind of object from one watch, by a key of its own.
#[derive(Debug)]
pub(super) struct Kept<T> {
    held: RwLock<HashMap<String, Arc<T>>>,
    listed: std::sync::atomic::AtomicBool,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { held: RwLock::default(), listed: std::sync::atomic::AtomicBool::new(false) }
    }
}

impl<T> Kept<T> {
    pub(super) fn apply(&self, key: String, value: T) {
        self.held.write().insert(key, Arc::new(value));
    }

    pub(super) fn delete(&self, key: &str) {
        self.held.write().remove(key);
    }

    pub(super) fn reset(&self, all: HashMap<String, Arc<T>>) {
        *self.held.write() = all;
        self.listed.store(true, std::sync::atomic::Ordering::Release);
    }

    pub(super) fn is_listed(&self) -> bool {
        self.listed.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// Everything that the console knows without asking.
#[derive(Debug)]
pub struct Holdings {
    /// One for each watched namespace, or one for all.
    pub(super) accounts: Vec<Arc<Kept<Row>>>,
    pub(super) tombstones: Arc<Kept<Row>>,
    pub(super) groups: Arc<Kept<UserGroup>>,
    pub(super) issuers: Arc<Kept<TokenIssuer>>,
}

impl Holdings {
    /// Empty, for so many watches of accounts.
    #[must_use]
    pub fn new(watches: usize) -> Self {
        Self {
            accounts: (0..watches).map(|_| Arc::default()).collect(),
            tombstones: Arc::default(),
            groups: Arc::default(),
            issuers: Arc::default(),
        }
    }

    /// Lists that have not arrived yet.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let lists = [
            ("serviceaccounts", self.accounts.iter().all(|kept| kept.is_listed())),
            ("tombstones", self.tombstones.is_listed()),
            ("usergroups", self.groups.is_listed()),
            ("tokenissuers", self.issuers.is_listed()),
        ];
        lists.into_iter().filter(|(_, listed)| !listed).map(|(what, _)| format!("{what} are not listed yet")).collect()
    }

    /// The rows that pass the query and that `sees` lets through, in the query's order.
    #[must_use]
    pub fn find(&self, query: &Query, now: Timestamp, sees: impl Fn(&Row) -> bool) -> Vec<Arc<Row>> {
        let wanted = query.filter(now);
        let mut found = Vec::new();
        for kept in self.rows() {
            // The cheap test first: most queries narrow, and most people see all.
            found.extend(kept.held.read().values().filter(|row| sees(row) && wanted(row)).cloned());
        }
        found.sort_unstable_by(|a, b| query.compare(a, b));
        found
    }

    /// How an account stands; none when there is neither an account nor a tombstone of that UID.
    #[must_use]
    pub fn state_of(&self, uid: &str) -> Option<AccountState> {
        self.rows().find_map(|kept| kept.held.read().get(uid).map(|row| row.account))
    }

    /// Every namespace that has, or had, an account.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for kept in self.rows() {
            for row in kept.held.read().values() {
                if !names.contains(&row.namespace) {
                    names.insert(row.namespace.clone());
                }
            }
        }
        names
    }

    fn rows(&self) -> impl Iterator<Item = &Arc<Kept<Row>>> {
        self.accounts.iter().chain([&self.tombstones])
    }

    /// How many accounts and tombstones there are.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.accounts.iter().map(|kept| kept.held.read().len()).sum(), self.tombstones.held.read().len())
    }

    /// All groups, by name.
    #[must_use]
    pub fn groups(&self) -> Vec<Arc<UserGroup>> {
        let mut groups: Vec<_> = self.groups.held.read().values().cloned().collect();
        groups.sort_unstable_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        groups
    }

    /// The issuer that serves a namespace.
    #[must_use]
    pub fn issuer_of(&self, namespace: &str) -> Option<Issuer> {
        let issuers = self.issuers.held.read();
        Issuers::from_objects(issuers.values().map(|issuer| &**issuer)).of_namespace(namespace).cloned()
    }

    /// Puts a row in by hand, for tests and measurements.
    pub fn insert(&self, row: Row) {
        let kept = if row.is_alive() { self.accounts.first() } else { Some(&self.tombstones) };
        if let Some(kept) = kept {
            kept.apply(row.uid.clone(), row);
        }
    }
}
