//! One mail as it goes over the wire (RFC 5322).

use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Written, MultiPart};

use super::session::MailError;
use crate::api::Timestamp;

/// A mail to one address.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The address.
    pub to: String,
    /// What stands before the `@` of its Message-ID; the same mail sent twice has the same.
    pub id: String,
    /// The subject.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
    /// When it was written.
    pub date: Timestamp,
}

/// A mail in bytes, with its envelope.
pub struct Message {
    pub(super) sender: Address,
    pub(super) recipient: Address,
    pub(super) bytes: Vec<u8>,
}

/// RFC 3834: no machine shall answer, no holiday be announced.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Message {
    /// Writes a mail.
    ///
    /// # Errors
    /// When the address is none.
    pub fn write(from: &Mailbox, mail: &Mail) -> Result<Self, MailError> {
        let recipient: Address = mail.to.parse().map_err(|_| MailError::no_address())?;
        let seconds = u64::try_from(mail.date.unix()).unwrap_or_default();
        let written = Written::builder()
            .from(from.clone())
            .to(Mailbox::new(None, recipient.clone()))
            .subject(one_line(&mail.subject))
            .date(UNIX_EPOCH + Duration::from_secs(seconds))
            .message_id(Some(format!("<{}@{}>", one_line(&mail.id), from.email.domain())))
            .header(AutoSubmitted)
            .multipart(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()))
            .map_err(|_| MailError::no_address())?;
        Ok(Self { sender: from.email.clone(), recipient, bytes: written.formatted() })
    }
}

/// A line break in a header would begin another one.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(to: &str, subject: &str) -> Mail {
        let date = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
        Mail {
            to: to.into(),
            id: "notice-u-1-7".into(),
            subject: subject.into(),
            text: "plain\n.\nFrom here".into(),
            html: "<p>markup</p>".into(),
            date,
        }
    }

    fn written(to: &str, subject: &str) -> Result<String, MailError> {
        let from: Mailbox = "Keyrota <keyrota@example.com>".parse().unwrap();
        Message::write(&from, &mail(to, subject)).map(|message| String::from_utf8(message.bytes).unwrap())
    }

    #[test]
    fn a_mail_has_a_stable_id_says_a_machine_wrote_it_and_has_both_forms() {
        let text = written("team@example.com", "[Keyrota] it expires").unwrap();
        for line in [
            "Message-ID: <notice-u-1-7@example.com>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "To: team@example.com\r\n",
            "Subject: [Keyrota] it expires\r\n",
            "Date: Sat, 21 Nov 2026 12:00:00 +0000\r\n",
            "Content-Type: multipart/alternative;",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "Content-Type: text/html; charset=utf-8\r\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.find("text/plain") < text.find("text/html"), "the best form is the last one");
    }

    #[test]
    fn nobody_gets_a_header_in() {
        let text = written("team@example.com", "x\r\nBcc: evil@evil.org\u{85}\u{2028}é").unwrap();
        let headers = text.split("\r\n\r\n").next().unwrap();
        assert!(!headers.lines().any(|line| line.starts_with("Bcc")), "{headers}");
        assert!(!headers.contains('é'), "a header is ASCII: {headers}");
        for to in ["a@b.c\r\nBcc: evil@evil.org", "a@b.c, evil@evil.org", "A <a@b.c>", "a@b.c>", ""] {
            assert!(written(to, "x").is_err(), "{to:?}");
        }
    }
}
