//! Kustomize changes names of ours where it should, and only there.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::control_plane;
use crate::common::tools::run;
use crate::generated::checkout;

/// What `kubectl kustomize` makes of a directory.
fn built(directory: &Path) -> Vec<Value> {
    let output = run(Command::new(control_plane().kubectl()).arg("kustomize").arg(directory));
    serde_saphyr::from_multiple(&output).unwrap()
}

fn of<'a>(objects: &'a [Value], version: &str, kind: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["apiVersion"] == version && object["kind"] == kind);
    found.unwrap_or_else(|| panic!("{version} {kind} is not in {objects:?}"))
}

#[test]
fn with_our_configuration_a_prefix_is_put_before_every_name_and_before_what_refers_to_it() {
    let objects = built(&checkout("docs/gitops/kustomize/staging"));
    let account = of(&objects, "keyrota.dev/v1alpha1", "ServiceAccount");
    assert_eq!(account["metadata"]["name"], "staging-exporter");
    assert_eq!(account["spec"]["userGroups"][0], "staging-readers");
    assert_eq!(account["spec"]["rolloutRestart"][0]["name"], "staging-exporter");
    assert_eq!(account["spec"]["clientSecret"]["secretName"], "exporter-login");
    let pod = &of(&objects, "apps/v1", "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "staging-exporter");
    assert_eq!(pod["containers"][0]["envFrom"][0]["secretRef"]["name"], "exporter-login");
}

#[test]
fn without_it_our_references_keep_their_names_which_is_why_it_is_there() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("base")).unwrap();
    for file in std::fs::read_dir(checkout("docs/gitops/kustomize/base")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), directory.path().join("base").join(file.file_name())).unwrap();
    }
    std::fs::write(directory.path().join("kustomization.yaml"), "namePrefix: staging-\nresources: [base]\n").unwrap();
    let objects = built(directory.path());
    let account = of(&objects, "keyrota.dev/v1alpha1", "ServiceAccount");
    assert_eq!(account["metadata"]["name"], "staging-exporter");
    assert_eq!(account["spec"]["userGroups"][0], "readers");
    assert_eq!(account["spec"]["rolloutRestart"][0]["name"], "exporter");
}

/// A workload, a binding, and a service account of this version, all called `robot`, under a prefix.
fn prefixed(api_version: &str) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let resources = format!(
        "apiVersion: {api_version}\nkind: ServiceAccount\nmetadata: {{name: robot}}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{name: pod}}\nspec: {{serviceAccountName: robot, containers: []}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: binding}}\n\
         subjects: [{{kind: ServiceAccount, name: robot}}]\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}\n"
    );
    std::fs::write(directory.path().join("all.yaml"), resources).unwrap();
    std::fs::write(directory.path().join("kustomization.yaml"), "namePrefix: p-\nresources: [all.yaml]\n").unwrap();
    built(directory.path())
}

#[test]
fn a_pod_and_a_binding_never_follow_an_account_of_ours() {
    let named = |objects: &[Value]| {
        let pod = of(objects, "v1", "Pod")["spec"]["serviceAccountName"].clone();
        let subject = of(objects, "rbac.authorization.k8s.io/v1", "RoleBinding")["subjects"][0]["name"].clone();
        [pod, subject]
    };
    assert_eq!(named(&prefixed("v1")), ["p-robot", "p-robot"], "they follow Kubernetes' own");
    assert_eq!(named(&prefixed("keyrota.dev/v1alpha1")), ["robot", "robot"]);
    // Why our version is not v1: Kustomize would not look at the group.
    assert_eq!(named(&prefixed("keyrota.dev/v1")), ["p-robot", "p-robot"]);
}
