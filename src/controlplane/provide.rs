//! Finds the four binaries, each on its own: in `KUBEBUILDER_ASSETS`, in `PATH`, in the cache; what
//! is in none of them is built into the cache, by one process at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::environment::{Environment, is_executable};
use super::error::{Error, IoContext};
use super::versions::{Binary, Version, etcd_version, kubernetes_version};
use super::{build, progress};

/// A program that takes longer to tell its version is not one of ours.
const PROBE_WITHIN: Duration = Duration::from_secs(20);
/// How soon the end of another process's build is noticed.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// Where the programs of a control plane are.
#[derive(Debug, Clone)]
pub struct Binaries {
    pub(super) etcd: PathBuf,
    pub(super) kube_apiserver: PathBuf,
    pub(super) kube_controller_manager: PathBuf,
    pub(super) kubectl: PathBuf,
}

impl Binaries {
    /// Finds every binary, building what is missing.
    pub async fn provide(environment: &Environment) -> Result<Self, Error> {
        let [etcd, kube_apiserver, kube_controller_manager, kubectl] =
            provide(Binary::CONTROL_PLANE, environment).await?;
        Ok(Self { etcd, kube_apiserver, kube_controller_manager, kubectl })
    }

    /// The kubectl.
    #[must_use]
    pub fn kubectl(&self) -> &Path {
        &self.kubectl
    }
}

/// Where the programs of a cluster with Pods are, besides those of its control plane and of its containers.
#[derive(Debug, Clone)]
pub struct NodeBinaries {
    /// Finds Pods a node.
    pub kube_scheduler: PathBuf,
    /// Runs Pods.
    pub kubelet: PathBuf,
    /// Makes Services reachable.
    pub kube_proxy: PathBuf,
}

impl NodeBinaries {
    /// Finds every binary, building what is missing.
    pub async fn provide(environment: &Environment) -> Result<Self, Error> {
        let [kube_scheduler, kubelet, kube_proxy] = provide(Binary::NODE, environment).await?;
        Ok(Self { kube_scheduler, kubelet, kube_proxy })
    }
}

async fn provide<const N: usize>(wanted: [Binary; N], environment: &Environment) -> Result<[PathBuf; N], Error> {
    let cache = cache_directory(environment);
    let mut missing = Vec::new();
    for binary in wanted {
        if locate(binary, environment, cache.as_deref()).await.is_none() {
            missing.push(binary);
        }
    }
    if !missing.is_empty() {
        let cache = cache.as_deref().ok_or(Error::NoCacheHome)?;
        build_missing(&missing, environment, cache).await?;
    }
    let mut found = wanted.map(|_| PathBuf::new());
    for (path, binary) in found.iter_mut().zip(wanted) {
        *path = locate(binary, environment, cache.as_deref()).await.ok_or_else(|| Error::BuildFailed {
            binary: binary.name().to_owned(),
            said: "nothing, but the file is gone from the cache again".to_owned(),
        })?;
    }
    Ok(found)
}

/// The cache of exactly these versions for this machine, outside any checkout.
pub(super) fn cache_directory(environment: &Environment) -> Option<PathBuf> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let key = format!("kubernetes-{}-etcd-{}-{os}-{arch}", kubernetes_version(), etcd_version());
    Some(environment.cache_home.as_ref()?.join("keyrota/controlplane").join(key))
}

/// The first binary that fits; the cache is last because whoever sets the others means them.
async fn locate(binary: Binary, environment: &Environment, cache: Option<&Path>) -> Option<PathBuf> {
    let assets = environment.kubebuilder_assets.iter().map(|assets| assets.join(binary.name()));
    if environment.any_minor_version
        && let Some(meant) = assets.clone().find(|candidate| is_executable(candidate))
    {
        return Some(meant);
    }
    for candidate in assets.chain(environment.all_in_path(binary.name())) {
        if is_executable(&candidate) && fits(binary, &candidate).await {
            return Some(candidate);
        }
    }
    cache.and_then(|cache| in_cache(binary, cache))
}

/// What is in the cache needs no probe: only finished builds of this very version get there.
fn in_cache(binary: Binary, cache: &Path) -> Option<PathBuf> {
    Some(cache.join(binary.name())).filter(|path| is_executable(path))
}

async fn fits(binary: Binary, candidate: &Path) -> bool {
    let output =
        Command::new(candidate).args(binary.version_arguments()).stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(PROBE_WITHIN, output).await {
        Ok(Ok(output)) => Version::find_in(&String::from_utf8_lossy(&output.stdout))
            .is_some_and(|version| version.can_stand_in_for(binary.wanted())),
        Ok(Err(_)) | Err(_) => false,
    }
}

async fn build_missing(missing: &[Binary], environment: &Environment, cache: &Path) -> Result<(), Error> {
    // Said before anything is waited for or written: without Go there is nothing to wait for.
    let go = build::find_go(missing, environment)?;
    tell_unfit(missing, environment);
    std::fs::create_dir_all(cache).while_doing("creating the directory", cache)?;
    let lock = lock(cache).await?;
    // Another process may have built some of them while this one waited.
    let missing: Vec<Binary> = missing.iter().copied().filter(|binary| in_cache(*binary, cache).is_none()).collect();
    let built = build::build(&missing, &go, cache, environment).await;
    drop(lock);
    built
}

/// Whoever set `KUBEBUILDER_ASSETS` would otherwise wonder why there is a build.
fn tell_unfit(missing: &[Binary], environment: &Environment) {
    for binary in missing {
        let assets = environment.kubebuilder_assets.as_ref();
        let unfit = assets.map(|assets| assets.join(binary.name()));
        if let Some(unfit) = unfit.filter(|file| is_executable(file)) {
            let (unfit, wanted) = (unfit.display(), binary.wanted());
            progress::note(&format!("{unfit} cannot stand in for {wanted} and is not used"));
        }
    }
}

/// One build at a time: two would take twice as long, and one of them for nothing.
async fn lock(cache: &Path) -> Result<File, Error> {
    let path = cache.join("build.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .read(true)
        .open(&path)
        .while_doing("opening the lock", &path)?;
    if !try_lock(&file, &path)? {
        progress::note(&format!("another process holds {}", path.display()));
        let wait = async {
            while !try_lock(&file, &path)? {
                tokio::time::sleep(LOCK_POLL).await;
            }
            Ok::<(), Error>(())
        };
        progress::during("waiting for its build of the control plane", wait).await?;
    }
    Ok(file)
}

fn try_lock(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(source).while_doing("locking", path),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn kubectl_saying(version: &str) -> tempfile::TempDir {
        fake::program("kubectl", &format!("echo 'Client Version: {version}'"))
    }

    async fn located(assets: &str, path: &str, any: bool) -> &'static str {
        let (assets, path, cache) = (kubectl_saying(assets), kubectl_saying(path), kubectl_saying("v1.36.3"));
        let environment = Environment {
            kubebuilder_assets: Some(assets.path().to_owned()),
            any_minor_version: any,
            path: path.path().into(),
            cache_home: None,
        };
        let found = locate(Binary::Kubectl, &environment, Some(cache.path())).await.unwrap();
        match found.parent() {
            Some(parent) if parent == assets.path() => "assets",
            Some(parent) if parent == path.path() => "path",
            _ => "cache",
        }
    }

    #[tokio::test]
    async fn assets_come_before_path_and_path_before_the_cache() {
        assert_eq!(located("v1.36.0", "v1.36.1", false).await, "assets");
        assert_eq!(located("v1.34.1", "v1.36.1", false).await, "path");
        assert_eq!(located("v1.34.1", "v1.32.4-dispatcher", false).await, "cache");
        assert_eq!(located("not a version", "", false).await, "cache");
    }

    #[tokio::test]
    async fn assets_of_another_minor_version_are_taken_when_they_are_said_to_be_meant() {
        assert_eq!(located("v1.33.13", "v1.36.1", true).await, "assets");
    }

    #[tokio::test]
    async fn the_second_in_path_is_found_when_the_first_does_not_fit() {
        let (first, second) = (kubectl_saying("v1.32.0"), kubectl_saying("v1.36.2"));
        let path = std::env::join_paths([first.path(), second.path()]).unwrap();
        let environment = Environment { path, ..Environment::default() };
        let found = locate(Binary::Kubectl, &environment, None).await;
        assert_eq!(found, Some(second.path().join("kubectl")));
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_run_is_not_taken() {
        let directory = kubectl_saying("v1.36.3");
        let file = directory.path().join("kubectl");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(locate(Binary::Kubectl, &Environment::default(), Some(directory.path())).await, None);
    }

    #[tokio::test]
    async fn missing_go_is_told_with_what_is_missing_and_the_remedy() {
        let home = tempfile::tempdir().unwrap();
        let environment = Environment { cache_home: Some(home.path().to_owned()), ..Environment::default() };
        let error = Binaries::provide(&environment).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "etcd, kube-apiserver, kube-controller-manager, kubectl must be built and no go command is in PATH: \
             install Go 1.26.0 or newer, or set KUBEBUILDER_ASSETS to a directory that holds Kubernetes v1.36.3 binaries"
        );
        assert!(!home.path().join("keyrota").exists(), "nothing is written when nothing can be built");
    }

    #[tokio::test]
    async fn a_second_builder_waits_until_the_first_lets_go() {
        let cache = tempfile::tempdir().unwrap();
        let first = lock(cache.path()).await.unwrap();
        let mut second = tokio::spawn({
            let cache = cache.path().to_owned();
            async move { lock(&cache).await }
        });
        let early = tokio::time::timeout(LOCK_POLL * 3, &mut second).await;
        assert!(early.is_err(), "the lock was given away twice");
        drop(first);
        assert!(second.await.unwrap().is_ok());
    }
}
