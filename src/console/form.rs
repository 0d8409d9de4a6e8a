//! The form of an account: what was typed, and what it would make of the object.

use serde_json::{Map, Value, json};

use super::fields::Fields;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::inventory::testing::{account, mail};

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
        let spec = crate::console::manifest::changed(&object, &change)["spec"].clone();
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
}
