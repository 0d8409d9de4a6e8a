//! Who is signed in. The browser holds an opaque, random name of the session; the token never leaves the server.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use kube::Client;
use parking_lot::Mutex;
use secrecy::SecretString;

use super::authority::{Ask, User};
use super::frame::Flash;
use crate::clock::SharedClock;
use crate::entropy::{EntropyError, SharedEntropy};

/// A session that is not used for so long is over.
pub const IDLE: TimeDelta = TimeDelta::minutes(15);
/// However busy, a session is over after a working day.
pub const LONGEST: TimeDelta = TimeDelta::hours(12);
/// How long an answer about a right is believed; one that is taken away works on for so long in lists, and not at all
/// in writes, which the API server judges itself.
pub const BELIEVED: TimeDelta = TimeDelta::seconds(30);
/// How often the API server is asked whether the token still counts.
pub const RECHECK: TimeDelta = TimeDelta::seconds(60);
/// How long after Show an account's credential may be regenerated.
const SHOWN: TimeDelta = TimeDelta::minutes(10);
/// Sessions at once; the one that was idle longest makes room.
const MOST: usize = 10_000;
/// Answers kept for one session; beyond, all are asked again.
const MOST_ANSWERS: usize = 20_000;

/// What the server keeps of one signed-in user.
pub struct Session {
    /// Who it is.
    pub user: User,
    /// Speaks to the API server as them, with their token.
    pub client: Client,
    /// The token, to ask whether it still counts.
    pub token: SecretString,
    born: DateTime<Utc>,
    used: AtomicI64,
    checked: AtomicI64,
    answers: Mutex<HashMap<Ask, (bool, DateTime<Utc>)>>,
    shown: Mutex<HashMap<String, DateTime<Utc>>>,
    flashes: Mutex<Vec<Flash>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("user", &self.user.name).finish_non_exhaustive()
    }
}

impl Session {
    /// What is known of a right, while it is believed.
    pub fn answer(&self, ask: &Ask, now: DateTime<Utc>) -> Option<bool> {
        self.answers.lock().get(ask).filter(|(_, time)| now - *time < BELIEVED).map(|(allowed, _)| *allowed)
    }

    /// Keeps an answer.
    pub fn keep(&self, ask: Ask, allowed: bool, now: DateTime<Utc>) {
        let mut answers = self.answers.lock();
        if answers.len() >= MOST_ANSWERS {
            answers.clear();
        }
        answers.insert(ask, (allowed, now));
    }

    /// When it is time to ask about the token again; nobody else asks meanwhile.
    pub fn due(&self, now: DateTime<Utc>) -> Option<Due<'_>> {
        let before = self.checked.load(Relaxed);
        let due = now.timestamp_millis() - before >= RECHECK.num_milliseconds();
        let first = due && self.checked.compare_exchange(before, now.timestamp_millis(), Relaxed, Relaxed).is_ok();
        first.then(|| Due { session: self, answered: false })
    }

    /// The account's credential was shown just now.
    pub fn note_shown(&self, uid: &str, now: DateTime<Utc>) {
        self.shown.lock().insert(uid.to_owned(), now);
    }

    /// It was shown a short while ago: only then may it be regenerated (manual page 000).
    pub fn has_seen(&self, uid: &str, now: DateTime<Utc>) -> bool {
        self.shown.lock().get(uid).is_some_and(|time| now - *time < SHOWN)
    }

    /// Something to say on the next page.
    pub fn say(&self, flash: Flash) {
        self.flashes.lock().push(flash);
    }

    /// What is to be said; once.
    pub fn take_flashes(&self) -> Vec<Flash> {
        std::mem::take(&mut *self.flashes.lock())
    }

    fn is_over(&self, now: DateTime<Utc>) -> bool {
        now.timestamp_millis() - self.used.load(Relaxed) >= IDLE.num_milliseconds() || now - self.born >= LONGEST
    }
}

/// The duty to ask about a session's token. Dropped without an answer, the next request has it: nobody puts it off by
/// breaking off their requests.
pub struct Due<'a> {
    session: &'a Session,
    answered: bool,
}

impl Due<'_> {
    /// The API server has answered.
    pub fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Due<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.session.checked.store(i64::MIN / 2, Relaxed);
        }
    }
}

/// All sessions, by the digest of their names: whoever reads this memory learns no cookie.
pub struct Sessions {
    held: Mutex<HashMap<[u8; 32], Arc<Session>>>,
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl Sessions {
    /// None yet.
    #[must_use]
    pub fn new(clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self { held: Mutex::default(), clock, entropy }
    }

    /// Begins a session and returns its name, which is always a new one (session fixation).
    ///
    /// # Errors
    /// When the random source fails.
    pub fn begin(&self, user: User, client: Client, token: SecretString) -> Result<String, EntropyError> {
        let mut bytes = [0; 32];
        self.entropy.fill(&mut bytes)?;
        let name = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let now = self.clock.now();
        let session = Session {
            user,
            client,
            token,
            born: now,
            used: now.timestamp_millis().into(),
            checked: now.timestamp_millis().into(),
            answers: Mutex::default(),
            shown: Mutex::default(),
            flashes: Mutex::default(),
        };
        let mut held = self.held.lock();
        held.retain(|_, session| !session.is_over(now));
        if held.len() >= MOST
            && let Some(idlest) = held.iter().min_by_key(|(_, session)| session.used.load(Relaxed)).map(|(key, _)| *key)
        {
            held.remove(&idlest);
        }
        held.insert(key(&name), Arc::new(session));
        Ok(name)
    }

    /// The session of that name, unless it is over; from now on it is idle for no time.
    pub fn find(&self, name: &str) -> Option<Arc<Session>> {
        let session = self.peek(name)?;
        session.used.store(self.clock.now().timestamp_millis(), Relaxed);
        Some(session)
    }

    /// The same for what nobody has clicked: a page that looks again by itself keeps no session alive.
    pub fn peek(&self, name: &str) -> Option<Arc<Session>> {
        let now = self.clock.now();
        let mut held = self.held.lock();
        let session = held.get(&key(name))?.clone();
        if session.is_over(now) {
            held.remove(&key(name));
            return None;
        }
        Some(session)
    }

    /// Ends a session: its token and its connections go with it.
    pub fn end(&self, name: &str) {
        self.held.lock().remove(&key(name));
    }

    /// How many people are signed in, and how many sessions they have.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let now = self.clock.now();
        let held = self.held.lock();
        let alive: Vec<_> = held.values().filter(|session| !session.is_over(now)).collect();
        (alive.iter().map(|session| &session.user.name).collect::<HashSet<_>>().len(), alive.len())
    }
}

fn key(name: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, name.as_bytes()).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::entropy::SystemEntropy;

    fn sessions() -> (Sessions, ManualClock) {
        let clock = ManualClock::at(DateTime::from_timestamp(1_000_000, 0).unwrap());
        (Sessions::new(Arc::new(clock.clone()), Arc::new(SystemEntropy)), clock)
    }

    fn begin(sessions: &Sessions, name: &str) -> String {
        crate::server::install_crypto();
        let client = Client::try_from(kube::Config::new(http::Uri::from_static("http://127.0.0.1:1"))).unwrap();
        let user = User { name: name.to_owned(), ..User::default() };
        sessions.begin(user, client, "token".to_owned().into()).unwrap()
    }

    #[tokio::test]
    async fn it_is_over_after_fifteen_idle_minutes_and_not_a_second_before() {
        let (sessions, clock) = sessions();
        let name = begin(&sessions, "alice");
        clock.advance(IDLE - TimeDelta::seconds(1));
        assert!(sessions.find(&name).is_some());
        clock.advance(IDLE - TimeDelta::seconds(1));
        assert!(sessions.find(&name).is_some(), "using it begins the time anew");
        clock.advance(IDLE);
        assert!(sessions.find(&name).is_none());
        clock.advance(-IDLE);
        assert!(sessions.find(&name).is_none(), "it is gone, not hidden");
    }

    #[tokio::test]
    async fn a_page_that_looks_again_by_itself_keeps_no_session_alive() {
        let (sessions, clock) = sessions();
        let name = begin(&sessions, "alice");
        for _ in 0..14 {
            clock.advance(TimeDelta::minutes(1));
            assert!(sessions.peek(&name).is_some());
        }
        clock.advance(TimeDelta::minutes(1));
        assert!(sessions.peek(&name).is_none());
    }

    #[tokio::test]
    async fn however_busy_it_ends_after_half_a_day() {
        let (sessions, clock) = sessions();
        let name = begin(&sessions, "alice");
        for _ in 0..(12 * 6 - 1) {
            clock.advance(TimeDelta::minutes(10));
            assert!(sessions.find(&name).is_some());
        }
        clock.advance(TimeDelta::minutes(10));
        assert!(sessions.find(&name).is_none());
    }

    #[tokio::test]
    async fn every_name_is_new_and_signing_out_ends_one_session_alone() {
        let (sessions, _) = sessions();
        let (one, two) = (begin(&sessions, "alice"), begin(&sessions, "alice"));
        assert!(one != two && one.len() == 43);
        assert_eq!(sessions.count(), (1, 2));
        sessions.end(&one);
        assert!(sessions.find(&one).is_none() && sessions.find(&two).is_some());
        assert!(sessions.find("").is_none() && sessions.find("guessed").is_none());
    }

    #[tokio::test]
    async fn a_question_about_the_token_that_was_broken_off_is_asked_again() {
        let (sessions, clock) = sessions();
        let session = sessions.find(&begin(&sessions, "alice")).unwrap();
        assert!(session.due(clock.now()).is_none());
        clock.advance(RECHECK);
        let asking = session.due(clock.now());
        assert!(asking.is_some() && session.due(clock.now()).is_none(), "one asks for all");
        drop(asking);
        session.due(clock.now()).unwrap().answered();
        assert!(session.due(clock.now()).is_none());
    }

    #[tokio::test]
    async fn an_answer_is_believed_for_thirty_seconds() {
        let (sessions, clock) = sessions();
        let session = sessions.find(&begin(&sessions, "alice")).unwrap();
        let ask = Ask::accounts("list", Some("shop"));
        session.keep(ask.clone(), true, clock.now());
        clock.advance(BELIEVED - TimeDelta::milliseconds(1));
        assert_eq!(session.answer(&ask, clock.now()), Some(true));
        assert_eq!(session.answer(&Ask::accounts("list", Some("bank")), clock.now()), None);
        clock.advance(TimeDelta::milliseconds(1));
        assert_eq!(session.answer(&ask, clock.now()), None);
    }

    #[tokio::test]
    async fn debug_shows_no_token() {
        let (sessions, _) = sessions();
        let session = sessions.find(&begin(&sessions, "alice")).unwrap();
        assert_eq!(format!("{session:?}"), "Session { user: \"alice\", .. }");
    }
}
