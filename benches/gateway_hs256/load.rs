//! The load generator, and the servers as children.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::credentials;

/// Says what to do when there is no wrk.
pub fn find_wrk() -> anyhow::Result<()> {
    Command::new("wrk")
        .arg("--version")
        .output()
        .map(drop)
        .context("wrk cannot be run: install it (Debian and Ubuntu: apt-get install wrk; macOS: brew install wrk)")
}

/// A command that runs on one core, if this system can do that.
fn pinned(core: usize, program: &Path) -> Command {
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
    address: String,
}

impl Child {
    /// Starts this very program as a server, on core 0.
    pub fn start(server: &str) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let mut process = pinned(0, &own).args(["--serve", server]).stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().context("the server has no output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        ensure!(!address.is_empty(), "the {server} server did not start");
        Ok(Self { process, address: address.trim().to_owned() })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A wrk script that sends the manual's request for each account in turn.
pub fn script(accounts: usize) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new()?;
    writeln!(file, "local path = \"{}?gwsource=external\"", keyrota::gateway::legacy::PATH)?;
    writeln!(file, "local all, at = {{}}, 0\nfunction init()")?;
    for number in 0..accounts {
        let (client_id, secret) = credentials(number);
        let header = BASE64_STANDARD.encode(format!("{client_id}:{secret}"));
        writeln!(
            file,
            "all[{}] = wrk.format(\"POST\", path, {{[\"Host\"] = wrk.headers[\"Host\"], [\"Authorization\"] = \"Basic {header}\", [\"Content-Type\"] = \"application/x-www-form-urlencoded\"}}, \"grant_type=Client_Credentials\")",
            number + 1
        )?;
    }
    writeln!(file, "end\nfunction request() at = at % {accounts} + 1 return all[at] end")?;
    file.flush()?;
    Ok(file)
}

/// Requests per second that a server answered, all of them with success.
pub fn wrk(child: &Child, script: &Path, seconds: u64, connections: usize) -> anyhow::Result<f64> {
    let output = pinned(1, Path::new("wrk"))
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"])
        .arg(script)
        .arg(format!("http://{}/", child.address))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("wrk met errors:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).context("wrk said no rate")?;
    rate.trim().parse().context("wrk's rate is no number")
}
