//! The programs that render and check the chart, built from their Go modules once.

use std::path::{Path, PathBuf};

use crate::common::tools::{ReplacingTool, go_tool, install_python_packages, installed};

/// Helm itself.
pub(crate) fn helm() -> Option<PathBuf> {
    go_tool("helm", "helm.sh/helm/v4/cmd/helm", "v4.3.1")
}

/// Runs the suites in `charts/keyrota/tests`; as a program of its own it needs no plug-in directory.
pub(super) fn unittest() -> Option<PathBuf> {
    let tool = ReplacingTool {
        name: "helm-unittest",
        module: "github.com/helm-unittest/helm-unittest",
        command: "cmd/helm-unittest",
        version: "v1.1.2",
        replace: &["github.com/vmware-labs/yaml-jsonpath=github.com/helm-unittest/yaml-jsonpath@v0.4.0"],
        flags: &[],
    };
    tool.build()
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

/// Alerts. Without service discovery, which rules do not need; and with two modules at versions that can be had.
pub(super) fn promtool() -> Option<PathBuf> {
    let tool = ReplacingTool {
        name: "promtool",
        module: "github.com/prometheus/prometheus",
        command: "cmd/promtool",
        version: "v0.316.0",
        replace: &[
            "github.com/google/pprof=github.com/google/pprof@v0.0.0-20260906184651-6331bc6350fe",
            "github.com/prometheus/client_golang/exp=\
             github.com/prometheus/client_golang/exp@v0.0.0-20260907100614-57bb367da472",
        ],
        flags: &["-tags", "remove_all_sd"],
    };
    tool.build()
}

/// Good practice, once more: the Python that has `checkov.main`.
pub(super) fn checkov() -> Option<PathBuf> {
    let install = |home: &Path| install_python_packages(home, &[CHECKOV]);
    Some(installed(&CHECKOV.replace("==", "-"), "python3", install)?.join("bin/python"))
}

/// Its version.
pub(super) const CHECKOV: &str = "checkov==3.3.30";

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
