//! What holds for all accounts: issuers, their keys, and groups. Small and seldom changed, so it is one snapshot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::facts::KeyFacts;
use crate::api::{TokenIssuer, UserGroup, UserGroupSpec};
use crate::domain::issuer::{Issuer, Issuers};
use crate::domain::keys::Keys;

/// One consistent view of issuers, keys and groups.
#[derive(Debug, Default)]
pub struct World {
    issuers: Issuers,
    keys: HashMap<String, KeyFacts, RandomState>,
    groups: HashMap<String, Arc<GroupFacts>, RandomState>,
}

impl World {
    /// The issuer that a request's host belongs to; see [`Issuers::of_host`].
    #[must_use]
    pub fn issuer_of_host(&self, host: &str) -> Option<&Issuer> {
        self.issuers.of_host(host)
    }

    /// The issuer that serves a namespace; see [`Issuers::of_namespace`].
    #[must_use]
    pub fn issuer_of_namespace(&self, namespace: &str) -> Option<&Issuer> {
        self.issuers.of_namespace(namespace)
    }

    /// The keys of an issuer, once its Secret has been seen.
    #[must_use]
    pub fn keys_of(&self, issuer: &str) -> Option<&Keys> {
        self.keys.get(issuer).map(|facts| &*facts.keys)
    }

    /// The groups among `names` that exist and hold for accounts of `issuer`, in the same order.
    pub fn memberships<'a>(
        &'a self,
        names: &'a [String],
        issuer: &str,
    ) -> impl Iterator<Item = (&'a str, &'a GroupFacts)> {
        let holds =
            move |facts: &&Arc<GroupFacts>| facts.issuers.is_empty() || facts.issuers.iter().any(|name| name == issuer);
        names.iter().filter_map(move |name| Some((name.as_str(), &**self.groups.get(name).filter(holds)?)))
    }
}

/// A `UserGroup`, as far as tokens are concerned.
#[derive(Debug, Default)]
pub struct GroupFacts {
    /// What members may ask for.
    pub scopes: Vec<String>,
    /// Static claims of members' OAuth tokens.
    pub claims: BTreeMap<String, String>,
    /// The issuers that it is limited to; empty for all.
    issuers: Vec<String>,
}

/// The objects that a [`World`] is made of.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) issuers: BTreeMap<String, TokenIssuer>,
    pub(super) groups: BTreeMap<String, Arc<GroupFacts>>,
    pub(super) keys: BTreeMap<String, KeyFacts>,
}

impl Sources {
    pub(super) fn world(&self) -> World {
        World {
            issuers: Issuers::from_objects(self.issuers.values()),
            keys: self.keys.values().map(|keys| (keys.issuer.clone(), keys.clone())).collect(),
            groups: self.groups.clone().into_iter().collect(),
        }
    }
}

/// A group's name and what counts of it.
pub(super) fn group_facts(group: UserGroup) -> (String, Arc<GroupFacts>) {
    let UserGroupSpec { description: _, scopes, claims, issuers } = group.spec;
    (group.metadata.name.unwrap_or_default(), Arc::new(GroupFacts { scopes, claims, issuers }))
}
