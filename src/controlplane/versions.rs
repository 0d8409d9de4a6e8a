//! Which binaries make a control plane, in which versions: all read from the embedded `go.mod`.

/// The module that builds every binary; made with `go mod tidy`.
pub(super) const GO_MOD: &str = include_str!("go.mod");
/// The checksums Go verifies every download against.
pub(super) const GO_SUM: &str = include_str!("go.sum");

/// One program of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Etcd,
    KubeApiserver,
    KubeControllerManager,
    Kubectl,
    KubeScheduler,
    Kubelet,
    KubeProxy,
}

impl Binary {
    pub(super) const CONTROL_PLANE: [Self; 4] =
        [Self::Etcd, Self::KubeApiserver, Self::KubeControllerManager, Self::Kubectl];
    /// What a cluster with Pods needs besides.
    pub(super) const NODE: [Self; 3] = [Self::KubeScheduler, Self::Kubelet, Self::KubeProxy];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
        }
    }

    /// The Go package that is its `main`.
    pub(super) fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::KubeScheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
            Self::KubeProxy => "k8s.io/kubernetes/cmd/kube-proxy",
        }
    }

    /// The arguments that make it tell its version without talking to a server.
    pub(super) fn version_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kubectl => &["version", "--client"],
            _ => &["--version"],
        }
    }

    /// The version it is built in.
    pub(super) fn wanted(self) -> Version {
        match self {
            Self::Etcd => etcd_version(),
            _ => kubernetes_version(),
        }
    }
}

/// A version as Kubernetes and etcd count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) patch: u32,
}

impl Version {
    /// The first version in what a program printed about itself.
    pub(super) fn find_in(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(Self::parse)
    }

    /// Reads `v1.36.3`, `3.6.8` or `v1.36.0-rc.1`.
    fn parse(word: &str) -> Option<Self> {
        let mut parts = word.strip_prefix('v').unwrap_or(word).splitn(3, '.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        let rest = parts.next()?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let patch = rest[..digits].parse().ok()?;
        Some(Self { major, minor, patch })
    }

    /// Patches of one minor version can stand in for each other; minor versions cannot.
    pub(super) fn can_stand_in_for(self, wanted: Self) -> bool {
        (self.major, self.minor) == (wanted.major, wanted.minor)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

pub(super) fn kubernetes_version() -> Version {
    required_version("k8s.io/kubernetes")
}

pub(super) fn etcd_version() -> Version {
    required_version("go.etcd.io/etcd/server/v3")
}

/// The oldest Go that builds the module.
pub(super) fn go_version() -> &'static str {
    GO_MOD.lines().find_map(|line| line.strip_prefix("go ")).unwrap_or("1.26").trim()
}

/// A test holds that the modules asked for are in `go.mod`, so zero never leaves this file.
fn required_version(module: &str) -> Version {
    GO_MOD
        .lines()
        .filter_map(|line| line.trim_start().trim_start_matches("require ").strip_prefix(module))
        .find_map(|rest| rest.starts_with(' ').then(|| Version::find_in(rest)).flatten())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(major: u32, minor: u32, patch: u32) -> Version {
        Version { major, minor, patch }
    }

    #[test]
    fn go_mod_names_the_versions_that_are_built() {
        assert_eq!(kubernetes_version(), version(1, 36, 3));
        assert_eq!(etcd_version().major, 3);
        assert_eq!(etcd_version().minor, 6);
        assert_eq!(go_version(), "1.26.0");
    }

    #[test]
    fn what_programs_print_about_themselves_is_understood() {
        assert_eq!(Version::find_in("Kubernetes v1.36.3\n"), Some(version(1, 36, 3)));
        assert_eq!(Version::find_in("etcd Version: 3.6.8\nGit SHA: x"), Some(version(3, 6, 8)));
        let dispatcher = "Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0\n";
        assert_eq!(Version::find_in(dispatcher), Some(version(1, 32, 4)));
        assert_eq!(Version::find_in("v1.36.0-rc.1+0a1b2c"), Some(version(1, 36, 0)));
    }

    #[test]
    fn what_is_no_version_is_not_taken_for_one() {
        for text in ["", "v1", "1.36", "1.x.3", "v1.36.", "error: unknown flag: --version", "é.1.2"] {
            assert_eq!(Version::find_in(text), None, "{text:?}");
        }
    }

    #[test]
    fn another_patch_will_do_but_another_minor_version_will_not() {
        let wanted = version(1, 36, 3);
        assert!(version(1, 36, 0).can_stand_in_for(wanted));
        assert!(!version(1, 35, 3).can_stand_in_for(wanted));
        assert!(!version(1, 37, 0).can_stand_in_for(wanted));
        assert!(!version(2, 36, 3).can_stand_in_for(wanted));
    }
}
