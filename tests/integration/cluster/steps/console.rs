//! The console, opened by people of a tenant.

use std::process::Stdio;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::super::SOON;
use super::super::release;
use super::super::workload::Service;
use super::{ACCOUNT, Suite, TENANT};
use crate::common::eventually;

/// Signs in with the token on its standard input, and shows the answer's status and the inventory. `$1` is the console's
/// host, `$2` the address of its Service.
const BROWSE: &str = r#"
host=$1 address=$2; cd /tmp
fetch() { /usr/bin/curl -sS -m 10 --cacert /credentials/ca.crt --connect-to "::$address:443" "$@"; }
fetch -c jar -o answer -w '%{http_code} ' -H "Origin: https://$host" --data-urlencode token@- "https://$host/signin"
fetch -b jar "https://$host/accounts"
/busybox rm jar answer
"#;

impl Suite<'_> {
    /// By its Service's name, with the one CA that every published Secret has, and tokens of this cluster.
    pub(crate) async fn console_shows_accounts(&self) {
        let identity = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "auditor"}});
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "auditor"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": "auditor", "namespace": TENANT}],
        });
        self.apply(Some(TENANT), &json!({"apiVersion": "v1", "kind": "List", "items": [identity, binding]})).await;
        let auditor = format!("--as=system:serviceaccount:{TENANT}:auditor");
        let may = ["auth", "can-i", "list", "serviceaccounts.keyrota.dev", "--namespace", TENANT, &auditor];
        eventually("the role view is there", SOON, async || release::try_kubectl(self.place, &may).await.ok()).await;

        let shown = self.browse("auditor").await;
        let link = format!("/accounts/{TENANT}/{ACCOUNT}");
        assert!(shown.starts_with("303") && shown.contains(&link), "{shown}");
        // Whoever has no right in the namespace can sign in, and finds nothing.
        let shown = self.browse("default").await;
        assert!(shown.starts_with("303") && shown.contains("</html>") && !shown.contains(&link), "{shown}");
    }

    /// What a service account of the tenant sees: from a Pod, since only Pods reach the Service everywhere.
    async fn browse(&self, service_account: &str) -> String {
        let token = release::kubectl(self.place, &["--namespace", TENANT, "create", "token", service_account]).await;
        let Service { host, address } = self.service("keyrota-console").await;
        let deployment = format!("deployment/{ACCOUNT}");
        let mut kubectl = Command::new(&self.place.kubectl);
        kubectl.arg("--kubeconfig").arg(&self.place.kubeconfig);
        kubectl.args(["--namespace", TENANT, "exec", "--stdin", &deployment, "--"]);
        kubectl.args(["/busybox", "sh", "-c", BROWSE, "browse", &host, &address]);
        let mut child = kubectl
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // Where no argument list shows it.
        child.stdin.take().unwrap().write_all(token.as_bytes()).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}
