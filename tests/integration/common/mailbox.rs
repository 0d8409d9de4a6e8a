//! A mail server of one's own: aiosmtpd, installed once into the cache, offline from then on.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;

use super::eventually;
use super::operator::SOON;
use super::tools::{install_python_packages, installed};

/// What the cache is keyed by.
const VERSION: &str = "1.4.6";

pub(crate) const USERNAME: &str = "keyrota";
pub(crate) const PASSWORD: &str = "correct-horse-battery-staple";

/// A running mail server, and what it has taken.
pub(crate) struct Mailbox {
    pub(crate) port: u16,
    files: TempDir,
    mails: Arc<Mutex<Vec<Value>>>,
    server: Child,
}

impl Mailbox {
    /// One that asks for STARTTLS and a login; none where there is no Python to run it with, which is an error in CI.
    pub(crate) fn open() -> Option<Self> {
        Self::with(&[])
    }

    /// One with further arguments of `smtp_server.py`.
    pub(crate) fn with(arguments: &[&str]) -> Option<Self> {
        let files = TempDir::new().unwrap();
        write_files(files.path());
        Self::start(files, arguments)
    }

    fn start(files: TempDir, arguments: &[&str]) -> Option<Self> {
        let python = python()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/common/smtp_server.py");
        let mut server = Command::new(python)
            .arg("-B")
            .arg(script)
            .args(["--username", USERNAME, "--password", PASSWORD])
            .arg("--certificate")
            .arg(files.path().join("certificate.pem"))
            .arg("--key")
            .arg(files.path().join("key.pem"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next().expect("the mail server starts").unwrap()).unwrap();
        let mails = Arc::<Mutex<Vec<Value>>>::default();
        let taken = mails.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                taken.lock().push(serde_json::from_str(&line).unwrap());
            }
        });
        Some(Self { port: u16::try_from(first["port"].as_u64().unwrap()).unwrap(), files, mails, server })
    }

    /// A mail server that is down, at a port where one may be opened later.
    pub(crate) fn dead() -> DeadMailbox {
        let files = TempDir::new().unwrap();
        write_files(files.path());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        DeadMailbox { port, files }
    }

    /// What the operator is told of it.
    pub(crate) fn flags(&self) -> Vec<String> {
        flags(self.port, self.files.path())
    }

    /// All mails so far.
    pub(crate) fn mails(&self) -> Vec<Value> {
        self.mails.lock().clone()
    }

    /// Waits until there are this many mails.
    pub(crate) async fn until(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} mails have arrived"), SOON, async || {
            Some(self.mails()).filter(|mails| mails.len() >= count)
        })
        .await
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

pub(crate) struct DeadMailbox {
    pub(crate) port: u16,
    files: TempDir,
}

impl DeadMailbox {
    pub(crate) fn flags(&self) -> Vec<String> {
        flags(self.port, self.files.path())
    }

    /// It comes up.
    pub(crate) fn open(self) -> Option<Mailbox> {
        let port = self.port.to_string();
        Mailbox::start(self.files, &["--port", &port])
    }
}

fn flags(port: u16, files: &Path) -> Vec<String> {
    let file = |name: &str| files.join(name).to_str().unwrap().to_owned();
    [
        ("--smtp-host", "127.0.0.1".to_owned()),
        ("--smtp-port", port.to_string()),
        ("--smtp-username-file", file("username")),
        ("--smtp-password-file", file("password")),
        ("--smtp-ca-file", file("certificate.pem")),
        ("--smtp-from", "Keyrota <keyrota@example.com>".to_owned()),
        ("--mail-domains", "example.com,.corp.example".to_owned()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect()
}

fn write_files(directory: &Path) {
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let files = [
        ("certificate.pem", cert.pem()),
        ("key.pem", signing_key.serialize_pem()),
        // With the line end that an editor leaves.
        ("username", format!("{USERNAME}\n")),
        ("password", format!("{PASSWORD}\n")),
    ];
    for (name, content) in files {
        std::fs::write(directory.join(name), content).unwrap();
    }
}

/// The Python of a virtual environment that has aiosmtpd.
fn python() -> Option<PathBuf> {
    let package = format!("aiosmtpd=={VERSION}");
    let home = installed(&format!("aiosmtpd-{VERSION}"), "python3", |home| install_python_packages(home, &[&package]));
    Some(home?.join("bin/python"))
}
