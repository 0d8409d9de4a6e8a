//! What a token says: the claims of the manual's HS256 tokens, and those of OAuth access tokens (RFC 9068).

use std::collections::BTreeMap;

use super::issuer::Issuer;
use super::json::Object;
use super::record::Owner;
use crate::api::Timestamp;

/// The claims of a token of the manual's endpoint, in the order in which the manual's sample has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyClaims<'a> {
    /// The issuer's `legacy.subject`, filled in.
    pub sub: std::borrow::Cow<'a, str>,
    /// The issuer's `legacy.audience`.
    pub aud: &'a str,
    /// The client ID that was presented; `clientId` in the token.
    pub client_id: &'a str,
    /// The issuer's `legacy.issuer`.
    pub iss: &'a str,
    /// Seconds since the Unix epoch (RFC 7519 section 4.1.4).
    pub exp: i64,
    /// Existing groups of the account that hold for this issuer; the claim is absent without any.
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
            groups,
        }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let Self { sub, aud, client_id, iss, exp, groups } = self;
        let mut json = Object::new();
        json.text("sub", sub);
        json.text("aud", aud);
        json.text("clientId", client_id);
        json.text("iss", iss);
        json.number("exp", *exp);
        // The space in the name is the manual's.
        json.plain("grant type", "client_credentials");
        if !groups.is_empty() {
            json.texts("groups", groups);
        }
        json.end()
    }
}

/// The claims of a token of the standard endpoint (RFC 9068 section 2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessClaims<'a> {
    /// The issuer's URL.
    pub iss: &'a str,
    /// The client ID: no person is involved, so the subject is the client (RFC 9068 section 2.2).
    pub sub: &'a str,
    /// Whom it is for.
    pub aud: Audience<'a>,
    /// Seconds since the Unix epoch.
    pub exp: i64,
    /// Likewise.
    pub iat: i64,
    /// See [`TokenId`].
    pub jti: String,
    /// The client ID that was presented.
    pub client_id: &'a str,
    /// Separated by spaces; the claim is absent without any.
    pub scope: Option<&'a str>,
    /// Existing groups of the account that hold for this issuer; the claim is absent without any.
    pub groups: Vec<&'a str>,
    /// The account's; `keyrota.dev/namespace` in the token.
    pub namespace: &'a str,
    /// The groups' static claims, `keyrota.dev/claims` in the token; absent without any.
    pub claims: BTreeMap<&'a str, &'a str>,
}

impl AccessClaims<'_> {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let Self { iss, sub, aud, exp, iat, jti, client_id, scope, groups, namespace, claims } = self;
        let mut json = Object::new();
        json.text("iss", iss);
        json.text("sub", sub);
        match aud {
            Audience::One(one) => json.text("aud", one),
            Audience::Several(all) => json.texts("aud", all),
        }
        json.number("exp", *exp);
        json.number("iat", *iat);
        json.text("jti", jti);
        json.text("client_id", client_id);
        if let Some(scope) = scope {
            json.text("scope", scope);
        }
        if !groups.is_empty() {
            json.texts("groups", groups);
        }
        json.text("keyrota.dev/namespace", namespace);
        if !claims.is_empty() {
            json.map("keyrota.dev/claims", claims.iter().map(|(name, value)| (*name, *value)));
        }
        json.end()
    }
}

/// One audience is a string, several are an array (RFC 7519 section 4.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience<'a> {
    /// One.
    One(&'a str),
    /// Several.
    Several(Vec<&'a str>),
}

impl<'a> From<Vec<&'a str>> for Audience<'a> {
    fn from(all: Vec<&'a str>) -> Self {
        match all.as_slice() {
            [one] => Self::One(one),
            _ => Self::Several(all),
        }
    }
}

/// The claim `jti`: `<credential version>.<account UID>.<random>`. By the first two, introspection finds what a token
/// rests on, also when the client ID in it is no longer anybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenId<'a> {
    /// The version whose secret was presented.
    pub version: i64,
    /// The account.
    pub uid: &'a str,
}

impl<'a> TokenId<'a> {
    /// The claim.
    #[must_use]
    pub fn with(self, random: [u8; 16]) -> String {
        let version = self.version.to_string();
        let mut claim = String::with_capacity(version.len() + self.uid.len() + 2 + 2 * random.len());
        for part in [&version, ".", self.uid, "."] {
            claim.push_str(part);
        }
        // Every token has one, and by `format!` it took 2,200 instructions.
        for digit in random.into_iter().flat_map(|byte| [byte >> 4, byte & 0xf]) {
            claim.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
        claim
    }

    /// What a claim says.
    #[must_use]
    pub fn parse(jti: &'a str) -> Option<Self> {
        let (version, rest) = jti.split_once('.')?;
        let (uid, _) = rest.rsplit_once('.')?;
        Some(Self { version: version.parse().ok()?, uid })
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
            claims.to_json(),
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
            claims.to_json(),
            r#"{"sub":"shop/exporter","aud":"avx","clientId":"id","iss":"avx","exp":3600,"grant type":"client_credentials","groups":["deployers","readers"]}"#
        );
    }

    #[test]
    fn an_access_token_has_the_claims_of_rfc_9068_and_leaves_out_what_is_empty() {
        let mut claims = AccessClaims {
            iss: "https://tokens.example.com",
            sub: "id",
            aud: vec!["https://api.example.com"].into(),
            exp: 3600,
            iat: 0,
            jti: TokenId { version: 3, uid: "u-1" }.with([0xab; 16]),
            client_id: "id",
            scope: None,
            groups: vec![],
            namespace: "shop",
            claims: BTreeMap::new(),
        };
        assert_eq!(
            claims.to_json(),
            r#"{"iss":"https://tokens.example.com","sub":"id","aud":"https://api.example.com","exp":3600,"iat":0,"jti":"3.u-1.abababababababababababababababab","client_id":"id","keyrota.dev/namespace":"shop"}"#
        );
        claims.aud = vec!["a", "b"].into();
        claims.scope = Some("read write");
        claims.groups = vec!["readers"];
        claims.claims = [("tier", "gold")].into();
        let json: serde_json::Value = serde_json::from_str(&claims.to_json()).unwrap();
        assert_eq!(json["aud"], serde_json::json!(["a", "b"]));
        assert_eq!(json["keyrota.dev/claims"], serde_json::json!({"tier": "gold"}));
        assert_eq!((&json["scope"], &json["groups"][0]), (&"read write".into(), &"readers".into()));
    }

    #[test]
    fn a_token_id_tells_version_and_account_again() {
        let id = TokenId { version: 12, uid: "0b0d6fa4-7b0e-4d7e-9a5f-1f2f3f4f5f6f" };
        assert_eq!(TokenId::parse(&id.with([7; 16])), Some(id));
        for other in ["", "1", "1.u", "x.u.r", ".u.r"] {
            assert_eq!(TokenId::parse(other), None, "{other}");
        }
    }
}
