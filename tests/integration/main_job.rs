//! The main job, whole: controller and gateway, each under its own service account, against the real API server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt, TryStreamExt};
use keyrota::api::{MANAGED_BY, MANAGER};
use keyrota::domain::verifier::{self, HashCost};
use kube::ResourceExt;
use kube::api::DeleteParams;
use kube::runtime::{WatchStreamExt, watcher};
use rand::SeedableRng;
use serde_json::json;

use super::common::eventually;
use super::common::operator::{Gateway, Operator, SOON, text};

const NOT_FOUND: (u16, &str) = (400, "ACCT_SA_003");
const WRONG_SECRET: (u16, &str) = (400, "OAUTH_CLNT_015");

async fn answer(gateway: &Gateway, pair: &(String, String)) -> (u16, String) {
    let (status, said) = gateway.token(pair).await;
    (status, if status == 200 { String::new() } else { said })
}

async fn refused_as(gateway: &Gateway, pair: &(String, String), (status, code): (u16, &str)) {
    eventually(&format!("refused with {code}"), SOON, async || {
        (answer(gateway, pair).await == (status, code.to_owned())).then_some(())
    })
    .await;
}

async fn granted(gateway: &Gateway, pair: &(String, String)) {
    eventually("granted", SOON, async || (answer(gateway, pair).await.0 == 200).then_some(())).await;
}

/// Each is asked for a token by a client that reads the Secret the moment the watch shows it. 503 would be "later";
/// 400 is a refusal, and there must be none.
#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_accounts_created_in_a_burst_are_each_used_at_once_without_a_refusal() {
    const ACCOUNTS: usize = 500;
    let mut operator = Operator::start().await;
    let gateway = Arc::new(operator.start_gateway().await);
    let refused = Arc::new(AtomicUsize::new(0));
    let ours = watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
    let published = watcher(operator.secrets(), ours)
        .applied_objects()
        .try_filter_map(|secret| async move { Ok((!text(&secret, "client-secret").is_empty()).then_some(secret)) });
    let create = async {
        futures::stream::iter(0..ACCOUNTS)
            .for_each_concurrent(50, |number| {
                let operator = &operator;
                async move { drop(operator.create(&format!("burst-{number}"), json!({})).await) }
            })
            .await;
    };
    let use_at_once = async {
        let mut used = BTreeMap::new();
        let mut requests = Box::pin(published)
            .map(|secret| {
                let (gateway, refused) = (gateway.clone(), refused.clone());
                async move {
                    let secret = secret.unwrap();
                    let pair = (text(&secret, "client-id"), text(&secret, "client-secret"));
                    loop {
                        match gateway.token(&pair).await {
                            (200, _) => return secret.name_any(),
                            (503, _) => continue,
                            (_, _) => refused.fetch_add(1, Ordering::Relaxed),
                        };
                        tokio::task::yield_now().await;
                    }
                }
            })
            .buffer_unordered(64);
        while used.len() < ACCOUNTS {
            *used.entry(requests.next().await.unwrap()).or_insert(0) += 1;
        }
    };
    tokio::time::timeout(SOON * 4, async { tokio::join!(create, use_at_once) }).await.expect("all are used in time");
    assert_eq!(refused.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn disabling_and_deleting_refuse_and_enabling_brings_the_same_credential_back() {
    let mut operator = Operator::start().await;
    let gateway = operator.start_gateway().await;
    operator.ready("exporter", json!({})).await;
    let pair = operator.credential("exporter-credentials").await;
    assert_eq!(answer(&gateway, &pair).await.0, 200);
    assert_eq!(answer(&gateway, &(pair.0.clone(), "wrong".into())).await, (400, WRONG_SECRET.1.into()));
    operator.edit("exporter", json!({"spec": {"enabled": false}})).await;
    refused_as(&gateway, &pair, NOT_FOUND).await;
    operator.edit("exporter", json!({"spec": {"enabled": true}})).await;
    granted(&gateway, &pair).await;
    operator.accounts().delete("exporter", &DeleteParams::default()).await.unwrap();
    refused_as(&gateway, &pair, NOT_FOUND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_regenerated_secret_works_at_once_and_the_old_one_is_refused_after_a_grace_of_nothing() {
    let mut operator = Operator::start().await;
    let gateway = operator.start_gateway().await;
    operator.ready("exporter", json!({})).await;
    let old = operator.credential("exporter-credentials").await;
    assert_eq!(answer(&gateway, &old).await.0, 200);
    operator.edit("exporter", json!({"spec": {"regenerate": {"clientSecret": 1}}})).await;
    let new = operator.next_credential("exporter-credentials", &old).await;
    assert_eq!(answer(&gateway, &new).await.0, 200, "accepted the moment it is published");
    refused_as(&gateway, &old, WRONG_SECRET).await;
}

/// The manual's own sample: `Basic NTIxYzNh…Cg==` decodes to this pair and a line end.
#[tokio::test(flavor = "multi_thread")]
async fn the_manuals_own_sample_header_gets_a_token_when_that_pair_is_the_accounts() {
    let mut operator = Operator::start().await;
    let gateway = operator.start_gateway().await;
    let account = operator.ready("sample", json!({})).await;
    operator.kill_controller().await;
    let pair = ("521c3ad2-ea4e-447b-a51b-9621bb7ea126", "55AU#NO8%*ZhgvNfaYUmtvX0dkEhodbi\n");
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    let hash = verifier::hash(&pair.1.trim_end().into(), HashCost::IMPORTED, &mut random).unwrap();
    operator.import(&account, pair.0, hash).await;
    granted(&gateway, &(pair.0.to_owned(), pair.1.to_owned())).await;
}
