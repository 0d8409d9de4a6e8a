//! What people ask for: the spec's counters and the two annotations.

use std::fmt;

use chrono::TimeDelta;

use super::account::{Account, Authentication};
use super::record::Handled;
use super::words;
use crate::api::{self, ServiceAccount, ServiceAccountStatus, Timestamp};

/// How far an annotation's time may lie ahead of our clock.
const TOLERATED_AHEAD: TimeDelta = TimeDelta::minutes(5);

/// The condition while an annotation is ignored.
pub const CONDITION: &str = words::TRIGGER_IGNORED.type_();

/// The present trigger values of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Triggers {
    /// The values, usable ones only.
    pub present: Handled,
    /// `keyrota.dev/regenerate` asks for the client ID, not only for the secret.
    pub annotation_wants_client_id: bool,
    /// Times of annotations that lie too far ahead to be acted on yet.
    pub ahead: Handled,
    /// Annotations that are ignored, and why.
    pub ignored: Vec<Ignored>,
}

/// An annotation that cannot be acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The annotation's key.
    pub annotation: &'static str,
    /// What is wrong with its value, and the remedy.
    pub problem: String,
}

impl Ignored {
    fn ahead(annotation: &'static str, time: Timestamp) -> Self {
        let problem = format!("{time} is more than 5 minutes in the future: write the present time");
        Self { annotation, problem }
    }
}

impl Triggers {
    /// Reads them. A time more than five minutes ahead is ignored: acted on now, it would keep every later, honest
    /// trigger from being newer.
    #[must_use]
    pub fn read(object: &ServiceAccount, account: &Account, now: Timestamp) -> Self {
        let mut triggers = Self::default();
        if let Authentication::Internal(settings) = &account.authentication {
            triggers.present.client_secret = settings.regenerate_secret;
            triggers.present.client_id = settings.regenerate_id;
        }
        let annotation = |key| object.metadata.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str);
        if let Some(text) = annotation(api::REGENERATE) {
            match parse_regenerate(text) {
                Ok((_, time)) if too_far(time, now) => {
                    triggers.ahead.regenerate_time = Some(time);
                    triggers.ignored.push(Ignored::ahead(api::REGENERATE, time));
                }
                Ok((wants_client_id, time)) => {
                    triggers.present.regenerate_time = Some(time);
                    triggers.annotation_wants_client_id = wants_client_id;
                }
                Err(problem) => triggers.ignored.push(Ignored { annotation: api::REGENERATE, problem }),
            }
        }
        if let Some(text) = annotation(api::COMPROMISED) {
            match parse_time(text) {
                Ok(time) if too_far(time, now) => {
                    triggers.ahead.compromised_time = Some(time);
                    triggers.ignored.push(Ignored::ahead(api::COMPROMISED, time));
                }
                Ok(time) => triggers.present.compromised_time = Some(time),
                Err(problem) => triggers.ignored.push(Ignored { annotation: api::COMPROMISED, problem }),
            }
        }
        triggers
    }

    /// When an annotation that still lies too far ahead is acted on.
    #[must_use]
    pub fn opening(&self, handled: &Handled) -> Option<Timestamp> {
        let regenerate = self.ahead.regenerate_time.filter(|_| self.ahead.regenerate_time > handled.regenerate_time);
        let compromised =
            self.ahead.compromised_time.filter(|_| self.ahead.compromised_time > handled.compromised_time);
        regenerate.into_iter().chain(compromised).min().map(|time| time.saturating_add(-TOLERATED_AHEAD))
    }

    /// The leak was reported after the one that was handled.
    #[must_use]
    pub fn compromised(&self, handled: &Handled) -> bool {
        self.present.compromised_time > handled.compromised_time
    }

    /// A new client ID is asked for.
    #[must_use]
    pub fn client_id(&self, handled: &Handled) -> bool {
        let annotated = self.present.regenerate_time > handled.regenerate_time && self.annotation_wants_client_id;
        annotated || self.present.client_id > handled.client_id
    }

    /// A new secret is asked for.
    #[must_use]
    pub fn client_secret(&self, handled: &Handled) -> bool {
        let annotated = self.present.regenerate_time > handled.regenerate_time && !self.annotation_wants_client_id;
        annotated || self.present.client_secret > handled.client_secret
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the annotation {}: {}", self.annotation, self.problem)
    }
}

/// Of the annotations that are ignored, those that `old` does not tell of.
#[must_use]
pub fn untold(old: &ServiceAccountStatus, ignored: &[Ignored]) -> Option<String> {
    let told = old.conditions.iter().find(|condition| condition.type_ == CONDITION);
    let untold = ignored.iter().map(ToString::to_string);
    let untold: Vec<_> = untold.filter(|text| told.is_none_or(|told| !told.message.contains(text))).collect();
    (!untold.is_empty()).then(|| untold.join("; "))
}

/// Tells in `status` of annotations that are ignored. `old` knows since when.
pub fn report(status: &mut ServiceAccountStatus, old: &ServiceAccountStatus, ignored: &[Ignored], now: Timestamp) {
    status.conditions.retain(|condition| condition.type_ != CONDITION);
    if ignored.is_empty() {
        return;
    }
    let message = ignored.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let condition = words::TRIGGER_IGNORED.condition(status.observed_generation, now, message);
    status.conditions.push(condition.since(&old.conditions));
}

fn too_far(time: Timestamp, now: Timestamp) -> bool {
    time > now.saturating_add(TOLERATED_AHEAD)
}

/// When the annotation last asked for a regeneration, if it can be read.
#[must_use]
pub fn asked(object: &ServiceAccount) -> Option<Timestamp> {
    let text = object.metadata.annotations.as_ref()?.get(api::REGENERATE)?;
    parse_regenerate(text).ok().map(|(_, time)| time)
}

fn parse_regenerate(text: &str) -> Result<(bool, Timestamp), String> {
    let shape = "write client-secret@<RFC 3339 time> or client-id@<RFC 3339 time>";
    let (what, time) = text.split_once('@').ok_or_else(|| format!("{} has no @: {shape}", quoted(text)))?;
    let wants_client_id = match what {
        "client-secret" => false,
        "client-id" => true,
        _ => return Err(format!("{} is neither client-secret nor client-id: {shape}", quoted(what))),
    };
    Ok((wants_client_id, parse_time(time)?))
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|_| format!("{} is not an RFC 3339 time such as 2026-01-31T12:00:00Z", quoted(text)))
}

/// A user's text for a message: short, on one line, without control characters.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-21T12:00:00Z").unwrap()
    }

    fn read(key: &str, value: &str) -> Triggers {
        let mut object = ServiceAccount::new("a", api::ServiceAccountSpec::default());
        object.metadata.annotations = Some([(key.to_owned(), value.to_owned())].into());
        let account = Account::parse(&object).unwrap();
        Triggers::read(&object, &account, now())
    }

    #[rstest]
    #[case("client-secret@2026-11-21T11:59:59Z", false, true)]
    #[case("client-id@2026-11-21T11:59:59Z", true, false)]
    #[case("client-id@2026-11-21T12:05:00Z", true, false)]
    fn a_well_formed_annotation_asks_once(#[case] text: &str, #[case] id: bool, #[case] secret: bool) {
        let triggers = read(api::REGENERATE, text);
        assert_eq!(
            (triggers.client_id(&Handled::default()), triggers.client_secret(&Handled::default())),
            (id, secret)
        );
        let handled = triggers.present.clone();
        assert!(!triggers.client_id(&handled) && !triggers.client_secret(&handled));
    }

    #[rstest]
    #[case("client-secret@2026-11-21T12:05:01Z", "5 minutes in the future")]
    #[case("client-secret", "has no @")]
    #[case("secret@2026-11-21T12:00:00Z", "neither client-secret nor client-id")]
    #[case("client-id@tomorrow", "not an RFC 3339 time")]
    #[case("", "has no @")]
    fn a_malformed_or_future_annotation_is_ignored_with_the_reason(#[case] text: &str, #[case] problem: &str) {
        let triggers = read(api::REGENERATE, text);
        assert_eq!(triggers.present, Handled::default());
        assert!(triggers.ignored[0].problem.contains(problem), "{}", triggers.ignored[0].problem);
    }

    #[test]
    fn a_status_tells_of_an_ignored_annotation_since_when_it_stands_there() {
        let later = now().saturating_add(TimeDelta::hours(1));
        let shown = |old: &ServiceAccountStatus, value: &str, now: Timestamp| {
            let mut status = old.clone();
            report(&mut status, old, &read(api::COMPROMISED, value).ignored, now);
            status
        };
        let first = shown(&ServiceAccountStatus::default(), "yesterday", now());
        let second = shown(&first, "tomorrow", later);
        let condition = &second.conditions[0];
        assert_eq!((condition.type_.as_str(), condition.last_transition_time), (CONDITION, now()));
        assert!(condition.message.starts_with("the annotation keyrota.dev/compromised: \"tomorrow\" is not"));
        let untold = |old: &ServiceAccountStatus| untold(old, &read(api::COMPROMISED, "tomorrow").ignored);
        assert!(untold(&first).is_some_and(|text| text == condition.message) && untold(&second).is_none());
        assert!(shown(&second, "2026-11-21T12:00:00Z", later).conditions.is_empty());
    }

    #[test]
    fn an_older_time_than_the_handled_one_asks_for_nothing() {
        let triggers = read(api::COMPROMISED, "2026-11-20T00:00:00Z");
        let handled = Handled { compromised_time: Some(now()), ..Handled::default() };
        assert!(triggers.compromised(&Handled::default()) && !triggers.compromised(&handled));
    }

    #[test]
    fn control_characters_of_a_user_never_reach_a_message() {
        let triggers = read(api::REGENERATE, "x\r\n\u{1b}[31m");
        assert!(!triggers.ignored[0].problem.contains(['\r', '\n', '\u{1b}']));
    }
}
