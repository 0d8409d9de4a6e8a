//! Objects that were stored before a rule existed go on living: only what breaks the rule has to be put right.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use keyrota::api::ServiceAccount;
use keyrota::crds;
use keyrota::domain::account::Account;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{Server, read};
use crate::common::{eventually, install};

/// A group of its own, so that no other test sees the kind without its rules.
const GROUP: &str = "ratcheting.example";

/// The CRD of ServiceAccount under [`GROUP`], changed by `edit`.
fn copy(edit: impl Fn(&mut Value)) -> CustomResourceDefinition {
    let mut crd = serde_json::to_value(&crds::all()[0]).unwrap();
    crd["metadata"]["name"] = format!("serviceaccounts.{GROUP}").into();
    crd["spec"]["group"] = GROUP.into();
    crd["spec"]["names"]["shortNames"] = Value::Null;
    crd["spec"]["names"]["categories"] = Value::Null;
    edit(&mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]);
    serde_json::from_value(crd).unwrap()
}

/// As it was before these rules were thought of.
fn earlier() -> CustomResourceDefinition {
    copy(|spec| {
        spec["x-kubernetes-validations"] = Value::Null;
        let fields = &mut spec["properties"];
        fields["description"]["x-kubernetes-validations"] = Value::Null;
        fields["contact"]["properties"]["email"] = json!({"type": "string"});
        fields["clientSecret"]["properties"]["validityDays"]["maximum"] = Value::Null;
    })
}

struct Earlier {
    server: Server,
    collection: String,
}

impl Earlier {
    async fn store(&self, name: &str, spec: Value) {
        let object = json!({
            "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "ServiceAccount", "metadata": {"name": name}, "spec": spec,
        });
        self.server.send("POST", &self.collection, &object).await.unwrap();
    }

    async fn patch(&self, path: &str, patch: Value) -> Result<Value, String> {
        self.server.send("PATCH", &format!("{}/{path}", self.collection), &patch).await
    }
}

#[tokio::test]
async fn what_was_stored_before_a_rule_can_still_be_edited_and_reported_on() {
    let server = Server::new().await;
    install(&server.client, &earlier()).await;
    let collection = format!("/apis/{GROUP}/v1alpha1/namespaces/{}/serviceaccounts", server.namespace.name);
    let earlier = Earlier { server, collection };
    let fields = json!({
        "description": "a bell \u{7}",
        "contact": {"email": "Team A <a@example.com>"},
        "clientSecret": {"validityDays": 400},
    });
    earlier.store("fields", fields).await;
    let contradiction = json!({
        "authentication": {"mode": "External", "externalClientId": "x"}, "contact": {"email": "a@example.com"},
    });
    earlier.store("contradiction", contradiction).await;

    install(&earlier.server.client, &copy(|_| {})).await;
    eventually("the rules are in force", Duration::from_secs(60), async || {
        let refused = earlier.patch("fields?dryRun=All", json!({"spec": {"description": "another bell \u{7}"}})).await;
        refused.err().filter(|message| message.contains("description may not hold control characters"))
    })
    .await;

    // Rules about one field: the rest can be edited, and the field only for the better.
    earlier.patch("fields", json!({"spec": {"enabled": false, "userGroups": ["a"]}})).await.unwrap();
    earlier.patch("fields", json!({"spec": {"clientSecret": {"rotation": "Manual"}}})).await.unwrap();
    earlier.patch("fields/status", json!({"status": {"observedGeneration": 2}})).await.unwrap();
    let worse = earlier.patch("fields", json!({"spec": {"clientSecret": {"validityDays": 401}}})).await.unwrap_err();
    assert!(worse.contains("spec.clientSecret.validityDays"), "{worse}");
    // The reader meets such objects, and says which field it is.
    let stored = earlier.patch("fields", json!({"spec": {"contact": {"email": "a@example.com"}}})).await.unwrap();
    let stored: ServiceAccount = read(stored).unwrap();
    assert_eq!(Account::parse(&stored).unwrap_err().field, "clientSecret.validityDays");

    // Rules about the whole spec bar its edits until it is right, but neither labels nor the status nor the way out.
    earlier.patch("contradiction", json!({"metadata": {"labels": {"team": "a"}}})).await.unwrap();
    earlier.patch("contradiction/status", json!({"status": {"observedGeneration": 1}})).await.unwrap();
    let barred = earlier.patch("contradiction", json!({"spec": {"enabled": false}})).await.unwrap_err();
    assert!(barred.contains("contact is only for authentication.mode Internal"), "{barred}");
    earlier.patch("contradiction", json!({"spec": {"enabled": false, "contact": null}})).await.unwrap();

    let crds: Api<CustomResourceDefinition> = Api::all(earlier.server.client.clone());
    crds.delete(&format!("serviceaccounts.{GROUP}"), &DeleteParams::default()).await.unwrap();
}
