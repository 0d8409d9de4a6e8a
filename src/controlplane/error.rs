//! What can go wrong with a control plane: one sentence each, with the remedy.

use std::io;
use std::path::PathBuf;

/// Why a control plane could not be provided, started or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Binaries are missing and there is no Go to build them with.
    #[error(
        "{missing} must be built and no go command is in PATH: install Go {needs} or newer, or set KUBEBUILDER_ASSETS to a directory that holds Kubernetes {kubernetes} binaries"
    )]
    GoMissing {
        /// The binaries that nobody provides.
        missing: String,
        /// The oldest Go that builds them.
        needs: String,
        /// The Kubernetes version that is wanted.
        kubernetes: String,
    },
    /// The installed Go cannot build this Kubernetes.
    #[error("the go command at {go} is too old to build {binary}: install Go {needs} or newer (it said: {said})")]
    GoTooOld {
        /// The command that was run.
        go: PathBuf,
        /// What was to be built.
        binary: String,
        /// The oldest Go that builds it.
        needs: String,
        /// The words of the go command.
        said: String,
    },
    /// Go could not download the modules.
    #[error(
        "go could not download what {binary} is built from: connect to the network or point GOPROXY at a module proxy that can be reached, then run again (it said: {said})"
    )]
    Offline {
        /// What was to be built.
        binary: String,
        /// The words of the go command.
        said: String,
    },
    /// A disk is full.
    #[error(
        "no space left on the disk while {doing}: free about 3 GB for {path}, the temporary directory and the Go build cache, then run again"
    )]
    DiskFull {
        /// What was being done.
        doing: String,
        /// Where it was being done.
        path: PathBuf,
    },
    /// A build failed for another reason.
    #[error("building {binary} failed: check the Go installation with `go env`, then run again (go said: {said})")]
    BuildFailed {
        /// What was to be built.
        binary: String,
        /// The words of the go command.
        said: String,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` says where binaries can be kept.
    #[error("there is no place to keep the built binaries: set XDG_CACHE_HOME or HOME")]
    NoCacheHome,
    /// Every port that was picked was taken before the server could bind it.
    #[error(
        "kube-apiserver found its port on 127.0.0.1 taken {attempts} times in a row: stop whatever opens ports that fast, then run again"
    )]
    PortTaken {
        /// How many ports were tried.
        attempts: usize,
    },
    /// The path of the data directory is too long for a socket.
    #[error("the socket path {path} is longer than the operating system accepts: set TMPDIR to a shorter path")]
    SocketPathTooLong {
        /// The path that does not fit.
        path: PathBuf,
    },
    /// A server ended on its own.
    #[error("{server} ended with status {status}: see why in the end of its log and run again\n{log}")]
    Exited {
        /// The server.
        server: &'static str,
        /// Its exit status.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// A server did not become ready in time.
    #[error(
        "{server} was not ready after {seconds} s: give the machine more time or more processors, or see the end of its log\n{log}"
    )]
    NotReady {
        /// The server.
        server: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// The servers survived being killed.
    #[error(
        "the control plane in {path} did not stop within {seconds} s: end process group {group} by hand and remove the directory"
    )]
    NotStopped {
        /// The data directory.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
        /// The process group of the servers.
        group: u32,
    },
    /// A server cannot be given this argument.
    #[error("{what} contains a line break, which cannot be passed on: remove it")]
    LineBreak {
        /// What contains it.
        what: String,
    },
    /// A certificate could not be made.
    #[error("a certificate could not be made, check the user name and group for unusual characters: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A kubeconfig could not be written or read back.
    #[error("a kubeconfig of the control plane could not be {doing}: {source}")]
    Kubeconfig {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API server refused a request.
    #[error("{doing} failed at the control plane: {source}")]
    Api {
        /// What was being done.
        doing: String,
        /// What the API server or the client said.
        source: Box<kube::Error>,
    },
    /// The operating system refused something.
    #[error("{doing} {path} failed: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Says what was being done to which file when the operating system refused it.
pub(super) trait IoContext<T> {
    fn while_doing(self, doing: &'static str, path: &std::path::Path) -> Result<T, Error>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn while_doing(self, doing: &'static str, path: &std::path::Path) -> Result<T, Error> {
        self.map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::DiskFull { doing: doing.to_owned(), path: path.to_owned() }
            }
            _ => Error::Io { doing, path: path.to_owned(), source },
        })
    }
}
