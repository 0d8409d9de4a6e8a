//! Tools from package registries: installed once into the cache, offline from then on.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{self, Context, SHA256};
use keyrota::controlplane::Environment;

use crate::generated::checkout;

/// The directory of a tool in the cache, installed there when it is new. `name` holds the version, or a digest of what
/// is installed. None where the command that installs it is missing, which is an error in CI.
pub(crate) fn installed(name: &str, needs: &str, install: impl FnOnce(&Path)) -> Option<PathBuf> {
    let tools = Environment::from_process().cache_home.expect("there is a home directory").join("keyrota/tools");
    let home = tools.join(name);
    if home.exists() {
        return Some(home);
    }
    if Command::new(needs).arg("--help").stdin(Stdio::null()).output().is_err() {
        assert!(!in_ci(), "{needs} is missing: CI needs it for {name}");
        writeln!(std::io::stderr(), "SKIPPED: install {needs} for the tests that need {name}").unwrap();
        return None;
    }
    std::fs::create_dir_all(&tools).unwrap();
    let lock = File::create(tools.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !home.exists() {
        // Into a directory beside it first: what has the name is complete.
        let unfinished = tools.join(format!("{name}.unfinished"));
        let _ = std::fs::remove_dir_all(&unfinished);
        std::fs::create_dir(&unfinished).unwrap();
        install(&unfinished);
        std::fs::rename(&unfinished, &home).unwrap();
    }
    Some(home)
}

/// A virtual environment in `home` with these packages.
pub(crate) fn install_python_packages(home: &Path, packages: &[&str]) {
    run(Command::new("python3").args(["-m", "venv"]).arg(home));
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(home.join("bin/python")).args(pip).args(packages));
}

/// A Go program at `package`, built from the module proxy. None where Go is missing.
pub(crate) fn go_tool(name: &str, package: &str, version: &str) -> Option<PathBuf> {
    built(name, version, |home| {
        run(go(home, "install").env("GOBIN", home).arg(format!("{package}@{version}")));
        std::fs::rename(home.join(package.rsplit('/').next().unwrap()), home.join(name))
    })
}

/// The Go program in `tests/NAME`, of main.go and these further files. None where Go is missing.
pub(crate) fn own_go_tool(name: &str, further: &[&str], what: &str) -> Option<PathBuf> {
    let folder = checkout("tests").join(name);
    let mut digest = Context::new(&SHA256);
    let files = ["go.mod", "go.sum", "main.go"].iter().chain(further);
    files.for_each(|file| digest.update(&std::fs::read(folder.join(file)).unwrap()));
    let digest: String = digest.finish().as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let home = installed(&format!("{name}-{digest}"), "go", |home| {
        let mut build = go(&folder, "build");
        build.arg("-o").arg(home.join(name)).arg(".");
        during(what, || run(&mut build));
    })?;
    Some(home.join(name))
}

/// A Go program of a module that replaces others (or must): Go builds it only inside a module that does the same.
pub(crate) struct ReplacingTool<'a> {
    pub(crate) name: &'a str,
    pub(crate) module: &'a str,
    /// Below the module.
    pub(crate) command: &'a str,
    pub(crate) version: &'a str,
    /// As `go mod edit -replace` takes them.
    pub(crate) replace: &'a [&'a str],
    pub(crate) flags: &'a [&'a str],
}

impl ReplacingTool<'_> {
    /// As [`go_tool`].
    pub(crate) fn build(&self) -> Option<PathBuf> {
        built(self.name, self.version, |home| {
            let module = |arguments: &[&str]| run(Command::new("go").current_dir(home).arg("mod").args(arguments));
            module(&["init", "keyrota.dev/tools"]);
            module(&["edit", "-require", &format!("{}@{}", self.module, self.version)]);
            self.replace.iter().for_each(|replace| drop(module(&["edit", "-replace", replace])));
            let package = format!("{}/{}", self.module, self.command);
            run(go(home, "build").arg("-mod=mod").args(self.flags).args(["-o", self.name, &package]));
            Ok(())
        })
    }
}

fn built(name: &str, version: &str, build: impl FnOnce(&Path) -> std::io::Result<()>) -> Option<PathBuf> {
    let home = installed(&format!("{name}-{version}"), "go", |home| {
        let what = format!("building {name} {version}, once, into {}", home.parent().unwrap().display());
        during(&what, || build(home)).unwrap();
    })?;
    Some(home.join(name))
}

fn go(home: &Path, command: &str) -> Command {
    let mut go = Command::new("go");
    // A workspace above the cache is none of this program's business.
    go.env("CGO_ENABLED", "0").env("GOWORK", "off").current_dir(home);
    go.args([command, "-trimpath", "-ldflags", "-s -w"]);
    go
}

/// Runs a slow check, unless it has passed with the same input before.
pub(crate) fn unless_passed(checker: &str, input: &str, check: impl FnOnce()) {
    let digest = digest::digest(&digest::SHA256, input.as_bytes());
    let digest: String = digest.as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    let stamps = Environment::from_process().cache_home.expect("there is a home directory").join("keyrota/passed");
    let stamp = stamps.join(format!("{checker}-{digest}"));
    if stamp.exists() {
        writeln!(std::io::stderr(), "{checker} has passed with this input before: {}", stamp.display()).unwrap();
        return;
    }
    check();
    std::fs::create_dir_all(&stamps).unwrap();
    File::create(stamp).unwrap();
}

/// CI systems call a job hung when it says nothing for minutes.
const STILL_AT_IT: Duration = Duration::from_secs(10);

/// Says on stderr, past the test harness' capture, what takes so long and for how long it has.
pub(crate) fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let say = |text: &str| writeln!(std::io::stderr(), "{what}{text}").unwrap();
    let started = Instant::now();
    say(" …");
    let (done, waiting) = mpsc::channel::<()>();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(move || {
            while waiting.recv_timeout(STILL_AT_IT) == Err(mpsc::RecvTimeoutError::Timeout) {
                say(&format!(" … {} s", started.elapsed().as_secs()));
            }
        });
        // Moved in, so that a panic of the work ends the waiting too.
        let _done = done;
        work()
    });
    say(&format!(": done in {:.0} s", started.elapsed().as_secs_f64()));
    outcome
}

/// Runs a command that must succeed, and returns what it prints.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Where nothing may be left out.
#[expect(clippy::disallowed_methods, reason = "only a test asks whether it runs in CI")]
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}
