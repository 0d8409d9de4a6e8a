//! Builds missing binaries with Go into the cache. The caller holds the lock.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::environment::Environment;
use super::error::{Error, IoContext};
use super::progress;
use super::versions::{Binary, GO_MOD, GO_SUM, go_version, kubernetes_version};
use super::watchdog::{Place, Variables, Watchdog};

/// Directories of unfinished builds.
const STAGING: &str = "building-";
/// How soon the end of a build is noticed.
const BUILD_POLL: Duration = Duration::from_millis(100);

/// The go command, or the sentence for those who have none.
pub(super) fn find_go(missing: &[Binary], environment: &Environment) -> Result<PathBuf, Error> {
    environment.in_path("go").ok_or_else(|| Error::GoMissing {
        missing: missing.iter().map(|binary| binary.name()).collect::<Vec<_>>().join(", "),
        needs: go_version().to_owned(),
        kubernetes: kubernetes_version().to_string(),
    })
}

/// Builds each of `missing`; what is finished stays, also when a later one fails.
pub(super) async fn build(missing: &[Binary], go: &Path, cache: &Path, environment: &Environment) -> Result<(), Error> {
    if missing.is_empty() {
        return Ok(());
    }
    remove_unfinished(cache)?;
    let staging =
        tempfile::Builder::new().prefix(STAGING).tempdir_in(cache).while_doing("creating a directory in", cache)?;
    let mut staging = Watchdog::guard(staging, &environment.path, Variables::Inherited, Place::Here)?;
    let outcome = build_in(&mut staging, missing, go, cache).await;
    let stopped = staging.stop().await;
    outcome.and(stopped)
}

async fn build_in(staging: &mut Watchdog, missing: &[Binary], go: &Path, cache: &Path) -> Result<(), Error> {
    write(&staging.directory().join("go.mod"), GO_MOD)?;
    write(&staging.directory().join("go.sum"), GO_SUM)?;
    let (version, to) = (kubernetes_version(), cache.display());
    progress::note(&format!("building a Kubernetes {version} control plane, once, into {to}"));
    for (done, binary) in missing.iter().enumerate() {
        let what = format!("building {} ({} of {})", binary.name(), done + 1, missing.len());
        progress::during(&what, build_one(*binary, go, cache, staging)).await?;
        let from = staging.directory().join(binary.name());
        let to = cache.join(binary.name());
        std::fs::rename(&from, &to).while_doing("putting in place", &to)?;
    }
    Ok(())
}

/// The machine may have stopped in the middle of a build; under the lock nobody uses it any more.
fn remove_unfinished(cache: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(cache).while_doing("reading", cache)? {
        let entry = entry.while_doing("reading", cache)?;
        if entry.file_name().to_string_lossy().starts_with(STAGING) {
            // A sweeper may be at it as well, so only what stays is worth an error.
            let removed = std::fs::remove_dir_all(entry.path());
            if entry.path().exists() {
                removed.while_doing("removing", &entry.path())?;
            }
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).while_doing("writing", path)
}

/// Runs Go under the watchdog: a build takes minutes, and nobody wants it after they have given up.
async fn build_one(binary: Binary, go: &Path, cache: &Path, staging: &mut Watchdog) -> Result<(), Error> {
    let name = format!("build-{}", binary.name());
    staging.start(&name, Path::new("/usr/bin/env"), &arguments(binary, go))?;
    let status = loop {
        match staging.exit_status(&name) {
            Some(status) => break status,
            None => tokio::time::sleep(BUILD_POLL).await,
        }
    };
    match status.as_str() {
        "0" => Ok(()),
        _ => Err(explain(binary, go, cache, &staging.log(&name))),
    }
}

fn arguments(binary: Binary, go: &Path) -> Vec<OsString> {
    vec![
        "CGO_ENABLED=0".into(),
        // A workspace above the cache is none of this module's business.
        "GOWORK=off".into(),
        go.into(),
        "build".into(),
        "-mod=readonly".into(),
        "-trimpath".into(),
        "-ldflags".into(),
        linker_flags().into(),
        "-o".into(),
        binary.name().into(),
        binary.package().into(),
    ]
}

fn linker_flags() -> String {
    let version = kubernetes_version();
    let set = "-X k8s.io/component-base/version.git";
    format!("-s -w {set}Version={version} {set}Major={} {set}Minor={}", version.major, version.minor)
}

/// Turns Go's many words into the one sentence that helps.
fn explain(binary: Binary, go: &Path, cache: &Path, output: &str) -> Error {
    let says = |needles: &[&str]| needles.iter().any(|needle| output.contains(needle));
    let (name, said) = (binary.name().to_owned(), last_lines(output, 6));
    if says(&["no space left on device", "disk quota exceeded"]) {
        return Error::DiskFull { doing: format!("building {name}"), path: cache.to_owned() };
    }
    if says(&["requires go >=", "unknown directive: tool", "invalid go version", "toolchain not available"]) {
        return Error::GoTooOld { go: go.to_owned(), binary: name, needs: go_version().to_owned(), said };
    }
    let unreachable = ["dial tcp", "no such host", "i/o timeout", "proxyconnect", "module lookup disabled by GOPROXY"];
    if says(&unreachable) {
        return Error::Offline { binary: name, said };
    }
    Error::BuildFailed { binary: name, said }
}

/// The end of a text, where programs say what stopped them.
pub(super) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::{Binaries, fake};
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Provides the binaries with a go command that is this script, in a cache that is empty.
    async fn provide_with(go: &str, within: Duration) -> (tempfile::TempDir, Result<Binaries, Error>) {
        let (go, home) = (fake::program("go", go), tempfile::tempdir().unwrap());
        let environment =
            Environment { path: go.path().into(), cache_home: Some(home.path().to_owned()), ..Environment::default() };
        let provided = tokio::time::timeout(within, Binaries::provide(&environment));
        let given_up = Error::NoCacheHome;
        let outcome = provided.await.unwrap_or(Err(given_up));
        (home, outcome)
    }

    fn in_cache(home: &tempfile::TempDir) -> Vec<String> {
        let versions = home.path().join("keyrota/controlplane").read_dir().unwrap().next();
        let files = versions.unwrap().unwrap().path().read_dir().unwrap();
        let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_is_built_is_put_in_place_and_nothing_else_stays() {
        let go = r#"while [ "$1" != -o ]; do shift; done; touch "$2"; chmod 755 "$2""#;
        let (home, outcome) = provide_with(go, PATIENCE).await;
        let binaries = outcome.unwrap();
        let built = ["build.lock", "etcd", "kube-apiserver", "kube-controller-manager", "kubectl"];
        assert_eq!(in_cache(&home), built);
        assert!(binaries.kubectl.starts_with(home.path()));
    }

    #[tokio::test]
    async fn a_failed_build_leaves_nothing_behind() {
        let (home, outcome) = provide_with("echo 'no space left on device' >&2; exit 1", PATIENCE).await;
        let error = outcome.unwrap_err().to_string();
        assert!(error.starts_with("no space left on the disk while building etcd"), "{error}");
        assert_eq!(in_cache(&home), ["build.lock"]);
    }

    #[tokio::test]
    async fn a_build_that_is_given_up_is_stopped_and_leaves_nothing_behind() {
        let (home, outcome) = provide_with("sleep 1000", Duration::from_secs(1)).await;
        assert!(outcome.is_err());
        let started = std::time::Instant::now();
        while in_cache(&home) != ["build.lock"] {
            assert!(started.elapsed() < PATIENCE, "{:?}", in_cache(&home));
            tokio::time::sleep(BUILD_POLL).await;
        }
    }

    fn explained(output: &str) -> String {
        explain(Binary::Kubectl, Path::new("/go"), Path::new("/cache"), output).to_string()
    }

    #[test]
    fn a_full_disk_is_told_as_such() {
        let error = explained("go: writing output: write /tmp/go-build1/b001/exe/a.out: no space left on device\n");
        assert!(
            error.starts_with("no space left on the disk while building kubectl: free about 3 GB for /cache"),
            "{error}"
        );
    }

    #[test]
    fn an_old_go_is_told_which_one_is_needed() {
        for output in [
            "go: go.mod requires go >= 1.26.0 (running go 1.24.4; GOTOOLCHAIN=local)",
            "go: errors parsing go.mod:\ngo.mod:5: unknown directive: tool",
            "go: errors parsing go.mod:\ngo.mod:3: invalid go version '1.26.0': must match format 1.23",
        ] {
            let error = explained(output);
            assert!(
                error.starts_with("the go command at /go is too old to build kubectl: install Go 1.26.0"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_unreachable_network_is_told_as_such() {
        let error = explained("go: cel.dev/expr@v0.25.1: Get \"x\": dial tcp: lookup x: no such host");
        assert!(error.contains("connect to the network or point GOPROXY"), "{error}");
    }

    #[test]
    fn any_other_failure_carries_the_last_words_of_go() {
        let error = explained("a\nb\nc\nd\ne\nf\nfoo.go:1:1: syntax error\n");
        assert!(error.ends_with("(go said: b\nc\nd\ne\nf\nfoo.go:1:1: syntax error)"), "{error}");
    }

    #[test]
    fn the_linker_stamps_the_version_that_kubernetes_reports() {
        assert_eq!(
            linker_flags(),
            "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
             -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
        );
    }
}
