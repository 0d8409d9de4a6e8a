//! Notices as Kubernetes Events on the account.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff;
use kube::api::PostParams;
use kube::{Api, Client};

use super::outbox::Fault;
use crate::api::GROUP;
use crate::controller::calls::call;
use crate::controller::error::{CallError, Error};
use crate::domain::names;
use crate::domain::notice::letter::Facts;
use crate::domain::words;

const REPORTER: &str = "keyrota-controller";

/// Writes the Event. One that is there already was written before a crash: its name is that of the notice.
pub async fn send(client: &Client, facts: &Facts) -> Result<(), Fault> {
    let api: Api<Event> = Api::namespaced(client.clone(), &facts.namespace);
    let what = || format!("write an Event on {}/{}", facts.namespace, facts.name);
    match call(what, api.create(&PostParams::default(), &event(facts))).await {
        Ok(_) => Ok(()),
        Err(error) => match error.call() {
            Some(CallError::AlreadyExists) => Ok(()),
            // A namespace that is going, or a right that is missing: no reason to keep others waiting.
            Some(CallError::Forbidden(_) | CallError::NotFound | CallError::Invalid) => {
                Err(Fault::for_good(told(&error)))
            }
            _ => Err(Fault::server(told(&error))),
        },
    }
}

fn told(error: &Error) -> String {
    error.to_string().chars().take(300).collect()
}

fn event(facts: &Facts) -> Event {
    let what = if facts.expired() { words::NOTICE_EXPIRED } else { words::NOTICE_EXPIRING };
    let remedy = match facts.late_since {
        Some(since) => format!("its rotation is late since {since}; the condition Ready says what is in the way"),
        None => format!("raise spec.regenerate.clientSecret to {} for a new one", facts.next_number),
    };
    // The API server refuses notes beyond 1 kB.
    let note = format!("{}, at {}: {remedy}", facts.headline(), facts.expires).chars().take(1000).collect();
    let time = jiff::Timestamp::from_second(facts.now.unix()).ok().map(MicroTime);
    Event {
        metadata: ObjectMeta {
            name: Some(name(facts)),
            namespace: Some(facts.namespace.clone()),
            ..ObjectMeta::default()
        },
        action: Some("Notify".into()),
        event_time: time,
        note: Some(note),
        reason: Some(what.reason().into()),
        regarding: Some(ObjectReference {
            api_version: Some(format!("{GROUP}/v1alpha1")),
            kind: Some("ServiceAccount".into()),
            name: Some(facts.name.clone()),
            namespace: Some(facts.namespace.clone()),
            uid: Some(facts.uid.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(REPORTER.into()),
        reporting_instance: Some(REPORTER.into()),
        type_: Some("Warning".into()),
        ..Event::default()
    }
}

/// The same for ever for one notice, and short enough whatever the account is called (241 characters at most).
fn name(facts: &Facts) -> String {
    let account: String = facts.name.chars().take(200).collect();
    format!("{}.{}", account.trim_end_matches(['.', '-']), names::name_hash(&facts.id()))
}
