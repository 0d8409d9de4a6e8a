//! When an Automatic account's next secret is due.
//!
//! ```text
//! notBefore                       rotation                    notAfter
//!     ●───────────────────────────────◆─────────────────────────○
//!                                     │◀───── overlap ─────────▶│
//!                                     │◀▶│ jitter: up to a tenth of the overlap, later
//! ```

use aws_lc_rs::digest;
use chrono::TimeDelta;

use super::account::{Account, SecretSettings};
use super::credential::Version;
use crate::api::Timestamp;
use crate::api::service_account::Rotation;

/// When the next secret is published; none with rotation Manual.
#[must_use]
pub fn rotation_time(account: &Account, settings: &SecretSettings, current: &Version) -> Option<Timestamp> {
    (settings.rotation == Rotation::Automatic).then(|| {
        let jitter = jitter(&account.owner.uid, settings.overlap);
        current.not_after.saturating_add(jitter - settings.overlap)
    })
}

/// Spreads accounts that were made together; the same for an account for ever.
fn jitter(uid: &str, overlap: TimeDelta) -> TimeDelta {
    let digest = digest::digest(&digest::SHA256, uid.as_bytes());
    let draw = digest.as_ref().iter().take(4).fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte));
    TimeDelta::seconds(draw % (overlap.num_seconds() / 10 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_stable_and_at_most_a_tenth_of_the_overlap() {
        let overlap = TimeDelta::hours(24);
        let all: Vec<_> = (0..500).map(|n| jitter(&format!("uid-{n}"), overlap)).collect();
        assert!(all.iter().all(|j| (TimeDelta::zero()..=overlap / 10).contains(j)));
        assert!(all.iter().max() > Some(&TimeDelta::hours(2)) && all.iter().min() < Some(&TimeDelta::minutes(10)));
        assert_eq!(jitter("uid-1", overlap), all[1]);
    }

    #[test]
    fn an_overlap_of_a_second_has_no_jitter() {
        assert_eq!(jitter("uid-1", TimeDelta::seconds(1)), TimeDelta::zero());
    }
}
