//! When the identity that the controller hands to the gateway is renewed.

use std::time::Duration;

/// How long a token is asked for. The API server may grant less.
pub const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// The shortest wait, so that an odd answer makes no hot loop.
const LEAST: Duration = Duration::from_secs(1);

/// The longest wait after a failure: the token in hand has a fifth of its lifetime left, twelve minutes of an hour.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// How long after a token was granted the next one is asked for: at four fifths of what was granted.
#[must_use]
pub fn after_success(granted: Duration) -> Duration {
    (granted / 5 * 4).max(LEAST)
}

/// How long after that many failures in a row it is tried again.
#[must_use]
pub fn after_failure(failures: u32) -> Duration {
    let doubled = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
    LEAST.saturating_mul(u32::try_from(doubled).unwrap_or(u32::MAX)).min(LONGEST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(3600, 2880)]
    #[case(600, 480)]
    #[case(0, 1)]
    fn a_token_is_renewed_at_four_fifths_of_what_was_granted(#[case] granted: u64, #[case] renewed: u64) {
        assert_eq!(after_success(Duration::from_secs(granted)), Duration::from_secs(renewed));
    }

    #[rstest]
    #[case(1, 1)]
    #[case(2, 2)]
    #[case(5, 16)]
    #[case(6, 30)]
    #[case(u32::MAX, 30)]
    fn failures_are_retried_ever_more_slowly_but_never_later_than_thirty_seconds(
        #[case] failures: u32,
        #[case] seconds: u64,
    ) {
        assert_eq!(after_failure(failures), Duration::from_secs(seconds));
    }

    #[test]
    fn the_token_in_hand_outlasts_twenty_failures() {
        let left = LIFETIME - after_success(LIFETIME);
        let tried: Duration = (1..=20).map(after_failure).sum();
        assert!(tried < left, "twenty tries before the token in hand ends: {tried:?} of {left:?}");
    }
}
