//! Tools from package registries: installed once into the cache, offline from then on.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keyrota::controlplane::Environment;

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
