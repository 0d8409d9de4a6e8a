//! The Secret `signing-keys-<issuer>`: `legacy-current`, `legacy-previous` and `legacy-next` are HS256 keys as they are,
//! `<kid>.p8` is an OAuth key as PKCS#8, and `keys.json` tells everything that is not secret. What is damaged is said and
//! left out, and the rest goes on.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Keys, LegacyKey, LegacyKeys, Loss, LostKey, OauthKey, OauthKeys, Phase, SCHEMA_VERSION, Tenure};
use crate::api::token_issuer::PublishKeyTo;
use crate::api::{Algorithm, Timestamp};
use crate::domain::signing::{self, KeyError, SigningKey};
use crate::domain::token::KeyTooShort;

/// The data of the Secret.
pub type Content = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// The item without secrets.
pub const RING: &str = "keys.json";

const ALGORITHMS: [Algorithm; 3] = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256];

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ring {
    schema_version: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handled_regenerate: Option<i64>,
    #[serde(default)]
    oauth: Vec<RingEntry>,
    #[serde(default)]
    legacy: LegacyTimes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss: Option<Loss>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published_to: Option<PublishKeyTo>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RingEntry {
    kid: String,
    alg: String,
    /// For people: the times decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<Phase>,
    #[serde(flatten)]
    tenure: Tenure,
    /// For people, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_time: Option<Timestamp>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Default, Serialize, Deserialize)]
struct LegacyTimes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<Tenure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Tenure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Tenure>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// An item that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its name in the Secret.
    pub item: String,
    /// Why not.
    pub trouble: Trouble,
}

/// Why an item cannot be used. Quotes no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// The ring is not ours.
    #[error("it cannot be read (line {line} column {column}); the keys themselves go on")]
    Malformed {
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
    },
    /// An algorithm of a newer binary.
    #[error("this version does not know its algorithm")]
    UnknownAlgorithm,
    /// Not there, but in the ring.
    #[error("it is missing: restore it from a backup")]
    Missing,
    /// Not in the ring, but there.
    #[error("it does not stand in {RING}: it does not sign, and is dropped")]
    Unlisted,
    /// No key.
    #[error("{0}: restore it from a backup, or delete it")]
    NotAKey(KeyError),
    /// A key under another's name.
    #[error("it is another key than its name says: restore it from a backup, or delete it")]
    AnotherKey,
    /// No HS256 key.
    #[error(transparent)]
    TooShort(KeyTooShort),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.item, self.trouble)
    }
}

/// The item that holds an OAuth key.
pub(super) fn item_of(kid: &str) -> String {
    // Thumbprints are base64url; what is not cannot be the name of an item, and must not reach a message.
    let name: String = kid.chars().filter(|c| c.is_ascii_alphanumeric() || ['-', '_'].contains(c)).take(64).collect();
    format!("{name}.p8")
}

pub(super) fn legacy_item(phase: Phase) -> &'static str {
    match phase {
        Phase::Current => "legacy-current",
        Phase::Previous => "legacy-previous",
        Phase::Next => "legacy-next",
    }
}

impl LegacyTimes {
    fn of(&mut self, phase: Phase) -> &mut Option<Tenure> {
        match phase {
            Phase::Current => &mut self.current,
            Phase::Previous => &mut self.previous,
            Phase::Next => &mut self.next,
        }
    }
}

impl Keys {
    /// Reads a Secret. Never fails: see [`Keys::problems`].
    #[must_use]
    pub fn parse(mut content: Content) -> Self {
        let mut problems = Vec::new();
        let had_ring = content.contains_key(RING);
        let ring = content.remove(RING).map(|bytes| Ring::parse(&bytes)).transpose();
        let (ring, readable) = match ring {
            Ok(ring) => (ring.unwrap_or_default(), had_ring),
            Err((schema_version, trouble)) => {
                problems.push(Problem { item: RING.into(), trouble });
                (Ring { schema_version, ..Ring::default() }, false)
            }
        };
        let Ring { schema_version, handled_regenerate, oauth, legacy, loss, published_to, unknown } = ring;
        let legacy = read_legacy(&mut content, legacy, &mut problems);
        let (oauth, foreign) = read_oauth(&mut content, oauth, readable, &mut problems);
        Self {
            legacy,
            oauth,
            handled_regenerate,
            loss,
            published_to,
            problems,
            schema_version,
            unknown,
            foreign,
            others: content,
        }
    }

    /// The Secret's data, as it should be at `now`.
    ///
    /// # Errors
    /// When the ring cannot be serialized, which no ring of ours is.
    pub fn render(&self, now: Timestamp) -> Result<Content, serde_json::Error> {
        let mut content = self.others.clone();
        let mut legacy = LegacyTimes { unknown: self.legacy.unknown.clone(), ..LegacyTimes::default() };
        for (phase, key) in self.legacy.slots() {
            content.insert(legacy_item(phase).into(), Zeroizing::new(key.expose().to_vec()));
            *legacy.of(phase) = key.tenure;
        }
        let mut oauth = Vec::new();
        for (key, phase, kept_until) in self.oauth.phases(now) {
            let kid = key.key.kid().to_owned();
            content.insert(item_of(&kid), key.pkcs8.clone());
            let Some(tenure) = key.tenure else { continue };
            let (alg, unknown) = (signing::name(key.key.algorithm()).to_owned(), key.unknown.clone());
            oauth.push(RingEntry { kid, alg, state: Some(phase), tenure, kept_until, lost_time: None, unknown });
        }
        for lost in &self.oauth.lost {
            let LostKey { kid, algorithm, tenure, lost_time, unknown } = lost.clone();
            let alg = signing::name(algorithm).to_owned();
            oauth.push(RingEntry { kid, alg, state: None, tenure, kept_until: None, lost_time, unknown });
        }
        let mut ring = serde_json::to_value(Ring {
            schema_version: self.schema_version,
            handled_regenerate: self.handled_regenerate,
            oauth,
            legacy,
            loss: self.loss.clone(),
            published_to: self.published_to.clone(),
            unknown: self.unknown.clone(),
        })?;
        if let Some(Value::Array(entries)) = ring.get_mut("oauth") {
            entries.extend(self.foreign.iter().cloned());
        }
        content.insert(RING.into(), Zeroizing::new(serde_json::to_vec_pretty(&ring)?));
        Ok(content)
    }

    /// Takes an OAuth key that was made.
    ///
    /// # Errors
    /// When it is none.
    pub fn add_oauth(
        &mut self,
        algorithm: Algorithm,
        tenure: Tenure,
        pkcs8: Zeroizing<Vec<u8>>,
    ) -> Result<(), KeyError> {
        let key = SigningKey::from_pkcs8(algorithm, &pkcs8)?;
        let (mut line, lost) = std::mem::take(&mut self.oauth).take();
        line.push(OauthKey { key, tenure: Some(tenure), pkcs8, unknown: Map::new() });
        self.oauth = OauthKeys::new(line, lost);
        Ok(())
    }

    /// Takes an HS256 key that was made.
    ///
    /// # Errors
    /// When it is too short.
    pub fn add_legacy(&mut self, phase: Phase, tenure: Tenure, bytes: Zeroizing<Vec<u8>>) -> Result<(), KeyTooShort> {
        *self.legacy.slot(phase) = Some(LegacyKey::new(bytes, Some(tenure))?);
        Ok(())
    }

    pub(super) fn forget_item(&mut self, kid: &str) {
        self.others.remove(&item_of(kid));
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            handled_regenerate: None,
            oauth: Vec::new(),
            legacy: LegacyTimes::default(),
            loss: None,
            published_to: None,
            unknown: Map::new(),
        }
    }
}

impl Ring {
    /// Or the schema version as far as it is known: a ring that a newer binary wrote must not be written over.
    fn parse(bytes: &[u8]) -> Result<Self, (i64, Trouble)> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            schema_version: i64,
        }
        serde_json::from_slice(bytes).map_err(|error: serde_json::Error| {
            let version =
                serde_json::from_slice(bytes).map_or(SCHEMA_VERSION, |version: Version| version.schema_version);
            (version, Trouble::Malformed { line: error.line(), column: error.column() })
        })
    }
}

fn read_legacy(content: &mut Content, mut times: LegacyTimes, problems: &mut Vec<Problem>) -> LegacyKeys {
    let mut keys = LegacyKeys::default();
    for phase in [Phase::Current, Phase::Previous, Phase::Next] {
        let tenure = times.of(phase).take();
        let bytes = content.remove(legacy_item(phase)).filter(|bytes| !bytes.is_empty());
        let trouble = match bytes.map(|bytes| LegacyKey::new(bytes, tenure)) {
            Some(Ok(key)) => {
                *keys.slot(phase) = Some(key);
                continue;
            }
            Some(Err(error)) => Trouble::TooShort(error),
            None if tenure.is_some() => Trouble::Missing,
            None => continue,
        };
        problems.push(Problem { item: legacy_item(phase).into(), trouble });
        keys.lost.push(phase);
    }
    keys.unknown = times.unknown;
    keys
}

/// Also returns the entries that this version does not understand.
fn read_oauth(
    content: &mut Content,
    entries: Vec<RingEntry>,
    ring_is_readable: bool,
    problems: &mut Vec<Problem>,
) -> (OauthKeys, Vec<Value>) {
    let (mut line, mut lost, mut foreign): (Vec<OauthKey>, Vec<LostKey>, Vec<Value>) = Default::default();
    let mut spoken_for = Vec::new();
    for entry in entries {
        let item = item_of(&entry.kid);
        if spoken_for.contains(&item) {
            continue;
        }
        let mut say = |trouble| problems.push(Problem { item: item.clone(), trouble });
        let known = ALGORITHMS.into_iter().find(|algorithm| signing::name(*algorithm) == entry.alg);
        if let Some(algorithm) = known {
            match read_key(content.get(&item), algorithm, &entry.kid) {
                Ok((key, pkcs8)) => {
                    line.push(OauthKey { key, tenure: Some(entry.tenure), pkcs8, unknown: entry.unknown });
                    content.remove(&item);
                }
                Err(trouble) => {
                    say(trouble);
                    let RingEntry { kid, tenure, lost_time, unknown, .. } = entry;
                    lost.push(LostKey { kid, algorithm, tenure, lost_time, unknown });
                }
            }
        } else {
            say(Trouble::UnknownAlgorithm);
            foreign.extend(serde_json::to_value(entry));
        }
        spoken_for.push(item);
    }
    let strays: Vec<String> =
        content.keys().filter(|item| item.ends_with(".p8") && !spoken_for.contains(item)).cloned().collect();
    for item in strays {
        let kid = item.trim_end_matches(".p8");
        let found = ALGORITHMS.into_iter().map(|algorithm| read_key(content.get(&item), algorithm, kid));
        // What is no key of any algorithm is told of the first.
        match found.reduce(|best, next| if best.is_ok() { best } else { next.or(best) }) {
            Some(Ok((key, pkcs8))) => {
                line.push(OauthKey { key, tenure: None, pkcs8, unknown: Map::new() });
                content.remove(&item);
                if ring_is_readable {
                    problems.push(Problem { item, trouble: Trouble::Unlisted });
                }
            }
            Some(Err(trouble)) => problems.push(Problem { item, trouble }),
            None => {}
        }
    }
    (OauthKeys::new(line, lost), foreign)
}

fn read_key(
    bytes: Option<&Zeroizing<Vec<u8>>>,
    algorithm: Algorithm,
    kid: &str,
) -> Result<(SigningKey, Zeroizing<Vec<u8>>), Trouble> {
    let pkcs8 = bytes.ok_or(Trouble::Missing)?;
    let key = SigningKey::from_pkcs8(algorithm, pkcs8).map_err(Trouble::NotAKey)?;
    if key.kid() == kid { Ok((key, pkcs8.clone())) } else { Err(Trouble::AnotherKey) }
}
