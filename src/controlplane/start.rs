//! Starts the servers in the order in which they need each other.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use kube::config::Kubeconfig;
use tokio::net::UnixStream;
use tokio::time::sleep;

use super::arguments::{Files, api_server_arguments, controller_manager_arguments, etcd_arguments};
use super::error::{Error, IoContext};
use super::kubeconfig::{self, Endpoint, certificate_user, write_secret};
use super::pki::{API_SERVER_AS_CLIENT, Authority, Identity, token_signing_key};
use super::watchdog::{Place, Variables, Watchdog};
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

/// Starts everything, on another port whenever the picked one was taken in between.
pub(super) async fn start(
    binaries: &Binaries,
    environment: &Environment,
    options: &Options,
    mut pick_port: impl FnMut() -> Result<u16, Error>,
) -> Result<Running, Error> {
    for _ in 0..PORT_ATTEMPTS {
        let (watchdog, port) = (guarded_directory(environment)?, pick_port()?);
        match start_on(port, watchdog, binaries, options).await {
            Err(error) if port_was_taken(&error) => {}
            outcome => return outcome,
        }
    }
    Err(Error::PortTaken { attempts: PORT_ATTEMPTS })
}

/// kube-apiserver ends with these words; it does so before it writes anything.
fn port_was_taken(error: &Error) -> bool {
    matches!(error, Error::Exited { server: API_SERVER, log, .. } if log.contains("address already in use"))
}

async fn start_on(port: u16, mut watchdog: Watchdog, binaries: &Binaries, options: &Options) -> Result<Running, Error> {
    match start_in(&mut watchdog, port, binaries, options).await {
        Ok((authority, endpoint, admin)) => Ok(Running { watchdog, authority, endpoint, admin }),
        Err(error) => {
            watchdog.stop().await?;
            Err(error)
        }
    }
}

fn guarded_directory(environment: &Environment) -> Result<Watchdog, Error> {
    let parent = std::env::temp_dir();
    let directory =
        tempfile::Builder::new().prefix("keyrota-").tempdir().while_doing("creating a directory in", &parent)?;
    Watchdog::guard(directory, &environment.path, Variables::Cleared, Place::Here)
}

/// A port that was free a moment ago.
pub(super) fn free_port(address: Ipv4Addr) -> Result<u16, Error> {
    let listener = TcpListener::bind((address, 0));
    listener
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .while_doing("binding", Path::new(&address.to_string()))
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
    let endpoint = Endpoint { address: options.address, port, authority: authority.certificate() };
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

fn write_identity(files: &Files, name: &str, identity: &Identity) -> Result<(), Error> {
    write_secret(&files.path(&format!("{name}.crt")), &identity.certificate)?;
    write_secret(&files.path(&format!("{name}.key")), &identity.key)
}

fn write_files(files: &Files, authority: &Authority, options: &Options) -> Result<(), Error> {
    write_secret(&files.path("ca.crt"), &authority.certificate())?;
    write_identity(files, "server", &authority.server(options.address)?)?;
    if !options.address.is_loopback() {
        write_identity(files, "kubelet-client", &authority.client(API_SERVER_AS_CLIENT, Some(MASTERS))?)?;
    }
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

struct Deadline {
    started: Instant,
    within: Duration,
}

async fn etcd_answers(watchdog: &Watchdog, files: &Files, deadline: &Deadline) -> Result<(), Error> {
    let socket = files.path("etcd.sock");
    if socket.as_os_str().len() > LONGEST_SOCKET_PATH {
        return Err(Error::SocketPathTooLong { path: socket });
    }
    let answers = async {
        while UnixStream::connect(&socket).await.is_err() {
            sleep(POLL).await;
        }
        Ok(())
    };
    wait(answers, watchdog, ETCD, deadline).await
}

async fn api_server_is_ready(watchdog: &Watchdog, admin: &kube::Config, deadline: &Deadline) -> Result<(), Error> {
    let mut config = admin.clone();
    // Retries of the client would hide for seconds that the server is ready.
    config.default_retry = false;
    let client = super::client(config)?;
    let ready = async {
        while client.request_text(readyz()?).await.is_err() {
            sleep(POLL).await;
        }
        Ok(())
    };
    wait(ready, watchdog, API_SERVER, deadline).await
}

fn readyz() -> Result<http::Request<Vec<u8>>, Error> {
    http::Request::get("/readyz").body(Vec::new()).map_err(|source| Error::Api {
        doing: "asking whether it is ready".to_owned(),
        source: Box::new(kube::Error::HttpError(source)),
    })
}

/// Waits for `ready`, at most until the server ends or the deadline passes: whoever took its port
/// may leave a request without an answer.
async fn wait(
    ready: impl Future<Output = Result<(), Error>>,
    watchdog: &Watchdog,
    server: &'static str,
    deadline: &Deadline,
) -> Result<(), Error> {
    let hopeless = async {
        while deadline.started.elapsed() <= deadline.within {
            still_runs(watchdog, server)?;
            sleep(POLL).await;
        }
        Err(Error::NotReady { server, seconds: deadline.within.as_secs(), log: end_of_log(watchdog, server) })
    };
    tokio::select! {
        biased;
        outcome = ready => outcome,
        outcome = hopeless => outcome,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_port() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    async fn started(pick_port: impl FnMut() -> Result<u16, Error>) -> Result<Running, Error> {
        let environment = Environment::from_process();
        let binaries = Binaries::provide(&environment).await.unwrap();
        start(&binaries, &environment, &Options::default(), pick_port).await
    }

    #[tokio::test]
    async fn a_port_that_was_taken_in_between_is_replaced_by_another() {
        let (_listener, taken) = taken_port();
        let mut first = Some(taken);
        let running = started(|| first.take().map_or_else(|| free_port(Ipv4Addr::LOCALHOST), Ok)).await;
        let running = running.unwrap_or_else(|error| panic!("{error}"));
        assert_ne!(running.endpoint.port, taken);
        running.watchdog.stop().await.unwrap();
    }

    #[tokio::test]
    async fn ports_that_are_taken_every_time_are_told_with_the_remedy() {
        let (_listener, taken) = taken_port();
        let Err(error) = started(|| Ok(taken)).await else {
            panic!("the port was not taken");
        };
        assert_eq!(
            error.to_string(),
            "kube-apiserver found its port on 127.0.0.1 taken 5 times in a row: \
             stop whatever opens ports that fast, then run again"
        );
    }
}
