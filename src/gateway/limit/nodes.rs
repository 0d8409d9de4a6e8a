//! The addresses of the cluster's nodes: a service of type NodePort or LoadBalancer may show one of them instead of the
//! client's, so that nobody may be limited by it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt};
use parking_lot::RwLock;

use crate::watch;

/// Nodes and their addresses.
#[derive(Debug, Default)]
pub struct Nodes(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    by_name: HashMap<String, Vec<IpAddr>>,
    /// A list that is still coming in.
    arriving: HashMap<String, Vec<IpAddr>>,
    all: HashSet<IpAddr>,
}

impl Nodes {
    /// Whether an address is a node's.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.0.read().all.contains(&address.to_canonical())
    }

    /// Watches them for ever. Without the right to, nobody is exempt, and the log says so.
    pub async fn follow(&self, client: Client) {
        let api: Api<DeserializeGuard<Node>> = Api::all(client);
        let take = |event| {
            self.take(event);
            std::future::ready(())
        };
        watch::events(api, watch::config(), "nodes").for_each(take).await;
    }

    fn take(&self, event: Event<Node>) {
        let mut known = self.0.write();
        match event {
            Event::Init => known.arriving.clear(),
            Event::InitApply(node) => drop(known.arriving.insert(node.name_any(), addresses(&node))),
            Event::InitDone => known.by_name = std::mem::take(&mut known.arriving),
            Event::Apply(node) => drop(known.by_name.insert(node.name_any(), addresses(&node))),
            Event::Delete(node) => drop(known.by_name.remove(&node.name_any())),
        }
        known.all = known.by_name.values().flatten().copied().collect();
    }

    #[cfg(test)]
    pub(crate) fn with(addresses: &[&str]) -> Self {
        let all = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Self(RwLock::new(Known { all, ..Known::default() }))
    }
}

/// Internal and external ones; the rest are names.
fn addresses(node: &Node) -> Vec<IpAddr> {
    let listed = node.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    listed.iter().filter_map(|entry| entry.address.parse().ok()).map(|address: IpAddr| address.to_canonical()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, addresses: &[&str]) -> Node {
        let addresses: Vec<_> = addresses.iter().map(|a| json!({"type": "InternalIP", "address": a})).collect();
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"addresses": addresses}})).unwrap()
    }

    fn has(nodes: &Nodes, address: &str) -> bool {
        nodes.has(address.parse().unwrap())
    }

    #[test]
    fn nodes_come_and_go_and_a_list_takes_effect_when_it_is_complete() {
        let nodes = Nodes::default();
        nodes.take(Event::Apply(node("a", &["192.0.2.1", "a.example", "2001:db8::1"])));
        assert!(has(&nodes, "192.0.2.1") && has(&nodes, "2001:db8::1") && has(&nodes, "::ffff:192.0.2.1"));
        assert!(!has(&nodes, "192.0.2.2"));
        nodes.take(Event::Apply(node("a", &["192.0.2.2"])));
        assert!(!has(&nodes, "192.0.2.1") && has(&nodes, "192.0.2.2"));
        nodes.take(Event::Init);
        nodes.take(Event::InitApply(node("b", &["192.0.2.3"])));
        assert!(has(&nodes, "192.0.2.2") && !has(&nodes, "192.0.2.3"));
        nodes.take(Event::InitDone);
        assert!(!has(&nodes, "192.0.2.2") && has(&nodes, "192.0.2.3"));
        nodes.take(Event::Delete(node("b", &[])));
        assert!(!has(&nodes, "192.0.2.3"));
    }
}
