//! Whom the limits do not mean.

use std::sync::Arc;

use clap::{ArgAction, Args};
use ipnet::IpNet;

use super::client::{Clients, ProxyHeader};

/// Settings of the limits on failures.
#[derive(Args, Clone, Debug)]
pub struct LimitArgs {
    /// A network of proxies that are believed when they name their client; repeat it for more [default: none]
    #[arg(long, env = "KEYROTA_TRUSTED_PROXY", value_delimiter = ',', value_name = "CIDR")]
    pub trusted_proxy: Vec<IpNet>,

    /// Where trusted proxies name their client; what they do not write there themselves they must remove
    #[arg(long, env = "KEYROTA_TRUSTED_PROXY_HEADER", default_value = "x-forwarded-for", value_name = "HEADER")]
    pub trusted_proxy_header: ProxyHeader,

    /// Watch the cluster's nodes, so that failures which seem to come from one limit nobody
    #[arg(long, env = "KEYROTA_EXEMPT_NODES", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub exempt_nodes: bool,
}

impl LimitArgs {
    /// What they say.
    #[must_use]
    pub fn clients(&self) -> Clients {
        Clients { proxies: self.trusted_proxy.clone(), header: self.trusted_proxy_header, nodes: Arc::default() }
    }
}
