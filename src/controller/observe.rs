//! From the cluster into the rules' terms: first from what the watches have seen, without any call; then, before
//! anything is written, from the cluster itself.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;
use kube::runtime::reflector::ObjectRef;
use secrecy::{ExposeSecret, SecretString};

use super::calls::find;
use super::context::Context;
use super::error::Error;
use crate::api::{GROUP, ServiceAccount, TYPE_CREDENTIALS};
use crate::domain::account::{Account, Authentication, SecretSettings, Seniority};
use crate::domain::assertion::trusted;
use crate::domain::issuer::Issuer;
use crate::domain::names;
use crate::domain::observed::{Observed, Published, Reported};
use crate::domain::publication::{self, Content, Publication};
use crate::domain::record::{self, Record};
use crate::domain::trigger::Triggers;
use crate::domain::verifier::Workspace;

/// What was seen, with the handles that writing needs.
pub struct Sight {
    /// In the rules' terms.
    pub observed: Observed,
    /// The object that it was seen from.
    pub object: Arc<ServiceAccount>,
    /// The issuer that serves the account.
    pub issuer: Issuer,
    /// The record's `resourceVersion`; none when there is no record, or nothing was read live.
    pub record_version: Option<String>,
    /// The Secret under the published name, read live.
    pub secret: Option<Secret>,
    /// The client secret in it, when it is of a known version.
    pub plaintext: Option<SecretString>,
}

/// What the watches have seen; none when that does not suffice to tell whether the published Secret is intact.
pub fn cached(context: &Context, object: &Arc<ServiceAccount>, account: &Account) -> Result<Option<Sight>, Error> {
    let record = cached_record(context, &account.owner.uid)?;
    let mut sight = surroundings(context, object.clone(), account.clone(), record);
    let Authentication::Internal(settings) = &account.authentication else { return Ok(Some(sight)) };
    let key = ObjectRef::new(&settings.secret_name).within(&account.owner.namespace);
    let Some(meta) = context.stores.secrets.iter().find_map(|store| store.get(&key)) else { return Ok(None) };
    let Some(secret) = unread(context, &sight, settings, &meta.metadata) else { return Ok(None) };
    sight.observed.secret = secret;
    Ok(Some(sight))
}

/// The published Secret by its metadata alone, when nobody but us has written it since.
fn unread(context: &Context, sight: &Sight, settings: &SecretSettings, meta: &ObjectMeta) -> Option<Published> {
    let uid = &sight.observed.account.owner.uid;
    let record = sight.observed.record.as_ref()?;
    let published = record.published.as_ref()?;
    let current = record.current()?;
    let untouched = meta.resource_version.as_ref() == Some(&published.resource_version)
        || meta.resource_version.as_ref() == context.verified.lock().get(uid);
    if controller(meta)?.uid != *uid || meta.uid.as_ref() != Some(&published.uid) || !untouched {
        return None;
    }
    let publication = publication(context, sight, settings, record)?;
    let fingerprint = meta.annotations.as_ref()?.get(publication::FINGERPRINT)?;
    let current_shape = *fingerprint == publication.fingerprint();
    let outdated = if current_shape { Vec::new() } else { vec!["the template or an endpoint".into()] };
    Some(Published::Ours { holds: Some(current.version), outdated })
}

/// What should be published for the current version.
pub fn publication(
    context: &Context,
    sight: &Sight,
    settings: &SecretSettings,
    record: &Record,
) -> Option<Publication> {
    let endpoints = context.endpoints(&sight.issuer);
    Some(Publication::of(&sight.observed.account.owner, settings, record.current()?, &endpoints))
}

/// The cluster itself: the account, its record, its Secret and its namespace. None when the account is gone.
pub async fn live(context: &Context, seen: &Account) -> Result<Option<Sight>, Error> {
    let owner = &seen.owner;
    let accounts: Api<ServiceAccount> = Api::namespaced(context.client.clone(), &owner.namespace);
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &owner.namespace);
    let namespaces: Api<Namespace> = Api::all(context.client.clone());
    let records = context.own_secrets();
    let record_name = names::record(&owner.uid);
    let secret_name = match &seen.authentication {
        Authentication::Internal(settings) => Some(settings.secret_name.as_str()),
        Authentication::External { .. } => None,
    };
    let (object, record, namespace) = tokio::try_join!(
        find(|| format!("read the ServiceAccount {}/{}", owner.namespace, owner.name), accounts.get(&owner.name)),
        find(|| format!("read the record {record_name}"), records.get(&record_name)),
        find(|| format!("read the Namespace {}", owner.namespace), namespaces.get(&owner.namespace)),
    )?;
    // After the record: an older Secret could be taken for a reason to retire, and that drops what a rival has staged
    // for the newer one (`domain::publish_model`, ReadAtOnce).
    let secret = match secret_name {
        Some(name) => find(|| format!("read the Secret {}/{name}", owner.namespace), secrets.get(name)).await?,
        None => None,
    };
    let Some(object) = object.filter(|object| object.metadata.uid.as_ref() == Some(&owner.uid)) else {
        return Ok(None);
    };
    // An edit that made it unusable is reported by the pass that its own event starts.
    let Ok(account) = Account::parse(&object) else { return Ok(None) };
    let record_version = record.as_ref().and_then(|record| record.metadata.resource_version.clone());
    let record = record.as_ref().map(parse_record).transpose()?;
    let mut sight = surroundings(context, Arc::new(object), account, record);
    sight.record_version = record_version;
    sight.observed.namespace_ending = namespace.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some());
    inspect(context, sight, secret).await.map(Some)
}

/// Everything but the published Secret.
fn surroundings(context: &Context, object: Arc<ServiceAccount>, account: Account, record: Option<Record>) -> Sight {
    let issuers = context.issuers();
    let issuer = issuers.of_namespace(&account.owner.namespace).cloned().unwrap_or_else(Issuer::built_in);
    let triggers = Triggers::read(&object, &account, context.clock.timestamp());
    let observed = Observed {
        triggers,
        reported: object.status.as_ref().map(Reported::from).unwrap_or_default(),
        secret: Published::Missing,
        grace: issuer.grace,
        rival: rival(context, &account, &issuers, &issuer),
        missing_groups: missing_groups(context, &account),
        missing_trust: missing_trust(&account, &issuer),
        namespace_ending: false,
        record,
        issuer: issuer.name.clone(),
        account,
    };
    Sight { observed, object, issuer, record_version: None, secret: None, plaintext: None }
}

/// An older account of the same issuer that has the same client ID.
fn rival(
    context: &Context,
    account: &Account,
    issuers: &crate::domain::issuer::Issuers,
    issuer: &Issuer,
) -> Option<String> {
    let Authentication::External { client_id, .. } = &account.authentication else { return None };
    let rank = Seniority::new(account.created, &account.owner.uid);
    let older = |other: &ServiceAccount| {
        let claims = other.spec.authentication.external_client_id.as_ref() == Some(client_id)
            || other.status.as_ref().and_then(|status| status.client_id.as_ref()) == Some(client_id);
        let meta = &other.metadata;
        claims
            && Seniority::of(meta) < rank
            && issuers
                .of_namespace(meta.namespace.as_deref().unwrap_or_default())
                .is_some_and(|of| of.name == issuer.name)
    };
    let found = context.stores.accounts.iter().find_map(|store| store.find(|other| older(other)))?;
    let meta = &found.metadata;
    Some(format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default()))
}

/// Accounts that still say they have the client ID that this older one has: made within the same second, or in a
/// namespace whose watch was ahead, they found no rival when they were looked at, and nothing else brings them back.
pub fn unaware(context: &Context, account: &Account) -> Vec<Arc<ServiceAccount>> {
    let Authentication::External { client_id, .. } = &account.authentication else { return Vec::new() };
    let rank = Seniority::new(account.created, &account.owner.uid);
    let younger = |other: &Arc<ServiceAccount>| {
        other.spec.authentication.external_client_id.as_ref() == Some(client_id)
            && other.status.as_ref().and_then(|status| status.client_id.as_ref()) == Some(client_id)
            && rank < Seniority::of(&other.metadata)
    };
    context.stores.accounts.iter().flat_map(|store| store.state().into_iter().filter(younger)).collect()
}

fn missing_trust(account: &Account, issuer: &Issuer) -> Option<String> {
    let Authentication::External { trusted_issuer, .. } = &account.authentication else { return None };
    trusted::missing(trusted_issuer.as_deref(), &issuer.trusted)
}

fn missing_groups(context: &Context, account: &Account) -> Vec<String> {
    let missing = |name: &&String| context.stores.groups.get(&ObjectRef::new(name.as_str())).is_none();
    account.groups.iter().filter(missing).cloned().collect()
}

/// Looks into the Secret: whose it is, which version it holds, and what differs.
async fn inspect(context: &Context, mut sight: Sight, secret: Option<Secret>) -> Result<Sight, Error> {
    let Authentication::Internal(settings) = sight.observed.account.authentication.clone() else { return Ok(sight) };
    let Some(secret) = secret else { return Ok(sight) };
    if let Some(somebody) = not_ours(&sight.observed.account, &secret) {
        sight.observed.secret = somebody;
        return Ok(sight);
    }
    let record = sight.observed.record.clone();
    let names = crate::domain::account::published_names(settings.template.keys.as_ref());
    let key = names.get("client-secret").map_or("client-secret", String::as_str);
    let held = match &record {
        Some(record) => holder(record, secrets_in(&secret, key)).await?,
        None => None,
    };
    let holds = held.as_ref().map(|(version, _)| *version);
    let publication = record.as_ref().and_then(|record| publication(context, &sight, &settings, record));
    let outdated = publication.map(|publication| publication.differences(&content(&secret))).unwrap_or_default();
    if holds.is_some() && outdated.is_empty() {
        let version = secret.metadata.resource_version.clone().unwrap_or_default();
        context.verified.lock().insert(sight.observed.account.owner.uid.clone(), version);
    }
    sight.observed.secret = Published::Ours { holds, outdated };
    sight.plaintext = held.map(|(_, plaintext)| plaintext);
    sight.secret = Some(secret);
    Ok(sight)
}

/// Whether a Secret must not be touched: no control over it, or of another type.
fn not_ours(account: &Account, secret: &Secret) -> Option<Published> {
    let Some(owner) = controller(&secret.metadata) else {
        return Some(Published::Foreign { owner: "nobody's controller".into() });
    };
    if owner.uid != account.owner.uid {
        let namesake = owner.kind == "ServiceAccount"
            && owner.api_version.starts_with(&format!("{GROUP}/"))
            && owner.name == account.owner.name;
        let owner = format!("{} {}", owner.kind, owner.name);
        return Some(if namesake { Published::Leftover } else { Published::Foreign { owner } });
    }
    let other_type = secret.type_.as_deref() != Some(TYPE_CREDENTIALS);
    other_type.then(|| Published::Foreign { owner: "this account, but has another type".into() })
}

fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
}

/// What may be the client secret: under the key where we put it last, and where the template wants it now.
fn secrets_in(secret: &Secret, key: &str) -> Vec<SecretString> {
    let Some(data) = &secret.data else { return Vec::new() };
    let last = secret.metadata.annotations.as_ref().and_then(|all| all.get(publication::SECRET_KEY));
    let keys = last.map(String::as_str).into_iter().chain([key]);
    let texts = keys.filter_map(|key| std::str::from_utf8(&data.get(key)?.0).ok());
    texts.map(SecretString::from).collect()
}

/// The number of the version that one of these is the secret of, with that secret; the current version first.
async fn holder(record: &Record, candidates: Vec<SecretString>) -> Result<Option<(i64, SecretString)>, Error> {
    let mut versions: Vec<_> = record.versions.iter().map(|v| (v.version, v.secret_hash.clone())).collect();
    let current = record.current().map(|current| current.version);
    versions.sort_by_key(|(number, _)| (Some(*number) != current, -number));
    let search = move || {
        let mut workspace = Workspace::default();
        candidates.into_iter().find_map(|candidate| {
            let bytes = candidate.expose_secret().as_bytes();
            let (number, _) = versions.iter().find(|(_, hash)| workspace.matches(bytes, hash))?;
            Some((*number, candidate.clone()))
        })
    };
    tokio::task::spawn_blocking(search).await.map_err(|_| Error::Interrupted)
}

/// The parts of a Secret that we share with others.
pub fn content(secret: &Secret) -> Content {
    let data = secret.data.clone().unwrap_or_default();
    Content {
        labels: secret.metadata.labels.clone().unwrap_or_default(),
        annotations: secret.metadata.annotations.clone().unwrap_or_default(),
        data: data.into_iter().map(|(key, value)| (key, value.0)).collect(),
    }
}

/// Reads the record out of its Secret.
pub fn parse_record(secret: &Secret) -> Result<Record, Error> {
    let json = secret.data.as_ref().and_then(|data| data.get(record::DATA_KEY));
    Ok(Record::parse(json.map_or(&[], |json| json.0.as_slice()))?)
}

/// The newer of what the watch has and what we wrote last.
pub fn cached_record(context: &Context, uid: &str) -> Result<Option<Record>, Error> {
    let key = ObjectRef::new(&names::record(uid)).within(&context.settings.operator_namespace);
    let watched = context.stores.records.get(&key);
    let watched_version = watched.as_ref().and_then(|secret| number(&secret.metadata));
    let mut written = context.written.lock();
    match written.get(uid) {
        Some((version, record)) if Some(*version) > watched_version => return Ok(Some(record.clone())),
        Some(_) => drop(written.remove(uid)),
        None => {}
    }
    drop(written);
    watched.as_deref().map(parse_record).transpose()
}

/// A `resourceVersion` as a number; they are comparable since Kubernetes 1.35 and were in practice before.
pub fn number(meta: &ObjectMeta) -> Option<u64> {
    meta.resource_version.as_ref()?.parse().ok()
}
