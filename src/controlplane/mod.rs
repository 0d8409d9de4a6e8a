//! A real Kubernetes control plane on loopback, without a container: etcd, kube-apiserver and
//! kube-controller-manager. `keyrota demo` and the tests share it.
//!
//! ```text
//! provide   KUBEBUILDER_ASSETS → PATH → cache → build with Go into the cache
//! start     etcd → kube-apiserver → /readyz → kube-controller-manager
//! stop      the watchdog, whichever way this process ends
//! ```

mod arguments;
mod build;
mod environment;
mod error;
#[cfg(test)]
mod fake;
mod kubeconfig;
mod pki;
mod progress;
mod provide;
mod start;
mod versions;
mod watchdog;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use kube::config::{AuthInfo, Kubeconfig};

pub use environment::Environment;
pub use error::Error;
pub use provide::{Binaries, NodeBinaries};
pub use watchdog::{Place, Variables, Watchdog};

use start::Running;

/// How long the token of a service account lasts: longer than any demo or test run.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// How a control plane is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether every request is logged to [`ControlPlane::audit_log`].
    pub audit: bool,
    /// How long the servers get to become ready, all of them together.
    pub ready_within: Duration,
    /// Where the API server answers: loopback, or an address that Pods can reach, too.
    pub address: Ipv4Addr,
}

impl Default for Options {
    /// Audited, and patient with a machine that is busy with a build: ready takes 3 s on an idle one.
    fn default() -> Self {
        Self { audit: true, ready_within: Duration::from_secs(180), address: Ipv4Addr::LOCALHOST }
    }
}

/// A running control plane. Dropping it stops the servers and removes the data directory, without
/// waiting for either; [`ControlPlane::stop`] waits.
pub struct ControlPlane {
    running: Running,
    kubectl: PathBuf,
    audit: bool,
    kubeconfigs: AtomicUsize,
}

impl ControlPlane {
    /// Provides the binaries, starts the servers and waits until the API server is ready.
    pub async fn start(environment: &Environment, options: &Options) -> Result<Self, Error> {
        let binaries = Binaries::provide(environment).await?;
        let free_port = || start::free_port(options.address);
        let starting = start::start(&binaries, environment, options, free_port);
        let running = progress::during("starting a Kubernetes control plane", starting).await?;
        Ok(Self { running, kubectl: binaries.kubectl, audit: options.audit, kubeconfigs: AtomicUsize::new(1) })
    }

    /// The kubeconfig of a user who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data_dir().join("admin.kubeconfig")
    }

    /// The client configuration of the same user.
    pub fn client_config(&self) -> kube::Config {
        self.running.admin.clone()
    }

    /// A client of the same user, for the current Tokio runtime.
    pub fn client(&self) -> Result<kube::Client, Error> {
        client(self.client_config())
    }

    /// Writes a kubeconfig for a user in these groups (`system:authenticated` comes by itself).
    ///
    /// The user has a client certificate. It has room for one group, so a user in several is the
    /// admin who acts as them: the audit log then has them as `impersonatedUser`.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf, Error> {
        self.write(user, &self.user(user, groups)?)
    }

    /// A client for such a user, for the current Tokio runtime.
    pub async fn client_for(&self, user: &str, groups: &[&str]) -> Result<kube::Client, Error> {
        client(kubeconfig::client_config(self.user(user, groups)?).await?)
    }

    /// Writes a kubeconfig with a fresh token of a service account, which must exist.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf, Error> {
        let token = self.service_account_token(namespace, name).await?;
        let kubeconfig = self.running.endpoint.kubeconfig(kubeconfig::token_user(token), Some(namespace));
        self.write(&format!("{namespace}.{name}"), &kubeconfig)
    }

    /// A fresh token of a service account, for the API server itself.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> Result<String, Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client()?, namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        let answer = answer.map_err(|source| Error::Api {
            doing: format!("requesting a token of service account {namespace}/{name}"),
            source: Box::new(source),
        })?;
        Ok(answer.status.map(|status| status.token).unwrap_or_default())
    }

    /// Where requests are logged, one JSON object a line, or nothing if that is off.
    pub fn audit_log(&self) -> Option<PathBuf> {
        self.audit.then(|| self.data_dir().join("audit.log"))
    }

    /// A kubectl of the same version.
    pub fn kubectl(&self) -> &Path {
        &self.kubectl
    }

    /// Everything the servers keep, their logs included; gone after the stop.
    pub fn data_dir(&self) -> &Path {
        self.running.watchdog.directory()
    }

    /// The address of the API server.
    pub fn url(&self) -> String {
        self.running.endpoint.url()
    }

    /// Whether every server still runs; if not, an error with the last words of the one that ended.
    pub fn check(&self) -> Result<(), Error> {
        [start::ETCD, start::API_SERVER, start::CONTROLLER_MANAGER]
            .into_iter()
            .try_for_each(|server| start::still_runs(&self.running.watchdog, server))
    }

    /// Stops the servers and waits until they and the data directory are gone.
    pub async fn stop(self) -> Result<(), Error> {
        self.running.watchdog.stop().await
    }

    fn user(&self, user: &str, groups: &[&str]) -> Result<Kubeconfig, Error> {
        let Running { authority, endpoint, .. } = &self.running;
        if let [] | [_] = groups {
            return start::certificate_kubeconfig(authority, endpoint, user, groups.first().copied());
        }
        let identity = authority.client("keyrota-admin", Some(start::MASTERS))?;
        let acting = AuthInfo {
            impersonate: Some(user.to_owned()),
            impersonate_groups: Some(groups.iter().map(|group| (*group).to_owned()).collect()),
            ..kubeconfig::certificate_user(&identity)
        };
        Ok(endpoint.kubeconfig(acting, None))
    }

    fn write(&self, user: &str, kubeconfig: &Kubeconfig) -> Result<PathBuf, Error> {
        let number = self.kubeconfigs.fetch_add(1, Ordering::Relaxed);
        let path = self.data_dir().join("kubeconfigs").join(kubeconfig::file_name(user, number));
        kubeconfig::write(kubeconfig, &path)
    }
}

fn client(config: kube::Config) -> Result<kube::Client, Error> {
    kube::Client::try_from(config)
        .map_err(|source| Error::Api { doing: "making a client".to_owned(), source: Box::new(source) })
}
