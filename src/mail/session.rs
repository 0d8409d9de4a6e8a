//! One conversation with a mail server, step by step, so that whoever listens knows how far it came.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection as Connection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use tokio::net::TcpStream;

use super::access::{Access, Trust};
use super::{Mailer, Message, TlsUse};

/// How long one address of the server may take to answer; there may be several.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of a server with very many addresses, as many are tried.
const MOST_ADDRESSES: usize = 4;

/// A step of the conversation, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The address is one that may be written to.
    Allowed,
    /// The server's name has addresses.
    Resolved,
    /// One of them is open.
    Connected,
    /// TLS is up, and the certificate good.
    Encrypted,
    /// It speaks SMTP.
    Greeted,
    /// It knows us.
    LoggedIn,
    /// It takes mail from the sender.
    Sender,
    /// It takes mail for the recipient.
    Recipient,
    /// It has taken the mail.
    Accepted,
}

/// Whose fault it is; what to do follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// No mail gets through at present: leave the server alone for a while.
    Server,
    /// This one does not at present.
    Mail,
    /// This one never will.
    MailForGood,
}

/// Why a mail was not sent. Its text quotes nobody: no address, no credentials, no words of the server.
#[derive(Debug)]
pub struct MailError {
    /// The step that failed.
    pub step: Step,
    /// Whose fault it is.
    pub blame: Blame,
    problem: String,
    /// What the server or the system said, on one line; for the operator's log alone.
    pub said: String,
}

impl fmt::Display for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for MailError {}

impl MailError {
    fn new(step: Step, blame: Blame, problem: impl Into<String>, said: impl fmt::Display) -> Self {
        let said: String = said.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
        Self { step, blame, problem: problem.into(), said }
    }

    pub(super) fn not_allowed() -> Self {
        Self::new(Step::Allowed, Blame::MailForGood, "its domain is not among --mail-domains", "")
    }

    pub(super) fn no_address() -> Self {
        Self::new(Step::Allowed, Blame::MailForGood, "it is no plain mail address", "")
    }

    /// At the step after the last that was made.
    pub(super) fn too_slow(reached: Option<Step>, limit: Duration) -> Self {
        let step = match reached {
            None | Some(Step::Allowed) => Step::Resolved,
            Some(Step::Resolved) => Step::Connected,
            Some(Step::Connected) => Step::Greeted,
            Some(Step::Encrypted | Step::Greeted) => Step::LoggedIn,
            Some(Step::LoggedIn) => Step::Sender,
            Some(Step::Sender) => Step::Recipient,
            Some(Step::Recipient | Step::Accepted) => Step::Accepted,
        };
        let problem = format!("the mail server did not finish within {} s", limit.as_secs());
        Self::new(step, Blame::Server, problem, "")
    }

    /// A refused command: for good when the server says so and it is about this mail.
    fn refused(step: Step, what: &str, error: &SmtpError) -> Self {
        let about_mail = matches!(step, Step::Recipient | Step::Accepted);
        let blame = match (about_mail, error.is_permanent(), error.is_transient()) {
            (true, true, _) => Blame::MailForGood,
            (true, _, true) => Blame::Mail,
            _ => Blame::Server,
        };
        let problem = match error.status() {
            Some(code) => format!("the mail server refused {what} ({code})"),
            None => format!("the mail server broke off at {what}"),
        };
        // What is said to a login may quote it.
        if step == Step::LoggedIn {
            Self::new(step, blame, problem, "")
        } else {
            Self::new(step, blame, problem, error)
        }
    }
}

/// Brings one mail to the server.
pub(super) async fn run(mailer: &Mailer, message: &Message, mut tell: impl FnMut(Step, &str)) -> Result<(), MailError> {
    let access = open(mailer).await?;
    let addresses = resolve(mailer).await?;
    tell(Step::Resolved, &list(&addresses));
    let (stream, address) = connect(&addresses).await?;
    tell(Step::Connected, &address.to_string());
    let mut connection = greet(mailer, access.trust, stream, address, &mut tell).await?;
    if let Some(credentials) = &access.credentials {
        log_in(&mut connection, credentials).await?;
        tell(Step::LoggedIn, "");
    }
    let sender = Mail::new(Some(message.sender.clone()), Vec::new());
    command(&mut connection, sender, Step::Sender, "the sender").await?;
    tell(Step::Sender, message.sender.as_ref());
    let recipient = Rcpt::new(message.recipient.clone(), Vec::new());
    command(&mut connection, recipient, Step::Recipient, "the recipient").await?;
    tell(Step::Recipient, message.recipient.as_ref());
    command(&mut connection, Data, Step::Accepted, "the message").await?;
    let taken = connection.message(&message.bytes).await;
    let taken = taken.map_err(|error| MailError::refused(Step::Accepted, "the message", &error))?;
    tell(Step::Accepted, &taken.first_line().unwrap_or_default().chars().take(100).collect::<String>());
    // It has the mail; how it says goodbye is no matter.
    let _ = connection.quit().await;
    Ok(())
}

/// Before the server is bothered.
async fn open(mailer: &Mailer) -> Result<Access, MailError> {
    let unread = |error: anyhow::Error| {
        let problem = "the credentials for the mail server cannot be read";
        MailError::new(Step::LoggedIn, Blame::Server, problem, format!("{error:#}"))
    };
    mailer.source.open(&mailer.host, mailer.tls).await.map_err(unread)
}

async fn resolve(mailer: &Mailer) -> Result<Vec<SocketAddr>, MailError> {
    let problem = || format!("the mail server's name {} cannot be resolved", mailer.host);
    let failed = |said: &dyn fmt::Display| MailError::new(Step::Resolved, Blame::Server, problem(), said);
    let found = tokio::time::timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((mailer.host.as_str(), mailer.port)));
    let found = found.await.map_err(|late| failed(&late))?.map_err(|error| failed(&error))?;
    let addresses: Vec<SocketAddr> = found.take(MOST_ADDRESSES).collect();
    if addresses.is_empty() { Err(failed(&"it has no addresses")) } else { Ok(addresses) }
}

async fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), MailError> {
    let mut said = Vec::new();
    for address in addresses {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(error)) => said.push(format!("{address}: {error}")),
            Err(_) => said.push(format!("{address}: no answer within {} s", CONNECT_TIMEOUT.as_secs())),
        }
    }
    Err(MailError::new(Step::Connected, Blame::Server, "the mail server cannot be reached", said.join("; ")))
}

/// The greeting, and TLS before or after it.
async fn greet(
    mailer: &Mailer,
    trust: Option<Trust>,
    stream: TcpStream,
    address: SocketAddr,
    tell: &mut impl FnMut(Step, &str),
) -> Result<Connection, MailError> {
    let name = ClientId::Domain(mailer.from.email.domain().to_owned());
    let no_tls = |error: &SmtpError| {
        MailError::new(Step::Encrypted, Blame::Server, "TLS with the mail server cannot be set up", error)
    };
    let no_greeting = |error: &SmtpError| MailError::refused(Step::Greeted, "the greeting", error);
    match (mailer.tls, trust.map(|trust| trust.0)) {
        (TlsUse::Tls, Some(trust)) => {
            // The library connects by itself to speak TLS from the first byte: the open stream was only to tell an
            // unreachable server from one that cannot do TLS.
            drop(stream);
            let connection = Connection::connect_tokio1(address, Some(CONNECT_TIMEOUT), &name, Some(trust), None).await;
            let connection = connection.map_err(|error| no_tls(&error))?;
            tell(Step::Encrypted, "");
            tell(Step::Greeted, connection.server_info().name());
            Ok(connection)
        }
        (TlsUse::Starttls, Some(trust)) => {
            let connection = Connection::connect_with_transport(Box::new(stream), &name).await;
            let mut connection = connection.map_err(|error| no_greeting(&error))?;
            tell(Step::Greeted, connection.server_info().name());
            connection.starttls(trust, &name).await.map_err(|error| no_tls(&error))?;
            tell(Step::Encrypted, "");
            Ok(connection)
        }
        _ => {
            let connection = Connection::connect_with_transport(Box::new(stream), &name).await;
            let connection = connection.map_err(|error| no_greeting(&error))?;
            tell(Step::Greeted, connection.server_info().name());
            Ok(connection)
        }
    }
}

async fn log_in(connection: &mut Connection, credentials: &Credentials) -> Result<(), MailError> {
    let mechanisms = [Mechanism::Plain, Mechanism::Login];
    if connection.server_info().get_auth_mechanism(&mechanisms).is_none() {
        let problem = "the mail server offers neither AUTH PLAIN nor AUTH LOGIN";
        return Err(MailError::new(Step::LoggedIn, Blame::Server, problem, ""));
    }
    let answer = connection.auth(&mechanisms, credentials).await;
    answer.map_err(|error| MailError::refused(Step::LoggedIn, "the username or password", &error))?;
    Ok(())
}

async fn command(
    connection: &mut Connection,
    command: impl fmt::Display,
    step: Step,
    what: &str,
) -> Result<(), MailError> {
    let answer = connection.command(command).await;
    answer.map(|_| ()).map_err(|error| MailError::refused(step, what, &error))
}

fn list(addresses: &[SocketAddr]) -> String {
    let all: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    all.join(", ")
}
