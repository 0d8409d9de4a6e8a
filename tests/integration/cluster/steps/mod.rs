//! The steps, each on what the ones before have left.

mod confinement;
mod console;
mod credentials;
mod operations;
mod rotations;
mod tenants;

use std::collections::BTreeMap;
use std::process::Command;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret, Service as ServiceObject};
use keyrota::api::{ConditionStatus, ServiceAccount, ServiceAccountStatus};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::SOON;
use super::place::Place;
use super::release::{self, Charts, NAMESPACE};
use super::traffic::{self, Traffic};
use super::workload::{Service, Witness};
use crate::common::eventually;
use crate::common::operator::{condition, text};

/// A tenant.
const TENANT: &str = "shop";
/// Its account, used by a Deployment of the same name.
const ACCOUNT: &str = "orders";
/// The account's Secret.
const SECRET: &str = "orders-credentials";
/// The chart's port of every node.
const NODE_PORT: u16 = 31443;

/// What all steps share.
pub(super) struct Suite<'a> {
    place: &'a Place,
    client: Client,
    charts: Charts,
    witness: Option<Witness>,
}

impl<'a> Suite<'a> {
    pub(super) async fn new(place: &'a Place) -> Self {
        Self { client: place.client(), charts: Charts::package(place).await, witness: None, place }
    }

    /// Leaves a cluster that is not ours as it was.
    pub(super) async fn end(self) {
        release::helm(self.place, &["uninstall", release::NAME, "--wait"]).await;
        let crds = ["serviceaccounts.keyrota.dev", "usergroups.keyrota.dev", "tokenissuers.keyrota.dev"];
        release::kubectl(self.place, &[&["delete", "crd"], crds.as_slice()].concat()).await;
        release::kubectl(self.place, &["delete", "namespace", NAMESPACE, release::NOTIFICATIONS]).await;
    }

    fn accounts(&self) -> Api<ServiceAccount> {
        Api::namespaced(self.client.clone(), TENANT)
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn node_port(&self) -> String {
        format!("https://{}:{NODE_PORT}", self.place.node_address)
    }

    /// Puts an object there, as `kubectl apply --server-side` would.
    async fn apply(&self, namespace: Option<&str>, object: &Value) {
        let file = self.place.scratch.path().join("object.json");
        std::fs::write(&file, object.to_string()).unwrap();
        let namespace = namespace.map(|name| ["--namespace", name]);
        let arguments = ["apply", "--server-side", "--force-conflicts", "--filename", file.to_str().unwrap()];
        let arguments = [namespace.as_slice().concat().as_slice(), &arguments].concat();
        // A kind whose definition was made a moment ago is not served everywhere at once.
        eventually("what is applied is accepted", SOON, async || {
            match release::try_kubectl(self.place, &arguments).await {
                Ok(_) => Some(()),
                Err(said) if said.contains("no matches for kind") || said.contains("There can be a delay") => None,
                Err(said) => panic!("kubectl {arguments:?}: {said}"),
            }
        })
        .await;
    }

    async fn create_account(&self, name: &str, spec: Value) {
        let account = json!({
            "apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount", "metadata": {"name": name}, "spec": spec,
        });
        self.apply(Some(TENANT), &account).await;
    }

    async fn edit_account(&self, name: &str, change: Value) {
        self.accounts().patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }

    async fn ready_account(&self, name: &str) -> ServiceAccountStatus {
        eventually(&format!("the account {name} is Ready"), SOON, async || {
            let account = self.accounts().get(name).await.ok()?;
            let status = account.status.filter(|it| Some(it.observed_generation) == account.metadata.generation)?;
            (condition(&status, "Ready").0 == Some(ConditionStatus::True)).then_some(status)
        })
        .await
    }

    async fn credential(&self) -> (String, String) {
        let secret = self.secrets(TENANT).get(SECRET).await.unwrap();
        (text(&secret, "client-id"), text(&secret, "client-secret"))
    }

    /// What the gateway says to a credential, at the node's port; asks again on 503.
    async fn ask(&self, credential: &(String, String)) -> (u16, String) {
        let ca = text(&self.secrets(NAMESPACE).get("keyrota-gateway-tls").await.unwrap(), "ca.crt");
        let http = traffic::client(&ca);
        eventually("the gateway answers", SOON, async || {
            let answer = traffic::ask(&http, &self.node_port(), &credential.0, &credential.1).await;
            answer.filter(|(status, _)| *status != 503)
        })
        .await
    }

    fn traffic(&self) -> Traffic {
        Traffic::start(self.secrets(TENANT), SECRET, &self.node_port())
    }

    /// Ends traffic, which nobody may have refused.
    fn nobody_was_refused(&self, traffic: &Traffic) {
        let answers = traffic.answers();
        assert_eq!(answers.refused, Vec::<String>::new(), "of {} grants", answers.granted);
        assert!(answers.granted > 0, "{answers:?}");
        let said = self.witness.as_ref().map(Witness::said).unwrap_or_default();
        let refused: BTreeMap<_, _> = said.iter().filter(|(_, said)| !said.contains("refused=0")).collect();
        assert!(refused.is_empty(), "{refused:?}");
        let (granted, later, ended) = (answers.granted, answers.later, said.len());
        super::say(&format!("  {granted} grants, {later} to try again, none refused; nor by {ended} Pods that ended"));
    }

    /// Where the gateway's Service is.
    async fn gateway(&self) -> Service {
        self.service("keyrota-gateway").await
    }

    async fn service(&self, name: &str) -> Service {
        let services: Api<ServiceObject> = Api::namespaced(self.client.clone(), NAMESPACE);
        let address = services.get(name).await.unwrap().spec.and_then(|spec| spec.cluster_ip).unwrap();
        Service { host: format!("{name}.{NAMESPACE}.svc"), address }
    }

    /// Waits until a Deployment has this many new Pods, all available, and none of the old.
    async fn rolled_out(&self, namespace: &str, name: &str, pods: i32) {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        eventually(&format!("{namespace}/{name} is rolled out"), SOON, async || {
            let deployment = deployments.get(name).await.ok()?;
            let generation = deployment.metadata.generation;
            let status = deployment.status?;
            let counts = [status.replicas, status.updated_replicas, status.available_replicas];
            (status.observed_generation == generation && counts == [Some(pods); 3]).then_some(())
        })
        .await;
    }

    /// Pods that hold a gateway and do not end.
    async fn gateways(&self) -> Vec<String> {
        let with_a_gateway = ListParams::default().labels("keyrota.dev/gateway=true");
        let pods = self.pods(NAMESPACE).list(&with_a_gateway).await.unwrap();
        let stay = pods.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        stay.map(ResourceExt::name_any).collect()
    }
}

/// What a person would look at first: Pods, Events that warn, the ends of logs.
pub(super) fn post_mortem(place: &Place) -> String {
    let kubectl = |arguments: &[&str]| {
        let output = Command::new(&place.kubectl).arg("--kubeconfig").arg(&place.kubeconfig).args(arguments).output();
        let output = output.map(|it| [it.stdout, it.stderr].concat()).unwrap_or_default();
        String::from_utf8_lossy(&output).into_owned()
    };
    let mut said = kubectl(&["get", "pods", "--all-namespaces", "--output", "wide"]);
    let warnings = kubectl(&["get", "events", "--all-namespaces", "--field-selector", "type=Warning"]);
    // Of every cluster like ours.
    let known = |line: &str| line.contains("MissingClusterDNS") || line.contains("CgroupV1");
    said.extend(warnings.lines().rev().filter(|line| !known(line)).take(12).map(|line| format!("{line}\n")));
    for namespace in [NAMESPACE, TENANT] {
        let pods = kubectl(&["--namespace", namespace, "get", "pods", "--output", "name"]);
        for pod in pods.lines() {
            said.push_str(&format!("--- {namespace} {pod}\n"));
            said.push_str(&kubectl(&["--namespace", namespace, "logs", pod, "--all-containers", "--tail=8"]));
        }
    }
    said + &place.last_words()
}
