//! Secrets that stand where the gateway can read nothing, read live whenever they are needed: the credentials of the mail
//! server and the keys of webhooks.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;
use thiserror::Error;

use crate::config::CALL_TIMEOUT;

/// Which Secret: `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    namespace: String,
    name: String,
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for SecretName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        };
        match text.split_once('/') {
            Some((namespace, name)) if fits(namespace) && fits(name) => {
                Ok(Self { namespace: namespace.into(), name: name.into() })
            }
            _ => Err("a Secret is written as NAMESPACE/NAME"),
        }
    }
}

/// Why a Secret gives nothing. Names the Secret and the key, never a content.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SecretError {
    /// The API server does not give it out.
    #[error("the Secret {0} cannot be read: {1}")]
    Unread(SecretName, String),
    /// It has no such key.
    #[error("the Secret {0} has no key {1}")]
    NoKey(SecretName, &'static str),
    /// What stands under the key is no text.
    #[error("the key {1} of the Secret {0} is no UTF-8 text")]
    NoText(SecretName, &'static str),
}

/// A Secret that is read afresh each time, so that a change needs no restart and nothing is kept.
#[derive(Clone)]
pub struct LiveSecret {
    name: SecretName,
    secrets: Api<Secret>,
}

impl fmt::Debug for LiveSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the Secret {}", self.name)
    }
}

impl LiveSecret {
    /// Read as this client's user.
    #[must_use]
    pub fn new(name: SecretName, client: &Client) -> Self {
        Self { secrets: Api::namespaced(client.clone(), &name.namespace), name }
    }

    /// Reads it, within [`CALL_TIMEOUT`].
    ///
    /// # Errors
    /// When the API server does not give it out.
    pub async fn read(&self) -> Result<Content, SecretError> {
        let unread = |problem: String| SecretError::Unread(self.name.clone(), problem);
        let read = tokio::time::timeout(CALL_TIMEOUT, self.secrets.get(&self.name.name)).await;
        let read = read.map_err(|_| unread(format!("no answer within {} s", CALL_TIMEOUT.as_secs())))?;
        let secret = read.map_err(|error| unread(why(&error)))?;
        Ok(Content { name: self.name.clone(), data: secret.data.unwrap_or_default() })
    }
}

/// Never the words of a parser: those may quote the object.
fn why(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 404 => "it does not exist (404)".into(),
        kube::Error::Api(status) if status.code == 403 => "the API server forbids it (403)".into(),
        kube::Error::Api(status) => format!("the API server answered {}", status.code),
        _ => "the API server did not answer".into(),
    }
}

/// What stood in a Secret when it was read.
pub struct Content {
    name: SecretName,
    data: BTreeMap<String, ByteString>,
}

impl Content {
    /// The text under a key, without the line end that editors put there.
    ///
    /// # Errors
    /// When there is none, or it is no text.
    pub fn text(&self, key: &'static str) -> Result<SecretString, SecretError> {
        let bytes = self.data.get(key).ok_or_else(|| SecretError::NoKey(self.name.clone(), key))?;
        let text = std::str::from_utf8(&bytes.0).map_err(|_| SecretError::NoText(self.name.clone(), key))?;
        Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
    }

    /// The bytes under a key that may be missing.
    #[must_use]
    pub fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.data.get(key).map(|bytes| bytes.0.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use secrecy::ExposeSecret;

    fn content(key: &str, value: &[u8]) -> Content {
        let data = BTreeMap::from([(key.to_owned(), ByteString(value.to_vec()))]);
        Content { name: "mail/smtp".parse().unwrap(), data }
    }

    #[rstest]
    #[case("")]
    #[case("smtp")]
    #[case("/smtp")]
    #[case("mail/")]
    #[case("mail/smtp/password")]
    #[case("mail/../smtp")]
    #[case("Mail/smtp")]
    fn what_names_no_secret_is_refused(#[case] text: &str) {
        assert!(text.parse::<SecretName>().is_err(), "{text}");
    }

    #[test]
    fn a_line_end_is_not_part_of_a_password() {
        assert_eq!(
            content("password", b"correct horse\r\n").text("password").unwrap().expose_secret(),
            "correct horse"
        );
    }

    #[test]
    fn errors_name_the_secret_and_the_key_and_nothing_else() {
        let missing = content("pass", b"hidden").text("password").unwrap_err();
        assert_eq!(missing.to_string(), "the Secret mail/smtp has no key password");
        let garbled = content("password", b"hidden\xff").text("password").unwrap_err();
        assert_eq!(garbled.to_string(), "the key password of the Secret mail/smtp is no UTF-8 text");
    }
}
