//! Owns the servers (and the builds), so that nothing of them outlives the process that started
//! them, however it ends: Ctrl-C, a panic, `kill -9`.
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
/// Besides: the control groups of containers, which are under one with the directory's name. Their processes may need a
/// moment to be gone.
const SWEEPER_OF_CONTAINERS: &str = r#"
trap '' TERM HUP INT
cat > /dev/null
for try in 1 2 3 4 5 6 7 8 9 10; do
  find /sys/fs/cgroup -depth -type d -path "*/${1##*/}*" -exec rmdir {} + && break
  sleep 0.3
done
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
"#;

/// A killed process is gone in milliseconds; removing the directory takes longer on a busy disk.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// How often it is looked whether the sweeper has ended.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Which environment variables a server sees.
#[derive(Clone, Copy)]
pub enum Variables {
    /// None: no `ETCD_NAME` or proxy setting of the user changes what a server does.
    Cleared,
    /// Those of this process: the user's settings for Go count.
    Inherited,
}

/// Where the servers run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Beside this process.
    Here,
    /// In network, mount and process namespaces of their own, for which this process must be root. Whatever they make
    /// there, interfaces, rules of a firewall, mounts, containers, goes with them.
    OwnNamespaces,
}

/// The servers of one data directory. Dropping it stops them without waiting for their end.
pub struct Watchdog {
    directory: PathBuf,
    lifeline: Option<ChildStdin>,
    launcher: Child,
    sweeper: Child,
}

impl Watchdog {
    /// Takes charge of a directory: from here on it goes away with this process.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn guard(
        directory: tempfile::TempDir,
        path: &OsStr,
        variables: Variables,
        place: Place,
    ) -> Result<Self, Error> {
        let at = directory.path();
        let (alive_reader, alive_writer) = std::io::pipe().while_doing("opening a pipe for", at)?;
        let sweep = match place {
            Place::Here => SWEEPER,
            Place::OwnNamespaces => SWEEPER_OF_CONTAINERS,
        };
        let sweeper = shell(sweep, path, Variables::Cleared, Place::Here)
            .arg(at)
            .stdin(alive_reader)
            .stdout(Stdio::null())
            .spawn()
            .while_doing("starting the sweeper of", at)?;
        let directory = directory.keep();
        // What a killed program leaves in its temporary directory goes with the rest. Not the
        // directory itself: Go takes no module from there.
        let temporary = directory.join("tmp");
        std::fs::create_dir(&temporary).while_doing("creating the directory", &temporary)?;
        let mut launcher = shell(LAUNCHER, path, variables, place)
            .env("TMPDIR", &temporary)
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(alive_writer)
            .spawn()
            .while_doing("starting the launcher of", &directory)?;
        let lifeline = launcher.stdin.take();
        Ok(Self { directory, lifeline, launcher, sweeper })
    }

    /// Everything that the servers keep; gone after the stop.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The process to whose namespaces a thread can move that wants to see what the servers see, once one runs.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.launcher.id()
    }

    /// Starts a server; its log is `<name>.log` and, should it end, its status is in `<name>.exit`.
    ///
    /// # Errors
    /// When an argument contains a line break.
    pub fn start(&mut self, name: &str, program: &Path, arguments: &[OsString]) -> Result<(), Error> {
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
    #[must_use]
    pub fn exit_status(&self, name: &str) -> Option<String> {
        let status = std::fs::read_to_string(self.directory.join(format!("{name}.exit"))).ok()?;
        Some(status.trim().to_owned())
    }

    /// What a server has said so far.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let log = std::fs::read(self.directory.join(format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Stops the servers and waits until they and the directory are gone.
    ///
    /// # Errors
    /// When they are not within some seconds.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.lifeline = None;
        // In case somebody killed the launcher. It is not reaped yet, so its id is still its own.
        let _ = kill_process_group(Pid::from_child(&self.launcher), Signal::KILL);
        self.swept().await?;
        let _ = self.launcher.wait();
        Ok(())
    }

    async fn swept(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        while started.elapsed() < STOP_WITHIN {
            let ended = self.sweeper.try_wait();
            if ended.while_doing("waiting for the sweeper of", &self.directory)?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(STOP_POLL).await;
        }
        Err(Error::NotStopped {
            path: self.directory.clone(),
            seconds: STOP_WITHIN.as_secs(),
            group: self.launcher.id(),
        })
    }
}

/// A shell in its own process group.
fn shell(script: &str, path: &OsStr, variables: Variables, place: Place) -> Command {
    let mut path = path.to_owned();
    path.push(":/usr/bin:/bin");
    let mut command = match place {
        Place::Here => Command::new("/bin/sh"),
        Place::OwnNamespaces => Command::new("unshare"),
    };
    if place == Place::OwnNamespaces {
        // The shell is the first process there: when it goes, or the one that waits for it, all others go.
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh"]);
    }
    match variables {
        Variables::Cleared => _ = command.env_clear(),
        Variables::Inherited => {}
    }
    command.args(["-c", script, "keyrota-controlplane"]).env("PATH", path).stderr(Stdio::null()).process_group(0);
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
        Watchdog::guard(directory, OsStr::new(""), Variables::Cleared, Place::Here).unwrap()
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
    async fn a_launcher_that_is_told_to_end_takes_its_servers_along() {
        let mut watchdog = guarded();
        watchdog.start("server", Path::new("/bin/sleep"), &["1000".into()]).unwrap();
        let directory = watchdog.directory().to_owned();
        until("the start", || directory.join("server.log").exists()).await;
        let launcher = Pid::from_child(&watchdog.launcher);
        rustix::process::kill_process(launcher, Signal::TERM).unwrap();
        until("the removal of the directory", || !directory.exists()).await;
        watchdog.stop().await.unwrap();
    }

    #[tokio::test]
    async fn servers_whose_launcher_was_killed_are_stopped_all_the_same() {
        let mut watchdog = guarded();
        watchdog.start("server", Path::new("/bin/sleep"), &["1000".into()]).unwrap();
        let directory = watchdog.directory().to_owned();
        until("the start", || directory.join("server.log").exists()).await;
        let launcher = Pid::from_child(&watchdog.launcher);
        rustix::process::kill_process(launcher, Signal::KILL).unwrap();
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
