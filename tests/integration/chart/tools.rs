//! The programs that render and check the chart, built from their Go modules once.

use std::path::{Path, PathBuf};

use crate::common::tools::{go_tool, go_tool_replacing, go_tool_with, install_python_packages, installed};

/// Helm itself.
pub(crate) fn helm() -> Option<PathBuf> {
    go_tool("helm", "helm.sh/helm/v4/cmd/helm", "v4.3.1")
}

/// Runs the suites in `charts/keyrota/tests`; as a program of its own it needs no plug-in directory.
pub(super) fn unittest() -> Option<PathBuf> {
    let replace = "github.com/vmware-labs/yaml-jsonpath=github.com/helm-unittest/yaml-jsonpath@v0.4.0";
    let package = "github.com/helm-unittest/helm-unittest/cmd/helm-unittest";
    go_tool_replacing("helm-unittest", package, "v1.1.2", replace)
}

/// Objects against schemas.
pub(super) fn kubeconform() -> Option<PathBuf> {
    go_tool("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0")
}

/// Good practice.
pub(super) fn kube_score() -> Option<PathBuf> {
    go_tool("kube-score", "github.com/zegl/kube-score/cmd/kube-score", "v1.20.0")
}

/// The chart's README from its values.
pub(super) fn helm_docs() -> Option<PathBuf> {
    go_tool("helm-docs", "github.com/norwoodj/helm-docs/cmd/helm-docs", "v1.14.2")
}

/// Alerts; service discovery would pull in a module that cannot be had, and rules need none.
pub(super) fn promtool() -> Option<PathBuf> {
    let package = "github.com/prometheus/prometheus/cmd/promtool";
    go_tool_with("promtool", package, "v0.316.0", &["-tags", "remove_all_sd"])
}

/// Good practice, once more.
pub(super) fn checkov() -> Option<PathBuf> {
    let install = |home: &Path| install_python_packages(home, &["checkov==3.3.30"]);
    Some(installed("checkov-3.3.30", "python3", install)?.join("bin/checkov"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_can_be_had() {
        for tool in [helm, helm_docs, unittest, kubeconform, kube_score, promtool, checkov] {
            let Some(path) = tool() else { return };
            assert!(path.exists(), "{}", path.display());
        }
    }
}
