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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::fake_server::Server;
    use crate::index::testing::account;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use futures::join;
    use serde_json::{Value, json};

    fn secret(json: &str, labels: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": TYPE_RECORD,
            "metadata": {"name": "record-uid-of-a", "resourceVersion": "7", "labels": labels},
            "data": {"record.json": BASE64_STANDARD.encode(json)}
        })
    }

    fn list(items: &[Value]) -> Value {
        json!({"apiVersion": "v1", "kind": "SecretList", "metadata": {"resourceVersion": "9"}, "items": items})
    }

    fn live(namespaces: &[&str]) -> (KubeLive, Server) {
        let (client, server) = Server::start();
        let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
        (KubeLive::new(client, "keyrota-system", namespaces), server)
    }

    #[tokio::test]
    async fn a_search_asks_by_all_three_labels_and_tells_each_record_once() {
        let (live, mut server) = live(&[]);
        let record = secret(&account("a").current("id", "s").record.to_json().unwrap(), json!({}));
        let labels = ["one".to_owned(), "two".to_owned()];
        let (found, asked) = join!(live.records(&labels), async {
            let mut asked = Vec::new();
            for _ in 0..3 {
                asked.push(server.answer(200, &[list(std::slice::from_ref(&record))]).await);
            }
            asked
        });
        let found = found.unwrap();
        assert_eq!((found.records.len(), found.unreadable.len()), (1, 0));
        let keys = ["client-id", "staged-client-id", "previous-client-id"];
        for (asked, key) in asked.iter().zip(keys) {
            assert!(asked.starts_with("/api/v1/namespaces/keyrota-system/secrets?"), "{asked}");
            assert!(asked.contains(&format!("keyrota.dev%2F{key}+in+%28one%2Ctwo%29")), "{asked}");
            assert!(asked.contains("fieldSelector=type%3Dkeyrota.dev%2Faccount-record"), "{asked}");
            assert!(!asked.contains("resourceVersion"), "an old cache must not answer: {asked}");
        }
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_is_told_by_its_labels() {
        let (live, mut server) = live(&[]);
        let broken = secret("{}", json!({LABEL_CLIENT_ID: "one", LABEL_PREVIOUS_CLIENT_ID: "zero", "other": "x"}));
        let labels = ["one".to_owned()];
        let (found, ()) = join!(live.records(&labels), async {
            for _ in 0..3 {
                server.answer(200, &[list(std::slice::from_ref(&broken))]).await;
            }
        });
        assert_eq!(found.unwrap().unreadable, HashSet::from(["one".to_owned(), "zero".to_owned()]));
    }

    #[tokio::test]
    async fn what_is_not_there_is_an_answer_and_everything_else_is_none() {
        let (live, mut server) = live(&[]);
        let status = |code: u16, reason: &str| json!({"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "status": "Failure"});
        let owner = account("a").account.owner;
        let (found, asked) = join!(live.account(&owner), server.decide(|_| (404, vec![status(404, "NotFound")])));
        assert!(
            found.unwrap().is_none()
                && asked.starts_with("/apis/keyrota.dev/v1alpha1/namespaces/shop/serviceaccounts/a")
        );
        for (code, reason) in [(403, "Forbidden"), (429, "TooManyRequests"), (500, "InternalError"), (504, "Timeout")] {
            let (found, _) = join!(live.account(&owner), server.decide(|_| (code, vec![status(code, reason)])));
            assert!(found.is_err(), "{code}");
            let (found, asked) = join!(live.record("u"), server.decide(|_| (code, vec![status(code, reason)])));
            assert!(
                found.is_err() && asked.starts_with("/api/v1/namespaces/keyrota-system/secrets/record-u"),
                "{asked}"
            );
        }
        let (found, _) = join!(live.record("uid-of-a"), server.decide(|_| (200, vec![secret("{}", json!({}))])));
        assert!(matches!(found, Err(LiveError::Unreadable(_))));
    }

    #[tokio::test]
    async fn an_account_in_a_namespace_that_is_not_watched_is_not_asked_for() {
        let (live, _server) = live(&["bank"]);
        assert!(live.account(&account("a").account.owner).await.unwrap().is_none());
    }
}
