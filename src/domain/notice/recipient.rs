//! Who is told, and whom the mailer may write to.

use super::{Channel, Delivery};

/// One that a notice goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// By which way.
    pub channel: Channel,
    /// The mail address; nothing else has one.
    pub to: Option<String>,
    /// Why nothing can be sent there, as the settings are.
    pub refused: Option<String>,
}

/// What the operator was given to send with.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    /// The domains that mail may go to; none when there is no mail server.
    pub mail: Option<&'a MailDomains>,
    /// Whether there is a key to sign with.
    pub webhook_key: bool,
}

/// Everybody who is told of an account: whoever reads Events always, and by mail its contact and the admins of its
/// issuer, each once.
#[must_use]
pub fn recipients(contact: Option<&str>, admins: &[String], webhook: bool, means: Means<'_>) -> Vec<Recipient> {
    let mut all = vec![Recipient::of(Channel::Event)];
    if let Some(domains) = means.mail {
        for address in contact.into_iter().chain(admins.iter().map(String::as_str)) {
            let address = normal(address);
            if !all.iter().any(|known| known.to.as_ref() == Some(&address)) {
                let allowed = domains.allow(&address);
                let refused = (!allowed).then(|| "its domain is not among --mail-domains".to_owned());
                all.push(Recipient { refused, ..Recipient::mail(&address) });
            }
        }
    }
    if webhook {
        let refused = (!means.webhook_key).then(|| "the controller has no --webhook-key-file to sign with".to_owned());
        all.push(Recipient { refused, ..Recipient::of(Channel::Webhook) });
    }
    all
}

impl Recipient {
    /// One without an address.
    #[must_use]
    pub fn of(channel: Channel) -> Self {
        Self { channel, to: None, refused: None }
    }

    /// A mail address.
    #[must_use]
    pub fn mail(address: &str) -> Self {
        Self { channel: Channel::Email, to: Some(address.into()), refused: None }
    }

    pub(super) fn is_of(&self, delivery: &Delivery) -> bool {
        self.channel == delivery.channel && self.to == delivery.to
    }
}

/// The address with its domain in lower case; what stands before the `@` is its server's business.
fn normal(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()),
        None => address.to_owned(),
    }
}

/// The domains that mail may go to; they keep the mailer from being a relay for whoever may create an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailDomains(Vec<String>);

impl MailDomains {
    /// `example.com` is that domain alone, `.example.com` every domain below it, `*` every domain there is.
    #[must_use]
    pub fn new(entries: &[String]) -> Self {
        let entries = entries.iter().map(|entry| entry.trim().trim_start_matches('@').to_ascii_lowercase());
        Self(entries.filter(|entry| !entry.is_empty()).collect())
    }

    /// Whether mail may go to this address. Never to one that is not plainly one address.
    #[must_use]
    pub fn allow(&self, address: &str) -> bool {
        let plain = address.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>,;:\"\\()[]".contains(&byte));
        let Some((local, domain)) = address.split_once('@').filter(|_| plain) else { return false };
        let domain = domain.to_ascii_lowercase();
        let within = |entry: &String| match entry.strip_prefix('.') {
            Some(parent) => domain.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            None => entry == "*" || *entry == domain,
        };
        !local.is_empty() && !domain.is_empty() && !domain.contains('@') && self.0.iter().any(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn domains(entries: &[&str]) -> MailDomains {
        MailDomains::new(&entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>())
    }

    #[rstest]
    #[case("a@example.com", true)]
    #[case("a@EXAMPLE.com", true)]
    #[case("a@evil-example.com", false)]
    #[case("a@example.com.evil.org", false)]
    #[case("a@mail.example.com", false)]
    #[case("a@x.corp.example", true)]
    #[case("a@corp.example", false)]
    #[case("a@.corp.example", false)]
    #[case("a@evil.org@example.com", false)]
    #[case("evil@evil.org,a@example.com", false)]
    #[case("a@example.com\r\nBcc: x@evil.org", false)]
    #[case("\"a\"@example.com", false)]
    #[case("@example.com", false)]
    #[case("a", false)]
    #[case("", false)]
    fn mail_goes_to_allowed_domains_alone(#[case] address: &str, #[case] allowed: bool) {
        assert_eq!(domains(&["Example.com", ".corp.example"]).allow(address), allowed);
    }

    #[test]
    fn no_domain_allows_nobody_and_a_star_everybody() {
        assert!(!domains(&[]).allow("a@example.com") && !domains(&["", " "]).allow("a@example.com"));
        assert!(domains(&["*"]).allow("a@example.com") && !domains(&["*"]).allow("a@b@c"));
    }

    #[test]
    fn contact_and_admins_are_told_once_each_and_what_cannot_be_sent_says_why() {
        let allowed = domains(&["example.com"]);
        let means = Means { mail: Some(&allowed), webhook_key: false };
        let admins = ["team@EXAMPLE.com".to_owned(), "boss@evil.org".to_owned()];
        let all = recipients(Some("team@example.com"), &admins, true, means);
        let shown: Vec<_> = all.iter().map(|r| (r.channel, r.to.as_deref(), r.refused.is_some())).collect();
        let expected = [
            (Channel::Event, None, false),
            (Channel::Email, Some("team@example.com"), false),
            (Channel::Email, Some("boss@evil.org"), true),
            (Channel::Webhook, None, true),
        ];
        assert_eq!(shown, expected);
        let without = recipients(Some("team@example.com"), &admins, false, Means { mail: None, webhook_key: true });
        assert_eq!(without, [Recipient::of(Channel::Event)]);
    }
}
