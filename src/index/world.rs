//! What holds for all accounts: issuers, their keys, and groups. Small and seldom changed, so it is one snapshot.

use std::collections::{BTreeMap, HashMap};

use super::facts::KeyFacts;
use crate::api::{TokenIssuer, UserGroup};
use crate::domain::issuer::{Issuer, Issuers};
use crate::domain::keys::Keys;

/// One consistent view of issuers, keys and groups.
#[derive(Debug, Default)]
pub struct World {
    issuers: Issuers,
    keys: HashMap<String, KeyFacts>,
    groups: HashMap<String, Vec<String>>,
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
    #[must_use]
    pub fn groups_of<'a>(&self, names: &'a [String], issuer: &str) -> Vec<&'a str> {
        let holds = |limits: &Vec<String>| limits.is_empty() || limits.iter().any(|name| name == issuer);
        names.iter().filter(|name| self.groups.get(*name).is_some_and(holds)).map(String::as_str).collect()
    }
}

/// The objects that a [`World`] is made of.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) issuers: BTreeMap<String, TokenIssuer>,
    pub(super) groups: BTreeMap<String, Vec<String>>,
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

/// A group's name and the issuers that it is limited to.
pub(super) fn group_facts(group: UserGroup) -> (String, Vec<String>) {
    (group.metadata.name.unwrap_or_default(), group.spec.issuers)
}
