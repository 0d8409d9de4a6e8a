//! What an issuer's keys need at an instant: which are made, which go, and when to look again.
//!
//! Planning what was just planned changes nothing, so a crash anywhere is made good by the next pass.

use std::fmt;

use chrono::TimeDelta;

use super::tenure::{self, MARGIN, Tenure};
use super::{Keys, LegacyKeys, Loss, OauthKey, OauthKeys, Phase, SCHEMA_VERSION};
use crate::api::{Algorithm, Timestamp};
use crate::domain::issuer::Issuer;
use crate::domain::signing;
use crate::domain::words::{self, Happening};

/// The longest that a token may live (SPEC section 2); what is assumed when nothing tells.
const LONGEST_LIFETIME: TimeDelta = TimeDelta::hours(24);

/// What the issuer wants.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What new OAuth keys sign with.
    pub algorithm: Algorithm,
    /// How long an OAuth key signs.
    pub rotation: TimeDelta,
    /// How long a token is valid.
    pub token_lifetime: TimeDelta,
    /// The counter that asks for new keys.
    pub regenerate: i64,
    /// Old keys go at once.
    pub revoke_old: bool,
}

impl From<&Issuer> for Settings {
    fn from(issuer: &Issuer) -> Self {
        Self {
            algorithm: issuer.oauth.algorithm,
            rotation: issuer.keys.rotation,
            token_lifetime: issuer.token_lifetime,
            regenerate: issuer.keys.regenerate,
            revoke_old: issuer.keys.revoke_old,
        }
    }
}

impl Settings {
    /// How long a key is published before it signs.
    fn overlap(&self) -> TimeDelta {
        self.token_lifetime + MARGIN
    }
}

/// The keys as they should be, but for those that have to be made first.
#[derive(Debug)]
pub struct Plan {
    /// See [`Keys::add_oauth`] and [`Keys::add_legacy`].
    pub keys: Keys,
    /// To be made and added.
    pub make: Vec<Make>,
    /// What people should hear of.
    pub news: Vec<News>,
}

/// A key to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// For OAuth tokens.
    Oauth(Algorithm, Tenure),
    /// For the manual's tokens.
    Legacy(Phase, Tenure),
}

/// Something that people should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// An issuer that had no such keys has them.
    Made,
    /// Keys are gone or damaged; what is lost with them cannot be brought back.
    Lost(String),
    /// The ring could not be read and was written anew.
    RingRepaired,
    /// A key was made to take the place of one that is lost.
    Replaced(Timestamp),
    /// It was asked for, and the new keys sign from then on.
    Regenerated(Timestamp),
    /// It was asked for, the old ones were dropped, and the new ones sign already.
    Revoked,
    /// The schedule.
    NextPublished(Timestamp),
    /// Another algorithm.
    AlgorithmChanging(Algorithm, Timestamp),
    /// `revokeOld` took so many keys away that were kept for their tokens.
    OldDropped(usize),
}

impl News {
    /// Its Event.
    #[must_use]
    pub fn happening(&self) -> &'static Happening {
        match self {
            Self::Made => &words::KEYS_CREATED,
            Self::Lost(_) => &words::SIGNING_KEYS_LOST,
            Self::RingRepaired => &words::KEYS_REPAIRED,
            Self::Replaced(_) => &words::KEY_REPLACED,
            Self::Regenerated(_) => &words::KEYS_REGENERATED,
            Self::Revoked => &words::KEYS_REVOKED,
            Self::NextPublished(_) => &words::NEXT_KEY_PUBLISHED,
            Self::AlgorithmChanging(..) => &words::ALGORITHM_CHANGING,
            Self::OldDropped(_) => &words::OLD_KEYS_DROPPED,
        }
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made => f.write_str("the issuer has signing keys of its own"),
            Self::Lost(what) => write!(f, "lost: {what}; tokens that it signed can no longer be verified"),
            Self::RingRepaired => {
                f.write_str("keys.json could not be read and was written anew; the keys are the same")
            }
            Self::Replaced(from) => write!(f, "a key takes the place of a lost one and signs from {from}"),
            Self::Regenerated(from) => {
                write!(f, "keys.regenerate was raised: new keys are published and sign from {from}")
            }
            Self::Revoked => f.write_str(
                "keys.regenerate was raised with revokeOld: new keys sign, tokens of the old ones are refused",
            ),
            Self::NextPublished(from) => write!(f, "the next OAuth key is published and signs from {from}"),
            Self::AlgorithmChanging(algorithm, from) => {
                write!(f, "an {} key is published and signs from {from}", signing::name(*algorithm))
            }
            Self::OldDropped(count) => write!(f, "revokeOld: {count} old keys were dropped"),
        }
    }
}

/// Decides. `known`: somebody remembers that the issuer has had keys, so that their absence is a loss.
#[must_use]
pub fn plan(stored: Option<Keys>, known: bool, settings: &Settings, now: Timestamp) -> Plan {
    let mut keys = stored.unwrap_or_default();
    keys.schema_version = keys.schema_version.max(SCHEMA_VERSION);
    let mut planner = Planner { settings, now, make: Vec::new(), news: Vec::new() };
    let damaged = planner.losses(&mut keys, known);
    planner.settle_legacy(&mut keys.legacy);
    let (mut line, lost) = std::mem::take(&mut keys.oauth).take();
    let unsure = planner.settle_oauth(&mut line);
    let rotate = planner.rotates(&mut keys, &line);
    planner.advance_oauth(&mut line, rotate, damaged || unsure);
    planner.advance_legacy(&mut keys.legacy, rotate);
    planner.drop_old(&mut line, &mut keys.legacy);
    keys.oauth = OauthKeys::new(line, lost);
    planner.forget_lost(&mut keys);
    Plan { keys, make: planner.make, news: planner.news }
}

/// When to plan again though nothing happens.
#[must_use]
pub fn wake(keys: &Keys, settings: &Settings, now: Timestamp) -> Option<Timestamp> {
    let due = keys.oauth.line().last().and_then(|last| last.tenure).map(|last| rotation_time(&last, settings));
    let oauth = keys.oauth.phases(now).flat_map(|(key, _, end)| [key.tenure.map(|tenure| tenure.signs_from), end]);
    let legacy = keys.legacy.slots().map(|(_, key)| key.tenure.map(|tenure| tenure.signs_from));
    let lost =
        keys.oauth.lost.iter().map(|lost| Some(lost.lost_time?.saturating_add(lost.tenure.longest_token + MARGIN)));
    let others = [due, keys.legacy.previous_until(), keys.loss.as_ref().map(|loss| loss.until)];
    oauth.chain(legacy).chain(lost).chain(others).flatten().filter(|time| *time > now).min()
}

/// When the key after this one is published. Not as soon as this one signs, though the rotation may be shorter than the
/// overlap.
fn rotation_time(last: &Tenure, settings: &Settings) -> Timestamp {
    last.signs_from.saturating_add((settings.rotation - settings.overlap()).max(MARGIN))
}

struct Planner<'a> {
    settings: &'a Settings,
    now: Timestamp,
    make: Vec<Make>,
    news: Vec<News>,
}

impl Planner<'_> {
    /// The end of the overlap of a key that is published now.
    fn after_overlap(&self) -> Timestamp {
        self.now.saturating_add(self.settings.overlap())
    }

    fn tenure(&self, signs_from: Timestamp) -> Tenure {
        Tenure::new(self.now, signs_from, self.settings.token_lifetime)
    }

    /// A key that is published but has not begun may still be taken back, unless that is so near that a gateway could miss
    /// it and sign with it all the same.
    fn can_be_dropped(&self, tenure: Option<Tenure>) -> bool {
        tenure.is_some_and(|tenure| tenure.signs_from > self.now.saturating_add(MARGIN))
    }

    fn make_oauth(&mut self, signs_from: Timestamp) {
        self.make.push(Make::Oauth(self.settings.algorithm, self.tenure(signs_from)));
    }

    /// Notes what is gone. Whether an OAuth key has to be replaced.
    fn losses(&mut self, keys: &mut Keys, known: bool) -> bool {
        if keys.problems.iter().any(|problem| problem.item == super::RING) {
            self.news.push(News::RingRepaired);
        }
        let mut lost: Vec<String> = Vec::new();
        let mut longest = self.settings.token_lifetime;
        if known && keys.is_empty() {
            lost.push("all signing keys".into());
            longest = LONGEST_LIFETIME;
        }
        // An older key needs no other in its place: the newest is there, or on its way.
        let newest = keys.oauth.line().iter().filter_map(|key| key.tenure).map(|tenure| tenure.signs_from).max();
        let mut damaged = false;
        for key in keys.oauth.lost.iter_mut().filter(|key| key.lost_time.is_none()) {
            key.lost_time = Some(self.now);
            longest = longest.max(key.tenure.longest_token);
            lost.push(super::stored::item_of(&key.kid));
            damaged |= newest.is_none_or(|newest| newest < key.tenure.signs_from);
        }
        for phase in std::mem::take(&mut keys.legacy.lost) {
            longest = LONGEST_LIFETIME;
            lost.push(super::stored::legacy_item(phase).into());
        }
        if !lost.is_empty() {
            let what = lost.join(", ");
            self.news.push(News::Lost(what.clone()));
            keys.loss = Some(Loss { time: self.now, until: self.now.saturating_add(longest + MARGIN), what });
        } else if keys.is_empty() {
            self.news.push(News::Made);
        }
        keys.loss = keys.loss.take().filter(|loss| self.now < loss.until);
        damaged
    }

    /// Times that are unknown, from a clock that went back, or too short for what the token lifetime has become. Whether
    /// nothing told which key is the one that signs.
    fn settle_oauth(&self, line: &mut [OauthKey]) -> bool {
        let unknown = line.iter().take_while(|key| key.tenure.is_none()).count();
        // Before all others, in the order in which the gateway sees them.
        let first = line.iter().find_map(|key| key.tenure).map_or(self.now, |tenure| tenure.signs_from.min(self.now));
        let mut signs_from =
            first.saturating_add(-TimeDelta::seconds(i64::try_from(unknown).unwrap_or(i64::from(i32::MAX))));
        for key in line.iter_mut().take(unknown) {
            key.tenure = Some(Tenure::new(signs_from, signs_from, LONGEST_LIFETIME));
            signs_from = signs_from.saturating_add(TimeDelta::seconds(1));
        }
        let begun = line.iter().any(|key| key.tenure.is_some_and(|tenure| tenure.signs_from <= self.now));
        for (position, tenure) in line.iter_mut().filter_map(|key| key.tenure.as_mut()).enumerate() {
            if position == 0 && !begun {
                (tenure.created_time, tenure.signs_from) = (tenure.created_time.min(self.now), self.now);
            }
            self.settle(tenure);
        }
        line.sort_by_key(|key| (tenure::order(&key.tenure), key.key.kid().to_owned()));
        unknown > 0 && unknown == line.len()
    }

    fn settle(&self, tenure: &mut Tenure) {
        tenure.longest_token = tenure.longest_token.max(self.settings.token_lifetime);
        if tenure.created_time > self.now {
            tenure.created_time = self.now;
            tenure.signs_from = tenure.signs_from.min(self.after_overlap());
        }
        if tenure.signs_from > self.now {
            tenure.signs_from = tenure.signs_from.max(tenure.created_time.saturating_add(self.settings.overlap()));
        }
    }

    /// The same for the HS256 keys; and the next one takes its place when its time has come.
    fn settle_legacy(&self, keys: &mut LegacyKeys) {
        if keys.current.is_none() {
            // Resource servers know it already, or they know none.
            keys.current = keys.next.take();
            if let Some(tenure) = keys.current.as_mut().and_then(|key| key.tenure.as_mut()) {
                tenure.signs_from = tenure.signs_from.min(self.now);
            }
        }
        let unknown = Tenure::new(self.now, self.now, LONGEST_LIFETIME);
        for key in [&mut keys.previous, &mut keys.current].into_iter().flatten() {
            let tenure = key.tenure.get_or_insert(unknown);
            tenure.created_time = tenure.created_time.min(self.now);
            tenure.signs_from = tenure.signs_from.min(self.now);
            self.settle(tenure);
        }
        let previous_until = keys.previous_until();
        let Some(next) = keys.next.as_mut() else { return };
        let tenure = next.tenure.get_or_insert(self.tenure(self.after_overlap()));
        self.settle(tenure);
        if tenure.signs_from <= self.now {
            keys.previous = keys.current.take();
            keys.current = keys.next.take();
        } else {
            // There is one place for previous keys.
            tenure.signs_from = tenure.signs_from.max(previous_until.unwrap_or(self.now));
        }
    }

    /// Whether new keys were asked for and can be made now. Notes what is handled, exactly once.
    fn rotates(&mut self, keys: &mut Keys, line: &[OauthKey]) -> bool {
        let handled = keys.handled_regenerate.unwrap_or(self.settings.regenerate);
        keys.handled_regenerate = Some(handled);
        let pending =
            line.iter().map(|key| key.tenure).filter(|tenure| tenure.is_some_and(|t| t.signs_from > self.now));
        let mut pending = pending.chain(keys.legacy.next.as_ref().map(|key| key.tenure));
        let ready = self.settings.revoke_old || pending.all(|tenure| self.can_be_dropped(tenure));
        if self.settings.regenerate <= handled || !ready {
            return false;
        }
        keys.handled_regenerate = Some(self.settings.regenerate);
        let from = self.after_overlap();
        self.news.push(if self.settings.revoke_old { News::Revoked } else { News::Regenerated(from) });
        true
    }

    fn advance_oauth(&mut self, line: &mut Vec<OauthKey>, rotate: bool, damaged: bool) {
        let tenures: Vec<_> = line.iter().map(|key| key.tenure).collect();
        let Some(signing) = tenure::signing(&tenures, self.now) else {
            self.make_oauth(self.now);
            return;
        };
        if rotate && self.settings.revoke_old {
            line.clear();
            self.make_oauth(self.now);
            return;
        }
        let (wanted, from) = (self.settings.algorithm, self.after_overlap());
        let newest = line.last().map(|key| key.key.algorithm());
        let free = tenures.iter().skip(signing + 1).all(|tenure| self.can_be_dropped(*tenure));
        if rotate {
            line.truncate(signing + 1);
            self.make_oauth(from);
        } else if newest != Some(wanted) && free {
            line.truncate(signing + 1);
            if line.last().map(|key| key.key.algorithm()) != Some(wanted) {
                self.make_oauth(from);
                self.news.push(News::AlgorithmChanging(wanted, from));
            }
        } else if damaged && line.len() == signing + 1 {
            self.make_oauth(from);
            self.news.push(News::Replaced(from));
        }
        let last = line.get(signing).and_then(|key| key.tenure).filter(|_| line.len() == signing + 1);
        if let Some(last) = last.filter(|last| self.make.is_empty() && rotation_time(last, self.settings) <= self.now) {
            let from = from.max(last.signs_from.saturating_add(self.settings.rotation));
            self.make_oauth(from);
            self.news.push(News::NextPublished(from));
        }
    }

    fn advance_legacy(&mut self, keys: &mut LegacyKeys, rotate: bool) {
        if keys.current.is_none() {
            self.make.push(Make::Legacy(Phase::Current, self.tenure(self.now)));
        } else if rotate && self.settings.revoke_old {
            keys.next = None;
            self.make.push(Make::Legacy(Phase::Current, self.tenure(self.now)));
        } else if rotate {
            keys.next = None;
            let from = self.after_overlap().max(keys.previous_until().unwrap_or(self.now));
            self.make.push(Make::Legacy(Phase::Next, self.tenure(from)));
        }
    }

    /// Those whose last token has ended; with `revokeOld` all that no longer sign.
    fn drop_old(&mut self, line: &mut Vec<OauthKey>, legacy: &mut LegacyKeys) {
        let tenures: Vec<_> = line.iter().map(|key| key.tenure).collect();
        let signing = tenure::signing(&tenures, self.now).unwrap_or_default();
        let over = |end: Option<Timestamp>| end.is_some_and(|end| end <= self.now);
        let (mut position, mut dropped) = (0, 0);
        line.retain(|_| {
            let old = position < signing;
            let goes = old && (self.settings.revoke_old || over(tenure::kept_until(&tenures, position)));
            dropped += usize::from(goes && !over(tenure::kept_until(&tenures, position)));
            position += 1;
            !goes
        });
        if legacy.previous.is_some() && (self.settings.revoke_old || over(legacy.previous_until())) {
            dropped += usize::from(!over(legacy.previous_until()));
            legacy.previous = None;
        }
        if dropped > 0 {
            self.news.push(News::OldDropped(dropped));
        }
    }

    /// What is left of lost keys is kept, to be restored, for as long as that helps a token.
    fn forget_lost(&self, keys: &mut Keys) {
        let (helps, over): (Vec<_>, Vec<_>) = std::mem::take(&mut keys.oauth.lost).into_iter().partition(|lost| {
            let until = lost.lost_time.map(|time| time.saturating_add(lost.tenure.longest_token + MARGIN));
            until.is_none_or(|until| self.now < until)
        });
        keys.oauth.lost = helps;
        over.iter().for_each(|lost| keys.forget_item(&lost.kid));
    }
}
