//! Whose request it is: the peer's, or through proxies that the operator trusts, the one's that they name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use clap::ValueEnum;
use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

use super::nodes::Nodes;

/// The header in which trusted proxies name their clients. One and not both: a proxy that writes the one passes on what
/// its client wrote into the other.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Names in a header are read up to this many; more proxies stand in no row.
const HOPS: usize = 32;

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// A node's, behind which there can be anybody, or a trusted proxy's that names nobody.
    pub exempt: bool,
}

impl Client {
    /// The address that failures count for, if they count.
    #[must_use]
    pub fn limited(&self) -> Option<IpAddr> {
        (!self.exempt).then_some(self.address)
    }
}

/// Tells clients from what stands before them.
#[derive(Default)]
pub struct Clients {
    /// Proxies that are believed.
    pub proxies: Vec<IpNet>,
    /// Where they write.
    pub header: ProxyHeader,
    /// The cluster's nodes.
    pub nodes: Arc<Nodes>,
}

impl Clients {
    /// Who sent the request that came from `peer`.
    #[must_use]
    pub fn of(&self, peer: SocketAddr, headers: &HeaderMap) -> Client {
        let mut address = peer.ip().to_canonical();
        if self.proxies.is_empty() || !self.trusts(address) {
            return self.client(address);
        }
        // From the right: each was written by the one before, and the first that is no proxy of ours is the client.
        for named in self.named(headers).into_iter().rev().take(HOPS) {
            let Some(named) = named else { break };
            address = named.to_canonical();
            if !self.trusts(address) {
                break;
            }
        }
        self.client(address)
    }

    fn client(&self, address: IpAddr) -> Client {
        Client { address, exempt: self.trusts(address) || self.nodes.has(address) }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(&address))
    }

    /// What the header names, in its order; none for what is no address.
    fn named(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        let (name, read): (HeaderName, fn(&str) -> Option<IpAddr>) = match self.header {
            ProxyHeader::XForwardedFor => (HeaderName::from_static("x-forwarded-for"), address),
            ProxyHeader::Forwarded => (FORWARDED, forwarded_for),
        };
        let values = headers.get_all(name);
        values.iter().flat_map(|value| elements(value.to_str().unwrap_or_default()).map(read)).collect()
    }
}

/// The elements of a list: commas in quotation marks are no commas.
fn elements(list: &str) -> impl Iterator<Item = &str> {
    separated(list, ',')
}

fn separated(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
    .map(str::trim)
}

/// The `for` of one element of `Forwarded`; none for `unknown` and names that hide the address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = separated(element, ';').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    let (_, value) = named.next()?;
    named.next().is_none().then_some(())?;
    address(value.trim().trim_matches('"'))
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn clients(header: ProxyHeader) -> Clients {
        let proxies = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec();
        Clients { proxies, header, nodes: Arc::new(Nodes::with(&["192.0.2.99"])) }
    }

    fn who(clients: &Clients, peer: &str, headers: &[(&'static str, &str)]) -> (String, bool) {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let peer = SocketAddr::new(peer.parse().unwrap(), 50_000);
        let Client { address, exempt } = clients.of(peer, &headers.collect());
        (address.to_string(), exempt)
    }

    #[rstest]
    #[case::alone("10.0.0.1", &["203.0.113.7"], "203.0.113.7")]
    #[case::the_last_counts("10.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7")]
    #[case::through_two_of_ours("10.0.0.1", &["1.1.1.1, 203.0.113.7, 10.0.0.2"], "203.0.113.7")]
    #[case::in_two_headers("10.0.0.1", &["1.1.1.1", "203.0.113.7"], "203.0.113.7")]
    #[case::with_a_port("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7")]
    #[case::version_six("10.0.0.1", &["2001:db8::7"], "2001:db8::7")]
    #[case::version_six_with_a_port("10.0.0.1", &["[2001:db8::7]:80"], "2001:db8::7")]
    #[case::a_proxy_of_version_six("fd00::1", &["203.0.113.7"], "203.0.113.7")]
    #[case::a_mapped_proxy("::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7")]
    #[case::a_stranger_says("198.51.100.1", &["203.0.113.7"], "198.51.100.1")]
    fn a_trusted_proxy_is_believed_and_nobody_else(#[case] peer: &str, #[case] values: &[&str], #[case] client: &str) {
        let headers: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
        assert_eq!(who(&clients(ProxyHeader::XForwardedFor), peer, &headers), (client.into(), false));
    }

    #[rstest]
    #[case("for=203.0.113.7", "203.0.113.7")]
    #[case("for=1.1.1.1, For=\"203.0.113.7:80\";proto=https;by=10.0.0.1", "203.0.113.7")]
    #[case("for=\"[2001:db8::7]:4711\"", "2001:db8::7")]
    #[case("by=\"x,for=1.1.1.1\";for=203.0.113.7", "203.0.113.7")]
    fn the_standard_header_is_read_when_the_operator_says_so(#[case] value: &str, #[case] client: &str) {
        let both = [("forwarded", value), ("x-forwarded-for", "1.1.1.1")];
        assert_eq!(who(&clients(ProxyHeader::Forwarded), "10.0.0.1", &both), (client.into(), false));
        // And the other one is what anybody could have written.
        assert_eq!(who(&clients(ProxyHeader::XForwardedFor), "10.0.0.1", &both), ("1.1.1.1".into(), false));
    }

    #[rstest]
    #[case("for=unknown")]
    #[case("for=_hidden")]
    #[case("for=1.1.1.1;for=2.2.2.2")]
    #[case("")]
    #[case("1.1.1.1")]
    fn a_trusted_proxy_that_names_nobody_is_exempt(#[case] value: &str) {
        let headers = [("forwarded", value)];
        assert_eq!(who(&clients(ProxyHeader::Forwarded), "10.0.0.1", &headers), ("10.0.0.1".into(), true));
        assert_eq!(who(&clients(ProxyHeader::XForwardedFor), "10.0.0.1", &[]), ("10.0.0.1".into(), true));
    }

    #[test]
    fn what_cannot_be_read_ends_the_row_and_hides_nobody_behind_it() {
        let headers = [("x-forwarded-for", "203.0.113.7, nonsense, 10.0.0.2")];
        assert_eq!(who(&clients(ProxyHeader::XForwardedFor), "10.0.0.1", &headers), ("10.0.0.2".into(), true));
    }

    #[test]
    fn a_node_is_exempt_since_anybody_may_come_through_it() {
        let clients = clients(ProxyHeader::XForwardedFor);
        assert_eq!(who(&clients, "192.0.2.99", &[]), ("192.0.2.99".into(), true));
        assert_eq!(who(&clients, "10.0.0.1", &[("x-forwarded-for", "192.0.2.99")]), ("192.0.2.99".into(), true));
        // But it is no proxy.
        assert_eq!(who(&clients, "192.0.2.99", &[("x-forwarded-for", "1.1.1.1")]), ("192.0.2.99".into(), true));
    }

    #[test]
    fn without_trusted_proxies_no_header_is_read() {
        let headers = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=1.1.1.1")];
        assert_eq!(who(&Clients::default(), "10.0.0.1", &headers), ("10.0.0.1".into(), false));
    }
}
