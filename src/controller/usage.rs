//! Brings what gateways report of uses into status, under one write budget for all accounts: the first use of a version
//! at once, the rest stalest first.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::context::Context;
use super::observe::parse_record;
use crate::api::{ServiceAccount, Timestamp};
use crate::domain::names;
use crate::domain::record::Owner;
use crate::domain::usage::{Report, Uses, merge};
use crate::watch;

/// Reported uses on their way into status.
#[derive(Default)]
pub struct Board {
    waiting: Mutex<HashMap<String, Uses>>,
    admitted: Mutex<HashMap<String, Uses>>,
    arrived: Notify,
}

impl Board {
    /// What the next status of an account may tell.
    pub fn admitted(&self, uid: &str) -> Uses {
        self.admitted.lock().get(uid).cloned().unwrap_or_default()
    }

    /// The status tells of these now.
    pub fn shown(&self, uid: &str, uses: &Uses) {
        let mut admitted = self.admitted.lock();
        if admitted.get(uid).is_some_and(|known| known == uses) {
            admitted.remove(uid);
        }
    }

    /// The account is gone.
    pub fn forget(&self, uid: &str) {
        self.waiting.lock().remove(uid);
        self.admitted.lock().remove(uid);
    }

    fn report(&self, report: Report) {
        let mut waiting = self.waiting.lock();
        for (uid, uses) in report.0 {
            merge(waiting.entry(uid).or_default(), &uses);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    fn admit(&self, uid: &str) {
        if let Some(uses) = self.waiting.lock().remove(uid) {
            merge(self.admitted.lock().entry(uid.to_owned()).or_default(), &uses);
        }
    }
}

/// Watches the reports of all gateways.
pub async fn keep_reading(context: Arc<Context>) {
    let api: Api<DeserializeGuard<ConfigMap>> =
        Api::namespaced(context.client.clone(), &context.settings.operator_namespace);
    let reports = watch::config().labels(&format!("{}=true", names::LABEL_USAGE));
    let events = watch::events(api, reports, "usage reports");
    events
        .for_each(|event| {
            if let Event::Apply(object) | Event::InitApply(object) = event {
                let text = object.data.as_ref().and_then(|data| data.get(names::USAGE_KEY));
                match Report::parse(text.map_or("", String::as_str)) {
                    Ok(report) => context.usage.report(report),
                    Err(error) => tracing::warn!(report = object.metadata.name, %error, "a usage report is left out"),
                }
            }
            futures::future::ready(())
        })
        .await;
}

/// Admits first uses as they come, and one other account each time the budget allows.
pub async fn keep_merging(
    context: Arc<Context>,
    per_second: NonZeroU32,
    look_at: impl Fn(ObjectRef<ServiceAccount>) + Send,
) {
    let mut budget = tokio::time::interval(Duration::from_secs(1) / per_second.get());
    budget.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = context.usage.arrived.notified() => {
                for owner in first_uses(&context) {
                    admit(&context, &owner, &look_at);
                }
            }
            _ = budget.tick() => {
                if let Some(owner) = stalest(&context) {
                    admit(&context, &owner, &look_at);
                }
            }
        }
    }
}

fn admit(context: &Context, owner: &Owner, look_at: &impl Fn(ObjectRef<ServiceAccount>)) {
    context.usage.admit(&owner.uid);
    look_at(ObjectRef::new(&owner.name).within(&owner.namespace));
}

/// Accounts of which a version was used whose use no status shows.
fn first_uses(context: &Context) -> Vec<Owner> {
    let waiting = context.usage.waiting.lock().clone();
    let first = |(uid, uses): (String, Uses)| {
        let (owner, account) = account_of(context, &uid)?;
        let credentials = account.status.as_ref().map(|status| status.credentials.as_slice()).unwrap_or_default();
        let unseen = credentials.iter().any(|c| c.first_used_time.is_none() && uses.contains_key(&c.version));
        unseen.then_some(owner)
    };
    waiting.into_iter().filter_map(first).collect()
}

/// The waiting account whose status has been silent for longest. What status shows already stops waiting; an account that
/// the watches do not have (yet) waits until it is there, or its record is buried.
fn stalest(context: &Context) -> Option<Owner> {
    let mut best: Option<(Option<Timestamp>, Owner)> = None;
    context.usage.waiting.lock().retain(|uid, uses| {
        let Some((owner, account)) = account_of(context, uid) else { return true };
        let status = account.status.clone().unwrap_or_default();
        let news = uses.iter().any(|(version, used)| match status.credentials.iter().find(|c| c.version == *version) {
            Some(credential) => !used.is_shown_by(credential),
            None => status.last_access_time < Some(used.last),
        });
        if news && best.as_ref().is_none_or(|(time, _)| status.last_access_time < *time) {
            best = Some((status.last_access_time, owner));
        }
        news
    });
    best.map(|(_, owner)| owner)
}

/// An account by its UID, through its record.
fn account_of(context: &Context, uid: &str) -> Option<(Owner, Arc<ServiceAccount>)> {
    let key = ObjectRef::new(&names::record(uid)).within(&context.settings.operator_namespace);
    let record = parse_record(context.stores.records.get(&key)?.as_ref()).ok()?;
    let account = context.account(&record.account.namespace, &record.account.name)?;
    (account.metadata.uid.as_deref() == Some(uid)).then_some((record.account, account))
}
