//! UserGroups and TokenIssuers, case by case.

use serde_json::{Value, json};

use super::By::{Admission, Both};
use super::{Kind, Refused, Server};

fn trusted(more: Value) -> Value {
    let mut issuer = json!({"name": "ci", "issuer": "https://ci.example.com"});
    for (key, value) in more.as_object().unwrap() {
        issuer[key] = value.clone();
    }
    json!({"trustedIssuers": [issuer]})
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("n-{n}.example")).collect()
}

#[tokio::test]
async fn issuers_at_the_edges_are_let_in_and_read() {
    let server = Server::new().await;
    server.accepts(Kind::TokenIssuer, [
        json!({}),
        json!({"gracePeriod": "0s", "tokenLifetime": "60s"}),
        json!({"gracePeriod": "24h", "tokenLifetime": "24h"}),
        json!({"gracePeriod": "23h59m60s", "tokenLifetime": "1m"}),
        json!({"hosts": numbered(64)}),
        json!({"hosts": ["localhost", "xn--mnchen-3ya.example", "1.tokens.example.com"]}),
        json!({"namespaces": (0..256).map(|n| format!("ns-{n}")).collect::<Vec<_>>()}),
        json!({"legacy": {"enabled": false}, "oauth": {"enabled": false}}),
        json!({"legacy": {"subject": "{namespace}/{name}", "audience": "a b", "issuer": "x".repeat(255)}}),
        json!({"legacy": {"publishKeyTo": {"namespace": "api", "secretName": "keys.legacy"}}}),
        json!({"oauth": {"issuer": "https://tokens.example.com:8443/tenant/a", "algorithm": "EdDSA"}}),
        json!({"oauth": {"issuer": "https://[::1]:31443", "audiences": ["https://api.example.com", "urn:api"]}}),
        json!({"keys": {"rotation": "24h", "regenerate": 9_007_199_254_740_993_i64, "revokeOld": true}}),
        trusted(json!({"kubernetes": true})),
        trusted(json!({"jwks": "{\"keys\": []}"})),
        trusted(json!({"jwksUri": "https://ci.example.com/.well-known/jwks"})),
        trusted(json!({"jwksUri": "https://localhost:8443/keys?p=policy"})),
        trusted(json!({"kubernetes": false, "jwksUri": "https://ci", "audience": "x", "clientIdClaim": "azp"})),
        json!({"notifications": {"adminRecipients": ["a@example.com"], "webhook": "http://events.default.svc/hook"}}),
    ])
    .await;
}

#[tokio::test]
async fn bad_times_and_names_of_an_issuer_are_refused_by_name() {
    let grace = |text: &str| json!({"gracePeriod": text});
    let lifetime = |text: &str| json!({"tokenLifetime": text});
    let hosts = |host: &str| json!({"hosts": [host]});
    let cases: Vec<Refused> = vec![
        (Both, grace("24h1s"), "gracePeriod"),
        (Both, grace("25h"), "gracePeriod"),
        (Both, grace("-0"), "gracePeriod"),
        (Both, grace("-1s"), "gracePeriod"),
        (Both, grace("1ns"), "gracePeriod"),
        (Both, grace("P1D"), "gracePeriod"),
        (Both, grace("NaN"), "gracePeriod"),
        (Both, grace(""), "gracePeriod"),
        (Both, grace("999999h999999h999999h999999h"), "gracePeriod"),
        (Both, json!({"gracePeriod": 0}), "gracePeriod"),
        (Both, lifetime("59s"), "tokenLifetime"),
        (Both, lifetime("0s"), "tokenLifetime"),
        (Both, lifetime("24h1s"), "tokenLifetime"),
        (Both, lifetime("999999h999999h999999h999999h"), "tokenLifetime"),
        (Both, lifetime("1h30"), "tokenLifetime"),
        (Admission, hosts(""), "hosts"),
        (Admission, hosts("Tokens.example.com"), "hosts"),
        (Admission, hosts("tokens.example.com:31443"), "hosts"),
        (Admission, hosts("tokens.example.com."), "hosts"),
        (Admission, hosts("*.example.com"), "hosts"),
        (Admission, hosts("https://tokens.example.com"), "hosts"),
        (Admission, hosts("münchen.example"), "hosts"),
        // Addresses belong to the issuer default.
        (Admission, hosts("127.0.0.1"), "hosts"),
        (Admission, hosts("::1"), "hosts"),
        (Admission, hosts(&"a".repeat(254)), "hosts"),
        (Admission, json!({"hosts": ["a.example", "a.example"]}), "hosts"),
        (Admission, json!({"hosts": numbered(65)}), "hosts"),
        (Admission, json!({"namespaces": ["Team-A"]}), "namespaces"),
        (Admission, json!({"namespaces": ["a".repeat(64)]}), "namespaces"),
        (Admission, json!({"namespaces": ["a", "a"]}), "namespaces"),
        (Admission, json!({"namespaces": (0..257).map(|n| format!("ns-{n}")).collect::<Vec<_>>()}), "namespaces"),
    ];
    Server::new().await.refuses(Kind::TokenIssuer, cases).await;
}

#[tokio::test]
async fn bad_endpoints_keys_and_recipients_of_an_issuer_are_refused_by_name() {
    let issuer = |url: &str| json!({"oauth": {"issuer": url}});
    let recipients = |address: &str| json!({"notifications": {"adminRecipients": [address]}});
    let webhook = |url: &str| json!({"notifications": {"webhook": url}});
    let cases: Vec<Refused> = vec![
        (Admission, issuer("http://tokens.example.com"), "oauth.issuer"),
        (Admission, issuer("https://tokens.example.com?a=b"), "oauth.issuer"),
        (Admission, issuer("https://tokens.example.com/#x"), "oauth.issuer"),
        (Admission, issuer("https://user@tokens.example.com"), "oauth.issuer"),
        (Admission, issuer("https://tokens.example.com/\u{1b}"), "oauth.issuer"),
        (Admission, issuer("https://"), "oauth.issuer"),
        (Both, json!({"oauth": {"algorithm": "HS256"}}), "oauth.algorithm"),
        (Both, json!({"oauth": {"algorithm": "none"}}), "oauth.algorithm"),
        (Both, json!({"oauth": {"algorithm": "es256"}}), "oauth.algorithm"),
        (Admission, json!({"oauth": {"audiences": ["a", "a"]}}), "oauth.audiences"),
        (Admission, json!({"oauth": {"audiences": [""]}}), "oauth.audiences"),
        (Admission, json!({"oauth": {"audiences": numbered(33)}}), "oauth.audiences"),
        (Admission, json!({"legacy": {"subject": ""}}), "legacy.subject"),
        (Admission, json!({"legacy": {"audience": "a\nb"}}), "legacy.audience"),
        (Admission, json!({"legacy": {"issuer": "x".repeat(256)}}), "legacy.issuer"),
        (Both, json!({"legacy": {"publishKeyTo": {"namespace": "api"}}}), "legacy.publishKeyTo.secretName"),
        (Both, json!({"legacy": {"publishKeyTo": {"secretName": "keys"}}}), "legacy.publishKeyTo.namespace"),
        (
            Admission,
            json!({"legacy": {"publishKeyTo": {"namespace": "a/b", "secretName": "keys"}}}),
            "legacy.publishKeyTo.namespace",
        ),
        (
            Admission,
            json!({"legacy": {"publishKeyTo": {"namespace": "api", "secretName": "../keys"}}}),
            "legacy.publishKeyTo.secretName",
        ),
        (Admission, json!({"keys": {"rotation": "23h59m59s"}}), "keys.rotation"),
        (Admission, json!({"keys": {"rotation": "90d"}}), "keys.rotation"),
        (Admission, json!({"keys": {"rotation": "999999h999999h999999h999999h"}}), "keys.rotation"),
        (Admission, json!({"keys": {"regenerate": -1}}), "keys.regenerate"),
        (Both, json!({"keys": {"revokeOld": "true"}}), "keys.revokeOld"),
        (Admission, recipients("Admins <a@example.com>"), "notifications.adminRecipients"),
        (Admission, recipients("a@example.com\r\nBcc: b@example.com"), "notifications.adminRecipients"),
        (Admission, recipients("a@example.com\u{0}"), "notifications.adminRecipients"),
        (
            Admission,
            json!({"notifications": {"adminRecipients": (0..33).map(|n| format!("a{n}@b.c")).collect::<Vec<_>>()}}),
            "notifications.adminRecipients",
        ),
        (Admission, webhook("ftp://example.com"), "notifications.webhook"),
        (Admission, webhook("https://example.com/a b"), "notifications.webhook"),
        (Admission, webhook("javascript:alert(1)"), "notifications.webhook"),
    ];
    Server::new().await.refuses(Kind::TokenIssuer, cases).await;
}

#[tokio::test]
async fn a_trusted_issuer_has_one_source_of_keys_and_that_is_https() {
    let uri = |uri: &str| trusted(json!({"jwksUri": uri}));
    let twice = json!({"name": "ci", "issuer": "https://a", "kubernetes": true});
    let many: Vec<_> =
        (0..17).map(|n| json!({"name": format!("n{n}"), "issuer": "https://a", "kubernetes": true})).collect();
    let one = "trustedIssuers: give exactly one of jwks, jwksUri and kubernetes";
    let cases: Vec<Refused> = vec![
        (Admission, trusted(json!({})), one),
        (Admission, trusted(json!({"kubernetes": false})), one),
        (Admission, trusted(json!({"kubernetes": true, "jwks": "{}"})), one),
        (Admission, trusted(json!({"jwks": "{}", "jwksUri": "https://ci.example.com/jwks"})), one),
        (Admission, trusted(json!({"kubernetes": true, "jwksUri": "https://ci.example.com/jwks"})), one),
        (Admission, uri("http://ci.example.com/jwks"), "trustedIssuers[0].jwksUri"),
        (Admission, uri("HTTPS://ci.example.com/jwks"), "trustedIssuers[0].jwksUri"),
        (Admission, uri("file:///etc/passwd"), "trustedIssuers[0].jwksUri"),
        (Admission, uri("https://user:password@ci.example.com/jwks"), "trustedIssuers[0].jwksUri"),
        (Admission, uri("https://127.0.0.1/jwks"), "trustedIssuers[0].jwksUri"),
        (Admission, uri("https://169.254.169.254/latest/meta-data"), "trustedIssuers[0].jwksUri"),
        (Admission, uri("https://2130706433/jwks"), "trustedIssuers[0].jwksUri"),
        (Admission, uri("https://[::1]/jwks"), "trustedIssuers[0].jwksUri"),
        (Admission, uri("https://ci.example.com/jwks#key"), "trustedIssuers[0].jwksUri"),
        (Admission, uri("https://ci.example.com/a b"), "trustedIssuers[0].jwksUri"),
        (Admission, uri("https://ci.example.com\r\nHost: a"), "trustedIssuers[0].jwksUri"),
        (Admission, trusted(json!({"kubernetes": true, "name": ""})), "trustedIssuers[0].name"),
        (Admission, trusted(json!({"kubernetes": true, "issuer": "a\tb"})), "trustedIssuers[0].issuer"),
        (Admission, trusted(json!({"kubernetes": true, "clientIdClaim": ""})), "trustedIssuers[0].clientIdClaim"),
        (Admission, trusted(json!({"jwks": "x".repeat(65537)})), "trustedIssuers[0].jwks"),
        (Both, json!({"trustedIssuers": [{"name": "ci", "kubernetes": true}]}), "trustedIssuers[0].issuer"),
        (Admission, json!({"trustedIssuers": [twice.clone(), twice]}), "trustedIssuers[1]"),
        (Admission, json!({"trustedIssuers": many}), "trustedIssuers"),
    ];
    Server::new().await.refuses(Kind::TokenIssuer, cases).await;
}

#[tokio::test]
async fn an_issuers_name_leaves_room_for_the_names_that_derive_from_it() {
    let server = Server::new().await;
    let mut object = Kind::TokenIssuer.object(json!({}));
    object["metadata"]["name"] = "a".repeat(63).into();
    server.dry_run(Kind::TokenIssuer, &object).await.unwrap();
    object["metadata"]["name"] = "a".repeat(64).into();
    let message = server.dry_run(Kind::TokenIssuer, &object).await.unwrap_err();
    assert!(message.contains("metadata.name must be at most 63 characters"), "{message}");
}

#[tokio::test]
async fn groups_hold_scopes_and_claims_that_fit_a_token() {
    let server = Server::new().await;
    let claims = |count: usize| -> Value {
        (0..count).map(|n| (format!("claim-{n}"), json!("x"))).collect::<serde_json::Map<_, _>>().into()
    };
    server.accepts(Kind::UserGroup, [
        json!({}),
        json!({"scopes": ["read", "https://api.example.com/deploy", "a:b.c"]}),
        json!({"scopes": numbered(128)}),
        json!({"claims": {"tier": "gold", "https://example.com/claims/x": "", "iss": "not a real iss, it is nested"}}),
        json!({"claims": claims(64)}),
        json!({"claims": {"long": "x".repeat(1024)}}),
        json!({"issuers": ["default", "acme"]}),
    ])
    .await;
    server
        .refuses(
            Kind::UserGroup,
            [
                (Admission, json!({"scopes": [""]}), "scopes"),
                (Admission, json!({"scopes": ["two words"]}), "scopes"),
                (Admission, json!({"scopes": ["quote\""]}), "scopes"),
                (Admission, json!({"scopes": ["back\\slash"]}), "scopes"),
                (Admission, json!({"scopes": ["ü"]}), "scopes"),
                (Admission, json!({"scopes": ["a", "a"]}), "scopes"),
                (Admission, json!({"scopes": ["x".repeat(256)]}), "scopes"),
                (Admission, json!({"scopes": numbered(129)}), "scopes"),
                (Admission, json!({"claims": {"": "x"}}), "claims"),
                (Admission, json!({"claims": {"a b": "x"}}), "claims"),
                (Admission, json!({"claims": {"x".repeat(254): "x"}}), "claims"),
                (Admission, json!({"claims": {"long": "x".repeat(1025)}}), "claims"),
                (Admission, json!({"claims": claims(65)}), "claims"),
                (Both, json!({"claims": {"admin": true}}), "claims"),
                (Both, json!({"claims": {"nested": {}}}), "claims"),
                (Admission, json!({"issuers": ["Default"]}), "issuers"),
                (Admission, json!({"issuers": ["a", "a"]}), "issuers"),
                (Admission, json!({"issuers": ["a".repeat(64)]}), "issuers"),
            ],
        )
        .await;
}
