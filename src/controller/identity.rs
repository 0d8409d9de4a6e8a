//! The gateway's own identity in the controller's Pod: a short-lived token of its service account, in a volume that both
//! containers share. The Pod's own token is mounted in the controller's container alone, so the gateway can do nothing
//! but what its own account may.
//!
//! Every replica does this, leader or not: each has a gateway beside it.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::TimeDelta;
use clap::Args;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};

use super::calls::call;
use super::error::Error;
use crate::clock::SharedClock;
use crate::config::ClusterArgs;
use crate::domain::renewal::{self, LIFETIME};

/// Where the gateway's identity goes.
#[derive(Args, Clone, Debug)]
pub struct IdentityArgs {
    /// Keep a short-lived identity for a gateway in the same Pod in this directory: token, ca.crt and namespace, as in
    /// /var/run/secrets/kubernetes.io/serviceaccount
    #[arg(long, env = "KEYROTA_GATEWAY_IDENTITY_DIR", value_name = "DIR")]
    pub gateway_identity_dir: Option<PathBuf>,

    /// The gateway's service account in the operator namespace, for which the identity is made
    #[arg(long, env = "KEYROTA_GATEWAY_SERVICE_ACCOUNT", default_value = "keyrota-gateway", value_name = "NAME")]
    pub gateway_service_account: String,
}

/// Keeps the identity fresh.
pub struct Keeper {
    cluster: ClusterArgs,
    accounts: Api<ServiceAccount>,
    account: String,
    directory: PathBuf,
    clock: SharedClock,
}

impl Keeper {
    /// None where no directory is given.
    pub fn new(args: &IdentityArgs, cluster: &ClusterArgs, client: &Client, clock: &SharedClock) -> Option<Self> {
        Some(Self {
            directory: args.gateway_identity_dir.clone().filter(|directory| !directory.as_os_str().is_empty())?,
            account: args.gateway_service_account.clone(),
            accounts: Api::namespaced(client.clone(), &cluster.operator_namespace),
            cluster: cluster.clone(),
            clock: clock.clone(),
        })
    }

    /// For ever: failures are logged and tried again, and the gateway goes on with the token it has.
    pub async fn run(self) {
        let mut failures = 0_u32;
        loop {
            let pause = match self.renew().await {
                Ok(granted) => {
                    failures = 0;
                    let (account, seconds) = (&self.account, granted.as_secs());
                    tracing::info!(account, seconds, "the gateway has a fresh identity");
                    renewal::after_success(granted)
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    let pause = renewal::after_failure(failures);
                    let seconds = pause.as_secs();
                    tracing::warn!(
                        error = format!("{error:#}"),
                        seconds,
                        "the gateway's identity is not renewed; tried again"
                    );
                    pause
                }
            };
            self.wait(pause).await;
        }
    }

    /// By whichever clock is first: one that is set back must not let the token run out, and one that stood while the
    /// machine slept neither.
    async fn wait(&self, pause: Duration) {
        let due = self.clock.now() + TimeDelta::from_std(pause).unwrap_or_default();
        tokio::select! {
            () = self.clock.wait_until(due) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    async fn renew(&self) -> anyhow::Result<Duration> {
        // Read again each time: a cluster's CA changes, too.
        let authority = self.cluster.authority().await?;
        let (token, granted) = self.token().await?;
        write(&self.directory, "ca.crt", authority.as_bytes())?;
        write(&self.directory, "namespace", self.cluster.operator_namespace.as_bytes())?;
        // Last: whoever sees it finds the others.
        write(&self.directory, "token", token.as_bytes())?;
        Ok(granted)
    }

    async fn token(&self) -> anyhow::Result<(String, Duration)> {
        let spec = TokenRequestSpec {
            expiration_seconds: i64::try_from(LIFETIME.as_secs()).ok(),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer: Result<TokenRequest, Error> = call(
            || format!("get a token of the service account {}", self.account),
            self.accounts.create_token_request(&self.account, &PostParams::default(), &request),
        )
        .await;
        let TokenRequest { spec, status, .. } = answer?;
        let token = status.map(|status| status.token).unwrap_or_default();
        ensure!(!token.is_empty(), "the API server granted a token without a text");
        let granted = spec.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Ok((token, granted.map_or(LIFETIME, Duration::from_secs)))
    }
}

/// By rename, so that nobody reads half of it; for the Pod's user alone.
fn write(directory: &Path, name: &str, content: &[u8]) -> anyhow::Result<()> {
    let shown = || format!("cannot write {name} into {}", directory.display());
    let mut file = tempfile::Builder::new()
        .prefix(".")
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)
        .with_context(shown)?;
    file.write_all(content).with_context(shown)?;
    file.persist(directory.join(name)).with_context(shown)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "token", b"a longer one").unwrap();
        write(directory.path(), "token", b"new").unwrap();
        let file = directory.path().join("token");
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(directory.path().read_dir().unwrap().count(), 1, "nothing unfinished stays");
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = format!("{:#}", write(Path::new("/nowhere"), "token", b"secret").unwrap_err());
        assert!(error.starts_with("cannot write token into /nowhere: ") && !error.contains("secret"), "{error}");
    }
}
