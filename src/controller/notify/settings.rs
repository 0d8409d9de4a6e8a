//! What notices are sent with.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::metrics::Metrics;
use super::webhook::{self, Keys};
use crate::domain::notice::recipient::Means;
use crate::mail::{MailArgs, Mailer};

/// Settings of the expiry notices.
#[derive(Args, Clone, Debug)]
pub struct NoticeArgs {
    /// What this cluster is called in expiry notices
    #[arg(long, env = "KEYROTA_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,

    /// A file with the key that webhook notices are signed with, whsec_ and base64; of several, one a line, each signs
    #[arg(long, env = "KEYROTA_WEBHOOK_KEY_FILE", value_name = "FILE")]
    pub webhook_key_file: Option<PathBuf>,

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
    pub webhook_keys: Option<Keys>,
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
    pub fn new(args: &NoticeArgs) -> anyhow::Result<Self> {
        let keys = args.webhook_key_file.as_deref().map(Keys::read).transpose()?;
        Ok(Self {
            cluster: args.cluster_name.clone(),
            mail: Mailer::new(&args.mail)?,
            webhook_keys: keys,
            http: webhook::client().context("cannot make a client for webhooks")?,
            metrics: Metrics::default(),
        })
    }

    /// What of them matters for who is told.
    #[must_use]
    pub fn means(&self) -> Means<'_> {
        Means { mail: self.mail.as_ref().map(Mailer::domains), webhook_key: self.webhook_keys.is_some() }
    }
}
