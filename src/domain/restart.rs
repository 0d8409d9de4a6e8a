//! `rolloutRestart`: which workloads are to be restarted for which credential version.
//!
//! A restart is due from the moment at which a version becomes the current one, in the same write of the record, until
//! every target has it. The first version of an account restarts nothing: Pods that waited for the Secret start by
//! themselves when it appears. Targets that are added later wait for the next version.

use std::collections::BTreeMap;
use std::fmt;

use kube::core::Selector;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::account::Account;
use super::credential::Reason;
use super::names;
use super::record::Record;
use super::words::{self, Word};
use crate::api::service_account::{RolloutRestart, WorkloadKind};
use crate::api::{ServiceAccountStatus, Timestamp};

/// What `kubectl rollout restart` sets in the Pod template.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Our own mark beside it, one for each account: a workload may use several.
const RESTARTED_FOR: &str = "keyrota.dev/restarted-for-";
/// The condition, when true.
pub const CONDITION: &str = words::RESTART_FAILED.type_();

/// One entry of `spec.rolloutRestart`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Deployment, StatefulSet or DaemonSet.
    pub kind: WorkloadKind,
    /// Which of them.
    pub workloads: Workloads,
}

/// Workloads by name or by label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workloads {
    /// The one of this name.
    Named(String),
    /// All that match, as a label selector is written in a query; empty for all there are.
    Labelled(String),
}

impl Target {
    /// Reads an entry; the error says what is wrong with it.
    ///
    /// # Errors
    /// When it has both or neither of name and selector, or a selector that is none.
    pub fn parse(entry: &RolloutRestart) -> Result<Self, String> {
        let workloads = match (&entry.name, &entry.selector) {
            (Some(name), None) => Workloads::Named(name.clone()),
            (None, Some(selector)) => match Selector::try_from(selector.clone()) {
                Ok(selector) => Workloads::Labelled(selector.to_string()),
                Err(error) => return Err(format!("the selector cannot be used: {error}")),
            },
            _ => return Err("give exactly one of name and selector".into()),
        };
        Ok(Self { kind: entry.kind, workloads })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.workloads {
            Workloads::Named(name) => write!(f, "{:?} {name}", self.kind),
            Workloads::Labelled(labels) if labels.is_empty() => write!(f, "{:?} of any label", self.kind),
            Workloads::Labelled(labels) => write!(f, "{:?} with {labels}", self.kind),
        }
    }
}

/// A restart that is not finished, as it stands in the record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// The credential version that the workloads are to take up.
    pub version: i64,
    /// Workloads that were restarted already. Remembered here besides the mark on the workload, which a GitOps tool may
    /// take off again: else a missing target would make the others restart with every retry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<String>,
    /// Fields of a newer binary, kept.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Notes in the record that retired into a new current version that its workloads are to be restarted.
#[must_use]
pub fn note(mut record: Record, account: &Account) -> Record {
    let next = record.current().filter(|current| current.reason != Reason::Created);
    let version = next.filter(|_| !account.restarts.is_empty()).map(|current| current.version);
    record.restart = version.map(|version| Pending { version, done: Vec::new(), unknown: Map::new() });
    record
}

/// The stamp that is due for an account; none when nothing is, or when its last target was taken out of the spec.
#[must_use]
pub fn due(account: &Account, record: &Record) -> Option<Stamp> {
    let pending = record.restart.as_ref().filter(|_| !account.deleting && !account.restarts.is_empty())?;
    let current = record.current().filter(|current| current.version == pending.version)?;
    let hash = names::name_hash(&account.owner.name);
    Some(Stamp {
        mark: format!("{RESTARTED_FOR}{}", &hash[..10]),
        value: format!("{}/{}", account.owner.uid, current.version),
        restarted_at: current.not_before,
    })
}

/// Takes a workload for done.
#[must_use]
pub fn with_done(mut record: Record, workloads: &[String]) -> Record {
    if let Some(pending) = &mut record.restart {
        pending.done.extend(workloads.iter().filter(|w| !pending.done.contains(w)).cloned().collect::<Vec<_>>());
    }
    record
}

/// Takes the restart for finished.
#[must_use]
pub fn finished(mut record: Record) -> Record {
    record.restart = None;
    record
}

/// The annotations that restart a workload. They follow from the version alone, so writing them twice, or by two
/// controllers, restarts once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    mark: String,
    value: String,
    restarted_at: Timestamp,
}

impl Stamp {
    /// Whether a Pod template has it.
    #[must_use]
    pub fn is_on(&self, annotations: &Value) -> bool {
        annotations.get(&self.mark).and_then(Value::as_str) == Some(&self.value)
    }

    /// The annotations to set in the Pod template.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        [(RESTARTED_AT.to_owned(), self.restarted_at.to_string()), (self.mark.clone(), self.value.clone())].into()
    }
}

/// Why a target has not been restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is no such workload.
    Missing(Target),
    /// The API server refuses it; a retry helps only when somebody mends that.
    Refused(Target, String),
    /// Anything else; may pass by itself.
    Failed(Target, String),
}

impl Problem {
    fn word(&self) -> &'static Word {
        match self {
            Self::Missing(_) => &words::WORKLOAD_MISSING,
            Self::Refused(..) => &words::RESTART_REFUSED,
            Self::Failed(..) => &words::RESTART_FAILED,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(target) => write!(f, "there is no {target}: correct spec.rolloutRestart"),
            Self::Refused(target, why) | Self::Failed(target, why) => {
                write!(f, "{target} could not be restarted: {why}")
            }
        }
    }
}

/// Adds the condition for these problems, or takes it away when there are none.
pub fn report(status: &mut ServiceAccountStatus, old: &ServiceAccountStatus, problems: &[Problem], now: Timestamp) {
    status.conditions.retain(|condition| condition.type_ != CONDITION);
    let Some(first) = problems.first() else { return };
    let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let condition = first.word().condition(status.observed_generation, now, message);
    status.conditions.push(condition.since(&old.conditions));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::credential::{SecretHash, State, Version};
    use rstest::rstest;
    use serde_json::json;

    fn account(targets: &Value) -> Account {
        let object = json!({
            "apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount",
            "metadata": {"name": "exporter", "namespace": "shop", "uid": "u"},
            "spec": {"rolloutRestart": targets},
        });
        Account::parse(&serde_json::from_value(object).unwrap()).unwrap()
    }

    fn record(version: i64, reason: Reason) -> Record {
        let time = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let current = Version {
            version,
            client_id: "c".into(),
            secret_hash: SecretHash::from_phc("x".to_owned()),
            state: State::Current,
            not_before: time,
            not_after: time,
            validity_days: 1,
            reason,
            answers: None,
            retired_time: None,
            retries: 0,
            unknown: Map::new(),
        };
        Record { versions: vec![current], ..Record::new(account(&json!([])).owner) }
    }

    fn one() -> Value {
        json!([{"kind": "Deployment", "name": "web"}])
    }

    #[rstest]
    #[case::the_first_version(Reason::Created, one(), false)]
    #[case::scheduled(Reason::Scheduled, one(), true)]
    #[case::requested(Reason::Requested, one(), true)]
    #[case::compromised(Reason::Compromised, one(), true)]
    #[case::repaired(Reason::Repaired, one(), true)]
    #[case::nobody_to_restart(Reason::Scheduled, json!([]), false)]
    fn every_version_but_the_first_restarts_the_targets(
        #[case] reason: Reason,
        #[case] targets: Value,
        #[case] expected: bool,
    ) {
        let account = account(&targets);
        assert_eq!(due(&account, &note(record(3, reason), &account)).is_some(), expected);
    }

    #[test]
    fn targets_added_after_a_version_wait_for_the_next_one() {
        let before = note(record(3, Reason::Scheduled), &account(&json!([])));
        assert_eq!(due(&account(&one()), &before), None);
    }

    #[test]
    fn a_stamp_is_the_same_each_time_it_is_made_and_another_for_each_version() {
        let account = account(&one());
        let stamp = |version| due(&account, &note(record(version, Reason::Scheduled), &account)).unwrap();
        let annotations = serde_json::to_value(stamp(3).annotations()).unwrap();
        assert_eq!(annotations[RESTARTED_AT], "2026-01-01T00:00:00Z");
        assert!(stamp(3).is_on(&annotations) && !stamp(4).is_on(&annotations) && !stamp(3).is_on(&Value::Null));
        assert_eq!(stamp(3), stamp(3));
        let key = stamp(3).mark;
        assert!(key.len() - "keyrota.dev/".len() <= 63);
    }

    #[test]
    fn what_was_done_survives_in_the_record_and_a_newer_version_starts_afresh() {
        let account = account(&one());
        let noted = with_done(note(record(3, Reason::Scheduled), &account), &["Deployment/web".into()]);
        let read = Record::parse(noted.to_json().unwrap().as_bytes()).unwrap();
        assert_eq!(read.restart.as_ref().unwrap().done, ["Deployment/web"]);
        assert_eq!(finished(read).restart, None);
        assert_eq!(note(noted, &account).restart.unwrap().done, Vec::<String>::new());
    }

    #[rstest]
    #[case(json!({"kind": "DaemonSet", "name": "web"}), "DaemonSet web")]
    #[case(json!({"kind": "Deployment", "selector": {"matchLabels": {"app": "web"}}}), "Deployment with app=web")]
    #[case(json!({"kind": "Deployment", "selector": {}}), "Deployment of any label")]
    fn a_target_reads_as_people_would_say_it(#[case] entry: Value, #[case] expected: &str) {
        let target = Target::parse(&serde_json::from_value(entry).unwrap()).unwrap();
        assert_eq!(target.to_string(), expected);
    }

    #[rstest]
    #[case(json!({"kind": "Deployment"}))]
    #[case(json!({"kind": "Deployment", "name": "a", "selector": {}}))]
    #[case(json!({"kind": "Deployment", "selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}))]
    fn a_target_that_names_nothing_or_two_things_is_refused(#[case] entry: Value) {
        assert!(Target::parse(&serde_json::from_value(entry).unwrap()).is_err());
    }
}
