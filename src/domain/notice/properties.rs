//! What holds in every history: of sleeping, failing, rotating, disabling.

use std::collections::HashMap;

use chrono::TimeDelta;
use proptest::prelude::*;

use super::samples::{Sample, at, seconds};
use super::{Outcome, State, late_from, wake};

/// What can happen, each after a pause.
#[derive(Clone, Debug)]
enum Happening {
    Nothing,
    ServerDies,
    ServerComesBack,
    Rotated,
    Enabled(bool),
    Notify(bool),
}

fn happenings() -> impl Strategy<Value = Vec<(i64, Happening)>> {
    let happening = prop_oneof![
        6 => Just(Happening::Nothing),
        1 => Just(Happening::ServerDies),
        2 => Just(Happening::ServerComesBack),
        1 => Just(Happening::Rotated),
        1 => any::<bool>().prop_map(Happening::Enabled),
        1 => any::<bool>().prop_map(Happening::Notify),
    ];
    // From a second to 50 days: past several thresholds at once.
    let pause = prop_oneof![1..100_i64, 80_000..100_000_i64, 1..4_320_000_i64];
    proptest::collection::vec((pause, happening), 1..40)
}

fn sample() -> impl Strategy<Value = Sample> {
    (1..=365, any::<bool>()).prop_map(|(validity, manual)| match manual {
        true => Sample::manual(validity),
        false => Sample::automatic(validity),
    })
}

proptest! {
    #[test]
    fn each_notice_is_sent_once_and_in_order_and_never_of_a_replaced_version(
        mut sample in sample(),
        happenings in happenings(),
    ) {
        let (mut now, mut up) = (at(0), true);
        let mut sent: HashMap<i64, Vec<i32>> = HashMap::new();
        for (pause, happening) in happenings {
            now = now.saturating_add(seconds(pause));
            match happening {
                Happening::Nothing => {}
                Happening::ServerDies => up = false,
                Happening::ServerComesBack => up = true,
                Happening::Rotated => sample.rotate(now),
                Happening::Enabled(enabled) => sample.account.enabled = enabled,
                Happening::Notify(notify) => sample.settings_mut().notify = notify,
            }
            let silent = !sample.account.enabled || !sample.settings().notify;
            let outcome = if up { Outcome::Sent } else { Outcome::Failed("down".into()) };
            let mut tried = sample.plan_and_try(now, &outcome);
            tried.dedup();
            prop_assert!(tried.len() <= 1, "only the most urgent: {tried:?}");
            prop_assert!(!silent || tried.is_empty());
            let pending = sample.record.notices.iter().filter(|notice| notice.state == State::Pending).count();
            prop_assert!(pending <= 1);
            for (version, threshold) in tried {
                prop_assert_eq!(version, sample.current().version);
                let due = sample.current().not_after.saturating_add(TimeDelta::days(-i64::from(threshold)));
                prop_assert!(due <= now && threshold < sample.current().validity_days);
                if let Some(late) = late_from(&sample.account, sample.settings(), sample.current()) {
                    prop_assert!(late <= now);
                }
                if up {
                    sent.entry(version).or_default().push(threshold);
                }
            }
        }
        for (version, thresholds) in sent {
            prop_assert!(thresholds.windows(2).all(|pair| pair[0] > pair[1]), "{version}: {thresholds:?}");
        }
    }

    #[test]
    fn whoever_wakes_when_told_to_misses_none_of_a_manual_account(validity in 1..=365_i32) {
        let mut sample = Sample::manual(validity);
        let (mut now, mut sent) = (at(0), Vec::new());
        while let Some(time) = wake(&sample.account, sample.settings(), &sample.record, now) {
            let before = time.saturating_add(seconds(-1));
            prop_assert!(before <= now || sample.plan_and_send(before).is_empty(), "nothing happens before {time}");
            now = time;
            sent.extend(sample.plan_and_send(now).first().map(|(_, threshold)| *threshold));
        }
        let expected: Vec<i32> = [90, 60, 30, 7, 1, -1].into_iter().filter(|t| *t < validity).collect();
        prop_assert_eq!(sent, expected);
        prop_assert!(sample.states().iter().all(|(_, state)| *state == State::Sent));
    }
}
