//! Helm, as a user runs it.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::images;
use super::place::Place;

/// The release's name and namespace.
pub(super) const NAME: &str = "keyrota";
pub(super) const NAMESPACE: &str = "keyrota-system";
/// Where the credentials of mail and webhooks are, and one of them: the chart's default, and ours.
pub(super) const NOTIFICATIONS: &str = "keyrota-notifications";
pub(super) const WEBHOOK_KEYS: &str = "webhook-keys";
/// The version that an upgrade starts from: the same chart under a lower number.
const PREVIOUS: &str = "0.0.1";

/// The chart of this checkout and its pretended predecessor.
pub(super) struct Charts {
    pub(super) previous: PathBuf,
    pub(super) present: PathBuf,
}

impl Charts {
    pub(super) async fn package(place: &Place) -> Self {
        let present = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/keyrota");
        let to = place.scratch.path().to_str().unwrap();
        helm(place, &["package", present.to_str().unwrap(), "--version", PREVIOUS, "--destination", to]).await;
        Self { previous: place.scratch.path().join(format!("keyrota-{PREVIOUS}.tgz")), present }
    }
}

/// The values that this suite needs; what is not said is the chart's default.
pub(super) fn values() -> Vec<String> {
    let (repository, tag) = images::KEYROTA;
    let values = [
        format!("image.repository={repository}"),
        format!("image.tag={tag}"),
        "image.pullPolicy=Never".into(),
        "gateway.nodePort.enabled=true".into(),
        format!("notifications.webhook.secretName={WEBHOOK_KEYS}"),
        "defaultIssuer.spec.gracePeriod=10m".into(),
        "defaultIssuer.spec.trustedIssuers[0].name=kubernetes".into(),
        "defaultIssuer.spec.trustedIssuers[0].issuer=https://kubernetes.default.svc".into(),
        "defaultIssuer.spec.trustedIssuers[0].kubernetes=true".into(),
    ];
    values.into_iter().flat_map(|value| ["--set".into(), value]).collect()
}

/// `helm install` or `upgrade` of the chart at `chart` with further values, without waiting for Pods.
pub(super) async fn deploy(place: &Place, verb: &str, chart: &Path, further: &[&str]) {
    let mut arguments = vec![verb, NAME, chart.to_str().unwrap()];
    let values = values();
    arguments.extend(values.iter().map(String::as_str));
    arguments.extend(further.iter().flat_map(|value| ["--set", value]));
    helm(place, &arguments).await;
}

/// Runs Helm in the operator namespace; it must succeed.
pub(super) async fn helm(place: &Place, arguments: &[&str]) -> String {
    let mut helm = Command::new(&place.helm);
    helm.arg("--kubeconfig").arg(&place.kubeconfig).args(["--namespace", NAMESPACE]).args(arguments);
    // Nothing of the user's own Helm.
    helm.env("HELM_CACHE_HOME", place.scratch.path()).env("HELM_CONFIG_HOME", place.scratch.path());
    helm.env("HELM_DATA_HOME", place.scratch.path());
    output(helm).await.unwrap_or_else(|said| panic!("helm {arguments:?}: {said}"))
}

/// Runs kubectl; it must succeed.
pub(super) async fn kubectl(place: &Place, arguments: &[&str]) -> String {
    try_kubectl(place, arguments).await.unwrap_or_else(|said| panic!("kubectl {arguments:?}: {said}"))
}

/// Runs kubectl: what it prints, or what it says is wrong.
pub(super) async fn try_kubectl(place: &Place, arguments: &[&str]) -> Result<String, String> {
    let mut kubectl = Command::new(&place.kubectl);
    kubectl.arg("--kubeconfig").arg(&place.kubeconfig).args(arguments);
    output(kubectl).await
}

async fn output(mut command: Command) -> Result<String, String> {
    let output = command.stdin(std::process::Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}
