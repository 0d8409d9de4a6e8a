//! The controller as a process: watches, triggers, workers, and an orderly end.

use std::collections::HashMap;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::TimeDelta;
use clap::Args;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::{BoxFuture, FutureExt, Shared, join_all};
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::runtime::{Config, Controller, WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::task::JoinSet;

use super::certificates;
use super::context::{Context, Settings, Stores};
use super::deadlines::Deadlines;
use super::issuers;
use super::notify::{self, NoticeArgs, Ways};
use super::observe::parse_record;
use super::reconcile::{after_error, reconcile};
use super::sweep::{self, Deleted};
use super::usage;
use crate::api::{MANAGED_BY, MANAGER, ServiceAccount, TYPE_RECORD, TYPE_SIGNING_KEYS, TokenIssuer, UserGroup};
use crate::clock::SharedClock;
use crate::config::ClusterArgs;
use crate::domain::verifier::HashCost;
use crate::entropy::SharedEntropy;
use crate::watch;

/// Settings of `keyrota controller`.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// The cluster and what of it is ours
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// The gateway's URL as clients see it; it goes into every published Secret
    #[arg(long, env = "KEYROTA_EXTERNAL_URL", default_value = "https://localhost:31443", value_name = "URL")]
    pub external_url: String,

    /// Who makes the gateway's certificate: "own" keeps a CA and a certificate in the operator namespace, "given" leaves
    /// that to somebody else
    #[arg(long, env = "KEYROTA_GATEWAY_CERTIFICATE", default_value = "own", value_parser = ["own", "given"])]
    pub gateway_certificate: String,

    /// Further host names and addresses of the gateway's own certificate, separated by commas
    #[arg(long, env = "KEYROTA_GATEWAY_NAMES", value_delimiter = ',', value_name = "NAMES")]
    pub gateway_names: Vec<String>,

    /// Argon2id memory for generated secrets, in KiB
    #[arg(long, env = "KEYROTA_HASH_MEMORY_KIB", default_value_t = HashCost::GENERATED.memory_kib, value_name = "KIB")]
    pub hash_memory_kib: u32,

    /// Argon2id passes for generated secrets
    #[arg(long, env = "KEYROTA_HASH_PASSES", default_value_t = HashCost::GENERATED.passes, value_name = "N")]
    pub hash_passes: u32,

    /// How many days the inventory remembers a deleted account
    #[arg(long, env = "KEYROTA_TOMBSTONE_DAYS", default_value_t = 30, value_name = "DAYS")]
    pub tombstone_days: u32,

    /// How people are told that a secret expires
    #[command(flatten)]
    pub notices: NoticeArgs,

    /// How many accounts' statuses are updated in a second because their credentials were used
    #[arg(long, env = "KEYROTA_USAGE_WRITES_PER_SECOND", default_value = "2", value_name = "N")]
    pub usage_writes_per_second: NonZeroU32,

    /// How many accounts are worked on at once
    #[arg(long, env = "KEYROTA_CONCURRENCY", default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
}

type Shutdown = Shared<BoxFuture<'static, ()>>;

/// Runs until `shutdown` ends; passes under way are finished first.
///
/// # Errors
/// When the cluster cannot be used at all: no configuration, or no answer while the certificate is made.
pub async fn run(
    args: ControllerArgs,
    clock: SharedClock,
    entropy: SharedEntropy,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let settings = settings(&args)?;
    let client = args.cluster.client().await?;
    let shutdown = shutdown.boxed().shared();
    let mut tasks = JoinSet::new();
    let (deleted, deletions) = tokio::sync::mpsc::unbounded_channel();
    let mut triggers = Triggers::default();
    let (stores, lanes) = start_watches(&client, &args.cluster, &mut tasks, &mut triggers, &deleted);
    let deadlines = Deadlines::new(clock.clone());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &settings.operator_namespace);
    let names = certificate_names(&args);
    let ca = match args.gateway_certificate.as_str() {
        "own" => {
            let ca = certificates::ensure(&secrets, &names, clock.now()).await;
            Some(ca.context("the gateway's certificate")?)
        }
        _ => None,
    };
    let context = Arc::new(Context::new(client, clock, entropy, settings, stores, deadlines.clone(), ca));
    wait_for_stores(&context.stores).await;
    tracing::info!(
        accounts = context.stores.accounts.iter().map(Store::len).sum::<usize>(),
        "the controller has its lists and starts"
    );

    let due_triggers = triggers.clone();
    tasks.spawn(deadlines.due().for_each(move |account| {
        due_triggers.send(account);
        futures::future::ready(())
    }));
    tasks.spawn(notify::keep_delivering(context.clone()));
    tasks.spawn(sweep::keep_sweeping(context.clone(), deletions, deleted.clone()));
    tasks.spawn(look_after_issuers(context.clone(), triggers.issuers_changed.1.clone()));
    let used_triggers = triggers.clone();
    let look_at = move |account| used_triggers.send(account);
    tasks.spawn(usage::keep_reading(context.clone()));
    tasks.spawn(usage::keep_merging(context.clone(), args.usage_writes_per_second, look_at));
    tasks.spawn(from_time_to_time(context.clone(), secrets, names, args.gateway_certificate == "own", deleted));
    join_all(lanes.into_iter().map(|lane| lane.run(context.clone(), shutdown.clone(), args.concurrency))).await;
    context.outbox.finish().await;
    tasks.shutdown().await;
    tracing::info!("the controller has finished its work and stops");
    Ok(())
}

fn settings(args: &ControllerArgs) -> anyhow::Result<Settings> {
    Ok(Settings {
        ways: Ways::new(&args.notices).context("the settings of expiry notices")?,
        operator_namespace: args.cluster.operator_namespace.clone(),
        watch_namespaces: args.cluster.watch_namespaces.clone(),
        external_url: args.external_url.trim_end_matches('/').to_owned(),
        hash_cost: HashCost { memory_kib: args.hash_memory_kib, passes: args.hash_passes, lanes: 1 },
        tombstone_retention: TimeDelta::days(args.tombstone_days.into()),
    })
}

/// The names that a client in the cluster, on this machine, or at the external URL uses.
fn certificate_names(args: &ControllerArgs) -> Vec<String> {
    let namespace = &args.cluster.operator_namespace;
    let external = args.external_url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let mut names = vec![
        "localhost".into(),
        "127.0.0.1".into(),
        "::1".into(),
        "keyrota-gateway".into(),
        format!("keyrota-gateway.{namespace}"),
        format!("keyrota-gateway.{namespace}.svc"),
        format!("keyrota-gateway.{namespace}.svc.cluster.local"),
    ];
    for name in external.into_iter().chain(args.gateway_names.iter().cloned()) {
        let name = name.trim_matches(['[', ']']).to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Where "look at this account" is sent: to the lane of its namespace.
#[derive(Clone)]
struct Triggers {
    lanes: HashMap<Option<String>, UnboundedSender<ObjectRef<ServiceAccount>>>,
    everybody: tokio::sync::watch::Sender<()>,
    issuers_changed: (tokio::sync::watch::Sender<()>, tokio::sync::watch::Receiver<()>),
}

impl Default for Triggers {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            everybody: tokio::sync::watch::Sender::new(()),
            issuers_changed: tokio::sync::watch::channel(()),
        }
    }
}

impl Triggers {
    fn send(&self, account: ObjectRef<ServiceAccount>) {
        let lane = self.lanes.get(&account.namespace).or_else(|| self.lanes.get(&None));
        if let Some(lane) = lane {
            // A closed lane is one that is shutting down.
            let _ = lane.unbounded_send(account);
        }
    }
}

type AccountStream = BoxStream<'static, watcher::Result<ServiceAccount>>;

/// The accounts of one namespace, or of all.
struct Lane {
    accounts: AccountStream,
    store: Store<ServiceAccount>,
    single: UnboundedReceiver<ObjectRef<ServiceAccount>>,
    everybody: tokio::sync::watch::Receiver<()>,
}

impl Lane {
    async fn run(self, context: Arc<Context>, shutdown: Shutdown, concurrency: u16) {
        let everybody = futures::stream::unfold(self.everybody, |mut changed| async move {
            changed.changed().await.ok()?;
            Some(((), changed))
        });
        Controller::for_stream(self.accounts, self.store)
            .with_config(Config::default().concurrency(concurrency))
            .reconcile_on(self.single)
            .reconcile_all_on(everybody)
            .graceful_shutdown_on(shutdown)
            .run(reconcile, after_error, context)
            // Failed passes are logged where they are known best, and the rest is about accounts just deleted.
            .for_each(|_| futures::future::ready(()))
            .await;
    }
}

fn start_watches(
    client: &Client,
    cluster: &ClusterArgs,
    tasks: &mut JoinSet<()>,
    triggers: &mut Triggers,
    deleted: &tokio::sync::mpsc::UnboundedSender<Deleted>,
) -> (Stores, Vec<Lane>) {
    let namespaces: Vec<Option<String>> = match cluster.watch_namespaces.as_slice() {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    };
    let (mut lanes, mut accounts, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
    for namespace in &namespaces {
        let (sender, single) = unbounded();
        triggers.lanes.insert(namespace.clone(), sender);
        let (store, stream) = watch_accounts(client, namespace.as_deref(), deleted.clone());
        accounts.push(store.clone());
        lanes.push(Lane { accounts: stream, store, single, everybody: triggers.everybody.subscribe() });
    }
    for namespace in &namespaces {
        secrets.push(watch_secrets(client, namespace.as_deref(), tasks, triggers.clone()));
    }
    let own: Api<DeserializeGuard<Secret>> = Api::namespaced(client.clone(), &cluster.operator_namespace);
    let records = watch_records(own.clone(), tasks, triggers.clone());
    watch_signing_keys(own, tasks, triggers.clone());
    let issuers_changed = triggers.clone();
    let issuers = watch_cluster::<TokenIssuer>(client, "tokenissuers", tasks, move || {
        issuers_changed.issuers_changed.0.send_replace(());
        issuers_changed.everybody.send_replace(());
    });
    let everybody = triggers.everybody.clone();
    let groups = watch_cluster::<UserGroup>(client, "usergroups", tasks, move || {
        everybody.send_replace(());
    });
    (Stores { accounts, secrets, records, issuers, groups }, lanes)
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    namespace.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace))
}

fn watch_accounts(
    client: &Client,
    namespace: Option<&str>,
    deleted: tokio::sync::mpsc::UnboundedSender<Deleted>,
) -> (Store<ServiceAccount>, AccountStream) {
    let (store, writer) = reflector::store();
    let api: Api<DeserializeGuard<ServiceAccount>> = scoped(client, namespace);
    let stream = watch::events(api, watch::config(), "serviceaccounts")
        .inspect(move |event| {
            let gone = match event {
                Event::Delete(object) => object.uid().map(Deleted::One),
                Event::InitDone => Some(Deleted::Perhaps),
                _ => None,
            };
            if let Some(gone) = gone {
                let _ = deleted.send(gone);
            }
        })
        .map(Ok)
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .applied_objects();
    (store, Box::pin(stream))
}

/// Metadata of published Secrets; any change of one is a reason to look at its account.
fn watch_secrets(
    client: &Client,
    namespace: Option<&str>,
    tasks: &mut JoinSet<()>,
    triggers: Triggers,
) -> Store<PartialObjectMeta<Secret>> {
    let (store, writer) = reflector::store();
    let ours = watch::config().labels(&format!("{MANAGED_BY}={MANAGER}"));
    let stream = watch::metadata::<Secret>(scoped(client, namespace), ours, "published secrets")
        .map(Ok)
        .modify(|secret: &mut PartialObjectMeta<Secret>| secret.managed_fields_mut().clear())
        .reflect(writer)
        .touched_objects();
    tasks.spawn(stream.for_each(move |secret| {
        let secret = secret.ok();
        let meta = secret.as_ref().map(|secret| &secret.metadata);
        let owner = meta.and_then(|meta| meta.owner_references.iter().flatten().find(|o| o.controller == Some(true)));
        if let Some((owner, namespace)) = owner.zip(meta.and_then(|meta| meta.namespace.as_ref())) {
            triggers.send(ObjectRef::new(&owner.name).within(namespace));
        }
        futures::future::ready(())
    }));
    store
}

fn watch_records(api: Api<DeserializeGuard<Secret>>, tasks: &mut JoinSet<()>, triggers: Triggers) -> Store<Secret> {
    let (store, writer) = reflector::store();
    let records = watch::config().fields(&format!("type={TYPE_RECORD}"));
    let stream = watch::events(api, records, "account records")
        .map(Ok)
        .modify(|secret: &mut Secret| secret.managed_fields_mut().clear())
        .reflect(writer)
        .touched_objects();
    tasks.spawn(stream.for_each(move |secret| {
        if let Some(record) = secret.ok().and_then(|secret| parse_record(&secret).ok()) {
            triggers.send(ObjectRef::new(&record.account.name).within(&record.account.namespace));
        }
        futures::future::ready(())
    }));
    store
}

/// Signing keys are not kept in memory here; that they changed is enough.
fn watch_signing_keys(api: Api<DeserializeGuard<Secret>>, tasks: &mut JoinSet<()>, triggers: Triggers) {
    let keys = watch::config().fields(&format!("type={TYPE_SIGNING_KEYS}"));
    tasks.spawn(watch::events(api, keys, "signing keys").for_each(move |_| {
        triggers.issuers_changed.0.send_replace(());
        futures::future::ready(())
    }));
}

fn watch_cluster<K>(
    client: &Client,
    what: &'static str,
    tasks: &mut JoinSet<()>,
    mut changed: impl FnMut() + Send + 'static,
) -> Store<K>
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
    let stream = watch::events(Api::all(client.clone()), watch::config(), what).map(Ok).reflect(writer);
    tasks.spawn(stream.for_each(move |event: watcher::Result<Event<K>>| {
        if !matches!(event, Ok(Event::Init | Event::InitApply(_))) {
            changed();
        }
        futures::future::ready(())
    }));
    store
}

/// Without the issuers, Secrets would be published for the wrong one; without the groups, all would be missing.
async fn wait_for_stores(stores: &Stores) {
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
            () = tokio::time::sleep(std::time::Duration::from_secs(5)) => {
                waited += 5;
                tracing::info!(waited_seconds = waited, "waiting for the first lists: are the CRDs installed, and may we list?");
            }
        }
    }
}

async fn look_after_issuers(context: Arc<Context>, mut changed: tokio::sync::watch::Receiver<()>) {
    loop {
        let outcome = issuers::ensure_all(&context).await;
        let retry = async {
            match &outcome {
                Ok(()) => futures::future::pending().await,
                Err(error) => {
                    tracing::warn!(%error, "the token issuers could not all be looked after; tried again in 5 s");
                    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
                }
            }
        };
        tokio::select! {
            changed = changed.changed() => if changed.is_err() { return },
            () = retry => {}
        }
    }
}

/// Every minute: deletions that no watch told of, and a certificate that comes to its end.
async fn from_time_to_time(
    context: Arc<Context>,
    secrets: Api<Secret>,
    names: Vec<String>,
    own_certificate: bool,
    deleted: tokio::sync::mpsc::UnboundedSender<Deleted>,
) {
    loop {
        context.clock.wait_until(context.clock.now() + TimeDelta::seconds(60)).await;
        let _ = deleted.send(Deleted::Perhaps);
        if own_certificate {
            match certificates::ensure(&secrets, &names, context.clock.now()).await {
                Ok(ca) => *context.ca.write() = Some(ca),
                Err(error) => tracing::warn!(%error, "the gateway's certificate could not be looked after"),
            }
        }
    }
}
