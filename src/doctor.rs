//! `keyrota doctor`: tries one thing after the other, and says of each whether it works.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use crate::clock::SharedClock;
use crate::config;
use crate::mail::{Mail, MailArgs, MailError, Mailer, Step};

/// What to try.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Send a trial mail to this address, by the mail server of the other flags
    #[arg(long, value_name = "TO", required = true)]
    pub test_mail: String,

    /// The mail server
    #[command(flatten)]
    pub mail: MailArgs,

    /// Path of a kubeconfig file, for --smtp-secret
    #[arg(long, env = "KEYROTA_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// Runs the trials and prints them.
///
/// # Errors
/// The first one that failed.
pub async fn run(args: DoctorArgs, clock: SharedClock) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    test_mail(&args, &clock, |line| drop(writeln!(out, "{line}"))).await
}

/// Sends the trial mail; `say` gets a line for each step.
///
/// # Errors
/// When the mail was not accepted.
pub async fn test_mail(args: &DoctorArgs, clock: &SharedClock, mut say: impl FnMut(&str)) -> anyhow::Result<()> {
    let client = match &args.mail.smtp_secret {
        Some(_) => Some(config::client(args.kubeconfig.as_deref()).await?),
        None => None,
    };
    let mailer = Mailer::new(&args.mail, client.as_ref())?.context("no mail server to test: give --smtp-host")?;
    say(&format!("a trial mail from {} to {} by {}", mailer.sender(), args.test_mail, mailer.server()));
    let now = clock.timestamp();
    let mail = Mail {
        to: args.test_mail.clone(),
        id: format!("trial-{}", now.unix()),
        subject: "[Keyrota] Trial mail".into(),
        text: format!(
            "Expiry notices of Keyrota get through to this address.\n\nSent at {now} by keyrota doctor --test-mail.\n"
        ),
        html: format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><body><p>Expiry notices of Keyrota get through to this address.</p>\n<p>Sent at {now} by <code>keyrota doctor --test-mail</code>.</p></body></html>\n"
        ),
        date: now,
    };
    match mailer.send(&mail, |step, detail| say(&ok(step, detail))).await {
        Ok(()) => Ok(()),
        Err(error) => {
            say(&format!("FAIL  {}: {error}{}", title(error.step), said(&error)));
            bail!("the trial mail was not sent: {}", remedy(error.step))
        }
    }
}

fn ok(step: Step, detail: &str) -> String {
    let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    format!("ok    {}{detail}", title(step))
}

fn said(error: &MailError) -> String {
    if error.said.is_empty() { String::new() } else { format!(" [{}]", error.said) }
}

fn title(step: Step) -> &'static str {
    match step {
        Step::Allowed => "the address may be written to",
        Step::Resolved => "the server's name resolves",
        Step::Connected => "the server can be reached",
        Step::Encrypted => "TLS is up and the certificate is good",
        Step::Greeted => "the server speaks SMTP",
        Step::LoggedIn => "the server takes the username and password",
        Step::Sender => "the server takes the sender",
        Step::Recipient => "the server takes the recipient",
        Step::Accepted => "the server has accepted the mail",
    }
}

fn remedy(step: Step) -> &'static str {
    match step {
        Step::Allowed => "check the address and --mail-domains",
        Step::Resolved => "check --smtp-host and the DNS of this machine or Pod",
        Step::Connected => "check --smtp-port, firewalls and NetworkPolicies",
        Step::Encrypted => "check --smtp-tls, and --smtp-ca-file if the server's certificate is not a public one",
        Step::Greeted => "check --smtp-port and --smtp-tls: a server that wants TLS from the first byte says nothing",
        Step::LoggedIn => "check --smtp-username-file and --smtp-password-file, or the Secret of --smtp-secret",
        Step::Sender => "check --smtp-from, and whether the server wants a login",
        Step::Recipient => "check the address, and whether the server relays mail for this sender",
        Step::Accepted => "ask whoever runs the mail server why it refuses this mail",
    }
}
