//! What a node has made goes with its test, also when that is killed: mounts, interfaces, rules and processes with their
//! namespaces, control groups and the directory by the watchdog's sweeper.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyrota::controlplane::{Environment, Watchdog};
use rustix::process::{Signal, kill_process};

use super::{SOON, node, place};
use crate::common::eventually;
use crate::common::tools::run;
use crate::controlplane::{holder, pid, processes_of};

/// As a container's process is: in a control group below the node's, and deaf. It also leaves a chain, as kube-proxy does.
const CONTAINER: &str = r#"
for tree in /sys/fs/cgroup/memory /sys/fs/cgroup; do [ -d "$tree/$1" ] && break; done
mkdir "$tree/$1/pod" && echo 0 > "$tree/$1/pod/cgroup.procs"
iptables -N KEYROTA-KILLED || exit
trap '' TERM; echo inside >&2
exec sleep 1000
"#;

#[tokio::test]
async fn killing_the_test_leaves_nothing_of_its_node() {
    if let Err(reason) = node::possible() {
        place::ignored::<()>(&reason);
        return;
    }
    node::install_packages();
    let (mut holder, directory) = holder("cluster::killed::holds_a_node_with_a_container");
    let name = directory.file_name().unwrap().to_str().unwrap();
    let groups = groups(name);
    let processes = groups.iter().flat_map(|group| std::fs::read_to_string(group.join("cgroup.procs")));
    let processes: Vec<String> = processes.flat_map(|ids| ids.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let [process] = processes.as_slice() else { panic!("{processes:?} in {groups:?}") };
    let network = std::fs::read_link(format!("/proc/{process}/ns/net")).unwrap();
    assert_ne!(Some(&network), std::fs::read_link("/proc/self/ns/net").ok().as_ref(), "it is in a network of its own");

    kill_process(pid(&holder), Signal::KILL).unwrap();
    holder.wait().unwrap();
    eventually("everything is gone", SOON, async || {
        let gone = !directory.exists() && self::groups(name).is_empty() && processes_of(&directory).is_empty();
        (gone && !networks().contains(&network)).then_some(())
    })
    .await;
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(name), "{mounts}");
}

/// Run by the test above as a process of its own, to be killed.
#[tokio::test]
#[ignore = "the process that another test kills"]
async fn holds_a_node_with_a_container() {
    let mut path = Environment::from_process().path;
    path.push(node::SYSTEM_PROGRAMS);
    // Not called as the suite's nodes are, which may run at the same time and looks for what is left of them.
    let mut servers = node::namespaces("keyrota-killed-", &path).await;
    let name = servers.directory().file_name().unwrap().to_owned();
    let script = servers.directory().join("container.sh");
    std::fs::write(&script, CONTAINER).unwrap();
    servers.start("container", Path::new("/bin/sh"), &[script.into(), name]).unwrap();
    let inside = |servers: &Watchdog| servers.log("container").contains("inside").then_some(());
    eventually("the container runs", SOON, async || inside(&servers)).await;
    println!("\nholding {}", servers.directory().display());
    let _ = std::io::stdin().read_to_string(&mut String::new());
}

fn groups(name: &str) -> Vec<PathBuf> {
    let found = run(Command::new("find").args(["/sys/fs/cgroup", "-maxdepth", "3", "-path", &format!("*/{name}*")]));
    let directories = found.lines().map(PathBuf::from).filter(|path| path.is_dir());
    directories.collect()
}

/// The networks that any process is in.
fn networks() -> BTreeSet<PathBuf> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|process| std::fs::read_link(process.path().join("ns/net")).ok()).collect()
}
