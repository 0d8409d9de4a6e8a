//! What each server is told on its command line, and why.

use std::ffi::OsString;
use std::path::PathBuf;

use super::Options;

/// The files the servers are started with.
pub(super) struct Files {
    pub(super) directory: PathBuf,
}

impl Files {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// `--flag=/directory/name`
    fn flag(&self, flag: &str, name: &str) -> OsString {
        let mut argument = OsString::from(format!("--{flag}="));
        argument.push(self.path(name));
        argument
    }
}

/// etcd listens on sockets in the data directory: no port that could be taken, and nobody else on
/// this machine can read the Secrets past the API server.
pub(super) fn etcd_arguments(files: &Files) -> Vec<OsString> {
    let listen = |flag: &str, socket: &str| {
        let mut argument = OsString::from(format!("--{flag}=unix://"));
        argument.push(files.path(socket));
        argument
    };
    vec![
        listen("listen-client-urls", "etcd.sock"),
        listen("listen-peer-urls", "peer.sock"),
        files.flag("data-dir", "etcd"),
        // Advertised only: a cluster of one dials nobody.
        "--advertise-client-urls=http://127.0.0.1:2379".into(),
        "--initial-advertise-peer-urls=http://127.0.0.1:2380".into(),
        "--name=keyrota".into(),
        "--initial-cluster=keyrota=http://127.0.0.1:2380".into(),
        // The data never outlives the process, so nothing is gained by waiting for the disk.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

pub(super) fn api_server_arguments(files: &Files, port: u16, options: &Options) -> Vec<OsString> {
    let mut etcd = OsString::from("--etcd-servers=unix://");
    etcd.push(files.path("etcd.sock"));
    let mut arguments = vec![
        etcd,
        format!("--bind-address={}", options.address).into(),
        // Otherwise it looks for a default route and refuses to start on a machine without network.
        format!("--advertise-address={}", options.address).into(),
        format!("--secure-port={port}").into(),
        files.flag("tls-cert-file", "server.crt"),
        files.flag("tls-private-key-file", "server.key"),
        files.flag("client-ca-file", "ca.crt"),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        files.flag("service-account-key-file", "service-accounts.key"),
        files.flag("service-account-signing-key-file", "service-accounts.key"),
        "--authorization-mode=Node,RBAC".into(),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
    ];
    if options.address.is_loopback() {
        // A loopback address is refused as an endpoint of the kubernetes Service, again and again.
        arguments.push("--endpoint-reconciler-type=none".into());
    } else {
        // Logs of Pods, and commands in them, go through the kubelet of a node that no DNS knows.
        arguments.push("--kubelet-preferred-address-types=InternalIP".into());
        arguments.push(files.flag("kubelet-client-certificate", "kubelet-client.crt"));
        arguments.push(files.flag("kubelet-client-key", "kubelet-client.key"));
    }
    if options.audit {
        arguments.push(files.flag("audit-policy-file", "audit-policy.yaml"));
        arguments.push(files.flag("audit-log-path", "audit.log"));
        // One file, whoever reads it need not follow a rotation.
        arguments.push("--audit-log-maxsize=0".into());
    }
    arguments
}

pub(super) fn controller_manager_arguments(files: &Files) -> Vec<OsString> {
    vec![
        files.flag("kubeconfig", "controller-manager.kubeconfig"),
        "--use-service-account-credentials".into(),
        files.flag("service-account-private-key-file", "service-accounts.key"),
        files.flag("root-ca-file", "ca.crt"),
        "--leader-elect=false".into(),
        // It has nothing to say that anybody here listens to, so it needs no port either.
        "--secure-port=0".into(),
        // The default of 20 requests a second makes namespaces of parallel tests wait in line.
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
    ]
}
