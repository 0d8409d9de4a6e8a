//! Feeds against an API server that the test plays itself, request by request.

use futures::future::{Either, select};
use serde_json::{Value, json};

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::index::fake_server::Server;
use crate::index::testing::{account, holder, now};
use chrono::TimeDelta;

fn resource(name: &str, revision: u64) -> Value {
    json!({
        "apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount",
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "resourceVersion": revision.to_string(),
            "creationTimestamp": "2026-01-01T00:00:00Z"
        },
        "spec": {}
    })
}

fn page(objects: &[Value], revision: u64, more: Option<&str>) -> Value {
    json!({
        "apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccountList",
        "metadata": {"resourceVersion": revision.to_string(), "continue": more.unwrap_or_default()},
        "items": objects
    })
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

fn bookmark(revision: u64) -> Value {
    let metadata = json!({"resourceVersion": revision.to_string()});
    event("BOOKMARK", json!({"apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount", "metadata": metadata}))
}

/// An index that follows accounts only, and already has their records.
fn index_of(names: &[&str]) -> Arc<Index> {
    let index = Index::new(vec![Feed::of(Kind::Accounts)]);
    for name in names {
        index.apply(Item::Record(account(name).current(name, "s").record_facts()));
    }
    Arc::new(index)
}

fn served(index: &Index, names: &[&str]) -> Vec<bool> {
    names.iter().map(|name| holder(index, name).is_some()).collect()
}

/// Runs the feeds of `index` while the test plays the server.
async fn play(index: &Arc<Index>, clock: &ManualClock, script: impl AsyncFnOnce(Server)) {
    let (client, server) = Server::start();
    let feeds = run(client, "keyrota-system".into(), index.clone(), Arc::new(clock.clone()));
    match select(Box::pin(feeds), Box::pin(script(server))).await {
        Either::Left(_) => panic!("the feeds ended"),
        Either::Right(_) => {}
    }
}

#[tokio::test]
async fn a_feed_lists_in_pages_and_watches_from_there() {
    let (index, clock) = (index_of(&["a", "b", "c"]), ManualClock::at(now()));
    play(&index, &clock, async |mut server| {
        let first = server.answer(200, &[page(&[resource("a", 1)], 5, Some("next"))]).await;
        assert!(
            first.contains("/apis/keyrota.dev/v1alpha1/serviceaccounts?") && first.contains("limit=500"),
            "{first}"
        );
        let second = server.answer(200, &[page(&[resource("b", 2)], 5, None)]).await;
        assert!(second.contains("continue=next"), "{second}");
        let events = [event("ADDED", resource("c", 6)), event("DELETED", resource("a", 7)), bookmark(9)];
        let watch = server.answer(200, &events).await;
        assert!(watch.contains("watch=true") && watch.contains("resourceVersion=5"), "{watch}");
        assert!(watch.contains("timeoutSeconds=30") && watch.contains("allowWatchBookmarks=true"), "{watch}");
        assert!(index.ready());
        let on = server.answer(200, &[]).await;
        assert!(on.contains("resourceVersion=9"), "{on}");
        assert_eq!(served(&index, &["a", "b", "c"]), [false, true, true]);
    })
    .await;
}

#[tokio::test]
async fn a_place_that_is_forgotten_means_a_new_list() {
    let (index, clock) = (index_of(&["a", "b"]), ManualClock::at(now()));
    play(&index, &clock, async |mut server| {
        server.answer(200, &[page(&[resource("a", 1)], 5, None)]).await;
        let gone =
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "message": "too old"});
        server.answer(200, &[event("ERROR", gone.clone())]).await;
        let list = server.answer(200, &[page(&[resource("b", 8)], 9, None)]).await;
        assert!(!list.contains("watch=true"), "{list}");
        let watch = server.answer(410, &[gone]).await;
        assert!(watch.contains("watch=true") && served(&index, &["a", "b"]) == [false, true], "{watch}");
        let list = server.answer(200, &[]).await;
        assert!(!list.contains("watch=true"), "{list}");
    })
    .await;
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_skipped_and_what_was_known_of_it_stays() {
    let (index, clock) = (index_of(&["a", "b"]), ManualClock::at(now()));
    let mut broken = resource("b", 3);
    broken["spec"] = json!({"enabled": "perhaps"});
    play(&index, &clock, async |mut server| {
        server.answer(200, &[page(&[resource("a", 1), resource("b", 2)], 5, None)]).await;
        server.answer(200, &[event("MODIFIED", broken.clone()), event("DELETED", resource("a", 6))]).await;
        let watch = server.answer(200, &[bookmark(7)]).await;
        assert!(watch.contains("resourceVersion=6"), "{watch}");
        assert_eq!(served(&index, &["a", "b"]), [false, true]);
        server.answer(500, &[]).await;
        assert_eq!(index.progress()[0].unreadable(), 1);
    })
    .await;
}

#[tokio::test]
async fn only_what_a_watch_tells_makes_it_fresh_and_one_that_tells_nothing_is_listed_anew() {
    let (index, clock) = (index_of(&["a"]), ManualClock::at(now()));
    let age = || index.progress()[0].age(clock.now());
    play(&index, &clock, async |mut server| {
        server.answer(200, &[page(&[], 5, None)]).await;
        clock.advance(TimeDelta::seconds(10));
        // It breaks off at once, twice: a cut connection looks like an end.
        server.answer(200, &[]).await;
        server.answer(200, &[]).await;
        assert_eq!(age(), TimeDelta::seconds(10));
        let list = server.answer(200, &[page(&[resource("a", 1)], 6, None)]).await;
        assert!(!list.contains("watch=true"), "{list}");
        clock.advance(TimeDelta::seconds(10));
        server.answer(200, &[bookmark(7)]).await;
        server.answer(200, &[]).await;
        assert_eq!(age(), TimeDelta::zero());
    })
    .await;
}

#[tokio::test]
async fn a_feed_that_is_forbidden_does_not_keep_the_others_back() {
    let index = Arc::new(Index::new(vec![Feed::of(Kind::Accounts), Feed::of(Kind::Groups)]));
    let clock = ManualClock::at(now());
    play(&index, &clock, async |mut server| {
        let forbidden =
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden"});
        let mut seen = Vec::new();
        while !index.progress()[1].is_listed() {
            let list = json!({"kind": "UserGroupList", "metadata": {"resourceVersion": "3"}, "items": []});
            let path = server
                .decide(|path| match path.contains("/usergroups?") {
                    true => (200, vec![list.clone()]),
                    false => (403, vec![forbidden.clone()]),
                })
                .await;
            seen.push(path);
            tokio::task::yield_now().await;
        }
        assert!(!index.progress()[0].is_listed() && seen.len() < 20, "{seen:?}");
    })
    .await;
}

#[test]
fn a_pause_grows_to_five_seconds_and_never_vanishes() {
    for failures in [0, 1, 5, 6, 60] {
        let longest = Duration::from_millis(200 << failures.min(5)).min(Duration::from_secs(5));
        assert!((longest / 2..=longest).contains(&pause(failures)), "{failures}");
    }
}
