//! Live reads: asking the API server itself, for the moments when the watch may be late. Behind a trait, so that tests
//! inject faults.

use std::collections::HashSet;

use futures::future::{BoxFuture, try_join_all};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, Client};
use thiserror::Error;

use super::facts::{AccountFacts, FactsError, RecordFacts};
use crate::api::{ServiceAccount, TYPE_RECORD};
use crate::domain::names::{self, LABEL_CLIENT_ID, LABEL_PREVIOUS_CLIENT_ID, LABEL_STAGED_CLIENT_ID};
use crate::domain::record::Owner;

/// Where live reads go.
pub trait Live: Send + Sync + 'static {
    /// The account of that namespace and name, whatever its UID; none when there is none, or when its namespace is not
    /// watched here.
    fn account<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Option<AccountFacts>, LiveError>>;

    /// The record of an account's UID.
    fn record<'a>(&'a self, uid: &'a str) -> BoxFuture<'a, Result<Option<RecordFacts>, LiveError>>;

    /// All records that carry one of these values of [`names::client_id_label`].
    fn records<'a>(&'a self, labels: &'a [String]) -> BoxFuture<'a, Result<Labelled, LiveError>>;
}

/// What a search by labels found.
#[derive(Debug, Default)]
pub struct Labelled {
    /// The records.
    pub records: Vec<RecordFacts>,
    /// Labels of records that are there but cannot be read.
    pub unreadable: HashSet<String>,
}

/// Why a live read gave no answer: nothing may be concluded from it.
#[derive(Debug, Error)]
pub enum LiveError {
    /// The API server did not answer, or not with an object.
    #[error("the API server gave no answer: {0}")]
    Api(#[from] Box<kube::Error>),
    /// It takes too long.
    #[error("the API server gave no answer in time")]
    Late,
    /// The object is there but cannot be read.
    #[error("the object cannot be read: {0}")]
    Unreadable(#[from] FactsError),
}

/// Live reads of a real cluster. Without `resourceVersion`, so that the answer is not an old cache's.
pub struct KubeLive {
    client: Client,
    records: Api<Secret>,
    watch_namespaces: Vec<String>,
}

impl KubeLive {
    /// Reads records in the operator namespace and accounts in these namespaces, or in all if none is given.
    #[must_use]
    pub fn new(client: Client, operator_namespace: &str, watch_namespaces: Vec<String>) -> Self {
        Self { records: Api::namespaced(client.clone(), operator_namespace), client, watch_namespaces }
    }

    fn watches(&self, namespace: &str) -> bool {
        self.watch_namespaces.is_empty() || self.watch_namespaces.iter().any(|watched| watched == namespace)
    }

    async fn labelled(&self, key: &str, values: &str) -> Result<Vec<Secret>, LiveError> {
        let params =
            ListParams::default().labels(&format!("{key} in ({values})")).fields(&format!("type={TYPE_RECORD}"));
        Ok(self.records.list(&params).await.map_err(Box::new)?.items)
    }
}

impl Live for KubeLive {
    fn account<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Option<AccountFacts>, LiveError>> {
        Box::pin(async move {
            if !self.watches(&owner.namespace) {
                return Ok(None);
            }
            let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &owner.namespace);
            Ok(api.get_opt(&owner.name).await.map_err(Box::new)?.map(AccountFacts::from))
        })
    }

    fn record<'a>(&'a self, uid: &'a str) -> BoxFuture<'a, Result<Option<RecordFacts>, LiveError>> {
        Box::pin(async move {
            let secret = self.records.get_opt(&names::record(uid)).await.map_err(Box::new)?;
            Ok(secret.as_ref().map(RecordFacts::parse).transpose()?)
        })
    }

    fn records<'a>(&'a self, labels: &'a [String]) -> BoxFuture<'a, Result<Labelled, LiveError>> {
        Box::pin(async move {
            let values = labels.join(",");
            // A selector cannot say "or" across keys: three lists, at once.
            let lists = try_join_all(CLIENT_ID_LABELS.map(|key| self.labelled(key, &values))).await?;
            let mut found = Labelled::default();
            let mut seen = HashSet::new();
            for secret in lists.into_iter().flatten() {
                if !seen.insert(secret.metadata.name.clone()) {
                    continue;
                }
                match RecordFacts::parse(&secret) {
                    Ok(record) => found.records.push(record),
                    Err(_) => found.unreadable.extend(client_id_labels(&secret)),
                }
            }
            Ok(found)
        })
    }
}

const CLIENT_ID_LABELS: [&str; 3] = [LABEL_CLIENT_ID, LABEL_STAGED_CLIENT_ID, LABEL_PREVIOUS_CLIENT_ID];

fn client_id_labels(secret: &Secret) -> impl Iterator<Item = String> + '_ {
    CLIENT_ID_LABELS
        .into_iter()
        .filter_map(|key| secret.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned())
}
