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
    let (type_, name, why) = match reason {
        Reason::Created => (EventType::Normal, "CredentialCreated", "the account is new"),
        Reason::Scheduled => (EventType::Normal, "CredentialRotated", "its time came"),
        Reason::Requested => (EventType::Normal, "ClientSecretRegenerated", "it was asked for"),
        Reason::ClientIdRegenerated => (EventType::Normal, "ClientIdRegenerated", "a new client ID was asked for"),
        Reason::Compromised => (EventType::Warning, "CredentialCompromised", "the old one was reported as leaked"),
        Reason::Repaired => (EventType::Warning, "CredentialRepaired", "the old one was gone or altered"),
    };
    event(context, object, type_, name, format!("a new credential is in the Secret {secret}: {why}")).await;
}

/// The Secret was written again around the same credential.
pub async fn republished(context: &Context, object: &ServiceAccount, secret: &str, outdated: &[String]) {
    let note =
        format!("the Secret {secret} was brought up to date ({}); its credential is the same", outdated.join(", "));
    event(context, object, EventType::Normal, "SecretUpdated", note).await;
}

/// `validityDays` was edited.
pub async fn expiry_moved(context: &Context, object: &ServiceAccount, not_after: Timestamp, days: i32) {
    let note = format!("validityDays is {days} now: the present client secret expires at {not_after}");
    event(context, object, EventType::Normal, "ExpiryMoved", note).await;
}

/// Workloads take up the new credential.
pub async fn restarted(context: &Context, object: &ServiceAccount, workloads: &[String]) {
    let note = format!("restarted {}: a new credential was published", workloads.join(", "));
    event(context, object, EventType::Normal, "RolloutRestarted", note).await;
}

/// Something is wrong that the status tells, too.
pub async fn warning(context: &Context, object: &ServiceAccount, reason: &str, note: String) {
    event(context, object, EventType::Warning, reason, note).await;
}

/// Something happened to an issuer's signing keys. The built-in issuer has no object that could carry an Event.
pub async fn of_keys(context: &Context, issuer: &str, object: Option<&TokenIssuer>, news: &News) {
    if news.is_warning() {
        tracing::warn!(issuer, reason = news.reason(), %news, "signing keys");
    } else {
        tracing::info!(issuer, reason = news.reason(), %news, "signing keys");
    }
    let type_ = if news.is_warning() { EventType::Warning } else { EventType::Normal };
    if let Some(object) = object {
        event(context, object, type_, news.reason(), news.to_string()).await;
    }
}

async fn event<K>(context: &Context, object: &K, type_: EventType, reason: &str, note: String)
where
    K: Resource<DynamicType = ()>,
{
    let reference = object.object_ref(&());
    let event = Event {
        type_,
        reason: reason.into(),
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
            reason,
            "an Event could not be written"
        );
    }
}
