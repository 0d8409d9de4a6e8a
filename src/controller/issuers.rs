//! Token issuers: every one has signing keys of its own, and a status that says what is wrong with it.

mod copy;
mod keys;
mod status;

use chrono::TimeDelta;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;

use super::certificates;
use super::context::Context;
use super::error::Error;
use crate::api::{Timestamp, TokenIssuer};
use crate::domain::issuer::{Issuer, Issuers};
use crate::domain::words;
use copy::Published;
use keys::Kept;
use status::Verdict;

/// How often a copy of the HS256 keys is looked at: nothing tells when it was touched, or when what is in its way goes.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(60);

/// Brings all issuers' keys and statuses up to date, and tells when to look again though nothing happens. The first error
/// does not keep the others waiting.
pub async fn ensure_all(context: &Context) -> (Option<Timestamp>, Result<(), Error>) {
    let issuers = context.issuers();
    let (mut outcome, mut wakes) = (Ok(()), Vec::new());
    for issuer in issuers.iter() {
        let Some(part) = part_in(context, issuer) else { continue };
        let object = context.stores.issuers.get(&ObjectRef::new(&issuer.name));
        let looked = ensure(context, &issuers, issuer, object.as_deref(), part).await;
        match looked {
            Ok(wake) => wakes.extend(wake),
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    for object in context.stores.issuers.state() {
        let name = object.metadata.name.clone().unwrap_or_default();
        if let Err(problem) = Issuer::parse(&name, &object.spec) {
            let ready = (&words::ISSUER_INVALID, problem.to_string());
            outcome = outcome.and(status::write(context, &object, None, ready).await);
        }
    }
    (wakes.into_iter().min(), outcome)
}

/// Whom an issuer is looked after by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// By us.
    Ours,
    /// By us, and perhaps by other operators of the cluster, each with keys of its own in its own namespace. Of those the
    /// one status says nothing: they would write over each other for ever.
    Shared,
}

/// An operator that watches a part of the namespaces has no business with issuers that serve only others.
fn part_in(context: &Context, issuer: &Issuer) -> Option<Part> {
    let watched = &context.settings.watch_namespaces;
    if watched.is_empty() || issuer.namespaces.iter().any(|namespace| watched.contains(namespace)) {
        return Some(Part::Ours);
    }
    issuer.namespaces.is_empty().then_some(Part::Shared)
}

/// One issuer; the built-in `default` has no object, and nobody to report to.
async fn ensure(
    context: &Context,
    issuers: &Issuers,
    issuer: &Issuer,
    object: Option<&TokenIssuer>,
    part: Part,
) -> Result<Option<Timestamp>, Error> {
    // What is being deleted takes its keys along; new ones would be told as a loss.
    if object.is_some_and(|object| object.metadata.deletion_timestamp.is_some()) {
        return Ok(None);
    }
    let kept = keys::look_after(context, issuer, object).await;
    let Some(object) = object else { return kept.map(|kept| kept.wake) };
    let (copied, again) = match (&kept, &issuer.legacy.publish_key_to) {
        (Ok(kept), Some(to)) => {
            let again = context.clock.timestamp().saturating_add(LOOK_AGAIN);
            (copy::publish(context, object, to, &kept.keys.legacy).await, Some(again))
        }
        _ => (Ok(Published::Done), None),
    };
    let reported = match part {
        Part::Ours => {
            let ready = own(&kept, &copied).unwrap_or_else(|| of_all(issuers, issuer));
            status::write(context, object, kept.as_ref().ok(), ready).await
        }
        Part::Shared => status::write(context, object, None, of_all(issuers, issuer)).await,
    };
    let wake = kept?.wake.into_iter().chain(again).min();
    reported?;
    let renewal = certify_hosts(context, issuer, object).await?;
    let wake = wake.into_iter().chain(renewal).min();
    // Not the network's fault, mostly: a namespace that is missing, or a right. The clock brings us back.
    if let Err(error) = copied {
        tracing::warn!(issuer = issuer.name, %error, "the HS256 keys could not be published");
    }
    Ok(wake)
}

/// Where the gateway's certificate is our own, a tenant's hosts have one, too. Returns when to look again.
async fn certify_hosts(context: &Context, issuer: &Issuer, object: &TokenIssuer) -> Result<Option<Timestamp>, Error> {
    let certified_by_us = context.ca.read().is_some();
    if issuer.hosts.is_empty() || !certified_by_us {
        return Ok(None);
    }
    let (secrets, owner, now) = (context.own_secrets(), object.controller_owner_ref(&()), context.clock.now());
    certificates::ensure_for_hosts(&secrets, &issuer.name, &issuer.hosts, owner, now)
        .await
        .map(|time| Some(time.into()))
}

/// What is wrong that only this operator can tell.
fn own(kept: &Result<Kept, Error>, copied: &Result<Published, Error>) -> Option<Verdict> {
    match (kept, copied) {
        (Err(error), _) => Some((&words::KEYS_UNAVAILABLE, error.to_string())),
        (_, Ok(Published::InTheWay(message))) => Some((&words::KEY_SECRET_CONFLICT, message.clone())),
        (_, Err(error)) => Some((&words::KEY_NOT_PUBLISHED, error.to_string())),
        (Ok(_), Ok(Published::Done)) => None,
    }
}

/// What every operator would say.
fn of_all(issuers: &Issuers, issuer: &Issuer) -> Verdict {
    let Some((older, what)) = issuers.rival_of(issuer) else {
        if let Some(flaw) = issuer.flaw() {
            return (&words::ISSUER_INVALID, flaw.to_string());
        }
        let message = "the issuer has its keys and serves its namespaces".into();
        return (&words::ISSUER_SERVING, message);
    };
    let message = format!("the {what} stays with the older issuer {}: take it out of one of the two", older.name);
    (&words::ISSUER_CONFLICT, message)
}
