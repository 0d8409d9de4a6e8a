//! Records whose account is gone become tombstones. No finalizer: a deletion that nobody saw is found here.
//!
//! An account counts as gone only when the API server itself says so, by name: 404, or another UID. Never on an error,
//! a partial list, or a namespace that is not watched (any more).

use std::sync::Arc;

use chrono::TimeDelta;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};

use super::calls::{call, find};
use super::context::Context;
use super::error::Error;
use super::observe::parse_record;
use super::triggers::Deleted;
use super::usage;
use crate::api::{MANAGED_BY, MANAGER, ServiceAccount, Timestamp};
use crate::domain::names;
use crate::domain::record::{Owner, Record};

/// Looks at every record once, at every tombstone and at every usage report.
pub async fn all(context: &Context) -> Result<(), Error> {
    let mut outcome = Ok(());
    for secret in context.stores.records.state() {
        if let Ok(record) = parse_record(&secret)
            && !known(context, &record.account)
        {
            outcome = outcome.and(bury(context, &secret, &record).await);
        }
    }
    outcome.and(forget_old_tombstones(context).await).and(usage::forget_old_reports(context).await)
}

/// Looks at the record of one account that a watch saw deleted.
pub async fn one(context: &Context, uid: &str) -> Result<(), Error> {
    let name = names::record(uid);
    let secret = find(|| format!("read the record {name}"), context.own_secrets().get(&name)).await?;
    let Some(secret) = secret else { return Ok(()) };
    bury(context, &secret, &parse_record(&secret)?).await
}

fn known(context: &Context, owner: &Owner) -> bool {
    context
        .account(&owner.namespace, &owner.name)
        .is_some_and(|object| object.metadata.uid.as_ref() == Some(&owner.uid))
}

async fn bury(context: &Context, secret: &Secret, record: &Record) -> Result<(), Error> {
    let owner = &record.account;
    let watched = &context.settings.watch_namespaces;
    if !watched.is_empty() && !watched.contains(&owner.namespace) {
        return Ok(());
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(context.client.clone(), &owner.namespace);
    let what = || format!("read the ServiceAccount {}/{}", owner.namespace, owner.name);
    let living = find(what, accounts.get(&owner.name)).await?;
    if living.is_some_and(|object| object.metadata.uid.as_ref() == Some(&owner.uid)) {
        return Ok(());
    }
    write_tombstone(context, record).await?;
    delete_record(context, secret).await?;
    context.deadlines.set(&owner.namespace, &owner.name, None);
    context.forget(&owner.uid);
    tracing::info!(
        namespace = owner.namespace,
        account = owner.name,
        "an account is gone: its record became a tombstone"
    );
    Ok(())
}

/// What the inventory shows of a deleted account: no hashes, no description, no mail address.
async fn write_tombstone(context: &Context, record: &Record) -> Result<(), Error> {
    let Owner { uid, namespace, name } = &record.account;
    let client_id = record.current().map(|version| version.client_id.clone()).or(record.external_client_id.clone());
    let mode = if record.external_client_id.is_some() { "External" } else { "Internal" };
    let facts = [
        ("accountStatus", Some("deleted".to_owned())),
        ("uid", Some(uid.clone())),
        ("namespace", Some(namespace.clone())),
        ("name", Some(name.clone())),
        ("authenticationMode", Some(mode.to_owned())),
        ("clientId", client_id),
        ("createdBy", record.created_by.clone()),
        ("createdTime", record.created_time.map(|time| time.to_string())),
        ("deletedTime", Some(context.clock.timestamp().to_string())),
    ];
    let tombstone = ConfigMap {
        metadata: ObjectMeta {
            name: Some(names::tombstone(uid)),
            labels: Some(
                [
                    (MANAGED_BY.to_owned(), MANAGER.to_owned()),
                    (names::LABEL_TOMBSTONE.to_owned(), "true".to_owned()),
                    (names::LABEL_NAMESPACE.to_owned(), namespace.clone()),
                    (names::LABEL_NAME_HASH.to_owned(), names::name_hash(name)),
                ]
                .into(),
            ),
            ..ObjectMeta::default()
        },
        data: Some(facts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()),
        ..ConfigMap::default()
    };
    let what = || format!("write the tombstone of {namespace}/{name}");
    match call(what, tombstones(context).create(&PostParams::default(), &tombstone)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_race() => Ok(()),
        Err(error) => Err(error),
    }
}

async fn delete_record(context: &Context, secret: &Secret) -> Result<(), Error> {
    let name = secret.metadata.name.clone().unwrap_or_default();
    let preconditions =
        Preconditions { uid: secret.metadata.uid.clone(), resource_version: secret.metadata.resource_version.clone() };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    find(|| format!("delete the record {name}"), context.own_secrets().delete(&name, &parameters)).await.map(|_| ())
}

async fn forget_old_tombstones(context: &Context) -> Result<(), Error> {
    let api = tombstones(context);
    let selector = ListParams::default().labels(&format!("{}=true", names::LABEL_TOMBSTONE));
    let now = context.clock.timestamp();
    for tombstone in call(|| "list the tombstones".into(), api.list(&selector)).await?.items {
        let name = tombstone.metadata.name.clone().unwrap_or_default();
        if is_over(&tombstone, context.settings.tombstone_retention, now) {
            find(|| format!("delete the tombstone {name}"), api.delete(&name, &DeleteParams::default())).await?;
        }
    }
    Ok(())
}

fn is_over(tombstone: &ConfigMap, retention: TimeDelta, now: Timestamp) -> bool {
    let deleted =
        tombstone.data.as_ref().and_then(|data| data.get("deletedTime")).and_then(|t| Timestamp::parse(t).ok());
    deleted.is_some_and(|deleted| deleted.saturating_add(retention) <= now)
}

fn tombstones(context: &Context) -> Api<ConfigMap> {
    Api::namespaced(context.client.clone(), &context.settings.operator_namespace)
}

/// Sweeps whenever a deletion is seen, and everything from time to time.
pub async fn keep_sweeping(
    context: Arc<Context>,
    mut deleted: tokio::sync::mpsc::UnboundedReceiver<Deleted>,
    again: tokio::sync::mpsc::UnboundedSender<Deleted>,
) {
    while let Some(what) = deleted.recv().await {
        let outcome = match &what {
            Deleted::One(uid) => one(&context, uid).await,
            Deleted::Perhaps => all(&context).await,
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "a sweep was not finished and is tried again in a second");
            let again = again.clone();
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                let _ = again.send(what);
            });
        }
    }
}
