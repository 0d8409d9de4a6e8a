//! The console of the demo: its certificate, as a mounted Secret would bring it, and whom to sign in as.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use secrecy::SecretString;

use crate::controlplane::ControlPlane;

/// The Secret that the controller keeps for the console, and the demo puts into files.
const TLS_SECRET: &str = "keyrota-console-tls";
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the console looks for its certificate.
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Files {
    /// Below the control plane's data, which goes when the demo ends.
    pub fn of(control_plane: &ControlPlane) -> Self {
        let place = |name: &str| control_plane.data_dir().join(name);
        Self { certificate: place("console-tls.crt"), key: place("console-tls.key") }
    }

    /// Waits for the Secret and writes it down, the key first: whoever sees the certificate finds the key.
    pub async fn fill(&self, control_plane: &ControlPlane) -> anyhow::Result<()> {
        let secrets: Api<Secret> = Api::namespaced(control_plane.client()?, "keyrota-system");
        let found = async {
            loop {
                if let Some(secret) = secrets.get_opt(TLS_SECRET).await? {
                    return Ok::<_, kube::Error>(secret);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let secret = tokio::time::timeout(PATIENCE, found).await.context("the console's certificate is not made")??;
        let data = secret.data.unwrap_or_default();
        for (key, path) in [("tls.key", &self.key), ("tls.crt", &self.certificate)] {
            let bytes = data.get(key).with_context(|| format!("the Secret {TLS_SECRET} has no {key}"))?;
            write_private(path, &bytes.0)?;
        }
        Ok(())
    }
}

fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let cannot = || format!("cannot write {}", path.display());
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.with_context(cannot)?.write_all(content).with_context(cannot)
}

/// A token of the one who may do everything in this cluster.
pub async fn sign_in_token(control_plane: &ControlPlane) -> anyhow::Result<SecretString> {
    Ok(control_plane.service_account_token("demo", "console-admin").await?.into())
}
