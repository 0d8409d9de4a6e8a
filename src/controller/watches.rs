//! What the controller sees: always, leading or not, so that a take-over starts warm.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::task::JoinSet;

use super::context::Stores;
use super::observe::parse_record;
use super::triggers::{Deleted, Triggers};
use crate::api::{MANAGED_BY, MANAGER, ServiceAccount, TYPE_RECORD, TYPE_SIGNING_KEYS, TokenIssuer, UserGroup};
use crate::config::ClusterArgs;
use crate::watch;
use crate::watch::pulse::Pulse;

/// The namespaces to watch, one by one; or all at once.
pub fn namespaces(cluster: &ClusterArgs) -> Vec<Option<String>> {
    match cluster.watch_namespaces.as_slice() {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    }
}

/// What starting them needs, and what it brings.
struct Start<'a> {
    client: &'a Client,
    triggers: &'a Arc<Triggers>,
    tasks: &'a mut JoinSet<()>,
    pulses: Vec<Arc<Pulse>>,
}

impl Start<'_> {
    /// The client for one watch, which is listened to from now on.
    fn client(&mut self, watch: &'static str, namespace: Option<&str>) -> Client {
        let pulse = Pulse::new(watch, namespace);
        self.pulses.push(pulse.clone());
        pulse.of(self.client)
    }

    /// Tells of every event once the store has it. During a list the store still has what was before, so those who look
    /// at what it told of are told at its end.
    fn follow<K: Resource + Send + 'static>(
        &mut self,
        watch: &'static str,
        events: impl futures::Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        tell: impl Fn(&Event<K>) + Send + 'static,
    ) {
        let backlog = self.triggers.backlog().clone();
        self.tasks.spawn(events.for_each(move |event| {
            if let Ok(event) = &event {
                tell(event);
                backlog.followed(watch, event);
            }
            futures::future::ready(())
        }));
    }
}

/// Starts all watches.
pub fn start(
    client: &Client,
    cluster: &ClusterArgs,
    tasks: &mut JoinSet<()>,
    triggers: &Arc<Triggers>,
) -> (Stores, Vec<Arc<Pulse>>) {
    let namespaces = namespaces(cluster);
    let mut start = Start { client, triggers, tasks, pulses: Vec::new() };
    let accounts = namespaces.iter().map(|namespace| watch_accounts(&mut start, namespace.as_deref())).collect();
    let secrets = namespaces.iter().map(|namespace| watch_secrets(&mut start, namespace.as_deref())).collect();
    let records = watch_records(&mut start, &cluster.operator_namespace);
    watch_signing_keys(&mut start, &cluster.operator_namespace);
    let issuers = watch_cluster::<TokenIssuer>(&mut start, "tokenissuers", |triggers| {
        triggers.issuers();
        triggers.membership();
        triggers.everybody();
    });
    let groups = watch_cluster::<UserGroup>(&mut start, "usergroups", |triggers| {
        triggers.membership();
        triggers.everybody();
    });
    (Stores { accounts, secrets, records, issuers, groups }, start.pulses)
}

fn scoped<K>(client: Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

fn watch_accounts(start: &mut Start<'_>, namespace: Option<&str>) -> Store<ServiceAccount> {
    const WHAT: &str = "serviceaccounts";
    let (store, writer) = reflector::store();
    let api: Api<DeserializeGuard<ServiceAccount>> = scoped(start.client(WHAT, namespace), namespace);
    let triggers = start.triggers.clone();
    let stream = watch::events(api, watch::config(), WHAT)
        .map(Ok)
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer);
    start.follow(WHAT, stream, move |event| {
        match event {
            Event::Apply(object) => triggers.account(ObjectRef::from_obj(object)),
            Event::Delete(object) => {
                triggers.backlog().forget(&object.namespace().unwrap_or_default(), &object.name_any());
                object.uid().into_iter().for_each(|uid| triggers.deleted(Deleted::One(uid)));
            }
            Event::InitDone => {
                triggers.everybody();
                triggers.deleted(Deleted::Perhaps);
            }
            Event::Init | Event::InitApply(_) => return,
        }
        triggers.membership();
    });
    store
}

/// Metadata of published Secrets; any change of one is a reason to look at its account.
fn watch_secrets(start: &mut Start<'_>, namespace: Option<&str>) -> Store<PartialObjectMeta<Secret>> {
    const WHAT: &str = "published secrets";
    let (store, writer) = reflector::store();
    let api = scoped(start.client(WHAT, namespace), namespace);
    let triggers = start.triggers.clone();
    let ours = watch::config().labels(&format!("{MANAGED_BY}={MANAGER}"));
    let stream = watch::metadata::<Secret>(api, ours, WHAT)
        .map(Ok)
        .modify(|secret: &mut PartialObjectMeta<Secret>| secret.managed_fields_mut().clear())
        .reflect(writer);
    start.follow(WHAT, stream, move |event| match event {
        Event::Apply(secret) | Event::Delete(secret) => owner(secret).into_iter().for_each(|of| triggers.account(of)),
        Event::InitDone => triggers.everybody(),
        Event::Init | Event::InitApply(_) => {}
    });
    store
}

fn owner(secret: &PartialObjectMeta<Secret>) -> Option<ObjectRef<ServiceAccount>> {
    let owner = secret.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    Some(ObjectRef::new(&owner.name).within(&secret.namespace()?))
}

fn watch_records(start: &mut Start<'_>, namespace: &str) -> Store<Secret> {
    const WHAT: &str = "account records";
    let (store, writer) = reflector::store();
    let api: Api<DeserializeGuard<Secret>> = Api::namespaced(start.client(WHAT, Some(namespace)), namespace);
    let triggers = start.triggers.clone();
    let records = watch::config().fields(&format!("type={TYPE_RECORD}"));
    let stream = watch::events(api, records, WHAT)
        .map(Ok)
        .modify(|secret: &mut Secret| secret.managed_fields_mut().clear())
        .reflect(writer);
    start.follow(WHAT, stream, move |event| match event {
        Event::Apply(secret) | Event::Delete(secret) => {
            if let Ok(record) = parse_record(secret) {
                triggers.account(ObjectRef::new(&record.account.name).within(&record.account.namespace));
            }
        }
        Event::InitDone => triggers.everybody(),
        Event::Init | Event::InitApply(_) => {}
    });
    store
}

/// Signing keys are not kept in memory here; that they changed is enough.
fn watch_signing_keys(start: &mut Start<'_>, namespace: &str) {
    const WHAT: &str = "signing keys";
    let api: Api<DeserializeGuard<Secret>> = Api::namespaced(start.client(WHAT, Some(namespace)), namespace);
    let triggers = start.triggers.clone();
    let keys = watch::config().fields(&format!("type={TYPE_SIGNING_KEYS}"));
    let stream = watch::events(api, keys, WHAT).map(Ok);
    start.follow(WHAT, stream, move |_| triggers.issuers());
}

fn watch_cluster<K>(start: &mut Start<'_>, what: &'static str, changed: impl Fn(&Triggers) + Send + 'static) -> Store<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let triggers = start.triggers.clone();
    let stream = watch::events(Api::all(start.client(what, None)), watch::config(), what).map(Ok).reflect(writer);
    start.follow(what, stream, move |event| {
        if !matches!(event, Event::Init | Event::InitApply(_)) {
            changed(&triggers);
        }
    });
    store
}

/// Without the issuers, Secrets would be published for the wrong one; without the groups, all would be missing. Accounts
/// are not waited for here: one namespace that cannot be listed must not keep the others waiting.
pub async fn ready(stores: &Stores) {
    let ready = async {
        let _ = stores.records.wait_until_ready().await;
        let _ = stores.issuers.wait_until_ready().await;
        let _ = stores.groups.wait_until_ready().await;
        for secrets in &stores.secrets {
            let _ = secrets.wait_until_ready().await;
        }
    };
    tokio::pin!(ready);
    let mut waited = 0;
    loop {
        tokio::select! {
            () = &mut ready => return,
            () = tokio::time::sleep(Duration::from_secs(5)) => {
                waited += 5;
                tracing::info!(waited_seconds = waited, "waiting for the first lists: are the CRDs installed, and may we list?");
            }
        }
    }
}
