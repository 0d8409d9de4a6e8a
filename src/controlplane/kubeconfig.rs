//! Kubeconfigs of a control plane: every credential in the file itself, readable by its owner only.

use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};

use super::error::{Error, IoContext};
use super::pki::Identity;

/// The name of cluster, user and context alike: each file has one of each.
const NAME: &str = "keyrota-controlplane";

/// Where a control plane answers and which authority its certificate comes from.
pub(super) struct Endpoint {
    pub(super) address: Ipv4Addr,
    pub(super) port: u16,
    pub(super) authority: String,
}

impl Endpoint {
    pub(super) fn url(&self) -> String {
        format!("https://{}:{}", self.address, self.port)
    }

    /// A kubeconfig that presents `user`.
    pub(super) fn kubeconfig(&self, user: AuthInfo, namespace: Option<&str>) -> Kubeconfig {
        let cluster = Cluster {
            server: Some(self.url()),
            certificate_authority_data: Some(STANDARD.encode(&self.authority)),
            ..Cluster::default()
        };
        let context = Context {
            cluster: NAME.to_owned(),
            user: Some(NAME.to_owned()),
            namespace: namespace.map(str::to_owned),
            ..Context::default()
        };
        Kubeconfig {
            kind: Some("Config".to_owned()),
            api_version: Some("v1".to_owned()),
            clusters: vec![NamedCluster { name: NAME.to_owned(), cluster: Some(cluster), ..NamedCluster::default() }],
            auth_infos: vec![NamedAuthInfo {
                name: NAME.to_owned(),
                auth_info: Some(user),
                ..NamedAuthInfo::default()
            }],
            contexts: vec![NamedContext { name: NAME.to_owned(), context: Some(context), ..NamedContext::default() }],
            current_context: Some(NAME.to_owned()),
            ..Kubeconfig::default()
        }
    }
}

/// A user who presents a client certificate.
pub(super) fn certificate_user(identity: &Identity) -> AuthInfo {
    AuthInfo {
        client_certificate_data: Some(STANDARD.encode(&identity.certificate)),
        client_key_data: Some(STANDARD.encode(&identity.key).into()),
        ..AuthInfo::default()
    }
}

/// A user who presents a bearer token.
pub(super) fn token_user(token: String) -> AuthInfo {
    AuthInfo { token: Some(token.into()), ..AuthInfo::default() }
}

/// A file name that says whose kubeconfig it is and is no other's.
pub(super) fn file_name(user: &str, number: usize) -> String {
    let safe: String =
        user.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).take(80).collect();
    format!("{number}-{safe}.kubeconfig")
}

pub(super) fn write(kubeconfig: &Kubeconfig, path: &Path) -> Result<PathBuf, Error> {
    let text = serde_saphyr::to_string(kubeconfig)
        .map_err(|source| Error::Kubeconfig { doing: "written", source: Box::new(source) })?;
    write_secret(path, &text)?;
    Ok(path.to_owned())
}

/// Writes a file that only its owner may read.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), Error> {
    let mut file = std::fs::File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .while_doing("creating", path)?;
    file.write_all(text.as_bytes()).while_doing("writing", path)
}

/// The same as a client's configuration.
pub(super) async fn client_config(kubeconfig: Kubeconfig) -> Result<kube::Config, Error> {
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|source| Error::Kubeconfig { doing: "read", source: Box::new(source) })?;
    // kube takes HTTPS_PROXY from the environment for loopback too, where no proxy can reach.
    config.proxy_url = None;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_never_leaves_its_directory() {
        assert_eq!(file_name("../system:serviceaccount:a:b", 3), "3-..-system-serviceaccount-a-b.kubeconfig");
    }

    #[test]
    fn what_is_written_reads_back() {
        let endpoint = Endpoint { address: Ipv4Addr::LOCALHOST, port: 6443, authority: "PEM".to_owned() };
        let text =
            serde_saphyr::to_string(&endpoint.kubeconfig(token_user("a: 'b' # c".to_owned()), Some("shop"))).unwrap();
        let read: Kubeconfig = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read.clusters[0].cluster.as_ref().unwrap().server.as_deref(), Some("https://127.0.0.1:6443"));
        assert_eq!(read.contexts[0].context.as_ref().unwrap().namespace.as_deref(), Some("shop"));
        let token = read.auth_infos[0].auth_info.as_ref().unwrap().token.clone().unwrap();
        assert_eq!(secrecy::ExposeSecret::expose_secret(&token), "a: 'b' # c");
    }
}
