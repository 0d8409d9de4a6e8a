//! A certificate and its key from files, as a mounted Secret gives them, exchanged without a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{TlsError, tls_config};

/// Between two looks. A mounted Secret follows the cluster's within a minute or two; inotify would have to follow the
/// links that kubelet exchanges, and a look costs two small reads.
pub const LOOK: Duration = Duration::from_secs(5);

/// Between two looks while there is nothing to serve with.
const IMPATIENT: Duration = Duration::from_millis(250);

/// Looks between two lines that say what is waited for.
const REMINDER: u32 = 60;

type Pair = (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>);

/// Follows both files for ever. `loaded` is called once, with the first certificate that can be used; later ones take
/// its place. Files that are gone or broken leave the last good certificate in force.
pub async fn follow(certificate: PathBuf, key: PathBuf, every: Duration, loaded: impl FnOnce(RustlsConfig)) {
    let (mut loaded, mut config, mut seen) = (Some(loaded), None::<RustlsConfig>, None);
    let mut looks = 0_u32;
    loop {
        match read(&certificate, &key).await {
            Ok(pair) if seen.as_ref() != Some(&pair) => {
                match usable(&pair) {
                    Ok(server) => match (&config, loaded.take()) {
                        (Some(config), _) => {
                            config.reload_from_config(server);
                            info!(file = %certificate.display(), "TLS certificate exchanged");
                        }
                        (None, first) => {
                            let new = RustlsConfig::from_config(server);
                            config = Some(new.clone());
                            info!(file = %certificate.display(), "TLS certificate loaded");
                            if let Some(loaded) = first {
                                loaded(new);
                            }
                        }
                    },
                    Err(error) => warn!(file = %certificate.display(), %error, "the TLS files cannot be used"),
                }
                seen = Some(pair);
            }
            Ok(_) => {}
            Err(error) if config.is_none() && looks.is_multiple_of(REMINDER) => {
                info!(file = %certificate.display(), %error, "waiting for a TLS certificate");
            }
            Err(_) => {}
        }
        looks = looks.wrapping_add(1);
        let pause = if config.is_none() { every.min(IMPATIENT) } else { every };
        tokio::time::sleep(pause).await;
    }
}

async fn read(certificate: &Path, key: &Path) -> std::io::Result<Pair> {
    let read = async |path: &Path| tokio::fs::read(path).await.map(Zeroizing::new);
    Ok((read(certificate).await?, read(key).await?))
}

/// A pair that was read while the files were exchanged is refused here, and read again at the next look.
fn usable((certificate, key): &Pair) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    tls_config(certificate, key).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use tokio::sync::oneshot;

    fn write(directory: &Path, name: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
        std::fs::write(directory.join("tls.crt"), certificate.pem()).unwrap();
    }

    #[tokio::test]
    async fn it_waits_for_the_files_takes_new_ones_and_keeps_the_last_good_certificate() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        let (loaded, first) = oneshot::channel();
        let follow = follow(path("tls.crt"), path("tls.key"), Duration::from_millis(5), |config| {
            drop(loaded.send(config));
        });
        let follower = tokio::spawn(follow);
        std::fs::write(path("tls.crt"), "half a certif").unwrap();
        write(directory.path(), "one.example");
        let config = first.await.unwrap();
        let one = config.get_inner();
        write(directory.path(), "two.example");
        let two = loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = config.get_inner();
            if !Arc::ptr_eq(&one, &now) {
                break now;
            }
        };
        std::fs::write(path("tls.crt"), "broken").unwrap();
        std::fs::remove_file(path("tls.key")).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(Arc::ptr_eq(&two, &config.get_inner()));
        follower.abort();
    }
}
