//! Reading a foreign issuer's keys over the network, within bounds: whoever may write a TokenIssuer must not be able to
//! make the gateway ask anything inside the cluster, or to keep it busy.
//!
//! https only, to hosts that the operator lists, at addresses that are public (or listed), no redirects, no proxy, 64 KiB
//! and five seconds at most.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::future::BoxFuture;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Url};
use thiserror::Error;

use crate::domain::assertion::jwks::{KeySet, KeySetError, MAX_BYTES};

/// For everything, from the name to the last byte.
const TIME: Duration = Duration::from_secs(5);
/// For the connection alone.
const CONNECT: Duration = Duration::from_secs(3);

/// Where keys are read.
pub trait Fetch: Send + Sync + 'static {
    /// The keys at this URI.
    fn fetch<'a>(&'a self, uri: &'a str) -> BoxFuture<'a, Result<KeySet, FetchError>>;
}

/// Why there are no keys. For the operator; the caller only hears "later". Quotes nothing of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    /// It is no https URI with a host name, or has a user, password or fragment.
    #[error("it must be an https URI with a host name, and without a user or a fragment")]
    Uri,
    /// The host is an address.
    #[error("its host is an address: give the host's name, for which it can have a certificate")]
    Address,
    /// The host is not on the operator's list.
    #[error("the host {0} is not allowed: start the gateway with --jwks-allowed-host {0}")]
    Host(String),
    /// All of its addresses are private or local.
    #[error(
        "all addresses of {0} are private or local: if that is right, start the gateway with --jwks-allowed-network"
    )]
    Private(String),
    /// No connection, no TLS, or it broke off.
    #[error("it cannot be read: {0}")]
    Unreachable(String),
    /// Another status than 200; redirects too.
    #[error("it answered with status {0}, not 200")]
    Status(u16),
    /// What came is not a usable set of keys.
    #[error("what it answers cannot be used: {0}")]
    Keys(#[from] KeySetError),
}

/// What the operator allows.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// Hosts, or hosts with ports; without one, 443 is meant.
    pub hosts: Vec<String>,
    /// Private or local networks in which those hosts may be.
    pub networks: Vec<IpNet>,
}

impl Allowed {
    /// Whether keys may be read there.
    ///
    /// # Errors
    /// When they may not.
    pub fn check(&self, uri: &str) -> Result<Url, FetchError> {
        let url = Url::parse(uri).map_err(|_| FetchError::Uri)?;
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if url.scheme() != "https" || !plain {
            return Err(FetchError::Uri);
        }
        let name = url.host_str().ok_or(FetchError::Uri)?;
        // After parsing, which turns 2130706433, 0x7f.1 and 127.1 into what they mean.
        if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return Err(FetchError::Address);
        }
        let host = match url.port() {
            None => name.to_owned(),
            Some(port) => format!("{name}:{port}"),
        };
        let listed = |entry: &String| entry.strip_suffix(":443").unwrap_or(entry).eq_ignore_ascii_case(&host);
        if self.hosts.iter().any(listed) { Ok(url) } else { Err(FetchError::Host(host)) }
    }

    fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.networks.iter().any(|network| network.contains(&address))
    }
}

/// Whether an address is on the public Internet, by the IANA special-purpose registries (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        // Shared by carriers, protocol assignments, benchmarks, and what is reserved.
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // 2000::/3 is all that is assigned; of it, not documentation, not Teredo and the like, not 6to4.
    (first & 0xe000) == 0x2000
        && (first, second) != (0x2001, 0x0db8)
        && !(first == 0x2001 && second < 0x0200)
        && first != 0x2002
        && (first & 0xfff0) != 0x3ff0
}

/// Resolves names, and leaves out addresses that are not admitted: what is checked is what is connected to.
struct Guarded(Arc<Allowed>);

/// Marks the error of a name without any admitted address.
#[derive(Debug, Error)]
#[error("no admitted address")]
struct NoneAdmitted;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let any = !found.is_empty();
            let admitted: Vec<SocketAddr> = found.into_iter().filter(|found| allowed.admits(found.ip())).collect();
            if any && admitted.is_empty() {
                return Err(NoneAdmitted.into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// Over the network.
pub struct HttpsFetch {
    allowed: Arc<Allowed>,
    http: reqwest::Client,
}

impl HttpsFetch {
    /// Trusts what the system trusts, and the certificates in `ca_file`.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificates.
    pub fn new(allowed: Allowed, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let allowed = Arc::new(allowed);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("keyrota/", env!("CARGO_PKG_VERSION")))
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(TIME)
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(0)
            .dns_resolver(Guarded(allowed.clone()));
        if let Some(file) = ca_file {
            let shown = file.display();
            let pem = std::fs::read(file).with_context(|| format!("cannot read --jwks-ca-file {shown}"))?;
            let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
            anyhow::ensure!(!certificates.is_empty(), "--jwks-ca-file {shown} holds no PEM certificate");
            builder = builder.tls_certs_merge(certificates);
        }
        Ok(Self { allowed, http: builder.build().context("cannot make a client for JWKS URIs")? })
    }

    async fn read(&self, url: Url) -> Result<KeySet, FetchError> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let request = self.http.get(url).header("accept", "application/jwk-set+json, application/json");
        let mut answer = request.send().await.map_err(|error| why(&error, host))?;
        if answer.status() != 200 {
            return Err(FetchError::Status(answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| why(&error, String::new()))? {
            // Before it is taken, and whatever Content-Length says.
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(KeySetError::TooLarge.into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(KeySet::parse(&body)?)
    }
}

impl Fetch for HttpsFetch {
    fn fetch<'a>(&'a self, uri: &'a str) -> BoxFuture<'a, Result<KeySet, FetchError>> {
        Box::pin(async move { self.read(self.allowed.check(uri)?).await })
    }
}

/// The innermost cause says most; it quotes no content.
fn why(error: &reqwest::Error, host: String) -> FetchError {
    if error.is_timeout() {
        return FetchError::Unreachable(format!("no answer within {} s", TIME.as_secs()));
    }
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if cause.is::<NoneAdmitted>() {
            return FetchError::Private(host);
        }
        // An io::Error does not name what it wraps as its source, but the source of that.
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| cause.source()) {
            Some(inner) => cause = inner,
            None => return FetchError::Unreachable(cause.to_string()),
        }
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
