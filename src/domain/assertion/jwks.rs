//! A foreign issuer's public keys (RFC 7517): each with the one algorithm that it may be used with.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// The largest set, in bytes: that of an inline one in the CRD.
pub const MAX_BYTES: usize = 64 * 1024;
/// The most keys in a set, usable or not. Issuers publish two to ten.
pub const MAX_KEYS: usize = 64;
/// A key ID longer than this names no key.
const MAX_KID: usize = 255;

/// A set of public keys that can verify signatures.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySet(Vec<Key>);

/// One public key.
#[derive(Clone)]
pub struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
    /// What makes the key, to tell it from others.
    numbers: String,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let Self { kid, algorithm, decoding: _, numbers } = self;
        (kid, algorithm, numbers) == (&other.kid, &other.algorithm, &other.numbers)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?} {:?})", self.kid, self.algorithm)
    }
}

/// Why a text is no usable set of keys. Quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeySetError {
    /// More than [`MAX_BYTES`].
    #[error("it is larger than {} KiB", MAX_BYTES / 1024)]
    TooLarge,
    /// Not `{"keys": [...]}`.
    #[error("it is no JSON Web Key Set: an object with a list \"keys\" (RFC 7517 section 5)")]
    Malformed,
    /// More than [`MAX_KEYS`].
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
    /// `kty` is `oct`.
    #[error("it has a symmetric key: whoever verifies with one can sign with it, give public keys only")]
    Symmetric,
    /// A key has its private half.
    #[error("it has a private key: replace that key everywhere, and give public keys only")]
    Private,
    /// Two keys could both be meant by one key ID and algorithm.
    #[error("two keys have the same \"kid\" and algorithm")]
    Repeated,
    /// Nothing that verifies RS256/384/512, PS256/384/512, ES256, ES384 or EdDSA signatures.
    #[error("it has no key that verifies RS256, PS256, ES256, ES384 or EdDSA signatures (RSA: 2048 to 8192 bits)")]
    NoUsableKey,
}

/// Why no key of a set fits a token's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The header names no key, and there are several.
    NoKid,
    /// No key of that name.
    UnknownKid,
    /// The key is for another algorithm than the header says.
    OtherAlgorithm,
}

/// A key as it stands in the set (RFC 7517 section 4, RFC 7518 section 6).
#[derive(Deserialize)]
struct Raw {
    kty: String,
    #[serde(rename = "use")]
    use_: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys of kinds that we do not know, for encryption, or too weak, are left out, as RFC 7517 section 5
    /// says; symmetric and private ones make the whole set unusable, since somebody made a mistake.
    ///
    /// # Errors
    /// When nothing can be verified with it.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        if text.len() > MAX_BYTES {
            return Err(KeySetError::TooLarge);
        }
        // A list would fill the struct's fields by position.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err(KeySetError::Malformed);
        }
        let Set { keys } = serde_json::from_slice(text).map_err(|_| KeySetError::Malformed)?;
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        if keys.iter().any(|key| key.get("kty").and_then(Value::as_str) == Some("oct") || key.get("k").is_some()) {
            return Err(KeySetError::Symmetric);
        }
        if keys.iter().any(|key| key.get("d").is_some()) {
            return Err(KeySetError::Private);
        }
        let mut usable: Vec<Key> = Vec::new();
        for key in keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).filter_map(usable_key) {
            if usable.iter().any(|other| other.kid == key.kid && other.algorithm == key.algorithm) {
                return Err(KeySetError::Repeated);
            }
            usable.push(key);
        }
        if usable.is_empty() { Err(KeySetError::NoUsableKey) } else { Ok(Self(usable)) }
    }

    /// The one key that a header with this key ID and algorithm can mean.
    ///
    /// A key's algorithm is its own. What the header says must agree with it and chooses nothing else.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&Key, Unfit> {
        let fits = |key: &&Key| match (self.0.as_slice(), kid) {
            // A set of one key needs no names, on either side.
            ([only], kid) => only.kid.is_none() || kid.is_none() || only.kid.as_deref() == kid,
            (_, kid) => kid.is_some() && key.kid.as_deref() == kid,
        };
        let mut fitting = self.0.iter().filter(fits).peekable();
        if fitting.peek().is_none() {
            return Err(if kid.is_none() { Unfit::NoKid } else { Unfit::UnknownKid });
        }
        fitting.find(|key| key.algorithm == algorithm).ok_or(Unfit::OtherAlgorithm)
    }
}

impl Key {
    /// Whether `signature` (base64url) is this key's for `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.decoding, self.algorithm).unwrap_or(false)
    }
}

fn usable_key(raw: Raw) -> Option<Key> {
    let signs = raw.use_.as_deref().is_none_or(|use_| use_ == "sig");
    let verifies = raw.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    if !signs || !verifies || raw.kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
        return None;
    }
    let (x, y) = (raw.x.as_deref(), raw.y.as_deref());
    let alg = raw.alg.as_deref();
    let (algorithm, decoding, numbers) = match (raw.kty.as_str(), raw.crv.as_deref()) {
        ("RSA", _) => {
            let (n, e) = (raw.n?, raw.e?);
            // Less is broken; more, or a longer exponent, costs the verifier too much.
            if !(256..=1024).contains(&length(&n)?) || length(&e)? > 4 {
                return None;
            }
            (rsa(alg)?, DecodingKey::from_rsa_components(&n, &e).ok()?, format!("{n} {e}"))
        }
        ("EC", Some(curve)) => {
            let (algorithm, name, size) = match curve {
                "P-256" => (Algorithm::ES256, "ES256", 32),
                "P-384" => (Algorithm::ES384, "ES384", 48),
                _ => return None,
            };
            let (x, y) = (x?, y?);
            if alg.is_some_and(|alg| alg != name) || length(x)? != size || length(y)? != size {
                return None;
            }
            (algorithm, DecodingKey::from_ec_components(x, y).ok()?, format!("{x} {y}"))
        }
        ("OKP", Some("Ed25519")) => {
            // RFC 9864 has the second name.
            if alg.is_some_and(|alg| !["EdDSA", "Ed25519"].contains(&alg)) || length(x?)? != 32 {
                return None;
            }
            (Algorithm::EdDSA, DecodingKey::from_ed_components(x?).ok()?, x?.to_owned())
        }
        _ => return None,
    };
    Some(Key { kid: raw.kid, algorithm, decoding, numbers })
}

/// The algorithm of an RSA key; RS256 is what those issuers mean that say none.
fn rsa(alg: Option<&str>) -> Option<Algorithm> {
    Some(match alg.unwrap_or("RS256") {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        _ => return None,
    })
}

/// The number of bytes that base64url text stands for.
fn length(text: &str) -> Option<usize> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok().map(|bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::super::samples::{EC, Signer};
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn set(keys: Value) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    #[rstest]
    #[case::no_json("keys")]
    #[case::no_keys("{}")]
    #[case::a_list("[[]]")]
    #[case::keys_no_list(r#"{"keys":{}}"#)]
    #[case::twice(r#"{"keys":[],"keys":[]}"#)]
    fn what_is_no_set_is_refused(#[case] text: &str) {
        assert_eq!(KeySet::parse(text.as_bytes()), Err(KeySetError::Malformed));
    }

    #[test]
    fn the_bounds_hold_at_their_edges() {
        let ec = EC.jwk("k");
        let text = json!({"keys": [ec]}).to_string();
        let padded = |length: usize| format!("{text}{}", " ".repeat(length - text.len()));
        assert!(KeySet::parse(padded(MAX_BYTES).as_bytes()).is_ok());
        assert_eq!(KeySet::parse(padded(MAX_BYTES + 1).as_bytes()), Err(KeySetError::TooLarge));
        let many = |count: usize| set((0..count).map(|n| EC.jwk(&n.to_string())).collect());
        assert!(many(MAX_KEYS).is_ok());
        assert_eq!(many(MAX_KEYS + 1), Err(KeySetError::TooMany));
    }

    #[rstest]
    #[case::symmetric(json!({"kty": "oct", "k": "c2VjcmV0"}), KeySetError::Symmetric)]
    #[case::symmetric_in_disguise(with(EC.jwk("x"), "k", json!("c2VjcmV0")), KeySetError::Symmetric)]
    #[case::private(with(EC.jwk("x"), "d", json!("AA")), KeySetError::Private)]
    #[case::the_same_name_again(EC.jwk("good"), KeySetError::Repeated)]
    fn a_mistake_of_whoever_made_the_set_is_told_although_it_has_a_good_key(
        #[case] key: Value,
        #[case] error: KeySetError,
    ) {
        assert_eq!(set(json!([EC.jwk("good"), key])), Err(error));
    }

    #[rstest]
    #[case::for_encryption(with(EC.jwk("k"), "use", json!("enc")))]
    #[case::for_signing_only(with(EC.jwk("k"), "key_ops", json!(["sign"])))]
    #[case::without_operations(with(EC.jwk("k"), "key_ops", json!([])))]
    #[case::of_another_algorithm(with(EC.jwk("k"), "alg", json!("ES384")))]
    #[case::hmac(with(EC.jwk("k"), "alg", json!("HS256")))]
    #[case::none(with(EC.jwk("k"), "alg", json!("none")))]
    #[case::another_curve(with(EC.jwk("k"), "crv", json!("secp256k1")))]
    #[case::another_type(with(EC.jwk("k"), "kty", json!("AKP")))]
    #[case::short_coordinate(with(EC.jwk("k"), "x", json!("AAAA")))]
    #[case::no_base64(with(EC.jwk("k"), "x", json!("!")))]
    #[case::no_coordinate(json!({"kty": "EC", "crv": "P-256", "x": "AAAA"}))]
    #[case::kid_is_a_number(with(EC.jwk("k"), "kid", json!(7)))]
    #[case::kid_too_long(EC.jwk(&"k".repeat(256)))]
    #[case::rsa_1024(json!({"kty": "RSA", "n": BASE64_URL_SAFE_NO_PAD.encode([255; 128]), "e": "AQAB"}))]
    #[case::rsa_16384(json!({"kty": "RSA", "n": BASE64_URL_SAFE_NO_PAD.encode([255; 2048]), "e": "AQAB"}))]
    #[case::rsa_long_exponent(json!({"kty": "RSA", "n": BASE64_URL_SAFE_NO_PAD.encode([255; 256]), "e": "AQABAQAB"}))]
    #[case::no_object(json!("key"))]
    fn a_key_that_cannot_be_used_is_left_out(#[case] key: Value) {
        assert_eq!(set(json!([key])), Err(KeySetError::NoUsableKey));
        assert_eq!(set(json!([key, EC.jwk("good")])), set(json!([EC.jwk("good")])));
    }

    #[rstest]
    #[case(None, Algorithm::RS256)]
    #[case(Some("RS256"), Algorithm::RS256)]
    #[case(Some("RS512"), Algorithm::RS512)]
    #[case(Some("PS384"), Algorithm::PS384)]
    fn a_key_has_one_algorithm_and_fits_no_other(#[case] alg: Option<&str>, #[case] algorithm: Algorithm) {
        let mut key = Signer::rsa().jwk("k");
        match alg {
            Some(alg) => key["alg"] = json!(alg),
            None => drop(key.as_object_mut().unwrap().remove("alg")),
        }
        let set = set(json!([key])).unwrap();
        for asked in [Algorithm::RS256, Algorithm::RS512, Algorithm::PS384, Algorithm::HS256, Algorithm::ES256] {
            let expected = if asked == algorithm { Ok(()) } else { Err(Unfit::OtherAlgorithm) };
            assert_eq!(set.find(Some("k"), asked).map(drop), expected, "{asked:?}");
        }
    }

    #[test]
    fn a_key_is_found_by_its_name_and_without_one_only_if_there_is_no_other() {
        let nameless = |mut key: Value| {
            key.as_object_mut().unwrap().remove("kid");
            key
        };
        let (one, two) = (set(json!([EC.jwk("a")])).unwrap(), set(json!([EC.jwk("a"), EC.jwk("b")])).unwrap());
        let found = |set: &KeySet, kid| set.find(kid, Algorithm::ES256).map(|key| key.kid.clone());
        assert_eq!(found(&one, Some("a")), Ok(Some("a".into())));
        assert_eq!(found(&one, None), Ok(Some("a".into())));
        assert_eq!(found(&one, Some("b")), Err(Unfit::UnknownKid));
        assert_eq!(found(&two, Some("b")), Ok(Some("b".into())));
        assert_eq!(found(&two, Some("c")), Err(Unfit::UnknownKid));
        assert_eq!(found(&two, None), Err(Unfit::NoKid));
        let anonymous = set(json!([nameless(EC.jwk("a"))])).unwrap();
        assert_eq!(found(&anonymous, Some("any")), Ok(None));
        let mixed = set(json!([nameless(EC.jwk("a")), EC.jwk("b")])).unwrap();
        assert_eq!(found(&mixed, Some("any")), Err(Unfit::UnknownKid));
        assert_eq!(found(&mixed, None), Err(Unfit::NoKid));
    }
}
