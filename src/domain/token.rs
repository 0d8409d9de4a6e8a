//! Tokens as text (JWS compact serialization, RFC 7515 section 3.1), and the key of the manual's HS256 tokens.

use base64::Engine;
use thiserror::Error;

use super::base64::URL_SAFE;
use super::mac::MacKey;

/// `{"typ":"JWT","alg":"HS256"}` as base64url, and the dot after it. The header never varies (no `kid`), so it is
/// encoded here once; jsonwebtoken would serialize it and schedule the key again for every token (0.5 M/s to 2 M/s).
pub(super) const HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.";

/// An HS256 key, ready to sign. No `Debug` shows it.
#[derive(Clone)]
pub struct Hs256Key(MacKey);

/// Why bytes are no HS256 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an HS256 key needs at least {} bytes (RFC 7518 section 3.2), this one has {found}", Hs256Key::MIN_LENGTH)]
pub struct KeyTooShort {
    /// The length that was found, in bytes.
    pub found: usize,
}

impl Hs256Key {
    /// RFC 7518 section 3.2: a key of the size of the hash output or larger.
    pub const MIN_LENGTH: usize = 32;

    /// Takes raw key bytes.
    ///
    /// # Errors
    /// When there are fewer than 32 of them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyTooShort> {
        if bytes.len() < Self::MIN_LENGTH {
            return Err(KeyTooShort { found: bytes.len() });
        }
        Ok(Self(MacKey::new(bytes)))
    }

    /// A signed token with these claims, a JSON object, and the header `{"typ":"JWT","alg":"HS256"}`.
    ///
    /// # Errors
    /// None that can happen.
    pub fn sign(&self, claims: &str) -> Result<String, TokenError> {
        compact(HEADER, claims, 32, |text| Ok(self.0.tag(&[text])))
    }

    /// Whether a signature over a token's first two parts is this key's; in constant time.
    #[must_use]
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        self.0.verifies(&[signed], signature)
    }
}

/// Why there is no token.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The cryptographic library.
    #[error("the token cannot be signed")]
    Signature,
    /// Not possible: base64 of the right length is text.
    #[error("the token cannot be encoded")]
    Encoding,
}

/// A signed token: `header` is base64url with the dot after it, and `length` the signature's in bytes.
pub(super) fn compact<S: AsRef<[u8]>>(
    header: &str,
    claims: &str,
    length: usize,
    sign: impl FnOnce(&[u8]) -> Result<S, TokenError>,
) -> Result<String, TokenError> {
    let mut token = Vec::with_capacity(header.len() + encoded_len(claims.len()) + 1 + encoded_len(length));
    token.extend_from_slice(header.as_bytes());
    append(&mut token, claims.as_bytes())?;
    let signature = sign(&token)?;
    token.push(b'.');
    append(&mut token, signature.as_ref())?;
    String::from_utf8(token).map_err(|_| TokenError::Encoding)
}

/// The length of unpadded base64.
fn encoded_len(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// Appends base64url. Into a slice, which costs a third of appending to a string.
fn append(token: &mut Vec<u8>, bytes: &[u8]) -> Result<(), TokenError> {
    let start = token.len();
    token.resize(start + encoded_len(bytes.len()), 0);
    URL_SAFE.encode_slice(bytes, &mut token[start..]).map(drop).map_err(|_| TokenError::Encoding)
}

impl std::fmt::Debug for Hs256Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hs256Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use serde_json::Value;

    const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn a_token_has_exactly_the_manuals_header() {
        let token = Hs256Key::from_bytes(KEY).unwrap().sign("{}").unwrap();
        let header = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        assert_eq!(header, br#"{"typ":"JWT","alg":"HS256"}"#);
    }

    #[test]
    fn an_independent_library_accepts_our_signature_and_no_other_keys() {
        let token = Hs256Key::from_bytes(KEY).unwrap().sign(r#"{"exp":4000000000,"aud":"avx"}"#).unwrap();
        let mut checks = Validation::new(Algorithm::HS256);
        checks.set_audience(&["avx"]);
        let decoded = jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_secret(KEY), &checks).unwrap();
        assert_eq!(decoded.claims["aud"], "avx");
        let other = DecodingKey::from_secret(b"another key, also of 32 bytes!!!");
        assert!(jsonwebtoken::decode::<Value>(&token, &other, &checks).is_err());
    }

    #[test]
    fn a_key_knows_its_own_signatures_and_no_others() {
        let key = Hs256Key::from_bytes(KEY).unwrap();
        let token = key.sign(r#"{"sub":"platform"}"#).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(key.verifies(signed.as_bytes(), &signature));
        assert!(!key.verifies(signed.as_bytes(), &signature[1..]) && !key.verifies(b"other", &signature));
        assert!(!Hs256Key::from_bytes(&[7; 32]).unwrap().verifies(signed.as_bytes(), &signature));
    }

    #[test]
    fn a_short_key_is_refused_and_none_is_shown() {
        assert_eq!(Hs256Key::from_bytes(&KEY[1..]).unwrap_err(), KeyTooShort { found: 31 });
        assert_eq!(format!("{:?}", Hs256Key::from_bytes(KEY).unwrap()), "Hs256Key(…)");
    }
}
