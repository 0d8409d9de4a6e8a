//! What every pass needs: the way to the cluster, what the watches have seen, and a little memory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client};
use parking_lot::{Mutex, RwLock};
use secrecy::SecretString;

use super::backlog::Backlog;
use super::deadlines::Deadlines;
use super::metrics::Metrics;
use super::notify::{Outbox, Ways};
use super::restart::Attempt;
use super::usage::Board;
use crate::api::{ServiceAccount, TokenIssuer, UserGroup};
use crate::clock::SharedClock;
use crate::domain::credential::SecretHash;
use crate::domain::issuer::{Issuer, Issuers};
use crate::domain::publication::Endpoints;
use crate::domain::record::Record;
use crate::domain::verifier::HashCost;
use crate::entropy::SharedEntropy;

/// What the watches have seen; may lag behind the cluster.
#[derive(Clone)]
pub struct Stores {
    /// One for each watched namespace, or one for all.
    pub accounts: Vec<Store<ServiceAccount>>,
    /// Metadata of the published Secrets, likewise.
    pub secrets: Vec<Store<PartialObjectMeta<Secret>>>,
    /// Account records.
    pub records: Store<Secret>,
    /// Token issuers.
    pub issuers: Store<TokenIssuer>,
    /// User groups.
    pub groups: Store<UserGroup>,
}

/// Settings that do not change while the process runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of records, keys and certificates.
    pub operator_namespace: String,
    /// The watched namespaces; empty for all.
    pub watch_namespaces: Vec<String>,
    /// The gateway's URL as clients see it, without a trailing slash.
    pub external_url: String,
    /// What hashing a generated secret costs.
    pub hash_cost: HashCost,
    /// Counts, over all terms of this process.
    pub metrics: Metrics,
    /// What expiry notices are sent with.
    pub ways: Ways,
    /// How long a tombstone is kept.
    pub tombstone_retention: chrono::TimeDelta,
}

/// A credential that was made and staged, but not published yet.
pub struct Minted {
    /// The number of the staged version.
    pub version: i64,
    /// Its hash, as it stands in the record.
    pub hash: SecretHash,
    /// Its secret; nowhere else.
    pub secret: SecretString,
}

/// Shared by all passes.
pub struct Context {
    /// The way to the API server.
    pub client: Client,
    /// The time.
    pub clock: SharedClock,
    /// The randomness.
    pub entropy: SharedEntropy,
    /// See [`Settings`].
    pub settings: Settings,
    /// See [`Stores`].
    pub stores: Stores,
    /// When to look again.
    pub deadlines: Arc<Deadlines>,
    /// The gateway's own CA in PEM, once it exists; none when the certificate comes from elsewhere.
    pub ca: RwLock<Option<String>>,
    /// Credentials between stage and publish, by account UID: a publish that failed is tried again with the same one.
    pub minted: Mutex<HashMap<String, Minted>>,
    /// Records as we wrote them, by account UID, until the watch has caught up: (resourceVersion, record).
    pub written: Mutex<HashMap<String, (u64, Record)>>,
    /// Published Secrets that somebody else touched and that were found intact: account UID → resourceVersion.
    pub verified: Mutex<HashMap<String, String>>,
    /// Uses that gateways have reported.
    pub usage: Board,
    /// Failed passes in a row, by account UID; what the back-off grows with.
    pub failures: Mutex<HashMap<String, u32>>,
    /// The last attempt to restart workloads, by account UID.
    pub restarts: Mutex<HashMap<String, Attempt>>,
    /// Passes that wait or are under way.
    pub backlog: Backlog,
    /// Issuers that are known to have signing keys, by name and UID: without them they are lost.
    pub keyed: Mutex<HashSet<(String, String)>>,
    /// Notices on their way out.
    pub outbox: Outbox,
    recorder: Recorder,
}

impl Context {
    /// Nothing remembered yet.
    pub fn new(
        client: Client,
        clock: SharedClock,
        entropy: SharedEntropy,
        settings: Settings,
        stores: Stores,
        deadlines: Arc<Deadlines>,
        backlog: Backlog,
    ) -> Self {
        let reporter = Reporter { controller: "keyrota-controller".into(), instance: None };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            clock,
            entropy,
            settings,
            stores,
            deadlines,
            ca: RwLock::default(),
            minted: Mutex::default(),
            written: Mutex::default(),
            verified: Mutex::default(),
            usage: Board::default(),
            failures: Mutex::default(),
            restarts: Mutex::default(),
            backlog,
            keyed: Mutex::default(),
            outbox: Outbox::default(),
        }
    }

    /// Secrets of the operator namespace.
    pub fn own_secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.settings.operator_namespace)
    }

    /// Publishes Events.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The issuers as the watch has them.
    pub fn issuers(&self) -> Issuers {
        let objects = self.stores.issuers.state();
        Issuers::from_objects(objects.iter().map(AsRef::as_ref))
    }

    /// The account of that name as the watches have it.
    pub fn account(&self, namespace: &str, name: &str) -> Option<Arc<ServiceAccount>> {
        let key = ObjectRef::new(name).within(namespace);
        self.stores.accounts.iter().find_map(|store| store.get(&key))
    }

    /// Where clients of an issuer find the gateway.
    pub fn endpoints(&self, issuer: &Issuer) -> Endpoints {
        Endpoints::of(issuer, &self.settings.external_url, self.ca.read().clone())
    }

    /// Keeps a record as we wrote it until the watch has caught up. Passes and the outbox write, each fenced, but they
    /// may come here in any order.
    pub fn remember(&self, uid: String, version: u64, record: &Record) {
        let mut written = self.written.lock();
        if written.get(&uid).is_none_or(|(known, _)| *known < version) {
            written.insert(uid, (version, record.clone()));
        }
    }

    /// Forgets an account that is gone.
    pub fn forget(&self, uid: &str) {
        self.minted.lock().remove(uid);
        self.written.lock().remove(uid);
        self.verified.lock().remove(uid);
        self.failures.lock().remove(uid);
        self.restarts.lock().remove(uid);
        self.usage.forget(uid);
    }
}
