//! The policies as Helm renders them.

use std::process::Command;

use crate::chart::tools::helm;
use crate::common::tools::run;
use crate::generated::checkout;

const POLICIES: &str = "templates/policies";

/// The policies for a cluster that can mutate by policy, or for an older one. None without Go, which Helm is built with.
pub(crate) fn rendered(mutating: bool) -> Option<String> {
    let mut helm = Command::new(helm()?);
    helm.args(["template", "keyrota"]).arg(checkout("charts/keyrota")).args(["--namespace", "keyrota-system"]);
    if mutating {
        helm.args(["--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"]);
    }
    for file in std::fs::read_dir(checkout("charts/keyrota").join(POLICIES)).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        // A file that renders nothing is an error to Helm when it is asked for by name.
        if name.ends_with(".yaml") && (mutating || name != "created-by.yaml") {
            helm.arg("--show-only").arg(format!("{POLICIES}/{name}"));
        }
    }
    Some(run(&mut helm))
}
