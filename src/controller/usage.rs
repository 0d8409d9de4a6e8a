//! Brings what gateways report of uses into status, under one write budget for all accounts: the first use of a version
//! at once, the rest stalest first.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::calls::{call, find};
use super::context::Context;
use super::error::Error;
use super::observe::parse_record;
use crate::api::{ServiceAccount, ServiceAccountStatus, Timestamp};
use crate::domain::names;
use crate::domain::record::Owner;
use crate::domain::usage::{Report, Uses, merge};
use crate::watch;

/// How long a report that nobody renews is kept.
const KEPT: TimeDelta = TimeDelta::days(1);

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
        let news = !are_shown(uses, &status);
        if news && best.as_ref().is_none_or(|(time, _)| status.last_access_time < *time) {
            best = Some((status.last_access_time, owner));
        }
        news
    });
    best.map(|(_, owner)| owner)
}

fn are_shown(uses: &Uses, status: &ServiceAccountStatus) -> bool {
    uses.iter().all(|(version, used)| match status.credentials.iter().find(|c| c.version == *version) {
        Some(credential) => used.is_shown_by(credential),
        None => status.last_access_time >= Some(used.last),
    })
}

/// Deletes the reports of gateways that are gone: each Pod has a name of its own, and leaves one. A gateway that only had
/// nothing to tell makes it anew.
pub async fn forget_old_reports(context: &Context) -> Result<(), Error> {
    // Before the first list all records would seem to be gone.
    let Some(Ok(())) = context.stores.records.wait_until_ready().now_or_never() else { return Ok(()) };
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &context.settings.operator_namespace);
    let selector = ListParams::default().labels(&format!("{}=true", names::LABEL_USAGE));
    for report in call(|| "list the usage reports".into(), api.list(&selector)).await?.items {
        if !is_over(context, &report) {
            continue;
        }
        let ObjectMeta { name, uid, resource_version, .. } = report.metadata;
        let name = name.unwrap_or_default();
        let parameters =
            DeleteParams { preconditions: Some(Preconditions { uid, resource_version }), ..DeleteParams::default() };
        match find(|| format!("delete the usage report {name}"), api.delete(&name, &parameters)).await {
            Err(error) if !error.is_race() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a report is old, and status shows all that it tells.
fn is_over(context: &Context, report: &ConfigMap) -> bool {
    let field = |key: &str| report.data.as_ref().and_then(|data| data.get(key)).map(String::as_str);
    let written = field("time").and_then(|time| Timestamp::parse(time).ok());
    let old = written.is_some_and(|time| time.saturating_add(KEPT) <= context.clock.timestamp());
    let shown = |(uid, uses): &(String, Uses)| match account_of(context, uid) {
        Some((_, account)) => are_shown(uses, &account.status.clone().unwrap_or_default()),
        None => record_of(context, uid).is_none(),
    };
    old && Report::parse(field(names::USAGE_KEY).unwrap_or_default())
        .is_ok_and(|report| report.0.into_iter().all(|told| shown(&told)))
}

fn record_of(context: &Context, uid: &str) -> Option<Arc<Secret>> {
    context.stores.records.get(&ObjectRef::new(&names::record(uid)).within(&context.settings.operator_namespace))
}

/// An account by its UID, through its record.
fn account_of(context: &Context, uid: &str) -> Option<(Owner, Arc<ServiceAccount>)> {
    let record = parse_record(record_of(context, uid)?.as_ref()).ok()?;
    let account = context.account(&record.account.namespace, &record.account.name)?;
    (account.metadata.uid.as_deref() == Some(uid)).then_some((record.account, account))
}
