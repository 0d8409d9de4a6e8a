//! The load generator, and the servers as children.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::credentials;
use rustls::pki_types::CertificateDer;

/// Says what to do when there is no wrk.
pub fn find_wrk() -> anyhow::Result<()> {
    Command::new("wrk")
        .arg("--version")
        .output()
        .map(drop)
        .context("wrk cannot be run: install it (Debian and Ubuntu: apt-get install wrk; macOS: brew install wrk)")
}

/// A command that runs on one core, if this system can do that.
pub fn pinned(core: usize, program: &Path) -> Command {
    if Command::new("taskset").arg("--version").output().is_err() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

/// A server of ours in a process of its own; killed when dropped.
pub struct Child {
    process: std::process::Child,
    origin: String,
}

impl Child {
    /// Starts this very program as a server, on core 0.
    pub fn start(server: &str) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let mut process = pinned(0, &own).args(["--serve", server]).stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().context("the server has no output")?;
        let mut origin = String::new();
        BufReader::new(output).read_line(&mut origin)?;
        ensure!(!origin.is_empty(), "the {server} server did not start");
        Ok(Self { process, origin: origin.trim().to_owned() })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What wrk sends.
pub struct Load {
    script: tempfile::NamedTempFile,
}

/// Whether a connection serves one request after another.
#[derive(Clone, Copy)]
pub enum Connections {
    Kept,
    Afresh,
}

impl Load {
    /// The manual's request for each account in turn.
    pub fn manual(accounts: usize, connections: Connections) -> anyhow::Result<Self> {
        let path = format!("{}?gwsource=external", keyrota::gateway::legacy::PATH);
        Self::new(accounts, &path, "grant_type=Client_Credentials", connections)
    }

    /// The standard's.
    pub fn standard(accounts: usize) -> anyhow::Result<Self> {
        Self::new(accounts, keyrota::domain::paths::TOKEN, "grant_type=client_credentials", Connections::Kept)
    }

    /// As a script in Lua says.
    pub fn of(script: &str) -> anyhow::Result<Self> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(script.as_bytes())?;
        Ok(Self { script: file })
    }

    fn new(accounts: usize, path: &str, body: &str, connections: Connections) -> anyhow::Result<Self> {
        let mut script = String::new();
        let close = match connections {
            Connections::Kept => "",
            Connections::Afresh => ", [\"Connection\"] = \"close\"",
        };
        writeln!(script, "local all, at = {{}}, 0\nfunction init()")?;
        for number in 0..accounts {
            let (client_id, secret) = credentials(number);
            let header = BASE64_STANDARD.encode(format!("{client_id}:{secret}"));
            writeln!(
                script,
                "all[{}] = wrk.format(\"POST\", \"{path}\", {{[\"Host\"] = wrk.headers[\"Host\"], [\"Authorization\"] = \"Basic {header}\", [\"Content-Type\"] = \"application/x-www-form-urlencoded\"{close}}}, \"{body}\")",
                number + 1
            )?;
        }
        writeln!(script, "end\nfunction request() at = at % {accounts} + 1 return all[at] end")?;
        Self::of(&script)
    }
}

impl Child {
    /// Requests per second that it answered, all of them with success.
    pub fn wrk(&self, load: &Load, seconds: u64, connections: usize) -> anyhow::Result<f64> {
        wrk(&self.origin, load, seconds, connections)
    }
}

/// Requests per second that a server answered, all of them with success.
pub fn wrk(origin: &str, load: &Load, seconds: u64, connections: usize) -> anyhow::Result<f64> {
    let output = pinned(1, Path::new("wrk"))
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"])
        .arg(load.script.path())
        .arg(format!("{origin}/"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("wrk met errors:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).context("wrk said no rate")?;
    rate.trim().parse().context("wrk's rate is no number")
}

/// A certificate for localhost and its key as PEM, and the certificate for those who shall trust it.
pub fn certificate() -> anyhow::Result<(String, String, CertificateDer<'static>)> {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    Ok((cert.pem(), signing_key.serialize_pem(), cert.der().clone()))
}
