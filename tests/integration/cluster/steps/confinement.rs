//! What the containers of gateway and console have and may.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::super::release::{self, NAMESPACE, NOTIFICATIONS, WEBHOOK_KEYS};
use super::{ACCOUNT, SECRET, Suite, TENANT};

/// Wherever its file system would hold a token, under any name.
const FIND_TOKENS: [&str; 14] =
    ["find", "/", "(", "-path", "/proc", "-o", "-path", "/sys", ")", "-prune", "-o", "-name", "token*", "-print"];
const IDENTITY: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

impl Suite<'_> {
    /// In the sidecar form, where the controller is next door.
    pub(crate) async fn gateway_is_confined(&self) {
        let pod = self.gateways().await.remove(0);
        let in_gateway = async |command: &[&str]| self.exec(&pod, "gateway", command).await;
        let files = in_gateway(&FIND_TOKENS).await;
        assert_eq!(files.lines().collect::<Vec<_>>(), [IDENTITY]);
        let token = in_gateway(&["cat", IDENTITY]).await;
        assert_eq!(subject(&token), format!("system:serviceaccount:{NAMESPACE}:keyrota-gateway"));
        let controllers = self.exec(&pod, "controller", &["cat", IDENTITY]).await;
        assert_eq!(subject(&controllers), format!("system:serviceaccount:{NAMESPACE}:keyrota-controller"));
        // Whom the Secrets are for that nobody else may read.
        let credentials = self.webhook_keys().await;
        let of_controller = Api::<Secret>::namespaced(self.client_by(&controllers).await, NOTIFICATIONS);
        assert_eq!(of_controller.get(WEBHOOK_KEYS).await.unwrap().data, credentials.data);
        // No path from one container to the other's processes, and so to their files.
        let processes = in_gateway(&["sh", "-c", "/busybox cat /proc/[0-9]*/cmdline"]).await;
        assert!(processes.contains("gateway") && !processes.contains("controller\0"), "{processes:?}");

        let gateway = self.client_by(&token).await;
        let own: Api<Secret> = Api::namespaced(gateway.clone(), NAMESPACE);
        own.list(&ListParams::default()).await.expect("the records are what it answers by");
        reaches_no_secret_elsewhere(&gateway).await;
        changes_nothing(&gateway).await;
    }

    /// With the one token that its container has.
    pub(crate) async fn console_is_confined(&self) {
        let consoles = ListParams::default().labels("app.kubernetes.io/component=console");
        let pod = self.pods(NAMESPACE).list(&consoles).await.unwrap().items.remove(0).name_any();
        let files = self.exec(&pod, "console", &FIND_TOKENS).await;
        // The kubelet's link, and what it leads to at present.
        let links = files.lines().filter(|file| !file.contains("/.."));
        assert_eq!(links.collect::<Vec<_>>(), [IDENTITY], "{files}");
        let token = self.exec(&pod, "console", &["cat", IDENTITY]).await;
        assert_eq!(subject(&token), format!("system:serviceaccount:{NAMESPACE}:keyrota-console"));
        let console = self.client_by(&token).await;
        let accounts: Api<keyrota::api::ServiceAccount> = Api::all(console.clone());
        accounts.list(&ListParams::default()).await.expect("the accounts are what it lists");
        let own: Api<Secret> = Api::namespaced(console.clone(), NAMESPACE);
        forbidden("list the records", own.list(&ListParams::default()).await);
        forbidden("read even its own certificate", own.get("keyrota-console-tls").await);
        reaches_no_secret_elsewhere(&console).await;
        changes_nothing(&console).await;
    }

    /// What webhook notices are signed with; made by the platform team, in a namespace of its own.
    async fn webhook_keys(&self) -> Secret {
        let keys = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": WEBHOOK_KEYS},
            "stringData": {"keys": format!("whsec_{}", STANDARD.encode([7; 32]))},
        });
        self.apply(Some(NOTIFICATIONS), &keys).await;
        self.secrets(NOTIFICATIONS).get(WEBHOOK_KEYS).await.unwrap()
    }

    /// A command of busybox in a container.
    pub(crate) async fn exec(&self, pod: &str, container: &str, command: &[&str]) -> String {
        let into = ["--namespace", NAMESPACE, "exec", pod, "--container", container, "--", "/busybox"];
        release::kubectl(self.place, &[&into, command].concat()).await
    }

    /// Whoever holds this token.
    async fn client_by(&self, token: &str) -> Client {
        let file = Kubeconfig::read_from(&self.place.kubeconfig).unwrap();
        let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        config.auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
        config.proxy_url = None;
        Client::try_from(config).unwrap()
    }
}

/// Not a tenant's, not those of mail and webhooks, and not all at once.
async fn reaches_no_secret_elsewhere(client: &Client) {
    let (tenant, notifications): (Api<Secret>, Api<Secret>) =
        (Api::namespaced(client.clone(), TENANT), Api::namespaced(client.clone(), NOTIFICATIONS));
    forbidden("read a tenant's Secret", tenant.get(SECRET).await);
    forbidden("read the webhooks' keys", notifications.get(WEBHOOK_KEYS).await);
    forbidden("list all Secrets", Api::<Secret>::all(client.clone()).list(&ListParams::default()).await);
}

async fn changes_nothing(client: &Client) {
    let own: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let metadata = ObjectMeta { name: Some("planted".into()), ..ObjectMeta::default() };
    let planted = Secret { metadata, ..Secret::default() };
    forbidden("write a Secret", own.create(&PostParams::default(), &planted).await);
    forbidden("delete a Secret", own.delete("keyrota-gateway-tls", &DeleteParams::default()).await);
    let accounts: Api<keyrota::api::ServiceAccount> = Api::namespaced(client.clone(), TENANT);
    forbidden("delete an account", accounts.delete(ACCOUNT, &DeleteParams::default()).await);
}

fn forbidden<T>(what: &str, outcome: kube::Result<T>) {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 403 => {}
        Err(error) => panic!("it must not {what}, and was told otherwise than by a 403: {error}"),
        Ok(_) => panic!("it can {what}"),
    }
}

/// The claim `sub` of a token.
fn subject(token: &str) -> String {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["sub"].as_str().unwrap().to_owned()
}
