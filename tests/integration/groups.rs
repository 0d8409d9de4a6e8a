//! User groups as the platform team sees them: how many accounts are in each.

use keyrota::api::{ConditionStatus, UserGroup, UserGroupStatus};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::common::eventually;
use super::common::operator::{Operator, SOON};

/// A cluster-scoped object that goes with the test's namespace: other tests' operators see it, too.
async fn group(operator: &Operator, what: &str, issuers: &[&str]) -> String {
    let name = format!("{what}-{}", operator.tenant.name);
    let group = json!({
        "apiVersion": "keyrota.dev/v1alpha1", "kind": "UserGroup", "metadata": {"name": name}, "spec": {"issuers": issuers},
    });
    let groups: Api<UserGroup> = Api::all(operator.client.clone());
    groups.create(&PostParams::default(), &serde_json::from_value(group).unwrap()).await.unwrap();
    name
}

async fn until(operator: &Operator, name: &str, wanted: impl Fn(&UserGroupStatus) -> bool) -> UserGroupStatus {
    let groups: Api<UserGroup> = Api::all(operator.client.clone());
    eventually(&format!("{name} is reported"), SOON, async || {
        groups.get(name).await.unwrap().status.filter(|status| wanted(status))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_shows_how_many_accounts_of_its_issuers_name_it_in_few_writes() {
    let operator = Operator::start().await;
    let (deployers, strangers) =
        (group(&operator, "deployers", &[]).await, group(&operator, "strangers", &["nobody-has-it"]).await);
    let spec = json!({"enabled": false, "userGroups": [deployers, strangers]});
    for number in 0..100 {
        operator.create(&format!("a{number}"), spec.clone()).await;
    }
    until(&operator, &deployers, |status| status.members == Some(100)).await;
    let status = until(&operator, &strangers, |status| status.members == Some(0)).await;
    assert_eq!(
        (status.conditions[0].status, status.conditions[0].reason.as_str()),
        (ConditionStatus::False, "TokenIssuerNotFound")
    );
    let writes = operator.writes().iter().filter(|(_, _, name)| *name == deployers).count();
    println!("100 accounts in a burst cost {writes} writes of their group");
    assert!(writes <= 10, "{writes} writes");

    operator.edit("a0", json!({"spec": {"userGroups": []}})).await;
    operator.accounts().delete("a1", &DeleteParams::default()).await.unwrap();
    let status = until(&operator, &deployers, |status| status.members == Some(98)).await;
    assert_eq!(status.conditions[0].status, ConditionStatus::True);
    let groups: Api<UserGroup> = Api::all(operator.client.clone());
    for name in [deployers, strangers] {
        groups.delete(&name, &DeleteParams::default()).await.unwrap();
    }
}
