//! What a controller still has before it. Prometheus is shown how much; and a test that steps the clock knows by it when
//! all has settled, without a guess at how long that takes.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};

use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use parking_lot::Mutex;

use super::context::Context;
use super::observe::number;
use crate::api::{ServiceAccount, Timestamp};

type Key = (String, String);

/// The work of one controller, over all its terms.
#[derive(Clone, Default)]
pub struct Backlog(Arc<Inner>);

#[derive(Default)]
struct Inner {
    work: Mutex<Work>,
    term: Mutex<Weak<Context>>,
    followed: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Default)]
struct Work {
    waiting: HashSet<Key>,
    under_way: usize,
    begun: u64,
}

/// How much of it there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Accounts that wait for a pass.
    pub waiting: usize,
    /// Passes under way.
    pub under_way: usize,
}

impl Backlog {
    /// A term begins, with a look at everybody.
    pub(super) fn begin(&self, term: &Arc<Context>) {
        *self.0.term.lock() = Arc::downgrade(term);
        self.everybody_asked();
    }

    /// The term is over, and what it had left is another's.
    pub(super) fn end(&self) {
        *self.0.term.lock() = Weak::new();
        let mut work = self.0.work.lock();
        *work = Work { begun: work.begun, ..Work::default() };
    }

    /// All accounts are to be looked at; those that the watches do not have any more never will be.
    pub(super) fn everybody_asked(&self) {
        let Some(term) = self.0.term.lock().upgrade() else { return };
        let accounts = term.stores.accounts.iter().flat_map(Store::state);
        let all = accounts.map(|account| key(account.as_ref())).collect();
        self.0.work.lock().waiting = all;
    }

    /// An account is to be looked at.
    pub(super) fn asked(&self, account: &ObjectRef<ServiceAccount>) {
        self.0.work.lock().waiting.insert((account.namespace.clone().unwrap_or_default(), account.name.clone()));
    }

    /// It is gone, and nobody looks.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.0.work.lock().waiting.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// A pass over it begins, and ends with what is returned, however it ends.
    pub(super) fn pass(&self, account: &ServiceAccount) -> Pass {
        let key = key(account);
        let mut work = self.0.work.lock();
        work.waiting.remove(&key);
        work.under_way += 1;
        work.begun += 1;
        Pass { inner: self.0.clone(), key, again: false }
    }

    /// A watch got this, and those who act on it were told.
    pub(super) fn followed<K: Resource>(&self, watch: &'static str, event: &Event<K>) {
        let (Event::Apply(object) | Event::Delete(object) | Event::InitApply(object)) = event else { return };
        let Some(version) = number(object.meta()) else { return };
        let mut followed = self.0.followed.lock();
        let highest = followed.entry(watch).or_default();
        *highest = version.max(*highest);
    }

    /// How much is left.
    #[must_use]
    pub fn size(&self) -> Size {
        let work = self.0.work.lock();
        Size { waiting: work.waiting.len(), under_way: work.under_way }
    }

    /// When nothing is left to do at `now`, how many passes were begun so far; none while a deadline that has come, a
    /// pass or a notice is outstanding, or while nobody leads.
    #[must_use]
    pub fn settled(&self, now: Timestamp) -> Option<u64> {
        let term = self.0.term.lock().upgrade()?;
        // Deadlines first: one that has come is handed over to those that wait, never to nobody.
        let due = term.deadlines.next_time().is_some_and(|time| time <= now);
        let work = self.0.work.lock();
        let idle = !due && work.waiting.is_empty() && work.under_way == 0 && term.outbox.is_empty();
        idle.then_some(work.begun)
    }

    /// The next moment at which the controller looks at an account by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.0.term.lock().upgrade()?.deadlines.next_time()
    }

    /// The highest `resourceVersion` that a watch told of.
    #[must_use]
    pub fn followed_to(&self, watch: &str) -> u64 {
        self.0.followed.lock().get(watch).copied().unwrap_or_default()
    }
}

fn key(account: &ServiceAccount) -> Key {
    let meta = &account.metadata;
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// A pass under way.
pub(super) struct Pass {
    inner: Arc<Inner>,
    key: Key,
    again: bool,
}

impl Pass {
    /// It failed, and is tried again.
    pub(super) fn failed(&mut self) {
        self.again = true;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut work = self.inner.work.lock();
        // A pass of a term that was cut off may end after the next one has begun.
        work.under_way = work.under_way.saturating_sub(1);
        if self.again {
            work.waiting.insert(std::mem::take(&mut self.key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ServiceAccountSpec;

    fn account() -> ServiceAccount {
        let mut account = ServiceAccount::new("a", ServiceAccountSpec::default());
        account.metadata.namespace = Some("shop".into());
        account
    }

    #[test]
    fn an_account_waits_until_its_pass_begins_and_again_after_one_that_failed() {
        let backlog = Backlog::default();
        let size = |waiting, under_way| Size { waiting, under_way };
        let reference = ObjectRef::from_obj(&account());
        backlog.asked(&reference);
        backlog.asked(&reference);
        assert_eq!(backlog.size(), size(1, 0));
        let mut pass = backlog.pass(&account());
        assert_eq!(backlog.size(), size(0, 1));
        backlog.asked(&reference);
        assert_eq!(backlog.size(), size(1, 1), "asked for during a pass, it waits for another one");
        drop(pass);
        backlog.forget("shop", "a");
        assert_eq!(backlog.size(), size(0, 0));
        pass = backlog.pass(&account());
        pass.failed();
        drop(pass);
        assert_eq!(backlog.size(), size(1, 0));
        backlog.end();
        assert_eq!(backlog.size(), size(0, 0));
    }

    #[test]
    fn a_watch_is_followed_to_the_highest_version_that_it_told_of() {
        let backlog = Backlog::default();
        for version in ["7", "12", "9"] {
            let mut account = account();
            account.metadata.resource_version = Some(version.into());
            backlog.followed("serviceaccounts", &Event::Apply(account));
        }
        assert_eq!((backlog.followed_to("serviceaccounts"), backlog.followed_to("account records")), (12, 0));
    }
}
