//! Notices as CloudEvents over HTTP, signed as Standard Webhooks wants it
//! (<https://github.com/standard-webhooks/standard-webhooks>): `v1`, HMAC-SHA-256.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

use super::outbox::Fault;
use crate::api::Timestamp;
use crate::domain::notice::letter::{Facts, cloud_event};
use crate::secrets::LiveSecret;

/// A receiver has this long for everything.
const TIMEOUT: Duration = Duration::from_secs(10);

/// CloudEvents in structured mode.
const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// Secret keys; of several, each signs, so that a receiver can change from one to the next.
#[derive(Clone)]
pub struct Keys(Arc<Vec<hmac::Key>>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} …)", self.0.len())
    }
}

/// Where the keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// They were read at the start.
    Known(Keys),
    /// From the key `keys` of a Secret, for every notice.
    Secret(Box<LiveSecret>),
}

impl KeySource {
    /// The keys as they are now.
    ///
    /// # Errors
    /// When the Secret cannot be read or holds no usable key; nothing of it is quoted.
    pub async fn now(&self) -> anyhow::Result<Keys> {
        match self {
            Self::Known(keys) => Ok(keys.clone()),
            Self::Secret(secret) => {
                let text = secret.read().await?.text("keys")?;
                Keys::parse(text.expose_secret()).with_context(|| format!("the key keys of {secret:?} cannot be used"))
            }
        }
    }
}

impl Keys {
    /// Reads a file of keys.
    ///
    /// # Errors
    /// When it cannot be read, or holds none; nothing of it is quoted.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read --webhook-key-file {shown}"))?;
        Self::parse(&text).with_context(|| format!("--webhook-key-file {shown} cannot be used"))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut keys = Vec::new();
        for word in text.split_whitespace() {
            let encoded = word.strip_prefix("whsec_").context("a key does not begin with whsec_")?;
            let bytes = STANDARD.decode(encoded).ok().context("a key is not base64 after whsec_")?;
            // What Standard Webhooks asks for.
            ensure!((24..=64).contains(&bytes.len()), "a key has {} bytes, not 24 to 64", bytes.len());
            keys.push(hmac::Key::new(hmac::HMAC_SHA256, &bytes));
        }
        ensure!(!keys.is_empty(), "it holds no key: write whsec_ and 32 random bytes in base64 into it");
        Ok(Self(Arc::new(keys)))
    }

    fn sign(&self, id: &str, time: Timestamp, body: &str) -> String {
        let content = format!("{id}.{}.{body}", time.unix());
        let one = |key| format!("v1,{}", STANDARD.encode(hmac::sign(key, content.as_bytes())));
        self.0.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

/// A client that follows nobody elsewhere.
///
/// # Errors
/// When there is no TLS to be had.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("keyrota/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
}

/// Delivers one notice; 2xx is delivered.
pub async fn send(http: &reqwest::Client, keys: &KeySource, url: &str, facts: &Facts) -> Result<(), Fault> {
    let keys = keys.now().await.map_err(|error| Fault::unkeyed(&error))?;
    let (id, body) = (facts.id(), cloud_event(facts).to_string());
    let request = http
        .post(url)
        .header("content-type", CONTENT_TYPE)
        .header("webhook-id", &id)
        .header("webhook-timestamp", facts.now.unix())
        .header("webhook-signature", keys.sign(&id, facts.now, &body));
    match request.body(body).send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(Fault::server(format!("the webhook answered {}", answer.status().as_u16()))),
        Err(error) => Err(Fault::server(why(&error))),
    }
}

/// Without the URL: whoever knows it may be able to use it.
fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        format!("the webhook did not answer within {} s", TIMEOUT.as_secs())
    } else if error.is_connect() {
        "the webhook cannot be reached".into()
    } else if error.is_builder() {
        "the webhook's URL cannot be used".into()
    } else {
        "the webhook broke off".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn a_signature_is_that_of_the_standards_own_example() {
        let keys = Keys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let time = Timestamp::from(chrono::DateTime::from_timestamp(1_614_265_330, 0).unwrap());
        let signature = keys.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time, "{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn of_two_keys_each_signs() {
        let keys =
            Keys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        let time = Timestamp::from(chrono::DateTime::UNIX_EPOCH);
        let signatures = keys.sign("a", time, "{}");
        let (first, second) = signatures.split_once(' ').unwrap();
        assert!(first.starts_with("v1,") && second.starts_with("v1,") && first != second);
    }

    #[rstest]
    #[case("", "no key")]
    #[case("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_")]
    #[case("whsec_secret!", "not base64")]
    #[case("whsec_c2hvcnQ=", "5 bytes")]
    fn a_key_that_cannot_be_used_is_refused_without_being_quoted(#[case] text: &str, #[case] problem: &str) {
        let error = format!("{:#}", Keys::parse(text).unwrap_err());
        assert!(error.contains(problem) && !error.contains("secret!") && !error.contains("MfKQ"), "{error}");
    }

    #[test]
    fn no_key_is_ever_shown() {
        let keys = Keys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{keys:?}"), "Keys(1 …)");
    }
}
