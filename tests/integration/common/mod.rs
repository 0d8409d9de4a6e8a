//! What the tests share: one control plane, namespaces of their own, and a way to wait.

pub(crate) mod collector;
pub(crate) mod idp;
pub(crate) mod keycloak;
pub(crate) mod link;
pub(crate) mod mailbox;
pub(crate) mod operator;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod tools;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use keyrota::controlplane::{ControlPlane, Environment, Options};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::sync::OnceCell;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// The one control plane of this test binary, started by the first test that asks. Statics are never
/// dropped: its watchdog stops it when the process ends.
pub(crate) fn control_plane() -> &'static ControlPlane {
    static CONTROL_PLANE: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
    let started = CONTROL_PLANE.get_or_init(|| start_on_own_runtime(&Options::default()));
    match started {
        Ok(control_plane) => control_plane,
        Err(error) => panic!("no test can run without a control plane: {error}"),
    }
}

/// A control plane for one test, which may do to it what no other one should see.
pub(crate) fn control_plane_of_ones_own() -> &'static ControlPlane {
    match start_on_own_runtime(&Options::default()) {
        Ok(control_plane) => Box::leak(Box::new(control_plane)),
        Err(error) => panic!("this test cannot run without a control plane: {error}"),
    }
}

/// Every test has a runtime that ends with it, so what is shared is started on another one.
fn start_on_own_runtime(options: &Options) -> Result<ControlPlane, String> {
    std::thread::scope(|scope| {
        let start = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let environment = Environment::from_process();
            runtime.block_on(ControlPlane::start(&environment, options)).map_err(|error| error.to_string())
        };
        scope.spawn(start).join().unwrap_or_else(|_| Err("starting it panicked".to_owned()))
    })
}

/// Installs the CRDs, once for all tests, and waits until the API server serves every kind.
pub(crate) async fn crds_installed(control_plane: &ControlPlane) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let install = async || {
        for crd in keyrota::crds::all() {
            install(&control_plane.client().unwrap(), &crd).await;
        }
    };
    INSTALLED.get_or_init(install).await;
}

/// Installs or changes one CRD and waits until its kind is served.
pub(crate) async fn install(client: &Client, crd: &CustomResourceDefinition) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = crd.metadata.name.as_deref().unwrap();
    crds.patch(name, &PatchParams::apply("keyrota-tests").force(), &Patch::Apply(crd)).await.unwrap();
    let served = ApiResource {
        group: crd.spec.group.clone(),
        version: "v1alpha1".into(),
        api_version: format!("{}/v1alpha1", crd.spec.group),
        kind: crd.spec.names.kind.clone(),
        plural: crd.spec.names.plural.clone(),
    };
    let objects: Api<DynamicObject> = Api::all_with(client.clone(), &served);
    eventually(&format!("{name} is served"), Duration::from_secs(60), async || {
        objects.list(&ListParams::default().limit(1)).await.ok()
    })
    .await;
}

/// A namespace that no other test uses; asked to go when the test ends, however it ends.
pub(crate) struct TestNamespace {
    pub(crate) name: String,
    config: kube::Config,
}

/// Makes a namespace with a name of its own.
pub(crate) async fn namespace(control_plane: &ControlPlane) -> TestNamespace {
    static NUMBER: AtomicUsize = AtomicUsize::new(1);
    let name = format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let namespaces: Api<Namespace> = Api::all(control_plane.client().unwrap());
    let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    TestNamespace { name, config: control_plane.client_config() }
}

impl Drop for TestNamespace {
    /// On a thread of its own: a test's runtime must not be blocked on from within itself.
    fn drop(&mut self) {
        let (name, config) = (self.name.clone(), self.config.clone());
        let delete = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                let namespaces: Api<Namespace> = Api::all(kube::Client::try_from(config).ok()?);
                namespaces.delete(&name, &DeleteParams::default()).await.ok()
            })
        };
        let _ = std::thread::spawn(delete).join();
    }
}

/// Waits until `attempt` answers with a value, and gives it back; says what was waited for if not.
pub(crate) async fn eventually<T>(what: &str, deadline: Duration, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    let mut attempts = 0_u32;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        attempts += 1;
        if started.elapsed() >= deadline {
            panic!("{what}: not so after {:.1} s and {attempts} looks", started.elapsed().as_secs_f64());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The TLS provider of this process, as `main` installs it.
pub(crate) fn install_tls_provider() {
    // A second test finds it installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
