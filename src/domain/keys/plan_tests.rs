//! Plans, one at a time: each edge at −1 s, 0 and +1 s.

use chrono::TimeDelta;
use rstest::rstest;
use zeroize::Zeroizing;

use super::plan::{Make, News, Settings, plan, wake};
use super::*;
use crate::api::Algorithm;
use crate::domain::issuer::Issuer;
use crate::domain::signing::generate;

const LIFETIME: TimeDelta = TimeDelta::hours(1);
const OVERLAP: TimeDelta = TimeDelta::hours(2);
const ROTATION: TimeDelta = TimeDelta::days(90);

pub(super) fn settings() -> Settings {
    Settings::from(&Issuer::built_in())
}

fn start() -> Timestamp {
    Timestamp::parse("2026-01-01T00:00:00Z").unwrap()
}

fn after(delta: TimeDelta) -> Timestamp {
    start().saturating_add(delta)
}

/// Does what a plan says, as the controller does; `serial` makes HS256 keys differ.
pub(super) fn carry_out(plan: plan::Plan, now: Timestamp, serial: &mut u64) -> Content {
    let mut keys = plan.keys;
    for make in plan.make {
        match make {
            Make::Oauth(algorithm, tenure) => {
                keys.add_oauth(algorithm, tenure, generate(algorithm).unwrap()).unwrap();
            }
            Make::Legacy(phase, tenure) => {
                *serial += 1;
                let bytes = serial.to_be_bytes().repeat(8);
                keys.add_legacy(phase, tenure, Zeroizing::new(bytes)).unwrap();
            }
        }
    }
    keys.render(now).unwrap()
}

/// An issuer's Secret, and what a pass makes of it.
struct Issuing {
    content: Option<Content>,
    known: bool,
    settings: Settings,
    serial: u64,
}

impl Issuing {
    fn new() -> Self {
        Self { content: None, known: false, settings: settings(), serial: 0 }
    }

    /// One with keys since [`start`].
    fn begun() -> Self {
        let mut issuing = Self::new();
        issuing.pass(start());
        issuing
    }

    fn keys(&self) -> Keys {
        Keys::parse(self.content.clone().unwrap_or_default())
    }

    fn pass(&mut self, now: Timestamp) -> Vec<News> {
        let plan = plan(self.content.clone().map(Keys::parse), self.known, &self.settings, now);
        let news = plan.news.clone();
        self.content = Some(carry_out(plan, now, &mut self.serial));
        self.known = true;
        news
    }

    fn phases(&self, now: Timestamp) -> Vec<(Algorithm, Phase)> {
        self.keys().oauth.phases(now).map(|(key, phase, _)| (key.key.algorithm(), phase)).collect()
    }

    fn legacy(&self) -> Vec<(Phase, u8)> {
        self.keys().legacy.slots().map(|(phase, key)| (phase, key.expose()[7])).collect()
    }

    fn signing(&self, now: Timestamp) -> String {
        self.keys().oauth.signing(now).unwrap().key.kid().to_owned()
    }

    fn wake(&self, now: Timestamp) -> Timestamp {
        wake(&self.keys(), &self.settings, now).unwrap()
    }
}

use Algorithm::{ES256, EdDSA};
use Phase::{Current, Next, Previous};

#[test]
fn a_new_issuer_has_a_key_of_its_algorithm_and_an_hs256_key_that_sign_at_once() {
    let mut issuing = Issuing::new();
    assert_eq!(issuing.pass(start()), [News::Made]);
    assert_eq!(issuing.phases(start()), [(ES256, Current)]);
    assert_eq!(issuing.legacy(), [(Current, 1)]);
    assert_eq!(issuing.pass(start()), []);
    assert_eq!(issuing.wake(start()), after(ROTATION - OVERLAP));
}

#[test]
fn keys_of_an_older_version_go_on_and_get_company() {
    let mut issuing = Issuing::new();
    issuing.content = Some([("legacy-current".to_owned(), Zeroizing::new(vec![7; 64]))].into());
    issuing.known = true;
    assert_eq!(issuing.pass(start()), []);
    assert_eq!((issuing.legacy(), issuing.phases(start())), (vec![(Current, 7)], vec![(ES256, Current)]));
}

#[test]
fn the_next_key_is_published_a_lifetime_and_an_hour_before_it_signs_and_the_old_one_stays_as_long() {
    let mut issuing = Issuing::begun();
    let (publish, take_over, end) = (ROTATION - OVERLAP, ROTATION, ROTATION + OVERLAP);
    let second = TimeDelta::seconds(1);
    assert_eq!(issuing.pass(after(publish - second)), []);
    assert_eq!(issuing.pass(after(publish)), [News::NextPublished(after(take_over))]);
    let old = issuing.signing(after(publish));
    assert_eq!(issuing.wake(after(publish)), after(take_over));
    assert_eq!(issuing.phases(after(take_over - second)), [(ES256, Current), (ES256, Next)]);
    assert_eq!(issuing.phases(after(take_over)), [(ES256, Previous), (ES256, Current)]);
    assert_ne!(issuing.signing(after(take_over)), old);
    issuing.pass(after(take_over));
    assert_eq!(issuing.wake(after(take_over)), after(end));
    issuing.pass(after(end - second));
    assert_eq!(issuing.keys().oauth.published(after(end - second)).count(), 2);
    assert_eq!(issuing.keys().oauth.published(after(end)).count(), 1);
    issuing.pass(after(end));
    assert_eq!(issuing.keys().oauth.line().len(), 1);
    assert_eq!(issuing.legacy(), [(Current, 1)], "the HS256 key changes on request only");
}

#[test]
fn after_a_long_absence_the_next_key_is_still_published_before_it_signs() {
    let mut issuing = Issuing::begun();
    let late = ROTATION * 10;
    assert_eq!(issuing.pass(after(late)), [News::NextPublished(after(late + OVERLAP))]);
    assert_eq!(issuing.phases(after(late)), [(ES256, Current), (ES256, Next)]);
}

#[test]
fn a_rotation_shorter_than_the_overlap_still_makes_one_key_at_a_time() {
    let mut issuing = Issuing::new();
    issuing.settings.rotation = TimeDelta::hours(24);
    issuing.settings.token_lifetime = TimeDelta::hours(24);
    issuing.pass(start());
    assert_eq!(issuing.pass(start()), []);
    let mut now = start();
    for hour in [1, 26, 27, 51, 52, 53] {
        now = issuing.wake(now);
        assert_eq!(now, after(TimeDelta::hours(hour)));
        issuing.pass(now);
        assert!(issuing.keys().oauth.line().len() <= 3);
    }
}

#[test]
fn a_raised_counter_makes_new_keys_exactly_once_and_a_git_revert_none() {
    let mut issuing = Issuing::begun();
    let day = after(TimeDelta::days(1));
    let from = day.saturating_add(OVERLAP);
    issuing.settings.regenerate = 5;
    assert_eq!(issuing.pass(day), [News::Regenerated(from)]);
    assert_eq!(issuing.phases(day), [(ES256, Current), (ES256, Next)]);
    assert_eq!(issuing.legacy(), [(Current, 1), (Next, 2)]);
    for regenerate in [5, 4, 0, 5] {
        issuing.settings.regenerate = regenerate;
        assert_eq!(issuing.pass(day), []);
    }
    issuing.pass(from);
    assert_eq!(issuing.phases(from), [(ES256, Previous), (ES256, Current)]);
    assert_eq!(issuing.legacy(), [(Current, 2), (Previous, 1)]);
    let end = from.saturating_add(OVERLAP);
    assert_eq!(issuing.wake(from), end);
    issuing.pass(end);
    assert_eq!(issuing.legacy(), [(Current, 2)]);
}

#[test]
fn the_counter_of_a_new_issuer_counts_as_handled() {
    let mut issuing = Issuing::new();
    issuing.settings.regenerate = 7;
    assert_eq!(issuing.pass(start()), [News::Made]);
    assert_eq!(issuing.pass(start()), []);
}

#[test]
fn revoke_old_leaves_only_new_keys_which_sign_at_once() {
    let mut issuing = Issuing::begun();
    let day = after(TimeDelta::days(1));
    let old = issuing.signing(day);
    (issuing.settings.regenerate, issuing.settings.revoke_old) = (1, true);
    assert_eq!(issuing.pass(day), [News::Revoked]);
    assert_eq!((issuing.phases(day), issuing.legacy()), (vec![(ES256, Current)], vec![(Current, 2)]));
    assert_ne!(issuing.signing(day), old);
    assert_eq!(issuing.pass(day), []);
}

#[test]
fn revoke_old_alone_drops_those_that_no_longer_sign() {
    let mut issuing = Issuing::begun();
    issuing.settings.regenerate = 1;
    issuing.pass(start());
    let taken_over = after(OVERLAP);
    issuing.pass(taken_over);
    issuing.settings.revoke_old = true;
    assert_eq!(issuing.pass(taken_over), [News::OldDropped(2)]);
    assert_eq!((issuing.phases(taken_over), issuing.legacy()), (vec![(ES256, Current)], vec![(Current, 2)]));
}

#[test]
fn another_algorithm_takes_over_after_the_same_overlap() {
    let mut issuing = Issuing::begun();
    issuing.settings.algorithm = EdDSA;
    assert_eq!(issuing.pass(start()), [News::AlgorithmChanging(EdDSA, after(OVERLAP))]);
    assert_eq!(issuing.phases(start()), [(ES256, Current), (EdDSA, Next)]);
    assert_eq!(issuing.pass(after(OVERLAP)), []);
    assert_eq!(issuing.phases(after(OVERLAP)), [(ES256, Previous), (EdDSA, Current)]);
}

#[rstest]
#[case(TimeDelta::minutes(59), &[(ES256, Current)])]
#[case(TimeDelta::minutes(60), &[(ES256, Current), (EdDSA, Next)])]
fn an_algorithm_that_was_taken_back_in_time_never_signs(
    #[case] taken_back_after: TimeDelta,
    #[case] left: &[(Algorithm, Phase)],
) {
    let mut issuing = Issuing::begun();
    issuing.settings.algorithm = EdDSA;
    issuing.pass(start());
    issuing.settings.algorithm = ES256;
    issuing.pass(after(taken_back_after));
    assert_eq!(issuing.phases(after(taken_back_after)), left);
}

#[test]
fn a_request_while_another_takes_effect_waits_for_it() {
    let mut issuing = Issuing::begun();
    issuing.settings.regenerate = 1;
    issuing.pass(start());
    issuing.settings.regenerate = 2;
    let near = after(OVERLAP - TimeDelta::minutes(30));
    assert_eq!(issuing.pass(near), []);
    assert_eq!(issuing.wake(near), after(OVERLAP));
    // The HS256 key waits for the one place of the previous key.
    assert_eq!(issuing.pass(after(OVERLAP)), [News::Regenerated(after(OVERLAP * 2))]);
    assert_eq!(issuing.legacy(), [(Current, 2), (Previous, 1), (Next, 3)]);
}

#[test]
fn a_longer_token_lifetime_keeps_keys_longer_and_a_shorter_one_no_less_long() {
    let mut issuing = Issuing::begun();
    issuing.settings.token_lifetime = TimeDelta::hours(24);
    issuing.pass(start());
    issuing.settings.token_lifetime = LIFETIME;
    issuing.settings.regenerate = 1;
    issuing.pass(start());
    let end = after(OVERLAP + TimeDelta::hours(25));
    issuing.pass(end.saturating_add(-TimeDelta::seconds(1)));
    assert_eq!(issuing.keys().oauth.line().len(), 2);
    issuing.pass(end);
    assert_eq!(issuing.keys().oauth.line().len(), 1);
}

#[test]
fn a_next_key_waits_longer_when_tokens_live_longer() {
    let mut issuing = Issuing::begun();
    issuing.settings.regenerate = 1;
    issuing.pass(start());
    issuing.settings.token_lifetime = TimeDelta::hours(5);
    issuing.pass(after(LIFETIME));
    assert_eq!(issuing.wake(after(LIFETIME)), after(TimeDelta::hours(6)));
}

#[test]
fn a_lost_secret_is_said_and_new_keys_sign_at_once() {
    let mut issuing = Issuing::begun();
    issuing.content = None;
    let day = after(TimeDelta::days(1));
    assert_eq!(issuing.pass(day), [News::Lost("all signing keys".into())]);
    assert_eq!(issuing.phases(day), [(ES256, Current)]);
    let until = issuing.keys().loss.unwrap().until;
    assert_eq!((until, issuing.wake(day)), (day.saturating_add(TimeDelta::hours(25)), until));
    issuing.pass(until);
    assert_eq!(issuing.keys().loss, None);
}

#[test]
fn an_emptied_secret_is_a_lost_one() {
    let mut issuing = Issuing::begun();
    issuing.content = Some(Content::new());
    assert_eq!(issuing.pass(start()), [News::Lost("all signing keys".into())]);
}

#[test]
fn a_damaged_key_is_replaced_once_by_one_that_is_published_first() {
    let mut issuing = Issuing::begun();
    issuing.settings.regenerate = 1;
    issuing.pass(start());
    let day = after(TimeDelta::days(1));
    issuing.pass(after(OVERLAP));
    let (old, damaged) = (issuing.keys().oauth.line()[0].key.kid().to_owned(), issuing.signing(after(OVERLAP)));
    let item = format!("{damaged}.p8");
    let content = issuing.content.as_mut().unwrap();
    let whole = content.insert(item.clone(), Zeroizing::new(b"garbage".to_vec())).unwrap();
    let now = after(OVERLAP + TimeDelta::minutes(1));
    let from = now.saturating_add(OVERLAP);
    assert_eq!(issuing.pass(now), [News::Lost(item.clone()), News::Replaced(from)]);
    assert_eq!(issuing.signing(now), old, "the one before is published, so it signs meanwhile");
    assert_eq!(issuing.pass(now), []);
    assert_eq!(issuing.keys().problems.len(), 1);
    let mut restored = Issuing { content: issuing.content.clone(), ..Issuing::begun() };
    restored.settings.regenerate = 1;
    restored.content.as_mut().unwrap().insert(item.clone(), whole);
    restored.pass(now);
    assert_eq!((restored.signing(now), restored.keys().problems.len()), (damaged, 0));
    issuing.pass(day);
    assert!(issuing.keys().problems.is_empty() && !issuing.content.as_ref().unwrap().contains_key(&item));
}

#[test]
fn a_damaged_hs256_key_is_replaced_at_once_by_the_next_if_there_is_one() {
    let mut issuing = Issuing::begun();
    issuing.settings.regenerate = 1;
    issuing.pass(start());
    let damage = |issuing: &mut Issuing| {
        issuing.content.as_mut().unwrap().insert("legacy-current".into(), Zeroizing::new(b"x".to_vec()));
        issuing.pass(start())
    };
    assert_eq!(damage(&mut issuing), [News::Lost("legacy-current".into())]);
    assert_eq!(issuing.legacy(), [(Current, 2)]);
    assert_eq!(damage(&mut issuing), [News::Lost("legacy-current".into())]);
    assert_eq!(issuing.legacy(), [(Current, 3)]);
    assert_eq!(issuing.phases(start()).len(), 2, "the OAuth keys have nothing to do with it");
}

#[test]
fn a_ring_that_cannot_be_read_costs_no_key() {
    let mut issuing = Issuing::begun();
    issuing.settings.regenerate = 9;
    let kid = issuing.signing(start());
    issuing.content.as_mut().unwrap().insert(RING.into(), Zeroizing::new(b"{".to_vec()));
    assert_eq!(issuing.pass(start()), [News::RingRepaired, News::Replaced(after(OVERLAP))]);
    assert_eq!((issuing.signing(start()), issuing.legacy()), (kid, vec![(Current, 1)]));
    assert_eq!(issuing.pass(start()), [], "what the counter says now counts as handled");
}

#[test]
fn a_clock_that_goes_back_revokes_nothing_and_does_not_stop_rotation() {
    let mut issuing = Issuing::begun();
    issuing.settings.regenerate = 1;
    issuing.pass(start());
    let before = start().saturating_add(TimeDelta::days(-3650));
    let kids = |issuing: &Issuing| -> Vec<String> {
        issuing.keys().oauth.line().iter().map(|key| key.key.kid().to_owned()).collect()
    };
    let known = kids(&issuing);
    assert_eq!(issuing.pass(before), []);
    assert_eq!((kids(&issuing), issuing.legacy()), (known, vec![(Current, 1), (Next, 2)]));
    assert_eq!(issuing.wake(before), before.saturating_add(OVERLAP));
    issuing.pass(before.saturating_add(OVERLAP));
    assert_eq!(issuing.legacy(), [(Current, 2), (Previous, 1)]);
}
