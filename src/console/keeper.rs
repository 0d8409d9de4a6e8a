//! Who else keeps an object: a GitOps tool reverts what is edited here.

use kube::ResourceExt;

use crate::api::ServiceAccount;

/// The tool that owns the object, and which of its applications does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeper {
    /// `Argo CD`, `Flux` or `Helm`.
    pub tool: &'static str,
    /// As the tool names it.
    pub application: String,
}

/// Labels and annotations by which the tools mark what is theirs. An object may carry several: the first counts.
#[must_use]
pub fn of(object: &ServiceAccount) -> Option<Keeper> {
    let label = |key: &str| object.labels().get(key).filter(|value| !value.is_empty()).cloned();
    let annotation = |key: &str| object.annotations().get(key).filter(|value| !value.is_empty()).cloned();
    let found = |tool, application: String| Some(Keeper { tool, application });
    if let Some(tracking) = annotation("argocd.argoproj.io/tracking-id") {
        // <application>:<group>/<kind>:<namespace>/<name>
        return found("Argo CD", tracking.split(':').next().unwrap_or_default().to_owned());
    }
    if let Some(instance) = label("argocd.argoproj.io/instance") {
        return found("Argo CD", instance);
    }
    for (tool, kind) in [("Flux", "kustomize"), ("Flux", "helm")] {
        if let Some(name) = label(&format!("{kind}.toolkit.fluxcd.io/name")) {
            let namespace = label(&format!("{kind}.toolkit.fluxcd.io/namespace"));
            return found(tool, namespace.map_or(name.clone(), |namespace| format!("{namespace}/{name}")));
        }
    }
    annotation("meta.helm.sh/release-name").and_then(|release| found("Helm", release))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::inventory::testing::account;
    use rstest::rstest;

    #[rstest]
    #[case::argo_by_annotation(&[], &[("argocd.argoproj.io/tracking-id", "shop:keyrota.dev/ServiceAccount:shop/a")], Some(("Argo CD", "shop")))]
    #[case::argo_by_label(&[("argocd.argoproj.io/instance", "shop")], &[], Some(("Argo CD", "shop")))]
    #[case::flux_kustomization(&[("kustomize.toolkit.fluxcd.io/name", "apps"), ("kustomize.toolkit.fluxcd.io/namespace", "flux-system")], &[], Some(("Flux", "flux-system/apps")))]
    #[case::flux_helm_release(&[("helm.toolkit.fluxcd.io/name", "apps")], &[("meta.helm.sh/release-name", "apps")], Some(("Flux", "apps")))]
    #[case::helm(&[], &[("meta.helm.sh/release-name", "apps")], Some(("Helm", "apps")))]
    #[case::nobody(&[("app.kubernetes.io/instance", "shop")], &[], None)]
    fn the_tool_that_reverts_edits_is_named(
        #[case] labels: &[(&str, &str)],
        #[case] annotations: &[(&str, &str)],
        #[case] expected: Option<(&'static str, &str)>,
    ) {
        let mut object = account("shop", "a");
        let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        object.metadata.labels = Some(own(labels));
        object.metadata.annotations = Some(own(annotations));
        let found = of(&object).map(|keeper| (keeper.tool, keeper.application));
        assert_eq!(found, expected.map(|(tool, application)| (tool, application.to_owned())));
    }
}
