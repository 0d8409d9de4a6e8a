//! Puts the CRDs, the roles and the samples into the cluster, with kubectl as a person would.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::controlplane::ControlPlane;
use crate::crds;

/// The operator namespace, and an identity with its own least rights for each role.
pub const INSTALL: &str = include_str!("install.yaml");

/// Whom the demo signs in as at the console.
const VISITOR: &str = include_str!("visitor.yaml");

/// In the order in which they make sense: a namespace before what is in it, issuers before accounts.
const SAMPLES: [&str; 9] = [
    include_str!("../../crds/samples/namespace.yaml"),
    include_str!("../../crds/samples/tokenissuer.yaml"),
    include_str!("../../crds/samples/tokenissuer-tenant.yaml"),
    include_str!("../../crds/samples/usergroup.yaml"),
    include_str!("../../crds/samples/serviceaccount.yaml"),
    include_str!("../../crds/samples/serviceaccount-manual.yaml"),
    include_str!("../../crds/samples/serviceaccount-everything.yaml"),
    include_str!("../../crds/samples/serviceaccount-external-kubernetes.yaml"),
    include_str!("../../crds/samples/serviceaccount-external-issuer.yaml"),
];

/// The kinds, and who may do what.
pub async fn crds_and_roles(control_plane: &ControlPlane) -> anyhow::Result<()> {
    kubectl(control_plane, &["apply", "--server-side", "-f", "-"], &crds::manifest()?).await?;
    let established = ["wait", "--for=condition=Established", "--timeout=30s", "-f", "-"];
    kubectl(control_plane, &established, &crds::manifest()?).await?;
    kubectl(control_plane, &["apply", "--server-side", "-f", "-"], &[INSTALL, VISITOR].join("\n---\n")).await
}

/// All of `crds/samples`.
pub async fn samples(control_plane: &ControlPlane) -> anyhow::Result<()> {
    kubectl(control_plane, &["apply", "--server-side", "-f", "-"], &SAMPLES.join("\n---\n")).await
}

/// Runs kubectl as the administrator, with `input` on its standard input.
async fn kubectl(control_plane: &ControlPlane, arguments: &[&str], input: &str) -> anyhow::Result<()> {
    let mut child = Command::new(control_plane.kubectl())
        .arg("--kubeconfig")
        .arg(control_plane.kubeconfig())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run kubectl")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.context("cannot write to kubectl")?;
    }
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output())
        .await
        .context("kubectl did not end within 60 s")??;
    if !output.status.success() {
        bail!("kubectl {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
