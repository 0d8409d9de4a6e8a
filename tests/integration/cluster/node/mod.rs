//! A whole Kubernetes cluster of one node on this machine: real Pods, Services, NodePorts and probes, without a container
//! registry. All of it is in namespaces of its own, and goes with them: no mount, interface or rule of a firewall is
//! ever made in the machine's own.

mod config;
mod tools;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::Ipv4Addr;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::Node as NodeObject;
use keyrota::controlplane::{ControlPlane, Environment, Options, Place, Variables, Watchdog};
use kube::Api;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::images;
use crate::common::eventually;
use crate::common::tools::run;
use tools::Tools;
pub(super) use tools::{busybox, install_packages, possible};

/// Where the API server and the node's ports are reached.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
/// Where `ip`, `iptables` and their like are, which are in few people's PATH.
pub(super) const SYSTEM_PROGRAMS: &str = ":/usr/local/sbin:/usr/sbin:/sbin";
/// How long any one server may take on a busy machine.
const READY: Duration = Duration::from_secs(120);

/// A running cluster. Dropping it stops and removes everything, without waiting for that.
pub(super) struct Node {
    pub(super) control_plane: ControlPlane,
    servers: Watchdog,
    tools: Tools,
}

impl Node {
    /// Starts it; from here on this thread is in the node's network, and reaches nothing else. None where Go is missing.
    pub(super) async fn start() -> Option<Self> {
        let environment = Environment::from_process();
        let tools = Tools::provide(&environment).await?;
        let path = search_path(&tools, &environment);
        let servers = namespaces("keyrota-node-", &path).await;
        let network = File::open(format!("/proc/{}/ns/net", servers.id())).unwrap();
        move_into_link_name_space(rustix::fd::AsFd::as_fd(&network), Some(LinkNameSpaceType::Network)).unwrap();
        let options = Options { address: ADDRESS, ..Options::default() };
        let control_plane = ControlPlane::start(&environment, &options).await.unwrap();
        let mut node = Self { control_plane, servers, tools };
        node.start_containerd().await;
        let pause = node.tools.pause.clone();
        let archive = node.directory().join("pause.tar");
        images::write(&archive, config::PAUSE_IMAGE, "/pause", &[(pause, "pause".into())]);
        node.load(&archive);
        node.start_kubernetes();
        if let Err(panic) = AssertUnwindSafe(node.is_ready()).catch_unwind().await {
            super::say(&node.last_words());
            std::panic::resume_unwind(panic);
        }
        Some(node)
    }

    /// Puts an image into the node.
    pub(super) fn load(&self, archive: &Path) {
        run(self.ctr().args(["images", "import"]).arg(archive));
    }

    /// Kills the processes of a container, with no word before.
    pub(super) fn kill(&self, container: &str) {
        run(self.ctr().args(["tasks", "kill", "--signal", "SIGKILL", "--all", container]));
    }

    fn ctr(&self) -> Command {
        let mut ctr = Command::new(&self.tools.ctr);
        ctr.arg("--address").arg(self.directory().join("containerd.sock")).args(["--namespace", "k8s.io"]);
        ctr
    }

    /// Stops everything, and waits until it is gone.
    pub(super) async fn stop(self) {
        self.servers.stop().await.unwrap();
        self.control_plane.stop().await.unwrap();
    }

    /// The last words of a server, or of all of them.
    pub(super) fn last_words(&self) -> String {
        let of = |name: &str| {
            let log = self.servers.log(name);
            let lines: Vec<&str> = log.lines().rev().take(4).collect();
            let lines: Vec<String> = lines.iter().rev().map(|line| line.chars().take(300).collect()).collect();
            format!("--- {name}\n{}\n", lines.join("\n"))
        };
        ["setup", "containerd", "kubelet", "kube-proxy", "kube-scheduler"].map(of).concat()
    }

    fn directory(&self) -> &Path {
        self.servers.directory()
    }

    async fn start_containerd(&mut self) {
        let directory = self.directory().to_owned();
        std::fs::create_dir(directory.join("network")).unwrap();
        std::fs::write(directory.join("network/keyrota.conflist"), config::network(&directory)).unwrap();
        let file = directory.join("containerd.toml");
        std::fs::write(&file, config::containerd(&directory, &self.tools.runc)).unwrap();
        self.servers.start("containerd", &self.tools.containerd, &["--config".into(), file.into()]).unwrap();
        let answers = || self.ctr().arg("version").output().is_ok_and(|output| output.status.success()).then_some(());
        eventually("containerd answers", READY, async || answers()).await;
    }

    fn start_kubernetes(&mut self) {
        let directory = self.directory().to_owned();
        let kubernetes = self.tools.kubernetes.clone();
        let kubeconfig = |user: &str, groups: &[&str]| self.control_plane.kubeconfig_for(user, groups).unwrap();
        let as_node = kubeconfig(&format!("system:node:{}", config::NAME), &["system:nodes"]);
        let as_proxy = kubeconfig("system:kube-proxy", &[]);
        let as_scheduler = kubeconfig("system:kube-scheduler", &[]);
        let authority = self.control_plane.data_dir().join("ca.crt");
        let kubelet = self.file("kubelet.json", &config::kubelet(&directory, &authority));
        let proxy = self.file("kube-proxy.json", &config::kube_proxy(&as_proxy));
        let kubelet = [
            flag("config", &kubelet),
            flag("kubeconfig", &as_node),
            flag("root-dir", &directory.join("kubelet")),
            flag("cert-dir", &directory.join("kubelet-certificates")),
            format!("--hostname-override={}", config::NAME).into(),
            format!("--node-ip={ADDRESS}").into(),
        ];
        self.servers.start("kubelet", &kubernetes.kubelet, &kubelet).unwrap();
        self.servers.start("kube-proxy", &kubernetes.kube_proxy, &[flag("config", &proxy)]).unwrap();
        let scheduler = [flag("kubeconfig", &as_scheduler), "--leader-elect=false".into(), "--secure-port=0".into()];
        self.servers.start("kube-scheduler", &kubernetes.kube_scheduler, &scheduler).unwrap();
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let file = self.directory().join(name);
        std::fs::write(&file, content).unwrap();
        file
    }

    async fn is_ready(&self) {
        let nodes: Api<NodeObject> = Api::all(self.control_plane.client().unwrap());
        let ready = async || {
            for server in ["containerd", "kubelet", "kube-proxy", "kube-scheduler"] {
                assert!(self.servers.exit_status(server).is_none(), "{server} has ended:\n{}", self.last_words());
            }
            let node = nodes.get_opt(config::NAME).await.unwrap()?;
            let conditions = node.status?.conditions?;
            conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True").then_some(())
        };
        eventually("the node is Ready", READY, ready).await;
    }
}

/// The programs that the servers call; those of the tools come first.
fn search_path(tools: &Tools, environment: &Environment) -> OsString {
    let mut path = OsString::new();
    for program in [&tools.shim, &tools.runc, &tools.containerd] {
        path.push(program.parent().unwrap());
        path.push(":");
    }
    path.push(&environment.path);
    path.push(SYSTEM_PROGRAMS);
    path
}

/// The namespaces of a node, with its network, mounts and control groups, and nothing in them yet.
pub(super) async fn namespaces(prefix: &str, path: &OsStr) -> Watchdog {
    let directory = tempfile::Builder::new().prefix(prefix).tempdir().unwrap();
    let mut servers = Watchdog::guard(directory, path, Variables::Cleared, Place::OwnNamespaces).unwrap();
    let script = servers.directory().join("setup.sh");
    std::fs::write(&script, include_str!("setup.sh")).unwrap();
    let arguments = [script.into(), servers.directory().into(), ADDRESS.to_string().into()];
    servers.start("setup", Path::new("/bin/sh"), &arguments).unwrap();
    let status = eventually("the namespaces are set up", READY, async || servers.exit_status("setup")).await;
    assert_eq!(status, "0", "{}", servers.log("setup"));
    servers
}

fn flag(name: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(path);
    flag
}
