//! What the record should say of notices at a moment.

use super::due::{Due, dues, last_given_up, speaks};
use super::recipient::Recipient;
use super::{Delivery, Key, Notice, State};
use crate::api::Timestamp;
use crate::domain::account::{Account, SecretSettings};
use crate::domain::record::Record;

/// The record's notices as they should be at `now`, when that is something else than it holds.
///
/// Of the thresholds that have come only the most urgent is sent. The others count as skipped when they were never
/// recorded, and are given up when they were and did not get through.
#[must_use]
pub fn plan(
    account: &Account,
    settings: &SecretSettings,
    record: &Record,
    recipients: &[Recipient],
    now: Timestamp,
) -> Option<Vec<Notice>> {
    let current = record.current()?;
    let mut notices = record.notices.clone();
    forget_replaced(&mut notices, record, current.version);
    if speaks(account, settings) {
        let dues = dues(account, settings, current);
        follow_expiry(&mut notices, current.version, &dues);
        let come: Vec<Due> = dues.into_iter().filter(|due| due.time <= now).collect();
        if let Some((most_urgent, passed)) = come.split_last() {
            for due in passed {
                pass_over(&mut notices, current.version, *due, now);
            }
            keep_up(&mut notices, current.version, *most_urgent, recipients, now);
        }
    }
    (notices != record.notices).then_some(notices)
}

/// The deliveries to be made at `now`: those pending of the most urgent threshold that has come.
#[must_use]
pub fn deliverable(account: &Account, settings: &SecretSettings, record: &Record, now: Timestamp) -> Vec<Key> {
    let Some(current) = record.current().filter(|_| speaks(account, settings)) else { return Vec::new() };
    let come = dues(account, settings, current).into_iter().rfind(|due| due.time <= now);
    let notice = come.and_then(|due| {
        record.notices.iter().find(|notice| (notice.version, notice.threshold) == (current.version, due.threshold))
    });
    let pending = |notice: &Notice| {
        let deliveries = notice.deliveries.iter().filter(|delivery| delivery.state == State::Pending);
        deliveries.map(|delivery| notice.key(delivery)).collect()
    };
    notice.map(pending).unwrap_or_default()
}

/// Nobody is told of a version that has been replaced; and with the version its notices go.
fn forget_replaced(notices: &mut Vec<Notice>, record: &Record, current: i64) {
    notices.retain(|notice| record.version(notice.version).is_some());
    for notice in notices.iter_mut().filter(|notice| notice.version != current) {
        end(notice, State::Skipped);
    }
}

/// An edited validity moves what is still to be sent.
fn follow_expiry(notices: &mut [Notice], current: i64, dues: &[Due]) {
    for notice in notices.iter_mut().filter(|notice| notice.version == current && notice.state == State::Pending) {
        match dues.iter().find(|due| due.threshold == notice.threshold) {
            Some(due) => notice.due_time = due.time,
            None => end(notice, State::Skipped),
        }
    }
}

/// A threshold that a more urgent one has overtaken.
fn pass_over(notices: &mut Vec<Notice>, version: i64, due: Due, now: Timestamp) {
    match find(notices, version, due.threshold) {
        Some(notice) => end(notice, State::Failed),
        None => notices.push(recorded(version, due, Vec::new(), now)),
    }
}

/// The most urgent threshold that has come.
fn keep_up(notices: &mut Vec<Notice>, version: i64, due: Due, recipients: &[Recipient], now: Timestamp) {
    let Some(notice) = find(notices, version, due.threshold) else {
        notices.push(recorded(version, due, recipients.iter().map(Delivery::to).collect(), now));
        return;
    };
    let given_up = last_given_up(notice).is_some_and(|time| time <= now);
    match notice.state {
        State::Pending | State::Failed if given_up => end(notice, State::Failed),
        State::Pending | State::Failed => follow_recipients(notice, recipients),
        State::Sent | State::Skipped => {}
    }
}

/// Recipients may change while a notice has not reached all of them: a mistyped address is mended, a domain allowed.
/// One that reached everybody stays as it is, or a new admin would be flooded with every notice there is.
fn follow_recipients(notice: &mut Notice, recipients: &[Recipient]) {
    let wanted = |delivery: &Delivery| recipients.iter().find(|recipient| recipient.is_of(delivery));
    for delivery in &mut notice.deliveries {
        let never_tried = delivery.attempts == 0 && delivery.state == State::Failed;
        match wanted(delivery) {
            None if delivery.state != State::Sent => {
                delivery.state = State::Skipped;
            }
            Some(recipient) if delivery.state == State::Skipped || (never_tried && recipient.refused.is_none()) => {
                *delivery = Delivery::to(recipient);
            }
            _ => {}
        }
    }
    let new = recipients.iter().filter(|recipient| !notice.deliveries.iter().any(|known| recipient.is_of(known)));
    let new: Vec<Delivery> = new.map(Delivery::to).collect();
    notice.deliveries.extend(new);
    notice.resolve();
}

fn find(notices: &mut [Notice], version: i64, threshold: i32) -> Option<&mut Notice> {
    notices.iter_mut().find(|notice| notice.version == version && notice.threshold == threshold)
}

fn recorded(version: i64, due: Due, deliveries: Vec<Delivery>, now: Timestamp) -> Notice {
    let mut notice = Notice {
        version,
        threshold: due.threshold,
        due_time: due.time,
        recorded_time: Some(now),
        state: State::Skipped,
        deliveries,
        unknown: serde_json::Map::new(),
    };
    notice.resolve();
    notice
}

/// Ends what is pending; what was sent stays sent.
fn end(notice: &mut Notice, state: State) {
    for delivery in notice.deliveries.iter_mut().filter(|delivery| delivery.state == State::Pending) {
        delivery.state = state;
    }
    if notice.state == State::Pending {
        notice.resolve();
    }
}

impl Delivery {
    fn to(recipient: &Recipient) -> Self {
        let Recipient { channel, to, refused } = recipient.clone();
        Self {
            channel,
            to,
            state: if refused.is_some() { State::Failed } else { State::Pending },
            attempts: 0,
            attempt_time: None,
            sent_time: None,
            problem: refused,
            unknown: serde_json::Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notice::samples::{Sample, at, days, seconds};
    use crate::domain::notice::{Channel, Outcome};
    use rstest::rstest;

    const DEAD: Outcome = Outcome::Failed(String::new());

    #[rstest]
    #[case(90)]
    #[case(60)]
    #[case(30)]
    #[case(7)]
    #[case(1)]
    #[case(-1)]
    fn a_threshold_is_due_at_its_second_and_not_one_before(#[case] threshold: i32) {
        let mut sample = Sample::manual(100);
        let due = at(100).saturating_add(days(-threshold));
        sample.plan_and_send(due.saturating_add(seconds(-86_400)));
        assert_eq!(sample.plan_and_send(due.saturating_add(seconds(-1))), []);
        // One to read Events, one by mail.
        assert_eq!(sample.plan_and_send(due), [(1, threshold), (1, threshold)]);
        assert_eq!(sample.plan_and_send(due.saturating_add(seconds(1))), []);
    }

    #[rstest]
    #[case(-1, false)]
    #[case(0, true)]
    #[case(1, true)]
    fn an_automatic_account_is_told_of_when_its_rotation_is_ten_minutes_late(#[case] after: i64, #[case] told: bool) {
        let mut sample = Sample::automatic(180);
        let late = crate::domain::notice::late_from(&sample.account, sample.settings(), sample.current()).unwrap();
        let sent = sample.plan_and_send(late.saturating_add(seconds(after)));
        // The overlap is a day: the threshold of one day came before that, and is the most urgent one missed.
        assert_eq!(sent.first().copied(), told.then_some((1, 1)));
        let skipped = sample.states().iter().filter(|(_, state)| *state == State::Skipped).count();
        assert_eq!(skipped, if told { 4 } else { 0 });
    }

    #[test]
    fn after_a_downtime_only_the_most_urgent_is_sent_and_the_others_are_skipped() {
        let mut sample = Sample::manual(100);
        sample.plan_and_send(at(10));
        assert_eq!(sample.plan_and_send(at(94)).first(), Some(&(1, 7)));
        let expected = [(90, State::Sent), (60, State::Skipped), (30, State::Skipped), (7, State::Sent)];
        assert_eq!(sample.states(), expected);
    }

    #[test]
    fn nothing_is_said_of_a_silent_or_disabled_account_and_what_it_missed_once_it_speaks() {
        let mut silent = Sample::manual(100);
        silent.settings_mut().notify = false;
        let mut disabled = Sample::manual(100);
        disabled.account.enabled = false;
        for sample in [&mut silent, &mut disabled] {
            assert!(sample.plan_and_send(at(95)).is_empty() && sample.states().is_empty());
        }
        silent.settings_mut().notify = true;
        disabled.account.enabled = true;
        for sample in [&mut silent, &mut disabled] {
            assert_eq!(sample.plan_and_send(at(96)).first(), Some(&(1, 7)));
        }
    }

    #[test]
    fn what_is_pending_when_an_account_falls_silent_waits_and_goes_on() {
        let mut sample = Sample::manual(100);
        sample.plan_and_try(at(10), &DEAD);
        sample.account.enabled = false;
        assert_eq!(sample.plan_and_send(at(11)), []);
        assert_eq!(sample.states(), [(90, State::Pending)]);
        sample.account.enabled = true;
        assert_eq!(sample.plan_and_send(at(12)).first(), Some(&(1, 90)));
    }

    #[test]
    fn what_does_not_get_through_is_tried_until_a_more_urgent_one_comes() {
        let mut sample = Sample::manual(100);
        sample.plan_and_try(at(10), &DEAD);
        let before = at(40).saturating_add(seconds(-1));
        assert_eq!(sample.plan_and_try(before, &DEAD).first(), Some(&(1, 90)));
        assert_eq!(sample.plan_and_try(at(40), &DEAD).first(), Some(&(1, 60)));
        assert_eq!(sample.states(), [(90, State::Failed), (60, State::Pending)]);
    }

    #[test]
    fn the_last_one_is_given_up_after_a_week() {
        let mut sample = Sample::manual(1);
        sample.plan_and_try(at(2), &Outcome::Waiting("down".into()));
        sample.plan(at(9).saturating_add(seconds(-1)));
        assert_eq!(sample.states(), [(-1, State::Pending)]);
        sample.plan(at(9));
        assert_eq!(sample.states(), [(-1, State::Failed)]);
    }

    #[test]
    fn one_found_weeks_later_is_sent_all_the_same() {
        let mut sample = Sample::manual(1);
        assert_eq!(sample.plan_and_send(at(30)).first(), Some(&(1, -1)));
    }

    #[test]
    fn a_replaced_version_is_never_told_of_again_and_forgotten_with_it() {
        let mut sample = Sample::manual(100);
        sample.plan_and_try(at(10), &DEAD);
        sample.rotate(at(11));
        assert_eq!(sample.plan_and_send(at(11)), []);
        assert_eq!(sample.record.notices[0].state, State::Skipped);
        sample.rotate(at(12));
        sample.plan(at(12));
        assert!(sample.record.notices.is_empty());
    }

    #[test]
    fn a_longer_validity_moves_what_is_pending_and_repeats_nothing() {
        let mut sample = Sample::manual(100);
        sample.plan_and_send(at(10));
        sample.plan_and_try(at(40), &DEAD);
        sample.move_expiry(200);
        assert_eq!(sample.plan_and_send(at(41)), []);
        assert_eq!(sample.plan_and_send(at(110)), []);
        assert_eq!(sample.plan_and_send(at(140)).first(), Some(&(1, 60)));
    }

    #[test]
    fn a_mended_address_gets_the_notice_that_the_wrong_one_did_not() {
        let mut sample = Sample::manual(100);
        sample.plan_and_try(at(10), &Outcome::Refused("no such user".into()));
        sample.recipients = vec![Recipient::of(Channel::Event), Recipient::mail("mended@example.com")];
        let keys = |sample: &Sample| deliverable(&sample.account, sample.settings(), &sample.record, at(10));
        sample.plan(at(10));
        assert_eq!(keys(&sample).iter().map(|key| key.to.as_deref()).collect::<Vec<_>>(), [Some("mended@example.com")]);
        sample.plan_and_send(at(10));
        // It got through to everybody wanted but the Event: a newcomer is still added, once.
        assert_eq!(sample.states(), [(90, State::Failed)]);
    }

    #[test]
    fn an_address_of_a_forbidden_domain_is_tried_once_the_domain_is_allowed() {
        let mut sample = Sample::manual(100);
        sample.recipients[1].refused = Some("its domain is not among --mail-domains".into());
        assert_eq!(sample.plan_and_send(at(10)), [(1, 90)]);
        assert_eq!(sample.states(), [(90, State::Failed)]);
        sample.recipients[1].refused = None;
        assert_eq!(sample.plan_and_send(at(11)), [(1, 90)]);
        assert_eq!(sample.states(), [(90, State::Sent)]);
    }

    #[test]
    fn a_new_admin_is_not_flooded_with_what_reached_everybody_else() {
        let mut sample = Sample::manual(100);
        sample.plan_and_send(at(10));
        sample.recipients.push(Recipient::mail("admin@example.com"));
        assert_eq!(sample.plan_and_send(at(11)), []);
        assert_eq!(sample.plan_and_send(at(40)).len(), 3);
    }
}
