//! The main job as its user does it: wait for the account, read its Secret, ask for a token; then check the token.

use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use secrecy::{ExposeSecret, SecretString};

use super::steps::Steps;
use super::{ACCOUNT, NAMESPACE, SECRET};
use crate::api::{ConditionStatus, ServiceAccount};
use crate::controlplane::ControlPlane;
use crate::domain::names;

/// How long an account may take from its `kubectl apply` to Ready before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A token and what the demo needed to get it.
pub struct Grant {
    /// The published credential.
    pub client_id: String,
    /// Likewise.
    pub client_secret: SecretString,
    /// Where the token came from.
    pub token_url: String,
    /// The CA that the gateway's certificate is checked with, in PEM.
    pub ca_crt: String,
    /// The token's header and claims, decoded.
    pub decoded: (String, String),
}

/// Waits for the sample account, telling every few seconds what it waits for.
pub async fn wait_until_ready(control_plane: &ControlPlane, steps: &Steps) -> anyhow::Result<ServiceAccount> {
    let accounts: Api<ServiceAccount> = Api::namespaced(control_plane.client()?, NAMESPACE);
    let started = steps.elapsed();
    let mut looks = 0_u32;
    loop {
        let account =
            accounts.get(ACCOUNT).await.with_context(|| format!("cannot read the account {NAMESPACE}/{ACCOUNT}"))?;
        let ready = account.status.iter().flat_map(|status| &status.conditions).find(|c| c.type_ == "Ready");
        if ready.is_some_and(|ready| ready.status == ConditionStatus::True) {
            return Ok(account);
        }
        let state =
            ready.map_or_else(|| "not looked at yet".into(), |ready| format!("{}: {}", ready.reason, ready.message));
        if steps.elapsed() - started > PATIENCE {
            bail!("the account {NAMESPACE}/{ACCOUNT} is not Ready after {} s ({state})", PATIENCE.as_secs());
        }
        looks += 1;
        if looks.is_multiple_of(20) {
            steps.waiting(&format!("waiting for the account {NAMESPACE}/{ACCOUNT}: {state}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reads the Secret, asks for a token exactly as the manual says, and verifies it.
pub async fn get_and_verify(control_plane: &ControlPlane, port: u16) -> anyhow::Result<Grant> {
    let secrets: Api<Secret> = Api::namespaced(control_plane.client()?, NAMESPACE);
    let secret = secrets.get(SECRET).await.with_context(|| format!("cannot read the Secret {NAMESPACE}/{SECRET}"))?;
    let read = |key: &str| -> anyhow::Result<String> {
        let bytes = secret
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .with_context(|| format!("the Secret {SECRET} has no {key}"))?;
        String::from_utf8(bytes.0.clone()).with_context(|| format!("{key} in the Secret {SECRET} is not text"))
    };
    let (client_id, client_secret) = (read("client-id")?, SecretString::from(read("client-secret")?));
    let (token_url, ca_crt) = (read("token-url")?, read("ca.crt")?);
    let token = request(&token_url, &ca_crt, &client_id, &client_secret, port).await?;
    verify(control_plane, &token, &client_id).await?;
    Ok(Grant { decoded: decoded(&token)?, client_id, client_secret, token_url, ca_crt })
}

async fn request(
    token_url: &str,
    ca_crt: &str,
    client_id: &str,
    client_secret: &SecretString,
    port: u16,
) -> anyhow::Result<String> {
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(ca_crt.as_bytes())?])
        .resolve("localhost", ([127, 0, 0, 1], port).into())
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()?;
    let pair = STANDARD.encode(format!("{client_id}:{}", client_secret.expose_secret()));
    let answer = client
        .post(token_url)
        .header("Authorization", format!("Basic {pair}"))
        .header("Content-Type", "application/json")
        .body(r#"{"payload": {"grant_type": "Client_Credentials"}}"#)
        .send()
        .await
        .context("the gateway did not answer")?;
    let status = answer.status();
    let envelope: serde_json::Value =
        serde_json::from_slice(&answer.bytes().await?).context("the gateway answered no JSON")?;
    match envelope["response"].as_str() {
        Some(token) if status.is_success() => Ok(token.to_owned()),
        _ => bail!("the gateway refused: {status} {} {}", envelope["appStatusCode"], envelope["message"]),
    }
}

/// As a resource server would: with the issuer's key, for one algorithm, audience and issuer.
async fn verify(control_plane: &ControlPlane, token: &str, client_id: &str) -> anyhow::Result<()> {
    let own: Api<Secret> = Api::namespaced(control_plane.client()?, "keyrota-system");
    let keys = own.get(&names::signing_keys(names::DEFAULT_ISSUER)).await.context("cannot read the issuer's keys")?;
    let key = keys.data.as_ref().and_then(|data| data.get("legacy-current")).context("the issuer has no HS256 key")?;
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&["avx"]);
    validation.set_issuer(&["avx"]);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    let claims = decode::<serde_json::Value>(token, &DecodingKey::from_secret(&key.0), &validation)
        .context("the token cannot be verified with the issuer's key")?
        .claims;
    if claims["clientId"] != client_id {
        bail!("the token is for another client ID");
    }
    Ok(())
}

/// Header and claims as text, each on one line.
fn decoded(token: &str) -> anyhow::Result<(String, String)> {
    let mut parts = token.split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).context("the token is not base64url")?;
        String::from_utf8(bytes).context("the token is not text")
    });
    let (header, claims) = parts.next().zip(parts.next()).context("the token has no three parts")?;
    Ok((header?, claims?))
}
