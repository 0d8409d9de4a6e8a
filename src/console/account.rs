//! One account, read and changed with the user's own token; and what its status says of it.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};

use super::authority::timely;
use super::problem::Problem;
use super::visit::Locator;
use crate::api::service_account::Mode;
use crate::api::{Condition, ConditionStatus, GROUP, ServiceAccount, Timestamp};
use crate::domain::names;
use crate::domain::trigger;

/// As which the API server knows what the console writes.
const MANAGER: &str = "keyrota-console";

fn api(client: &Client, namespace: &str) -> Api<ServiceAccount> {
    Api::namespaced(client.clone(), namespace)
}

/// Reads an account.
///
/// # Errors
/// The API server's refusal, or that there was no answer.
pub async fn get(client: &Client, at: &Locator) -> Result<ServiceAccount, Problem> {
    timely(api(client, &at.namespace).get(&at.name)).await
}

/// Creates one from what was typed, whatever that is: the API server is to judge it.
///
/// # Errors
/// As [`get`].
pub async fn create(client: &Client, namespace: &str, object: Value) -> Result<(), Problem> {
    let object: DynamicObject =
        serde_json::from_value(object).map_err(|_| Problem::broken("the form makes no object"))?;
    let resource = ApiResource::erase::<ServiceAccount>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    timely(api.create(&parameters, &object)).await.map(drop)
}

/// Merges a change of the spec into an account, unless it changed since it was read.
///
/// # Errors
/// As [`get`].
pub async fn change_spec(client: &Client, object: &ServiceAccount, spec: Map<String, Value>) -> Result<(), Problem> {
    merge(client, object, json!({"metadata": exactly(object), "spec": spec})).await
}

/// Sets annotations.
///
/// # Errors
/// As [`get`].
pub async fn annotate(client: &Client, object: &ServiceAccount, key: &str, value: &str) -> Result<(), Problem> {
    let same = json!({"uid": object.metadata.uid, "annotations": {key: value}});
    merge(client, object, json!({"metadata": same})).await
}

/// Asks whether any change would be let through, by rights and by admission policies, without making one.
///
/// # Errors
/// The reason why not.
pub async fn may_change(client: &Client, at: &Locator, uid: &str) -> Result<(), Problem> {
    let nothing = Patch::Merge(json!({"metadata": {"uid": uid}}));
    let parameters = PatchParams { dry_run: true, field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    timely(api(client, &at.namespace).patch(&at.name, &parameters, &nothing)).await.map(drop)
}

/// Asks likewise whether it could be deleted.
///
/// # Errors
/// The reason why not.
pub async fn may_delete(client: &Client, at: &Locator, uid: &str) -> Result<(), Problem> {
    delete_with(client, at, DeleteParams { dry_run: true, ..exactly_that(uid) }).await
}

fn exactly(object: &ServiceAccount) -> Value {
    json!({"uid": object.metadata.uid, "resourceVersion": object.metadata.resource_version})
}

async fn merge(client: &Client, object: &ServiceAccount, patch: Value) -> Result<(), Problem> {
    let namespace = object.namespace().unwrap_or_default();
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    timely(api(client, &namespace).patch(&object.name_any(), &parameters, &Patch::Merge(patch))).await.map(drop)
}

/// Enables or disables the account of this UID; a successor of the same name is left alone.
///
/// # Errors
/// As [`get`].
pub async fn enable(client: &Client, at: &Locator, uid: &str, enabled: bool) -> Result<(), Problem> {
    let patch = json!({"metadata": {"uid": uid}, "spec": {"enabled": enabled}});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    timely(api(client, &at.namespace).patch(&at.name, &parameters, &Patch::Merge(patch))).await.map(drop)
}

/// Deletes the account of this UID.
///
/// # Errors
/// As [`get`].
pub async fn delete(client: &Client, at: &Locator, uid: &str) -> Result<(), Problem> {
    delete_with(client, at, exactly_that(uid)).await
}

fn exactly_that(uid: &str) -> DeleteParams {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }
}

async fn delete_with(client: &Client, at: &Locator, parameters: DeleteParams) -> Result<(), Problem> {
    timely(api(client, &at.namespace).delete(&at.name, &parameters)).await.map(drop)
}

/// Writes down, as the user, that they looked at the secret.
///
/// # Errors
/// As [`get`].
pub async fn record(
    client: &Client,
    object: &ServiceAccount,
    reason: &str,
    message: String,
    now: Timestamp,
) -> Result<(), Problem> {
    let time = jiff::Timestamp::from_second(now.unix()).ok().map(Time);
    let namespace = object.namespace().unwrap_or_default();
    let event = Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}.", object.name_any())),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(format!("{GROUP}/v1alpha1")),
            kind: Some("ServiceAccount".into()),
            name: object.metadata.name.clone(),
            namespace: object.metadata.namespace.clone(),
            uid: object.metadata.uid.clone(),
            ..ObjectReference::default()
        },
        reason: Some(reason.to_owned()),
        message: Some(message.chars().take(1000).collect()),
        type_: Some("Normal".into()),
        count: Some(1),
        first_timestamp: time.clone(),
        last_timestamp: time,
        source: Some(EventSource { component: Some(MANAGER.into()), ..EventSource::default() }),
        ..Event::default()
    };
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    timely(events.create(&PostParams::default(), &event)).await.map(drop)
}

/// The published Secret's name, and the names of the keys in it.
#[must_use]
pub fn published(object: &ServiceAccount) -> String {
    let named = object.spec.client_secret.as_ref().and_then(|settings| settings.secret_name.clone());
    named.unwrap_or_else(|| names::default_secret(&object.name_any()))
}

/// The condition of that type when it is true, or whatever it is for `Ready`.
#[must_use]
pub fn condition<'a>(object: &'a ServiceAccount, type_: &str) -> Option<&'a Condition> {
    object.status.iter().flat_map(|status| &status.conditions).find(|condition| condition.type_ == type_)
}

/// What the controller has still to do, if it has; a page says so and looks again.
#[must_use]
pub fn waiting(object: &ServiceAccount) -> Option<&'static str> {
    let status = object.status.clone().unwrap_or_default();
    let looked = Some(status.observed_generation) >= object.metadata.generation;
    if !looked {
        return Some("The controller has not looked at this change yet.");
    }
    let stalled = condition(object, "Ready").is_some_and(|ready| ready.status == ConditionStatus::False);
    let ignored = condition(object, trigger::CONDITION).is_some();
    if object.spec.authentication.mode == Mode::External || !object.spec.enabled || stalled || ignored {
        return None;
    }
    if status.client_id.is_none() {
        return Some("The credential is being made.");
    }
    let handled = status.handled.and_then(|handled| handled.regenerate_time);
    let asked = trigger::asked(object);
    (asked > handled).then_some("The new credential is being made.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{REGENERATE, ServiceAccountStatus};
    use crate::console::inventory::testing::account;

    fn with(status: Value) -> ServiceAccount {
        let mut object = account("shop", "a");
        object.metadata.generation = Some(2);
        object.status = Some(serde_json::from_value::<ServiceAccountStatus>(status).unwrap());
        object
    }

    #[test]
    fn a_page_waits_until_the_controller_has_looked_and_the_credential_exists() {
        assert!(waiting(&with(json!({"observedGeneration": -1}))).is_some());
        assert!(waiting(&with(json!({"observedGeneration": 1, "clientId": "x"}))).is_some());
        assert_eq!(waiting(&with(json!({"observedGeneration": 2}))), Some("The credential is being made."));
        assert_eq!(waiting(&with(json!({"observedGeneration": 2, "clientId": "x"}))), None);
    }

    #[test]
    fn it_waits_for_a_regeneration_that_is_not_handled() {
        let mut object = with(json!({"observedGeneration": 2, "clientId": "x"}));
        let asked = [(REGENERATE.to_owned(), "client-secret@2026-11-22T12:00:00Z".to_owned())];
        object.metadata.annotations = Some(asked.into());
        assert!(waiting(&object).is_some());
        let handled =
            json!({"observedGeneration": 2, "clientId": "x", "handled": {"regenerateTime": "2026-11-22T12:00:00Z"}});
        object.status = serde_json::from_value(handled).unwrap();
        assert_eq!(waiting(&object), None);
    }

    #[test]
    fn it_does_not_wait_for_what_will_not_come() {
        let stalled = json!([{"type": "Ready", "status": "False", "reason": "SecretConflict", "message": "",
            "lastTransitionTime": "2026-11-22T12:00:00Z"}]);
        assert_eq!(waiting(&with(json!({"observedGeneration": 2, "conditions": stalled}))), None);
        let mut disabled = with(json!({"observedGeneration": 2}));
        disabled.spec.enabled = false;
        assert_eq!(waiting(&disabled), None);
    }
}
