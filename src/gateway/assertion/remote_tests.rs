//! An issuer that the test plays, and a clock that it moves.

use std::collections::VecDeque;

use tokio::sync::Notify;

use super::super::fetch::FetchError;
use super::*;
use crate::clock::ManualClock;
use crate::domain::assertion::samples::{EC, OTHER};
use crate::index::testing::now;

const URI: &str = "https://idp.example/jwks";

#[derive(Default)]
struct Idp {
    /// One for each request; what comes after them fails.
    answers: Mutex<VecDeque<String>>,
    asked: Mutex<Vec<String>>,
    /// Answers only when told to.
    waits: Option<Notify>,
}

impl Fetch for Idp {
    fn fetch<'a>(&'a self, uri: &'a str) -> BoxFuture<'a, Result<KeySet, FetchError>> {
        Box::pin(async move {
            self.asked.lock().push(uri.into());
            if let Some(told) = &self.waits {
                told.notified().await;
            }
            let answer = self.answers.lock().pop_front().ok_or(FetchError::Status(500))?;
            Ok(KeySet::parse(answer.as_bytes())?)
        })
    }
}

fn idp(answers: &[String]) -> Idp {
    Idp { answers: Mutex::new(answers.iter().cloned().collect()), ..Idp::default() }
}

fn remote(idp: Idp) -> (Remote, Arc<Idp>, ManualClock) {
    let (idp, clock) = (Arc::new(idp), ManualClock::at(now()));
    (Remote::new(idp.clone(), Arc::new(clock.clone())), idp, clock)
}

fn set(text: &str) -> KeySet {
    KeySet::parse(text.as_bytes()).unwrap()
}

#[tokio::test]
async fn keys_are_read_once_for_all_who_need_them_at_a_time_and_then_remembered() {
    let (remote, idp, _) = remote(Idp { waits: Some(Notify::new()), ..idp(&[EC.set("k")]) });
    let mut callers: Vec<_> = (0..20).map(|_| Box::pin(remote.keys(URI))).collect();
    for caller in &mut callers {
        assert!(futures::poll!(caller).is_pending());
    }
    idp.waits.as_ref().unwrap().notify_one();
    for caller in callers {
        assert_eq!(*caller.await.unwrap(), set(&EC.set("k")));
    }
    assert!(remote.keys(URI).await.is_ok());
    assert_eq!(*idp.asked.lock(), [URI]);
}

#[tokio::test]
async fn an_unknown_key_has_them_read_again_at_most_once_a_minute() {
    let (remote, idp, clock) = remote(idp(&[EC.set("k"), OTHER.set("o"), EC.set("k")]));
    let first = remote.keys(URI).await.unwrap();
    clock.advance(PACE - TimeDelta::seconds(1));
    assert_eq!(remote.newer(URI, &first).await, Ok(None));
    clock.advance(TimeDelta::seconds(1));
    let second = remote.newer(URI, &first).await.unwrap().unwrap();
    assert_eq!(*second, set(&OTHER.set("o")));
    // Who comes with the old ones gets the new ones without a read; who comes with the new ones waits.
    assert_eq!(remote.newer(URI, &first).await, Ok(Some(second.clone())));
    assert_eq!(remote.newer(URI, &second).await, Ok(None));
    assert_eq!(idp.asked.lock().len(), 2);
    // A clock that was set back by a day does not stop it.
    clock.advance(TimeDelta::days(-1));
    assert!(remote.newer(URI, &second).await.unwrap().is_some());
}

#[tokio::test]
async fn the_last_good_keys_stay_when_the_issuer_is_away_and_an_unknown_key_is_undecided() {
    let (remote, idp, clock) = remote(idp(&[EC.set("k")]));
    let first = remote.keys(URI).await.unwrap();
    clock.advance(PACE);
    assert_eq!(remote.newer(URI, &first).await, Err(Unavailable));
    assert_eq!(remote.newer(URI, &first).await, Err(Unavailable), "and it is not asked again within the minute");
    assert_eq!(remote.keys(URI).await, Ok(first.clone()));
    assert_eq!(idp.asked.lock().len(), 2);
    clock.advance(PACE);
    idp.answers.lock().push_back(OTHER.set("o"));
    assert!(remote.newer(URI, &first).await.unwrap().is_some());
}

#[tokio::test]
async fn keys_that_were_never_read_are_unavailable_and_tried_again_after_a_minute() {
    let (remote, idp, clock) = remote(idp(&[]));
    assert_eq!(remote.keys(URI).await, Err(Unavailable));
    idp.answers.lock().push_back(EC.set("k"));
    assert_eq!(remote.keys(URI).await, Err(Unavailable));
    clock.advance(PACE);
    assert!(remote.keys(URI).await.is_ok());
}

#[tokio::test]
async fn old_keys_are_read_again_while_they_serve_so_that_a_withdrawn_one_goes() {
    let (remote, _, clock) = remote(idp(&[EC.set("k"), OTHER.set("o")]));
    let first = remote.keys(URI).await.unwrap();
    clock.advance(OLD - TimeDelta::seconds(1));
    assert_eq!(remote.keys(URI).await, Ok(first.clone()));
    assert!(remote.0.sources.lock()[URI].flight.is_none());
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(remote.keys(URI).await, Ok(first), "nobody waits for it");
    let flight = remote.0.sources.lock()[URI].flight.clone().unwrap();
    flight.await;
    assert_eq!(*remote.keys(URI).await.unwrap(), set(&OTHER.set("o")));
}

#[tokio::test]
async fn keys_are_used_for_a_day_while_their_issuer_is_away_and_no_longer() {
    let (remote, idp, clock) = remote(idp(&[EC.set("k")]));
    let first = remote.keys(URI).await.unwrap();
    clock.advance(MOST - TimeDelta::seconds(1));
    assert_eq!(remote.keys(URI).await, Ok(first.clone()));
    let flight = remote.0.sources.lock()[URI].flight.clone().unwrap();
    flight.await;
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(remote.keys(URI).await, Err(Unavailable));
    clock.advance(PACE);
    assert_eq!((remote.newer(URI, &first).await, remote.present(URI)), (Err(Unavailable), None));
    idp.answers.lock().push_back(EC.set("k"));
    clock.advance(PACE);
    assert_eq!(remote.keys(URI).await, Ok(first), "it is back");
}

#[tokio::test]
async fn a_read_goes_on_when_who_asked_for_it_has_left() {
    let (remote, idp, _) = remote(Idp { waits: Some(Notify::new()), ..idp(&[EC.set("k")]) });
    assert!(futures::poll!(Box::pin(remote.keys(URI))).is_pending());
    let flight = remote.0.sources.lock()[URI].flight.clone().unwrap();
    idp.waits.as_ref().unwrap().notify_one();
    flight.await;
    assert!(remote.present(URI).is_some());
}

#[tokio::test]
async fn no_more_uris_are_remembered_than_the_bound() {
    let (remote, _, clock) = remote(idp(&vec![EC.set("k"); SOURCES + 1]));
    for number in 0..=SOURCES {
        clock.advance(TimeDelta::seconds(1));
        assert!(remote.keys(&format!("{URI}/{number}")).await.is_ok());
    }
    assert_eq!(remote.0.sources.lock().len(), SOURCES);
    assert!(remote.present(&format!("{URI}/0")).is_none() && remote.present(&format!("{URI}/1")).is_some());
}
