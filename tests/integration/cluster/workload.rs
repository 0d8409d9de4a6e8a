//! Workloads of a tenant: Pods that mount a published Secret and get tokens with what they find there, without pause.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::images;

/// Reads the mounted credential and asks for a token, again and again. What the answers were is its termination
/// message. `..data` is the one link that the kubelet exchanges when the Secret changes, so a pair is read from one
/// version of it.
const LOOP: &str = r#"
granted=0; later=0; refused=0; said=
end() { echo "granted=$granted later=$later refused=$refused $said" > /dev/termination-log; exit 0; }
trap end TERM
while :; do
  at=$(/busybox readlink -f /credentials/..data)
  id=$(/busybox cat "$at/client-id") && secret=$(/busybox cat "$at/client-secret") || continue
  code=$(/usr/bin/curl -s -m 10 -o /tmp/answer -w '%{http_code}' --cacert /credentials/ca.crt \
    -H "Authorization: Basic $(echo -n "$id:$secret" | /busybox base64 -w 0)" \
    -d grant_type=Client_Credentials \
    "$GATEWAY/avxapi/acctmgmt-get-service-token?gwsource=external")
  case "$code" in
    200) granted=$((granted + 1)); echo yes > /tmp/granted;;
    000|503) later=$((later + 1));;
    *) refused=$((refused + 1)); said="$code $(/busybox cat /tmp/answer)";;
  esac
  /busybox sleep 0.2
done
"#;

/// What `restricted` asks of a container.
pub(super) fn confined() -> Value {
    json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// A Deployment of two Pods that use the Secret. The gateway is found by its Service's name, also where no DNS is.
pub(super) fn deployment(name: &str, secret: &str, gateway: &Service) -> Value {
    let labels = json!({"app": name});
    let container = json!({
        "name": "client", "image": images::WORKLOAD, "imagePullPolicy": "Never",
        "command": ["/busybox", "sh", "-c", LOOP],
        "env": [{"name": "GATEWAY", "value": gateway.url()}],
        "readinessProbe": {"exec": {"command": ["/busybox", "test", "-e", "/tmp/granted"]}, "periodSeconds": 1},
        "securityContext": confined(),
        "volumeMounts": [
            {"name": "credentials", "mountPath": "/credentials", "readOnly": true},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": false,
                    "hostAliases": [{"ip": gateway.address, "hostnames": [gateway.host]}],
                    "containers": [container],
                    "volumes": [
                        {"name": "credentials", "secret": {"secretName": secret}},
                        {"name": "tmp", "emptyDir": {}},
                    ],
                },
            },
        },
    })
}

/// Where a Service answers.
pub(super) struct Service {
    pub(super) host: String,
    pub(super) address: String,
}

impl Service {
    pub(super) fn url(&self) -> String {
        format!("https://{}", self.host)
    }
}

/// What Pods that ended have said, by their names; also of Pods that are gone.
pub(super) struct Witness {
    said: Arc<Mutex<BTreeMap<String, String>>>,
    watching: JoinHandle<()>,
}

impl Witness {
    /// Of the Pods of one Deployment.
    pub(super) fn of(client: Client, namespace: &str, deployment: &str) -> Self {
        let said = Arc::<Mutex<BTreeMap<String, String>>>::default();
        let (heard, pods) = (said.clone(), Api::<Pod>::namespaced(client, namespace));
        let config = watcher::Config::default().labels(&format!("app={deployment}")).timeout(30);
        let watching = tokio::spawn(async move {
            let mut pods = watcher(pods, config).default_backoff().touched_objects().boxed();
            // An error is not the end: the watch begins anew.
            while let Some(seen) = pods.next().await {
                let Ok(pod) = seen else { continue };
                if let Some(message) = last_message(&pod) {
                    heard.lock().insert(pod.name_any(), message);
                }
            }
        });
        Self { said, watching }
    }

    /// The last words of these Pods so far.
    pub(super) fn said(&self) -> BTreeMap<String, String> {
        self.said.lock().clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn last_message(pod: &Pod) -> Option<String> {
    let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let ended = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| state.clone()?.terminated?.message;
    ended(&container.state).or_else(|| ended(&container.last_state))
}

/// A Pod without any Secret, which presents its projected token once; the answer's status is its termination message.
pub(super) fn crawler(service_account: &str, gateway: &Service) -> Value {
    let script = r#"
while :; do
  code=$(/usr/bin/curl -s -m 10 -o /dev/null -w '%{http_code}' --cacert /trust/ca.crt \
    --data-urlencode grant_type=client_credentials \
    --data-urlencode client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer \
    --data-urlencode client_assertion@/identity/token "$GATEWAY/oauth2/token")
  case "$code" in 000|503) /busybox sleep 0.5;; *) echo "$code" > /dev/termination-log; exit 0;; esac
done
"#;
    let identity = json!([{"serviceAccountToken": {"path": "token", "audience": gateway.url()}}]);
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": service_account},
        "spec": {
            "serviceAccountName": service_account, "automountServiceAccountToken": false, "restartPolicy": "Never",
            "hostAliases": [{"ip": gateway.address, "hostnames": [gateway.host]}],
            "containers": [{
                "name": "client", "image": images::WORKLOAD, "imagePullPolicy": "Never",
                "command": ["/busybox", "sh", "-c", script],
                "env": [{"name": "GATEWAY", "value": gateway.url()}],
                "securityContext": confined(),
                "volumeMounts": [
                    {"name": "identity", "mountPath": "/identity"}, {"name": "trust", "mountPath": "/trust"},
                ],
            }],
            "volumes": [
                {"name": "identity", "projected": {"sources": identity}},
                {"name": "trust", "configMap": {"name": "gateway-ca"}},
            ],
        },
    })
}
