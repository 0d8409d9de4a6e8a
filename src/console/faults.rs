//! What the API server said to a form, each beside the field that it is about.

use std::collections::BTreeMap;

use kube::core::Status;

use super::problem::said;

/// What is wrong, by field; and what belongs to none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    fields: BTreeMap<&'static str, Vec<String>>,
    /// What belongs to no field of the form.
    pub general: Vec<String>,
}

/// Paths of the object, longest first, and the fields of the form that they are typed into.
const FIELDS: [(&str, &str); 13] = [
    ("spec.authentication.externalClientId", "client-id"),
    ("spec.clientSecret.expiryNotifications", "notify"),
    ("spec.authentication.trustedIssuer", "trusted-issuer"),
    ("spec.clientSecret.validityDays", "validity"),
    ("spec.clientSecret.rotation", "rotation"),
    ("spec.clientSecret.overlap", "validity"),
    ("spec.authentication.mode", "external"),
    ("spec.clientSecret", "validity"),
    ("spec.authentication", "client-id"),
    ("spec.contact", "email"),
    ("spec.description", "description"),
    ("metadata.namespace", "namespace"),
    ("metadata.name", "name"),
];

/// What the API server adds to other causes: that it has not looked at everything. Nobody can do anything about it.
const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid";

impl Faults {
    /// One fault of one field.
    #[must_use]
    pub fn field(field: &'static str, text: impl Into<String>) -> Self {
        Self { fields: [(field, vec![text.into()])].into(), general: Vec::new() }
    }

    /// One fault of the whole.
    #[must_use]
    pub fn general(text: impl Into<String>) -> Self {
        Self { fields: BTreeMap::new(), general: vec![text.into()] }
    }

    /// What the API server said, word for word, each beside its field.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        let mut faults = Self::default();
        let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
        let tell = causes.iter().filter(|cause| !cause.message.is_empty() && !cause.message.contains(NOT_CHECKED));
        for cause in tell {
            match field_of(&cause.field).or_else(|| named_in(&cause.message)) {
                Some(field) => faults.fields.entry(field).or_default().push(cause.message.clone()),
                None => faults.general.push(cause.message.clone()),
            }
        }
        if faults.is_empty() {
            let about_name = status.reason == "AlreadyExists";
            let about_namespace =
                status.code == 404 && status.details.as_ref().is_some_and(|details| details.kind == "namespaces");
            match (about_name, about_namespace) {
                (true, _) => return Self::field("name", said(status)),
                (_, true) => return Self::field("namespace", said(status)),
                _ => faults.general.push(said(status)),
            }
        }
        faults
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.general.is_empty()
    }

    /// What is wrong with a field.
    #[must_use]
    pub fn at(&self, field: &str) -> &[String] {
        self.fields.get(field).map(Vec::as_slice).unwrap_or_default()
    }

    /// Every fault with the field it is shown at, for the summary above the form.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &String)> {
        self.fields.iter().flat_map(|(field, texts)| texts.iter().map(move |text| (*field, text)))
    }
}

fn field_of(path: &str) -> Option<&'static str> {
    let below = |root: &str| path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with(['.', '[']));
    FIELDS.into_iter().find(|(root, _)| below(root)).map(|(_, field)| field)
}

/// A rule on the object as a whole has no path, `<nil>`; its message begins with one, as in
/// `Invalid value: metadata.name must be …`.
fn named_in(message: &str) -> Option<&'static str> {
    let text = message.strip_prefix("Invalid value: ").unwrap_or(message);
    field_of(text.split([' ', ':']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case("spec.clientSecret.validityDays", "validity")]
    #[case("spec.contact.email", "email")]
    #[case("spec.authentication", "client-id")]
    #[case("spec.authentication.externalClientId", "client-id")]
    #[case("metadata.name", "name")]
    #[case("spec.description", "description")]
    fn a_cause_is_shown_at_its_field(#[case] path: &str, #[case] field: &str) {
        let status = json!({"code": 422, "reason": "Invalid", "message": "all of it",
            "details": {"causes": [{"field": path, "message": "is wrong"}, {"field": "spec.userGroups[3]", "message": "so is this"}]}});
        let faults = Faults::of(&serde_json::from_value(status).unwrap());
        assert_eq!(
            (faults.at(field), faults.general.as_slice()),
            (["is wrong".to_owned()].as_slice(), ["so is this".to_owned()].as_slice())
        );
    }

    #[test]
    fn a_rule_on_the_whole_object_is_shown_at_the_field_that_it_names() {
        let status = json!({"code": 422, "reason": "Invalid", "message": "all of it", "details": {"causes": [
            {"field": "<nil>", "message": "Invalid value: metadata.name must be at most 241 characters"},
            {"field": "<nil>", "message": "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors"}]}});
        let faults = Faults::of(&serde_json::from_value(status).unwrap());
        assert_eq!(faults, Faults::field("name", "Invalid value: metadata.name must be at most 241 characters"));
    }

    #[rstest]
    #[case(json!({"code": 409, "reason": "AlreadyExists", "message": "there is one"}), "name", "there is one")]
    #[case(json!({"code": 404, "reason": "NotFound", "message": "namespaces \"x\" not found", "details": {"name": "x", "kind": "namespaces"}}), "namespace", "namespaces \"x\" not found")]
    fn a_refusal_without_causes_finds_its_field(#[case] status: Value, #[case] field: &str, #[case] text: &str) {
        assert_eq!(
            Faults::of(&serde_json::from_value(status).unwrap()),
            Faults::field(["name", "namespace"].into_iter().find(|name| *name == field).unwrap(), text)
        );
    }

    #[test]
    fn a_refusal_of_a_policy_is_said_above_the_form() {
        let status =
            json!({"code": 403, "reason": "Forbidden", "message": "you may change only the accounts that you created"});
        let faults = Faults::of(&serde_json::from_value(status).unwrap());
        assert_eq!(faults.general, ["you may change only the accounts that you created"]);
    }
}
