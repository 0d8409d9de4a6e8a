//! What is known of one kind of object, and which news wins: watches tell a story in order but late; live reads are
//! fresh but come at any moment.
//!
//! ```text
//!               watch: r5 ────────── r6 ─────────── r7 (deleted)
//! live read:            r7? no: gone once r7 was told │ r8: taken, the watch will tell r8 too
//! ```

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::facts::{AccountFacts, RecordFacts, Revision};

/// Something that a [`Table`] can hold.
pub(super) trait Fact {
    /// What identifies it for ever.
    fn key(&self) -> &str;
    /// Its `resourceVersion`.
    fn revision(&self) -> Revision;
}

impl Fact for AccountFacts {
    fn key(&self) -> &str {
        &self.owner.uid
    }
    fn revision(&self) -> Revision {
        self.revision
    }
}

impl Fact for RecordFacts {
    fn key(&self) -> &str {
        &self.owner.uid
    }
    fn revision(&self) -> Revision {
        self.revision
    }
}

/// A moment in the index's own life, counted in lists begun. Tells whether a live read came before or after a list.
pub(super) type Epoch = u64;

#[derive(Debug)]
struct Held<T> {
    fact: Arc<T>,
    /// Set while it is ahead of the watch: the epoch of the live read that brought it.
    ahead: Option<Epoch>,
}

/// All known objects of one kind.
#[derive(Debug)]
pub(super) struct Table<T> {
    held: HashMap<String, Held<T>>,
    buried: Buried,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { held: HashMap::new(), buried: Buried::default() }
    }
}

/// A complete list, as [`Table::reset`] takes it.
pub(super) struct Complete<'a, T> {
    pub(super) facts: Vec<T>,
    /// Keys of listed objects that could not be read: what was known of them stays.
    pub(super) unreadable: &'a HashSet<String>,
    /// The list's own `resourceVersion`.
    pub(super) revision: Revision,
    /// When the list began.
    pub(super) begun: Epoch,
}

impl<T: Fact> Table<T> {
    pub(super) fn get(&self, key: &str) -> Option<&Arc<T>> {
        self.held.get(key).map(|held| &held.fact)
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// The watch tells of an object. It wins, unless a live read is ahead of it.
    pub(super) fn apply(&mut self, fact: T) {
        if self.ahead_of(fact.key(), fact.revision()) {
            return;
        }
        self.buried.dig_up(fact.key());
        self.held.insert(fact.key().to_owned(), Held { fact: Arc::new(fact), ahead: None });
    }

    /// A live read found an object. It is taken if it is newer than what is known, and never brings back what the watch
    /// saw deleted.
    pub(super) fn offer(&mut self, fact: T, epoch: Epoch) -> bool {
        let key = fact.key();
        let dead = self.buried.get(key).is_some_and(|end| !fact.revision().is_after(end));
        let stale = self.held.get(key).is_some_and(|held| fact.revision().is_not_after(held.fact.revision()));
        if dead || stale {
            return false;
        }
        self.held.insert(key.to_owned(), Held { fact: Arc::new(fact), ahead: Some(epoch) });
        true
    }

    /// The watch tells of a deletion, at this revision.
    pub(super) fn delete(&mut self, key: &str, at: Revision) {
        if self.ahead_of(key, at) {
            return;
        }
        let last = self.held.remove(key).map_or(at, |held| at.later(held.fact.revision()));
        self.buried.bury(key, last);
    }

    /// A complete list of what `belongs` here: what it does not have is gone, unless a live read found it since.
    pub(super) fn reset(&mut self, list: Complete<'_, T>, belongs: impl Fn(&T) -> bool) -> Vec<String> {
        let Complete { facts, unreadable, revision, begun } = list;
        let listed: HashSet<&str> = facts.iter().map(Fact::key).collect();
        let kept =
            |held: &Held<T>| held.ahead.is_some_and(|epoch| epoch >= begun) && held.fact.revision().is_after(revision);
        let gone: Vec<String> = self
            .held
            .iter()
            .filter(|(key, held)| belongs(&held.fact) && !listed.contains(key.as_str()) && !kept(held))
            .map(|(key, _)| key.clone())
            .filter(|key| !unreadable.contains(key))
            .collect();
        let mut touched: Vec<String> = listed.into_iter().map(str::to_owned).collect();
        for key in &gone {
            let last = self.held.remove(key).map_or(revision, |held| revision.later(held.fact.revision()));
            self.buried.bury(key, last);
        }
        for fact in facts {
            if !self.held.get(fact.key()).is_some_and(&kept) {
                self.buried.dig_up(fact.key());
                self.held.insert(fact.key().to_owned(), Held { fact: Arc::new(fact), ahead: None });
            }
        }
        touched.extend(gone);
        touched
    }

    fn ahead_of(&self, key: &str, revision: Revision) -> bool {
        self.held.get(key).is_some_and(|held| held.ahead.is_some() && held.fact.revision().is_after(revision))
    }
}

/// How many deletions are remembered. They matter only to live reads under way, so seconds would do; at 250 bytes each
/// this is a megabyte.
const REMEMBERED: usize = 4096;

/// The dead, each with the last revision that may not come back.
#[derive(Debug, Default)]
struct Buried {
    ends: HashMap<String, Revision>,
    order: VecDeque<String>,
}

impl Buried {
    fn get(&self, key: &str) -> Option<Revision> {
        self.ends.get(key).copied()
    }

    fn bury(&mut self, key: &str, end: Revision) {
        if self.ends.insert(key.to_owned(), end).is_some() {
            return;
        }
        self.order.push_back(key.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ends.remove(&oldest);
        }
    }

    fn dig_up(&mut self, key: &str) {
        if self.ends.remove(key).is_some() {
            self.order.retain(|buried| buried != key);
        }
    }
}
