//! What the deployment forms rest on: a gateway in the controller's Pod with an identity of its own, and credentials for
//! mail and webhooks in a Secret where the gateway can read nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use keyrota::api::ConditionStatus;
use keyrota::clock::{Clock, ManualClock, SharedClock, SystemClock};
use keyrota::config;
use keyrota::doctor::{self, DoctorArgs};
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tempfile::TempDir;

use super::common::mailbox::{self, Mailbox};
use super::common::operator::{Operator, SOON, condition};
use super::common::receiver::{Receiver, TestIssuer};
use super::common::{TestNamespace, control_plane, eventually, namespace};

async fn token_other_than(directory: &Path, old: &str) -> String {
    eventually("there is a fresh token", SOON, async || {
        let token = std::fs::read_to_string(directory.join("token")).ok()?;
        (!token.is_empty() && token != old).then_some(token)
    })
    .await
}

/// A client that is who the files of a directory say, as in a Pod.
async fn client_by(directory: &Path) -> Client {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "pod",
        "clusters": [{"name": "pod", "cluster": {
            "server": control_plane().url(), "certificate-authority": directory.join("ca.crt"),
        }}],
        "users": [{"name": "pod", "user": {"tokenFile": directory.join("token")}}],
        "contexts": [{"name": "pod", "context": {"cluster": "pod", "user": "pod"}}],
    });
    let file = directory.join("kubeconfig");
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let args: config::ClusterArgs = config::parse(&["--kubeconfig", &file]).unwrap();
    args.client().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_in_the_controllers_pod_gets_an_identity_that_can_do_what_a_gateway_may_and_no_more() {
    let directory = TempDir::new().unwrap();
    let mut operator = Operator::prepared(Arc::new(SystemClock)).await;
    operator.flags = vec!["--gateway-identity-dir".into(), directory.path().to_str().unwrap().into()];
    operator.start_controller();
    token_other_than(directory.path(), "").await;
    let gateway = client_by(directory.path()).await;
    let namespace = std::fs::read_to_string(directory.path().join("namespace")).unwrap();
    assert_eq!(namespace, operator.own.name);
    let own: Api<Secret> = Api::namespaced(gateway.clone(), &operator.own.name);
    own.list(&ListParams::default()).await.expect("a gateway reads the records");
    let elsewhere: Api<Secret> = Api::namespaced(gateway, &operator.tenant.name);
    let refused = [
        elsewhere.list(&ListParams::default()).await.map(drop).unwrap_err(),
        elsewhere.get("exporter-credentials").await.map(drop).unwrap_err(),
        own.create(&PostParams::default(), &Secret { metadata: named("mine"), ..Secret::default() })
            .await
            .map(drop)
            .unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(&error, kube::Error::Api(status) if status.code == 403), "{error}");
    }
}

/// A follower, too: it has a gateway beside it.
#[tokio::test(flavor = "multi_thread")]
async fn the_identity_is_renewed_by_every_replica_and_a_failure_is_got_over() {
    let directory = TempDir::new().unwrap();
    let clock = ManualClock::at(SystemClock.now());
    let mut operator = Operator::prepared(Arc::new(clock.clone())).await;
    let leader = operator.another_controller(&["--leader-elect", "true", "--identity", "leader"]);
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
        Api::namespaced(operator.client.clone(), &operator.own.name);
    eventually("another controller leads", SOON, async || leases.get_opt("keyrota-controller").await.unwrap()).await;
    operator.flags = vec!["--gateway-identity-dir".into(), directory.path().to_str().unwrap().into()];
    let follower = operator.another_controller(&["--leader-elect", "true", "--identity", "follower"]);
    let first = token_other_than(directory.path(), "").await;
    clock.advance(TimeDelta::minutes(48));
    let second = token_other_than(directory.path(), &first).await;

    let gone = directory.path().with_extension("gone");
    std::fs::rename(directory.path(), &gone).unwrap();
    clock.advance(TimeDelta::minutes(48));
    std::fs::rename(&gone, directory.path()).unwrap();
    eventually("it is written in the end", SOON, async || {
        clock.advance(TimeDelta::seconds(30));
        let token = std::fs::read_to_string(directory.path().join("token")).unwrap();
        (token != second).then_some(())
    })
    .await;
    assert!(follower.is_running());
    follower.stop().await;
    leader.stop().await;
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

async fn put(namespace: &TestNamespace, name: &str, entries: &[(&str, &str)]) {
    let secrets: Api<Secret> = Api::namespaced(control_plane().client().unwrap(), &namespace.name);
    let bytes = |value: &str| ByteString(value.as_bytes().to_vec());
    let data: BTreeMap<_, _> = entries.iter().map(|(key, value)| ((*key).to_owned(), bytes(value))).collect();
    let secret = Secret { metadata: named(name), data: Some(data), ..Secret::default() };
    secrets.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&secret)).await.unwrap();
}

/// `keyrota doctor --test-mail` with the credentials in a Secret: what it says, and whether the mail went out.
async fn trial(mailbox: &Mailbox, namespace: &TestNamespace) -> (String, bool) {
    let (port, kubeconfig) = (mailbox.port.to_string(), control_plane().kubeconfig());
    let secret = format!("{}/smtp", namespace.name);
    let arguments = [
        ["--test-mail", "team@example.com"],
        ["--smtp-host", "127.0.0.1"],
        ["--smtp-port", &port],
        ["--smtp-from", "keyrota@example.com"],
        ["--mail-domains", "example.com"],
        ["--smtp-secret", &secret],
        ["--kubeconfig", kubeconfig.to_str().unwrap()],
    ];
    let args: DoctorArgs = config::parse(&arguments.concat()).unwrap();
    let clock: SharedClock = Arc::new(SystemClock);
    let mut said = String::new();
    let outcome = doctor::test_mail(&args, &clock, |line| said.push_str(&format!("{line}\n"))).await;
    assert!(!said.contains(mailbox::PASSWORD) && !said.contains("not-the-password"), "{said}");
    (said, outcome.is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_out_with_credentials_from_a_secret_that_are_read_for_each_mail() {
    super::common::install_tls_provider();
    let Some(mailbox) = Mailbox::open() else { return };
    let namespace = namespace(control_plane()).await;
    let ca = std::fs::read_to_string(mailbox.file("certificate.pem")).unwrap();
    let path = format!("{}/smtp", namespace.name);

    let (said, sent) = trial(&mailbox, &namespace).await;
    assert!(!sent && said.contains(&format!("the Secret {path} cannot be read: it does not exist (404)")), "{said}");
    put(&namespace, "smtp", &[("username", mailbox::USERNAME), ("ca.crt", &ca)]).await;
    let (said, sent) = trial(&mailbox, &namespace).await;
    assert!(!sent && said.contains(&format!("the Secret {path} has no key password")), "{said}");
    put(&namespace, "smtp", &[("username", mailbox::USERNAME), ("password", "not-the-password"), ("ca.crt", &ca)])
        .await;
    let (said, sent) = trial(&mailbox, &namespace).await;
    assert!(!sent && said.contains("FAIL  the server takes the username and password"), "{said}");
    put(&namespace, "smtp", &[("username", mailbox::USERNAME), ("password", mailbox::PASSWORD), ("ca.crt", &ca)]).await;
    let (said, sent) = trial(&mailbox, &namespace).await;
    assert!(sent, "{said}");
    put(&namespace, "smtp", &[("username", mailbox::USERNAME), ("password", mailbox::PASSWORD)]).await;
    let (said, sent) = trial(&mailbox, &namespace).await;
    assert!(!sent && said.contains("FAIL  TLS is up and the certificate is good"), "not the system's: {said}");
    assert_eq!(mailbox.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_are_signed_and_mailed_with_what_the_secrets_hold_when_they_go_out() {
    let Some(mailbox) = Mailbox::open() else { return };
    let receiver = Receiver::answering(204).await;
    let elsewhere = namespace(control_plane()).await;
    let clock = ManualClock::at(SystemClock.now());
    let mut operator = Operator::prepared(Arc::new(clock.clone())).await;
    let secret = |name: &str| format!("{}/{name}", elsewhere.name);
    operator.flags = [
        ["--webhook-secret", &secret("webhook")],
        ["--smtp-secret", &secret("smtp")],
        ["--smtp-host", "127.0.0.1"],
        ["--smtp-port", &mailbox.port.to_string()],
        ["--smtp-from", "keyrota@example.com"],
        ["--mail-domains", "example.com"],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect();
    operator.start_controller();
    let _issuer =
        TestIssuer::with(operator.control_plane, &operator.tenant.name, json!({"webhook": receiver.url})).await;
    let spec = json!({
        "clientSecret": {"rotation": "Manual", "validityDays": 100}, "contact": {"email": "team@example.com"},
    });
    let account = operator.ready("exporter", spec).await;
    let expiry = account.status.unwrap().client_secret_expiry_time.unwrap();
    clock.set(expiry.at() - TimeDelta::days(90));
    let failed = |status: &keyrota::api::ServiceAccountStatus| {
        condition(status, "NotificationFailed").0 == Some(ConditionStatus::True)
    };
    let told = operator.until("exporter", "told of the failure", failed).await;
    let told = serde_json::to_string(&told.status).unwrap();
    assert!(!told.contains(&elsewhere.name), "a tenant learns nothing of where the Secrets are: {told}");

    let ca = std::fs::read_to_string(mailbox.file("certificate.pem")).unwrap();
    put(&elsewhere, "smtp", &[("username", mailbox::USERNAME), ("password", mailbox::PASSWORD), ("ca.crt", &ca)]).await;
    put(&elsewhere, "webhook", &[("keys", &std::fs::read_to_string(receiver.key_file()).unwrap())]).await;
    eventually("both have gone out", SOON, async || {
        clock.advance(TimeDelta::minutes(1));
        (!mailbox.mails().is_empty() && !receiver.received().is_empty()).then_some(())
    })
    .await;
}
