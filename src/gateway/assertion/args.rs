//! What the operator lets foreign issuers' keys be read from.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use ipnet::IpNet;
use kube::Client;

use super::Foreign;
use super::fetch::{Allowed, HttpsFetch};
use super::review::KubeReview;

/// Settings of foreign issuers.
#[derive(Args, Clone, Debug)]
pub struct ForeignArgs {
    /// A host (or host:port) at which a TokenIssuer's jwksUri may be; repeat it for more [default: none]
    #[arg(long, env = "KEYROTA_JWKS_ALLOWED_HOST", value_delimiter = ',', value_name = "HOST")]
    pub jwks_allowed_host: Vec<String>,

    /// A private or local network in which those hosts may be, e.g. 10.0.0.0/8; repeat it for more [default: none]
    #[arg(long, env = "KEYROTA_JWKS_ALLOWED_NETWORK", value_delimiter = ',', value_name = "CIDR")]
    pub jwks_allowed_network: Vec<IpNet>,

    /// PEM certificates of authorities that those hosts are trusted by, besides the system's
    #[arg(long, env = "KEYROTA_JWKS_CA_FILE", value_name = "FILE")]
    pub jwks_ca_file: Option<PathBuf>,
}

impl ForeignArgs {
    /// What they say, with this cluster's API server.
    ///
    /// # Errors
    /// When the file of certificates cannot be used.
    pub fn foreign(&self, client: Client) -> anyhow::Result<Foreign> {
        let Self { jwks_allowed_host: hosts, jwks_allowed_network: networks, jwks_ca_file } = self.clone();
        let fetch = HttpsFetch::new(Allowed { hosts, networks }, jwks_ca_file.as_deref())?;
        Ok(Foreign { fetch: Arc::new(fetch), review: Arc::new(KubeReview::new(client)) })
    }
}
