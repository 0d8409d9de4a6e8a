//! Mail over SMTP: what expiry notices and `keyrota doctor --test-mail` go out by.

mod access;
mod args;
mod message;
mod session;

use std::time::Duration;

use anyhow::{Context, bail};
use kube::Client;
use lettre::Address;
use lettre::message::Mailbox;

pub use args::{MailArgs, TlsUse};
pub use message::{Mail, Message};
pub use session::{Blame, MailError, Step};

use crate::domain::notice::recipient::MailDomains;
use access::Source;

/// How long one mail may take, from the first look-up of the server to its last word.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A way to a mail server.
#[derive(Clone, Debug)]
pub struct Mailer {
    host: String,
    port: u16,
    tls: TlsUse,
    source: Source,
    from: Mailbox,
    domains: MailDomains,
}

impl Mailer {
    /// From the settings; none without a mail server.
    ///
    /// # Errors
    /// When the settings contradict each other, or a file cannot be read. Said at the start, and not with the first
    /// notice.
    pub fn new(args: &MailArgs, client: Option<&Client>) -> anyhow::Result<Option<Self>> {
        let Some(host) = args.smtp_host.clone().filter(|host| !host.is_empty()) else { return Ok(None) };
        let from = args.smtp_from.as_deref().context("--smtp-host needs --smtp-from ADDRESS")?;
        let from: Mailbox = from.parse().with_context(|| format!("--smtp-from {from:?} is no mail address"))?;
        if args.mail_domains.is_empty() {
            bail!("--smtp-host needs --mail-domains, the domains that mail may go to (* for every domain there is)");
        }
        Ok(Some(Self {
            source: Source::new(args, &host, client)?,
            port: args.smtp_port.unwrap_or_else(|| args.smtp_tls.usual_port()),
            tls: args.smtp_tls,
            domains: MailDomains::new(&args.mail_domains),
            host,
            from,
        }))
    }

    /// Whether the credentials can be had.
    ///
    /// # Errors
    /// When they cannot; names the file or Secret, never a content.
    pub async fn check(&self) -> anyhow::Result<()> {
        self.source.open(&self.host, self.tls).await.map(drop)
    }

    /// Where mail may go to.
    #[must_use]
    pub fn domains(&self) -> &MailDomains {
        &self.domains
    }

    /// The server, for messages.
    #[must_use]
    pub fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The sender's address.
    #[must_use]
    pub fn sender(&self) -> &Address {
        &self.from.email
    }

    /// Sends a mail to one address, within `TIMEOUT`; `tell` hears of every step that was made.
    ///
    /// # Errors
    /// The step that failed, and whether to try again.
    pub async fn send(&self, mail: &Mail, mut tell: impl FnMut(Step, &str)) -> Result<(), MailError> {
        if !self.domains.allow(&mail.to) {
            return Err(MailError::not_allowed());
        }
        let message = Message::write(&self.from, mail)?;
        let mut reached = None;
        let tell = |step, detail: &str| {
            reached = Some(step);
            tell(step, detail);
        };
        let sent = tokio::time::timeout(TIMEOUT, session::run(self, &message, tell)).await;
        sent.unwrap_or_else(|_| Err(MailError::too_slow(reached, TIMEOUT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use rstest::rstest;

    fn mailer(arguments: &[&str]) -> anyhow::Result<Option<Mailer>> {
        crate::server::install_crypto();
        Mailer::new(&config::parse(arguments).unwrap(), None)
    }

    #[test]
    fn without_a_server_there_is_no_mail() {
        assert!(mailer(&[]).unwrap().is_none());
        assert!(mailer(&["--smtp-host", ""]).unwrap().is_none());
    }

    #[rstest]
    #[case("starttls", 587)]
    #[case("tls", 465)]
    #[case("off", 25)]
    fn the_port_follows_from_how_tls_is_used(#[case] tls: &str, #[case] port: u16) {
        let arguments =
            ["--smtp-host", "mail.example", "--smtp-from", "a@b.example", "--mail-domains", "*", "--smtp-tls", tls];
        assert_eq!(mailer(&arguments).unwrap().unwrap().server(), format!("mail.example:{port}"));
    }

    #[rstest]
    #[case("--smtp-username-file")]
    #[case("--smtp-password-file")]
    #[case("--smtp-ca-file")]
    fn a_secret_and_a_file_are_not_both_taken(#[case] flag: &str) {
        let parsed: Result<MailArgs, _> = config::parse(&["--smtp-secret", "mail/smtp", flag, "/file"]);
        assert!(parsed.unwrap_err().to_string().contains("cannot be used with"));
    }

    #[rstest]
    #[case(&[], "needs --smtp-from")]
    #[case(&["--smtp-from", "nobody"], "no mail address")]
    #[case(&["--smtp-from", "a@b.example"], "needs --mail-domains")]
    #[case(&["--smtp-from", "a@b.example", "--mail-domains", "*", "--smtp-username-file", "/u"], "need each other")]
    #[case(
        &["--smtp-from", "a@b.example", "--mail-domains", "*", "--smtp-username-file", "/u", "--smtp-password-file", "/p", "--smtp-tls", "off"],
        "in the clear"
    )]
    #[case(
        &["--smtp-from", "a@b.example", "--mail-domains", "*", "--smtp-username-file", "/nowhere/u", "--smtp-password-file", "/nowhere/p"],
        "cannot read --smtp-username-file"
    )]
    #[case(&["--smtp-from", "a@b.example", "--mail-domains", "*", "--smtp-ca-file", "/nowhere/ca"], "cannot read --smtp-ca-file")]
    #[case(
        &["--smtp-from", "a@b.example", "--mail-domains", "*", "--smtp-secret", "a/b", "--smtp-tls", "off"],
        "in the clear"
    )]
    #[case(&["--smtp-from", "a@b.example", "--mail-domains", "*", "--smtp-secret", "a/b"], "needs a cluster")]
    fn settings_that_cannot_work_are_told_at_the_start(#[case] more: &[&str], #[case] problem: &str) {
        let error = mailer(&[&["--smtp-host", "mail.example"], more].concat()).unwrap_err();
        assert!(format!("{error:#}").contains(problem), "{error:#}");
    }
}
