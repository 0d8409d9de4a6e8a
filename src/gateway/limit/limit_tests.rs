//! On a clock that the test moves.

use governor::clock::FakeRelativeClock;
use rstest::rstest;

use super::*;

fn limiter() -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Limiter::on(clock.clone()), clock)
}

fn at(address: &str) -> Client {
    Client { address: address.parse().unwrap(), exempt: false }
}

impl Limiter<FakeRelativeClock> {
    /// Fails as often with another secret each time.
    fn guess(&self, client: &Client, client_id: &str, times: u32) {
        for number in 0..times {
            self.failed(self.attempt(client, client_id, &format!("guess {number}")).unwrap());
        }
    }

    /// The seconds to wait, if it is limited.
    fn wait(&self, client: &Client, client_id: &str) -> Option<u32> {
        match self.check(self.attempt(client, client_id, "x").unwrap()) {
            Err(Refusal::Limited { retry_after }) => Some(retry_after),
            other => {
                assert_eq!(other, Ok(()));
                None
            }
        }
    }
}

#[test]
fn ten_failures_are_allowed_and_then_one_every_five_seconds() {
    let (limiter, clock) = limiter();
    let client = at("192.0.2.1");
    limiter.guess(&client, "id", 9);
    assert_eq!(limiter.wait(&client, "id"), None);
    limiter.guess(&client, "id", 1);
    assert_eq!(limiter.wait(&client, "id"), None, "the repeat of a guess counts for nothing");
    limiter.failed(limiter.attempt(&client, "id", "another").unwrap());
    assert_eq!(limiter.wait(&client, "id"), Some(5));
    clock.advance(Duration::from_millis(4_900));
    assert_eq!(limiter.wait(&client, "id"), Some(1));
    clock.advance(Duration::from_millis(100));
    assert_eq!(limiter.wait(&client, "id"), None);
    limiter.failed(limiter.attempt(&client, "id", "yet another").unwrap());
    assert_eq!(limiter.wait(&client, "id"), Some(5));
    clock.advance(Duration::from_secs(50));
    limiter.guess(&client, "id", 9);
    assert_eq!(limiter.wait(&client, "id"), None, "all is forgiven");
}

#[test]
fn looking_counts_nothing() {
    let (limiter, _) = limiter();
    let client = at("192.0.2.1");
    for _ in 0..100 {
        assert_eq!(limiter.wait(&client, "id"), None);
    }
}

#[test]
fn a_storm_beyond_the_limit_makes_the_wait_no_longer() {
    let (limiter, _) = limiter();
    let client = at("192.0.2.1");
    limiter.guess(&client, "id", 1000);
    assert_eq!(limiter.wait(&client, "id"), Some(5));
}

#[test]
fn neither_another_address_nor_another_client_id_is_touched() {
    let (limiter, _) = limiter();
    limiter.guess(&at("192.0.2.1"), "id", 100);
    assert_eq!(limiter.wait(&at("192.0.2.2"), "id"), None);
    assert_eq!(limiter.wait(&at("192.0.2.1"), "another"), None);
}

#[rstest]
#[case("192.0.2.1", "::ffff:192.0.2.1", true)]
#[case("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true)]
#[case("2001:db8:0:1::1", "2001:db8:0:2::1", false)]
fn what_one_holder_has_is_one_address(#[case] first: &str, #[case] second: &str, #[case] same: bool) {
    let (limiter, _) = limiter();
    limiter.guess(&at(first), "id", 100);
    assert_eq!(limiter.wait(&at(second), "id").is_some(), same);
}

#[test]
fn an_identical_repeat_counts_once_in_five_seconds() {
    let (limiter, clock) = limiter();
    let client = at("192.0.2.1");
    let attempt = limiter.attempt(&client, "id", "wrong").unwrap();
    // For ten minutes, five times a second: never limited.
    for _ in 0..3000 {
        assert_eq!(limiter.check(attempt), Ok(()));
        limiter.failed(attempt);
        clock.advance(Duration::from_millis(200));
    }
    // Guesses besides it are.
    limiter.guess(&client, "id", 10);
    assert!(limiter.check(attempt).is_err());
}

#[test]
fn who_is_exempt_is_never_counted() {
    let (limiter, _) = limiter();
    assert_eq!(limiter.attempt(&Client { exempt: true, ..at("192.0.2.1") }, "id", "x"), None);
}

#[test]
fn credentials_that_were_good_once_are_neither_limited_nor_counted() {
    let (limiter, _) = limiter();
    let client = at("192.0.2.1");
    let attempt = |client_id, content| limiter.attempt(&client, client_id, content);
    limiter.proved(attempt("id", "old").unwrap());
    limiter.guess(&client, "id", 100);
    assert_eq!(
        (attempt("id", "old"), attempt("id", "other").is_some(), attempt("other", "old").is_some()),
        (None, true, true)
    );
    assert_eq!(limiter.attempt(&at("192.0.2.2"), "id", "old"), None, "wherever they come from");
}

#[test]
fn memory_is_bounded() {
    let (limiter, _) = limiter();
    let client = at("192.0.2.1");
    for number in 0..2 * REMEMBERED {
        limiter.failed(limiter.attempt(&client, &number.to_string(), "x").unwrap());
    }
    for memory in [&limiter.pairs, &limiter.seen] {
        let length = memory.lock().len();
        assert!((REMEMBERED / 2..=REMEMBERED).contains(&length), "{length}");
    }
}
