//! The CustomResourceDefinitions as they are installed, and as YAML.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::api::{ServiceAccount, TokenIssuer, UserGroup};

/// All three, in the order in which they are printed and applied.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    [ServiceAccount::crd(), UserGroup::crd(), TokenIssuer::crd()].map(with_defaults).into()
}

/// What the derive cannot say: an object without `spec` means all defaults, and a fresh `status` carries generation -1
/// so that kstatus never takes an unreconciled object for ready.
fn with_defaults(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        root.required = None;
        tidy(root);
        set_default(root, "spec", json!({}));
        set_default(root, "status", json!({"observedGeneration": -1}));
    }
    crd
}

fn set_default(root: &mut JSONSchemaProps, field: &str, value: serde_json::Value) {
    if let Some(schema) = root.properties.as_mut().and_then(|fields| fields.get_mut(field)) {
        schema.default = Some(JSON(value));
    }
}

/// Makes a derived schema, and all below it, what people and the API server are to see.
///
/// An explicit null means the same as a missing field: the API server prunes it before defaulting, so no rule ever
/// meets one. And the line ends of a comment are those of the source: kubectl breaks lines itself.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.description = schema.description.take().map(|text| one_line_a_paragraph(&text));
    for field in schema.properties.iter_mut().flat_map(|fields| fields.values_mut()) {
        tidy(field);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

fn one_line_a_paragraph(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

/// One CRD as a YAML document.
///
/// # Errors
/// When the serializer refuses it, which no CRD here makes it do.
pub fn yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(crd)
}

/// All of them as one YAML stream.
///
/// # Errors
/// As [`yaml`].
pub fn manifest() -> Result<String, serde_saphyr::ser::Error> {
    all().iter().map(|crd| Ok(format!("---\n{}", yaml(crd)?))).collect()
}

/// The file below `crds/` that holds a CRD.
#[must_use]
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}.yaml", crd.spec.names.plural)
}
