//! Every object of every set of values, before a real API server and its schemas.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use keyrota::controlplane::ControlPlane;
use serde_json::{Value, json};

use super::tools::{helm, kubeconform};
use super::{name, objects, passes, pod_templates, rendered, value_sets};
use crate::common::{control_plane_of_ones_own, eventually};

/// Namespaces that objects are in; the first is Keyrota's, and says how it is to be treated.
const NAMESPACES: [&str; 5] = ["keyrota-system", "keyrota-notifications", "team-a", "team-b", "api-gateway"];

/// One API server with all kinds and namespaces: starting it takes longer than asking it.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_api_server_takes_every_object_and_every_pod_is_restricted() {
    let Some((helm, kubeconform)) = helm().zip(kubeconform()) else { return };
    let server = Server(control_plane_of_ones_own());
    server.prepare().await;
    let schemas = tempfile::tempdir().unwrap();
    server.write_schemas(schemas.path());
    for set in value_sets() {
        let manifest = rendered(&helm, &set);
        conforms(&kubeconform, schemas.path(), &manifest);
        server.takes(&name(&set), &manifest);
        for (number, template) in pod_templates(&objects(&manifest)).enumerate() {
            server.lets_in(&name(&set), number, template);
        }
    }
    server.refuses_a_pod_that_is_not_restricted();
}

struct Server(&'static ControlPlane);

impl Server {
    /// kubectl as the administrator: whether it is content, what it prints, and what it warns of.
    fn kubectl(&self, arguments: &[&str], input: &str) -> (bool, String, String) {
        let mut command = Command::new(self.0.kubectl());
        command.arg("--kubeconfig").arg(self.0.kubeconfig()).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let [printed, warned] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.success(), printed, warned)
    }

    fn must(&self, arguments: &[&str], input: &str) -> String {
        let (content, printed, warned) = self.kubectl(arguments, input);
        assert!(content, "kubectl {arguments:?}: {warned}");
        printed
    }

    async fn prepare(&self) {
        let foreign = include_str!("foreign.yaml");
        self.must(
            &["apply", "--server-side", "-f", "-"],
            &format!("{}---\n{foreign}", keyrota::crds::manifest().unwrap()),
        );
        for namespace in NAMESPACES {
            self.must(&["create", "namespace", namespace], "");
        }
        let label = |mode: &str| format!("pod-security.kubernetes.io/{mode}=restricted");
        let (enforce, warn) = (label("enforce"), label("warn"));
        self.must(&["label", "namespace", NAMESPACES[0], &enforce, &warn], "");
        for account in ["keyrota-controller", "keyrota-gateway", "keyrota-console"] {
            self.must(&["--namespace", NAMESPACES[0], "create", "serviceaccount", account], "");
        }
        // The OpenAPI document follows a moment after the kinds.
        eventually("every kind is in the OpenAPI document", std::time::Duration::from_secs(60), async || {
            let paths = self.must(&["get", "--raw", "/openapi/v3"], "");
            let groups = [
                "keyrota.dev/v1alpha1",
                "cert-manager.io/v1",
                "monitoring.coreos.com/v1",
                "gateway.networking.k8s.io/v1",
            ];
            groups.iter().all(|group| paths.contains(&format!("\"apis/{group}\""))).then_some(())
        })
        .await;
    }

    /// A file for each kind, as kubeconform looks for them. Nothing is left out that the server knows.
    fn write_schemas(&self, folder: &Path) {
        let index: Value = serde_json::from_str(&self.must(&["get", "--raw", "/openapi/v3"], "")).unwrap();
        for (path, link) in index["paths"].as_object().unwrap() {
            if !path.starts_with("api") || !path.ends_with(|last: char| last.is_ascii_digit()) {
                continue;
            }
            let address = link["serverRelativeURL"].as_str().unwrap();
            let document: Value = serde_json::from_str(&self.must(&["get", "--raw", address], "")).unwrap();
            write_kinds(folder, &document["components"]);
        }
    }

    fn takes(&self, set: &str, manifest: &str) {
        let apply = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-f", "-"];
        let (content, printed, warned) = self.kubectl(&apply, manifest);
        assert!(content && warned.is_empty(), "{set}: {warned}");
        assert_eq!(printed.lines().count(), objects(manifest).len(), "{set}: {printed}");
    }

    fn lets_in(&self, set: &str, number: usize, template: &Value) {
        let mut pod = template.clone();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = format!("pod-{number}").into();
        pod["metadata"]["namespace"] = NAMESPACES[0].into();
        let (content, _, warned) = self.kubectl(&["create", "--dry-run=server", "-f", "-"], &pod.to_string());
        assert!(content && warned.is_empty(), "{set}, Pod {number}: {warned}");
    }

    fn refuses_a_pod_that_is_not_restricted(&self) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain", "namespace": NAMESPACES[0]},
            "spec": {"containers": [{"name": "plain", "image": "plain"}]}});
        let (content, _, warned) = self.kubectl(&["create", "--dry-run=server", "-f", "-"], &pod.to_string());
        assert!(!content && warned.contains("violates PodSecurity \"restricted"), "{warned}");
    }
}

fn write_kinds(folder: &Path, components: &Value) {
    let mut schemas: BTreeMap<String, Value> = serde_json::from_value(components["schemas"].clone()).unwrap();
    schemas.values_mut().for_each(close);
    for (name, schema) in &schemas {
        for kind in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let [group, version, kind] = ["group", "version", "kind"].map(|part| kind[part].as_str().unwrap());
            // kubeconform calls the core group by its version.
            let group = if group.is_empty() { version } else { group };
            let reference = format!("#/components/schemas/{name}");
            let whole = json!({"$ref": reference, "components": {"schemas": schemas}});
            let file = folder.join(format!("{group}_{version}_{}.json", kind.to_lowercase()));
            if !["DeleteOptions", "WatchEvent"].contains(&kind) && !kind.ends_with("List") {
                std::fs::write(file, whole.to_string()).unwrap();
            }
        }
    }
}

/// What a schema does not name, it refuses.
fn close(schema: &mut Value) {
    let Some(words) = schema.as_object_mut() else {
        schema.as_array_mut().into_iter().flatten().for_each(close);
        return;
    };
    let open = words.contains_key("additionalProperties") || words.contains_key("x-kubernetes-preserve-unknown-fields");
    // Inside `properties`, words are fields: one may be called like a word of a schema.
    if words.get("properties").is_some_and(|fields| fields.is_object()) && words.contains_key("type") && !open {
        words.insert("additionalProperties".into(), false.into());
    }
    words.values_mut().for_each(close);
}

fn conforms(kubeconform: &Path, schemas: &Path, manifest: &str) {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), manifest).unwrap();
    let location =
        format!("{}/{{{{.Group}}}}_{{{{.ResourceAPIVersion}}}}_{{{{.ResourceKind}}}}.json", schemas.display());
    let mut command = Command::new(kubeconform);
    command.args(["-strict", "-summary", "-verbose", "-schema-location", &location]).arg(file.path());
    let said = passes(&mut command);
    assert!(said.contains(&format!("Valid: {}, Invalid: 0, Errors: 0, Skipped: 0", objects(manifest).len())), "{said}");
}
