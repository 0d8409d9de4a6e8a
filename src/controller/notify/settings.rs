//! What notices are sent with.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use kube::Client;

use super::metrics::Metrics;
use super::webhook::{self, KeySource, Keys};
use crate::domain::notice::recipient::Means;
use crate::mail::{MailArgs, Mailer};
use crate::secrets::{LiveSecret, SecretName};

/// Settings of the expiry notices.
#[derive(Args, Clone, Debug)]
pub struct NoticeArgs {
    /// What this cluster is called in expiry notices
    #[arg(long, env = "KEYROTA_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,

    /// A file with the key that webhook notices are signed with, whsec_ and base64; of several, one a line, each signs
    #[arg(long, env = "KEYROTA_WEBHOOK_KEY_FILE", value_name = "FILE")]
    pub webhook_key_file: Option<PathBuf>,

    /// The Secret with these keys under its key `keys`, instead of a file; read for every notice
    #[arg(long, env = "KEYROTA_WEBHOOK_SECRET", value_name = "NAMESPACE/NAME", conflicts_with = "webhook_key_file")]
    pub webhook_secret: Option<SecretName>,

    /// The mail server
    #[command(flatten)]
    pub mail: MailArgs,
}

/// The ways out that there are.
#[derive(Clone, Debug)]
pub struct Ways {
    /// What this cluster is called.
    pub cluster: Option<String>,
    /// The mail server.
    pub mail: Option<Mailer>,
    /// What webhooks are signed with.
    pub webhook_keys: Option<KeySource>,
    /// What webhooks are called with.
    pub http: reqwest::Client,
    /// Counts attempts, over all terms of this process; register it where /metrics is.
    pub metrics: Metrics,
}

impl Ways {
    /// From the settings.
    ///
    /// # Errors
    /// When they contradict each other, or a file cannot be read.
    pub fn new(args: &NoticeArgs, client: &Client) -> anyhow::Result<Self> {
        let keys = match (&args.webhook_secret, &args.webhook_key_file) {
            (Some(name), _) => Some(KeySource::Secret(Box::new(LiveSecret::new(name.clone(), client)))),
            (None, Some(file)) => Some(KeySource::Known(Keys::read(file)?)),
            (None, None) => None,
        };
        Ok(Self {
            cluster: args.cluster_name.clone(),
            mail: Mailer::new(&args.mail, Some(client))?,
            webhook_keys: keys,
            http: webhook::client().context("cannot make a client for webhooks")?,
            metrics: Metrics::default(),
        })
    }

    /// Says in the log what would keep a notice from being sent, months before one is due; then waits for ever.
    pub async fn tell_problems(self) {
        if let Some(mailer) = &self.mail
            && let Err(error) = mailer.check().await
        {
            tracing::warn!(error = format!("{error:#}"), "no mail can be sent at present");
        }
        if let Some(keys) = &self.webhook_keys
            && let Err(error) = keys.now().await
        {
            tracing::warn!(error = format!("{error:#}"), "no webhook can be called at present");
        }
        std::future::pending().await
    }

    /// What of them matters for who is told.
    #[must_use]
    pub fn means(&self) -> Means<'_> {
        Means { mail: self.mail.as_ref().map(Mailer::domains), webhook_key: self.webhook_keys.is_some() }
    }
}
