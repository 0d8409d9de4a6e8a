//! A release's life with the real Helm: what it takes over, what it keeps, and what it refuses. Pods do not run here.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use keyrota::controlplane::ControlPlane;
use tempfile::TempDir;

use super::chart;
use super::tools::helm;
use crate::common::operator::kubectl;
use crate::common::{control_plane_of_ones_own, eventually};

struct Cluster {
    control_plane: &'static ControlPlane,
    helm: PathBuf,
    /// What Helm keeps for its user.
    home: TempDir,
}

impl Cluster {
    fn new(helm: PathBuf) -> Self {
        Self { control_plane: control_plane_of_ones_own(), helm, home: tempfile::tempdir().unwrap() }
    }

    /// Helm, and what it says in the end.
    fn helm(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.helm);
        for kept in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(kept, self.home.path());
        }
        command.arg("--kubeconfig").arg(self.control_plane.kubeconfig()).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let [said, complained] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        if output.status.success() { Ok(said) } else { Err(complained) }
    }

    /// `helm install` or `upgrade` of the chart as `keyrota` in its namespace.
    fn deploy(&self, action: &str, arguments: &[&str]) {
        let chart = chart();
        let release = [action, "keyrota", chart.to_str().unwrap(), "-n", "keyrota-system", "--create-namespace"];
        let release = if action == "install" { release.as_slice() } else { &release[..5] };
        let said = self.helm(&[release, arguments].concat()).unwrap();
        assert!(said.contains("STATUS: deployed"), "{said}");
    }

    fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        kubectl(self.control_plane, arguments, input).trim().to_owned()
    }

    fn uid(&self, object: &str) -> String {
        self.kubectl(&["get", object, "-o", "jsonpath={.metadata.uid}"], "")
    }

    /// Whether somebody may do something, as the cluster's authorizer sees it.
    fn may(&self, user: &str, what: &[&str]) -> bool {
        let mut command = Command::new(self.control_plane.kubectl());
        command
            .arg("--kubeconfig")
            .arg(self.control_plane.kubeconfig())
            .args(["auth", "can-i", "--as", user, "--quiet"]);
        command.args(what).stdin(Stdio::null()).output().unwrap().status.success()
    }
}

const ACCOUNT: &str =
    "{apiVersion: keyrota.dev/v1alpha1, kind: ServiceAccount, metadata: {name: exporter, namespace: default}}";

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_installed_upgraded_rolled_back_and_removed_and_its_accounts_outlive_it() {
    let Some(helm) = helm() else { return };
    let cluster = Cluster::new(helm);
    cluster.deploy("install", &[]);
    let account_file = cluster.home.path().join("account.yaml");
    std::fs::write(&account_file, ACCOUNT).unwrap();
    // The API server lets accounts in once it can stamp their creator: it looks for new kinds every five seconds.
    eventually("an account is let in", Duration::from_secs(60), async || {
        let mut apply = Command::new(cluster.control_plane.kubectl());
        apply.arg("--kubeconfig").arg(cluster.control_plane.kubeconfig()).args(["create", "-f"]).arg(&account_file);
        apply.stdin(Stdio::null()).output().unwrap().status.success().then_some(())
    })
    .await;
    let (issuer, account) = (cluster.uid("krti/default"), cluster.uid("krsa/exporter"));
    let grace = || cluster.kubectl(&["get", "krti/default", "-o", "jsonpath={.spec.gracePeriod}"], "");

    cluster.deploy("upgrade", &["--set", "defaultIssuer.spec.gracePeriod=15m"]);
    assert_eq!((grace(), cluster.uid("krti/default")), ("15m".into(), issuer.clone()), "the issuer is taken over");
    cluster.deploy("upgrade", &["--set", "defaultIssuer.spec.gracePeriod=30m"]);
    cluster.helm(&["rollback", "keyrota", "2", "-n", "keyrota-system"]).unwrap();
    assert_eq!((grace(), cluster.uid("krti/default")), ("15m".into(), issuer.clone()));
    cluster.helm(&["rollback", "keyrota", "1", "-n", "keyrota-system"]).unwrap();
    assert_eq!(cluster.uid("krti/default"), issuer, "the first revision has it as a hook, and yet it stays");

    cluster.helm(&["uninstall", "keyrota", "-n", "keyrota-system"]).unwrap();
    let kept = (cluster.uid("krti/default"), cluster.uid("krsa/exporter"));
    assert_eq!(kept, (issuer.clone(), account.clone()));
    assert_eq!(cluster.kubectl(&["get", "deployments,services", "-n", "keyrota-system", "-o", "name"], ""), "");
    cluster.deploy("install", &[]);
    let taken_over = (cluster.uid("krti/default"), cluster.uid("krsa/exporter"));
    assert_eq!(taken_over, (issuer, account));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_release_is_refused_and_people_get_no_more_than_their_share() {
    let Some(helm) = helm() else { return };
    let cluster = Cluster::new(helm);
    cluster.deploy("install", &[]);
    let chart = chart();
    let refused = cluster.helm(&["install", "other", chart.to_str().unwrap(), "-n", "default"]).unwrap_err();
    let message = "Keyrota runs in this cluster already: release keyrota in the namespace keyrota-system";
    assert!(refused.contains(message), "{refused}");

    for role in ["view", "edit", "admin"] {
        cluster.kubectl(&["create", "rolebinding", role, "--clusterrole", role, "--user", role, "-n", "default"], "");
    }
    let accounts = "serviceaccounts.keyrota.dev";
    eventually("the roles are aggregated", Duration::from_secs(30), async || {
        cluster.may("admin", &["manageall", accounts]).then_some(())
    })
    .await;
    let people = [
        ("view", "get", accounts, true),
        ("view", "get", "secrets", false),
        ("view", "update", accounts, false),
        ("edit", "update", accounts, true),
        ("edit", "manageall", accounts, false),
        ("admin", "manageall", accounts, true),
        ("admin", "assign", "usergroups.keyrota.dev", false),
    ];
    for (user, verb, resource, may) in people {
        assert_eq!(cluster.may(user, &[verb, resource, "-n", "default"]), may, "{user} {verb} {resource}");
    }
    let system = |component: &str| format!("system:serviceaccount:keyrota-system:keyrota-{component}");
    let components = [
        ("gateway", "get", "secrets", "keyrota-system", true),
        ("gateway", "get", "secrets", "default", false),
        ("gateway", "update", "secrets", "keyrota-system", false),
        ("console", "get", "secrets", "keyrota-system", false),
        ("console", "list", "configmaps", "keyrota-system", true),
        ("controller", "delete", "secrets", "default", false),
        ("controller", "create", "secrets", "default", true),
    ];
    for (component, verb, resource, namespace, may) in components {
        let answer = cluster.may(&system(component), &[verb, resource, "-n", namespace]);
        assert_eq!(answer, may, "{component} {verb} {resource} in {namespace}");
    }
}
