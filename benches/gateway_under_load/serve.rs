//! The gateway as a child, filled from lists as the API server sends them.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum_server::Handle;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use keyrota::api::{ServiceAccount, TYPE_RECORD};
use keyrota::domain::names;
use keyrota::domain::record::{DATA_KEY, Owner, Record};
use keyrota::domain::verifier::HashCost;
use keyrota::gateway::front::Front;
use keyrota::gateway::metrics::Metrics;
use keyrota::index::live::{Labelled, Live, LiveError};
use keyrota::index::{AccountFacts, Accounts, Entry, Index, Item, RecordFacts};
use keyrota::server::{self, Patience};
use keyrota::telemetry::{self, LogArgs, LogFormat};
use kube::api::ObjectList;
use prometheus_client::registry::Registry;
use serde_json::json;
use tempfile::TempDir;

use crate::fixtures::{app, current, index_of};
use crate::{credentials, kib};

/// Objects of one page, as kube's list asks for them.
const PAGE: usize = 500;

/// The lists of so many accounts and their records, as the API server sends them, in files.
pub struct Lists {
    folder: TempDir,
}

impl Lists {
    /// Hashes every secret once.
    pub fn write(accounts: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        for (page, from) in (0..accounts).step_by(PAGE).enumerate() {
            let numbers = from..(from + PAGE).min(accounts);
            let objects = numbers.clone().map(|number| account(number).to_string()).collect();
            write(folder.path().join(format!("accounts-{page:03}")), objects)?;
            let objects = numbers.map(|number| Ok(record(number)?.to_string())).collect::<anyhow::Result<_>>()?;
            write(folder.path().join(format!("records-{page:03}")), objects)?;
        }
        Ok(Self { folder })
    }
}

fn write(path: PathBuf, objects: Vec<String>) -> anyhow::Result<()> {
    let mut file = std::fs::File::create(path)?;
    let head = r#"{"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": ["#;
    write!(file, "{head}{}]}}", objects.join(","))?;
    Ok(())
}

fn owner(number: usize) -> Owner {
    Owner { uid: format!("uid-of-account-{number}"), namespace: "shop".into(), name: format!("account-{number}") }
}

fn account(number: usize) -> serde_json::Value {
    let Owner { uid, namespace, name } = owner(number);
    json!({
        "apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount",
        "metadata": {
            "uid": uid, "namespace": namespace, "name": name, "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"description": "one of many", "emailAddress": "team@example.com", "userGroups": ["payments"]},
    })
}

fn record(number: usize) -> anyhow::Result<serde_json::Value> {
    let (client_id, secret) = credentials(number);
    let mut record = Record::new(owner(number));
    record.last_version = 1;
    record.versions.push(current(HashCost::GENERATED, &client_id, &secret)?);
    let json = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, record.to_json()?);
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "type": TYPE_RECORD, "data": {DATA_KEY: json},
        "metadata": {
            "uid": format!("uid-of-record-{number}"), "namespace": "keyrota-system", "resourceVersion": "1",
            "name": names::record(&record.account.uid), "labels": record.labels(),
        },
    }))
}

/// What the objects of a kind come to, page by page as the watches take them.
fn items<T: serde::de::DeserializeOwned + Clone>(
    folder: &Path,
    kind: &str,
    parse: impl Fn(T) -> anyhow::Result<Item>,
) -> anyhow::Result<Vec<Item>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    paths.sort();
    let mut all = Vec::new();
    for path in
        paths.iter().filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(kind)))
    {
        let page: ObjectList<T> = serde_json::from_slice(&std::fs::read(path)?)?;
        for object in page.items {
            all.push(parse(object)?);
        }
    }
    Ok(all)
}

/// Runs until it is killed; the first line on standard output is the address, and the seconds from the lists' arrival to
/// the first request that could be answered.
pub fn run(lists: &Path) -> anyhow::Result<()> {
    let log = LogArgs { level: "info".into(), format: LogFormat::Json };
    tracing::subscriber::set_global_default(telemetry::subscriber(&log, std::io::sink)?)?;
    let began = Instant::now();
    let accounts = items::<ServiceAccount>(lists, "accounts", |object| Ok(Item::Account(object.into())))?;
    let records = items::<Secret>(lists, "records", |object| Ok(Item::Record(RecordFacts::parse(&object)?)))?;
    let index = index_of(accounts, records)?;
    let ready = began.elapsed();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let metrics = Arc::new(Metrics::register(&mut Registry::default()));
        let app = app(&index, Arc::new(Unchanged(index.clone())), None, metrics)?;
        let listener = server::listen(([127, 0, 0, 1], 0).into())?;
        println!("{} {}", listener.local_addr()?, ready.as_secs_f64());
        let handle: Handle<SocketAddr> = Handle::new();
        server::serve(listener, None, Front::new(Arc::new(app), "http"), handle, Patience::default())
            .await
            .context("the gateway failed")
    })
}

/// An API server that answers at once what the index holds already.
struct Unchanged(Arc<Index>);

impl Unchanged {
    fn entry(&self, uid: &str) -> Option<Arc<Entry>> {
        let number = uid.strip_prefix("uid-of-account-")?.parse().ok()?;
        self.0.find(&self.0.world(), names::DEFAULT_ISSUER, &credentials(number).0)
    }
}

impl Live for Unchanged {
    fn account<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Option<AccountFacts>, LiveError>> {
        let found = self.entry(&owner.uid).map(|entry| AccountFacts::clone(&entry.account));
        std::future::ready(Ok(found)).boxed()
    }

    fn record<'a>(&'a self, uid: &'a str) -> BoxFuture<'a, Result<Option<RecordFacts>, LiveError>> {
        let found = self.entry(uid).map(|entry| RecordFacts::clone(&entry.record));
        std::future::ready(Ok(found)).boxed()
    }

    fn records<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<Labelled, LiveError>> {
        std::future::ready(Ok(Labelled::default())).boxed()
    }
}

/// A running server; killed when dropped.
pub struct Child {
    process: std::process::Child,
    /// Of its listener.
    pub address: String,
    /// From the lists' arrival to being able to answer.
    pub ready: Duration,
}

impl Child {
    /// Starts this very program as a server.
    pub fn start(lists: &Lists) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let mut process = Command::new(own).arg("--serve").arg(lists.folder.path()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("the server has no output")?).lines();
        let line = lines.next().context("the server did not start")??;
        let (address, ready) = line.split_once(' ').context("the server says something else")?;
        let ready = Duration::from_secs_f64(ready.parse()?);
        Ok(Self { address: address.to_owned(), ready, process })
    }

    /// What the system says it holds.
    pub fn resident_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        Ok(kib(&status, "VmRSS")? / 1024.0)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
