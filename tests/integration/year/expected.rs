//! What is to happen to an account and when, reckoned from SPEC sections 2, 3 and 6 alone: no code of the operator's is
//! called here.
//!
//! ```text
//! published        next published = end − overlap + jitter      end
//!     ●──────────────────────────────────◆──────────────────────○        Automatic
//!     ●──── regenerated ◆── grace ──○                                    any
//!     ●─────◇ 90 ──────◇ 60 ─────◇ 30 ─────◇ 7 ───◇ 1 ──────────○──◇ −1  Manual
//! ```

use std::collections::BTreeSet;

pub(super) const HOUR: i64 = 3600;
pub(super) const DAY: i64 = 24 * HOUR;

/// Days before expiry, and after it.
const THRESHOLDS: [i64; 6] = [90, 60, 30, 7, 1, -1];

/// Something that is to be seen from outside. Times are Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// A new version is the current one, and ends then.
    Published { version: i64, reason: String, ends: i64 },
    /// The one before it works on until then.
    Replaced { version: i64, ends: i64 },
    /// The current version's end was moved.
    Moved { version: i64, ends: i64 },
    /// A version works no more.
    Ended { version: i64 },
    /// People are told that a version expires.
    Notice { version: i64, threshold: i64 },
}

/// When, to which account, what.
pub(super) type History = BTreeSet<(i64, String, What)>;

/// What somebody does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Create,
    RegenerateSecret,
    RegenerateId,
    ReportLeak,
    DeleteSecret,
    SetValidity(i64),
    Enable(bool),
    /// The issuer's, so every account's; in seconds.
    SetGrace(i64),
}

/// An Internal account as its manifest has it.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) automatic: bool,
    pub(super) days: i64,
    /// In seconds; none for the default.
    pub(super) overlap: Option<i64>,
    pub(super) notify: bool,
    pub(super) enabled: bool,
}

impl Terms {
    /// In seconds.
    pub(super) fn overlap(&self) -> i64 {
        self.overlap.unwrap_or((self.days * DAY / 3).min(DAY))
    }
}

/// The current version.
#[derive(Clone)]
struct Current {
    version: i64,
    from: i64,
    ends: i64,
    /// The validity that the end was last reckoned from.
    days: i64,
    expired: bool,
    told: BTreeSet<i64>,
}

/// The one before it, with what its end follows from.
#[derive(Clone)]
struct Previous {
    version: i64,
    ends: i64,
    retired: i64,
    /// What a grace adds to; none when its end follows from no grace.
    least_grace: Option<i64>,
}

/// One account's life.
struct Life<'a> {
    name: &'a str,
    terms: Terms,
    jitter: i64,
    grace: i64,
    now: i64,
    current: Option<Current>,
    previous: Option<Previous>,
    history: History,
}

/// Everything that is to happen to one account up to `horizon`, given what people do and when, in order.
pub(super) fn history(name: &str, terms: &Terms, jitter: i64, acts: &[(i64, Act)], horizon: i64) -> History {
    let mut life = Life {
        name,
        terms: terms.clone(),
        jitter,
        grace: 0,
        now: i64::MIN,
        current: None,
        previous: None,
        history: History::new(),
    };
    for (time, act) in acts.iter().filter(|(time, _)| *time <= horizon) {
        life.run_until(*time);
        life.act(*act);
    }
    life.run_until(horizon);
    life.history
}

impl Life<'_> {
    fn note(&mut self, what: What) {
        self.history.insert((self.now, self.name.to_owned(), what));
    }

    /// What time alone brings. What came due while the account was disabled happens when it is enabled.
    fn run_until(&mut self, end: i64) {
        while let Some(time) = self.next().filter(|time| *time <= end) {
            self.now = self.now.max(time);
            self.happen();
        }
        self.now = end;
    }

    fn next(&self) -> Option<i64> {
        let previous = self.previous.as_ref().map(|previous| previous.ends);
        let expiry = self.current.as_ref().filter(|current| !current.expired).map(|current| current.ends);
        [previous, self.rotation(), expiry, self.notices().first().map(|(time, _)| *time)].into_iter().flatten().min()
    }

    fn rotation(&self) -> Option<i64> {
        let current = self.current.as_ref().filter(|_| self.terms.automatic && self.terms.enabled)?;
        Some(current.ends - self.terms.overlap() + self.jitter)
    }

    /// The notices that are still to come, of a Manual account: an Automatic one here is never late.
    fn notices(&self) -> Vec<(i64, i64)> {
        let Some(current) = &self.current else { return Vec::new() };
        if self.terms.automatic || !self.terms.enabled || !self.terms.notify {
            return Vec::new();
        }
        let open = THRESHOLDS.into_iter().filter(|days| *days < current.days && !current.told.contains(days));
        open.map(|days| (current.ends - days * DAY, days)).collect()
    }

    fn happen(&mut self) {
        if let Some(previous) = self.previous.take_if(|previous| previous.ends <= self.now) {
            self.note(What::Ended { version: previous.version });
        }
        if self.rotation().is_some_and(|time| time <= self.now) {
            return self.change("Scheduled");
        }
        let now = self.now;
        let come: Vec<i64> =
            self.notices().into_iter().filter(|(time, _)| *time <= now).map(|(_, days)| days).collect();
        let Some(current) = &mut self.current else { return };
        let (version, ends) = (current.version, !current.expired && current.ends <= now);
        current.expired |= ends;
        current.told.extend(&come);
        if ends {
            self.note(What::Ended { version });
        }
        // Of several that came while nobody could be told, the most urgent one.
        if let Some(threshold) = come.last() {
            self.note(What::Notice { version, threshold: *threshold });
        }
    }

    fn change(&mut self, reason: &str) {
        if let Some(oldest) = self.previous.take() {
            self.note(What::Ended { version: oldest.version });
        }
        let (now, replaced) = (self.now, self.current.take());
        let version = replaced.as_ref().map_or(0, |replaced| replaced.version) + 1;
        if let Some(replaced) = replaced {
            let least_grace = match reason {
                "Requested" | "ClientIdRegenerated" => Some(0),
                "Repaired" => Some(DAY),
                _ => None,
            };
            let ends = match (reason, least_grace) {
                ("Compromised", _) => now,
                (_, Some(least)) => replaced.ends.min(now + self.grace.max(least)),
                (_, None) => replaced.ends,
            };
            if ends > now {
                self.note(What::Replaced { version: replaced.version, ends });
                self.previous = Some(Previous { version: replaced.version, ends, retired: now, least_grace });
            } else if !replaced.expired {
                self.note(What::Ended { version: replaced.version });
            }
        }
        let ends = now + self.terms.days * DAY;
        self.note(What::Published { version, reason: reason.to_owned(), ends });
        self.current =
            Some(Current { version, from: now, ends, days: self.terms.days, expired: false, told: BTreeSet::new() });
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Create if self.terms.enabled => self.change("Created"),
            Act::Create => {}
            Act::RegenerateSecret => self.change("Requested"),
            Act::RegenerateId => self.change("ClientIdRegenerated"),
            Act::ReportLeak => self.change("Compromised"),
            // Deleting must not do what only regenerating may.
            Act::DeleteSecret if self.current.as_ref().is_some_and(|current| current.expired) => {}
            Act::DeleteSecret => self.change("Repaired"),
            Act::Enable(enabled) => self.terms.enabled = enabled,
            Act::SetValidity(days) => self.set_validity(days),
            Act::SetGrace(grace) => self.set_grace(grace),
        }
    }

    /// From the secret's creation; never before a day or an overlap from now has passed, and never for an expired one.
    fn set_validity(&mut self, days: i64) {
        self.terms.days = days;
        let floor = self.now + self.terms.overlap().max(DAY);
        let Some(current) = self.current.as_mut().filter(|current| !current.expired) else { return };
        let (version, ends) = (current.version, (current.from + days * DAY).max(floor.min(current.ends)));
        current.days = days;
        if ends != std::mem::replace(&mut current.ends, ends) {
            self.note(What::Moved { version, ends });
        }
    }

    /// Shortens a grace that runs, and never extends it.
    fn set_grace(&mut self, grace: i64) {
        self.grace = grace;
        let Some(previous) = &mut self.previous else { return };
        let Some(least) = previous.least_grace else { return };
        let ends = (previous.retired + grace.max(least)).max(self.now);
        if ends < previous.ends {
            previous.ends = ends;
            let version = previous.version;
            self.note(What::Replaced { version, ends });
        }
    }
}
