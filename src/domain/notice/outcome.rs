//! What became of an attempt to deliver a notice.

use super::{Delivery, Key, State};
use crate::api::Timestamp;
use crate::domain::record::Record;

/// The end of an attempt, or of the wait for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted.
    Sent,
    /// Refused for good.
    Refused(String),
    /// To be tried again.
    Failed(String),
    /// Not tried at all: its server is known not to work, and why.
    Waiting(String),
}

/// The record with that written down. What was given up meanwhile stays so, unless it did get through.
#[must_use]
pub fn settled(mut record: Record, key: &Key, outcome: &Outcome, now: Timestamp) -> Record {
    for notice in &mut record.notices {
        if (notice.version, notice.threshold) != (key.version, key.threshold) {
            continue;
        }
        let ours = notice.deliveries.iter_mut().find(|known| known.channel == key.channel && known.to == key.to);
        if let Some(delivery) = ours {
            delivery.take(outcome, now);
            notice.resolve();
        }
    }
    record
}

impl Delivery {
    fn take(&mut self, outcome: &Outcome, now: Timestamp) {
        let pending = self.state == State::Pending;
        match outcome {
            Outcome::Sent => {
                self.tried(now);
                self.state = State::Sent;
                self.sent_time = Some(now);
                self.problem = None;
            }
            Outcome::Refused(problem) if pending => {
                self.tried(now);
                self.state = State::Failed;
                self.problem = Some(problem.clone());
            }
            Outcome::Failed(problem) if pending => {
                self.tried(now);
                self.problem = Some(problem.clone());
            }
            Outcome::Waiting(problem) if pending && self.problem.is_none() => self.problem = Some(problem.clone()),
            Outcome::Refused(_) | Outcome::Failed(_) | Outcome::Waiting(_) => {}
        }
    }

    fn tried(&mut self, now: Timestamp) {
        self.attempts = self.attempts.saturating_add(1);
        self.attempt_time = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notice::samples::{Sample, at};
    use crate::domain::notice::{Channel, Notice, deliverable};

    fn mail(record: &Record) -> Delivery {
        let mut all = record.notices.iter().flat_map(|notice| notice.deliveries.clone());
        all.find(|delivery| delivery.channel == Channel::Email).unwrap()
    }

    #[test]
    fn an_attempt_is_counted_and_its_problem_kept_until_it_gets_through() {
        let mut sample = Sample::manual(100);
        sample.plan_and_try(at(10), &Outcome::Waiting("down".into()));
        assert_eq!((mail(&sample.record).attempts, mail(&sample.record).problem.as_deref()), (0, Some("down")));
        sample.plan_and_try(at(11), &Outcome::Failed("refused".into()));
        sample.plan_and_try(at(12), &Outcome::Waiting("down".into()));
        assert_eq!((mail(&sample.record).attempts, mail(&sample.record).problem.as_deref()), (1, Some("refused")));
        sample.plan_and_send(at(13));
        let Delivery { state, attempts, sent_time, problem, .. } = mail(&sample.record);
        assert_eq!((state, attempts, sent_time, problem), (State::Sent, 2, Some(at(13)), None));
    }

    #[test]
    fn what_got_through_after_it_was_given_up_counts_as_sent_and_nothing_else_changes_it() {
        let mut sample = Sample::manual(100);
        sample.plan(at(10));
        let keys = deliverable(&sample.account, sample.settings(), &sample.record, at(10));
        sample.plan(at(40));
        for (outcome, state) in [(Outcome::Failed("late".into()), State::Failed), (Outcome::Sent, State::Sent)] {
            for key in &keys {
                sample.record = settled(sample.record.clone(), key, &outcome, at(40));
            }
            assert_eq!(sample.states()[0], (90, state));
        }
    }

    #[test]
    fn a_record_keeps_what_a_newer_binary_wrote_into_a_notice() {
        let json = r#"{"version":1,"threshold":7,"dueTime":"2026-11-21T12:00:00Z","state":"Pending","shade":"blue",
            "deliveries":[{"channel":"Email","to":"a@b.c","state":"Pending","tone":"low"}]}"#;
        let notice: Notice = serde_json::from_str(json).unwrap();
        assert_eq!((notice.deliveries[0].attempts, &notice.unknown["shade"]), (0, &"blue".into()));
        let again = serde_json::to_string(&notice).unwrap();
        assert!(again.contains("\"shade\":\"blue\"") && again.contains("\"tone\":\"low\""), "{again}");
    }
}
