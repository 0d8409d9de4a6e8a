//! What the endpoint writes into the log and the metrics.

use std::io;

use base64::prelude::BASE64_URL_SAFE;
use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use tracing_subscriber::fmt::MakeWriter;

use super::tests::*;
use super::*;
use crate::telemetry::{LogArgs, LogFormat, subscriber};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn start(level: &str) -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let args = LogArgs { level: level.into(), format: LogFormat::Json };
        let guard = tracing::subscriber::set_default(subscriber(&args, log.clone()).unwrap());
        (log, guard)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn a_grant_is_one_line_that_names_the_account() {
    let setting = setting().with(&exporter());
    let (log, _guard) = Log::start("info");
    setting.ask(ID, SECRET).await;
    let [line] = log.lines().try_into().unwrap();
    let expected =
        [("namespace", "shop"), ("account", "exporter"), ("issuer", "default"), ("message", "token granted")];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!((&line["version"], &line["level"]), (&1.into(), &"INFO".into()));
}

#[rstest]
#[case(ID, "wrong", "wrong_secret", Some("exporter"))]
#[case("pasted-secret", SECRET, "unknown", None)]
#[case("", SECRET, "bad_credentials", None)]
#[tokio::test]
async fn a_refusal_is_one_line_with_its_reason(
    #[case] client_id: &str,
    #[case] secret: &str,
    #[case] reason: &str,
    #[case] account: Option<&str>,
) {
    let setting = setting().with(&exporter());
    let (log, _guard) = Log::start("info");
    setting.ask(client_id, secret).await;
    let [line] = log.lines().try_into().unwrap();
    assert_eq!((line["message"].as_str(), line["reason"].as_str()), (Some("token refused"), Some(reason)), "{line}");
    assert_eq!(line["account"].as_str(), account, "{line}");
    assert_eq!(line["client_id_hash"].is_string(), reason == "unknown", "{line}");
}

#[tokio::test]
async fn nothing_that_a_caller_wrote_into_credentials_reaches_the_log() {
    let setting = setting().with(&exporter()).with(&exporter().disabled().revision(2));
    let (log, _guard) = Log::start("trace");
    let canaries = [SECRET, "canary-canary-canary", "c%61nary\r\n\"canary\""];
    for canary in canaries {
        for (client_id, secret) in [(ID, canary), (canary, canary), (canary, "")] {
            setting.ask(client_id, secret).await;
        }
        setting
            .send(
                post()
                    .header(AUTHORIZATION, format!("Bearer {}", canary.trim_end()))
                    .body(Body::empty())
                    .unwrap_or_default(),
            )
            .await;
        setting.send(signed(ID, SECRET).body(Body::from(format!("grant_type={canary}"))).unwrap()).await;
    }
    let text = log.text();
    assert_eq!(log.lines().iter().filter(|line| line["message"] == "token refused").count(), 15);
    for canary in canaries {
        for hidden in [canary.to_owned(), BASE64_STANDARD.encode(canary), BASE64_URL_SAFE.encode(canary)] {
            assert!(!text.contains(hidden.trim_end_matches('=')), "{hidden}");
        }
    }
    assert!(!text.contains("canary"));
}

#[tokio::test]
async fn requests_are_counted_by_outcome_and_zeros_are_shown() {
    let mut registry = Registry::default();
    let setting = Setting::register(filled_index(), &mut registry).with(&exporter());
    setting.ask(ID, SECRET).await;
    setting.ask(ID, SECRET).await;
    setting.ask(ID, "wrong").await;
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for line in [
        "keyrota_gateway_requests_total{endpoint=\"legacy\",outcome=\"granted\"} 2",
        "keyrota_gateway_requests_total{endpoint=\"legacy\",outcome=\"wrong_secret\"} 1",
        "keyrota_gateway_requests_total{endpoint=\"legacy\",outcome=\"limited\"} 0",
        "keyrota_gateway_request_duration_seconds_count 3",
        "keyrota_gateway_argon2_verifications_total 2",
        "keyrota_gateway_verification_cache_hits_total 1",
        "keyrota_gateway_live_reads_total{object=\"record\",result=\"ok\"} 1",
        "# UNIT keyrota_gateway_request_duration_seconds seconds",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
