//! Who may write: client-go's rules for a Lease. Times are readings of this process's own stopwatch; what others wrote
//! into the lease about time is only ever compared for being the same, since their clocks may be years off.
//!
//! ```text
//! leader    ●──renew──●──renew──●── no answer ─────────▶│ 10 s after its last good write began: stops
//! others                        ◆ last change seen ──────────────▶│ 15 s later: may take over
//! ```

use std::time::Duration;

/// How long others wait after the last change that they saw; client-go's default, as are the next two.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long a leader goes on without a successful renewal. The 5 s up to [`LEASE_DURATION`] are for what it has under
/// way, and for a stopwatch that runs a little fast.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often a leader renews, and tries again when that failed.
pub const RETRY: Duration = Duration::from_secs(2);
/// How often others look: a take-over after a graceful stop is to take no more than 2 s, with the calls of both, and on
/// a machine that is busy with what made somebody stop the other.
pub const LOOK: Duration = Duration::from_millis(500);
/// A lease that claims to be longer (another program's, or edited by hand) does not keep us waiting longer than this.
const LONGEST: Duration = Duration::from_secs(60);

/// What a lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Who holds it; empty when it was released.
    pub holder: String,
    /// How long its holder wants others to wait.
    pub duration: Duration,
    /// When its holder says that it renewed it: never read as a time.
    pub renewed: String,
    /// How often it changed hands.
    pub transitions: i32,
}

/// The lease as it was seen last, and since when it has been like that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What it says; none when there is no lease.
    pub claim: Option<Claim>,
    /// When it was first seen saying so.
    pub since: Duration,
}

impl Sighting {
    /// What is known after another look at `now`.
    #[must_use]
    pub fn after(before: Option<Self>, claim: Option<Claim>, now: Duration) -> Self {
        before.filter(|before| before.claim == claim).unwrap_or(Self { claim, since: now })
    }
}

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nobody holds it, or its holder went silent: write oneself in.
    Acquire,
    /// It is ours: write it again.
    Renew,
    /// Another holds it, at least until then.
    Wait {
        /// A reading of our stopwatch.
        until: Duration,
    },
    /// It was ours: stop writing anything at once.
    Lost,
}

/// The next step of candidate `me` at `now`. `renewed` is when its last successful write of the lease began, if it
/// leads.
#[must_use]
pub fn decide(me: &str, renewed: Option<Duration>, sighting: &Sighting, now: Duration) -> Step {
    let holder = sighting.claim.as_ref().map_or("", |claim| claim.holder.as_str());
    let free = holder.is_empty() || holder == me;
    match renewed {
        Some(renewed) if now >= renewed + RENEW_DEADLINE || !free => Step::Lost,
        Some(_) => Step::Renew,
        None if free => Step::Acquire,
        None => match sighting.since + patience(sighting) {
            until if now >= until => Step::Acquire,
            until => Step::Wait { until },
        },
    }
}

/// As long as the holder asks for, but no shorter than ours: it may be an old binary with other ideas.
fn patience(sighting: &Sighting) -> Duration {
    sighting.claim.as_ref().map_or(LEASE_DURATION, |claim| claim.duration.clamp(LEASE_DURATION, LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn held_by(holder: &str) -> Option<Claim> {
        Some(Claim {
            holder: holder.into(),
            duration: s(15),
            renewed: "2026-01-01T00:00:00Z".into(),
            ..Claim::default()
        })
    }

    #[rstest]
    #[case::no_lease(None, None, 0, Step::Acquire)]
    #[case::released(None, held_by(""), 0, Step::Acquire)]
    #[case::mine_from_before(None, held_by("me"), 0, Step::Acquire)]
    #[case::seen_just_now(None, held_by("other"), 0, Step::Wait { until: s(15) })]
    #[case::a_second_before_its_end(None, held_by("other"), 14, Step::Wait { until: s(15) })]
    #[case::at_its_end(None, held_by("other"), 15, Step::Acquire)]
    #[case::leading(Some(8), held_by("me"), 10, Step::Renew)]
    #[case::leading_though_deleted(Some(8), None, 10, Step::Renew)]
    #[case::leading_though_emptied(Some(8), held_by(""), 10, Step::Renew)]
    #[case::a_second_before_the_deadline(Some(8), held_by("me"), 17, Step::Renew)]
    #[case::at_the_deadline(Some(8), held_by("me"), 18, Step::Lost)]
    #[case::taken_over(Some(8), held_by("other"), 9, Step::Lost)]
    fn the_lease_is_taken_when_free_or_silent_and_given_up_when_taken_or_late(
        #[case] renewed: Option<u64>,
        #[case] claim: Option<Claim>,
        #[case] now: u64,
        #[case] expected: Step,
    ) {
        let sighting = Sighting { claim, since: s(0) };
        assert_eq!(decide("me", renewed.map(s), &sighting, s(now)), expected);
    }

    #[rstest]
    #[case::an_hour_behind("2026-01-01T11:00:00Z", "2026-01-01T11:00:02Z")]
    #[case::ten_years_ahead("2036-01-01T12:00:00Z", "2036-01-01T12:00:02Z")]
    #[case::going_back("2026-01-01T12:00:00Z", "2026-01-01T11:59:58Z")]
    #[case::nonsense("tomorrow", "yesterday")]
    fn whatever_a_holders_clock_says_it_holds_on_by_changing_the_lease(#[case] first: &str, #[case] second: &str) {
        let claim = |renewed: &str| {
            Some(Claim { holder: "other".into(), duration: s(15), renewed: renewed.into(), transitions: 1 })
        };
        let seen = Sighting::after(None, claim(first), s(0));
        let unchanged = Sighting::after(Some(seen.clone()), claim(first), s(14));
        assert_eq!(unchanged.since, s(0), "the same claim again is no sign of life");
        let changed = Sighting::after(Some(seen), claim(second), s(14));
        assert_eq!(decide("me", None, &changed, s(28)), Step::Wait { until: s(29) });
        assert_eq!(decide("me", None, &changed, s(29)), Step::Acquire);
    }

    #[rstest]
    #[case::shorter(1, 15)]
    #[case::longer(30, 30)]
    #[case::absurd(100_000, 60)]
    fn a_holder_may_ask_for_more_patience_within_reason(#[case] asked: u64, #[case] until: u64) {
        let claim = Some(Claim { holder: "other".into(), duration: s(asked), ..Claim::default() });
        assert_eq!(decide("me", None, &Sighting { claim, since: s(0) }, s(0)), Step::Wait { until: s(until) });
    }

    /// Two candidates that see each other's writes at once, the leader cut off at every moment in turn.
    #[test]
    fn a_leader_that_cannot_renew_has_stopped_before_anybody_takes_over() {
        for cut in 0..40 {
            let written = (0..=cut).filter(|second| second % RETRY.as_secs() == 0).max().unwrap();
            let claim = Some(Claim { holder: "old".into(), duration: s(15), ..Claim::default() });
            let sighting = Sighting { claim, since: s(written) };
            let stopped =
                (cut..cut + 60).find(|now| decide("old", Some(s(written)), &sighting, s(*now)) == Step::Lost).unwrap();
            let taken = (cut..cut + 60).find(|now| decide("new", None, &sighting, s(*now)) == Step::Acquire).unwrap();
            assert!(stopped + 5 <= taken, "cut off at {cut}: stopped at {stopped}, taken over at {taken}");
        }
    }
}
