//! When to look at an account again though nothing happened. On our own clock, so that a test can step a year.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kube::runtime::reflector::ObjectRef;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::api::{ServiceAccount, Timestamp};
use crate::clock::SharedClock;

type Key = (String, String);

/// One deadline for each account.
pub struct Deadlines {
    clock: SharedClock,
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    by_key: HashMap<Key, Timestamp>,
    by_time: BTreeSet<(Timestamp, Key)>,
}

impl Queue {
    fn set(&mut self, key: &Key, time: Option<Timestamp>) {
        if let Some(old) = self.by_key.remove(key) {
            self.by_time.remove(&(old, key.clone()));
        }
        if let Some(time) = time {
            self.by_key.insert(key.clone(), time);
            self.by_time.insert((time, key.clone()));
        }
    }

    fn take_due(&mut self, now: Timestamp) -> Option<Key> {
        let (time, key) = self.by_time.first().cloned()?;
        (time <= now).then(|| self.set(&key, None)).map(|()| key)
    }

    fn next_time(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(time, _)| *time)
    }
}

impl Deadlines {
    /// No deadlines yet.
    pub fn new(clock: SharedClock) -> Arc<Self> {
        Arc::new(Self { clock, queue: Mutex::default(), changed: Notify::new() })
    }

    /// Sets an account's deadline, or takes it away.
    pub fn set(&self, namespace: &str, name: &str, time: Option<Timestamp>) {
        self.queue.lock().set(&(namespace.to_owned(), name.to_owned()), time);
        self.changed.notify_one();
    }

    /// The first deadline of all.
    pub fn next_time(&self) -> Option<Timestamp> {
        self.queue.lock().next_time()
    }

    /// Tells of the accounts that are due, each once for each deadline, for ever. In one step with taking the deadline
    /// away, so that who looks finds the account either here or with those who were told.
    pub async fn tell(&self, tell: impl Fn(ObjectRef<ServiceAccount>)) {
        loop {
            let changed = self.changed.notified();
            let first = {
                let mut queue = self.queue.lock();
                while let Some((namespace, name)) = queue.take_due(self.clock.timestamp()) {
                    tell(ObjectRef::new(&name).within(&namespace));
                }
                queue.next_time()
            };
            match first {
                Some(time) => tokio::select! {
                    () = self.clock.wait_until(time.at()) => {}
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use chrono::{DateTime, TimeDelta};

    /// Runs until there is nothing left to do without another deadline, and returns who was told of.
    async fn told(deadlines: &Deadlines) -> Vec<String> {
        let told = Mutex::new(Vec::new());
        let telling = deadlines.tell(|account| told.lock().push(account.name));
        assert!(futures::poll!(Box::pin(telling)).is_pending());
        told.into_inner()
    }

    #[tokio::test]
    async fn an_account_is_due_at_its_last_set_deadline_and_only_once() {
        let clock = ManualClock::at(DateTime::from_timestamp(1_000, 0).unwrap());
        let start = clock.timestamp();
        let deadlines = Deadlines::new(Arc::new(clock.clone()));
        deadlines.set("shop", "a", Some(start.saturating_add(TimeDelta::seconds(5))));
        deadlines.set("shop", "a", Some(start.saturating_add(TimeDelta::seconds(10))));
        assert_eq!(deadlines.next_time(), Some(start.saturating_add(TimeDelta::seconds(10))));
        assert!(told(&deadlines).await.is_empty());
        clock.advance(TimeDelta::seconds(9));
        assert!(told(&deadlines).await.is_empty());
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(told(&deadlines).await, ["a"]);
        clock.advance(TimeDelta::days(400));
        assert!(told(&deadlines).await.is_empty());
    }

    #[tokio::test]
    async fn a_deadline_that_is_set_while_waiting_is_seen() {
        let clock = ManualClock::at(DateTime::from_timestamp(1_000, 0).unwrap());
        let deadlines = Deadlines::new(Arc::new(clock.clone()));
        let told = Mutex::new(Vec::new());
        let mut telling = Box::pin(deadlines.tell(|account| told.lock().push(account.name)));
        assert!(futures::poll!(&mut telling).is_pending());
        deadlines.set("shop", "a", Some(clock.timestamp()));
        deadlines.set("shop", "b", Some(clock.timestamp().saturating_add(TimeDelta::seconds(1))));
        assert!(futures::poll!(&mut telling).is_pending());
        assert_eq!(*told.lock(), ["a"]);
        clock.advance(TimeDelta::seconds(1));
        assert!(futures::poll!(&mut telling).is_pending());
        assert_eq!(*told.lock(), ["a", "b"]);
    }
}
