//! The gateway's certificates: `kubernetes.io/tls` Secrets, watched, and exchanged without a restart. One is for every
//! host; a tenant's own host may have one of its own, in a Secret that carries a label.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use futures::{Stream, StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, ResourceExt};
use parking_lot::RwLock;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::api::{HOST_CERTIFICATE, MANAGED_BY, MANAGER};
use crate::config::WATCH_TIMEOUT;
use crate::server::{TlsError, certified_key, tls_config_by};

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
    /// A host's certificate is for no host.
    #[error("its certificate names no host: it needs subjectAltName with DNS names")]
    NoHost,
}

/// Reads a Secret; the key's bytes are wiped once they are in place.
///
/// # Errors
/// When a key is missing or the content cannot be used.
pub fn parse(mut secret: Secret) -> Result<CertifiedKey, CertificateError> {
    let mut data = secret.data.take().unwrap_or_default();
    let mut take =
        |key: &'static str| data.remove(key).map(|bytes| Zeroizing::new(bytes.0)).ok_or(CertificateError::NoData(key));
    let (certificate, key) = (take("tls.crt")?, take("tls.key")?);
    Ok(certified_key(&certificate, &key)?)
}

/// The DNS names that a certificate is for, in lower case; `*.example.com` as it stands there.
fn hosts(key: &CertifiedKey) -> Vec<String> {
    let leaf = key.end_entity_cert().ok().and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok());
    leaf.map(|leaf| leaf.valid_dns_names().map(str::to_ascii_lowercase).collect()).unwrap_or_default()
}

/// What is served, chosen by the name that a client asks for (RFC 6066 section 3).
#[derive(Debug, Default)]
struct Certificates {
    chosen: RwLock<Chosen>,
}

#[derive(Debug, Default)]
struct Chosen {
    /// For every host that has none of its own, and for clients that name none.
    main: Option<Arc<CertifiedKey>>,
    /// By the Secret's name: of two that name a host, the first counts.
    special: BTreeMap<Name, (Vec<String>, Arc<CertifiedKey>)>,
    by_host: HashMap<String, Arc<CertifiedKey>>,
}

/// What somebody gives comes before what the controller makes of itself; then it goes by the alphabet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    is_ours: bool,
    secret: String,
}

impl Name {
    fn of(secret: &Secret) -> Self {
        let is_ours = secret.labels().get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
        Self { is_ours, secret: secret.name_any() }
    }
}

impl Chosen {
    fn change(&mut self, change: impl FnOnce(&mut BTreeMap<Name, (Vec<String>, Arc<CertifiedKey>)>)) {
        change(&mut self.special);
        self.by_host.clear();
        for (hosts, key) in self.special.values() {
            for host in hosts {
                self.by_host.entry(host.clone()).or_insert_with(|| key.clone());
            }
        }
    }

    /// A wildcard stands for one label (RFC 9525 section 6.3).
    fn of(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let host = host.to_ascii_lowercase();
        let wildcard = || self.by_host.get(&format!("*.{}", host.split_once('.')?.1));
        self.by_host.get(&host).or_else(wildcard).or(self.main.as_ref()).cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.chosen.read().of(hello.server_name().unwrap_or_default())
    }
}

/// Follows the Secrets for ever. `loaded` is called once, with the first certificate `name` that can be used; later ones
/// take its place. A Secret that is deleted or broken leaves the last good one in force, unless it was a host's own: then
/// the one for every host is served.
pub async fn follow(client: Client, namespace: String, name: String, loaded: impl FnOnce(RustlsConfig)) {
    let api: Api<Secret> = Api::namespaced(client, &namespace);
    let certificates = Arc::new(Certificates::default());
    let main = follow_main(&api, &namespace, &name, certificates.clone(), loaded);
    let special = follow_special(&api, &namespace, &name, &certificates);
    futures::join!(main, special);
}

async fn follow_main(
    api: &Api<Secret>,
    namespace: &str,
    name: &str,
    certificates: Arc<Certificates>,
    loaded: impl FnOnce(RustlsConfig),
) {
    let events = events(api, watcher::Config::default().fields(&format!("metadata.name={name}")));
    pin_mut!(events);
    let mut loaded = Some(loaded);
    loop {
        let event = match tokio::time::timeout(REMINDER, events.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(_) if loaded.is_some() => {
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
        let usable = parse(secret).and_then(|key| {
            certificates.chosen.write().main = Some(Arc::new(key));
            Ok(tls_config_by(certificates.clone())?)
        });
        match (usable, loaded.take()) {
            (Ok(config), Some(loaded)) => {
                info!(namespace, secret = name, "TLS certificate loaded");
                loaded(RustlsConfig::from_config(Arc::new(config)));
            }
            (Ok(_), None) => info!(namespace, secret = name, "TLS certificate exchanged"),
            (Err(error), waiting) => {
                warn!(namespace, secret = name, %error, "the TLS Secret cannot be used");
                loaded = waiting;
            }
        }
    }
}

/// Secrets with the label; the one for every host may carry it, too, and means nothing by it.
async fn follow_special(api: &Api<Secret>, namespace: &str, main: &str, certificates: &Certificates) {
    let events = events(api, watcher::Config::default().labels(&format!("{HOST_CERTIFICATE}=true")));
    pin_mut!(events);
    // What a new list has shown so far.
    let mut listed = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(secret)) => {
                let name = Name::of(&secret);
                let before = certificates.chosen.read().special.get(&name).cloned();
                listed.extend(special(namespace, secret, main).or(before).map(|found| (name, found)));
            }
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut listed);
                certificates.chosen.write().change(|special| *special = listed);
            }
            Ok(Event::Apply(secret)) => {
                let name = Name::of(&secret);
                if let Some(found) = special(namespace, secret, main) {
                    certificates.chosen.write().change(|special| drop(special.insert(name, found)));
                }
            }
            Ok(Event::Delete(secret)) => {
                let name = Name::of(&secret);
                info!(
                    namespace,
                    secret = name.secret,
                    "a host's TLS Secret is gone: its hosts get the common certificate"
                );
                certificates.chosen.write().change(|special| drop(special.remove(&name)));
            }
            Err(error) => warn!(namespace, %error, "the watch of the hosts' TLS Secrets failed and is tried again"),
        }
    }
}

fn special(namespace: &str, secret: Secret, main: &str) -> Option<(Vec<String>, Arc<CertifiedKey>)> {
    let name = secret.name_any();
    if name == main {
        return None;
    }
    let named = parse(secret).and_then(|key| match hosts(&key) {
        hosts if hosts.is_empty() => Err(CertificateError::NoHost),
        hosts => Ok((hosts, Arc::new(key))),
    });
    match named {
        Ok((hosts, key)) => {
            info!(namespace, secret = name, hosts = hosts.join(","), "a host's own TLS certificate loaded");
            Some((hosts, key))
        }
        Err(error) => {
            warn!(namespace, secret = name, %error, "a host's TLS Secret cannot be used");
            None
        }
    }
}

fn events(api: &Api<Secret>, config: watcher::Config) -> impl Stream<Item = watcher::Result<Event<Secret>>> + use<> {
    let seconds = u32::try_from(WATCH_TIMEOUT.as_secs()).unwrap_or(30);
    watch(api.clone(), config.timeout(seconds)).default_backoff()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::fake_server::Server;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use rstest::rstest;
    use serde_json::{Value, json};
    use tokio::sync::mpsc;

    fn secret(name: &str, revision: u32, pair: Option<(&str, &str)>) -> Value {
        let data = pair.map_or(json!({}), |(certificate, key)| {
            json!({"tls.crt": BASE64_STANDARD.encode(certificate), "tls.key": BASE64_STANDARD.encode(key)})
        });
        let metadata = json!({"name": name, "namespace": "keyrota-system", "resourceVersion": revision.to_string()});
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data})
    }

    fn certificate(host: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![host.into()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn event(kind: &str, object: Value) -> Value {
        json!({"type": kind, "object": object})
    }

    fn api(client: Client) -> Api<Secret> {
        Api::namespaced(client, "keyrota-system")
    }

    fn served(certificates: &Certificates, host: &str) -> Vec<String> {
        certificates.chosen.read().of(host).map(|key| hosts(&key)).unwrap_or_default()
    }

    #[tokio::test]
    async fn the_first_good_certificate_is_loaded_and_later_ones_take_its_place_but_broken_ones_do_not() {
        let (client, mut server) = Server::start();
        let (loaded, mut first) = mpsc::unbounded_channel();
        let certificates = Arc::new(Certificates::default());
        let followed = certificates.clone();
        let follow = tokio::spawn(async move {
            let loaded = move |config| drop(loaded.send(config));
            follow_main(&api(client), "keyrota-system", "tls", followed, loaded).await;
        });
        let (certificate_pem, key) = certificate("first.example");
        // A listed Secret without a certificate is waited out.
        let list =
            json!({"kind": "SecretList", "metadata": {"resourceVersion": "1"}, "items": [secret("tls", 1, None)]});
        let asked = server.answer(200, &[list]).await;
        assert!(asked.contains("fieldSelector=metadata.name%3Dtls"), "{asked}");
        server.answer(200, &[event("MODIFIED", secret("tls", 2, Some((&certificate_pem, &key))))]).await;
        first.recv().await.unwrap();
        let (other_pem, other_key) = certificate("second.example");
        let broken = event("MODIFIED", secret("tls", 3, Some((&other_pem, &key))));
        server.answer(200, &[broken, event("DELETED", secret("tls", 4, None))]).await;
        let asked = server.answer(200, &[event("ADDED", secret("tls", 5, Some((&other_pem, &other_key))))]).await;
        assert!(asked.contains("resourceVersion=4"), "{asked}");
        assert_eq!(served(&certificates, ""), ["first.example"], "a broken or deleted Secret changes nothing");
        let asked = server.answer(200, &[]).await;
        assert!(asked.contains("resourceVersion=5"), "{asked}");
        assert_eq!(served(&certificates, "anything"), ["second.example"]);
        follow.abort();
    }

    #[tokio::test]
    async fn a_hosts_own_certificate_is_served_until_its_secret_is_gone_and_a_broken_one_changes_nothing() {
        let (client, mut server) = Server::start();
        let certificates = Arc::new(Certificates::default());
        let (pem, key) = certificate("common.example");
        let common = server_key(&pem, &key);
        certificates.chosen.write().main = Some(common);
        let followed = certificates.clone();
        let follow =
            tokio::spawn(async move { follow_special(&api(client), "keyrota-system", "tls", &followed).await });
        let (acme, acme_key) = certificate("acme.example");
        let listed = secret("acme", 1, Some((&acme, &acme_key)));
        let list = json!({"kind": "SecretList", "metadata": {"resourceVersion": "1"}, "items": [listed]});
        let asked = server.answer(200, &[list]).await;
        assert!(asked.contains("labelSelector=keyrota.dev%2Fhost-certificate%3Dtrue"), "{asked}");
        server.answer(200, &[event("MODIFIED", secret("acme", 2, Some((&pem, &acme_key))))]).await;
        server.answer(200, &[]).await;
        assert_eq!(served(&certificates, "ACME.example"), ["acme.example"]);
        assert_eq!(served(&certificates, "other.example"), ["common.example"]);
        server.answer(200, &[event("DELETED", secret("acme", 3, None))]).await;
        server.answer(200, &[]).await;
        assert_eq!(served(&certificates, "acme.example"), ["common.example"]);
        follow.abort();
    }

    fn server_key(pem: &str, key: &str) -> Arc<CertifiedKey> {
        Arc::new(certified_key(pem.as_bytes(), key.as_bytes()).unwrap())
    }

    #[rstest]
    #[case("acme.example", "acme.example")]
    #[case("token.shop.example", "*.shop.example")]
    #[case::one_label_only("a.token.shop.example", "common.example")]
    #[case::not_the_parent("shop.example", "common.example")]
    #[case::none("", "common.example")]
    fn a_client_gets_the_certificate_of_the_host_that_it_names(#[case] asked: &str, #[case] expected: &str) {
        let certificates = Certificates::default();
        let pair = |host: &str| {
            let (pem, key) = certificate(host);
            server_key(&pem, &key)
        };
        let mut chosen = certificates.chosen.write();
        chosen.main = Some(pair("common.example"));
        chosen.change(|special| {
            for host in ["acme.example", "*.shop.example"] {
                let name = Name { is_ours: false, secret: host.into() };
                special.insert(name, (vec![host.into()], pair(host)));
            }
        });
        // What the controller makes of itself stands behind.
        let ours = Name { is_ours: true, secret: "a".into() };
        let made = pair("made.example");
        chosen.change(|special| drop(special.insert(ours, (vec!["acme.example".into()], made))));
        drop(chosen);
        assert_eq!(served(&certificates, asked), [expected]);
    }
}
