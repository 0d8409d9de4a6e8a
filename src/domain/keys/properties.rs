//! An issuer's keys over years of edits, requests, absences and damage, with a gateway that signs all the time.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::plan::{Settings, plan, wake};
use super::plan_tests::{carry_out, settings};
use super::tenure::MARGIN;
use super::*;
use crate::api::Algorithm;

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// Time goes by, and the controller looks after everything when it should.
    Wait(i64),
    /// Time goes by without the controller.
    Away(i64),
    Lifetime(i64),
    Rotation(i64),
    Algorithm(bool),
    Regenerate(i64),
    RevokeOld(bool),
    /// The Secret is deleted.
    Lose,
    /// An item of it (whichever, counted around) is deleted.
    Remove(usize),
    /// Or overwritten.
    Garble(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let minutes = prop_oneof![1..300_i64, 1..20_000_i64];
    prop_oneof![
        6 => minutes.clone().prop_map(Step::Wait),
        1 => minutes.prop_map(Step::Away),
        1 => prop_oneof![1..=1440_i64, Just(1440)].prop_map(Step::Lifetime),
        1 => prop_oneof![24..30_i64, 24..3000_i64].prop_map(Step::Rotation),
        1 => any::<bool>().prop_map(Step::Algorithm),
        2 => (-1..=2_i64).prop_map(Step::Regenerate),
        1 => any::<bool>().prop_map(Step::RevokeOld),
        1 => Just(Step::Lose),
        1 => any::<usize>().prop_map(Step::Remove),
        1 => any::<usize>().prop_map(Step::Garble),
    ]
}

struct World {
    content: Option<Content>,
    known: bool,
    settings: Settings,
    now: Timestamp,
    serial: u64,
    /// Since when each key is published; keys are told apart by kid, or by their bytes.
    published: HashMap<String, Timestamp>,
    signed: HashSet<String>,
    /// Each key's token that lives longest.
    tokens: HashMap<String, Timestamp>,
    /// Keys of which no more is expected: lost, or revoked.
    gone: HashSet<String>,
    /// Keys that may sign although they were not published for long: the first, or made after all others were gone.
    hasty: HashSet<String>,
}

fn names(keys: &Keys) -> HashSet<String> {
    let oauth = keys.oauth.line().iter().map(|key| key.key.kid().to_owned());
    oauth.chain(keys.legacy.slots().map(|(_, key)| format!("{:?}", key.expose()))).collect()
}

impl World {
    fn new() -> Self {
        Self {
            content: None,
            known: false,
            settings: settings(),
            now: Timestamp::parse("2026-01-01T00:00:00Z").unwrap(),
            serial: 0,
            published: HashMap::new(),
            signed: HashSet::new(),
            tokens: HashMap::new(),
            gone: HashSet::new(),
            hasty: HashSet::new(),
        }
    }

    fn keys(&self) -> Keys {
        Keys::parse(self.content.clone().unwrap_or_default())
    }

    fn pass(&mut self) {
        let before = self.keys();
        let revokes = self.settings.revoke_old;
        let asked = before.handled_regenerate.is_some_and(|handled| handled < self.settings.regenerate);
        let decided = plan(self.content.clone().map(Keys::parse), self.known, &self.settings, self.now);
        self.content = Some(carry_out(decided, self.now, &mut self.serial));
        self.known = true;
        let again = plan(Some(self.keys()), true, &self.settings, self.now);
        assert!(
            again.make.is_empty() && again.news.is_empty(),
            "deciding twice adds {:?} {:?}",
            again.make,
            again.news
        );
        assert_eq!(carry_out(again, self.now, &mut self.serial), self.content.clone().unwrap());
        let (was, is) = (names(&before), names(&self.keys()));
        let made: Vec<_> = is.difference(&was).cloned().collect();
        if before.oauth.line().is_empty() || before.legacy.slots().next().is_none() || (asked && revokes) {
            self.hasty.extend(made.iter().cloned());
        }
        // A lost HS256 key is replaced at once: nobody could sign meanwhile.
        if before.legacy.current.is_none() {
            self.hasty.extend(made.iter().filter(|name| name.starts_with('[')).cloned());
        }
        if revokes {
            self.gone.extend(was.difference(&is).cloned());
        }
        for name in is {
            self.published.entry(name).or_insert(self.now);
        }
    }

    /// What a gateway does at this instant, and whether all that it promised holds.
    fn serve(&mut self) {
        let keys = self.keys();
        let oauth = keys.oauth.signing(self.now).map(|key| key.key.kid().to_owned());
        let legacy = keys.legacy.signing(self.now).map(|key| format!("{:?}", key.expose()));
        let (oauth, legacy) = (oauth.expect("an OAuth key signs"), legacy.expect("an HS256 key signs"));
        let mut accepted: HashSet<String> =
            keys.oauth.published(self.now).map(|key| key.key.kid().to_owned()).collect();
        accepted.extend(keys.legacy.verifying(self.now).map(|key| format!("{:?}", key.expose())));
        for name in [oauth, legacy] {
            assert!(accepted.contains(&name), "a key signs that is not published");
            let since = self.published[&name];
            if self.signed.insert(name.clone()) && !self.hasty.contains(&name) {
                let ahead = self.settings.token_lifetime + MARGIN;
                assert!(
                    since.saturating_add(ahead) <= self.now,
                    "it signs at {} and is published since {since}",
                    self.now
                );
            }
            let end = self.now.saturating_add(self.settings.token_lifetime);
            self.tokens.entry(name).and_modify(|known| *known = end.max(*known)).or_insert(end);
        }
        for (name, end) in &self.tokens {
            if self.now < *end && !self.gone.contains(name) {
                assert!(accepted.contains(name), "at {} a token until {end} has no key any more", self.now);
            }
        }
        let current = keys.oauth.phases(self.now).filter(|(_, phase, _)| *phase == Phase::Current).count();
        assert_eq!(current, 1);
    }

    fn wait(&mut self, minutes: i64, controller: bool) {
        let until = self.now.saturating_add(TimeDelta::minutes(minutes));
        while let Some(next) = wake(&self.keys(), &self.settings, self.now).filter(|next| *next <= until) {
            let second = TimeDelta::seconds(1);
            self.now = next.saturating_add(-second);
            if controller {
                let early = plan(Some(self.keys()), true, &self.settings, self.now);
                assert!(early.make.is_empty() && early.news.is_empty(), "something happens before {next}");
                assert_eq!(carry_out(early, self.now, &mut self.serial), self.content.clone().unwrap());
            }
            self.serve();
            self.now = next;
            self.serve();
            if controller {
                let before = self.content.clone();
                self.pass();
                assert_ne!(before, self.content, "nothing happens at {next}");
                self.serve();
            }
        }
        self.now = until;
        self.serve();
    }

    /// Damage done by hand: what cannot be read any more is gone, and what is left may have to step in.
    fn damaged(&mut self, was: &HashSet<String>) {
        let left = names(&self.keys());
        self.gone.extend(was.difference(&left).cloned());
        self.hasty.extend(left);
        self.pass();
        self.gone.extend(was.difference(&names(&self.keys())).cloned());
    }

    fn step(&mut self, step: Step) {
        let was = names(&self.keys());
        let item = |content: &Content, number: usize| content.keys().nth(number % content.len()).cloned().unwrap();
        match step {
            Step::Wait(minutes) => self.wait(minutes, true),
            Step::Away(minutes) => self.wait(minutes, false),
            Step::Lifetime(minutes) => self.settings.token_lifetime = TimeDelta::minutes(minutes),
            Step::Rotation(hours) => self.settings.rotation = TimeDelta::hours(hours),
            Step::Algorithm(edwards) => {
                self.settings.algorithm = if edwards { Algorithm::EdDSA } else { Algorithm::ES256 };
            }
            Step::Regenerate(more) => self.settings.regenerate = (self.settings.regenerate + more).max(0),
            Step::RevokeOld(revoke) => self.settings.revoke_old = revoke,
            Step::Lose => {
                self.content = None;
                self.damaged(&was);
            }
            Step::Remove(number) => {
                let content = self.content.as_mut().unwrap();
                content.remove(&item(content, number));
                self.damaged(&was);
            }
            Step::Garble(number) => {
                let content = self.content.as_mut().unwrap();
                content.insert(item(content, number), Zeroizing::new(b"garbage".to_vec()));
                self.damaged(&was);
            }
        }
        self.pass();
        self.serve();
    }
}

proptest! {
    #[test]
    fn one_key_signs_it_was_published_before_and_no_token_outlives_it(steps in prop::collection::vec(step(), 1..20)) {
        let mut world = World::new();
        world.pass();
        world.serve();
        for step in steps {
            world.step(step);
        }
    }

    #[test]
    fn no_content_makes_parsing_or_planning_panic(
        items in prop::collection::btree_map("(legacy-(current|next)|keys\\.json|[a-z]{1,3}\\.p8|[a-z]{1,5})", prop::collection::vec(any::<u8>(), 0..80), 0..6),
        ring in "\\{\"schemaVersion\":[0-9]{1,3},\"oauth\":\\[\\{\"kid\":\"[^\"\\\\]{0,9}\",\"alg\":\"ES256\",\"createdTime\":\"0000-01-01T00:00:00Z\",\"signsFrom\":\"9999-12-31T23:59:59Z\",\"longestTokenSeconds\":[0-9]{1,6}\\}\\],\"legacy\":\\{\"current\":\\{\"createdTime\":\"9999-12-31T23:59:59Z\",\"signsFrom\":\"0000-01-01T00:00:00Z\",\"longestTokenSeconds\":1\\}\\}\\}",
        known: bool,
        with_ring: bool,
    ) {
        let mut content: Content = items.into_iter().map(|(item, bytes)| (item, Zeroizing::new(bytes))).collect();
        if with_ring {
            content.insert(RING.into(), Zeroizing::new(ring.into_bytes()));
        }
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let decided = plan(Some(Keys::parse(content)), known, &settings(), now);
        let keys = Keys::parse(carry_out(decided, now, &mut 0));
        prop_assert!(keys.oauth.signing(now).is_some() && keys.legacy.signing(now).is_some());
        prop_assert!(wake(&keys, &settings(), now).is_some_and(|wake| now < wake));
    }
}
