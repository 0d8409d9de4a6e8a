//! What the platform team does to the release, while everybody goes on asking for tokens.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use keyrota::domain::record::{DATA_KEY, Record};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::super::release::{self, NAMESPACE};
use super::super::workload;
use super::super::{SOON, say};
use super::{ACCOUNT, SECRET, Suite, TENANT};
use crate::common::eventually;

const CONTROLLER: &str = "keyrota-controller";

impl Suite<'_> {
    /// Every process of it, its gateway's too: the lease has to run out.
    pub(crate) async fn leader_is_killed(&self) {
        let traffic = self.traffic();
        let leader = self.leader().await.expect("somebody leads");
        let pod = leader.split('_').next().unwrap();
        let containers = self.pods(NAMESPACE).get(pod).await.unwrap().status.unwrap().container_statuses.unwrap();
        for container in containers {
            self.place.kill(container.container_id.as_deref().unwrap());
        }
        let remove = ["--namespace", NAMESPACE, "delete", "pod", pod, "--grace-period=0", "--force"];
        release::kubectl(self.place, &remove).await;
        eventually("another controller leads", SOON, async || self.leader().await.filter(|it| *it != leader)).await;
        self.create_account("under-the-next", json!({})).await;
        self.ready_account("under-the-next").await;
        self.rolled_out(NAMESPACE, CONTROLLER, 2).await;
        self.nobody_was_refused(&traffic);
    }

    pub(crate) async fn upgrade(&self) {
        let before = self.versions().await;
        let traffic = self.traffic();
        release::deploy(self.place, "upgrade", &self.charts.present, &[]).await;
        self.release_is_rolled_out(2).await;
        self.nobody_was_refused(&traffic);
        assert_eq!(self.versions().await, before, "no credential was rotated");
    }

    pub(crate) async fn three_gateways(&self) {
        let before = self.versions().await;
        let traffic = self.traffic();
        release::deploy(self.place, "upgrade", &self.charts.present, &["controller.replicas=3"]).await;
        self.release_is_rolled_out(3).await;
        self.each_gateway_grants(3).await;
        self.nobody_was_refused(&traffic);
        assert_eq!(self.versions().await, before, "no credential was rotated");
    }

    /// Gateways in Pods of their own, instead of beside the controllers.
    pub(crate) async fn other_form(&self) {
        let before = self.versions().await;
        let traffic = self.traffic();
        let form = ["gateway.mode=deployment", "gateway.autoscaling.enabled=false", "gateway.replicas=2"];
        release::deploy(self.place, "upgrade", &self.charts.present, &form).await;
        self.rolled_out(NAMESPACE, "keyrota-gateway", 2).await;
        self.release_is_rolled_out(2).await;
        self.each_gateway_grants(2).await;
        self.nobody_was_refused(&traffic);
        assert_eq!(self.versions().await, before, "no credential was rotated");
    }

    async fn each_gateway_grants(&self, count: usize) {
        let gateways = eventually("there are as many gateways as wanted", SOON, async || {
            Some(self.gateways().await).filter(|gateways| gateways.len() == count)
        })
        .await;
        for pod in &gateways {
            let address = self.pods(NAMESPACE).get(pod).await.unwrap().status.and_then(|it| it.pod_ip).unwrap();
            assert_eq!(self.ask_from_a_workload(&address).await, "200", "by {pod}");
        }
    }

    /// To the first revision: the previous version, and the form with gateways beside the controllers.
    pub(crate) async fn rollback(&self) {
        let before = self.versions().await;
        let traffic = self.traffic();
        release::helm(self.place, &["rollback", release::NAME, "1"]).await;
        self.release_is_rolled_out(2).await;
        self.each_gateway_grants(2).await;
        self.nobody_was_refused(&traffic);
        assert_eq!(self.versions().await, before, "no credential was rotated");
    }

    pub(crate) async fn reinstall(&self) {
        let (before, credential) = (self.versions().await, self.credential().await);
        release::helm(self.place, &["uninstall", release::NAME, "--wait"]).await;
        eventually("no Pod is left", SOON, async || {
            self.pods(NAMESPACE).list(&ListParams::default()).await.unwrap().items.is_empty().then_some(())
        })
        .await;
        assert!(self.credential().await == credential, "the published Secret is kept");
        assert!(self.accounts().get(ACCOUNT).await.is_ok(), "the account is kept");
        let traffic = self.traffic();
        release::deploy(self.place, "install", &self.charts.present, &[]).await;
        self.release_is_rolled_out(2).await;
        assert_eq!(self.ask(&credential).await.0, 200, "the same credential goes on");
        // The Service is a new one, with another address, which the workloads would learn from DNS.
        self.apply(Some(TENANT), &workload::deployment(ACCOUNT, SECRET, &self.gateway().await)).await;
        self.rolled_out(TENANT, ACCOUNT, 2).await;
        self.nobody_was_refused(&traffic);
        assert_eq!(self.versions().await, before, "no credential was rotated");
    }

    async fn release_is_rolled_out(&self, pods: i32) {
        self.rolled_out(NAMESPACE, CONTROLLER, pods).await;
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        let deployment = deployments.get(CONTROLLER).await.unwrap();
        say(&format!("  {pods} Pods of {}", deployment.labels()["helm.sh/chart"]));
    }

    /// Who holds the lease: a Pod's name, and what tells the processes in it apart.
    async fn leader(&self) -> Option<String> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        leases.get("keyrota-controller").await.ok()?.spec?.holder_identity.filter(|holder| !holder.is_empty())
    }

    /// How many credentials each account has had, by its name.
    async fn versions(&self) -> BTreeMap<String, i64> {
        let records = ListParams::default().fields("type=keyrota.dev/account-record");
        let records = self.secrets(NAMESPACE).list(&records).await.unwrap();
        let parse = |secret: &k8s_openapi::api::core::v1::Secret| {
            let record = Record::parse(&secret.data.as_ref().unwrap()[DATA_KEY].0).unwrap();
            (format!("{}/{}", record.account.namespace, record.account.name), record.last_version)
        };
        records.items.iter().map(parse).collect()
    }

    /// The manual's request by a workload's Pod to one gateway alone: the status.
    async fn ask_from_a_workload(&self, address: &str) -> String {
        let script = format!(
            r#"cd /credentials; /usr/bin/curl -s -m 10 -o /dev/null -w '%{{http_code}}' --cacert ca.crt \
              --connect-to "::{address}:8443" -d grant_type=Client_Credentials \
              -H "Authorization: Basic $(echo -n "$(/busybox cat client-id):$(/busybox cat client-secret)" | /busybox base64 -w 0)" \
              "$GATEWAY/avxapi/acctmgmt-get-service-token""#
        );
        let deployment = format!("deployment/{ACCOUNT}");
        let command = ["--namespace", TENANT, "exec", &deployment, "--", "/busybox", "sh", "-c", &script];
        release::kubectl(self.place, &command).await
    }
}
