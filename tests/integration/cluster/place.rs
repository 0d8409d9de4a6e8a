//! The cluster that the suite runs on: one that somebody points at, or one of its own on this machine.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyrota::controlplane::{Binaries, Environment};

use super::images;
use super::node::{self, Node};
use crate::chart::tools::helm;
use crate::common::tools::{in_ci, run};

/// A cluster to install into.
pub(super) struct Place {
    pub(super) kubeconfig: PathBuf,
    pub(super) kubectl: PathBuf,
    pub(super) helm: PathBuf,
    /// An address of a node, where NodePorts answer.
    pub(super) node_address: String,
    /// Of this run, for what has to be a file.
    pub(super) scratch: tempfile::TempDir,
    own: Option<Node>,
}

impl Place {
    /// None where there is none to be had, which is said.
    pub(super) async fn find() -> Option<Self> {
        match variable("KEYROTA_E2E_KUBECONFIG") {
            Some(kubeconfig) => Self::given(kubeconfig.into()).await,
            None => Self::own().await,
        }
    }

    async fn given(kubeconfig: PathBuf) -> Option<Self> {
        let Some(helm) = helm() else { return ignored("helm cannot be built: install Go") };
        let kubectl = Binaries::provide(&Environment::from_process()).await.unwrap().kubectl().to_owned();
        let node_address = variable("KEYROTA_E2E_NODE").unwrap_or_else(|| "127.0.0.1".into());
        let scratch = tempfile::tempdir().unwrap();
        Some(Self { kubeconfig, kubectl, helm, node_address, scratch, own: None })
    }

    async fn own() -> Option<Self> {
        if let Err(reason) = node::possible() {
            return ignored(&reason);
        }
        // Built before the thread loses the network.
        let Some(helm) = helm() else { return ignored("helm cannot be built: install Go") };
        let Some(node) = Node::start().await else { return ignored("its programs cannot be built: install Go") };
        let (kubeconfig, kubectl) = (node.control_plane.kubeconfig(), node.control_plane.kubectl().to_owned());
        let scratch = tempfile::tempdir().unwrap();
        Some(Self { kubeconfig, kubectl, helm, node_address: "127.0.0.1".into(), scratch, own: Some(node) })
    }

    /// Makes the images and puts them where the Pods' runtime finds them.
    pub(super) fn load_images(&self) {
        let (keyrota, workload) = (self.scratch.path().join("keyrota.tar"), self.scratch.path().join("workload.tar"));
        images::write_keyrota(&keyrota, self.scratch.path());
        images::write_workload(&workload);
        for archive in [&keyrota, &workload] {
            match (&self.own, variable("KEYROTA_E2E_LOAD")) {
                (Some(node), _) => node.load(archive),
                // For example `kind load image-archive --name e2e`.
                (None, Some(command)) => {
                    let mut words = command.split_whitespace();
                    run(Command::new(words.next().unwrap()).args(words).arg(archive));
                }
                (None, None) => panic!("KEYROTA_E2E_LOAD is to name the command that loads an image archive"),
            }
        }
    }

    pub(super) fn client(&self) -> kube::Client {
        let args: keyrota::config::ClusterArgs =
            keyrota::config::parse(&["--kubeconfig", self.kubeconfig.to_str().unwrap()]).unwrap();
        futures::FutureExt::now_or_never(args.client()).expect("a kubeconfig needs no waiting").unwrap()
    }

    /// Kills a container's processes, where that can be done from outside.
    pub(super) fn kill(&self, container_id: &str) {
        if let Some(node) = &self.own {
            node.kill(container_id.rsplit('/').next().unwrap());
        }
    }

    /// What the servers of a cluster of our own say.
    pub(super) fn last_words(&self) -> String {
        self.own.as_ref().map(Node::last_words).unwrap_or_default()
    }

    /// Stops what was started.
    pub(super) async fn leave(self) {
        if let Some(node) = self.own {
            let directory = node.control_plane.data_dir().to_owned();
            node.stop().await;
            assert!(!directory.exists());
        }
    }
}

/// The test harness knows no way to ignore a test while it runs; in CI it must not happen.
pub(super) fn ignored<T>(reason: &str) -> Option<T> {
    assert!(!in_ci(), "the whole cluster cannot be had in CI: {reason}");
    writeln!(std::io::stderr(), "SKIPPED: the suite on a whole cluster: {reason}").unwrap();
    None
}

#[expect(clippy::disallowed_methods, reason = "only a test asks where it is to run")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where the programs of a node keep things, unless they are kept from it.
const USUAL_PLACES: [&str; 12] = [
    "/etc/cni",
    "/etc/containerd",
    "/opt/containerd",
    "/run/containerd",
    "/run/netns",
    "/run/xtables.lock",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/nri",
    "/var/log/containers",
    "/var/log/pods",
];

/// Control groups, interfaces, mounts and files of nodes that are on this machine.
pub(super) fn leftovers() -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains("keyrota-node-"));
    let interfaces = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let interfaces = interfaces.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let groups = run(Command::new("find").args(["/sys/fs/cgroup", "-maxdepth", "2", "-name", "keyrota-node-*"]));
    let directories = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let directories = directories.map(|entry| entry.path()).filter(|path| is_of_a_node(path));
    mounts
        .map(str::to_owned)
        .chain(interfaces.filter(|name| name.starts_with("keyrota")))
        .chain(groups.lines().map(str::to_owned))
        .chain(directories.map(|path| path.display().to_string()))
        .chain(USUAL_PLACES.into_iter().filter(|place| Path::new(place).exists()).map(str::to_owned))
        .collect()
}

fn is_of_a_node(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("keyrota-node-"))
}
