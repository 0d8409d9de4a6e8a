//! Owns the servers, so that nothing of them outlives the process that started them, however it
//! ends: Ctrl-C, a panic, `kill -9`.
//!
//! ```text
//! this process ──lifeline──▶ launcher (sh) ─┬─ etcd
//!  holds one end              leads a group ├─ kube-apiserver          all hold "alive"
//!                                           └─ kube-controller-manager        │
//!                sweeper (sh), in a group of its own ◀────────────────────────┘
//! ```
//! * The lifeline is the launcher's input: each line on it is a server to start, and its end means
//!   that this process is gone. The kernel closes it whichever way the process went.
//! * The launcher then kills *its own* process group, itself included. It names no process id, so it
//!   can never hit a process that got the id of one that died earlier.
//! * Every process of the group holds the write end of "alive" as its output. The sweeper reads the
//!   other end: it ends when the last of them is gone, and only then is the directory removed.
//!
//! Both have process groups of their own, which a terminal's Ctrl-C does not reach.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::error::{Error, IoContext};

/// Kills without asking first: the data goes away with the servers, so there is nothing to finish,
/// and etcd waits for the API server's connections longer than anyone would wait for it (over 5 s).
const LAUNCHER: &str = r#"
trap 'kill -KILL 0' TERM HUP INT
while IFS= read -r server; do
  eval "$server" &
done
kill -KILL 0
"#;
/// Deaf to polite signals: it ends when its work is done.
const SWEEPER: &str = r#"
trap '' TERM HUP INT
cat > /dev/null
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
"#;

/// A killed process is gone in milliseconds; removing the directory takes longer on a busy disk.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// How often it is looked whether the sweeper has ended.
const STOP_POLL: Duration = Duration::from_millis(20);

/// The servers of one data directory. Dropping it stops them without waiting for their end.
pub(super) struct Watchdog {
    directory: PathBuf,
    lifeline: Option<ChildStdin>,
    launcher: Child,
    sweeper: Child,
}

impl Watchdog {
    /// Takes charge of a directory: from here on it goes away with this process.
    pub(super) fn guard(directory: tempfile::TempDir, path: &OsStr) -> Result<Self, Error> {
        let at = directory.path();
        let (alive_reader, alive_writer) = std::io::pipe().while_doing("opening a pipe for", at)?;
        let sweeper = shell(SWEEPER, path)
            .arg(at)
            .stdin(alive_reader)
            .stdout(Stdio::null())
            .spawn()
            .while_doing("starting the sweeper of", at)?;
        let directory = directory.keep();
        let mut launcher = shell(LAUNCHER, path)
            .env("TMPDIR", &directory)
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(alive_writer)
            .spawn()
            .while_doing("starting the launcher of", &directory)?;
        let lifeline = launcher.stdin.take();
        Ok(Self { directory, lifeline, launcher, sweeper })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts a server; its log is `<name>.log` and, should it end, its status is in `<name>.exit`.
    pub(super) fn start(&mut self, name: &str, program: &Path, arguments: &[OsString]) -> Result<(), Error> {
        let mut line = quoted(program.as_os_str());
        for argument in arguments {
            line.push(b' ');
            line.extend(quoted(argument));
        }
        // The status is moved into place so that nobody reads half of it.
        line.extend(format!(" 2> {name}.log; echo $? > {name}.ended; mv {name}.ended {name}.exit\n").into_bytes());
        if line.iter().filter(|byte| **byte == b'\n').count() != 1 {
            return Err(Error::LineBreak { what: format!("a path or argument of {name}") });
        }
        match &mut self.lifeline {
            Some(lifeline) => lifeline.write_all(&line).while_doing("starting a server in", &self.directory),
            None => Ok(()),
        }
    }

    /// The exit status of a server that has ended on its own.
    pub(super) fn exit_status(&self, name: &str) -> Option<String> {
        let status = std::fs::read_to_string(self.directory.join(format!("{name}.exit"))).ok()?;
        Some(status.trim().to_owned())
    }

    pub(super) fn log(&self, name: &str) -> String {
        let log = std::fs::read(self.directory.join(format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Stops the servers and waits until they and the directory are gone.
    pub(super) async fn stop(mut self) -> Result<(), Error> {
        self.lifeline = None;
        if !self.swept(STOP_WITHIN).await? {
            // Only a stuck launcher leads here. It is not reaped yet, so its id is still its own.
            if let Some(group) = i32::try_from(self.launcher.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            if !self.swept(STOP_WITHIN).await? {
                return Err(self.not_stopped());
            }
        }
        let _ = self.launcher.wait();
        Ok(())
    }

    async fn swept(&mut self, within: Duration) -> Result<bool, Error> {
        let started = Instant::now();
        while started.elapsed() < within {
            if self.sweeper.try_wait().while_doing("waiting for the sweeper of", &self.directory)?.is_some() {
                return Ok(true);
            }
            tokio::time::sleep(STOP_POLL).await;
        }
        Ok(false)
    }

    fn not_stopped(&self) -> Error {
        Error::NotStopped {
            path: self.directory.clone(),
            seconds: 2 * STOP_WITHIN.as_secs(),
            group: self.launcher.id(),
        }
    }
}

/// A shell in its own process group, with an environment in which no `ETCD_NAME` or proxy setting of
/// the user changes what the servers do.
fn shell(script: &str, path: &OsStr) -> Command {
    let mut path = path.to_owned();
    path.push(":/usr/bin:/bin");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", script, "keyrota-controlplane"])
        .env_clear()
        .env("PATH", path)
        .stderr(Stdio::null())
        .process_group(0);
    command
}

/// In single quotes nothing is special to a shell but the single quote itself.
fn quoted(argument: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in argument.as_bytes() {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            _ => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guarded() -> Watchdog {
        let directory = tempfile::Builder::new().prefix("it's a \"test\" $(x)").tempdir().unwrap();
        Watchdog::guard(directory, OsStr::new("")).unwrap()
    }

    async fn until(what: &str, mut condition: impl FnMut() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < Duration::from_secs(30), "{what} did not happen");
            tokio::time::sleep(STOP_POLL).await;
        }
    }

    fn arguments(script: &str) -> Vec<OsString> {
        vec!["-c".into(), script.into()]
    }

    #[tokio::test]
    async fn a_server_that_ends_leaves_its_status_and_its_words() {
        let mut watchdog = guarded();
        watchdog.start("server", Path::new("/bin/sh"), &arguments("echo it\\'s over >&2; exit 3")).unwrap();
        until("the end", || watchdog.exit_status("server").is_some()).await;
        assert_eq!(watchdog.exit_status("server").as_deref(), Some("3"));
        assert_eq!(watchdog.log("server"), "it's over\n");
        let directory = watchdog.directory().to_owned();
        watchdog.stop().await.unwrap();
        assert!(!directory.exists());
    }

    #[tokio::test]
    async fn a_server_that_ignores_the_signal_is_killed() {
        let mut watchdog = guarded();
        watchdog
            .start("server", Path::new("/bin/sh"), &arguments("trap '' TERM; echo on >&2; while :; do sleep 1; done"))
            .unwrap();
        until("the start", || !watchdog.log("server").is_empty()).await;
        let directory = watchdog.directory().to_owned();
        watchdog.stop().await.unwrap();
        assert!(!directory.exists());
    }

    #[tokio::test]
    async fn dropping_it_is_enough() {
        let mut watchdog = guarded();
        watchdog.start("server", Path::new("/bin/sleep"), &["1000".into()]).unwrap();
        let directory = watchdog.directory().to_owned();
        drop(watchdog);
        until("the removal of the directory", || !directory.exists()).await;
    }

    #[tokio::test]
    async fn a_line_break_in_an_argument_is_refused() {
        let mut watchdog = guarded();
        let error = watchdog.start("server", Path::new("/bin/echo"), &["a\nb".into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a path or argument of server contains a line break, which cannot be passed on: remove it"
        );
        watchdog.stop().await.unwrap();
    }
}
