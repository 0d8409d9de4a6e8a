//! What the mail server is shown, and what its certificate is checked against.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use kube::Client;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use secrecy::{ExposeSecret, SecretString};

use super::{MailArgs, TlsUse};
use crate::secrets::LiveSecret;

/// Where username, password and CA come from; opened for every mail, so that a change needs no restart.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Files of this container, or no login at all.
    Files { trust: Option<Trust>, login: Option<LoginFiles> },
    /// A Secret.
    Secret(Box<LiveSecret>),
}

/// The certificates that the server's is checked against.
#[derive(Clone)]
pub(super) struct Trust(pub(super) TlsParameters);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust(for {})", self.0.domain())
    }
}

#[derive(Clone, Debug)]
pub(super) struct LoginFiles {
    username: PathBuf,
    password: PathBuf,
}

/// For one conversation.
pub(super) struct Access {
    /// None where TLS is off.
    pub(super) trust: Option<Trust>,
    /// None where the server asks for no login.
    pub(super) credentials: Option<Credentials>,
}

impl Source {
    /// # Errors
    /// When the settings contradict each other, or a file cannot be read.
    pub(super) fn new(args: &MailArgs, host: &str, client: Option<&Client>) -> anyhow::Result<Self> {
        if let Some(name) = &args.smtp_secret {
            in_the_clear(args.smtp_tls)?;
            let client = client.context("--smtp-secret needs a cluster")?;
            return Ok(Self::Secret(Box::new(LiveSecret::new(name.clone(), client))));
        }
        let login = login_files(args)?;
        if let Some(login) = &login {
            login.read()?;
        }
        let ca = args.smtp_ca_file.as_deref().map(read_ca).transpose()?;
        let trust = (args.smtp_tls != TlsUse::Off).then(|| trust(host, ca.as_deref(), "--smtp-ca-file")).transpose()?;
        Ok(Self::Files { trust, login })
    }

    /// # Errors
    /// When a file or Secret cannot be read, or holds no such thing; names it, and never a content.
    pub(super) async fn open(&self, host: &str, tls: TlsUse) -> anyhow::Result<Access> {
        match self {
            Self::Files { trust, login } => {
                let credentials = login.as_ref().map(LoginFiles::read).transpose()?;
                Ok(Access { trust: trust.clone(), credentials })
            }
            Self::Secret(secret) => {
                let content = secret.read().await?;
                let credentials = credentials(&content.text("username")?, &content.text("password")?);
                let from = format!("the key ca.crt of {secret:?}");
                let trust = (tls != TlsUse::Off).then(|| trust(host, content.bytes("ca.crt"), &from)).transpose()?;
                Ok(Access { trust, credentials: Some(credentials) })
            }
        }
    }
}

impl LoginFiles {
    fn read(&self) -> anyhow::Result<Credentials> {
        let username = read(&self.username, "--smtp-username-file")?;
        Ok(credentials(&username, &read(&self.password, "--smtp-password-file")?))
    }
}

fn login_files(args: &MailArgs) -> anyhow::Result<Option<LoginFiles>> {
    match (&args.smtp_username_file, &args.smtp_password_file) {
        (None, None) => Ok(None),
        (Some(username), Some(password)) => {
            in_the_clear(args.smtp_tls)?;
            Ok(Some(LoginFiles { username: username.clone(), password: password.clone() }))
        }
        _ => bail!("--smtp-username-file and --smtp-password-file need each other"),
    }
}

fn in_the_clear(tls: TlsUse) -> anyhow::Result<()> {
    match tls {
        TlsUse::Off => bail!("--smtp-tls off would send the password in the clear: use starttls or tls"),
        TlsUse::Starttls | TlsUse::Tls => Ok(()),
    }
}

fn credentials(username: &SecretString, password: &SecretString) -> Credentials {
    Credentials::new(username.expose_secret().to_owned(), password.expose_secret().to_owned())
}

fn read_ca(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read --smtp-ca-file {}", file.display()))
}

/// The system's certificates, or these and no others.
fn trust(host: &str, ca: Option<&[u8]>, from: &str) -> anyhow::Result<Trust> {
    let builder = TlsParameters::builder(host.to_owned());
    let builder = match ca {
        None => builder,
        Some(pem) => {
            let certificates = Certificate::from_pem(pem);
            let certificates = certificates.with_context(|| format!("{from} holds no certificates in PEM"))?;
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
