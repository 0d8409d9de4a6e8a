//! A tenant that goes.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use keyrota::domain::names::{LABEL_NAMESPACE, LABEL_TOMBSTONE};
use kube::Api;
use kube::api::{DeleteParams, ListParams};

use super::super::SOON;
use super::super::release::{self, NAMESPACE};
use super::{ACCOUNT, Suite, TENANT};
use crate::common::eventually;

impl Suite<'_> {
    /// Ends the workload: what its Pods met between the rotations stands in their last words.
    async fn every_workload_is_heard(&mut self) {
        let deployment = format!("deployment/{ACCOUNT}");
        release::kubectl(self.place, &["--namespace", TENANT, "scale", &deployment, "--replicas=0"]).await;
        eventually("no Pod of the workload is left", SOON, async || {
            self.pods_of_workload().await.is_empty().then_some(())
        })
        .await;
        let said = self.witness.take().map(|witness| witness.said()).unwrap_or_default();
        assert!(said.values().all(|said| said.contains("refused=0")), "{said:?}");
        // Two at first, two after each of two rotations, and two that know the new Service.
        assert_eq!(said.len(), 8, "{said:?}");
    }

    /// Nothing hangs, nothing works any more, and what there was is remembered without its hashes.
    pub(crate) async fn namespace_deleted(&mut self) {
        let credential = self.credential().await;
        assert_eq!(self.ask(&credential).await.0, 200);
        self.every_workload_is_heard().await;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(TENANT, &DeleteParams::default()).await.unwrap();
        eventually("the namespace is gone", SOON, async || {
            namespaces.get_opt(TENANT).await.unwrap().is_none().then_some(())
        })
        .await;
        eventually("its credentials are refused", SOON, async || {
            let (status, body) = self.ask(&credential).await;
            (status == 400 && body.contains("ACCT_SA_003")).then_some(())
        })
        .await;
        let of_tenant = ListParams::default().labels(&format!("{LABEL_NAMESPACE}={TENANT}"));
        eventually("its records are gone", SOON, async || {
            self.secrets(NAMESPACE).list(&of_tenant).await.unwrap().items.is_empty().then_some(())
        })
        .await;
        let tombstones: Api<ConfigMap> = Api::namespaced(self.client.clone(), NAMESPACE);
        let remembered = ListParams::default().labels(&format!("{LABEL_TOMBSTONE}=true,{LABEL_NAMESPACE}={TENANT}"));
        let remembered = tombstones.list(&remembered).await.unwrap().items;
        assert_eq!(remembered.len(), 3, "the three accounts that there were");
    }
}
