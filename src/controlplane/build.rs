//! Builds missing binaries with Go into the cache. The caller holds the lock.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::environment::Environment;
use super::error::{Error, IoContext};
use super::progress;
use super::versions::{Binary, GO_MOD, GO_SUM, go_version, kubernetes_version};

/// Directories of unfinished builds.
const STAGING: &str = "building-";

/// The go command, or the sentence for those who have none.
pub(super) fn find_go(missing: &[Binary], environment: &Environment) -> Result<PathBuf, Error> {
    environment.in_path("go").ok_or_else(|| Error::GoMissing {
        missing: missing.iter().map(|binary| binary.name()).collect::<Vec<_>>().join(", "),
        needs: go_version().to_owned(),
        kubernetes: kubernetes_version().to_string(),
    })
}

/// Builds each of `missing`; what is finished stays, also when a later one fails.
pub(super) async fn build(missing: &[Binary], go: &Path, cache: &Path, lock: &File) -> Result<(), Error> {
    remove_unfinished(cache)?;
    let staging =
        tempfile::Builder::new().prefix(STAGING).tempdir_in(cache).while_doing("creating a directory in", cache)?;
    write(&staging.path().join("go.mod"), GO_MOD)?;
    write(&staging.path().join("go.sum"), GO_SUM)?;
    if !missing.is_empty() {
        let version = kubernetes_version();
        progress::note(&format!(
            "building a Kubernetes {version} control plane from source, once, into {}",
            cache.display()
        ));
    }
    for (done, binary) in missing.iter().enumerate() {
        let what = format!("building {} ({} of {})", binary.name(), done + 1, missing.len());
        progress::during(&what, build_one(*binary, go, staging.path(), lock)).await?;
        let (from, to) = (staging.path().join(binary.name()), cache.join(binary.name()));
        std::fs::rename(&from, &to).while_doing("putting in place", &to)?;
    }
    Ok(())
}

/// A killed process leaves its staging directory; under the lock nobody uses it any more.
fn remove_unfinished(cache: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(cache).while_doing("reading", cache)? {
        let entry = entry.while_doing("reading", cache)?;
        if entry.file_name().to_string_lossy().starts_with(STAGING) {
            std::fs::remove_dir_all(entry.path()).while_doing("removing", &entry.path())?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).while_doing("writing", path)
}

async fn build_one(binary: Binary, go: &Path, staging: &Path, lock: &File) -> Result<(), Error> {
    // Go keeps the lock open as its input: a build that outlives its killed parent is still waited for.
    let lock = lock.try_clone().while_doing("sharing the lock of", staging)?;
    let output = Command::new(go)
        .args([
            "build",
            "-mod=readonly",
            "-trimpath",
            "-ldflags",
            &linker_flags(),
            "-o",
            binary.name(),
            binary.package(),
        ])
        .current_dir(staging)
        .env("CGO_ENABLED", "0")
        // A workspace or vendor directory above the cache is none of this module's business.
        .env("GOWORK", "off")
        .stdin(Stdio::from(lock))
        .kill_on_drop(true)
        .output()
        .await
        .while_doing("running", go)?;
    if output.status.success() {
        return Ok(());
    }
    Err(explain(binary, go, staging, &String::from_utf8_lossy(&output.stderr)))
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
    use super::*;

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
