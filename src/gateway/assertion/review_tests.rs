//! An API server that the test plays, and a clock that it moves.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures::join;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::clock::ManualClock;
use crate::index::fake_server::Server;
use crate::index::testing::now;

const OURS: &str = "https://tokens.example";
const USER: &str = "system:serviceaccount:shop:exporter";

#[derive(Default)]
struct Reviews {
    asked: AtomicUsize,
    away: std::sync::atomic::AtomicBool,
}

impl Review for Reviews {
    fn review<'a>(&'a self, token: &'a str, _: &'a str) -> BoxFuture<'a, Result<Option<String>, NoReview>> {
        self.asked.fetch_add(1, SeqCst);
        Box::pin(async move {
            tokio::task::yield_now().await;
            match (self.away.load(SeqCst), token) {
                (true, _) => Err(NoReview("away".into())),
                (_, "good") => Ok(Some(USER.to_owned())),
                _ => Ok(None),
            }
        })
    }
}

fn reviewer() -> (Reviewer, Arc<Reviews>, ManualClock) {
    let (reviews, clock) = (Arc::new(Reviews::default()), ManualClock::at(now()));
    let key = MacKey::new(&[7; 32]);
    (Reviewer::new(reviews.clone(), Arc::new(clock.clone()), key), reviews, clock)
}

#[tokio::test]
async fn an_answer_is_remembered_for_a_minute_and_not_longer() {
    let (reviewer, reviews, clock) = reviewer();
    assert_eq!(reviewer.user("good", OURS).await.as_deref(), Ok(USER));
    clock.advance(TimeDelta::seconds(59));
    assert_eq!(reviewer.recall("good", OURS).as_deref(), Some(USER));
    assert_eq!((reviewer.user("good", OURS).await.as_deref(), reviews.asked.load(SeqCst)), (Ok(USER), 1));
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(reviewer.recall("good", OURS), None);
    assert_eq!((reviewer.user("good", OURS).await.as_deref(), reviews.asked.load(SeqCst)), (Ok(USER), 2));
    // Set back, the clock says nothing about age.
    clock.advance(TimeDelta::hours(-1));
    assert_eq!(reviewer.recall("good", OURS), None);
}

#[tokio::test]
async fn an_answer_counts_for_its_audience_alone() {
    let (reviewer, reviews, _) = reviewer();
    assert!(reviewer.user("good", OURS).await.is_ok());
    assert_eq!(reviewer.recall("good", "https://other.example"), None);
    assert!(reviewer.user("good", "https://other.example").await.is_ok());
    assert_eq!(reviews.asked.load(SeqCst), 2);
}

#[tokio::test]
async fn a_rush_with_one_token_is_one_review() {
    let (reviewer, reviews, _) = reviewer();
    let rush = futures::future::join_all((0..50).map(|_| reviewer.user("good", OURS))).await;
    assert!(rush.iter().all(|user| user.as_deref() == Ok(USER)));
    assert_eq!(reviews.asked.load(SeqCst), 1);
}

#[tokio::test]
async fn a_refusal_and_a_failure_are_told_apart_and_neither_is_remembered() {
    let (reviewer, reviews, _) = reviewer();
    let refused = Err(ReviewError::Refused(AssertionError::NotAuthenticated));
    assert_eq!(reviewer.user("bad", OURS).await, refused);
    assert_eq!(reviewer.user("bad", OURS).await, refused);
    reviews.away.store(true, SeqCst);
    assert_eq!(reviewer.user("good", OURS).await, Err(ReviewError::NoAnswer));
    reviews.away.store(false, SeqCst);
    assert!(reviewer.user("good", OURS).await.is_ok());
    assert_eq!(reviews.asked.load(SeqCst), 4);
}

fn answer(status: Value) -> Value {
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {}, "status": status})
}

#[rstest]
#[case::ours(json!({"authenticated": true, "user": {"username": USER}, "audiences": [OURS]}), Some(USER))]
#[case::nobodys(json!({"authenticated": false, "error": "expired"}), None)]
#[case::silent(json!({"user": {"username": USER}, "audiences": [OURS]}), None)]
#[case::of_no_audience(json!({"authenticated": true, "user": {"username": USER}}), None)]
#[case::of_another_audience(json!({"authenticated": true, "user": {"username": USER}, "audiences": ["https://x"]}), None)]
#[case::of_no_user(json!({"authenticated": true, "audiences": [OURS]}), None)]
#[tokio::test]
async fn the_api_server_is_taken_at_its_word_for_our_audience_alone(#[case] status: Value, #[case] user: Option<&str>) {
    let (client, mut server) = Server::start();
    let review = KubeReview::new(client);
    let answer = [answer(status)];
    let (found, asked) = join!(review.review("token", OURS), server.answer(201, &answer));
    assert_eq!((found.unwrap().as_deref(), asked.as_str()), (user, "/apis/authentication.k8s.io/v1/tokenreviews?"));
}

#[tokio::test]
async fn an_error_of_the_api_server_is_no_answer_and_does_not_quote_the_token() {
    let (client, mut server) = Server::start();
    let review = KubeReview::new(client);
    let status = [
        json!({"kind": "Status", "apiVersion": "v1", "code": 403, "reason": "Forbidden", "status": "Failure", "message": "token"}),
    ];
    let (found, _) = join!(review.review("token", OURS), server.answer(403, &status));
    assert_eq!(found, Err(NoReview("403 Forbidden".into())));
}
