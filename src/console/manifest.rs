//! The YAML of an account, as one would keep it in Git.

use serde_json::{Map, Value, json};

use crate::api::ServiceAccount;

/// The YAML of an object.
///
/// # Errors
/// Never for what a form makes.
pub fn yaml(object: &Value) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(object)
}

/// The manifest of an object after a change: without what the cluster adds.
#[must_use]
pub fn changed(object: &ServiceAccount, change: &Map<String, Value>) -> Value {
    let mut spec = serde_json::to_value(&object.spec).unwrap_or_default();
    merge(&mut spec, &Value::Object(change.clone()));
    let mut metadata = json!({"name": object.metadata.name, "namespace": object.metadata.namespace});
    if let Some(labels) = object.metadata.labels.as_ref().filter(|labels| !labels.is_empty()) {
        metadata["labels"] = json!(labels);
    }
    json!({"apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount", "metadata": metadata, "spec": spec})
}

fn merge(target: &mut Value, patch: &Value) {
    let (Value::Object(fields), Value::Object(changes)) = (&mut *target, patch) else {
        *target = patch.clone();
        return;
    };
    for (key, change) in changes {
        if change.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key).or_insert_with(|| json!({})), change);
        }
    }
}
