//! A user of the API server, and every way to write an account.

use std::io::Write;
use std::process::{Command, Stdio};

use keyrota::controlplane::ControlPlane;
use kube::Client;
use serde_json::{Value, json};

use super::{Guarded, SOON};
use crate::common::eventually;

const MERGE: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

#[derive(Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    client: Client,
    control_plane: &'static ControlPlane,
    namespace: String,
}

impl User {
    /// A user with a client certificate, in the group that may write accounts.
    pub(crate) async fn of(guarded: &Guarded, name: &str) -> Self {
        Self::with(guarded, name, guarded.control_plane.client_for(name, &["people"]).await.unwrap())
    }

    /// Whoever a client is.
    pub(crate) fn with(guarded: &Guarded, name: &str, client: Client) -> Self {
        let namespace = guarded.namespace.name.clone();
        Self { name: name.to_owned(), client, control_plane: guarded.control_plane, namespace }
    }

    /// The same user in another namespace.
    pub(crate) fn in_namespace(self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self }
    }

    fn path(&self, name: &str) -> String {
        format!("/apis/keyrota.dev/v1alpha1/namespaces/{}/serviceaccounts{name}", self.namespace)
    }

    async fn send(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Result<Value, String> {
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

    pub(crate) async fn get(&self, name: &str) -> Result<Value, String> {
        self.send("GET", &self.path(&format!("/{name}")), "application/json", &json!({})).await
    }

    pub(crate) async fn create(&self, object: &Value) -> Result<Value, String> {
        self.send("POST", &self.path(""), "application/json", object).await
    }

    /// Whether it could be created, and what would be stored.
    pub(crate) async fn dry_run(&self, object: &Value) -> Result<Value, String> {
        self.send("POST", &self.path("?dryRun=All"), "application/json", object).await
    }

    /// Replaces the whole object by what `change` makes of the stored one.
    pub(crate) async fn replace(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<Value, String> {
        let mut object = self.get(name).await?;
        change(&mut object);
        self.send("PUT", &self.path(&format!("/{name}")), "application/json", &object).await
    }

    pub(crate) async fn merge(&self, name: &str, patch: Value) -> Result<Value, String> {
        self.send("PATCH", &self.path(&format!("/{name}")), MERGE, &patch).await
    }

    pub(crate) async fn json_patch(&self, name: &str, patch: Value) -> Result<Value, String> {
        self.send("PATCH", &self.path(&format!("/{name}")), JSON_PATCH, &patch).await
    }

    /// Server-side apply, conflicts overridden.
    pub(crate) async fn apply(&self, object: &Value) -> Result<Value, String> {
        let name = object["metadata"]["name"].as_str().unwrap();
        let path = self.path(&format!("/{name}?fieldManager={}&force=true", self.name));
        self.send("PATCH", &path, APPLY, object).await
    }

    pub(crate) async fn delete(&self, name: &str, propagation: &str) -> Result<Value, String> {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation});
        self.send("DELETE", &self.path(&format!("/{name}")), "application/json", &options).await
    }

    pub(crate) async fn delete_all(&self) -> Result<Value, String> {
        self.send("DELETE", &self.path(""), "application/json", &json!({})).await
    }

    /// What kubectl prints for this user, or what it complains of.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: &Value) -> Result<String, String> {
        let kubeconfig = self.control_plane.kubeconfig_for(&self.name, &["people"]).unwrap();
        let mut child = Command::new(self.control_plane.kubectl())
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["--cache-dir"])
            .arg(self.control_plane.data_dir().join("kubectl"))
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Waits until the API server knows of a right.
    pub(crate) async fn until_allowed(&self, attributes: &Value) {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        eventually(&format!("{} may {attributes}", self.name), SOON, async || {
            let answer = self.send("POST", path, "application/json", &review).await.unwrap();
            (answer["status"]["allowed"] == true).then_some(())
        })
        .await;
    }
}
