//! What a node needs besides Kubernetes: containerd and runc from the module proxy, and a few packages of Debian.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

use keyrota::controlplane::{Environment, NodeBinaries};

use crate::common::tools::{during, go_tool, installed, run};

const CONTAINERD: &str = "v2.4.2";
/// Debian's own is too old for this containerd.
const RUNC: &str = "v1.5.2";

/// A file that a package brings, and the package.
const PACKAGES: [(&str, &str); 9] = [
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/sbin/conntrack", "conntrack"),
    ("/usr/bin/pkg-config", "pkg-config"),
    ("/usr/include/seccomp.h", "libseccomp-dev"),
    ("/usr/bin/curl", "curl"),
    // Either place; see `busybox`.
    ("/usr/bin/busybox", "busybox-static"),
    ("/usr/bin/strip", "binutils"),
];

/// Does nothing, reaps children, and ends when told to: what holds a Pod's namespaces.
const PAUSE: &str = include_str!("pause.c");

/// Where the programs are.
pub(super) struct Tools {
    pub(super) kubernetes: NodeBinaries,
    pub(super) containerd: PathBuf,
    pub(super) shim: PathBuf,
    pub(super) ctr: PathBuf,
    pub(super) runc: PathBuf,
    pub(super) pause: PathBuf,
}

/// Whether a node can run here at all; if not, why.
pub(in crate::cluster) fn possible() -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("it needs Linux".into());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root: containers, namespaces, a firewall".into());
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "true"]);
    let made = unshare.stdin(Stdio::null()).stderr(Stdio::null()).status();
    if !made.is_ok_and(|status| status.success()) {
        return Err("it needs namespaces of its own, which this machine does not give".into());
    }
    if !control_groups_can_be_made() {
        return Err("it needs control groups for its containers, and /sys/fs/cgroup cannot be written".into());
    }
    let missing = missing();
    if !missing.is_empty() && Command::new("apt-get").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Err(format!("it needs {}, and there is no apt-get to install them with", missing.join(", ")));
    }
    Ok(())
}

/// In version 1 there is a tree for each controller; one stands for all.
fn control_groups_can_be_made() -> bool {
    let tree = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map(Path::new).into_iter().find(|tree| tree.exists());
    let probe = tree.map(|tree| tree.join(format!("keyrota-probe-{}", std::process::id())));
    probe.is_some_and(|probe| std::fs::create_dir(&probe).and_then(|()| std::fs::remove_dir(&probe)).is_ok())
}

impl Tools {
    /// Installs what is missing, visibly. None where Go is.
    pub(super) async fn provide(environment: &Environment) -> Option<Self> {
        install_packages();
        let of_containerd =
            |name: &str| go_tool(name, &format!("github.com/containerd/containerd/v2/cmd/{name}"), CONTAINERD);
        Some(Self {
            containerd: of_containerd("containerd")?,
            shim: of_containerd("containerd-shim-runc-v2")?,
            ctr: of_containerd("ctr")?,
            runc: runc()?,
            pause: pause()?,
            kubernetes: NodeBinaries::provide(environment).await.unwrap(),
        })
    }
}

fn missing() -> Vec<&'static str> {
    let is_there = |file: &str| Path::new(file).exists() || (file.ends_with("busybox") && busybox().exists());
    PACKAGES.iter().filter(|(file, _)| !is_there(file)).map(|(_, package)| *package).collect()
}

/// A static busybox: Debian moved it.
pub(in crate::cluster) fn busybox() -> PathBuf {
    let places = ["/usr/bin/busybox", "/bin/busybox"].map(PathBuf::from);
    places.iter().find(|place| place.exists()).unwrap_or(&places[0]).clone()
}

/// Installs what is missing of Debian's packages, visibly. One test does it, and others wait: apt-get is for one at a time.
pub(in crate::cluster) fn install_packages() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let missing = missing();
        if !missing.is_empty() {
            during(&format!("installing {}", missing.join(", ")), || apt_get(&missing));
        }
    });
}

fn apt_get(packages: &[&str]) {
    run(Command::new("apt-get").args(["update", "-qq"]));
    let quiet = ["install", "-qq", "--no-install-recommends"];
    run(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(quiet).args(packages));
}

/// With seccomp, which needs C.
fn runc() -> Option<PathBuf> {
    let home = installed(&format!("runc-{RUNC}"), "go", |home| {
        let mut go = Command::new("go");
        go.env("GOBIN", home).env("CGO_ENABLED", "1").env("GOWORK", "off").current_dir(home);
        go.args(["install", "-trimpath", "-tags", "seccomp", "-ldflags", "-s -w"]);
        go.arg(format!("github.com/opencontainers/runc@{RUNC}"));
        during(&format!("building runc {RUNC}, once, into {}", home.parent().unwrap().display()), || run(&mut go));
    })?;
    Some(home.join("runc"))
}

fn pause() -> Option<PathBuf> {
    let home = installed("pause-1", "cc", |home| {
        let source = home.join("pause.c");
        std::fs::write(&source, PAUSE).unwrap();
        run(Command::new("cc").args(["-static", "-Os", "-s", "-o"]).arg(home.join("pause")).arg(source));
    })?;
    Some(home.join("pause"))
}
