//! The files that the node's servers are configured by.

use std::path::Path;

use serde_json::json;

/// The one image that every Pod needs.
pub(super) const PAUSE_IMAGE: &str = "keyrota.test/pause:1";
/// The node's name.
pub(super) const NAME: &str = "node";
/// Pods' addresses.
const PODS: &str = "10.244.0.0/24";

pub(super) fn network(directory: &Path) -> String {
    let range = json!([{"subnet": PODS}]);
    let addresses = json!({
        "type": "host-local", "ranges": [range], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": directory.join("addresses"),
    });
    let bridge = json!({
        "type": "bridge", "bridge": "keyrota1", "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": addresses,
    });
    let ports = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    json!({"cniVersion": "0.4.0", "name": "keyrota", "plugins": [bridge, ports]}).to_string()
}

pub(super) fn containerd(directory: &Path, runc: &Path) -> String {
    let (directory, runc) = (directory.display(), runc.display());
    format!(
        r#"version = 3
root = "{directory}/containerd"
state = "{directory}/containerd-state"
# Makes a directory in /opt.
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{directory}/containerd.sock"
[ttrpc]
  address = "{directory}/containerd.ttrpc"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{PAUSE_IMAGE}"
[plugins.'io.containerd.cri.v1.runtime']
  # A container may not be given a lower one than containerd has itself.
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "{directory}/network"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "{runc}"
  SystemdCgroup = false
"#
    )
}

/// `authority`: the file with the certificates that the API server's own is checked against.
pub(super) fn kubelet(directory: &Path, authority: &Path) -> String {
    let group = directory.file_name().unwrap().to_str().unwrap();
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": false}, "x509": {"clientCAFile": authority}},
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{}/containerd.sock", directory.display()),
        "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{group}"), "failCgroupV1": false,
        "enforceNodeAllocatable": [], "failSwapOn": false, "oomScoreAdj": 0,
        // Nothing is thrown away: what is there cannot be had a second time.
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "1Mi", "imagefs.available": "1Mi", "nodefs.inodesFree": "1"},
        "resolvConf": "", "healthzPort": 0,
        "podLogsDir": directory.join("pod-logs"), "volumePluginDir": directory.join("plugins"),
    });
    config.to_string()
}

pub(super) fn kube_proxy(kubeconfig: &Path) -> String {
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "iptables", "clusterCIDR": PODS, "hostnameOverride": NAME, "oomScoreAdj": 0,
        "clientConnection": {"kubeconfig": kubeconfig},
        "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": "127.0.0.1:10249",
        // The machine's own limits stay.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    });
    config.to_string()
}
