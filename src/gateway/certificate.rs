//! The gateway's certificate: a `kubernetes.io/tls` Secret, watched, and exchanged without a restart.

use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client};
use rustls::ServerConfig;
use thiserror::Error;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::config::WATCH_TIMEOUT;
use crate::server::{TlsError, tls_config};

/// Between two lines that say what is waited for.
const REMINDER: Duration = Duration::from_secs(15);

/// Why a Secret holds no certificate for us.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A key of the Secret is missing.
    #[error("it has no key {0}: it must be of type kubernetes.io/tls")]
    NoData(&'static str),
    /// The content cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Reads a Secret; the key's bytes are wiped once they are in place.
///
/// # Errors
/// When a key is missing or the content cannot be used.
pub fn parse(mut secret: Secret) -> Result<ServerConfig, CertificateError> {
    let mut data = secret.data.take().unwrap_or_default();
    let mut take =
        |key: &'static str| data.remove(key).map(|bytes| Zeroizing::new(bytes.0)).ok_or(CertificateError::NoData(key));
    let (certificate, key) = (take("tls.crt")?, take("tls.key")?);
    Ok(tls_config(&certificate, &key)?)
}

/// Follows the Secret for ever. `loaded` is called once, with the first certificate that can be used; later ones take
/// its place. A Secret that is deleted or broken leaves the last good one in force.
pub async fn follow(client: Client, namespace: String, name: String, loaded: impl FnOnce(RustlsConfig)) {
    let api: Api<Secret> = Api::namespaced(client, &namespace);
    let seconds = u32::try_from(WATCH_TIMEOUT.as_secs()).unwrap_or(30);
    let only = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(seconds);
    let events = watch(api, only).default_backoff();
    pin_mut!(events);
    let mut loaded = Some(loaded);
    let mut config: Option<RustlsConfig> = None;
    loop {
        let event = match tokio::time::timeout(REMINDER, events.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(_) if config.is_none() => {
                info!(namespace, secret = name, "waiting for a TLS certificate");
                continue;
            }
            Err(_) => continue,
        };
        let secret = match event {
            Ok(Event::Apply(secret) | Event::InitApply(secret)) => secret,
            Ok(Event::Delete(_)) => {
                warn!(namespace, secret = name, "the TLS Secret was deleted: the last certificate stays in force");
                continue;
            }
            Ok(Event::Init | Event::InitDone) => continue,
            Err(error) => {
                warn!(namespace, secret = name, %error, "the watch of the TLS Secret failed and is tried again");
                continue;
            }
        };
        match (parse(secret), &config) {
            (Ok(new), Some(config)) => {
                config.reload_from_config(Arc::new(new));
                info!(namespace, secret = name, "TLS certificate exchanged");
            }
            (Ok(new), None) => {
                let first = RustlsConfig::from_config(Arc::new(new));
                config = Some(first.clone());
                info!(namespace, secret = name, "TLS certificate loaded");
                if let Some(loaded) = loaded.take() {
                    loaded(first);
                }
            }
            (Err(error), _) => warn!(namespace, secret = name, %error, "the TLS Secret cannot be used"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::fake_server::Server;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use serde_json::{Value, json};
    use tokio::sync::mpsc;

    fn secret(revision: u32, pair: Option<(&str, &str)>) -> Value {
        let data = pair.map_or(json!({}), |(certificate, key)| {
            json!({"tls.crt": BASE64_STANDARD.encode(certificate), "tls.key": BASE64_STANDARD.encode(key)})
        });
        let metadata = json!({"name": "tls", "namespace": "keyrota-system", "resourceVersion": revision.to_string()});
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data})
    }

    fn certificate() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn event(kind: &str, object: Value) -> Value {
        json!({"type": kind, "object": object})
    }

    #[tokio::test]
    async fn the_first_good_certificate_is_loaded_and_later_ones_take_its_place_but_broken_ones_do_not() {
        let (client, mut server) = Server::start();
        let (loaded, mut first) = mpsc::unbounded_channel();
        let follow = follow(client, "keyrota-system".into(), "tls".into(), move |config| drop(loaded.send(config)));
        let follow = tokio::spawn(follow);
        let (certificate_pem, key) = certificate();
        // A listed Secret without a certificate is waited out.
        let list = json!({"kind": "SecretList", "metadata": {"resourceVersion": "1"}, "items": [secret(1, None)]});
        let asked = server.answer(200, &[list]).await;
        assert!(asked.contains("fieldSelector=metadata.name%3Dtls"), "{asked}");
        server.answer(200, &[event("MODIFIED", secret(2, Some((&certificate_pem, &key))))]).await;
        let config = first.recv().await.unwrap();
        let before = config.get_inner();
        let (other_pem, other_key) = certificate();
        let broken = event("MODIFIED", secret(3, Some((&other_pem, &key))));
        server.answer(200, &[broken, event("DELETED", secret(4, None))]).await;
        let asked = server.answer(200, &[event("ADDED", secret(5, Some((&other_pem, &other_key))))]).await;
        assert!(asked.contains("resourceVersion=4"), "{asked}");
        assert!(Arc::ptr_eq(&before, &config.get_inner()), "a broken or deleted Secret changes nothing");
        let asked = server.answer(200, &[]).await;
        assert!(asked.contains("resourceVersion=5") && !Arc::ptr_eq(&before, &config.get_inner()));
        follow.abort();
    }
}
