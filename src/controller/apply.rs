//! The only writer of credentials: carries out one [`Action`], and says what stands in the cluster afterwards.
//!
//! A change is three writes, each safe to die before and after: *stage* (record), *publish* (Secret), *retire*
//! (record). All of them carry the `resourceVersion` that was just read, so two controllers cannot both win.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Resource};
use secrecy::{ExposeSecret, SecretString};

use super::calls::call;
use super::context::{Context, Minted};
use super::error::{CallError, Error};
use super::metrics;
use super::observe::{self, Sight};
use super::report;
use crate::api::{TYPE_CREDENTIALS, TYPE_RECORD, Timestamp};
use crate::domain::account::{Authentication, SecretSettings};
use crate::domain::credential::Version;
use crate::domain::names;
use crate::domain::observed::{Observed, Published as Seen};
use crate::domain::plan::{Action, Change};
use crate::domain::publication::{Content, Publication};
use crate::domain::record::{self, Published, Record};
use crate::domain::{mint, restart, transition, verifier};
use crate::entropy::Draw;

/// Who writes, as `managedFields` shows it.
pub const MANAGER: &str = "keyrota";

/// Carries out one action and returns what stands now.
pub async fn apply(context: &Context, sight: Sight, action: &Action, now: Timestamp) -> Result<Sight, Error> {
    let settings = match sight.observed.account.authentication.clone() {
        Authentication::Internal(settings) => settings,
        Authentication::External { client_id, .. } => return register(context, sight, client_id).await,
    };
    match action {
        Action::Nothing | Action::Register => Ok(sight),
        Action::Change(change) => {
            let sight = stage_and_publish(context, sight, &settings, change, now).await?;
            let Seen::Ours { holds: Some(version), .. } = sight.observed.secret else { return Ok(sight) };
            let sight = retire(context, sight, version).await?;
            report::published(context, &sight.object, &settings.secret_name, change.reason).await;
            Ok(sight)
        }
        Action::Retire { version } => retire(context, sight, *version).await,
        Action::Republish { outdated } => republish(context, sight, &settings, outdated).await,
        Action::MoveExpiry { not_after, validity_days } => {
            let record = transition::move_expiry(record_of(&sight), *not_after, *validity_days);
            let sight = write_record(context, sight, record).await?;
            report::expiry_moved(context, &sight.object, *not_after, *validity_days).await;
            Ok(mark_outdated(sight, "key expires-at"))
        }
        Action::ShortenGrace { not_after } => {
            let record = transition::shorten_grace(record_of(&sight), *not_after);
            write_record(context, sight, record).await
        }
    }
}

/// The record of an External account: its client ID and nothing else.
async fn register(context: &Context, sight: Sight, client_id: String) -> Result<Sight, Error> {
    let mut record = record_of(&sight);
    record.external_client_id = Some(client_id);
    write_record(context, sight, record).await
}

/// Steps 1 and 2. A publish that failed before is tried again with the credential that is staged already: the
/// plaintext is still in memory, and no hash piles up. The record is written all the same: a rival may just be about to
/// retire another version and to drop this one.
async fn stage_and_publish(
    context: &Context,
    sight: Sight,
    settings: &SecretSettings,
    change: &Change,
    now: Timestamp,
) -> Result<Sight, Error> {
    let uid = sight.observed.account.owner.uid.clone();
    let (sight, version, secret) = match staged_before(context, &sight, change, now) {
        Some((version, secret)) => {
            let record = transition::stage_again(record_of(&sight), version.version);
            (write_record(context, sight, record).await?, version, secret)
        }
        None => stage(context, sight, settings, change, now).await?,
    };
    let sight = publish(context, sight, settings, &version, &secret).await?;
    context.minted.lock().remove(&uid);
    Ok(sight)
}

fn staged_before(context: &Context, sight: &Sight, change: &Change, now: Timestamp) -> Option<(Version, SecretString)> {
    let minted = context.minted.lock();
    let minted = minted.get(&sight.observed.account.owner.uid)?;
    let version = sight.observed.record.as_ref()?.version(minted.version)?;
    let same = version.secret_hash == minted.hash
        && version.works_at(now)
        && version.reason == change.reason
        && version.answers.as_ref() == Some(&change.answers)
        && change.client_id.as_ref().is_none_or(|id| *id == version.client_id);
    same.then(|| (version.clone(), minted.secret.clone()))
}

async fn stage(
    context: &Context,
    sight: Sight,
    settings: &SecretSettings,
    change: &Change,
    now: Timestamp,
) -> Result<(Sight, Version, SecretString), Error> {
    let mut random = Draw(context.entropy.as_ref());
    let client_id = match &change.client_id {
        Some(client_id) => client_id.clone(),
        None => mint::client_id(&mut random)?,
    };
    let secret = mint::client_secret(&mut random)?;
    let hash = verifier::hash(&secret, context.settings.hash_cost, &mut random)?;
    let uid = sight.observed.account.owner.uid.clone();
    let record = transition::stage(record_of(&sight), change, client_id, hash.clone(), settings, now);
    let Some(version) = record.versions.last().cloned() else { return Err(Error::Unsettled(0)) };
    let sight = write_record(context, sight, record).await?;
    context.minted.lock().insert(uid, Minted { version: version.version, hash, secret: secret.clone() });
    Ok((sight, version, secret))
}

/// Step 2: a plain create when the Secret was missing, else a replace with the `uid` and `resourceVersion` just read.
async fn publish(
    context: &Context,
    mut sight: Sight,
    settings: &SecretSettings,
    version: &Version,
    secret: &SecretString,
) -> Result<Sight, Error> {
    let endpoints = context.endpoints(&sight.issuer);
    let publication = Publication::of(&sight.observed.account.owner, settings, version, &endpoints);
    let written = write_secret(context, &sight, settings, &publication, secret).await?;
    sight.observed.secret = Seen::Ours { holds: Some(version.version), outdated: Vec::new() };
    sight.secret = Some(written);
    sight.plaintext = Some(secret.clone());
    Ok(sight)
}

/// Step 3.
async fn retire(context: &Context, sight: Sight, version: i64) -> Result<Sight, Error> {
    let published = identity(sight.secret.as_ref());
    let now = context.clock.timestamp();
    let before = record_of(&sight);
    let is_new = before.staged().any(|staged| staged.version == version);
    let mut record = transition::retire(before, version, published, sight.observed.grace, now);
    if is_new {
        record = restart::note(record, &sight.observed.account);
    }
    let reason = record.current().filter(|_| is_new).map(|current| current.reason);
    let sight = write_record(context, sight, record).await?;
    if let Some(reason) = reason {
        context.settings.metrics.published(reason);
        let owner = &sight.observed.account.owner;
        let (namespace, account) = (&owner.namespace, &owner.name);
        tracing::info!(namespace, account, version, reason = metrics::name(reason), "credential published");
    }
    Ok(refresh_outdated(context, sight))
}

/// Writes the Secret again around the secret that it holds, then the record's note of it.
async fn republish(
    context: &Context,
    mut sight: Sight,
    settings: &SecretSettings,
    outdated: &[String],
) -> Result<Sight, Error> {
    let mut record = record_of(&sight);
    let publication = observe::publication(context, &sight, settings, &record);
    let (Some(publication), Some(secret)) = (publication, sight.plaintext.clone()) else { return Ok(sight) };
    let written = write_secret(context, &sight, settings, &publication, &secret).await?;
    record.published = Some(identity(Some(&written)));
    sight.secret = Some(written);
    let mut sight = write_record(context, sight, record).await?;
    if let Seen::Ours { outdated, .. } = &mut sight.observed.secret {
        outdated.clear();
    }
    report::republished(context, &sight.object, &settings.secret_name, outdated).await;
    Ok(sight)
}

async fn write_secret(
    context: &Context,
    sight: &Sight,
    settings: &SecretSettings,
    publication: &Publication,
    secret: &SecretString,
) -> Result<Secret, Error> {
    let namespace = &sight.observed.account.owner.namespace;
    let name = &settings.secret_name;
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    let before = sight.secret.as_ref().map(observe::content).unwrap_or_default();
    let Content { labels, annotations, data } = publication.over(before, secret.expose_secret().as_bytes());
    let mut object = sight.secret.clone().unwrap_or_else(|| Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            owner_references: sight.object.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some(TYPE_CREDENTIALS.into()),
        ..Secret::default()
    });
    object.metadata.labels = Some(labels);
    object.metadata.annotations = Some(annotations);
    object.metadata.managed_fields = None;
    object.data = Some(data.into_iter().map(|(key, value)| (key, ByteString(value))).collect());
    let what = || format!("publish the Secret {namespace}/{name}");
    if sight.secret.is_some() {
        call(what, api.replace(name, &parameters, &object)).await
    } else {
        call(what, api.create(&parameters, &object)).await
    }
}

/// Creates the record, or replaces it with the `resourceVersion` just read.
pub async fn write_record(context: &Context, mut sight: Sight, record: Record) -> Result<Sight, Error> {
    sight.record_version = store_record(context, &record, sight.record_version).await?;
    sight.observed.record = Some(record);
    Ok(sight)
}

/// The write itself; returns the new `resourceVersion`.
pub async fn store_record(
    context: &Context,
    record: &Record,
    resource_version: Option<String>,
) -> Result<Option<String>, Error> {
    let uid = record.account.uid.clone();
    let exists = resource_version.is_some();
    let name = names::record(&uid);
    let json = record
        .to_json()
        .map_err(|_| Error::Call { what: format!("write the record {name}"), cause: CallError::Unreadable })?;
    let object = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(record.labels()),
            resource_version,
            ..ObjectMeta::default()
        },
        type_: Some(TYPE_RECORD.into()),
        data: Some(BTreeMap::from([(record::DATA_KEY.to_owned(), ByteString(json.into_bytes()))])),
        ..Secret::default()
    };
    let api = context.own_secrets();
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    let what = || format!("write the record {name}");
    let written = if exists {
        call(what, api.replace(&name, &parameters, &object)).await?
    } else {
        call(what, api.create(&parameters, &object)).await?
    };
    if let Some(version) = observe::number(&written.metadata) {
        context.remember(uid, version, record);
    }
    Ok(written.metadata.resource_version)
}

fn record_of(sight: &Sight) -> Record {
    let Observed { account, record, reported, .. } = &sight.observed;
    record.clone().unwrap_or_else(|| transition::fresh_record(account, reported))
}

fn identity(secret: Option<&Secret>) -> Published {
    let meta = secret.map(|secret| secret.metadata.clone()).unwrap_or_default();
    Published { uid: meta.uid.unwrap_or_default(), resource_version: meta.resource_version.unwrap_or_default() }
}

fn mark_outdated(mut sight: Sight, item: &str) -> Sight {
    if let Seen::Ours { outdated, .. } = &mut sight.observed.secret {
        outdated.push(item.into());
    }
    sight
}

/// After a retire of what a crashed controller had published, the template may have moved on.
fn refresh_outdated(context: &Context, mut sight: Sight) -> Sight {
    let Authentication::Internal(settings) = sight.observed.account.authentication.clone() else { return sight };
    let differences = sight
        .observed
        .record
        .as_ref()
        .and_then(|record| observe::publication(context, &sight, &settings, record))
        .zip(sight.secret.as_ref())
        .map(|(publication, secret)| publication.differences(&observe::content(secret)));
    if let (Seen::Ours { outdated, .. }, Some(differences)) = (&mut sight.observed.secret, differences) {
        *outdated = differences;
    }
    sight
}
