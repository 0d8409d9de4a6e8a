//! The manual's endpoint over a real TLS socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use keyrota::gateway::front::Front;
use keyrota::gateway::metrics::Metrics;
use keyrota::index::live::Live;
use keyrota::index::{Index, Item};
use keyrota::server::{self, Patience};
use prometheus_client::registry::Registry;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rstest::rstest;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::fixtures::{FakeLive, KEY, account, app, index};

const PATH: &str = "/avxapi/acctmgmt-get-service-token?gwsource=external";
const ID: &str = "521c3ad2-ea4e-447b-a51b-9621bb7ea126";
/// The one of the manual's sample header.
const SECRET: &str = "55AU#NO8%*ZhgvNfaYUmtvX0dkEhodbi";
const HEADER: &str =
    "Basic NTIxYzNhZDItZWE0ZS00NDdiLWE1MWItOTYyMWJiN2VhMTI2OjU1QVUjTk84JSpaaGd2TmZhWVVtdHZYMGRrRWhvZGJpCg==";

/// A gateway in this process, and a CA of its own.
struct Gateway {
    address: SocketAddr,
    ca: String,
    tls: RustlsConfig,
    index: Arc<Index>,
    handle: Handle<SocketAddr>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// A CA and a certificate of it for localhost and 127.0.0.1, with its key; all PEM.
fn certificate() -> (String, String, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = authority.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &Issuer::new(authority, ca_key)).unwrap();
    (ca, leaf.pem(), key.serialize_pem())
}

async fn gateway() -> Gateway {
    let accounts = [account("exporter", ID, SECRET).unwrap()];
    gateway_with(index(&accounts).unwrap(), Arc::new(FakeLive::new(&accounts, false)), Patience::default(), None).await
}

async fn gateway_with(
    index: Arc<Index>,
    live: Arc<dyn Live>,
    patience: Patience,
    body_time: Option<Duration>,
) -> Gateway {
    server::install_crypto();
    let (ca, certificate, key) = certificate();
    let config = server::tls_config(certificate.as_bytes(), key.as_bytes()).unwrap();
    let tls = RustlsConfig::from_config(Arc::new(config));
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let front = Front::new(Arc::new(app(&index, live, body_time, metrics).unwrap()), "https");
    let listener = server::listen(([127, 0, 0, 1], 0).into()).unwrap();
    let (address, handle) = (listener.local_addr().unwrap(), Handle::new());
    let served = tokio::spawn(server::serve(listener, Some(tls.clone()), front, handle.clone(), patience));
    handle.listening().await;
    Gateway { address, ca, tls, index, handle, served }
}

impl Gateway {
    fn client(&self) -> reqwest::Client {
        let ca = reqwest::Certificate::from_pem(self.ca.as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap()
    }

    fn url(&self) -> String {
        format!("https://{}{PATH}", self.address)
    }

    async fn ask(&self, authorization: &str, content_type: &str, body: impl Into<reqwest::Body>) -> reqwest::Response {
        let request = self.client().post(self.url()).header("authorization", authorization);
        request.header("content-type", content_type).body(body).send().await.unwrap()
    }

    /// Opens a TLS connection that does what no HTTP library would.
    fn connect(&self, protocol: &str) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = versions.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
        let socket = TcpStream::connect(self.address).unwrap();
        // Against a server that says nothing, so that a failing test ends.
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        StreamOwned::new(tls, socket)
    }

    /// Sends bytes and returns all that comes back until the server closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let (mut stream, bytes) = (self.connect("http/1.1"), bytes.to_vec());
        let exchange = move || {
            // A server that has heard enough may be gone before all of it is written.
            let _ = stream.write_all(&bytes);
            let mut answer = Vec::new();
            // A close without a TLS goodbye is a close.
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8(answer).unwrap()
        };
        tokio::task::spawn_blocking(exchange).await.unwrap()
    }
}

fn basic(client_id: &str, secret: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{client_id}:{secret}")))
}

#[tokio::test]
async fn the_manuals_request_gets_a_token_that_verifies() {
    let gateway = gateway().await;
    let form = "application/x-www-form-urlencoded";
    let response = gateway.ask(HEADER, form, "grant_type=Client_Credentials").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let text = response.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap();
    let token = body["response"].as_str().unwrap();
    let envelope = [r#"{"response":""#, token, r#"","message":null,"appStatusCode":null,"tags":{},"headers":null}"#];
    assert_eq!(text, envelope.concat());
    let mut checks = Validation::new(Algorithm::HS256);
    checks.set_audience(&["avx"]);
    checks.set_issuer(&["avx"]);
    let claims = jsonwebtoken::decode::<Value>(token, &DecodingKey::from_secret(KEY), &checks).unwrap().claims;
    let exp = claims["exp"].clone();
    let expected = json!({"sub": "platform", "aud": "avx", "clientId": ID, "iss": "avx", "exp": exp, "grant type": "client_credentials"});
    assert_eq!(claims, expected);
}

#[rstest]
#[case("application/json", r#"{"grant_type":"Client_Credentials"}"#)]
#[case("application/json", r#"{"payload":{"grant_type":"Client_Credentials"}}"#)]
#[case("application/json", "grant_type=Client_Credentials")]
#[case(
    "multipart/form-data; boundary=b",
    "--b\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nClient_Credentials\r\n--b--\r\n"
)]
#[case("text/plain", "")]
#[tokio::test]
async fn every_form_of_the_request_that_clients_send_is_served(#[case] content_type: &str, #[case] body: &'static str) {
    assert_eq!(gateway().await.ask(HEADER, content_type, body).await.status(), 200);
}

#[rstest]
#[case(basic("somebody", "x"), r#"{"response":null,"message":"Service account is invalid/not found::[Service account not found in the database]","appStatusCode":"ACCT_SA_003","tags":{},"headers":null}"#)]
#[case(basic(ID, "wrong"), r#"{"response":null,"message":"Client Password is incorrect::[Invalid Client credential]","appStatusCode":"OAUTH_CLNT_015","tags":{},"headers":null}"#)]
#[case("Basic".to_owned(), r#"{"response":null,"message":"Invalid Request::[Invalid client Id or secret]","appStatusCode":"ACCT_SA_001","tags":{},"headers":null}"#)]
#[tokio::test]
async fn refusals_are_the_manuals_byte_for_byte(#[case] authorization: String, #[case] expected: &str) {
    let response = gateway().await.ask(&authorization, "application/json", "").await;
    assert_eq!(response.status(), 400);
    assert_eq!(response.text().await.unwrap(), expected);
}

#[tokio::test]
async fn while_the_api_server_is_away_the_answer_is_503_and_when_to_come_back() {
    let accounts = [account("exporter", ID, SECRET).unwrap()];
    let gateway =
        gateway_with(index(&accounts).unwrap(), Arc::new(FakeLive::new(&accounts, true)), Patience::default(), None)
            .await;
    let response = gateway.ask(&basic(ID, "wrong"), "application/json", "").await;
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    let expected = r#"{"response":null,"message":"Error while processing.","appStatusCode":"avx-common-011","tags":{},"headers":null}"#;
    assert_eq!(response.text().await.unwrap(), expected);
    assert_eq!(gateway.ask(HEADER, "application/json", "").await.status(), 200, "known credentials are served on");
}

#[tokio::test]
async fn disabling_takes_effect_on_the_next_request() {
    let (mut facts, record) = account("exporter", ID, SECRET).unwrap();
    let index = index(&[(facts.clone(), record.clone())]).unwrap();
    facts.enabled = false;
    facts.revision = 2.into();
    let live = FakeLive::new(&[(facts.clone(), record)], false);
    let gateway = gateway_with(index, Arc::new(live), Patience::default(), None).await;
    assert_eq!(gateway.ask(HEADER, "application/json", "").await.status(), 200);
    gateway.index.apply(Item::Account(facts));
    assert_eq!(gateway.ask(HEADER, "application/json", "").await.status(), 400);
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_in_the_same_envelope() {
    let gateway = gateway().await;
    let response = gateway.client().get(gateway.url()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (405, "POST"));
    assert!(response.text().await.unwrap().contains("ACCT_SA_001"));
    let response = gateway.client().post(format!("https://{}/", gateway.address)).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()),
        (404, "application/json")
    );
}

#[tokio::test]
async fn a_large_body_is_refused_and_the_gateway_goes_on() {
    let gateway = gateway().await;
    let large = gateway.client().post(gateway.url()).header("authorization", HEADER).body(vec![b'a'; 70 * 1024]);
    let text = large.send().await.unwrap().text().await.unwrap();
    assert!(text.contains("Invalid Request::[Request body is larger than 64 KiB]"), "{text}");
    assert_eq!(gateway.ask(HEADER, "application/json", "").await.status(), 200);
}

#[rstest]
#[case::two_authorization_headers(
    format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADER}\r\nauthorization: {HEADER}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    "400", "Invalid client Id or secret"
)]
#[case::two_hosts(
    format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nHost: y\r\nAuthorization: {HEADER}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    "400", "More than one Host header"
)]
#[case::no_host(format!("POST {PATH} HTTP/1.0\r\nAuthorization: {HEADER}\r\n\r\n"), "200", "response")]
#[case::bytes_in_the_header(
    format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic \u{e9}\u{e9}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    "400", "Invalid client Id or secret"
)]
#[case::bad_percent_escape_in_the_query(
    format!("POST {PATH}&x=%zz HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADER}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    "200", "response"
)]
#[case::two_content_lengths(
    format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADER}\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n12345"),
    "400", ""
)]
#[case::nonsense_length(format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADER}\r\nContent-Length: -1\r\n\r\n"), "400", "")]
#[case::line_end_in_a_header(format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthor\nization: {HEADER}\r\n\r\n"), "400", "")]
#[case::no_http("\x16\x03\x01garbage garbage garbage\r\n\r\n".to_owned(), "400", "")]
#[case::huge_header(format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {}\r\n\r\n", "a".repeat(64 * 1024)), "431", "")]
#[case::many_headers(format!("POST {PATH} HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(500)), "431", "")]
#[tokio::test]
async fn what_no_library_sends_is_answered_clearly(#[case] request: String, #[case] status: &str, #[case] text: &str) {
    let gateway = gateway().await;
    let mut answer = String::new();
    // Closing with bytes unread resets the connection, and that may overtake the answer.
    for _ in 0..20 {
        answer = gateway.raw(request.as_bytes()).await;
        if !answer.is_empty() {
            break;
        }
    }
    assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    assert!(answer.contains(text), "{answer}");
}

#[tokio::test]
async fn a_length_besides_chunks_smuggles_no_second_request() {
    let gateway = gateway().await;
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADER}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    let answer = gateway.raw(request.as_bytes()).await;
    // RFC 9112 section 6.3: the chunks count, and the connection is closed after them.
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[rstest]
#[case::nothing("")]
#[case::half_a_preface("PRI * HTTP/2")]
#[case::half_a_header("POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ")]
#[tokio::test]
async fn a_peer_that_is_too_slow_with_its_headers_is_cut_off(#[case] bytes: &str) {
    let accounts = [account("exporter", ID, SECRET).unwrap()];
    let patience = Patience { headers: Duration::from_millis(300), ..Patience::default() };
    let gateway =
        gateway_with(index(&accounts).unwrap(), Arc::new(FakeLive::new(&accounts, true)), patience, None).await;
    assert!(!gateway.raw(bytes.as_bytes()).await.starts_with("HTTP/1.1 2"));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let accounts = [account("exporter", ID, SECRET).unwrap()];
    let time = Some(Duration::from_millis(50));
    let gateway =
        gateway_with(index(&accounts).unwrap(), Arc::new(FakeLive::new(&accounts, true)), Patience::default(), time)
            .await;
    let request =
        format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADER}\r\nContent-Length: 9\r\n\r\ngrant");
    let answer = gateway.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("did not arrive in time"), "{answer}");
}

#[tokio::test]
async fn http_2_is_spoken_and_its_authority_is_the_host() {
    let gateway = gateway().await;
    let mut off = keyrota::api::TokenIssuer::new("acme", keyrota::api::TokenIssuerSpec::default());
    off.spec.hosts = vec!["acme.example".into()];
    gateway.index.apply(Item::Issuer(Box::new(off)));
    for (authority, expected) in [("localhost", r#"{"response":"eyJ"#), ("acme.example", "ACCT_SA_003")] {
        let stream = gateway.connect("h2");
        let answer = tokio::task::spawn_blocking(move || http2(stream, authority)).await.unwrap();
        assert!(answer.contains(expected), "{authority}: {answer}");
    }
}

/// CVE-2023-44487: requests that are taken back before anybody can answer them, as fast as they can be sent.
#[tokio::test]
async fn rapid_resets_end_their_own_connection_and_nobody_elses_service() {
    let gateway = gateway().await;
    let mut stream = gateway.connect("h2");
    let storm = tokio::task::spawn_blocking(move || {
        stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(4, 0, 0, &[]).as_slice()].concat()).unwrap();
        let block = request_headers("localhost");
        for number in 0..10_000 {
            let id = 2 * number + 1;
            // HEADERS, and RST_STREAM with CANCEL.
            let pair = [frame(1, 5, id, &block), frame(3, 0, id, &8_u32.to_be_bytes())].concat();
            if stream.write_all(&pair).is_err() {
                return "it is closed".to_owned();
            }
        }
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        // GOAWAY with ENHANCE_YOUR_CALM.
        let calm = said.windows(4).any(|four| four == 11_u32.to_be_bytes());
        (if calm { "it is told to be calm" } else { "it was served on" }).to_owned()
    });
    assert_eq!(gateway.ask(HEADER, "application/json", "").await.status(), 200);
    assert_ne!(storm.await.unwrap(), "it was served on");
    assert_eq!(gateway.ask(HEADER, "application/json", "").await.status(), 200);
}

/// Both ends are open files of this process.
#[tokio::test]
async fn thousands_of_connections_that_say_nothing_keep_nobody_from_being_served() {
    let gateway = gateway().await;
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let idle = usize::try_from(files.saturating_sub(1000) / 2).unwrap().min(9_000);
    let mut kept = Vec::with_capacity(idle);
    while kept.len() < idle {
        kept.push(tokio::net::TcpStream::connect(gateway.address).await.unwrap());
    }
    assert_eq!(gateway.ask(HEADER, "application/json", "").await.status(), 200);
    drop(kept);
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed_at_once_and_their_end_makes_room() {
    let accounts = [account("exporter", ID, SECRET).unwrap()];
    let patience = Patience { connections: 2, ..Patience::default() };
    let live = Arc::new(FakeLive::new(&accounts, true));
    let gateway = gateway_with(index(&accounts).unwrap(), live, patience, None).await;
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADER}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let idle = [(); 2].map(|()| TcpStream::connect(gateway.address).unwrap());
    assert_eq!(gateway.raw(request.as_bytes()).await, "", "a third one is served");
    drop(idle);
    let served = async {
        while !gateway.raw(request.as_bytes()).await.starts_with("HTTP/1.1 200") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), served).await.unwrap();
}

/// A frame of HTTP/2 (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Every header as a literal.
fn request_headers(authority: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", PATH),
        (":authority", authority),
        ("authorization", HEADER),
    ];
    let literal = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    headers.iter().flat_map(|(name, value)| [vec![0], literal(name), literal(value)].concat()).collect()
}

/// One request by HTTP/2; returns the body.
fn http2(mut stream: StreamOwned<ClientConnection, TcpStream>, authority: &str) -> String {
    let block = request_headers(authority);
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    // SETTINGS, then HEADERS with END_HEADERS and END_STREAM.
    stream.write_all(&[frame(4, 0, 0, &[]), frame(1, 5, 1, &block)].concat()).unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).unwrap();
        if head[3] == 0 && !payload.is_empty() {
            return String::from_utf8(payload).unwrap();
        }
    }
}

#[tokio::test]
async fn a_new_certificate_is_used_for_the_next_connection() {
    let gateway = gateway().await;
    assert_eq!(gateway.ask(HEADER, "application/json", "").await.status(), 200);
    let (ca, certificate, key) = certificate();
    let config = server::tls_config(certificate.as_bytes(), key.as_bytes()).unwrap();
    gateway.tls.reload_from_config(Arc::new(config));
    let old = gateway.client().post(gateway.url()).send().await;
    assert!(old.is_err(), "the old CA must not be trusted any more");
    let gateway = Gateway { ca, ..gateway };
    assert_eq!(gateway.ask(HEADER, "application/json", "").await.status(), 200);
}

#[tokio::test]
async fn a_request_under_way_is_finished_before_the_gateway_stops() {
    let gateway = gateway().await;
    let mut stream = gateway.connect("http/1.1");
    let start = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADER}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    );
    let (mut stream, told) = tokio::task::spawn_blocking(move || {
        stream.write_all(start.as_bytes()).unwrap();
        let mut told = [0; 25];
        stream.read_exact(&mut told).unwrap();
        (stream, told)
    })
    .await
    .unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    gateway.handle.graceful_shutdown(Some(Duration::from_secs(25)));
    let finish = tokio::task::spawn_blocking(move || {
        stream.write_all(b"a=bc").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    });
    let answer = finish.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    gateway.served.await.unwrap().unwrap();
    assert!(TcpStream::connect(gateway.address).is_err(), "nobody listens any more");
}

#[rstest]
#[case("", "")]
#[case("not PEM", "not PEM")]
fn certificates_that_cannot_be_used_say_which_part_is_wrong(#[case] certificate_pem: &str, #[case] key_pem: &str) {
    let error = server::tls_config(certificate_pem.as_bytes(), key_pem.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "tls.crt holds no PEM certificate");
    let (_, good, _) = certificate();
    let error = server::tls_config(good.as_bytes(), key_pem.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "tls.key holds no PEM private key");
    let (_, _, another) = certificate();
    let error = server::tls_config(good.as_bytes(), another.as_bytes()).unwrap_err();
    assert!(error.to_string().starts_with("tls.crt and tls.key cannot be used together"), "{error}");
}
