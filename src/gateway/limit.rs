//! Who has failed too often: counted for an address and a client ID together, so that nobody can lock out the holder of
//! a client ID, nor everybody behind another address. Looked at before anything is hashed, and only for credentials that
//! were not verified before.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use aws_lc_rs::hmac;
use axum::extract::ConnectInfo;
use chrono::{DateTime, TimeDelta, Utc};
use http::request::Parts;
use ipnet::IpNet;
use quick_cache::sync::Cache;

use super::basic::Candidate;
use super::refusal::Refusal;

/// So many failures at once are no typing errors.
const FAILURES: i32 = 10;

/// One failure is forgotten after this time, then the next: who has used them up may still try ten times a minute, so
/// that a client whose secret was replaced is not kept waiting for long once it has the new one.
const PACE: TimeDelta = TimeDelta::seconds(6);

/// The same credentials again within this time are the same failure: some clients try twice by themselves.
const SAME: TimeDelta = TimeDelta::seconds(5);

/// How many pairs are remembered: 100,000 at some 150 bytes each are 15 MB.
const REMEMBERED: usize = 100_000;

/// Whom to tell apart by what.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Addresses behind which there are many clients: nodes, that rewrite the addresses of what they pass on.
    pub shared: Vec<IpNet>,
}

impl Sources {
    /// The address that a request counts for; none when nobody can tell, or when too many share it.
    #[must_use]
    pub fn of(&self, parts: &Parts) -> Option<IpAddr> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip().to_canonical();
        let is_proxy = |address: &IpAddr| self.trusted_proxies.iter().any(|net| net.contains(address));
        let address = if is_proxy(&peer) {
            // The rightmost that no proxy of ours wrote about itself; what stands left of it anybody can have sent.
            let lists = parts.headers.get_all("x-forwarded-for").iter().rev();
            let named = lists.flat_map(|list| list.to_str().unwrap_or_default().rsplit(','));
            let addresses = named.map(|text| text.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical()));
            addresses.flatten().find(|address| !is_proxy(address))?
        } else {
            peer
        };
        (!self.shared.iter().any(|net| net.contains(&address))).then(|| subscriber(address))
    }
}

/// One subscriber has a /64 of IPv6 at least.
fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

/// One pair's failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failures {
    /// When the last of them is forgotten.
    until: DateTime<Utc>,
    /// The credentials that failed last, as a MAC, and when.
    last: ([u8; 32], DateTime<Utc>),
}

impl Failures {
    /// What is still to be forgotten; nothing when the clock went back further than failures reach.
    fn debt(&self, now: DateTime<Utc>) -> TimeDelta {
        let debt = self.until - now;
        if debt > PACE * FAILURES { TimeDelta::zero() } else { debt.max(TimeDelta::zero()) }
    }

    /// How many seconds are left to wait, if there were too many.
    fn wait(&self, now: DateTime<Utc>) -> Option<u32> {
        let left = self.debt(now) - PACE * (FAILURES - 1);
        // Rounded up: who waits as long as it was told is let in.
        let seconds = (left + TimeDelta::milliseconds(999)).num_seconds();
        u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
    }

    fn after(before: Option<Self>, credentials: [u8; 32], now: DateTime<Utc>) -> Self {
        match before {
            Some(before) if before.last.0 == credentials && (now - before.last.1).abs() < SAME => before,
            _ => {
                let debt = before.map_or(TimeDelta::zero(), |before| before.debt(now));
                Self { until: now + (debt + PACE).min(PACE * FAILURES), last: (credentials, now) }
            }
        }
    }
}

/// Counts.
pub struct Limiter {
    key: hmac::Key,
    failures: Cache<[u8; 32], Failures>,
}

impl Limiter {
    /// Nobody has failed yet. What is remembered is remembered under this key: people paste secrets everywhere.
    #[must_use]
    pub fn new(key: hmac::Key) -> Self {
        Self { key, failures: Cache::new(REMEMBERED) }
    }

    /// Lets credentials be tried, or not.
    ///
    /// # Errors
    /// [`Refusal::Limited`].
    pub fn admit(&self, from: Option<IpAddr>, candidates: &[Candidate], now: DateTime<Utc>) -> Result<(), Refusal> {
        let Some(from) = from else { return Ok(()) };
        let waits = candidates.iter().filter_map(|candidate| self.failures.get(&self.pair(from, candidate))?.wait(now));
        waits.max().map_or(Ok(()), |retry_after| Err(Refusal::Limited { retry_after }))
    }

    /// They have failed: once for each client ID that they may have meant.
    pub fn failed(&self, from: Option<IpAddr>, candidates: &[Candidate], now: DateTime<Utc>) {
        let (Some(from), Some(first)) = (from, candidates.first()) else { return };
        let credentials = self.mac(&[first.client_id.as_bytes(), first.secret.as_bytes()]);
        let mut pairs: Vec<_> = candidates.iter().map(|candidate| self.pair(from, candidate)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        for pair in pairs {
            self.failures.insert(pair, Failures::after(self.failures.get(&pair), credentials, now));
        }
    }

    fn pair(&self, from: IpAddr, candidate: &Candidate) -> [u8; 32] {
        self.mac(&[from.to_string().as_bytes(), candidate.client_id.as_bytes()])
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            // Each with its length, so that no two lists give one text.
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use zeroize::Zeroizing;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600 + seconds, 0).unwrap()
    }

    fn candidate(client_id: &str, secret: &str) -> Candidate {
        Candidate { client_id: client_id.into(), secret: Zeroizing::new(secret.into()) }
    }

    fn limiter() -> Limiter {
        Limiter::new(hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]))
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// Fails with so many different secrets, in the second 0.
    fn fail(limiter: &Limiter, from: Option<IpAddr>, client_id: &str, times: i32) {
        for number in 0..times {
            limiter.failed(from, &[candidate(client_id, &number.to_string())], at(0));
        }
    }

    #[test]
    fn a_pair_that_failed_too_often_waits_and_then_may_fail_once_every_six_seconds() {
        let (limiter, from, next) = (limiter(), address("192.0.2.1"), [candidate("id", "next")]);
        fail(&limiter, from, "id", FAILURES - 1);
        assert_eq!(limiter.admit(from, &next, at(0)), Ok(()));
        limiter.failed(from, &next, at(0));
        assert_eq!(limiter.admit(from, &next, at(0)), Err(Refusal::Limited { retry_after: 6 }));
        assert_eq!(limiter.admit(from, &next, at(5)), Err(Refusal::Limited { retry_after: 1 }));
        assert_eq!(limiter.admit(from, &next, at(6)), Ok(()));
        limiter.failed(from, &next, at(6));
        assert_eq!(limiter.admit(from, &next, at(6)), Err(Refusal::Limited { retry_after: 6 }));
        // After a minute all are forgotten.
        for number in 0..FAILURES {
            assert_eq!(limiter.admit(from, &next, at(66)), Ok(()), "{number}");
            limiter.failed(from, &[candidate("id", &format!("later-{number}"))], at(66));
        }
        assert!(limiter.admit(from, &next, at(66)).is_err());
    }

    #[test]
    fn neither_the_same_client_elsewhere_nor_another_here_has_to_wait() {
        let limiter = limiter();
        fail(&limiter, address("192.0.2.1"), "id", 2 * FAILURES);
        assert_eq!(limiter.admit(address("192.0.2.2"), &[candidate("id", "x")], at(0)), Ok(()));
        assert_eq!(limiter.admit(address("192.0.2.1"), &[candidate("other", "x")], at(0)), Ok(()));
        assert_eq!(limiter.admit(None, &[candidate("id", "x")], at(0)), Ok(()));
    }

    #[test]
    fn the_same_credentials_again_are_the_same_failure_for_five_seconds() {
        let (limiter, from, same) = (limiter(), address("192.0.2.1"), [candidate("id", "s")]);
        (0..100).for_each(|_| limiter.failed(from, &same, at(0)));
        assert_eq!(limiter.admit(from, &same, at(0)), Ok(()));
        // Ten at every fifth second for so long that more are counted than are forgotten.
        (0..600).for_each(|number| limiter.failed(from, &same, at(number / 10 * 5)));
        assert!(limiter.admit(from, &same, at(295)).is_err());
    }

    #[test]
    fn an_id_counts_however_it_was_encoded_and_a_request_counts_once() {
        let (limiter, from) = (limiter(), address("192.0.2.1"));
        for number in 0..FAILURES {
            let ways = [candidate("a:b", &number.to_string()), candidate("a%3Ab", &number.to_string())];
            assert_eq!(limiter.admit(from, &[candidate("a:b", "x")], at(0)), Ok(()));
            limiter.failed(from, &[&ways[..], &ways[..]].concat(), at(0));
        }
        assert!(limiter.admit(from, &[candidate("a:b", "x")], at(0)).is_err());
        assert!(limiter.admit(from, &[candidate("other", "x"), candidate("a%3Ab", "x")], at(0)).is_err());
    }

    #[test]
    fn a_clock_that_goes_back_locks_nobody_out() {
        let (limiter, from) = (limiter(), address("192.0.2.1"));
        fail(&limiter, from, "id", FAILURES);
        assert_eq!(limiter.admit(from, &[candidate("id", "x")], at(-3600)), Ok(()));
    }

    #[rstest]
    #[case::direct("192.0.2.1:7", &[], Some("192.0.2.1"))]
    #[case::nobody_is_believed_that_is_not_trusted("192.0.2.1:7", &["203.0.113.9"], Some("192.0.2.1"))]
    #[case::a_trusted_proxy("10.0.0.1:7", &["203.0.113.9"], Some("203.0.113.9"))]
    #[case::only_its_own_word("10.0.0.1:7", &["1.1.1.1, 203.0.113.9"], Some("203.0.113.9"))]
    #[case::two_proxies("10.0.0.1:7", &["1.1.1.1", "203.0.113.9, 10.0.0.2"], Some("203.0.113.9"))]
    #[case::a_proxy_without_a_word("10.0.0.1:7", &[], None)]
    #[case::a_proxy_that_is_the_client("10.0.0.1:7", &["10.0.0.9"], None)]
    #[case::a_node("172.16.0.4:7", &[], None)]
    #[case::a_node_behind_a_proxy("10.0.0.1:7", &["172.16.0.4"], None)]
    #[case::mapped("[::ffff:192.0.2.1]:7", &[], Some("192.0.2.1"))]
    #[case::a_whole_subscriber("[2001:db8:1:2:3:4:5:6]:7", &[], Some("2001:db8:1:2::"))]
    fn failures_count_for_the_address_that_nobody_can_choose(
        #[case] peer: &str,
        #[case] forwarded: &[&str],
        #[case] expected: Option<&str>,
    ) {
        let sources = Sources {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            shared: vec!["172.16.0.0/12".parse().unwrap()],
        };
        let mut request = http::Request::builder();
        for list in forwarded {
            request = request.header("x-forwarded-for", *list);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(sources.of(&parts), None, "nobody can tell without a peer");
        parts.extensions.insert(ConnectInfo::<SocketAddr>(peer.parse().unwrap()));
        assert_eq!(sources.of(&parts), expected.map(|text| text.parse().unwrap()));
    }
}
