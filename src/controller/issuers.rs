//! Token issuers: every one has signing keys of its own, and a status that says what is wrong with it.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource};

use super::calls::{call, find};
use super::context::Context;
use super::error::Error;
use crate::api::{Condition, ConditionStatus, MANAGED_BY, MANAGER, TYPE_SIGNING_KEYS, TokenIssuer, TokenIssuerStatus};
use crate::domain::issuer::{Issuer, Issuers};
use crate::domain::names;

/// The data key of the HS256 key that signs the manual's tokens.
const LEGACY_CURRENT: &str = "legacy-current";
/// RFC 7518 section 3.2: at least as long as the hash; twice as long costs nothing.
const LEGACY_KEY_LENGTH: usize = 64;

/// Brings all issuers' keys and statuses up to date; the first error does not keep the others waiting.
pub async fn ensure_all(context: &Context) -> Result<(), Error> {
    let issuers = context.issuers();
    let mut outcome = Ok(());
    for issuer in issuers.iter() {
        outcome = outcome.and(ensure_keys(context, &issuer.name).await);
    }
    for object in context.stores.issuers.state() {
        outcome = outcome.and(report(context, &issuers, &object).await);
    }
    outcome
}

/// Creates the keys of an issuer that has none. They belong to the issuer object, so they go with it and a namesake
/// made later gets keys of its own; those of `default`, which may exist without an object, belong to nobody.
async fn ensure_keys(context: &Context, issuer: &str) -> Result<(), Error> {
    let secrets = context.own_secrets();
    let name = names::signing_keys(issuer);
    if find(|| format!("read the Secret {name}"), secrets.get(&name)).await?.is_some() {
        return Ok(());
    }
    let mut key = vec![0; LEGACY_KEY_LENGTH];
    context.entropy.fill(&mut key)?;
    let owner =
        (issuer != names::DEFAULT_ISSUER).then(|| context.stores.issuers.get(&ObjectRef::new(issuer))).flatten();
    let object = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(
                [(MANAGED_BY.to_owned(), MANAGER.to_owned()), (names::LABEL_ISSUER.to_owned(), issuer.to_owned())]
                    .into(),
            ),
            owner_references: owner.and_then(|object| object.controller_owner_ref(&())).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some(TYPE_SIGNING_KEYS.into()),
        data: Some([(LEGACY_CURRENT.to_owned(), ByteString(key))].into()),
        ..Secret::default()
    };
    let created = call(|| format!("create the Secret {name}"), secrets.create(&PostParams::default(), &object)).await;
    match created {
        Ok(_) => tracing::info!(issuer, secret = name, "made signing keys"),
        Err(error) if error.is_race() => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn report(context: &Context, issuers: &Issuers, object: &TokenIssuer) -> Result<(), Error> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let (status, reason, message) = match Issuer::parse(&name, &object.spec) {
        Err(problem) => (ConditionStatus::False, "InvalidSpec", problem.to_string()),
        Ok(issuer) => match issuers.rival_of(&issuer) {
            Some((older, what)) => (
                ConditionStatus::False,
                "Conflict",
                format!("the {what} stays with the older issuer {}: take it out of one of the two", older.name),
            ),
            None if let Some(flaw) = issuer.flaw() => (ConditionStatus::False, "InvalidSpec", flaw.to_string()),
            None => (ConditionStatus::True, "Serving", "the issuer has its keys and serves its namespaces".into()),
        },
    };
    let generation = object.metadata.generation.unwrap_or_default();
    let before = object.status.as_ref().and_then(|status| status.conditions.iter().find(|c| c.type_ == "Ready"));
    let ready = Condition {
        type_: "Ready".into(),
        status,
        observed_generation: generation,
        last_transition_time: before
            .filter(|before| before.status == status)
            .map_or_else(|| context.clock.timestamp(), |before| before.last_transition_time),
        reason: reason.into(),
        message,
    };
    let status = TokenIssuerStatus { observed_generation: generation, conditions: vec![ready] };
    if object.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<TokenIssuer> = Api::all(context.client.clone());
    let mut updated = object.clone();
    updated.status = Some(status);
    let what = || format!("write the status of the TokenIssuer {name}");
    call(what, api.replace_status(&name, &PostParams::default(), &updated)).await.map(|_| ())
}
