//! What the status says of notices; all of it from the record.

use super::due::{expiring_from, late_from, speaks};
use super::{Channel, Delivery, Notice, State};
use crate::api::service_account::Notification;
use crate::api::{ServiceAccountStatus, Timestamp};
use crate::domain::account::{Account, Authentication};
use crate::domain::duration::human;
use crate::domain::record::Record;
use crate::domain::words::{self, Word};

/// A condition that is true, and its message.
pub type Finding = (&'static Word, String);

/// Stands for all channels in the report of a notice that was skipped.
const ALL_CHANNELS: &str = "All";

/// `status.notifications`: the current version's, an entry for each channel.
#[must_use]
pub fn notifications(record: &Record) -> Vec<Notification> {
    of_current(record).flat_map(channels).collect()
}

fn of_current(record: &Record) -> impl Iterator<Item = &Notice> {
    let current = record.current().map(|current| current.version);
    record.notices.iter().filter(move |notice| Some(notice.version) == current)
}

fn channels(notice: &Notice) -> Vec<Notification> {
    let entry = |channel: &str, result: State, sent_time| Notification {
        threshold: notice.threshold,
        due_time: notice.due_time,
        sent_time,
        channel: channel.into(),
        result: result.name().into(),
    };
    if notice.deliveries.is_empty() {
        return vec![entry(ALL_CHANNELS, notice.state, None)];
    }
    let all = [Channel::Event, Channel::Email, Channel::Webhook].into_iter().map(|channel| {
        let ours: Vec<&Delivery> = notice.deliveries.iter().filter(|delivery| delivery.channel == channel).collect();
        let result = State::of_all(ours.iter().map(|delivery| delivery.state));
        let sent = ours.iter().filter_map(|delivery| delivery.sent_time).max();
        (!ours.is_empty()).then(|| entry(channel.name(), result, sent))
    });
    all.flatten().collect()
}

/// The conditions `Expiring` and `NotificationFailed`, those of them that are true.
#[must_use]
pub fn conditions(account: &Account, record: Option<&Record>, now: Timestamp) -> Vec<Finding> {
    let Some(record) = record else { return Vec::new() };
    [expiring(account, record, now), failed(account, record, now)].into_iter().flatten().collect()
}

/// Up to the end; from then on `Expired` says it.
fn expiring(account: &Account, record: &Record, now: Timestamp) -> Option<Finding> {
    let Authentication::Internal(settings) = &account.authentication else { return None };
    let current = record.current().filter(|current| current.works_at(now))?;
    expiring_from(account, settings, current).filter(|from| *from <= now)?;
    let end = current.not_after;
    Some(match late_from(account, settings, current) {
        Some(_) => {
            let message = format!(
                "the client secret should have been rotated by now and expires at {end}: the condition Ready says what is in the way"
            );
            (&words::ROTATION_LATE, message)
        }
        None => {
            let message = format!("the client secret expires at {end}: raise spec.regenerate.clientSecret");
            (&words::EXPIRING, message)
        }
    })
}

/// Of the most urgent notice alone: what went wrong with an earlier one is told by the later one.
fn failed(account: &Account, record: &Record, now: Timestamp) -> Option<Finding> {
    let Authentication::Internal(settings) = &account.authentication else { return None };
    let notice = of_current(record).filter(|notice| notice.due_time <= now).min_by_key(|notice| notice.threshold)?;
    let wrong: Vec<&Delivery> = notice.deliveries.iter().filter(|delivery| is_wrong(delivery)).collect();
    if wrong.is_empty() || !speaks(account, settings) {
        return None;
    }
    let trying = wrong.iter().any(|delivery| delivery.state == State::Pending);
    let mut told: Vec<String> = wrong.iter().map(|delivery| problem(delivery)).collect();
    told.dedup();
    let retrying = (&words::NOTICE_RETRYING, "tried again");
    let (word, fate) = if trying { retrying } else { (&words::NOTICE_GIVEN_UP, "given up") };
    let message = format!("the notice {} is {fate}: {}", moment(notice.threshold), told.join("; "));
    Some((word, message))
}

fn is_wrong(delivery: &Delivery) -> bool {
    matches!(delivery.state, State::Pending | State::Failed) && delivery.problem.is_some()
}

/// Without the address: an admin's is none of a tenant's business.
fn problem(delivery: &Delivery) -> String {
    let problem = delivery.problem.as_deref().unwrap_or_default();
    format!("{}: {problem}", delivery.channel.name())
}

fn moment(threshold: i32) -> String {
    let distance = human(chrono::TimeDelta::days(threshold.unsigned_abs().into()));
    let side = if threshold < 0 { "after" } else { "before" };
    format!("{distance} {side} expiry")
}

/// The old status with what there is to say of notices: for a pass that failed before it could report anything else.
#[must_use]
pub fn over(old: &ServiceAccountStatus, account: &Account, record: &Record, now: Timestamp) -> ServiceAccountStatus {
    let mut status = old.clone();
    status.notifications = notifications(record);
    status.conditions.retain(|condition| {
        ![words::EXPIRING.type_(), words::NOTICE_RETRYING.type_()].contains(&condition.type_.as_str())
    });
    for (word, message) in conditions(account, Some(record), now) {
        status.conditions.push(word.condition(account.generation, now, message).since(&old.conditions));
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notice::Outcome;
    use crate::domain::notice::samples::{Sample, at, seconds};

    fn found(sample: &Sample, now: Timestamp) -> Vec<(&'static str, &'static str)> {
        let all = conditions(&sample.account, Some(&sample.record), now);
        all.into_iter().map(|(word, _)| (word.type_(), word.reason())).collect()
    }

    #[test]
    fn a_manual_secret_is_expiring_from_its_first_threshold_to_its_end() {
        let mut sample = Sample::manual(100);
        sample.settings_mut().notify = false;
        for (now, expected) in [
            (at(10).saturating_add(seconds(-1)), vec![]),
            (at(10), vec![("Expiring", "ClientSecretExpiring")]),
            (at(100).saturating_add(seconds(-1)), vec![("Expiring", "ClientSecretExpiring")]),
            (at(100), vec![]),
        ] {
            assert_eq!(found(&sample, now), expected, "{now}");
        }
    }

    #[test]
    fn an_automatic_secret_is_expiring_when_its_rotation_is_late_and_not_while_disabled() {
        let mut sample = Sample::automatic(180);
        let late = late_from(&sample.account, sample.settings(), sample.current()).unwrap();
        assert_eq!(found(&sample, late.saturating_add(seconds(-1))), []);
        assert_eq!(found(&sample, late), [("Expiring", "RotationLate")]);
        sample.account.enabled = false;
        assert_eq!(found(&sample, late), []);
    }

    #[test]
    fn a_failed_notice_is_told_until_it_gets_through_or_a_more_urgent_one_does() {
        const FAILED: &str = "NotificationFailed";
        let failed = |sample: &Sample, now| found(sample, now).into_iter().find(|(type_, _)| *type_ == FAILED);
        let mut sample = Sample::manual(100);
        sample.plan_and_try(at(10), &Outcome::Failed("no answer".into()));
        assert_eq!(failed(&sample, at(10)), Some((FAILED, "Retrying")));
        let mut through = sample.clone();
        through.plan_and_send(at(11));
        assert_eq!(failed(&through, at(11)), None);
        sample.plan_and_try(at(12), &Outcome::Refused("no such user".into()));
        assert_eq!(failed(&sample, at(12)), Some((FAILED, "GivenUp")));
        sample.plan_and_send(at(40));
        assert_eq!(failed(&sample, at(40)), None);
    }

    #[test]
    fn the_status_tells_each_channel_and_no_address() {
        let mut sample = Sample::manual(100);
        sample.recipients.push(crate::domain::notice::recipient::Recipient::mail("admin@example.com"));
        sample.plan_and_send(at(41));
        let all = notifications(&sample.record);
        let shown: Vec<_> = all.iter().map(|n| (n.threshold, n.channel.as_str(), n.result.as_str())).collect();
        assert_eq!(shown, [(90, "All", "Skipped"), (60, "Event", "Sent"), (60, "Email", "Sent")]);
        assert_eq!((all[1].due_time, all[1].sent_time), (at(40), Some(at(41))));
        sample.rotate(at(42));
        assert!(notifications(&sample.record).is_empty());
    }

    #[test]
    fn a_failing_pass_reports_notices_and_leaves_the_rest_of_the_status() {
        let mut sample = Sample::automatic(180);
        let late = late_from(&sample.account, sample.settings(), sample.current()).unwrap();
        sample.plan_and_send(late);
        let old = ServiceAccountStatus { client_id: Some("id".into()), ..ServiceAccountStatus::default() };
        let status = over(&old, &sample.account, &sample.record, late);
        assert_eq!((status.client_id.as_deref(), status.conditions[0].reason.as_str()), (Some("id"), "RotationLate"));
        assert_eq!(over(&status, &sample.account, &sample.record, late.saturating_add(seconds(60))), status);
        assert!(!status.notifications.is_empty());
    }
}
