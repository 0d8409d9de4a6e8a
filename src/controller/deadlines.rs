//! When to look at an account again though nothing happened. On our own clock, so that a test can step a year.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::Stream;
use futures::stream::unfold;
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

    /// The accounts that are due, each once for each deadline, for ever.
    pub fn due(self: Arc<Self>) -> impl Stream<Item = ObjectRef<ServiceAccount>> + Send {
        unfold(self, |deadlines| async move {
            let (namespace, name) = deadlines.next().await;
            Some((ObjectRef::new(&name).within(&namespace), deadlines))
        })
    }

    async fn next(&self) -> Key {
        loop {
            let changed = self.changed.notified();
            let first = {
                let mut queue = self.queue.lock();
                if let Some(key) = queue.take_due(self.clock.timestamp()) {
                    return key;
                }
                queue.by_time.first().map(|(time, _)| *time)
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
    use futures::{FutureExt, StreamExt};

    #[tokio::test]
    async fn an_account_is_due_at_its_last_set_deadline_and_only_once() {
        let clock = ManualClock::at(DateTime::from_timestamp(1_000, 0).unwrap());
        let start = clock.timestamp();
        let deadlines = Deadlines::new(Arc::new(clock.clone()));
        deadlines.set("shop", "a", Some(start.saturating_add(TimeDelta::seconds(5))));
        deadlines.set("shop", "a", Some(start.saturating_add(TimeDelta::seconds(10))));
        let mut due = Box::pin(deadlines.clone().due());
        assert!(due.next().now_or_never().is_none());
        clock.advance(TimeDelta::seconds(9));
        assert!(due.next().now_or_never().is_none());
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(due.next().await.map(|account| account.name), Some("a".into()));
        clock.advance(TimeDelta::days(400));
        assert!(due.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_deadline_that_is_set_while_waiting_is_seen() {
        let clock = ManualClock::at(DateTime::from_timestamp(1_000, 0).unwrap());
        let deadlines = Deadlines::new(Arc::new(clock.clone()));
        let mut due = Box::pin(deadlines.clone().due());
        let mut next = due.next();
        assert!(futures::poll!(&mut next).is_pending());
        deadlines.set("shop", "a", Some(clock.timestamp()));
        assert_eq!(next.await.map(|account| account.name), Some("a".into()));
    }
}
