//! Who used which credential version and when: noted on every grant, published as one report of this gateway.
//!
//! The report holds only what status does not show yet, so it is empty most of the time, and it is the only thing that a
//! gateway ever writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use chrono::{DateTime, TimeDelta};
use foldhash::fast::RandomState;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::{Mutex, RwLock};
use tracing::warn;

use crate::api::{MANAGED_BY, MANAGER, Timestamp};
use crate::clock::SharedClock;
use crate::config::CALL_TIMEOUT;
use crate::domain::names;
use crate::domain::usage::{EXTERNAL, Report, Use};
use crate::index::{Accounts, Index};

/// How often a report is written at the most.
const PACE: TimeDelta = TimeDelta::seconds(5);

/// Grants since status last told of them.
#[derive(Debug, Default)]
pub struct Ledger(RwLock<HashMap<String, HashMap<i64, Slot, RandomState>, RandomState>>);

#[derive(Debug)]
struct Slot {
    first: Timestamp,
    last: AtomicI64,
}

impl Slot {
    fn new(now: Timestamp) -> Self {
        Self { first: now, last: AtomicI64::new(now.unix()) }
    }

    fn seen(&self) -> Use {
        let last = DateTime::from_timestamp(self.last.load(Relaxed), 0).map_or(self.first, Timestamp::from);
        Use { first: self.first, last }
    }
}

impl Ledger {
    /// A token was granted to a version of an account. Costs two look-ups after the first time.
    pub fn note(&self, uid: &str, version: i64, now: Timestamp) {
        if let Some(slot) = self.0.read().get(uid).and_then(|versions| versions.get(&version)) {
            slot.last.fetch_max(now.unix(), Relaxed);
            return;
        }
        let mut accounts = self.0.write();
        let slot = accounts.entry(uid.to_owned()).or_default().entry(version).or_insert_with(|| Slot::new(now));
        slot.last.fetch_max(now.unix(), Relaxed);
    }

    /// Takes back what an earlier process of the same name had reported and status may not show yet.
    fn restore(&self, report: Report) {
        let mut accounts = self.0.write();
        for (uid, uses) in report.0 {
            let versions = accounts.entry(uid).or_default();
            for (version, Use { first, last }) in uses {
                let slot = versions.entry(version).or_insert_with(|| Slot::new(first));
                slot.first = slot.first.min(first);
                slot.last.fetch_max(last.unix(), Relaxed);
            }
        }
    }

    /// What status does not show yet; what it shows, and accounts that are gone, are forgotten.
    fn unshown(&self, index: &Index) -> Report {
        let mut accounts = self.0.write();
        accounts.retain(|uid, versions| {
            let Some(entry) = index.entry(uid) else { return false };
            let shown = &entry.account.credentials;
            versions.retain(|version, slot| {
                let credential = shown.iter().find(|credential| credential.version == *version);
                match credential {
                    Some(credential) => !slot.seen().is_shown_by(credential),
                    // Of an External account status tells the last access alone.
                    None => *version != EXTERNAL || entry.account.last_access < Some(slot.seen().last),
                }
            });
            !versions.is_empty()
        });
        let uses = |versions: &HashMap<i64, Slot, RandomState>| {
            versions.iter().map(|(number, slot)| (*number, slot.seen())).collect()
        };
        Report(accounts.iter().map(|(uid, versions)| (uid.clone(), uses(versions))).collect())
    }
}

/// Publishes the ledger.
pub struct Publisher {
    ledger: Arc<Ledger>,
    index: Arc<Index>,
    clock: SharedClock,
    api: Api<ConfigMap>,
    name: String,
    published: Mutex<Option<String>>,
}

impl Publisher {
    /// For the gateway called `identity`, which must differ between replicas.
    pub fn new(
        ledger: Arc<Ledger>,
        index: Arc<Index>,
        clock: SharedClock,
        client: Client,
        namespace: &str,
        identity: &str,
    ) -> Self {
        let name = names::usage_report(identity);
        Self { ledger, index, clock, api: Api::namespaced(client, namespace), name, published: Mutex::default() }
    }

    /// Publishes at most every five seconds, and only news.
    pub async fn keep_publishing(&self) {
        self.resume().await;
        loop {
            self.clock.wait_until(self.clock.now() + PACE).await;
            self.publish().await;
        }
    }

    async fn resume(&self) {
        let Ok(Ok(earlier)) = tokio::time::timeout(CALL_TIMEOUT, self.api.get(&self.name)).await else { return };
        let text = earlier.data.and_then(|mut data| data.remove(names::USAGE_KEY)).unwrap_or_default();
        if let Ok(report) = Report::parse(&text) {
            self.ledger.restore(report);
        }
        *self.published.lock() = Some(text);
    }

    /// Publishes now, if there is news. A failure is made up for by the next time.
    pub async fn publish(&self) {
        let text = self.ledger.unshown(&self.index).to_text();
        let before = self.published.lock().clone();
        if before.as_ref() == Some(&text) || (before.is_none() && text.is_empty()) {
            return;
        }
        match tokio::time::timeout(CALL_TIMEOUT, self.write(&text)).await {
            Ok(Ok(())) => *self.published.lock() = Some(text),
            Ok(Err(kube::Error::Api(status))) => {
                warn!(report = self.name, code = status.code, "the usage report could not be written")
            }
            Ok(Err(_)) | Err(_) => warn!(report = self.name, "the usage report could not be written: no answer"),
        }
    }

    async fn write(&self, text: &str) -> kube::Result<()> {
        let labels = [(MANAGED_BY.to_owned(), MANAGER.to_owned()), (names::LABEL_USAGE.to_owned(), "true".to_owned())];
        let data =
            [(names::USAGE_KEY.to_owned(), text.to_owned()), ("time".to_owned(), self.clock.timestamp().to_string())];
        let report = ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(labels.into()),
                ..ObjectMeta::default()
            },
            data: Some(data.into()),
            ..ConfigMap::default()
        };
        match self.api.replace(&self.name, &PostParams::default(), &report).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                self.api.create(&PostParams::default(), &report).await.map(|_| ())
            }
            other => other.map(|_| ()),
        }
    }
}
