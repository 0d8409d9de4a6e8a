//! What people see: status and Events. An Event that cannot be written is logged and costs nothing else.

use kube::api::PostParams;
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource};

use super::calls::call;
use super::context::Context;
use super::error::Error;
use crate::api::service_account::Reason;
use crate::api::{ServiceAccount, ServiceAccountStatus, Timestamp, TokenIssuer};
use crate::config::CALL_TIMEOUT;
use crate::domain::keys::plan::News;
use crate::domain::words::{self, Happening, Tone};

/// Writes the status when it says something new. Carries the `resourceVersion` that it was computed from, so a status
/// from an older view never overwrites a newer one.
pub async fn status(context: &Context, object: &ServiceAccount, status: ServiceAccountStatus) -> Result<(), Error> {
    if object.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let meta = &object.metadata;
    let (namespace, name) = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    let api: Api<ServiceAccount> = Api::namespaced(context.client.clone(), &namespace);
    let mut updated = object.clone();
    updated.status = Some(status);
    updated.metadata.managed_fields = None;
    let what = || format!("write the status of the ServiceAccount {namespace}/{name}");
    call(what, api.replace_status(&name, &PostParams::default(), &updated)).await.map(|_| ())
}

/// A new credential is in the Secret.
pub async fn published(context: &Context, object: &ServiceAccount, secret: &str, reason: Reason) {
    let (what, why) = match reason {
        Reason::Created => (&words::CREDENTIAL_CREATED, "the account is new"),
        Reason::Scheduled => (&words::CREDENTIAL_ROTATED, "its time came"),
        Reason::Requested => (&words::SECRET_REGENERATED, "it was asked for"),
        Reason::ClientIdRegenerated => (&words::CLIENT_ID_REGENERATED, "a new client ID was asked for"),
        Reason::Compromised => (&words::CREDENTIAL_COMPROMISED, "the old one was reported as leaked"),
        Reason::Repaired => (&words::CREDENTIAL_REPAIRED, "the old one was gone or altered"),
    };
    told(context, object, what, format!("a new credential is in the Secret {secret}: {why}")).await;
}

/// The Secret was written again around the same credential.
pub async fn republished(context: &Context, object: &ServiceAccount, secret: &str, outdated: &[String]) {
    let note =
        format!("the Secret {secret} was brought up to date ({}); its credential is the same", outdated.join(", "));
    told(context, object, &words::SECRET_UPDATED, note).await;
}

/// `validityDays` was edited.
pub async fn expiry_moved(context: &Context, object: &ServiceAccount, not_after: Timestamp, days: i32) {
    let note = format!("validityDays is {days} now: the present client secret expires at {not_after}");
    told(context, object, &words::EXPIRY_MOVED, note).await;
}

/// Workloads take up the new credential.
pub async fn restarted(context: &Context, object: &ServiceAccount, workloads: &[String]) {
    let note = format!("restarted {}: a new credential was published", workloads.join(", "));
    told(context, object, &words::ROLLOUT_RESTARTED, note).await;
}

/// Something happened to an issuer's signing keys. The built-in issuer has no object that could carry an Event.
pub async fn of_keys(context: &Context, issuer: &str, object: Option<&TokenIssuer>, news: &News) {
    let what = news.happening();
    match what.tone() {
        Tone::Warning => tracing::warn!(issuer, reason = what.reason(), %news, "signing keys"),
        Tone::Normal => tracing::info!(issuer, reason = what.reason(), %news, "signing keys"),
    }
    if let Some(object) = object {
        told(context, object, what, news.to_string()).await;
    }
}

/// An Event on `object`.
pub async fn told<K>(context: &Context, object: &K, what: &Happening, note: String)
where
    K: Resource<DynamicType = ()>,
{
    let reference = object.object_ref(&());
    let event = Event {
        type_: match what.tone() {
            Tone::Normal => EventType::Normal,
            Tone::Warning => EventType::Warning,
        },
        reason: what.reason().into(),
        // The API server refuses notes beyond 1 kB.
        note: Some(note.chars().take(1000).collect()),
        action: "Reconcile".into(),
        secondary: None,
    };
    let published = tokio::time::timeout(CALL_TIMEOUT, context.recorder().publish(&event, &reference)).await;
    if !matches!(published, Ok(Ok(()))) {
        tracing::warn!(
            kind = reference.kind,
            name = reference.name,
            namespace = reference.namespace,
            reason = what.reason(),
            "an Event could not be written"
        );
    }
}
