//! Watches that go on: each with its own back-off, broken objects skipped, nothing of an object in a log.

pub mod pulse;

use std::fmt::Debug;
use std::future;

use futures::{Stream, StreamExt};
use kube::Api;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;

use crate::config::WATCH_TIMEOUT;

/// The settings of every watch here.
#[must_use]
pub fn config() -> watcher::Config {
    watcher::Config::default().timeout(u32::try_from(WATCH_TIMEOUT.as_secs()).unwrap_or(30))
}

/// All events of one kind, for ever. An error is logged and waited out by this watch alone (a back-off that several
/// share lets one 403 stop them all); an object that cannot be read is logged and skipped.
pub fn events<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    what: &'static str,
) -> impl Stream<Item = Event<K>> + Send
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let events = tolerant(watcher(api, config).default_backoff(), what);
    events.filter_map(move |event| future::ready(readable(event, what)))
}

/// Like [`events`], with metadata only: what a watch on other people's Secrets may hold in memory.
pub fn metadata<K>(
    api: Api<PartialObjectMeta<K>>,
    config: watcher::Config,
    what: &'static str,
) -> impl Stream<Item = Event<PartialObjectMeta<K>>> + Send
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    tolerant(watcher(api, config).default_backoff(), what)
}

fn tolerant<E: Send>(
    events: impl Stream<Item = watcher::Result<E>> + Send,
    what: &'static str,
) -> impl Stream<Item = E> + Send {
    events.filter_map(move |item| {
        let event = item.inspect_err(|error| {
            tracing::warn!(watch = what, cause = cause(error), "a watch failed and is tried again");
        });
        future::ready(event.ok())
    })
}

fn readable<K: kube::Resource<DynamicType = ()>>(
    event: Event<DeserializeGuard<K>>,
    what: &'static str,
) -> Option<Event<K>> {
    let read = |DeserializeGuard(result): DeserializeGuard<K>| match result {
        Ok(object) => Some(object),
        Err(broken) => {
            // Not its error text: that quotes the object, which may be a Secret.
            let meta = &broken.metadata;
            tracing::error!(
                watch = what,
                namespace = meta.namespace,
                name = meta.name,
                "an object cannot be read and is left out: compare it with its kind's schema"
            );
            None
        }
    };
    Some(match event {
        Event::Apply(object) => Event::Apply(read(object)?),
        Event::Delete(object) => Event::Delete(read(object)?),
        Event::InitApply(object) => Event::InitApply(read(object)?),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    })
}

/// A watch error without anything of an object in it.
fn cause(error: &watcher::Error) -> String {
    let of_call = |error: &kube::Error| match error {
        kube::Error::Api(status) => format!("the API server answered {} {}", status.code, status.reason),
        kube::Error::SerdeError(_) => "the answer cannot be read".into(),
        _ => "the API server did not answer".into(),
    };
    match error {
        watcher::Error::InitialListFailed(error) => format!("cannot list: {}", of_call(error)),
        watcher::Error::WatchStartFailed(error) => format!("cannot start: {}", of_call(error)),
        watcher::Error::WatchFailed(error) => format!("broke off: {}", of_call(error)),
        watcher::Error::WatchError(status) => format!("ended by the API server with {} {}", status.code, status.reason),
        watcher::Error::NoResourceVersion => "the kind cannot be watched".into(),
    }
}
