//! Accounts joined with their records, found by client ID.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::facts::{AccountFacts, RecordFacts, Revision};
use super::table::{Complete, Epoch, Table};
use super::world::World;
use crate::domain::account::Seniority;

/// An account that can be served: its custom resource and its record, of the same UID.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The custom resource.
    pub account: Arc<AccountFacts>,
    /// The record.
    pub record: Arc<RecordFacts>,
}

impl Entry {
    /// Every client ID by which it is found.
    fn client_ids(&self) -> HashSet<Arc<str>> {
        let of_account = self.account.external_client_id.as_deref().map(Arc::from);
        self.record.client_ids().cloned().chain(of_account).collect()
    }

    /// The older of two holds a client ID that both name.
    fn seniority(&self) -> Seniority<'_> {
        Seniority::new(self.account.created, &self.account.owner.uid)
    }
}

/// Both tables and what follows from them.
#[derive(Debug, Default)]
pub(super) struct Joined {
    accounts: Table<AccountFacts>,
    records: Table<RecordFacts>,
    entries: HashMap<String, Arc<Entry>>,
    /// By client ID, the oldest first.
    holders: HashMap<Arc<str>, SmallVec<[Arc<Entry>; 1]>, RandomState>,
}

impl Joined {
    pub(super) fn entry(&self, uid: &str) -> Option<Arc<Entry>> {
        self.entries.get(uid).cloned()
    }

    pub(super) fn apply_account(&mut self, facts: AccountFacts) {
        let uid = facts.owner.uid.clone();
        self.accounts.apply(facts);
        self.rejoin(&uid);
    }

    pub(super) fn apply_record(&mut self, facts: RecordFacts) {
        let uid = facts.owner.uid.clone();
        self.records.apply(facts);
        self.rejoin(&uid);
    }

    pub(super) fn offer_account(&mut self, facts: AccountFacts, epoch: Epoch) {
        let uid = facts.owner.uid.clone();
        if self.accounts.offer(facts, epoch) {
            self.rejoin(&uid);
        }
    }

    pub(super) fn offer_record(&mut self, facts: RecordFacts, epoch: Epoch) {
        let uid = facts.owner.uid.clone();
        if self.records.offer(facts, epoch) {
            self.rejoin(&uid);
        }
    }

    pub(super) fn delete_account(&mut self, uid: &str, at: Revision) {
        self.accounts.delete(uid, at);
        self.rejoin(uid);
    }

    pub(super) fn delete_record(&mut self, uid: &str, at: Revision) {
        self.records.delete(uid, at);
        self.rejoin(uid);
    }

    /// `namespace`: the one that was listed; all of them when there is none.
    pub(super) fn reset_accounts(&mut self, list: Complete<'_, AccountFacts>, namespace: Option<&str>) {
        let belongs = |facts: &AccountFacts| namespace.is_none_or(|name| facts.owner.namespace == name);
        for uid in self.accounts.reset(list, belongs) {
            self.rejoin(&uid);
        }
    }

    pub(super) fn reset_records(&mut self, list: Complete<'_, RecordFacts>) {
        for uid in self.records.reset(list, |_| true) {
            self.rejoin(&uid);
        }
    }

    /// The oldest account of `issuer` that holds the client ID.
    pub(super) fn find(&self, world: &World, issuer: &str, client_id: &str) -> Option<Arc<Entry>> {
        let of_issuer = |entry: &&Arc<Entry>| {
            world.issuer_of_namespace(&entry.account.owner.namespace).is_some_and(|found| found.name == issuer)
        };
        self.holders.get(client_id)?.iter().find(of_issuer).cloned()
    }

    /// Numbers of custom resources, of records, and of accounts that have both.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.accounts.len(), self.records.len(), self.entries.len())
    }

    fn rejoin(&mut self, uid: &str) {
        let joined = match (self.accounts.get(uid), self.records.get(uid)) {
            (Some(account), Some(record)) => Some(Entry { account: account.clone(), record: record.clone() }),
            _ => None,
        };
        if let Some(old) = self.entries.remove(uid) {
            self.forget(&old);
        }
        if let Some(entry) = joined.map(Arc::new) {
            for client_id in entry.client_ids() {
                let holders = self.holders.entry(client_id).or_default();
                let place = holders.partition_point(|other| other.seniority() < entry.seniority());
                holders.insert(place, entry.clone());
            }
            self.entries.insert(uid.to_owned(), entry);
        }
    }

    fn forget(&mut self, old: &Entry) {
        for client_id in old.client_ids() {
            if let Some(holders) = self.holders.get_mut(&client_id) {
                holders.retain(|holder| holder.account.owner.uid != old.account.owner.uid);
                if holders.is_empty() {
                    self.holders.remove(&client_id);
                }
            }
        }
    }
}
