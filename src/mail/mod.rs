//! Mail over SMTP: what expiry notices and `keyrota doctor --test-mail` go out by.

mod args;
mod message;
mod session;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use secrecy::SecretString;

pub use args::{MailArgs, TlsUse};
pub use message::{Mail, Message};
pub use session::{Blame, MailError, Step};

use crate::domain::notice::recipient::MailDomains;

/// How long one mail may take, from the first look-up of the server to its last word.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A way to a mail server.
#[derive(Clone, Debug)]
pub struct Mailer {
    host: String,
    port: u16,
    tls: TlsUse,
    trust: Option<Trust>,
    login: Option<LoginFiles>,
    from: Mailbox,
    domains: MailDomains,
}

/// The certificates that the server's is checked against.
#[derive(Clone)]
struct Trust(TlsParameters);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust(for {})", self.0.domain())
    }
}

/// Read for every mail, so that a changed password needs no restart.
#[derive(Clone, Debug)]
struct LoginFiles {
    username: std::path::PathBuf,
    password: std::path::PathBuf,
}

impl Mailer {
    /// From the settings; none without a mail server.
    ///
    /// # Errors
    /// When the settings contradict each other, or a file cannot be read. Said at the start, and not with the first
    /// notice.
    pub fn new(args: &MailArgs) -> anyhow::Result<Option<Self>> {
        let Some(host) = args.smtp_host.clone().filter(|host| !host.is_empty()) else { return Ok(None) };
        let from = args.smtp_from.as_deref().context("--smtp-host needs --smtp-from ADDRESS")?;
        let from: Mailbox = from.parse().with_context(|| format!("--smtp-from {from:?} is no mail address"))?;
        if args.mail_domains.is_empty() {
            bail!("--smtp-host needs --mail-domains, the domains that mail may go to (* for every domain there is)");
        }
        let login = login(args)?;
        if let Some(login) = &login {
            read(&login.username, "--smtp-username-file")?;
            read(&login.password, "--smtp-password-file")?;
        }
        Ok(Some(Self {
            trust: (args.smtp_tls != TlsUse::Off).then(|| trust(&host, args.smtp_ca_file.as_deref())).transpose()?,
            port: args.smtp_port.unwrap_or_else(|| args.smtp_tls.usual_port()),
            tls: args.smtp_tls,
            domains: MailDomains::new(&args.mail_domains),
            host,
            login,
            from,
        }))
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

fn login(args: &MailArgs) -> anyhow::Result<Option<LoginFiles>> {
    match (&args.smtp_username_file, &args.smtp_password_file) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) if args.smtp_tls == TlsUse::Off => {
            bail!("--smtp-tls off would send the password in the clear: use starttls or tls")
        }
        (Some(username), Some(password)) => {
            Ok(Some(LoginFiles { username: username.clone(), password: password.clone() }))
        }
        _ => bail!("--smtp-username-file and --smtp-password-file need each other"),
    }
}

/// The system's certificates, or those of a file and no others.
fn trust(host: &str, ca_file: Option<&Path>) -> anyhow::Result<Trust> {
    let builder = TlsParameters::builder(host.to_owned());
    let builder = match ca_file {
        None => builder,
        Some(file) => {
            let pem = std::fs::read(file).with_context(|| format!("cannot read --smtp-ca-file {}", file.display()))?;
            let certificates = Certificate::from_pem(&pem)
                .with_context(|| format!("--smtp-ca-file {} holds no certificates in PEM", file.display()))?;
            builder.certificate_store(CertificateStore::None).add_root_certificate(certificates)
        }
    };
    builder.build().map(Trust).context("cannot prepare TLS for the mail server")
}

/// A file's text without the line end that editors put there.
fn read(file: &Path, flag: &str) -> anyhow::Result<SecretString> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {flag} {}", file.display()))?;
    Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use rstest::rstest;

    fn mailer(arguments: &[&str]) -> anyhow::Result<Option<Mailer>> {
        crate::server::install_crypto();
        Mailer::new(&config::parse(arguments).unwrap())
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
    fn settings_that_cannot_work_are_told_at_the_start(#[case] more: &[&str], #[case] problem: &str) {
        let error = mailer(&[&["--smtp-host", "mail.example"], more].concat()).unwrap_err();
        assert!(format!("{error:#}").contains(problem), "{error:#}");
    }
}
