//! From nothing to workloads with tokens.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use tokio::process::Command;

use super::super::release::{self, NAMESPACE};
use super::super::workload::{self, Witness};
use super::super::{SOON, say};
use super::{ACCOUNT, SECRET, Suite, TENANT};
use crate::common::eventually;
use crate::common::operator::text;

impl Suite<'_> {
    /// The pretended previous version, into a namespace that is as strict as can be.
    pub(crate) async fn install(&mut self) {
        for name in [NAMESPACE, TENANT] {
            let labels = json!({
                "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
            });
            let namespace =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
            self.apply(None, &namespace).await;
        }
        let started = Instant::now();
        release::deploy(self.place, "install", &self.charts.previous, &[]).await;
        // A day is the shortest validity. The Deployment that it names does not exist yet.
        let restart = json!([{"kind": "Deployment", "name": ACCOUNT}]);
        self.create_account(ACCOUNT, json!({"clientSecret": {"validityDays": 1}, "rolloutRestart": restart})).await;
        self.ready_account(ACCOUNT).await;
        say(&format!(
            "  {:.1} s from helm install to a Ready account; 60 are promised",
            started.elapsed().as_secs_f64()
        ));
    }

    pub(crate) async fn pods_are_ready(&self) {
        self.rolled_out(NAMESPACE, "keyrota-controller", 2).await;
        self.rolled_out(NAMESPACE, "keyrota-console", 1).await;
        let pods: Vec<Pod> = self.pods(NAMESPACE).list(&ListParams::default()).await.unwrap().items;
        let mut names = Vec::new();
        for pod in pods {
            let containers = pod.status.unwrap_or_default().container_statuses.unwrap_or_default();
            assert!(containers.iter().all(|one| one.ready && one.restart_count == 0), "{containers:?}");
            names.extend(containers.into_iter().map(|one| one.name));
        }
        names.sort();
        // A gateway beside each controller.
        assert_eq!(names, ["console", "controller", "controller", "gateway", "gateway"]);
    }

    /// In another namespace than the gateway's, with the Secret mounted as files.
    pub(crate) async fn workloads_get_tokens(&mut self) {
        self.witness = Some(Witness::of(self.client.clone(), TENANT, ACCOUNT));
        let gateway = self.gateway().await;
        self.apply(Some(TENANT), &workload::deployment(ACCOUNT, SECRET, &gateway)).await;
        // They are ready once they got a token.
        self.rolled_out(TENANT, ACCOUNT, 2).await;
        let secret = self.secrets(TENANT).get(SECRET).await.unwrap();
        let url = text(&secret, "token-url");
        assert!(url.starts_with(&gateway.url()), "the Service's own name, without any value given: {url}");
    }

    /// Word for word, but for the pair.
    pub(crate) async fn node_port_answers(&self) {
        let secret = self.secrets(TENANT).get(SECRET).await.unwrap();
        let ca = self.place.scratch.path().join("ca.crt");
        std::fs::write(&ca, text(&secret, "ca.crt")).unwrap();
        let basic = STANDARD.encode(format!("{}:{}", text(&secret, "client-id"), text(&secret, "client-secret")));
        let url = format!("{}/avxapi/acctmgmt-get-service-token?gwsource=external", self.node_port());
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--noproxy", "*", "--cacert", ca.to_str().unwrap(), "--location", "--request", "POST"]);
        curl.args([&url, "--header", &format!("Authorization: Basic {basic}")]);
        curl.args(["--header", "Content-Type: application/x-www-form-urlencoded"]);
        curl.args(["--data-urlencode", "grant_type=Client_Credentials"]);
        // Without its arguments in any message: the pair is one of them.
        let output = curl.output().await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert!(answer["response"].as_str().is_some_and(|token| token.split('.').count() == 3), "{}", output.status);
        assert_eq!((&answer["message"], &answer["tags"]), (&json!(null), &json!({})));
    }

    /// With nothing but the token that the kubelet projects into the Pod.
    pub(crate) async fn projected_token(&self) {
        let gateway = self.gateway().await;
        let authentication = json!({
            "mode": "External", "externalClientId": format!("system:serviceaccount:{TENANT}:crawler"),
            "trustedIssuer": "kubernetes",
        });
        self.create_account("crawler", json!({"authentication": authentication})).await;
        self.ready_account("crawler").await;
        let identity = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "crawler"}});
        self.apply(Some(TENANT), &identity).await;
        let ca = text(&self.secrets(NAMESPACE).get("keyrota-gateway-tls").await.unwrap(), "ca.crt");
        let trust = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gateway-ca"}, "data": {"ca.crt": ca},
        });
        self.apply(Some(TENANT), &trust).await;
        self.apply(Some(TENANT), &workload::crawler("crawler", &gateway)).await;
        let pods: Api<Pod> = self.pods(TENANT);
        let said = eventually("the Pod has its answer", SOON, async || {
            let statuses = pods.get("crawler").await.ok()?.status?.container_statuses?;
            statuses.first()?.state.clone()?.terminated?.message
        })
        .await;
        assert_eq!(said.trim(), "200", "the standard endpoint's answer");
    }
}
