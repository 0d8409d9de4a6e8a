//! Settings that all roles share, and the way to the API server.

use std::net::{AddrParseError, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, Parser};
use kube::config::{KubeConfigOptions, Kubeconfig, NamedCluster};

/// Where the cluster is and what of it is ours.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// Path of a kubeconfig file; without it the Pod's own service account is used, then the default kubeconfig
    #[arg(long, env = "KEYROTA_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The operator namespace, where account records, signing keys and certificates are
    #[arg(long, env = "KEYROTA_NAMESPACE", default_value = "keyrota-system", value_name = "NAMESPACE")]
    pub operator_namespace: String,

    /// Watch ServiceAccounts in these namespaces only, separated by commas [default: all]
    #[arg(long, env = "KEYROTA_WATCH_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACES")]
    pub watch_namespaces: Vec<String>,
}

/// Where clients find the gateway; what controller and gateway must agree on.
#[derive(Args, Clone, Debug)]
pub struct ExternalArgs {
    /// The gateway's URL as clients see it; it goes into tokens, metadata and every published Secret
    #[arg(long, env = "KEYROTA_EXTERNAL_URL", default_value = "https://localhost:31443", value_name = "URL")]
    external_url: String,
}

impl ExternalArgs {
    /// Without a trailing slash.
    #[must_use]
    pub fn url(&self) -> &str {
        self.external_url.trim_end_matches('/')
    }
}

impl ClusterArgs {
    /// A client for this role: no hidden retries (kube's own would repeat a create after a 504 and honour any
    /// Retry-After), and no read that can hang for ever. Watches stay below the read time-out by their bookmarks and
    /// their own time-out.
    ///
    /// # Errors
    /// When no usable cluster configuration is found.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        self.client_with(WATCH_TIMEOUT + Duration::from_secs(5), Duration::from_secs(10)).await
    }

    /// A client with connections of its own for the leader's lease: a renewal must not queue behind anything else, and
    /// an answer later than [`LEASE_CALL_TIMEOUT`] is worth nothing.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub async fn lease_client(&self) -> anyhow::Result<kube::Client> {
        self.client_with(LEASE_CALL_TIMEOUT, LEASE_CALL_TIMEOUT).await
    }

    /// The certificates, in PEM, by which this role knows the API server.
    ///
    /// # Errors
    /// As [`Self::client`], or when the system's certificates do.
    pub async fn authority(&self) -> anyhow::Result<String> {
        let certificates = configuration(self.kubeconfig.as_deref()).await?.root_cert.unwrap_or_default();
        ensure!(!certificates.is_empty(), "the cluster configuration names no certificate authority");
        let blocks: Vec<_> = certificates.into_iter().map(|der| pem::Pem::new("CERTIFICATE", der)).collect();
        Ok(pem::encode_many_config(&blocks, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF)))
    }

    /// The way to the cluster that a client of one's own is made from, with the bounds that all clients here have.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub async fn config(&self) -> anyhow::Result<kube::Config> {
        configuration(self.kubeconfig.as_deref()).await
    }

    async fn client_with(&self, read: Duration, write: Duration) -> anyhow::Result<kube::Client> {
        client_with(self.kubeconfig.as_deref(), read, write).await
    }
}

/// A client for a role that needs nothing else of the cluster; see [`ClusterArgs::client`].
///
/// # Errors
/// When no usable cluster configuration is found.
pub async fn client(kubeconfig: Option<&Path>) -> anyhow::Result<kube::Client> {
    client_with(kubeconfig, CALL_TIMEOUT, CALL_TIMEOUT).await
}

async fn configuration(kubeconfig: Option<&Path>) -> anyhow::Result<kube::Config> {
    let mut config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("the kubeconfig {} cannot be used", path.display()))?
        }
        None => kube::Config::infer()
            .await
            .context("no cluster found: run inside a Pod, set KUBECONFIG, or give --kubeconfig FILE")?,
    };
    // A proxy of the environment leads out into the world; what NO_PROXY excepts, kube looks at with features only that
    // are not built in, and fails.
    if config.proxy_url.is_some() && !names_proxy(kubeconfig) {
        config.proxy_url = None;
    }
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(CALL_TIMEOUT);
    config.write_timeout = Some(CALL_TIMEOUT);
    // Else the time that a connection lay idle in the pool counts against the next answer on it.
    config.reset_reader_on_write = true;
    Ok(config)
}

/// Whether the kubeconfig itself says `proxy-url`.
fn names_proxy(kubeconfig: Option<&Path>) -> bool {
    let file = kubeconfig.map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    let named = |cluster: &NamedCluster| cluster.cluster.as_ref().is_some_and(|cluster| cluster.proxy_url.is_some());
    file.is_ok_and(|file| file.clusters.iter().any(named))
}

async fn client_with(kubeconfig: Option<&Path>, read: Duration, write: Duration) -> anyhow::Result<kube::Client> {
    let mut config = configuration(kubeconfig).await?;
    config.read_timeout = Some(read);
    config.write_timeout = Some(write);
    kube::Client::try_from(config).context("cannot make a client for the cluster")
}

/// A role's settings as its own command line would give them: for the demo and the tests, which run roles in-process and
/// want the same defaults.
///
/// # Errors
/// As the command line would refuse them.
pub fn parse<A: Args>(arguments: &[&str]) -> Result<A, clap::Error> {
    #[derive(Parser)]
    struct Line<A: Args> {
        #[command(flatten)]
        arguments: A,
    }
    Line::try_parse_from(std::iter::once(&"keyrota").chain(arguments)).map(|line: Line<A>| line.arguments)
}

/// This machine's name, which in a Pod is the Pod's; made fit for the name of a Kubernetes object.
#[must_use]
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let fit: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    fit.trim_matches('-').chars().take(200).collect()
}

/// An address to listen on; none when it is left empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaybeAddress(pub Option<SocketAddr>);

impl FromStr for MaybeAddress {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(Some).map(Self) }
    }
}

/// How long one watch request lasts; a connection that died silently is noticed within it.
pub const WATCH_TIMEOUT: Duration = Duration::from_secs(30);

/// How long any single call to the API server may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a read or write of the leader's lease may take: twice that is still within the renew deadline of 10 s.
pub const LEASE_CALL_TIMEOUT: Duration = Duration::from_secs(5);
