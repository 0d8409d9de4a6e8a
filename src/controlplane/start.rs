//! Starts the servers in the order in which they need each other.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::config::Kubeconfig;
use tokio::net::UnixStream;
use tokio::time::sleep;

use super::error::{Error, IoContext};
use super::kubeconfig::{self, Endpoint, certificate_user, write_secret};
use super::pki::{Authority, Identity, token_signing_key};
use super::watchdog::Watchdog;
use super::{Binaries, Environment, Options, build};

pub(super) const ETCD: &str = "etcd";
pub(super) const API_SERVER: &str = "kube-apiserver";
pub(super) const CONTROLLER_MANAGER: &str = "kube-controller-manager";
/// The group that may do everything.
pub(super) const MASTERS: &str = "system:masters";

/// A picked port can be taken before the server binds it; that it happens so often cannot be chance.
const PORT_ATTEMPTS: usize = 5;
/// How often a server is asked whether it is there.
const POLL: Duration = Duration::from_millis(25);
/// The shortest limit of the systems this runs on (macOS: 104 with the final zero).
const LONGEST_SOCKET_PATH: usize = 103;

/// Who wrote what and when: enough to count writes by, without the bodies.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
";

/// A control plane whose servers run.
pub(super) struct Running {
    pub(super) watchdog: Watchdog,
    pub(super) authority: Authority,
    pub(super) endpoint: Endpoint,
    pub(super) admin: kube::Config,
}

/// The files the servers are started with.
struct Files {
    directory: PathBuf,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// `--flag=/directory/name`
    fn flag(&self, flag: &str, name: &str) -> OsString {
        let mut argument = OsString::from(format!("--{flag}="));
        argument.push(self.path(name));
        argument
    }

    fn identity(&self, name: &str, identity: &Identity) -> Result<(), Error> {
        write_secret(&self.path(&format!("{name}.crt")), &identity.certificate)?;
        write_secret(&self.path(&format!("{name}.key")), &identity.key)
    }
}

/// Starts everything, on another port whenever the picked one was taken in between.
pub(super) async fn start(binaries: &Binaries, environment: &Environment, options: &Options) -> Result<Running, Error> {
    for _ in 0..PORT_ATTEMPTS {
        let (mut watchdog, port) = (guarded_directory(environment)?, free_port()?);
        match start_in(&mut watchdog, port, binaries, options).await {
            Ok((authority, endpoint, admin)) => {
                return Ok(Running { watchdog, authority, endpoint, admin });
            }
            Err(error) => {
                watchdog.stop().await?;
                match error {
                    Error::Exited { server: API_SERVER, log, .. } if log.contains("address already in use") => {}
                    error => return Err(error),
                }
            }
        }
    }
    Err(Error::PortTaken { attempts: PORT_ATTEMPTS })
}

fn guarded_directory(environment: &Environment) -> Result<Watchdog, Error> {
    let parent = std::env::temp_dir();
    let directory =
        tempfile::Builder::new().prefix("keyrota-").tempdir().while_doing("creating a directory in", &parent)?;
    Watchdog::guard(directory, &environment.path)
}

fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .while_doing("binding", Path::new("127.0.0.1"))
}

async fn start_in(
    watchdog: &mut Watchdog,
    port: u16,
    binaries: &Binaries,
    options: &Options,
) -> Result<(Authority, Endpoint, kube::Config), Error> {
    let deadline = Deadline { started: Instant::now(), within: options.ready_within };
    let files = Files { directory: watchdog.directory().to_owned() };

    watchdog.start(ETCD, &binaries.etcd, &etcd_arguments(&files))?;
    // Everything below is made while etcd starts.
    let authority = Authority::new()?;
    let endpoint = Endpoint { port, authority: authority.certificate() };
    write_files(&files, &authority, options)?;
    let admin = certificate_kubeconfig(&authority, &endpoint, "keyrota-admin", Some(MASTERS))?;
    kubeconfig::write(&admin, &files.path("admin.kubeconfig"))?;
    let controllers = certificate_kubeconfig(&authority, &endpoint, "system:kube-controller-manager", None)?;
    kubeconfig::write(&controllers, &files.path("controller-manager.kubeconfig"))?;
    let admin = kubeconfig::client_config(admin).await?;

    etcd_answers(watchdog, &files, &deadline).await?;
    watchdog.start(API_SERVER, &binaries.kube_apiserver, &api_server_arguments(&files, port, options))?;
    api_server_is_ready(watchdog, &admin, &deadline).await?;
    watchdog.start(CONTROLLER_MANAGER, &binaries.kube_controller_manager, &controller_manager_arguments(&files))?;
    Ok((authority, endpoint, admin))
}

fn write_files(files: &Files, authority: &Authority, options: &Options) -> Result<(), Error> {
    write_secret(&files.path("ca.crt"), &authority.certificate())?;
    files.identity("server", &authority.server()?)?;
    write_secret(&files.path("service-accounts.key"), &token_signing_key()?)?;
    if options.audit {
        write_secret(&files.path("audit-policy.yaml"), AUDIT_POLICY)?;
    }
    let kubeconfigs = files.path("kubeconfigs");
    std::fs::create_dir(&kubeconfigs).while_doing("creating the directory", &kubeconfigs)
}

pub(super) fn certificate_kubeconfig(
    authority: &Authority,
    endpoint: &Endpoint,
    user: &str,
    group: Option<&str>,
) -> Result<Kubeconfig, Error> {
    Ok(endpoint.kubeconfig(certificate_user(&authority.client(user, group)?), None))
}

/// etcd listens on sockets in the data directory: no port that could be taken, and nobody else on
/// this machine can read the Secrets past the API server.
fn etcd_arguments(files: &Files) -> Vec<OsString> {
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

fn api_server_arguments(files: &Files, port: u16, options: &Options) -> Vec<OsString> {
    let mut etcd = OsString::from("--etcd-servers=unix://");
    etcd.push(files.path("etcd.sock"));
    let mut arguments = vec![
        etcd,
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}").into(),
        files.flag("tls-cert-file", "server.crt"),
        files.flag("tls-private-key-file", "server.key"),
        files.flag("client-ca-file", "ca.crt"),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        files.flag("service-account-key-file", "service-accounts.key"),
        files.flag("service-account-signing-key-file", "service-accounts.key"),
        "--authorization-mode=Node,RBAC".into(),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        // A loopback address is refused as an endpoint of the kubernetes Service, again and again.
        "--endpoint-reconciler-type=none".into(),
    ];
    if options.audit {
        arguments.push(files.flag("audit-policy-file", "audit-policy.yaml"));
        arguments.push(files.flag("audit-log-path", "audit.log"));
        // One file, whoever reads it need not follow a rotation.
        arguments.push("--audit-log-maxsize=0".into());
    }
    arguments
}

fn controller_manager_arguments(files: &Files) -> Vec<OsString> {
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

struct Deadline {
    started: Instant,
    within: Duration,
}

async fn etcd_answers(watchdog: &Watchdog, files: &Files, deadline: &Deadline) -> Result<(), Error> {
    let socket = files.path("etcd.sock");
    if socket.as_os_str().len() > LONGEST_SOCKET_PATH {
        return Err(Error::SocketPathTooLong { path: socket });
    }
    while UnixStream::connect(&socket).await.is_err() {
        keep_waiting(watchdog, ETCD, deadline).await?;
    }
    Ok(())
}

async fn api_server_is_ready(watchdog: &Watchdog, admin: &kube::Config, deadline: &Deadline) -> Result<(), Error> {
    let mut config = admin.clone();
    // Retries of the client would hide for seconds that the server is ready.
    config.default_retry = false;
    let client = super::client(config)?;
    while client.request_text(readyz()?).await.is_err() {
        keep_waiting(watchdog, API_SERVER, deadline).await?;
    }
    Ok(())
}

pub(super) fn readyz() -> Result<http::Request<Vec<u8>>, Error> {
    http::Request::get("/readyz").body(Vec::new()).map_err(|source| Error::Api {
        doing: "asking whether it is ready".to_owned(),
        source: Box::new(kube::Error::HttpError(source)),
    })
}

async fn keep_waiting(watchdog: &Watchdog, server: &'static str, deadline: &Deadline) -> Result<(), Error> {
    still_runs(watchdog, server)?;
    if deadline.started.elapsed() > deadline.within {
        return Err(Error::NotReady { server, seconds: deadline.within.as_secs(), log: end_of_log(watchdog, server) });
    }
    sleep(POLL).await;
    Ok(())
}

/// An error with the last words of the server if it has ended.
pub(super) fn still_runs(watchdog: &Watchdog, server: &'static str) -> Result<(), Error> {
    match watchdog.exit_status(server) {
        None => Ok(()),
        Some(status) => Err(Error::Exited { server, status, log: end_of_log(watchdog, server) }),
    }
}

fn end_of_log(watchdog: &Watchdog, server: &str) -> String {
    build::last_lines(&watchdog.log(server), 12)
}
