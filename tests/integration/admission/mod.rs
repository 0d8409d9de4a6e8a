//! What the real API server lets in, on the word of the CRDs alone; and that the reader takes exactly the same.

mod accounts;
mod every_field;
mod platform;
mod ratcheting;
mod view;

use keyrota::api::{ServiceAccount, TokenIssuer, UserGroup};
use keyrota::domain::account::Account;
use keyrota::domain::issuer::Issuer;
use kube::Client;
use serde_json::{Value, json};

use crate::common::{TestNamespace, control_plane, crds_installed, namespace};

/// The three kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ServiceAccount,
    UserGroup,
    TokenIssuer,
}

impl Kind {
    const ALL: [Self; 3] = [Self::ServiceAccount, Self::UserGroup, Self::TokenIssuer];

    fn of(object: &Value) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| object["kind"] == format!("{kind:?}"))
    }

    /// An object called `sample`.
    fn object(self, spec: Value) -> Value {
        json!({
            "apiVersion": "keyrota.dev/v1alpha1",
            "kind": format!("{self:?}"),
            "metadata": {"name": "sample"},
            "spec": spec,
        })
    }

    /// What the controller makes of an object that is stored.
    fn parse(self, object: Value) -> Result<(), String> {
        match self {
            Self::ServiceAccount => {
                let object: ServiceAccount = read(object)?;
                Account::parse(&object).map(drop).map_err(|error| error.to_string())
            }
            Self::UserGroup => read::<UserGroup>(object).map(drop),
            Self::TokenIssuer => {
                let object: TokenIssuer = read(object)?;
                Issuer::parse("sample", &object.spec).map(drop).map_err(|error| error.to_string())
            }
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(object: Value) -> Result<T, String> {
    serde_json::from_value(object).map_err(|error| error.to_string())
}

/// The API server with the CRDs in it, and a namespace to write to.
struct Server {
    client: Client,
    namespace: TestNamespace,
}

/// Who refuses a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The API server, and the reader once more: the controller relies on it.
    Both,
    /// The API server alone: nothing goes wrong with an object that predates the rule.
    Admission,
}

/// A spec that is refused, and a part of the message, which names the field.
type Refused = (By, Value, &'static str);

impl Server {
    async fn new() -> Self {
        let control_plane = control_plane();
        crds_installed(control_plane).await;
        Self { client: control_plane.client().unwrap(), namespace: namespace(control_plane).await }
    }

    fn collection(&self, kind: Kind) -> String {
        match kind {
            Kind::ServiceAccount => {
                format!("/apis/keyrota.dev/v1alpha1/namespaces/{}/serviceaccounts", self.namespace.name)
            }
            Kind::UserGroup => "/apis/keyrota.dev/v1alpha1/usergroups".into(),
            Kind::TokenIssuer => "/apis/keyrota.dev/v1alpha1/tokenissuers".into(),
        }
    }

    /// The answer to a request: the object, or the message of the refusal.
    async fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, content_type)
            .body(serde_json::to_vec(body).unwrap())
            .unwrap();
        match self.client.request(request).await {
            Ok(object) => Ok(object),
            Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => Err(status.message.clone()),
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    /// Asks whether an object could be created, and what it would look like.
    async fn dry_run(&self, kind: Kind, object: &Value) -> Result<Value, String> {
        let path = format!("{}?dryRun=All&fieldValidation=Strict", self.collection(kind));
        self.send("POST", &path, object).await
    }

    /// Creates an object.
    async fn create(&self, kind: Kind, object: &Value) -> Value {
        let path = format!("{}?fieldValidation=Strict", self.collection(kind));
        self.send("POST", &path, object).await.unwrap()
    }

    /// Asks whether a stored object could be changed.
    async fn change(&self, kind: Kind, name: &str, patch: &Value) -> Result<Value, String> {
        let path = format!("{}/{name}?dryRun=All&fieldValidation=Strict", self.collection(kind));
        self.send("PATCH", &path, patch).await
    }

    /// Holds that every spec is let in and can be read; gives all faults at once.
    async fn accepts(&self, kind: Kind, specs: impl IntoIterator<Item = Value>) {
        let mut faults = Vec::new();
        for spec in specs {
            match self.dry_run(kind, &kind.object(spec.clone())).await {
                Err(message) => faults.push(format!("refused: {spec}\n  {}", shortened(&message))),
                Ok(stored) => {
                    let read = kind.parse(stored);
                    faults.extend(read.err().map(|error| format!("let in, and not readable: {spec}\n  {error}")));
                }
            }
        }
        assert!(faults.is_empty(), "{kind:?}\n{}", faults.join("\n"));
    }

    /// Holds that every spec is refused in words that name the field; gives all faults at once.
    async fn refuses(&self, kind: Kind, cases: impl IntoIterator<Item = Refused>) {
        let mut faults = Vec::new();
        for (by, spec, field) in cases {
            let (object, shown) = (kind.object(spec.clone()), shortened(&spec.to_string()));
            match self.dry_run(kind, &object).await {
                Ok(_) => faults.push(format!("let in: {shown}")),
                Err(message) if !message.contains(field) => {
                    faults.push(format!("refused without {field:?}: {shown}\n  {}", shortened(&message)));
                }
                Err(_) => {}
            }
            if by == By::Both && kind.parse(object).is_ok() {
                faults.push(format!("refused, but not by the reader: {shown}"));
            }
        }
        assert!(faults.is_empty(), "{kind:?}\n{}", faults.join("\n"));
    }
}

/// Enough of a text to know it by.
fn shortened(text: &str) -> String {
    text.chars().take(600).collect()
}
