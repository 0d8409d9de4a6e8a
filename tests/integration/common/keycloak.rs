//! A Keycloak of one's own: a realm with one client, over TLS and in plain HTTP. Shared with the bench.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

/// The release, in Maven's central repository.
pub const VERSION: &str = "26.7.3";
/// The realm.
pub const REALM: &str = "keyrota";
/// Its one client, and that client's secret.
pub const CLIENT: (&str, &str) = ("robot", "aB3-secret-of-the-robot-Zz9");
/// How long the realm's tokens live, in seconds.
pub const LIFESPAN: i64 = 3600;
/// Whose password the administrator's is.
const ADMIN: (&str, &str) = ("admin", "only-for-tests");
/// On a busy machine.
const START: Duration = Duration::from_secs(300);

/// Downloads and unpacks it into `home`, and does the part of its start that need be done once.
///
/// # Errors
/// When there is no Maven, no Java or no network.
pub fn install(home: &Path) -> anyhow::Result<()> {
    let artifact = format!("-Dartifact=org.keycloak:keycloak-quarkus-dist:{VERSION}:zip");
    let output = format!("-DoutputDirectory={}", home.display());
    let markers = format!("-DmarkersDirectory={}", home.join("markers").display());
    run(Command::new("mvn").args(["-q", "-B", "dependency:unpack", &artifact, &output, &markers]).current_dir(home))?;
    run(Command::new("sh").arg(program(home)).args(["build", "--db=dev-mem"]))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

fn program(home: &Path) -> std::path::PathBuf {
    home.join(format!("keycloak-{VERSION}/bin/kc.sh"))
}

/// Where the token endpoint of a realm is, below the origin.
pub fn token_path(realm: &str) -> String {
    format!("/realms/{realm}/protocol/openid-connect/token")
}

/// A certificate for localhost, as PEM files.
pub struct Tls<'a> {
    /// The chain.
    pub certificate: &'a Path,
    /// The private key.
    pub key: &'a Path,
}

/// The server, until it is dropped.
pub struct Keycloak {
    /// Plain HTTP.
    pub address: SocketAddr,
    /// What its URLs begin with.
    pub origin: String,
    process: Child,
    http: reqwest::Client,
}

impl Keycloak {
    /// Starts it through `launcher` (`sh`, or something that pins it to a core and then runs `sh`), with its database in
    /// memory, and waits until its realm is there.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(mut launcher: Command, home: &Path, tls: Option<Tls<'_>>) -> anyhow::Result<Self> {
        let (plain, secure) = (free()?, free()?);
        launcher.arg(program(home)).args(["start", "--optimized", "--log-level=warn", "--http-enabled=true"]);
        launcher.args(["--http-host=127.0.0.1", "--cache=local", &format!("--http-port={}", plain.port())]);
        launcher.arg(format!("--https-port={}", secure.port()));
        let origin = match tls {
            Some(Tls { certificate, key }) => {
                launcher.arg(format!("--https-certificate-file={}", certificate.display()));
                launcher.arg(format!("--https-certificate-key-file={}", key.display()));
                format!("https://localhost:{}", secure.port())
            }
            None => format!("http://localhost:{}", plain.port()),
        };
        launcher.arg(format!("--hostname={origin}"));
        launcher.env("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN.0).env("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN.1);
        let process = launcher.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("Keycloak")?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
        let mut keycloak = Self { address: plain, origin, process, http };
        keycloak.until_it_answers().await?;
        keycloak.administrate("", &realm()).await?;
        Ok(keycloak)
    }

    async fn until_it_answers(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let url = format!("http://{}/realms/master", self.address);
        while started.elapsed() < START {
            if self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("Keycloak ended: {status}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("Keycloak did not start within {} s", START.as_secs())
    }

    /// Its claim `iss`.
    pub fn issuer(&self) -> String {
        format!("{}/realms/{REALM}", self.origin)
    }

    /// A token of the realm's client.
    ///
    /// # Errors
    /// When there is none.
    pub async fn token(&self) -> anyhow::Result<String> {
        let form = [("grant_type", "client_credentials"), ("client_id", CLIENT.0), ("client_secret", CLIENT.1)];
        self.token_at(&token_path(REALM), &form).await
    }

    /// Has the realm sign with a new key from now on; the old one stays in its key set.
    ///
    /// # Errors
    /// When it will not.
    pub async fn rotate_key(&self) -> anyhow::Result<()> {
        let component = json!({
            "name": "next", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
            "config": {"priority": ["200"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"]},
        });
        self.administrate(&format!("/{REALM}/components"), &component).await
    }

    async fn administrate(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let form =
            [("grant_type", "password"), ("client_id", "admin-cli"), ("username", ADMIN.0), ("password", ADMIN.1)];
        let token = self.token_at(&token_path("master"), &form).await?;
        let url = format!("http://{}/admin/realms{path}", self.address);
        let request = self.http.post(url).bearer_auth(token).header("Content-Type", "application/json");
        let answer = request.body(body.to_string()).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "Keycloak answers {status} to {path:?}: {}", answer.text().await?);
        Ok(())
    }

    async fn token_at(&self, path: &str, form: &[(&str, &str)]) -> anyhow::Result<String> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(format!("http://{}{path}", self.address));
        let answer = request.header("Content-Type", "application/x-www-form-urlencoded").body(body).send().await?;
        let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
        answer["access_token"].as_str().map(str::to_owned).with_context(|| format!("no token: {}", answer["error"]))
    }
}

impl Drop for Keycloak {
    /// As SIGTERM would, which its shell passes on: killed, it would leave Java behind.
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

/// What is not said is as Keycloak makes it.
fn realm() -> Value {
    json!({
        "realm": REALM, "enabled": true, "sslRequired": "none", "accessTokenLifespan": LIFESPAN,
        "clients": [{
            "clientId": CLIENT.0, "secret": CLIENT.1, "enabled": true, "publicClient": false,
            "serviceAccountsEnabled": true, "standardFlowEnabled": false, "directAccessGrantsEnabled": false,
            "protocolMappers": [{
                "name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
                "config": {"included.custom.audience": "https://tokens.example", "access.token.claim": "true"},
            }],
        }],
    })
}

fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
