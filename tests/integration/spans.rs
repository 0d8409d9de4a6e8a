//! Spans as a collector gets them, beside the log's lines about the same; and what a collector that is away costs.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyrota::clock::SystemClock;
use keyrota::domain::paths;
use kube::ResourceExt;
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::common::collector::Collector;
use super::common::eventually;
use super::common::operator::{Operator, SOON, free_address};
use super::common::tools::own_go_tool;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const LEGACY: &str = paths::LEGACY_TOKEN;

/// One role as a process, whose log is kept.
struct Role {
    process: Child,
    directory: TempDir,
    url: String,
}

impl Role {
    /// Waits until it is ready.
    async fn start(operator: &Operator, role: &str, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let account = format!("keyrota-{role}");
        let config = operator.control_plane.service_account_kubeconfig(&operator.own.name, &account).await.unwrap();
        let (listen, health) = (free_address().to_string(), free_address().to_string());
        let directory = TempDir::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyrota"));
        command.args([role, "--health-listen", &health, "--operator-namespace", &operator.own.name]);
        command.args(["--watch-namespaces", &operator.tenant.name, "--kubeconfig"]).arg(config).args(flags);
        match role {
            "controller" => command.args(["--leader-elect", "false"]),
            _ => command.args(["--listen", &listen, "--tls", "off", "--drain", "0s"]),
        };
        // Nobody is there: a role does not go through a proxy of the environment to its cluster.
        command.env("HTTPS_PROXY", "http://127.0.0.1:9");
        let log = File::create(directory.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::inherit()).envs(environment.iter().copied());
        let role = Self { process: command.spawn().unwrap(), directory, url: format!("http://{listen}") };
        eventually("the role is ready", SOON, async || {
            let answer = http().get(format!("http://{health}/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        role
    }

    /// The manual's request, in the caller's trace.
    async fn token(&self, pair: &(String, String)) -> (u16, String) {
        let basic = STANDARD.encode(format!("{}:{}", pair.0, pair.1));
        let request =
            http().post(format!("{}{LEGACY}?gwsource=canary", self.url)).body("grant_type=Client_Credentials");
        let request = request.header("Authorization", format!("Basic {basic}")).header("traceparent", parent());
        let answer = request.header("tracestate", "vendor=canary").send().await.unwrap();
        let status = answer.status().as_u16();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        (status, answer["response"].as_str().unwrap_or_default().to_owned())
    }

    async fn get(&self, path: &str) -> u16 {
        let answer = http().get(format!("{}{path}", self.url)).header("traceparent", parent()).send().await.unwrap();
        answer.status().as_u16()
    }

    fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.directory.path().join("log")).unwrap();
        // The last line may be under way.
        let whole = text.rsplit_once('\n').map(|(whole, _)| whole.to_owned()).unwrap_or_default();
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn line(&self, message: &str) -> Value {
        eventually(&format!("the log says {message}"), SOON, async || {
            self.log().into_iter().find(|line| line["message"] == message)
        })
        .await
    }

    /// As Kubernetes does; it must end well.
    async fn stop(&mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        let ended = eventually("the role stops", SOON, async || self.process.try_wait().unwrap()).await;
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(SOON).redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

fn parent() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

async fn operator() -> Operator {
    Operator::prepared(Arc::new(SystemClock)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_in_the_trace_of_its_caller_by_its_span_and_its_line_in_the_log_and_no_secret_leaves() {
    let (operator, collector) = (operator().await, Collector::start().await);
    let to = ["--otlp-endpoint", &collector.url];
    let soon = [("OTEL_BSP_SCHEDULE_DELAY", "50")];
    let controller = Role::start(&operator, "controller", &to, &soon).await;
    let account = operator.ready("exporter", json!({})).await;
    let pair = operator.credential("exporter-credentials").await;

    let pass = |span: &super::common::collector::Span| span.name == "reconcile ServiceAccount";
    let published = controller.line("credential published").await;
    assert_eq!((&published["account"], &published["reason"]), (&account.name_any().into(), &"Created".into()));
    let span = collector.until("the pass was sent", |span| pass(span) && published["span_id"] == *span.id).await;
    assert_eq!((span.service.as_str(), &published["trace_id"]), ("keyrota-controller", &span.trace.clone().into()));
    assert_eq!((span.about["keyrota.account"].as_str(), span.about["keyrota.outcome"].as_str()), ("exporter", "done"));
    assert_eq!((span.about["k8s.namespace.name"].as_str(), span.parent.as_str()), (&*operator.tenant.name, ""));

    // Nothing is sent before its end, for an hour: what comes, comes with the stop.
    let mut gateway = Role::start(&operator, "gateway", &to, &[("OTEL_BSP_SCHEDULE_DELAY", "3600000")]).await;
    let (status, token) = gateway.token(&pair).await;
    assert_eq!((status, token.split('.').count()), (200, 3));
    assert_eq!(gateway.get("/canary").await, 404);
    let granted = gateway.line("token granted").await;
    gateway.stop().await;
    let span = collector.until("the grant was sent", |span| span.name == format!("POST {LEGACY}")).await;
    assert_eq!((span.service.as_str(), span.trace.as_str(), span.parent.as_str()), ("keyrota-gateway", TRACE, CALLER));
    assert_eq!((&granted["trace_id"], &granted["span_id"]), (&TRACE.into(), &span.id.clone().into()));
    let expected = [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("http.route", LEGACY),
        ("k8s.namespace.name", &operator.tenant.name),
        ("keyrota.account", "exporter"),
        ("keyrota.issuer", "default"),
        ("keyrota.outcome", "granted"),
        ("network.protocol.version", "1.1"),
        ("url.path", LEGACY),
        ("url.scheme", "http"),
    ];
    assert_eq!(span.about, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let refused = collector.until("the refusal was sent", |span| span.name == "GET").await;
    assert_eq!((refused.about.get("url.path"), refused.trace.as_str()), (None, TRACE));

    let console = Role::start(&operator, "console", &to, &soon).await;
    assert_eq!(console.get("/signin?next=canary").await, 200);
    let span = collector.until("the page was sent", |span| span.name == "GET /signin").await;
    assert_eq!((span.service.as_str(), span.trace.as_str(), span.parent.as_str()), ("keyrota-console", TRACE, CALLER));

    let sent = String::from_utf8_lossy(&collector.bytes()).into_owned();
    let basic = STANDARD.encode(format!("{}:{}", pair.0, pair.1));
    for hidden in [&pair.0, &pair.1, &token, &basic, "canary"] {
        assert!(!hidden.is_empty() && !sent.contains(hidden), "{hidden} was exported");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_there_are_no_trace_ids() {
    let operator = operator().await;
    let controller = operator.another_controller(&["--leader-elect", "false"]);
    operator.ready("exporter", json!({})).await;
    let pair = operator.credential("exporter-credentials").await;
    let gateway = Role::start(&operator, "gateway", &[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).await;
    assert_eq!(gateway.token(&pair).await.0, 200);
    let granted = gateway.line("token granted").await;
    assert_eq!((granted.get("trace_id"), granted.get("span_id")), (None, None));
    controller.stop().await;
}

#[derive(Clone, Copy, PartialEq)]
enum Away {
    Dead,
    Hanging,
}

/// The queue is small and full long before the last of them.
#[rstest]
#[case(Away::Dead)]
#[case(Away::Hanging)]
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_keeps_no_grant_waiting_and_no_process_from_stopping(#[case] away: Away) {
    const GRANTS: usize = 200;
    let (operator, collector) = (operator().await, Collector::start().await);
    let controller = operator.another_controller(&["--leader-elect", "false"]);
    operator.ready("exporter", json!({})).await;
    let pair = operator.credential("exporter-credentials").await;
    collector.hang();
    // An export that hangs is not given up: the one thread that sends is kept waiting until after the last grant.
    let (endpoint, milliseconds) = match away {
        Away::Dead => (format!("http://{}", free_address()), "500"),
        Away::Hanging => (collector.url.clone(), "3600000"),
    };
    let queue = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", milliseconds),
    ];
    let mut gateway = Role::start(&operator, "gateway", &["--otlp-endpoint", &endpoint], &queue).await;
    assert_eq!(gateway.token(&pair).await.0, 200);
    if away == Away::Hanging {
        collector.until_any().await;
    }
    for grant in 0..GRANTS {
        assert_eq!(gateway.token(&pair).await.0, 200, "grant {grant}");
    }
    let named = |name: &'static str| {
        let gateway = &gateway;
        let told = async move || gateway.log().into_iter().find(|line| line["name"] == name);
        eventually(name, SOON, told)
    };
    match away {
        Away::Hanging => drop(named("BatchSpanProcessor.SpanDroppingStarted").await),
        Away::Dead => drop(named("BatchSpanProcessor.ExportError").await),
    }
    gateway.stop().await;
    let (dropped, granted) = {
        let log = gateway.log();
        let dropped = log.iter().find_map(|line| line["dropped_span_count"].as_u64());
        (dropped, log.iter().filter(|line| line["message"] == "token granted").count())
    };
    assert_eq!(granted, GRANTS + 1);
    if away == Away::Hanging {
        assert!(dropped.is_some_and(|dropped| dropped >= (GRANTS - 16 - 4) as u64), "{dropped:?}");
    }
    controller.stop().await;
}

/// The real one, of its own modules: one receiver, and an exporter that prints what it got.
struct RealCollector {
    process: Child,
    directory: TempDir,
    url: String,
}

impl RealCollector {
    fn start(program: &Path) -> Self {
        let (directory, address) = (TempDir::new().unwrap(), free_address());
        let config = json!({
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": address.to_string()}}}},
            "exporters": {"debug": {"verbosity": "detailed"}},
            "service": {
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
        });
        let file = directory.path().join("config.yaml");
        std::fs::write(&file, config.to_string()).unwrap();
        let said = File::create(directory.path().join("said")).unwrap();
        let mut command = Command::new(program);
        command.arg("--config").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        Self { process: command.spawn().unwrap(), directory, url: format!("http://{address}") }
    }

    async fn until_it_says(&self, what: &str) -> String {
        eventually(&format!("the collector says {what}"), SOON, async || {
            let said = std::fs::read_to_string(self.directory.path().join("said")).unwrap();
            said.contains(what).then_some(said)
        })
        .await
    }
}

impl Drop for RealCollector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[ignore = "builds the OpenTelemetry collector once, which takes minutes: just otlp"]
#[tokio::test(flavor = "multi_thread")]
async fn the_real_collector_takes_the_spans_of_all_three_roles() {
    let Some(program) = own_go_tool("otlp", &[], "building the OpenTelemetry collector, once") else { return };
    let (operator, collector) = (operator().await, RealCollector::start(&program));
    collector.until_it_says("Everything is ready").await;
    let (to, soon) = (["--otlp-endpoint", &collector.url], [("OTEL_BSP_SCHEDULE_DELAY", "50")]);
    let _controller = Role::start(&operator, "controller", &to, &soon).await;
    operator.ready("exporter", json!({})).await;
    let pair = operator.credential("exporter-credentials").await;
    let gateway = Role::start(&operator, "gateway", &to, &soon).await;
    let console = Role::start(&operator, "console", &to, &soon).await;
    assert_eq!((gateway.token(&pair).await.0, console.get("/signin").await), (200, 200));
    for name in ["reconcile ServiceAccount", "GET /signin", &format!("POST {LEGACY}")] {
        collector.until_it_says(&format!("    Name           : {name}\n")).await;
    }
    let id = &gateway.line("token granted").await["span_id"];
    let said = collector.until_it_says(&format!("    ID             : {}\n", id.as_str().unwrap())).await;
    for part in [
        format!("    Trace ID       : {TRACE}\n    Parent ID      : {CALLER}\n"),
        "-> service.name: Str(keyrota-gateway)".into(),
        "-> keyrota.outcome: Str(granted)".into(),
        "-> http.response.status_code: Int(200)".into(),
    ] {
        assert!(said.contains(&part), "{part} is not in\n{said}");
    }
    assert!(!said.contains(&pair.0) && !said.contains(&pair.1));
    let spans = said.matches("Span #").count();
    println!("the collector took {spans} spans, of a grant in trace {TRACE} among others, and no credential");
}
