//! Foreign issuers' key pairs and tokens for tests.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// A foreign issuer's key pair.
pub(crate) struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
}

/// One of P-256.
pub(crate) static EC: LazyLock<Signer> = LazyLock::new(Signer::ec);
/// Another of P-256.
pub(crate) static OTHER: LazyLock<Signer> = LazyLock::new(Signer::ec);

impl Signer {
    fn ec() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let der = pair.to_pkcs8v1().unwrap();
        Self { algorithm: Algorithm::ES256, key: EncodingKey::from_ec_der(der.as_ref()) }
    }

    /// One of RSA, 2048 bits; made once.
    pub(crate) fn rsa() -> &'static Self {
        static RSA: LazyLock<Signer> = LazyLock::new(|| {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
            // The library takes PKCS#1, which PKCS#8 wraps in 26 bytes at this size.
            Signer { algorithm: Algorithm::RS256, key: EncodingKey::from_rsa_der(&der.as_ref()[26..]) }
        });
        &RSA
    }

    /// One of Ed25519.
    pub(crate) fn ed() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let der = pair.to_pkcs8v1().unwrap();
        Self { algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_der(der.as_ref()) }
    }

    /// Its public key.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap()).unwrap();
        jwk["kid"] = json!(kid);
        jwk
    }

    /// A set of its public key alone.
    pub(crate) fn set(&self, kid: &str) -> String {
        json!({"keys": [self.jwk(kid)]}).to_string()
    }

    /// A token with exactly this header and these claims, each as text.
    pub(crate) fn sign_texts(&self, header: &str, claims: &str) -> String {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// A token of its key `kid`.
    pub(crate) fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm, "kid": kid, "typ": "JWT"});
        self.sign_texts(&header.to_string(), &claims.to_string())
    }
}
