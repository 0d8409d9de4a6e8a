//! The keys of OAuth tokens: one line of succession, whatever their algorithms.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::tenure::{self, Phase, Tenure};
use crate::api::Algorithm;
use crate::api::Timestamp;
use crate::domain::signing::SigningKey;

/// One of them.
#[derive(Clone)]
pub struct OauthKey {
    /// Ready to sign; knows its `kid`, algorithm and public half.
    pub key: SigningKey,
    /// Its time; none when nothing tells.
    pub tenure: Option<Tenure>,
    /// Both halves as PKCS#8 DER.
    pub(super) pkcs8: Zeroizing<Vec<u8>>,
    /// Fields of a newer binary, kept.
    pub(super) unknown: Map<String, Value>,
}

impl std::fmt::Debug for OauthKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OauthKey").field("key", &self.key).field("tenure", &self.tenure).finish_non_exhaustive()
    }
}

/// A key of which only its times are left.
#[derive(Clone, Debug, PartialEq)]
pub struct LostKey {
    /// The RFC 7638 thumbprint.
    pub kid: String,
    /// What it signed with.
    pub algorithm: Algorithm,
    /// Its time.
    pub tenure: Tenure,
    /// When that was noticed; none: not yet.
    pub lost_time: Option<Timestamp>,
    /// Fields of a newer binary, kept.
    pub(super) unknown: Map<String, Value>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct OauthKeys {
    /// Sorted; see [`tenure::order`].
    line: Vec<OauthKey>,
    /// Of which the private half is gone.
    pub lost: Vec<LostKey>,
}

impl OauthKeys {
    /// Puts them in order.
    #[must_use]
    pub fn new(mut line: Vec<OauthKey>, lost: Vec<LostKey>) -> Self {
        line.sort_by(|a, b| (tenure::order(&a.tenure), a.key.kid()).cmp(&(tenure::order(&b.tenure), b.key.kid())));
        Self { line, lost }
    }

    /// Every key that can be used, in the order in which they sign.
    #[must_use]
    pub fn line(&self) -> &[OauthKey] {
        &self.line
    }

    /// The key that signs at `now`; none when there is no key at all.
    #[must_use]
    pub fn signing(&self, now: Timestamp) -> Option<&OauthKey> {
        tenure::signing(&self.tenures(), now).and_then(|position| self.line.get(position))
    }

    /// The keys that belong into the JWKS at `now`: the one to come, the one that signs, and those whose tokens may still
    /// be about. By them, and no others, a token is verified.
    pub fn published(&self, now: Timestamp) -> impl Iterator<Item = &OauthKey> {
        let line = self.tenures();
        let signing = tenure::signing(&line, now);
        self.line
            .iter()
            .enumerate()
            .filter(move |(position, _)| {
                Some(*position) == signing || tenure::kept_until(&line, *position).is_none_or(|end| now < end)
            })
            .map(|(_, key)| key)
    }

    /// Each key with what it is for at `now` and until when it is kept.
    pub fn phases(&self, now: Timestamp) -> impl Iterator<Item = (&OauthKey, Phase, Option<Timestamp>)> {
        let line = self.tenures();
        let signing = tenure::signing(&line, now);
        self.line.iter().enumerate().map(move |(position, key)| {
            let phase = match Some(position).cmp(&signing) {
                std::cmp::Ordering::Less => Phase::Previous,
                std::cmp::Ordering::Equal => Phase::Current,
                std::cmp::Ordering::Greater => Phase::Next,
            };
            (key, phase, tenure::kept_until(&line, position))
        })
    }

    pub(super) fn tenures(&self) -> Vec<Option<Tenure>> {
        self.line.iter().map(|key| key.tenure).collect()
    }

    pub(super) fn take(self) -> (Vec<OauthKey>, Vec<LostKey>) {
        (self.line, self.lost)
    }
}
