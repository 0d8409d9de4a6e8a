//! What a token says: the claims of the manual's HS256 tokens.

use serde::Serialize;

use super::issuer::Issuer;
use super::record::Owner;
use crate::api::Timestamp;

/// The claims of a token of the manual's endpoint, in the order in which the manual's sample has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LegacyClaims<'a> {
    /// The issuer's `legacy.subject`, filled in.
    pub sub: std::borrow::Cow<'a, str>,
    /// The issuer's `legacy.audience`.
    pub aud: &'a str,
    /// The client ID that was presented.
    #[serde(rename = "clientId")]
    pub client_id: &'a str,
    /// The issuer's `legacy.issuer`.
    pub iss: &'a str,
    /// Seconds since the Unix epoch (RFC 7519 section 4.1.4).
    pub exp: i64,
    /// Always `client_credentials`; the space in the name is the manual's.
    #[serde(rename = "grant type")]
    pub grant_type: &'static str,
    /// Existing groups of the account that hold for this issuer; the claim is absent without any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<&'a str>,
}

impl<'a> LegacyClaims<'a> {
    /// The claims of a token issued at `now`.
    #[must_use]
    pub fn new(issuer: &'a Issuer, account: &Owner, client_id: &'a str, groups: Vec<&'a str>, now: Timestamp) -> Self {
        Self {
            sub: issuer.legacy.subject_of(&account.namespace, &account.name),
            aud: &issuer.legacy.audience,
            client_id,
            iss: &issuer.legacy.issuer,
            exp: now.saturating_add(issuer.token_lifetime).unix(),
            grant_type: "client_credentials",
            groups,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::issuer::LegacySettings;
    use chrono::DateTime;

    fn owner() -> Owner {
        Owner { uid: "u".into(), namespace: "shop".into(), name: "exporter".into() }
    }

    fn at(unix: i64) -> Timestamp {
        Timestamp::from(DateTime::from_timestamp(unix, 0).unwrap())
    }

    #[test]
    fn the_payload_of_the_manuals_sample_token_is_reproduced_byte_for_byte() {
        let issuer = Issuer::built_in();
        let claims = LegacyClaims::new(
            &issuer,
            &owner(),
            "97074e41-8af9-456d-9a64-f0c4bb908048",
            vec![],
            at(1_650_369_367 - 3600),
        );
        assert_eq!(
            serde_json::to_string(&claims).unwrap(),
            r#"{"sub":"platform","aud":"avx","clientId":"97074e41-8af9-456d-9a64-f0c4bb908048","iss":"avx","exp":1650369367,"grant type":"client_credentials"}"#
        );
    }

    #[test]
    fn groups_come_last_and_the_subject_may_name_the_account() {
        let issuer = Issuer {
            legacy: LegacySettings { subject: "{namespace}/{name}".into(), ..Issuer::built_in().legacy },
            ..Issuer::built_in()
        };
        let claims = LegacyClaims::new(&issuer, &owner(), "id", vec!["deployers", "readers"], at(0));
        assert_eq!(
            serde_json::to_string(&claims).unwrap(),
            r#"{"sub":"shop/exporter","aud":"avx","clientId":"id","iss":"avx","exp":3600,"grant type":"client_credentials","groups":["deployers","readers"]}"#
        );
    }
}
