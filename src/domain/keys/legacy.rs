//! The HS256 keys of the manual's tokens. Those name no key, so resource servers try each of the three.

use zeroize::Zeroizing;

use super::tenure::{Phase, Tenure};
use crate::api::Timestamp;
use crate::domain::token::{Hs256Key, KeyTooShort};

/// One of them.
#[derive(Clone)]
pub struct LegacyKey {
    /// Ready to sign and verify.
    pub key: Hs256Key,
    /// Its time; none when nothing tells.
    pub tenure: Option<Tenure>,
    bytes: Zeroizing<Vec<u8>>,
}

impl LegacyKey {
    /// Takes raw key bytes.
    ///
    /// # Errors
    /// When they are too few.
    pub fn new(bytes: Zeroizing<Vec<u8>>, tenure: Option<Tenure>) -> Result<Self, KeyTooShort> {
        Ok(Self { key: Hs256Key::from_bytes(&bytes)?, tenure, bytes })
    }

    /// The key itself, for a Secret.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for LegacyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LegacyKey").field("tenure", &self.tenure).finish_non_exhaustive()
    }
}

/// At most three.
#[derive(Clone, Debug, Default)]
pub struct LegacyKeys {
    /// The one that signs, until the next one begins.
    pub current: Option<LegacyKey>,
    /// The one before.
    pub previous: Option<LegacyKey>,
    /// The one to come.
    pub next: Option<LegacyKey>,
    /// Those that were there once and cannot be read any more, until the loss is recorded.
    pub(super) lost: Vec<Phase>,
    /// Fields of a newer binary, kept.
    pub(super) unknown: serde_json::Map<String, serde_json::Value>,
}

impl LegacyKeys {
    /// The key that signs at `now`. The next one when its time has come, though the controller may not have moved it
    /// yet, and also when it is the only one left: resource servers know it already.
    #[must_use]
    pub fn signing(&self, now: Timestamp) -> Option<&LegacyKey> {
        let begun = |key: &&LegacyKey| key.tenure.is_some_and(|tenure| tenure.signs_from <= now);
        self.next.as_ref().filter(begun).or(self.current.as_ref()).or(self.next.as_ref())
    }

    /// The keys by which a token is verified at `now`, the likeliest first.
    pub fn verifying(&self, now: Timestamp) -> impl Iterator<Item = &LegacyKey> {
        let kept = self.previous_until().is_none_or(|end| now < end);
        [&self.current, &self.next].into_iter().flatten().chain(self.previous.iter().filter(move |_| kept))
    }

    /// Until when the previous key is kept.
    #[must_use]
    pub fn previous_until(&self) -> Option<Timestamp> {
        let (previous, current) = (self.previous.as_ref()?.tenure?, self.current.as_ref()?.tenure?);
        Some(previous.kept_until(current.signs_from))
    }

    /// Each key with its place in the Secret.
    pub fn slots(&self) -> impl Iterator<Item = (Phase, &LegacyKey)> {
        let all = [(Phase::Current, &self.current), (Phase::Previous, &self.previous), (Phase::Next, &self.next)];
        all.into_iter().filter_map(|(phase, key)| Some((phase, key.as_ref()?)))
    }

    pub(super) fn slot(&mut self, phase: Phase) -> &mut Option<LegacyKey> {
        match phase {
            Phase::Current => &mut self.current,
            Phase::Previous => &mut self.previous,
            Phase::Next => &mut self.next,
        }
    }
}
