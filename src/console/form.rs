//! The form of an account: what was typed, what it would make of the object, and what the API server said to it.

use std::collections::BTreeMap;

use kube::core::Status;
use serde_json::{Map, Value, json};

use super::fields::Fields;
use super::problem::said;
use crate::api::ServiceAccount;
use crate::api::service_account::{Mode, Rotation};

/// Every field as it was typed, so that nothing is lost when it is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Where the account will be.
    pub namespace: String,
    /// *Name.
    pub name: String,
    /// Authenticate Externally.
    pub external: bool,
    /// Client Id; only when external.
    pub client_id: String,
    /// The entry of the issuer's trustedIssuers; only when external.
    pub trusted_issuer: String,
    /// Description.
    pub description: String,
    /// *Client Secret Validity (in days); only when not external.
    pub validity: String,
    /// Automatic or Manual; likewise.
    pub rotation: String,
    /// Enable Secret Expiry Notification; likewise.
    pub notify: bool,
    /// Email Address; likewise.
    pub email: String,
    /// The generation of the object that the form was filled from; 0 on the add page.
    pub generation: i64,
}

impl Form {
    /// The add page's, before anything is typed.
    #[must_use]
    pub fn blank(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            validity: "180".to_owned(),
            rotation: "Automatic".to_owned(),
            notify: true,
            ..Self::default()
        }
    }

    /// Of an account that is there.
    #[must_use]
    pub fn of(object: &ServiceAccount) -> Self {
        let spec = &object.spec;
        let settings = spec.client_secret.clone().unwrap_or_default();
        Self {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
            external: spec.authentication.mode == Mode::External,
            client_id: spec.authentication.external_client_id.clone().unwrap_or_default(),
            trusted_issuer: spec.authentication.trusted_issuer.clone().unwrap_or_default(),
            description: spec.description.clone().unwrap_or_default(),
            validity: settings.validity_days.to_string(),
            rotation: rotation_name(settings.rotation).to_owned(),
            notify: settings.expiry_notifications,
            email: spec.contact.clone().and_then(|contact| contact.email).unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
        }
    }

    /// As it was submitted by the add page.
    #[must_use]
    pub fn typed(fields: &Fields) -> Self {
        Self {
            namespace: fields.get("namespace").trim().to_owned(),
            name: fields.get("name").trim().to_owned(),
            external: fields.has("external"),
            client_id: fields.get("client-id").trim().to_owned(),
            trusted_issuer: fields.get("trusted-issuer").trim().to_owned(),
            description: fields.lines("description"),
            validity: fields.get("validity").trim().to_owned(),
            rotation: fields.get("rotation").to_owned(),
            notify: fields.has("notify"),
            email: fields.get("email").trim().to_owned(),
            generation: fields.get("generation").parse().unwrap_or_default(),
        }
    }

    /// As it was submitted by the page of an account: what is fixed stays as it is.
    #[must_use]
    pub fn edited(fields: &Fields, object: &ServiceAccount) -> Self {
        let typed = Self::typed(fields);
        let Self { namespace, name, external, client_id, trusted_issuer, .. } = Self::of(object);
        Self { namespace, name, external, client_id, trusted_issuer, ..typed }
    }

    /// The object that it makes.
    #[must_use]
    pub fn object(&self) -> Value {
        json!({
            "apiVersion": "keyrota.dev/v1alpha1",
            "kind": "ServiceAccount",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": self.spec(),
        })
    }

    fn spec(&self) -> Value {
        let mut spec = Map::new();
        if !self.description.is_empty() {
            spec.insert("description".into(), self.description.clone().into());
        }
        if self.external {
            let mut authentication = Map::from_iter([("mode".to_owned(), json!("External"))]);
            // An empty one is left out: the API server then says that it is required.
            let parts = [("externalClientId", &self.client_id), ("trustedIssuer", &self.trusted_issuer)];
            for (key, value) in parts.into_iter().filter(|(_, value)| !value.is_empty()) {
                authentication.insert(key.into(), value.clone().into());
            }
            spec.insert("authentication".into(), authentication.into());
            return spec.into();
        }
        let settings = json!({
            "validityDays": number(&self.validity),
            "rotation": self.rotation,
            "expiryNotifications": self.notify,
        });
        spec.insert("clientSecret".into(), settings);
        if !self.email.is_empty() {
            spec.insert("contact".into(), json!({"email": self.email}));
        }
        spec.into()
    }

    /// The merge patch (RFC 7396) from the object to what was typed; empty when nothing changed. Only what differs is
    /// in it, so that defaults are not written into an object that somebody keeps in Git.
    #[must_use]
    pub fn change(&self, object: &ServiceAccount) -> Map<String, Value> {
        let before = Self::of(object);
        let mut spec = Map::new();
        let text = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
        if self.description != before.description {
            spec.insert("description".into(), text(&self.description));
        }
        if self.external {
            return spec;
        }
        let mut settings = Map::new();
        if self.validity != before.validity {
            settings.insert("validityDays".into(), number(&self.validity));
        }
        if self.rotation != before.rotation {
            settings.insert("rotation".into(), self.rotation.clone().into());
        }
        if self.notify != before.notify {
            settings.insert("expiryNotifications".into(), self.notify.into());
        }
        if !settings.is_empty() {
            spec.insert("clientSecret".into(), settings.into());
        }
        if self.email != before.email {
            let contact = if self.email.is_empty() { Value::Null } else { json!({"email": self.email}) };
            spec.insert("contact".into(), contact);
        }
        spec
    }
}

/// A number as one; anything else as it was typed, for the API server to say what it thinks of it.
fn number(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number))
}

fn rotation_name(rotation: Rotation) -> &'static str {
    match rotation {
        Rotation::Automatic => "Automatic",
        Rotation::Manual => "Manual",
    }
}

/// The manifest of an object as one would keep it in Git.
///
/// # Errors
/// Never for what a form makes.
pub fn manifest(object: &Value) -> Result<String, serde_saphyr::ser::Error> {
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
        for cause in causes.iter().filter(|cause| !cause.message.is_empty()) {
            match field_of(&cause.field) {
                Some(field) => faults.fields.entry(field).or_default().push(cause.message.clone()),
                None => faults.general.push(cause.message.clone()),
            }
        }
        if faults.is_empty() {
            let about_name = ["AlreadyExists"].contains(&status.reason.as_str());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::inventory::testing::{account, mail};
    use rstest::rstest;

    fn typed(pairs: &[(&str, &str)]) -> Fields {
        Fields::parse(form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().as_bytes())
    }

    #[test]
    fn an_internal_account_gets_its_secret_settings_and_contact() {
        let fields = typed(&[
            ("namespace", " shop "),
            ("name", "exporter"),
            ("client-id", "left over"),
            ("description", "two\r\nlines"),
            ("validity", "90"),
            ("rotation", "Manual"),
            ("notify", "on"),
            ("email", "ops@example.com"),
        ]);
        let spec = json!({
            "description": "two\nlines",
            "clientSecret": {"validityDays": 90, "rotation": "Manual", "expiryNotifications": true},
            "contact": {"email": "ops@example.com"},
        });
        let object = Form::typed(&fields).object();
        assert_eq!(object["spec"], spec);
        assert_eq!(object["metadata"], json!({"name": "exporter", "namespace": "shop"}));
        serde_json::from_value::<ServiceAccount>(object).unwrap();
    }

    #[test]
    fn an_external_account_gets_a_client_id_and_nothing_of_a_secret() {
        let fields = typed(&[("name", "a"), ("external", "on"), ("client-id", "x"), ("validity", "1"), ("email", "e")]);
        let spec = json!({"authentication": {"mode": "External", "externalClientId": "x"}});
        assert_eq!(Form::typed(&fields).object()["spec"], spec);
    }

    #[test]
    fn what_is_no_number_goes_to_the_api_server_as_it_was_typed() {
        let of = |text: &str| {
            Form { validity: text.into(), ..Form::blank("shop") }.object()["spec"]["clientSecret"]["validityDays"]
                .clone()
        };
        assert_eq!(
            (of("9007199254740993"), of("1.5"), of("")),
            (json!(9_007_199_254_740_993_i64), json!("1.5"), json!(""))
        );
    }

    #[test]
    fn a_change_holds_only_what_differs() {
        let mut object = account("shop", "a");
        object.spec.description = Some("old".into());
        object.spec.contact = mail("ops@example.com");
        let form = Form::of(&object);
        assert!(form.change(&object).is_empty());
        let edited = Form { description: String::new(), validity: "30".into(), email: String::new(), ..form };
        let change = edited.change(&object);
        let expected = json!({"description": null, "clientSecret": {"validityDays": 30}, "contact": null});
        assert_eq!(Value::Object(change.clone()), expected);
        let spec = changed(&object, &change)["spec"].clone();
        assert_eq!(spec["clientSecret"], json!({"validityDays": 30}));
        assert!(spec.get("description").is_none() && spec.get("contact").is_none());
    }

    #[test]
    fn what_is_fixed_stays_whatever_is_submitted() {
        let mut object = account("shop", "a");
        object.spec.authentication.mode = Mode::External;
        object.spec.authentication.external_client_id = Some("x".into());
        let fields = typed(&[("name", "b"), ("namespace", "bank"), ("client-id", "y"), ("description", "new")]);
        let form = Form::edited(&fields, &object);
        assert_eq!(
            (form.name.as_str(), form.namespace.as_str(), form.external, form.client_id.as_str()),
            ("a", "shop", true, "x")
        );
        assert_eq!(Value::Object(form.change(&object)), json!({"description": "new"}));
    }

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
