//! What the control plane reads from the environment of the process, read in one place.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Where binaries are looked for and kept.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `KUBEBUILDER_ASSETS`: binaries somebody downloaded for envtest.
    pub kubebuilder_assets: Option<PathBuf>,
    /// `KEYROTA_ANY_KUBERNETES`: whether they are meant although they are of another minor version (`just floor`).
    pub any_minor_version: bool,
    /// `PATH`: other binaries, and the go command.
    pub path: OsString,
    /// `XDG_CACHE_HOME`, or `.cache` in the home directory.
    pub cache_home: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process.
    pub fn from_process() -> Self {
        let cache_home = directory("XDG_CACHE_HOME").or_else(|| directory("HOME").map(|home| home.join(".cache")));
        Self {
            kubebuilder_assets: directory("KUBEBUILDER_ASSETS"),
            any_minor_version: variable("KEYROTA_ANY_KUBERNETES").is_some(),
            path: variable("PATH").unwrap_or_default(),
            cache_home,
        }
    }

    /// The file called `name` in the first directory of `PATH` that has an executable one.
    pub(super) fn in_path(&self, name: &str) -> Option<PathBuf> {
        self.all_in_path(name).next()
    }

    /// Every executable file called `name` in `PATH`, in order.
    pub(super) fn all_in_path(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        std::env::split_paths(&self.path)
            .filter(|directory| directory.is_absolute())
            .map(move |directory| directory.join(name))
            .filter(|file| is_executable(file))
    }
}

/// Whether `file` is a file that may be run.
pub(super) fn is_executable(file: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// A relative path would mean another directory after every `cd`, so the XDG rules ignore it.
fn directory(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[expect(clippy::disallowed_methods, reason = "the one reader of the environment for the control plane")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| value != OsStr::new(""))
}
