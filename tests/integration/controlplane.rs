//! The control plane is a real one, and nothing of it outlives whoever started it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use keyrota::controlplane::{ControlPlane, Environment, Options};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client, Resource};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::common::{control_plane, eventually, namespace};

/// What controllers do within seconds, on a machine that compiles at the same time.
const SOON: Duration = Duration::from_secs(90);

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

async fn who_am_i(client: Client) -> (String, Vec<String>) {
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let user = review.status.unwrap().user_info.unwrap();
    (user.username.unwrap(), user.groups.unwrap())
}

/// A client with what stands in a kubeconfig.
pub(crate) async fn client_from(kubeconfig: &Path) -> Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    Client::try_from(kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap()).unwrap()
}

#[tokio::test]
async fn it_is_ready_and_of_the_version_that_was_asked_for() {
    let control_plane = control_plane();
    let client = control_plane.client().unwrap();
    let readyz = http::Request::get("/readyz").body(Vec::new()).unwrap();
    assert_eq!(client.request_text(readyz).await.unwrap(), "ok");
    let version = client.apiserver_version().await.unwrap();
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "36"));
    control_plane.check().unwrap();
}

#[tokio::test]
async fn deleting_a_namespace_completes() {
    let control_plane = control_plane();
    let namespace = namespace(control_plane).await;
    let namespaces: Api<Namespace> = Api::all(control_plane.client().unwrap());
    let accounts: Api<ServiceAccount> = Api::namespaced(control_plane.client().unwrap(), &namespace.name);
    eventually("the default service account", SOON, async || accounts.get_opt("default").await.unwrap()).await;
    namespaces.delete(&namespace.name, &DeleteParams::default()).await.unwrap();
    eventually("the namespace is gone", SOON, async || {
        namespaces.get_opt(&namespace.name).await.unwrap().is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_owned_goes_with_its_owner() {
    let control_plane = control_plane();
    let namespace = namespace(control_plane).await;
    let maps: Api<ConfigMap> = Api::namespaced(control_plane.client().unwrap(), &namespace.name);
    let owner = ConfigMap { metadata: named("owner"), ..ConfigMap::default() };
    let owner = maps.create(&PostParams::default(), &owner).await.unwrap();
    let reference: OwnerReference = owner.owner_ref(&()).unwrap();
    let metadata = ObjectMeta { owner_references: Some(vec![reference]), ..named("owned") };
    maps.create(&PostParams::default(), &ConfigMap { metadata, ..ConfigMap::default() }).await.unwrap();
    maps.delete("owner", &DeleteParams::background()).await.unwrap();
    eventually("the owned object is gone", SOON, async || maps.get_opt("owned").await.unwrap().is_none().then_some(()))
        .await;
}

#[tokio::test]
async fn users_are_who_their_kubeconfig_says() {
    let control_plane = control_plane();
    let alone = client_from(&control_plane.kubeconfig_for("alice", &["team-a"]).unwrap()).await;
    let (user, groups) = who_am_i(alone).await;
    assert_eq!((user.as_str(), groups), ("alice", vec!["team-a".to_owned(), "system:authenticated".to_owned()]));

    let several = client_from(&control_plane.kubeconfig_for("bob", &["team-a", "team-b"]).unwrap()).await;
    let (user, groups) = who_am_i(several.clone()).await;
    assert_eq!(user, "bob");
    assert!(["team-a", "team-b", "system:authenticated"].iter().all(|group| groups.contains(&(*group).to_owned())));
    let namespaces: Api<Namespace> = Api::all(several);
    let refused = namespaces.list(&kube::api::ListParams::default()).await.unwrap_err().to_string();
    assert!(refused.contains("namespaces is forbidden"), "{refused}");

    let (user, groups) = who_am_i(control_plane.client_for("carol", &[]).await.unwrap()).await;
    assert_eq!((user.as_str(), groups), ("carol", vec!["system:authenticated".to_owned()]));
}

#[tokio::test]
async fn a_service_account_is_itself_and_a_missing_one_is_told() {
    let control_plane = control_plane();
    let namespace = namespace(control_plane).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(control_plane.client().unwrap(), &namespace.name);
    let account = ServiceAccount { metadata: named("robot"), ..ServiceAccount::default() };
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let kubeconfig = control_plane.service_account_kubeconfig(&namespace.name, "robot").await.unwrap();
    let (user, _) = who_am_i(client_from(&kubeconfig).await).await;
    assert_eq!(user, format!("system:serviceaccount:{}:robot", namespace.name));

    let error = control_plane.service_account_kubeconfig(&namespace.name, "nobody").await.unwrap_err().to_string();
    let expected =
        format!("requesting a token of service account {}/nobody failed at the control plane: ", namespace.name);
    assert!(error.starts_with(&expected) && error.contains("not found"), "{error}");
}

#[tokio::test]
async fn writes_are_in_the_audit_log() {
    let control_plane = control_plane();
    let namespace = namespace(control_plane).await;
    let maps: Api<ConfigMap> = Api::namespaced(control_plane.client().unwrap(), &namespace.name);
    let map = ConfigMap { metadata: named("audited"), ..ConfigMap::default() };
    maps.create(&PostParams::default(), &map).await.unwrap();
    let log = control_plane.audit_log().unwrap();
    let uri = format!("/api/v1/namespaces/{}/configmaps?", namespace.name);
    let line = eventually("the write is logged", SOON, async || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.lines().find(|line| line.contains(&uri) && line.contains(r#""verb":"create""#)).map(str::to_owned)
    })
    .await;
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["user"]["username"], "keyrota-admin");
    assert_eq!(event["stage"], "ResponseComplete");
}

#[tokio::test]
async fn kubectl_of_the_same_version_works_with_the_kubeconfig() {
    let control_plane = control_plane();
    let output = tokio::process::Command::new(control_plane.kubectl())
        .args(["get", "namespace", "kube-system", "-o", "name", "--kubeconfig"])
        .arg(control_plane.kubeconfig())
        .output()
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "namespace/kube-system\n", "{output:?}");
}

#[tokio::test]
async fn stopping_leaves_no_process_and_no_directory() {
    // A second one beside the shared one, without its audit log.
    let options = Options { audit: false, ..Options::default() };
    let second = ControlPlane::start(&Environment::from_process(), &options).await.unwrap();
    let directory = second.data_dir().to_owned();
    assert_ne!(second.url(), control_plane().url());
    assert_eq!(second.audit_log(), None);
    second.stop().await.unwrap();
    assert!(!directory.exists());
    assert_eq!(processes_of(&directory), Vec::<String>::new());
}

#[tokio::test]
async fn a_start_without_enough_time_says_so_and_leaves_nothing() {
    let options = Options { ready_within: Duration::ZERO, ..Options::default() };
    let Err(error) = ControlPlane::start(&Environment::from_process(), &options).await else {
        panic!("nothing is ready in no time");
    };
    assert!(error.to_string().contains(" was not ready after 0 s: give the machine more time"), "{error}");
}

#[tokio::test]
async fn killing_its_holder_leaves_no_process_and_no_directory() {
    let (mut holder, directory) = holder(HOLDER);
    let started = Instant::now();
    kill_process(pid(&holder), Signal::KILL).unwrap();
    holder.wait().unwrap();
    everything_goes(&directory).await;
    assert!(started.elapsed() < SOON);
}

#[tokio::test]
async fn ctrl_c_in_the_terminal_of_its_holder_leaves_no_process_and_no_directory() {
    let (mut holder, directory) = holder(HOLDER);
    // What a terminal does: the signal goes to the whole foreground process group.
    kill_process_group(pid(&holder), Signal::INT).unwrap();
    holder.wait().unwrap();
    everything_goes(&directory).await;
}

#[tokio::test]
async fn a_panic_of_its_holder_leaves_no_process_and_no_directory() {
    let (mut holder, directory) = holder(HOLDER);
    holder.stdin.take().unwrap().write_all(b"panic").unwrap();
    assert!(!holder.wait().unwrap().success());
    everything_goes(&directory).await;
}

/// Run by the tests above as a process of its own, to be killed.
#[tokio::test]
#[ignore = "the process that other tests kill"]
async fn holds_a_control_plane() {
    let control_plane = ControlPlane::start(&Environment::from_process(), &Options::default()).await.unwrap();
    assert!(control_plane.data_dir().join("audit.log").exists());
    println!("\nholding {}", control_plane.data_dir().display());
    let mut order = String::new();
    let _ = std::io::stdin().read_to_string(&mut order);
    assert!(order.is_empty(), "the holder was told to {order}");
}

const HOLDER: &str = "controlplane::holds_a_control_plane";

/// This test binary once more, in a process group of its own, for the ignored test that holds a directory.
pub(crate) fn holder(test: &str) -> (Child, PathBuf) {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let output = BufReader::new(holder.stdout.take().unwrap());
    let held = output.lines().map_while(Result::ok).find_map(|line| line.strip_prefix("holding ").map(PathBuf::from));
    (holder, held.expect("the holder ended before it held anything"))
}

pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

async fn everything_goes(directory: &Path) {
    eventually("the processes and the directory are gone", SOON, async || {
        (!directory.exists() && processes_of(directory).is_empty()).then_some(())
    })
    .await;
}

/// The command lines of all processes that name the directory (where there is a /proc).
pub(crate) fn processes_of(directory: &Path) -> Vec<String> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let lines = processes.filter_map(|process| std::fs::read(process.ok()?.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&*directory.to_string_lossy()))
        .collect()
}
