//! `legacy.publishKeyTo`: the HS256 keys for resource servers, in a Secret that belongs to the issuer object.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};

use crate::api::token_issuer::{KeyState, PublishKeyTo};
use crate::api::{MANAGED_BY, MANAGER, TokenIssuer};
use crate::controller::calls::{call, find};
use crate::controller::context::Context;
use crate::controller::error::Error;
use crate::domain::keys::LegacyKeys;
use crate::domain::names;

/// Annotation of a copy: the operator's namespace. Two operators of a cluster have different keys for the same issuer.
const OPERATOR: &str = "keyrota.dev/operator-namespace";

const ITEMS: [&str; 3] = ["current", "previous", "next"];

/// What came of it.
pub enum Published {
    Done,
    /// Somebody else's Secret has the name.
    InTheWay(String),
}

/// Brings the copy up to date; a Secret that is not the issuer's own is not touched.
pub async fn publish(
    context: &Context,
    object: &TokenIssuer,
    to: &PublishKeyTo,
    keys: &LegacyKeys,
) -> Result<Published, Error> {
    let (secrets, place) = (api(context, to), place(to));
    let existing = find(|| format!("read the Secret {place}"), secrets.get(&to.secret_name)).await?;
    if existing.as_ref().is_some_and(|secret| !is_ours(context, secret, object)) {
        let message = format!(
            "the Secret {place} exists and is not this issuer's: delete it, or name another in legacy.publishKeyTo"
        );
        return Ok(Published::InTheWay(message));
    }
    let create = existing.is_none();
    let before = existing.clone();
    let mut secret = existing.unwrap_or_default();
    secret.metadata.name = Some(to.secret_name.clone());
    if create {
        secret.labels_mut().insert(MANAGED_BY.into(), MANAGER.into());
        secret.labels_mut().insert(names::LABEL_ISSUER.into(), object.name_any());
        secret.annotations_mut().insert(OPERATOR.into(), context.settings.operator_namespace.clone());
        secret.metadata.owner_references = object.controller_owner_ref(&()).map(|owner| vec![owner]);
    }
    let data = secret.data.get_or_insert_default();
    data.retain(|item, _| !ITEMS.contains(&item.as_str()));
    data.extend(keys.slots().map(|(state, key)| (item(state).to_owned(), ByteString(key.expose().to_vec()))));
    let what = || format!("write the Secret {place}");
    if create {
        call(what, secrets.create(&PostParams::default(), &secret)).await?;
    } else if before.as_ref() != Some(&secret) {
        call(what, secrets.replace(&to.secret_name, &PostParams::default(), &secret)).await?;
    }
    Ok(Published::Done)
}

/// Takes the keys out of a copy that is no longer wanted. We may not delete Secrets outside our own namespace, and an
/// empty one tells whoever still mounts it what happened.
pub async fn withdraw(context: &Context, object: Option<&TokenIssuer>, from: &PublishKeyTo) -> Result<(), Error> {
    let (secrets, place) = (api(context, from), place(from));
    let existing = find(|| format!("read the Secret {place}"), secrets.get(&from.secret_name)).await?;
    let ours = existing.filter(|secret| object.is_some_and(|object| is_ours(context, secret, object)));
    let Some(mut secret) = ours else { return Ok(()) };
    secret.data.get_or_insert_default().retain(|item, _| !ITEMS.contains(&item.as_str()));
    let what = || format!("take the keys out of the Secret {place}");
    call(what, secrets.replace(&from.secret_name, &PostParams::default(), &secret)).await?;
    tracing::info!(
        issuer = object.map(ResourceExt::name_any),
        secret = place,
        "HS256 keys are no longer published there"
    );
    Ok(())
}

fn api(context: &Context, to: &PublishKeyTo) -> Api<Secret> {
    Api::namespaced(context.client.clone(), &to.namespace)
}

fn place(to: &PublishKeyTo) -> String {
    format!("{}/{}", to.namespace, to.secret_name)
}

fn item(state: KeyState) -> &'static str {
    match state {
        KeyState::Current => "current",
        KeyState::Previous => "previous",
        KeyState::Next => "next",
    }
}

/// The UID, not a name that anybody can copy. The signing keys themselves belong to the issuer, too, but have no such
/// annotation.
fn is_ours(context: &Context, secret: &Secret, object: &TokenIssuer) -> bool {
    let owned = secret.owner_references().iter().any(|owner| Some(&owner.uid) == object.metadata.uid.as_ref());
    owned && secret.annotations().get(OPERATOR) == Some(&context.settings.operator_namespace)
}
