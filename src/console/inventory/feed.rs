//! The watches that fill [`Holdings`].

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::holdings::{Holdings, Kept};
use super::row::Row;
use crate::api::{ServiceAccount, TokenIssuer, UserGroup};
use crate::config::ClusterArgs;
use crate::domain::names;
use crate::watch;
use crate::watch::pulse::Pulse;

/// Empty holdings, the watches that fill them for ever, and their signs of life.
#[must_use]
pub fn start(client: &Client, cluster: &ClusterArgs) -> (Arc<Holdings>, Vec<BoxFuture<'static, ()>>, Vec<Arc<Pulse>>) {
    let namespaces: Vec<Option<&str>> = match cluster.watch_namespaces.as_slice() {
        [] => vec![None],
        some => some.iter().map(|name| Some(name.as_str())).collect(),
    };
    let holdings = Arc::new(Holdings::new(namespaces.len()));
    let mut watches: Vec<BoxFuture<'static, ()>> = Vec::new();
    let mut pulses = Vec::new();
    let mut heard = |what: &'static str, namespace: Option<&str>| {
        let pulse = Pulse::new(what, namespace);
        pulses.push(pulse.clone());
        pulse.of(client)
    };
    for (kept, namespace) in holdings.accounts.iter().zip(&namespaces) {
        let client = heard("serviceaccounts", *namespace);
        let api = match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let row = |object: ServiceAccount| Some(Row::of(object));
        watches.push(Box::pin(follow(api, watch::config(), "serviceaccounts", kept.clone(), row)));
    }
    let own = Some(cluster.operator_namespace.as_str());
    let api = Api::<DeserializeGuard<ConfigMap>>::namespaced(heard("tombstones", own), &cluster.operator_namespace);
    let ours = watch::config().labels(&format!("{}=true", names::LABEL_TOMBSTONE));
    watches.push(Box::pin(follow(api, ours, "tombstones", holdings.tombstones.clone(), Row::of_tombstone)));
    let groups = Api::all(heard("usergroups", None));
    watches.push(Box::pin(follow(groups, watch::config(), "usergroups", holdings.groups.clone(), lean::<UserGroup>)));
    let issuers = Api::all(heard("tokenissuers", None));
    let lean = lean::<TokenIssuer>;
    watches.push(Box::pin(follow(issuers, watch::config(), "tokenissuers", holdings.issuers.clone(), lean)));
    (holdings, watches, pulses)
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that follow takes")]
fn lean<K: Resource>(mut object: K) -> Option<K> {
    object.meta_mut().managed_fields = None;
    Some(object)
}

async fn follow<K, T>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    what: &'static str,
    kept: Arc<Kept<T>>,
    take: fn(K) -> Option<T>,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let events = watch::events(api, config, what);
    futures::pin_mut!(events);
    let mut listed = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Init => listed = HashMap::new(),
            Event::InitApply(object) => {
                let key = key(object.meta());
                listed.extend(take(object).map(|value| (key, Arc::new(value))));
            }
            Event::InitDone => kept.reset(std::mem::take(&mut listed)),
            Event::Apply(object) => {
                let key = key(object.meta());
                match take(object) {
                    Some(value) => kept.apply(key, value),
                    None => kept.delete(&key),
                }
            }
            Event::Delete(object) => kept.delete(&key(object.meta())),
        }
    }
}

/// By UID: a deletion that is told late never takes the successor of the same name with it.
fn key(meta: &ObjectMeta) -> String {
    meta.uid.clone().unwrap_or_default()
}
