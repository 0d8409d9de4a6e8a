//! OAuth clients and verifiers of other people, as they come from their registries: each gets a token with its defaults,
//! for generated secrets and for hostile ones, and each verifies ours by discovery.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use keyrota::clock::SystemClock;
use keyrota::domain::verifier::{self, HashCost};
use oauth2::basic::{BasicClient, BasicTokenType};
use oauth2::{AuthType, ClientId, ClientSecret, TokenResponse, TokenUrl};
use rand::SeedableRng;
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::common::operator::{Operator, free_address, text};
use super::common::tools::{install_python_packages, installed, run};

/// What the manual's product and other identity servers may have generated: every character that one of the two
/// encodings of Basic gives a meaning of its own.
const HOSTILE: [&str; 7] = [
    "plain%41+percent",
    "100%",
    "colon:in:the:middle",
    "a space within",
    r#"quotes"'`and\backslash"#,
    "a/b+c==&d=e;f?g#h",
    "%3A%zz{}[]|^~<>!@$*(),",
];

#[derive(Clone, Copy, Debug)]
enum Language {
    Python,
    Node,
    Go,
    Java,
    Curl,
}

impl Language {
    fn folder(self) -> PathBuf {
        let name = format!("{self:?}").to_lowercase();
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
    }

    /// What is installed is keyed by what it is made from.
    fn cached(self, sources: &[&str]) -> String {
        let mut digest = Context::new(&SHA256);
        for source in sources {
            digest.update(&std::fs::read(self.folder().join(source)).unwrap());
        }
        let digest: String = digest.finish().as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        format!("clients-{self:?}-{digest}").to_lowercase()
    }

    /// The command that runs the clients, once what they need is installed.
    fn command(self) -> Option<Command> {
        let folder = self.folder();
        match self {
            Self::Python => {
                let requirements = folder.join("requirements.txt").to_str().unwrap().to_owned();
                let home = installed(&self.cached(&["requirements.txt"]), "python3", |home| {
                    install_python_packages(home, &["-r", &requirements]);
                })?;
                let mut command = Command::new(home.join("bin/python"));
                command.args(["-B", "-W", "ignore"]).arg(folder.join("clients.py"));
                Some(command)
            }
            Self::Node => {
                let sources = ["package.json", "package-lock.json", ".npmrc", "clients.mjs"];
                let home = installed(&self.cached(&sources), "npm", |home| {
                    for source in sources {
                        std::fs::copy(folder.join(source), home.join(source)).unwrap();
                    }
                    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(home));
                })?;
                let mut command = Command::new("node");
                command.arg(home.join("clients.mjs"));
                Some(command)
            }
            Self::Go => {
                let home = installed(&self.cached(&["go.mod", "go.sum", "main.go"]), "go", |home| {
                    let build = ["build", "-trimpath", "-o"];
                    run(Command::new("go").args(build).arg(home.join("clients")).arg(".").current_dir(&folder));
                })?;
                Some(Command::new(home.join("clients")))
            }
            Self::Java => {
                let home = installed(&self.cached(&["pom.xml"]), "mvn", |home| {
                    let output = format!("-DoutputDirectory={}", home.display());
                    let copy = ["-q", "-B", "dependency:copy-dependencies", &output];
                    run(Command::new("mvn").args(copy).current_dir(&folder));
                })?;
                let mut command = Command::new("java");
                command.arg("-cp").arg(home.join("*")).arg(folder.join("Clients.java"));
                Some(command)
            }
            Self::Curl => {
                let mut command = Command::new("python3");
                command.args(["-B"]).arg(folder.join("clients.py"));
                Some(command)
            }
        }
    }
}

/// A gateway, and credentials that it accepts: a generated one and then the hostile ones.
struct Served {
    issuer: String,
    ca: NamedTempFile,
    credentials: Vec<(String, String)>,
    _operator: Operator,
}

async fn served() -> Served {
    let mut operator = Operator::prepared(Arc::new(SystemClock)).await;
    let listen = free_address();
    let issuer = format!("https://{listen}");
    operator.flags = vec!["--external-url".into(), issuer.clone()];
    operator.start_controller();
    operator.start_gateway_at(listen, &issuer).await;
    let mut accounts = Vec::new();
    for number in 0..=HOSTILE.len() {
        let name = format!("app-{number}");
        let account = operator.ready(&name, json!({})).await;
        accounts.push((account, operator.credential(&format!("{name}-credentials")).await));
    }
    let ca = NamedTempFile::new().unwrap();
    let published = operator.secrets().get("app-0-credentials").await.unwrap();
    std::fs::write(ca.path(), text(&published, "ca.crt")).unwrap();
    operator.kill_controller().await;
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    for ((account, (id, secret)), hostile) in accounts.iter_mut().skip(1).zip(HOSTILE) {
        let cost = HashCost { memory_kib: 64, passes: 1, lanes: 1 };
        let hash = verifier::hash(&hostile.into(), cost, &mut random).unwrap();
        operator.import(account, id, hash).await;
        hostile.clone_into(secret);
    }
    let credentials = accounts.into_iter().map(|(_, pair)| pair).collect();
    Served { issuer, ca, credentials, _operator: operator }
}

#[rstest]
#[case(Language::Python, 5)]
#[case(Language::Node, 6)]
#[case(Language::Go, 4)]
#[case(Language::Java, 3)]
#[case(Language::Curl, 2)]
#[tokio::test(flavor = "multi_thread")]
async fn every_library_gets_a_token_with_its_defaults_and_verifies_it(
    #[case] language: Language,
    #[case] libraries: usize,
) {
    let Some(mut command) = language.command() else { return };
    let Served { issuer, ca, credentials, _operator } = served().await;
    let list: Vec<Value> = credentials.iter().map(|(id, secret)| json!({"id": id, "secret": secret})).collect();
    let given = json!({
        "issuer": issuer, "tokenUrl": format!("{issuer}/oauth2/token"), "audience": issuer, "ca": ca.path(),
        "credentials": list,
    });
    let output = tokio::task::spawn_blocking({
        let ca = ca.path().to_owned();
        move || {
            let mut child =
                command.env("NODE_EXTRA_CA_CERTS", ca).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        }
    })
    .await
    .unwrap();
    let lines: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<String> = lines.iter().filter(|line| line.get("error").is_some()).map(Value::to_string).collect();
    assert!(failed.is_empty(), "{language:?}:\n{}", failed.join("\n"));
    assert_eq!(lines.len(), libraries * credentials.len());
    for line in lines.iter().filter(|line| line.get("clientId").is_some()) {
        let number = usize::try_from(line["credential"].as_u64().unwrap()).unwrap();
        assert_eq!(line["clientId"], credentials[number].0, "{line}");
    }
}

/// The crate `oauth2` writes the requests and reads the answers; a client of its own it has none here.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_crate_oauth2_gets_a_token_in_either_way_of_authenticating(
    #[values(AuthType::BasicAuth, AuthType::RequestBody)] way: AuthType,
) {
    let served = served().await;
    let ca = reqwest::Certificate::from_pem(&std::fs::read(served.ca.path()).unwrap()).unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap();
    let send = |request: oauth2::HttpRequest| {
        let (parts, body) = request.into_parts();
        let request = http.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
        async move {
            let answer = request.send().await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let mut read = oauth2::HttpResponse::new(answer.bytes().await?.to_vec());
            (*read.status_mut(), *read.headers_mut()) = (status, headers);
            Ok::<_, reqwest::Error>(read)
        }
    };
    for (id, secret) in &served.credentials {
        let client = BasicClient::new(ClientId::new(id.clone()))
            .set_client_secret(ClientSecret::new(secret.clone()))
            .set_auth_type(way.clone())
            .set_token_uri(TokenUrl::new(format!("{}/oauth2/token", served.issuer)).unwrap());
        let answer = client.exchange_client_credentials().request_async(&send).await;
        let answer = answer.unwrap_or_else(|error| panic!("{secret}: {error:?}"));
        assert_eq!(answer.access_token().secret().split('.').count(), 3);
        assert_eq!(answer.token_type(), &BasicTokenType::Bearer);
    }
}
