//! The programs that render and check the chart, built from their Go modules once.

use std::path::PathBuf;

use crate::common::tools::go_tool;

/// Helm itself.
pub(crate) fn helm() -> Option<PathBuf> {
    go_tool("helm", "helm.sh/helm/v4/cmd/helm", "v4.3.1")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::common::tools::run;

    #[test]
    fn helm_is_helm_4() {
        let Some(helm) = helm() else { return };
        let said = run(Command::new(helm).args(["template", "--help"]));
        assert!(said.contains("--skip-schema-validation"), "{said}");
    }
}
