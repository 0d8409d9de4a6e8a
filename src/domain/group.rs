//! What is reported of a `UserGroup`.

use std::collections::HashMap;

use super::issuer::Issuers;
use super::words;
use crate::api::{ServiceAccount, Timestamp, UserGroup, UserGroupStatus};

/// How many accounts name each group, by their issuer: all groups in one look at all accounts.
#[derive(Clone, Debug, Default)]
pub struct Census(HashMap<String, HashMap<String, i64>>);

impl Census {
    /// Counts an account.
    pub fn count(&mut self, account: &ServiceAccount, issuers: &Issuers) {
        let namespace = account.metadata.namespace.as_deref().unwrap_or_default();
        let Some(issuer) = issuers.of_namespace(namespace) else { return };
        let mut groups: Vec<&String> = account.spec.user_groups.iter().collect();
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            *self.0.entry(group.clone()).or_default().entry(issuer.name.clone()).or_default() += 1;
        }
    }

    /// The accounts of these issuers (of any, when none is listed) that name a group.
    #[must_use]
    pub fn members(&self, group: &str, issuers: &[String]) -> i64 {
        let counts = self.0.get(group).into_iter().flatten();
        counts.filter(|(issuer, _)| issuers.is_empty() || issuers.contains(issuer)).map(|(_, count)| count).sum()
    }
}

/// The status to report of a group.
#[must_use]
pub fn status(group: &UserGroup, census: &Census, issuers: &Issuers, now: Timestamp) -> UserGroupStatus {
    let name = group.metadata.name.as_deref().unwrap_or_default();
    let generation = group.metadata.generation.unwrap_or_default();
    let unknown: Vec<&str> =
        group.spec.issuers.iter().filter(|issuer| issuers.get(issuer).is_none()).map(String::as_str).collect();
    let (word, message) = if unknown.is_empty() {
        (&words::GROUP_SERVING, "members get its scopes and claims".to_owned())
    } else {
        let message = format!("no TokenIssuer is named {}: create it, or correct spec.issuers", unknown.join(", "));
        (&words::ISSUER_MISSING, message)
    };
    let ready = word.condition(generation, now, message);
    let before = group.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let members = Some(census.members(name, &group.spec.issuers));
    UserGroupStatus { observed_generation: generation, members, conditions: vec![ready.since(before)] }
}

/// Whether a status is to be written. A controller that sees some namespaces alone may share the groups with others: it
/// repeats nothing that another has written over, and does not call a group empty whose members it has never seen.
#[must_use]
pub fn is_news(new: &UserGroupStatus, shown: Option<&UserGroupStatus>, said: Option<i64>, sees_all: bool) -> bool {
    let Some(shown) = shown.filter(|shown| shown.members.is_some()) else { return true };
    if sees_all || (new.observed_generation, &new.conditions) != (shown.observed_generation, &shown.conditions) {
        return new != shown;
    }
    new.members != shown.members && new.members != said && (said.is_some() || new.members != Some(0))
}

/// What to write: of a group that others count, too, only what this controller has something to say about.
#[must_use]
pub fn merged(
    new: UserGroupStatus,
    shown: Option<&UserGroupStatus>,
    said: Option<i64>,
    sees_all: bool,
) -> UserGroupStatus {
    let silent = !sees_all && said.is_none() && new.members == Some(0);
    let members = if silent { shown.and_then(|shown| shown.members).or(new.members) } else { new.members };
    UserGroupStatus { members, ..new }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ConditionStatus;
    use rstest::rstest;
    use serde_json::json;

    fn account(namespace: &str, groups: &[&str]) -> ServiceAccount {
        let object = json!({
            "apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount",
            "metadata": {"name": "a", "namespace": namespace}, "spec": {"userGroups": groups},
        });
        serde_json::from_value(object).unwrap()
    }

    fn group(issuers: &[&str]) -> UserGroup {
        let object = json!({
            "apiVersion": "keyrota.dev/v1alpha1", "kind": "UserGroup",
            "metadata": {"name": "deployers", "generation": 3}, "spec": {"issuers": issuers},
        });
        serde_json::from_value(object).unwrap()
    }

    fn issuers() -> Issuers {
        let acme = json!({
            "apiVersion": "keyrota.dev/v1alpha1", "kind": "TokenIssuer",
            "metadata": {"name": "acme"}, "spec": {"namespaces": ["acme"]},
        });
        Issuers::from_objects(&[serde_json::from_value(acme).unwrap()])
    }

    #[rstest]
    #[case::of_any_issuer(&[], 3)]
    #[case::of_one(&["acme"], 1)]
    #[case::of_both(&["acme", "default"], 3)]
    #[case::of_none_there_is(&["gone"], 0)]
    fn members_are_the_accounts_of_the_groups_issuers_that_name_it(#[case] listed: &[&str], #[case] expected: i64) {
        let mut census = Census::default();
        let accounts = [
            account("shop", &["deployers", "readers"]),
            account("shop", &["deployers", "deployers"]),
            account("acme", &["deployers"]),
            account("acme", &[]),
        ];
        accounts.iter().for_each(|account| census.count(account, &issuers()));
        let status = status(&group(listed), &census, &issuers(), Timestamp::parse("2026-01-01T00:00:00Z").unwrap());
        assert_eq!((status.members, status.observed_generation), (Some(expected), 3));
        let ready = &status.conditions[0];
        assert_eq!(ready.status == ConditionStatus::True, listed != ["gone"], "{ready:?}");
    }

    #[rstest]
    #[case::never_told(true, None, None, 0, true)]
    #[case::another_number(true, Some(3), Some(3), 4, true)]
    #[case::written_over(true, Some(9), Some(3), 3, true)]
    #[case::the_same(true, Some(3), None, 3, false)]
    #[case::some_namespaces_another_number(false, Some(3), Some(3), 4, true)]
    #[case::some_namespaces_first_look(false, Some(3), None, 2, true)]
    #[case::some_namespaces_nothing_to_say(false, Some(3), None, 0, false)]
    #[case::some_namespaces_the_last_one_left(false, Some(3), Some(3), 0, true)]
    #[case::some_namespaces_written_over(false, Some(9), Some(3), 3, false)]
    fn controllers_of_some_namespaces_do_not_write_over_each_other_for_ever(
        #[case] sees_all: bool,
        #[case] shown: Option<i64>,
        #[case] said: Option<i64>,
        #[case] members: i64,
        #[case] expected: bool,
    ) {
        let of = |members| UserGroupStatus { members, ..UserGroupStatus::default() };
        assert_eq!(is_news(&of(Some(members)), shown.map(|m| of(Some(m))).as_ref(), said, sees_all), expected);
    }
}
