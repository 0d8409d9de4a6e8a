//! What the gateway's container has and may.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::Value;

use super::super::release::{self, NAMESPACE};
use super::{SECRET, Suite, TENANT};

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
        // No path from one container to the other's processes, and so to their files.
        let processes = in_gateway(&["sh", "-c", "/busybox cat /proc/[0-9]*/cmdline"]).await;
        assert!(processes.contains("gateway") && !processes.contains("controller\0"), "{processes:?}");

        let gateway = self.client_by(&token).await;
        let own: Api<Secret> = Api::namespaced(gateway.clone(), NAMESPACE);
        own.list(&ListParams::default()).await.expect("the records are what it answers by");
        let (elsewhere, everywhere): (Api<Secret>, Api<Secret>) =
            (Api::namespaced(gateway.clone(), TENANT), Api::all(gateway.clone()));
        let metadata = ObjectMeta { name: Some("planted".into()), ..ObjectMeta::default() };
        let planted = Secret { metadata, ..Secret::default() };
        forbidden("read a tenant's Secret", elsewhere.get(SECRET).await);
        forbidden("list all Secrets", everywhere.list(&ListParams::default()).await);
        forbidden("write a Secret", own.create(&PostParams::default(), &planted).await);
        forbidden("delete a Secret", own.delete("keyrota-gateway-tls", &DeleteParams::default()).await);
        let accounts: Api<keyrota::api::ServiceAccount> = Api::namespaced(gateway, TENANT);
        forbidden("delete an account", accounts.delete("orders", &DeleteParams::default()).await);
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

fn forbidden<T>(what: &str, outcome: kube::Result<T>) {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 403 => {}
        Err(error) => panic!("the gateway must not {what}, but that it was: {error}"),
        Ok(_) => panic!("the gateway can {what}"),
    }
}

/// The claim `sub` of a token.
fn subject(token: &str) -> String {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["sub"].as_str().unwrap().to_owned()
}
