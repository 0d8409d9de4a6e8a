//! The keys that sign OAuth tokens: RS256, ES256 and EdDSA (RFC 7518, RFC 8037).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk, KeyAlgorithm,
    OctetKeyPairParameters, PublicKeyUse, RSAKeyParameters, ThumbprintHash,
};
use serde_json::json;
use thiserror::Error;
use zeroize::Zeroizing;

use super::token::{TokenError, compact};
use crate::api::Algorithm;

/// A key pair, ready to sign. No `Debug` shows the private half; clones share it.
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    algorithm: Algorithm,
    pair: Pair,
    kid: String,
    jwk: Jwk,
    /// The tokens' header as base64url, and the dot after it.
    header: String,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// Why there is no key. Quotes no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The bytes are not a key of this kind.
    #[error("it is no {0} key in PKCS#8")]
    NotAKey(&'static str),
    /// The cryptographic library gave none.
    #[error("no {0} key could be made")]
    NotMade(&'static str),
}

/// The name of an algorithm (RFC 7518 section 3.1).
#[must_use]
pub fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES256 => "ES256",
        Algorithm::RS256 => "RS256",
        Algorithm::EdDSA => "EdDSA",
    }
}

/// A new key as PKCS#8. Its randomness is the cryptographic library's, which seeds itself from the operating system and
/// takes no other for these keys; drawing primes and scalars by hand from ours would be worse. So it is an effect, and no
/// rule calls it.
///
/// # Errors
/// When the library fails.
pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let made = match algorithm {
        Algorithm::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .and_then(|pair| Ok(Zeroizing::new(pair.to_pkcs8v1()?.as_ref().to_vec()))),
        Algorithm::EdDSA => {
            Ed25519KeyPair::generate().and_then(|pair| Ok(Zeroizing::new(pair.to_pkcs8v1()?.as_ref().to_vec())))
        }
        Algorithm::RS256 => RsaKeyPair::generate(KeySize::Rsa2048).and_then(|pair| {
            let der: Pkcs8V1Der<'_> = pair.as_der()?;
            Ok(Zeroizing::new(der.as_ref().to_vec()))
        }),
    };
    made.map_err(|_| KeyError::NotMade(name(algorithm)))
}

impl SigningKey {
    /// Reads a key.
    ///
    /// # Errors
    /// When the bytes are no key for this algorithm.
    pub fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        let wrong = || KeyError::NotAKey(name(algorithm));
        let (pair, parameters) = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map_err(|_| wrong())?;
                // SEC 1 section 2.3.3: 4, then both coordinates of 32 bytes.
                let point = pair.public_key().as_ref();
                let (x, y) = point.get(1..65).ok_or_else(wrong)?.split_at(32);
                let (curve, x, y) = (EllipticCurve::P256, text(x), text(y));
                let parameters = EllipticCurveKeyParameters { curve, x, y, ..Default::default() };
                (Pair::Ec(pair), AlgorithmParameters::EllipticCurve(parameters))
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_| wrong())?;
                let (curve, x) = (EllipticCurve::Ed25519, text(pair.public_key().as_ref()));
                let parameters = OctetKeyPairParameters { curve, x, ..Default::default() };
                (Pair::Ed(pair), AlgorithmParameters::OctetKeyPair(parameters))
            }
            Algorithm::RS256 => {
                let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| wrong())?;
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                let parameters = RSAKeyParameters { n: text(&n), e: text(&e), ..Default::default() };
                (Pair::Rsa(pair), AlgorithmParameters::RSA(parameters))
            }
        };
        let mut jwk = Jwk { common: CommonParameters::default(), algorithm: parameters };
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| wrong())?;
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_algorithm = Some(match algorithm {
            Algorithm::ES256 => KeyAlgorithm::ES256,
            Algorithm::EdDSA => KeyAlgorithm::EdDSA,
            Algorithm::RS256 => KeyAlgorithm::RS256,
        });
        jwk.common.key_id = Some(kid.clone());
        let header = json!({"typ": "at+jwt", "alg": name(algorithm), "kid": kid}).to_string();
        let header = format!("{}.", text(header.as_bytes()));
        Ok(Self(Arc::new(Inner { algorithm, pair, kid, jwk, header })))
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// The RFC 7638 thumbprint of its public half.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// Its public half.
    #[must_use]
    pub fn jwk(&self) -> &Jwk {
        &self.0.jwk
    }

    /// The header of its tokens as base64url, and the dot after it: no other header is ever accepted.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.0.header
    }

    /// Whether a signature, in base64url, over a token's first two parts is this key's.
    #[must_use]
    pub fn verifies(&self, signed: &str, signature: &str) -> bool {
        let algorithm = match self.0.algorithm {
            Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        };
        DecodingKey::from_jwk(&self.0.jwk)
            .and_then(|key| jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key, algorithm))
            .unwrap_or(false)
    }

    /// A signed token with these claims, a JSON object, and the header of an access token (RFC 9068 section 2.1).
    ///
    /// # Errors
    /// When the library cannot sign.
    pub fn sign(&self, claims: &str) -> Result<String, TokenError> {
        let failed = |_| TokenError::Signature;
        // Of a digest: the library's other way asks for a random source, which it ignores.
        match &self.0.pair {
            Pair::Ec(pair) => {
                compact(&self.0.header, claims, 64, |text| pair.sign_digest(&digest(&SHA256, text)).map_err(failed))
            }
            Pair::Ed(pair) => compact(&self.0.header, claims, 64, |text| pair.try_sign(text).map_err(failed)),
            Pair::Rsa(pair) => {
                let length = pair.public_modulus_len();
                compact(&self.0.header, claims, length, |text| {
                    let mut signature = vec![0; length];
                    pair.sign_digest(&RSA_PKCS1_SHA256, &digest(&SHA256, text), &mut signature).map_err(failed)?;
                    Ok(signature)
                })
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, {})", name(self.0.algorithm), self.0.kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{Validation, decode, decode_header};
    use rstest::rstest;
    use serde_json::Value;

    #[rstest]
    fn a_token_of_each_algorithm_is_verified_by_another_library_with_the_published_key(
        #[values(Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256)] algorithm: Algorithm,
    ) {
        let key = SigningKey::from_pkcs8(algorithm, &generate(algorithm).unwrap()).unwrap();
        let token = key.sign(r#"{"exp":4000000000,"sub":"ü"}"#).unwrap();
        let header = decode_header(&token).unwrap();
        assert_eq!((header.typ.as_deref(), header.kid.as_deref()), (Some("at+jwt"), Some(key.kid())));
        assert_eq!(format!("{:?}", header.alg), name(algorithm));
        // As a client has it: through JSON.
        let jwk: Jwk = serde_json::from_str(&serde_json::to_string(key.jwk()).unwrap()).unwrap();
        let checks = Validation::new(header.alg);
        let claims = decode::<Value>(&token, &DecodingKey::from_jwk(&jwk).unwrap(), &checks).unwrap().claims;
        assert_eq!(claims["sub"], "ü");
        let another = SigningKey::from_pkcs8(algorithm, &generate(algorithm).unwrap()).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        assert!(key.verifies(signed, signature) && !another.verifies(signed, signature));
        assert!(!key.verifies(signed, &signature[4..]) && !key.verifies(&signed[1..], signature));
        assert!(decode::<Value>(&token, &DecodingKey::from_jwk(another.jwk()).unwrap(), &checks).is_err());
        assert_ne!(key.kid(), another.kid());
    }

    #[rstest]
    // RFC 7638 section 3.1 and RFC 8037 appendix A.3.
    #[case(r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")]
    #[case(
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    )]
    fn the_thumbprint_is_the_standards(#[case] jwk: &str, #[case] thumbprint: &str) {
        let jwk: Jwk = serde_json::from_str(jwk).unwrap();
        assert_eq!(jwk.thumbprint(ThumbprintHash::SHA256).unwrap(), thumbprint);
    }

    #[test]
    fn a_published_key_has_no_private_part() {
        for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256] {
            let key = SigningKey::from_pkcs8(algorithm, &generate(algorithm).unwrap()).unwrap();
            let jwk = serde_json::to_value(key.jwk()).unwrap();
            let mut members: Vec<&str> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
            members.sort_unstable();
            let expected: &[&str] = match algorithm {
                Algorithm::ES256 => &["alg", "crv", "kid", "kty", "use", "x", "y"],
                Algorithm::EdDSA => &["alg", "crv", "kid", "kty", "use", "x"],
                Algorithm::RS256 => &["alg", "e", "kid", "kty", "n", "use"],
            };
            assert_eq!(members, expected);
            assert_eq!(format!("{key:?}"), format!("SigningKey({}, {})", name(algorithm), key.kid()));
        }
    }

    #[rstest]
    fn what_is_no_key_of_the_algorithm_is_refused(
        #[values(Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256)] algorithm: Algorithm,
        #[values(Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256)] other: Algorithm,
    ) {
        let der = generate(other).unwrap();
        assert_eq!(SigningKey::from_pkcs8(algorithm, &der).is_ok(), algorithm == other);
        let cut = &der[..der.len() - 1];
        assert_eq!(SigningKey::from_pkcs8(algorithm, cut).unwrap_err(), KeyError::NotAKey(name(algorithm)));
    }
}
