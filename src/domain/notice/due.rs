//! When a notice is due, and when the next one will be.

use chrono::TimeDelta;

use super::{Notice, State};
use crate::api::Timestamp;
use crate::api::service_account::Rotation;
use crate::domain::account::{Account, SecretSettings};
use crate::domain::credential::Version;
use crate::domain::record::Record;
use crate::domain::schedule;

/// Days before expiry, then after it (manual page 000), in the order in which they come.
pub(super) const THRESHOLDS: [i32; 6] = [90, 60, 30, 7, 1, -1];

/// A rotation that is this late will not come by itself.
const LATE_AFTER: TimeDelta = TimeDelta::minutes(10);

/// After the last threshold no other one ends the attempts to deliver it; this does.
const LAST_GIVEN_UP_AFTER: TimeDelta = TimeDelta::days(7);

/// A threshold and its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) threshold: i32,
    pub(super) time: Timestamp,
}

/// The thresholds of a version, the least urgent first. One that is not shorter than the validity has none: it would be
/// due when the secret is made.
pub(super) fn dues(account: &Account, settings: &SecretSettings, version: &Version) -> Vec<Due> {
    let late = late_from(account, settings, version);
    let time = |threshold: i32| {
        let day = version.not_after.saturating_add(TimeDelta::days(-i64::from(threshold)));
        late.map_or(day, |late| day.max(late))
    };
    let shorter = THRESHOLDS.into_iter().filter(|threshold| *threshold < version.validity_days);
    shorter.map(|threshold| Due { threshold, time: time(threshold) }).collect()
}

/// The moment from which on an Automatic rotation that has not happened is late; none with rotation Manual.
#[must_use]
pub fn late_from(account: &Account, settings: &SecretSettings, version: &Version) -> Option<Timestamp> {
    schedule::rotation_time(account, settings, version).map(|due| due.saturating_add(LATE_AFTER))
}

/// The moment from which on a secret counts as expiring: the first threshold before its end, or a late rotation.
pub(super) fn expiring_from(account: &Account, settings: &SecretSettings, version: &Version) -> Option<Timestamp> {
    match settings.rotation {
        Rotation::Manual => {
            dues(account, settings, version).into_iter().find(|due| due.threshold > 0).map(|due| due.time)
        }
        // Disabled, it is not rotated, and that is not late: it is when it is enabled.
        Rotation::Automatic => late_from(account, settings, version).filter(|_| account.enabled),
    }
}

/// Whether anybody is to be told anything: not of a disabled account, which nobody can use and nobody would miss. When
/// it is enabled again, the most urgent notice that came meanwhile is sent, as after a downtime.
pub(super) fn speaks(account: &Account, settings: &SecretSettings) -> bool {
    account.enabled && settings.notify && !account.deleting
}

/// When a notice is given up that no more urgent one follows; counted from when it could first be sent.
pub(super) fn last_given_up(notice: &Notice) -> Option<Timestamp> {
    let last = THRESHOLDS.last() == Some(&notice.threshold);
    let from = notice.recorded_time.map_or(notice.due_time, |recorded| recorded.max(notice.due_time));
    last.then(|| from.saturating_add(LAST_GIVEN_UP_AFTER))
}

/// The next moment after `now` at which a notice is due, is given up, or the secret counts as expiring.
#[must_use]
pub fn wake(account: &Account, settings: &SecretSettings, record: &Record, now: Timestamp) -> Option<Timestamp> {
    let current = record.current()?;
    let ours = || record.notices.iter().filter(|notice| notice.version == current.version);
    let sleeping = |due: &Due| {
        ours().find(|notice| notice.threshold == due.threshold).is_none_or(|notice| notice.state == State::Pending)
    };
    let dues = dues(account, settings, current).into_iter().filter(sleeping).map(|due| due.time);
    let given_up = ours().filter(|notice| notice.state == State::Pending).filter_map(last_given_up);
    let spoken = dues.chain(given_up).filter(|_| speaks(account, settings));
    spoken.chain(expiring_from(account, settings, current)).filter(|time| *time > now).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notice::samples::{Sample, at, days};
    use rstest::rstest;

    #[rstest]
    #[case(365, &[90, 60, 30, 7, 1, -1])]
    #[case(91, &[90, 60, 30, 7, 1, -1])]
    #[case(90, &[60, 30, 7, 1, -1])]
    #[case(8, &[7, 1, -1])]
    #[case(7, &[1, -1])]
    #[case(2, &[1, -1])]
    #[case(1, &[-1])]
    fn a_threshold_not_shorter_than_the_validity_is_dropped(#[case] validity: i32, #[case] kept: &[i32]) {
        let sample = Sample::manual(validity);
        let dues = dues(&sample.account, sample.settings(), sample.current());
        assert_eq!(dues.iter().map(|due| due.threshold).collect::<Vec<_>>(), kept);
        let end = at(0).saturating_add(days(validity));
        assert!(dues.iter().all(|due| due.time == end.saturating_add(days(-due.threshold))), "{dues:?}");
    }

    #[test]
    fn an_automatic_account_has_no_notice_before_its_rotation_is_ten_minutes_late() {
        let sample = Sample::automatic(180);
        let (account, settings, current) = (&sample.account, sample.settings(), sample.current());
        let rotation = schedule::rotation_time(account, settings, current).unwrap();
        let late = rotation.saturating_add(TimeDelta::minutes(10));
        assert_eq!(late_from(account, settings, current), Some(late));
        let dues = dues(account, settings, current);
        let end = current.not_after;
        // The overlap is 24 h: all thresholds before the end have passed by then, but for the one after it.
        assert!(dues.iter().filter(|due| due.threshold > 0).all(|due| due.time == late));
        assert_eq!(dues.last().map(|due| due.time), Some(end.saturating_add(days(1))));
    }

    #[test]
    fn it_wakes_at_every_threshold_and_not_in_between() {
        let mut sample = Sample::manual(100);
        let mut woken = Vec::new();
        let mut now = at(0);
        while let Some(time) = wake(&sample.account, sample.settings(), &sample.record, now) {
            now = time;
            woken.push((now.unix() - at(0).unix()) / 86_400);
            sample.plan_and_send(now);
        }
        assert_eq!(woken, [10, 40, 70, 93, 99, 101]);
    }

    #[test]
    fn silence_still_wakes_for_the_condition() {
        let mut sample = Sample::manual(100);
        sample.settings_mut().notify = false;
        let wake = |now| wake(&sample.account, sample.settings(), &sample.record, now);
        assert_eq!(wake(at(0)), Some(at(10)));
        assert_eq!(wake(at(10)), None);
    }
}
