//! Keycloak as the foreign issuer of an External account.

use std::path::PathBuf;
use std::process::Command;

use chrono::TimeDelta;
use keyrota::clock::ManualClock;
use serde_json::json;

use super::common::eventually;
use super::common::idp::certificate;
use super::common::keycloak::{self, CLIENT, Keycloak, LIFESPAN, Tls};
use super::common::operator::{Gateway, Operator, SOON};
use super::common::receiver::TestIssuer;
use super::common::tools::installed;

/// Whom the realm's tokens are for.
const OURS: &str = "https://tokens.example";

fn home() -> Option<PathBuf> {
    installed(&format!("keycloak-{}", keycloak::VERSION), "mvn", |home| keycloak::install(home).unwrap())
}

/// What the two endpoints answer to it, at this host.
async fn answers(gateway: &Gateway, host: &str, assertion: &str) -> [u16; 2] {
    [gateway.token_for(host, assertion).await.0, gateway.oauth_token_for(host, assertion).await.0]
}

/// The gateway reads the keys again a minute after it has tried: a cold Java answers too late at first.
async fn comes_to_be_granted(gateway: &Gateway, clock: &ManualClock, host: &str, assertion: &str) {
    let mut looks = 0;
    eventually("granted at both endpoints", 3 * SOON, async || {
        looks += 1;
        if looks % 20 == 0 {
            clock.advance(TimeDelta::minutes(1));
        }
        (answers(gateway, host, assertion).await == [200, 200]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "Keycloak is 170 MB and takes half a minute to start: `just keycloak`"]
async fn a_client_of_keycloak_gets_tokens_with_keycloaks_and_goes_on_when_that_changes_its_key() {
    let Some(home) = home() else { return };
    let (mut operator, clock) = Operator::on_manual_clock().await;
    let folder = tempfile::tempdir().unwrap();
    let [ca, chain, key] = ["ca.pem", "tls.crt", "tls.key"].map(|name| folder.path().join(name));
    let (authority, certificate, private) = certificate();
    for (path, text) in [(&ca, authority), (&chain, certificate), (&key, private)] {
        std::fs::write(path, text).unwrap();
    }
    let tls = Tls { certificate: &chain, key: &key };
    let keycloak = Keycloak::start(Command::new("sh"), &home, Some(tls)).await.unwrap();

    let host = format!("{}.example", operator.tenant.name);
    let trusted = json!([{
        "name": "keycloak", "issuer": keycloak.issuer(), "clientIdClaim": "azp",
        "jwksUri": format!("{}/protocol/openid-connect/certs", keycloak.issuer()),
    }]);
    let spec = json!({"hosts": [host], "oauth": {"issuer": OURS}, "trustedIssuers": trusted});
    let _issuer = TestIssuer::of(operator.control_plane, &operator.tenant.name, spec).await;
    let external = json!({"mode": "External", "externalClientId": CLIENT.0, "trustedIssuer": "keycloak"});
    operator.ready("robot", json!({"authentication": external})).await;
    let allowed = keycloak.origin.trim_start_matches("https://");
    let ca = ca.to_str().unwrap();
    let flags = ["--jwks-allowed-host", allowed, "--jwks-allowed-network", "127.0.0.0/8", "--jwks-ca-file", ca];
    // Its watches are silent while an hour passes in no time.
    operator.gateway_flags = flags.into_iter().chain(["--max-stale", "24h"]).map(str::to_owned).collect();
    let gateway = operator.start_gateway().await;

    let first = keycloak.token().await.unwrap();
    comes_to_be_granted(&gateway, &clock, &host, &first).await;
    let (content, signature) = first.rsplit_once('.').unwrap();
    let reversed: String = signature.chars().rev().collect();
    assert_eq!(answers(&gateway, &host, &format!("{content}.{reversed}")).await, [400, 401]);

    keycloak.rotate_key().await.unwrap();
    let second = keycloak.token().await.unwrap();
    let key_of = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    assert_ne!(key_of(&first), key_of(&second));
    comes_to_be_granted(&gateway, &clock, &host, &second).await;
    assert_eq!(answers(&gateway, &host, &first).await, [200, 200], "its key is still published");

    clock.advance(TimeDelta::seconds(LIFESPAN));
    assert_eq!(answers(&gateway, &host, &second).await, [400, 401], "it has expired");
}
