//! Rotations, while everybody goes on asking for tokens.

use chrono::TimeDelta;
use k8s_openapi::ByteString;
use keyrota::api::service_account::{CredentialState, Reason};
use keyrota::domain::names;
use keyrota::domain::record::{DATA_KEY, Record};
use kube::ResourceExt;
use kube::api::{ListParams, PostParams};
use serde_json::json;

use super::super::SOON;
use super::super::release::NAMESPACE;
use super::{ACCOUNT, SECRET, Suite, TENANT};
use crate::common::eventually;

/// Far behind the time of a rotation, which is two thirds of a day after the secret was made, and well before its end.
const AGE: TimeDelta = TimeDelta::hours(20);

impl Suite<'_> {
    pub(crate) async fn requested_rotation(&self) {
        let old = self.credential().await;
        let traffic = self.traffic();
        let pods = self.pods_of_workload().await;
        self.edit_account(ACCOUNT, json!({"spec": {"regenerate": {"clientSecret": 1}}})).await;
        self.replaced(&old, &pods).await;
        assert_eq!(self.current_reason().await, Reason::Requested);
        assert_eq!(self.ask(&old).await.0, 200, "during the grace, who has not read the new one goes on with the old");
        self.nobody_was_refused(&traffic);
    }

    /// The account is real and a day is the shortest validity, so its record is made to look older: the one thing here
    /// that an administrator would not do.
    pub(crate) async fn scheduled_rotation(&self) {
        let old = self.credential().await;
        let traffic = self.traffic();
        let pods = self.pods_of_workload().await;
        self.age().await;
        self.replaced(&old, &pods).await;
        assert_eq!(self.current_reason().await, Reason::Scheduled);
        assert_eq!(self.ask(&old).await.0, 200, "until its own end");
        self.nobody_was_refused(&traffic);
    }

    /// Waits until there is another credential and the workload was restarted for it.
    async fn replaced(&self, old: &(String, String), old_pods: &[String]) {
        eventually("there is another credential", SOON, async || (self.credential().await != *old).then_some(())).await;
        eventually("the workload is restarted", SOON, async || {
            let pods = self.pods_of_workload().await;
            (pods.len() == old_pods.len() && pods.iter().all(|pod| !old_pods.contains(pod))).then_some(())
        })
        .await;
        self.rolled_out(TENANT, ACCOUNT, 2).await;
    }

    /// Also those that are about to end.
    pub(super) async fn pods_of_workload(&self) -> Vec<String> {
        let pods = self.pods(TENANT).list(&ListParams::default().labels(&format!("app={ACCOUNT}"))).await.unwrap();
        pods.items.iter().map(ResourceExt::name_any).collect()
    }

    async fn current_reason(&self) -> Reason {
        let status = self.ready_account(ACCOUNT).await;
        let current = status.credentials.iter().find(|one| one.state == CredentialState::Current);
        current.unwrap_or_else(|| panic!("{SECRET} holds no current credential")).reason
    }

    async fn age(&self) {
        let uid = self.accounts().get(ACCOUNT).await.unwrap().uid().unwrap();
        let records = self.secrets(NAMESPACE);
        eventually("the record is written", SOON, async || {
            let mut secret = records.get(&names::record(&uid)).await.unwrap();
            let mut record = Record::parse(&secret.data.as_ref().unwrap()[DATA_KEY].0).unwrap();
            for version in &mut record.versions {
                version.not_before = version.not_before.saturating_add(-AGE);
                version.not_after = version.not_after.saturating_add(-AGE);
            }
            let json = ByteString(record.to_json().unwrap().into_bytes());
            secret.data.as_mut().unwrap().insert(DATA_KEY.to_owned(), json);
            // With its resourceVersion: the operator may write, too.
            records.replace(&names::record(&uid), &PostParams::default(), &secret).await.ok()
        })
        .await;
    }
}
