//! Bad values are refused, in words that name them.

use std::process::Stdio;

use super::tools::helm;
use super::{chart, template};

/// What is given to `helm template`, and a part of what it must say.
const REFUSED: &[(&[&str], &str)] = &[
    // Typos and wrong types.
    (&["--set", "controler.replicas=2"], "additional properties 'controler' not allowed"),
    (&["--set", "controller.replica=2"], "'/controller': additional properties 'replica' not allowed"),
    (&["--set", "gateway.tls.certManager.issuer=x"], "'/gateway/tls/certManager': additional properties 'issuer'"),
    (&["--set", "gateway.resources.limit.cpu=1"], "'/gateway/resources': additional properties 'limit'"),
    (&["--set", "defaultIssuer.spec.grace=1h"], "'/defaultIssuer/spec': additional properties 'grace' not allowed"),
    (&["--set", "notifications.smtp.password=x"], "'/notifications/smtp': additional properties 'password'"),
    (&["--set-string", "controller.replicas=2"], "'/controller/replicas': got string, want integer"),
    (&["--set-string", "controller.leaderElection=true"], "'/controller/leaderElection': got string, want boolean"),
    (&["--set", "watchNamespaces=team-a"], "'/watchNamespaces': got string, want array"),
    (&["--set", "gateway.mode=Sidecar"], "'/gateway/mode': value must be one of"),
    // Numbers.
    (&["--set", "controller.replicas=0"], "'/controller/replicas': minimum: got 0, want 1"),
    (&["--set", "controller.replicas=-1"], "'/controller/replicas': minimum: got -1, want 1"),
    (&["--set-json", "controller.replicas=1.5"], "'/controller/replicas': got number, want integer"),
    (&["--set", "controller.hashing.passes=0"], "'/controller/hashing/passes'"),
    (&["--set", "gateway.nodePort.port=443"], "'/gateway/nodePort/port': minimum"),
    (&["--set", "gateway.service.port=65536"], "'/gateway/service/port': maximum"),
    // Texts.
    (&["--set", "gateway.maxStale=1d"], "'/gateway/maxStale': '1d' does not match"),
    (&["--set", "gateway.drain=3"], "'/gateway/drain': got number, want string"),
    (&["--set", "externalUrl=http://tokens.example.com"], "'/externalUrl'"),
    (&["--set", "externalUrl=tokens.example.com"], "'/externalUrl'"),
    (&["--set", "watchNamespaces={Team_A}"], "'/watchNamespaces/0'"),
    (&["--set", "gateway.trustedProxies.networks={10.0.0.1}"], "'/gateway/trustedProxies/networks/0'"),
    (&["--set", "image.digest=sha256:abc"], "'/image/digest'"),
    (&["--set", "tracing.endpoint=collector:4317"], "'/tracing/endpoint'"),
    (&["--set", "tracing.endpoint=http://user:secret@collector:4318"], "'/tracing/endpoint'"),
    (&["--set", "tracing.ratio=1.5"], "'/tracing/ratio': '1.5' does not match"),
    (&["--set-json", "tracing.ratio=1.5"], "'/tracing/ratio': maximum: got 1.5, want 1"),
    (&["--set", "commonLabels.a=-b"], "'/commonLabels/a'"),
    // Names too long.
    (
        &[
            "--set",
            concat!(
                "notifications.secretNamespace=",
                "a234567890123456789012345678901234567890123456789012345678901234"
            ),
        ],
        "'/notifications/secretNamespace': maxLength: got 64, want 63",
    ),
    // What no schema can say.
    (&["--set", "controller.leaderElection=false"], "controller.replicas is 2 and controller.leaderElection is false"),
    (&["--set", "gateway.tls.mode=secret"], "name the Secret in gateway.tls.secretName"),
    (&["--set", "console.tls.secretName=mine"], "console.tls.secretName is given, but console.tls.mode is own"),
    (&["--set", "gateway.tls.mode=certManager"], "name the issuer in gateway.tls.certManager.issuerRef.name"),
    (&["--set", "gateway.ingress.enabled=true"], "name the hosts in gateway.ingress.hosts"),
    (&["--set", "gateway.tlsRoute.enabled=true"], "name gateway.tlsRoute.parentRefs and gateway.tlsRoute.hostnames"),
    (&["--set", "gateway.autoscaling.minReplicas=9"], "gateway.autoscaling.minReplicas is 9, above"),
    (&["--set", "notifications.smtp.host=smtp.example.com"], "name the sender in notifications.smtp.from"),
    (&["--set", "notifications.smtp.secretName=login"], "but notifications.smtp.host is not"),
    (
        &["--set", "notifications.webhook.secretName=keys,notifications.secretNamespace=keyrota-system"],
        "notifications.secretNamespace is the release's own namespace",
    ),
    (
        &["--set", "notifications.webhook.secretName=keys,watchNamespaces={keyrota-notifications}"],
        "which is one of watchNamespaces",
    ),
    (
        &["--set", "controller.publishKeysTo[0].namespace=a,controller.publishKeysTo[0].secretName=b"],
        "controller.publishKeysTo is for watchNamespaces",
    ),
    (&["--set", "monitoring.podMonitor.enabled=true,monitoring.serviceMonitor.enabled=true"], "counted twice"),
];

/// As YAML 1.1 reads them, these are true, 1000, 511 and 13091; and `off` is no text.
const TRAPS: &str = "\
log: {level: on}
controller: {replicas: 1e3, clusterName: no}
gateway: {replicas: 0777, nodePort: {port: 031443}, tls: {mode: off}}
";

#[test]
fn bad_values_are_refused_by_name() {
    let Some(helm) = helm() else { return };
    for (arguments, message) in REFUSED {
        let said = refusal(&mut template(&helm, arguments));
        assert!(said.contains(message), "{arguments:?} should be told {message:?}, not\n{said}");
    }
}

#[test]
fn what_yaml_takes_for_something_else_is_refused_by_name() {
    let Some(helm) = helm() else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TRAPS).unwrap();
    let said = refusal(&mut template(&helm, &["--values", file.path().to_str().unwrap()]));
    for value in [
        "'/log/level': got boolean, want string",
        "'/controller/replicas': maximum: got 1,000",
        "'/controller/clusterName': got boolean",
        "'/gateway/replicas': maximum: got 511",
        "'/gateway/nodePort/port': minimum: got 13,091",
        "'/gateway/tls/mode': got boolean",
    ] {
        assert!(said.contains(value), "{value} is not in\n{said}");
    }
}

/// Labels hold 63 characters; the release's name is in one.
#[test]
fn a_release_with_too_long_a_name_is_refused() {
    let Some(helm) = helm() else { return };
    let name = "a".repeat(54);
    let mut command = std::process::Command::new(helm);
    let said = refusal(command.args(["template", &name]).arg(chart()));
    assert!(said.contains("release name"), "{said}");
}

fn refusal(command: &mut std::process::Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success(), "{command:?} was let through");
    String::from_utf8(output.stderr).unwrap()
}
