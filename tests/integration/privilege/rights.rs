//! Rights: what roles give, and what the audit log shows.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::common::operator::Operator;

/// The operator namespace in manifests.
pub(super) const OWN: &str = "keyrota-system";

/// Where a right is given, or was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In the operator namespace.
    Own,
    /// Outside it: in a tenant's namespace, or cluster-wide.
    Elsewhere,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    pub(super) place: Place,
    pub(super) resource: String,
    pub(super) verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, resource, verb } = self;
        write!(f, "{verb} {resource} ({place:?})")
    }
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn resource(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// What the roles of a component give in these manifests: those whose names begin with its own.
pub(super) fn granted(manifests: &str, component: &str) -> BTreeSet<Right> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(manifests).unwrap();
    let mut rights = BTreeSet::new();
    let role = |object: &&Value| object["kind"] == "Role" || object["kind"] == "ClusterRole";
    let named = |object: &&Value| object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(component));
    for role in objects.iter().filter(role).filter(named) {
        let place = if role["metadata"]["namespace"] == OWN { Place::Own } else { Place::Elsewhere };
        for rule in role["rules"].as_array().into_iter().flatten() {
            for (group, name) in
                strings(&rule["apiGroups"]).flat_map(|group| strings(&rule["resources"]).map(move |name| (group, name)))
            {
                let verbs = strings(&rule["verbs"]).map(str::to_owned);
                rights.extend(verbs.map(|verb| Right { place, resource: resource(group, name), verb }));
            }
        }
    }
    rights
}

/// What a service account of the operator namespace did; fails when anything was refused to it.
pub(super) fn used(operator: &Operator, account: &str) -> BTreeSet<Right> {
    let user = format!("system:serviceaccount:{}:{account}", operator.own.name);
    let log = std::fs::read_to_string(operator.control_plane.audit_log().unwrap()).unwrap();
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let entries: Vec<Value> = entries.filter(|entry| entry["user"]["username"] == user.as_str()).collect();
    let refused: Vec<&Value> = entries.iter().filter(|entry| entry["responseStatus"]["code"] == 403).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    entries
        .iter()
        .map(|entry| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let object = &entry["objectRef"];
            let name = match object["subresource"].as_str() {
                Some(subresource) => format!("{}/{subresource}", text(&object["resource"])),
                None => text(&object["resource"]),
            };
            let place = if object["namespace"] == operator.own.name.as_str() { Place::Own } else { Place::Elsewhere };
            Right { place, resource: resource(&text(&object["apiGroup"]), &name), verb: text(&entry["verb"]) }
        })
        .collect()
}

pub(super) fn told(rights: impl IntoIterator<Item = Right>) -> Vec<String> {
    rights.into_iter().map(|right| right.to_string()).collect()
}

/// A right for everywhere covers the operator namespace as well.
pub(super) fn covered(right: &Right, granted: &BTreeSet<Right>) -> bool {
    granted.contains(right) || granted.contains(&Right { place: Place::Elsewhere, ..right.clone() })
}
