//! An operator of one's own: a tenant namespace, an operator namespace, a controller under its own service account and
//! rights, and a clock that a test can move.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event;
use keyrota::api::{ConditionStatus, ServiceAccount, ServiceAccountStatus};
use keyrota::clock::{Clock, ManualClock, SystemClock};
use keyrota::controller::{self, Backlog};
use keyrota::controlplane::ControlPlane;
use keyrota::domain::credential::{SecretHash, Version};
use keyrota::domain::names;
use keyrota::domain::record::{DATA_KEY, Record};
use keyrota::entropy::{SharedEntropy, SystemEntropy};
use keyrota::{config, demo, gateway};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::task::JoinHandle;

use super::link::Link;
use super::proxy::Proxy;
use super::{TestNamespace, control_plane, crds_installed, eventually, namespace};

/// How long anything that an operator does may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Runs kubectl as the administrator and returns what it prints.
pub(crate) fn kubectl(control_plane: &ControlPlane, arguments: &[&str], input: &str) -> String {
    use std::io::Write;
    let mut child = std::process::Command::new(control_plane.kubectl())
        .arg("--kubeconfig")
        .arg(control_plane.kubeconfig())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// One operator and the namespace that it looks after.
pub(crate) struct Operator {
    pub(crate) control_plane: &'static ControlPlane,
    pub(crate) client: Client,
    pub(crate) tenant: TestNamespace,
    pub(crate) own: TestNamespace,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where the controllers' randomness comes from; before they are started.
    pub(crate) entropy: SharedEntropy,
    /// What the controller that [`Self::start_controller`] starts has left to do.
    pub(crate) backlog: Backlog,
    /// Further flags of the controller; before it is started.
    pub(crate) flags: Vec<String>,
    /// Further flags of its gateways; before they are started.
    pub(crate) gateway_flags: Vec<String>,
    controller: Option<JoinHandle<anyhow::Result<()>>>,
    gateways: Vec<JoinHandle<anyhow::Result<()>>>,
    stop_gateways: tokio::sync::watch::Sender<bool>,
    /// What gateways that are started from now on reach the API server by; their own service account when absent.
    pub(crate) gateway_kubeconfig: Option<String>,
    /// What controllers that are started from now on reach the API server by.
    pub(crate) kubeconfig: String,
}

/// A running controller of the test's own.
pub(crate) struct Controller {
    stop: tokio::sync::oneshot::Sender<()>,
    process: JoinHandle<anyhow::Result<()>>,
}

impl Controller {
    /// As SIGTERM would.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.process.await.unwrap().unwrap();
    }

    /// As a kill -9 would: no step more.
    pub(crate) async fn kill(self) {
        self.process.abort();
        let _ = self.process.await;
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.process.is_finished()
    }
}

/// A running gateway, as a client sees it.
pub(crate) struct Gateway {
    pub(crate) address: std::net::SocketAddr,
    /// Where its probes and metrics are.
    pub(crate) health: String,
    pub(crate) token_url: String,
    /// Trusts the gateway's own CA and no other.
    pub(crate) http: reqwest::Client,
}

impl Gateway {
    /// The manual's request with these credentials: the status, and the token or the appStatusCode.
    pub(crate) async fn token(&self, pair: &(String, String)) -> (u16, String) {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", pair.0, pair.1));
        let request = self.http.post(&self.token_url).header("Authorization", format!("Basic {basic}"));
        Self::said(request.body("grant_type=Client_Credentials")).await
    }

    /// The same at a tenant's host.
    pub(crate) async fn token_at(&self, host: &str, pair: &(String, String)) -> (u16, String) {
        let request = self.http.post(&self.token_url).basic_auth(&pair.0, Some(&pair.1)).header("Host", host);
        Self::said(request.body("grant_type=Client_Credentials")).await
    }

    /// The manual's request with an assertion instead, at a tenant's host.
    pub(crate) async fn token_for(&self, host: &str, assertion: &str) -> (u16, String) {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", keyrota::domain::assertion::ASSERTION_TYPE),
            ("client_assertion", assertion),
        ];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        Self::said(self.http.post(&self.token_url).header("Host", host).body(body)).await
    }

    /// The standard request with an assertion, at a tenant's host: the status, and the token or the error.
    pub(crate) async fn oauth_token_for(&self, host: &str, assertion: &str) -> (u16, String) {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", keyrota::domain::assertion::ASSERTION_TYPE),
            ("client_assertion", assertion),
        ];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let url = self.token_url.replace("/avxapi/acctmgmt-get-service-token?gwsource=external", "/oauth2/token");
        let request =
            self.http.post(url).header("Host", host).header("Content-Type", "application/x-www-form-urlencoded");
        let answer = request.body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let answer: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let said = answer["access_token"].as_str().or(answer["error"].as_str());
        (status, said.unwrap_or_default().to_owned())
    }

    async fn said(request: reqwest::RequestBuilder) -> (u16, String) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let envelope: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let said = envelope["response"].as_str().or(envelope["appStatusCode"].as_str());
        (status, said.unwrap_or_default().to_owned())
    }
}

impl Operator {
    /// On the system's clock.
    pub(crate) async fn start() -> Self {
        Self::with_clock(Arc::new(SystemClock)).await
    }

    /// On a clock that starts now and is moved by the test.
    pub(crate) async fn on_manual_clock() -> (Self, ManualClock) {
        let clock = ManualClock::at(SystemClock.now());
        (Self::with_clock(Arc::new(clock.clone())).await, clock)
    }

    async fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let mut operator = Self::prepared(clock).await;
        operator.start_controller();
        operator
    }

    /// Everything but a running controller.
    pub(crate) async fn prepared(clock: Arc<dyn Clock>) -> Self {
        super::install_tls_provider();
        let control_plane = control_plane();
        crds_installed(control_plane).await;
        Self::prepared_on(control_plane, clock).await
    }

    /// The same on a control plane that is not everybody's, and that has the CRDs.
    pub(crate) async fn prepared_on(control_plane: &'static ControlPlane, clock: Arc<dyn Clock>) -> Self {
        super::install_tls_provider();
        let (tenant, own) = (namespace(control_plane).await, namespace(control_plane).await);
        let roles = demo::INSTALL
            .replace("keyrota-system", &own.name)
            .replace("{name: keyrota-controller}", &format!("{{name: keyrota-controller-{}}}", own.name))
            .replace("{name: keyrota-gateway}", &format!("{{name: keyrota-gateway-{}}}", own.name))
            .replace("{name: keyrota-console}", &format!("{{name: keyrota-console-{}}}", own.name))
            .replace(
                "kind: ClusterRole, name: keyrota-controller",
                &format!("kind: ClusterRole, name: keyrota-controller-{}", own.name),
            )
            .replace(
                "kind: ClusterRole, name: keyrota-gateway",
                &format!("kind: ClusterRole, name: keyrota-gateway-{}", own.name),
            )
            .replace(
                "kind: ClusterRole, name: keyrota-console",
                &format!("kind: ClusterRole, name: keyrota-console-{}", own.name),
            );
        kubectl(control_plane, &["apply", "--server-side", "-f", "-"], &roles);
        let kubeconfig = control_plane.service_account_kubeconfig(&own.name, "keyrota-controller").await.unwrap();
        Self {
            control_plane,
            client: control_plane.client().unwrap(),
            tenant,
            own,
            clock,
            entropy: Arc::new(SystemEntropy),
            backlog: Backlog::default(),
            flags: Vec::new(),
            gateway_flags: Vec::new(),
            controller: None,
            gateways: Vec::new(),
            stop_gateways: tokio::sync::watch::Sender::new(false),
            gateway_kubeconfig: None,
            kubeconfig: kubeconfig.to_str().unwrap().to_owned(),
        }
    }

    /// From the next start on the controller reaches the API server through a proxy that a test scripts.
    pub(crate) async fn through_a_proxy(&mut self) -> Proxy {
        let client = plain_client(&self.kubeconfig).await;
        let proxy = Proxy::start(client, self.control_plane.data_dir()).await;
        self.kubeconfig = proxy.kubeconfig.to_str().unwrap().to_owned();
        proxy
    }

    /// Without election: one that is started after a kill is not to wait for the end of the other's lease.
    pub(crate) fn start_controller(&mut self) {
        self.backlog = Backlog::default();
        let run = self.controller_with(&["--leader-elect", "false"], self.backlog.clone(), std::future::pending());
        self.controller = Some(tokio::spawn(run));
    }

    /// Another controller of the same namespaces, for the test to stop or kill.
    pub(crate) fn another_controller(&self, arguments: &[&str]) -> Controller {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let run = self.controller_with(arguments, Backlog::default(), async { drop(stopped.await) });
        Controller { stop, process: tokio::spawn(run) }
    }

    fn controller_with<S: Future<Output = ()> + Send + 'static>(
        &self,
        arguments: &[&str],
        backlog: Backlog,
        stopped: S,
    ) -> impl Future<Output = anyhow::Result<()>> + Send + use<S> {
        let common = [
            "--kubeconfig",
            &self.kubeconfig,
            "--operator-namespace",
            &self.own.name,
            "--watch-namespaces",
            &self.tenant.name,
        ];
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let deaf = if arguments.iter().chain(&flags).any(|flag| *flag == "--health-listen") {
            [].as_slice()
        } else {
            &["--health-listen", ""]
        };
        let arguments = config::parse(&[&common, deaf, arguments, &flags].concat()).unwrap();
        controller::run_with(arguments, self.clock.clone(), self.entropy.clone(), backlog, stopped)
    }

    /// Starts a gateway under its own service account and waits until it is ready.
    pub(crate) async fn start_gateway(&mut self) -> Gateway {
        self.start_gateway_at(free_address(), "https://localhost:31443").await
    }

    /// The same at an address and an external URL of the test's own.
    pub(crate) async fn start_gateway_at(&mut self, listen: std::net::SocketAddr, external_url: &str) -> Gateway {
        let health = self.launch_gateway(listen, external_url).await;
        let probe = reqwest::Client::builder().no_proxy().build().unwrap();
        eventually("the gateway is ready", SOON, async || {
            let answer = probe.get(format!("http://{health}/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        let certificate = self.own_secrets().get("keyrota-gateway-tls").await.unwrap();
        let ca = reqwest::Certificate::from_pem(text(&certificate, "ca.crt").as_bytes()).unwrap();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).timeout(SOON).build().unwrap();
        let token_url = format!("https://{listen}/avxapi/acctmgmt-get-service-token?gwsource=external");
        Gateway { address: listen, health: health.to_string(), token_url, http }
    }

    /// Starts a gateway without waiting for anything; where it answers probes.
    pub(crate) async fn launch_gateway(
        &mut self,
        listen: std::net::SocketAddr,
        external_url: &str,
    ) -> std::net::SocketAddr {
        let kubeconfig = match &self.gateway_kubeconfig {
            Some(kubeconfig) => kubeconfig.clone(),
            None => self.own_kubeconfig("keyrota-gateway").await,
        };
        let health = free_address();
        let arguments = [
            "--kubeconfig",
            &kubeconfig,
            "--operator-namespace",
            &self.own.name,
            "--watch-namespaces",
            &self.tenant.name,
            "--external-url",
            external_url,
            "--listen",
            &listen.to_string(),
            "--health-listen",
            &health.to_string(),
            "--drain",
            "0s",
            "--identity",
            &format!("gateway-{}", self.gateways.len()),
        ];
        let mut stopped = self.stop_gateways.subscribe();
        let told = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
        let flags: Vec<&str> = self.gateway_flags.iter().map(String::as_str).collect();
        let arguments = config::parse(&[&arguments, flags.as_slice()].concat()).unwrap();
        let run = gateway::run(arguments, self.clock.clone(), told);
        self.gateways.push(tokio::spawn(run));
        health
    }

    async fn own_kubeconfig(&self, account: &str) -> String {
        let path = self.control_plane.service_account_kubeconfig(&self.own.name, account).await.unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// From the next start on gateways reach the API server by a link that a test can break.
    pub(crate) async fn gateways_behind_a_link(&mut self) -> Link {
        let client = plain_client(&self.own_kubeconfig("keyrota-gateway").await).await;
        let link = Link::open(client, self.control_plane.data_dir()).await;
        self.gateway_kubeconfig = Some(link.kubeconfig.to_str().unwrap().to_owned());
        link
    }

    /// As SIGTERM would.
    pub(crate) async fn stop_gateways(&mut self) {
        self.stop_gateways.send_replace(true);
        for gateway in self.gateways.drain(..) {
            gateway.await.unwrap().unwrap();
        }
        self.stop_gateways.send_replace(false);
    }

    /// As a kill -9 would: no step more.
    pub(crate) async fn kill_controller(&mut self) {
        if let Some(controller) = self.controller.take() {
            controller.abort();
            let _ = controller.await;
        }
    }

    /// The user that the API server sees the controller as.
    pub(crate) fn controller_user(&self) -> String {
        format!("system:serviceaccount:{}:keyrota-controller", self.own.name)
    }

    pub(crate) fn accounts(&self) -> Api<ServiceAccount> {
        Api::namespaced(self.client.clone(), &self.tenant.name)
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.tenant.name)
    }

    pub(crate) fn own_secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.own.name)
    }

    /// Creates an account with this spec.
    pub(crate) async fn create(&self, name: &str, spec: serde_json::Value) -> ServiceAccount {
        let object = json!({
            "apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": self.tenant.name}, "spec": spec,
        });
        let object: ServiceAccount = serde_json::from_value(object).unwrap();
        self.accounts().create(&PostParams::default(), &object).await.unwrap()
    }

    /// Creates an account and waits until it is Ready.
    pub(crate) async fn ready(&self, name: &str, spec: serde_json::Value) -> ServiceAccount {
        self.create(name, spec).await;
        self.until(name, "Ready", |status| condition(status, "Ready").0 == Some(ConditionStatus::True)).await
    }

    /// Merges a change into an account.
    pub(crate) async fn edit(&self, name: &str, change: serde_json::Value) -> ServiceAccount {
        let patch = kube::api::Patch::Merge(change);
        self.accounts().patch(name, &kube::api::PatchParams::default(), &patch).await.unwrap()
    }

    /// Waits until an account's status, of its present generation, is as wanted.
    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&ServiceAccountStatus) -> bool,
    ) -> ServiceAccount {
        let accounts = self.accounts();
        let mut last = String::new();
        let found = tokio::time::timeout(SOON, async {
            loop {
                let account = accounts.get(name).await.unwrap();
                let status = account.status.clone().unwrap_or_default();
                if Some(status.observed_generation) == account.metadata.generation && wanted(&status) {
                    return account;
                }
                last = format!("{status:?}");
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("{name} is not {what} after {SOON:?}: {last}"))
    }

    /// The published credential.
    pub(crate) async fn credential(&self, secret: &str) -> (String, String) {
        let secret = self.secrets().get(secret).await.unwrap();
        (text(&secret, "client-id"), text(&secret, "client-secret"))
    }

    /// Waits until the published credential is another one.
    pub(crate) async fn next_credential(&self, secret: &str, old: &(String, String)) -> (String, String) {
        let secrets = self.secrets();
        eventually("another credential is published", SOON, async || {
            let found = secrets.get_opt(secret).await.unwrap()?;
            let pair = (text(&found, "client-id"), text(&found, "client-secret"));
            (pair != *old).then_some(pair)
        })
        .await
    }

    /// An account's record.
    pub(crate) async fn record(&self, account: &ServiceAccount) -> Option<Record> {
        let secret = self.own_secrets().get_opt(&names::record(&account.uid().unwrap())).await.unwrap()?;
        Some(Record::parse(&secret.data.unwrap()[DATA_KEY].0).unwrap())
    }

    /// Waits until an account's record holds no staged version.
    pub(crate) async fn settled_record(&self, account: &ServiceAccount) -> Record {
        eventually("the record has settled", SOON, async || {
            self.record(account).await.filter(|record| record.current().is_some() && record.staged().count() == 0)
        })
        .await
    }

    /// Puts a credential of another origin into the record of an account, whose controller must not run any more.
    pub(crate) async fn import(&self, account: &ServiceAccount, client_id: &str, secret_hash: SecretHash) {
        let record = self.settled_record(account).await;
        let imported = Version { client_id: client_id.to_owned(), secret_hash, ..record.current().unwrap().clone() };
        let record = Record { versions: vec![imported], ..record };
        let name = names::record(&record.account.uid);
        let mut secret: Secret = self.own_secrets().get(&name).await.unwrap();
        secret.metadata.labels = Some(record.labels());
        let json = k8s_openapi::ByteString(record.to_json().unwrap().into_bytes());
        secret.data = Some([(DATA_KEY.to_owned(), json)].into());
        self.own_secrets().replace(&name, &PostParams::default(), &secret).await.unwrap();
    }

    /// Tombstones of the operator namespace.
    pub(crate) async fn tombstones(&self) -> Vec<ConfigMap> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.own.name);
        let selector = ListParams::default().labels(&format!("{}=true", names::LABEL_TOMBSTONE));
        api.list(&selector).await.unwrap().items
    }

    /// The Events in the tenant's namespace that have this reason.
    pub(crate) async fn events(&self, reason: &str) -> Vec<Event> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.tenant.name);
        let all = api.list(&ListParams::default()).await.unwrap();
        all.items.into_iter().filter(|event| event.reason.as_deref() == Some(reason)).collect()
    }

    /// What the controllers did according to the audit log.
    pub(crate) fn audited(&self) -> Vec<serde_json::Value> {
        let log = std::fs::read_to_string(self.control_plane.audit_log().unwrap()).unwrap();
        let user = self.controller_user();
        log.lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|entry| entry["user"]["username"] == user.as_str())
            .collect()
    }

    /// Writes by the controller that the audit log shows, Events and Leases apart: (verb, resource, name).
    pub(crate) fn writes(&self) -> Vec<(String, String, String)> {
        let field = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        self.audited()
            .iter()
            .filter(|entry| {
                ["create", "update", "patch", "delete"].contains(&entry["verb"].as_str().unwrap_or_default())
            })
            .map(|entry| {
                (field(&entry["verb"]), field(&entry["objectRef"]["resource"]), field(&entry["objectRef"]["name"]))
            })
            .filter(|(_, resource, _)| resource != "events" && resource != "leases")
            .collect()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.controller.iter().chain(&self.gateways).for_each(JoinHandle::abort);
    }
}

/// Tries nothing again by itself.
async fn plain_client(kubeconfig: &str) -> Client {
    let file = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(file, &options).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// What a controller with this `--health-listen` tells Prometheus; nothing when it does not answer (yet).
pub(crate) async fn metrics(address: &str) -> String {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    match http.get(format!("http://{address}/metrics")).send().await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

pub(crate) fn free_address() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A condition's status and reason.
pub(crate) fn condition(status: &ServiceAccountStatus, type_: &str) -> (Option<ConditionStatus>, String) {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_);
    (found.map(|c| c.status), found.map(|c| c.reason.clone()).unwrap_or_default())
}

/// A Secret's value as text; empty when it is not there.
pub(crate) fn text(secret: &Secret, key: &str) -> String {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.clone());
    String::from_utf8(bytes.unwrap_or_default()).unwrap()
}
