//! The mail server, as flags and environment name it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::secrets::SecretName;

/// Settings of the mail server.
#[derive(Args, Clone, Debug)]
pub struct MailArgs {
    /// The mail server; without it no mail is sent
    #[arg(long, env = "KEYROTA_SMTP_HOST", value_name = "HOST")]
    pub smtp_host: Option<String>,

    /// Its port [default: 587 with starttls, 465 with tls, 25 with off]
    #[arg(long, env = "KEYROTA_SMTP_PORT", value_name = "PORT")]
    pub smtp_port: Option<u16>,

    /// How it is reached; off only for a relay on this machine or in this Pod
    #[arg(long, env = "KEYROTA_SMTP_TLS", default_value = "starttls", value_name = "MODE")]
    pub smtp_tls: TlsUse,

    /// A file with the username; read for every mail
    #[arg(long, env = "KEYROTA_SMTP_USERNAME_FILE", value_name = "FILE")]
    pub smtp_username_file: Option<PathBuf>,

    /// A file with the password; read for every mail
    #[arg(long, env = "KEYROTA_SMTP_PASSWORD_FILE", value_name = "FILE")]
    pub smtp_password_file: Option<PathBuf>,

    /// The Secret with its keys `username`, `password` and, if wanted, `ca.crt`, instead of these files; read for every
    /// mail
    #[arg(long, env = "KEYROTA_SMTP_SECRET", value_name = "NAMESPACE/NAME", conflicts_with_all = ["smtp_username_file", "smtp_password_file", "smtp_ca_file"])]
    pub smtp_secret: Option<SecretName>,

    /// The certificates in PEM that the mail server's is checked against, instead of the system's
    #[arg(long, env = "KEYROTA_SMTP_CA_FILE", value_name = "FILE")]
    pub smtp_ca_file: Option<PathBuf>,

    /// The sender, as an address or `Name <address>`
    #[arg(long, env = "KEYROTA_SMTP_FROM", value_name = "ADDRESS")]
    pub smtp_from: Option<String>,

    /// The domains that mail may go to, separated by commas: example.com is that one alone, .example.com all below it,
    /// * every domain there is
    #[arg(long, env = "KEYROTA_MAIL_DOMAINS", value_delimiter = ',', value_name = "DOMAINS")]
    pub mail_domains: Vec<String>,
}

/// How TLS is used with a mail server.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsUse {
    /// In the clear first, then STARTTLS; never without it.
    Starttls,
    /// From the first byte.
    Tls,
    /// Not at all.
    Off,
}

impl TlsUse {
    /// RFC 8314: submission, submissions; RFC 5321.
    pub(super) fn usual_port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::Off => 25,
        }
    }
}
