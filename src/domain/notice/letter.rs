//! What a notice says, in each form. Never a secret; and nothing that a tenant wrote freely, or our mail server would
//! carry anybody's message to anybody.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Notice, late_from};
use crate::api::{GROUP, Timestamp};
use crate::domain::account::{Account, SecretSettings};
use crate::domain::record::Record;

/// All that a notice tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What the operator's own cluster is called; a setting.
    pub cluster: Option<String>,
    /// The account's UID.
    pub uid: String,
    /// The account's namespace.
    pub namespace: String,
    /// The account's name.
    pub name: String,
    /// The published Secret's name.
    pub secret: String,
    /// The credential version.
    pub version: i64,
    /// Days before expiry; negative after it.
    pub threshold: i32,
    /// When the notice was due.
    pub due: Timestamp,
    /// When the secret expires.
    pub expires: Timestamp,
    /// Since when its rotation is late; none with rotation Manual.
    pub late_since: Option<Timestamp>,
    /// The value of `spec.regenerate.clientSecret` that makes a new secret.
    pub next_number: i64,
    /// When this is told.
    pub now: Timestamp,
}

impl Facts {
    /// Of a notice of the current version.
    #[must_use]
    pub fn of(
        account: &Account,
        settings: &SecretSettings,
        record: &Record,
        threshold: i32,
        cluster: Option<&str>,
        now: Timestamp,
    ) -> Option<Self> {
        let current = record.current()?;
        let is_it = |notice: &&Notice| (notice.version, notice.threshold) == (current.version, threshold);
        let notice = record.notices.iter().find(is_it)?;
        Some(Self {
            cluster: cluster.map(ToOwned::to_owned),
            uid: account.owner.uid.clone(),
            namespace: account.owner.namespace.clone(),
            name: account.owner.name.clone(),
            secret: settings.secret_name.clone(),
            version: current.version,
            threshold,
            due: notice.due_time,
            expires: current.not_after,
            late_since: late_from(account, settings, current),
            next_number: settings.regenerate_secret.max(record.handled.client_secret).saturating_add(1),
            now,
        })
    }

    /// See [`Notice::id`].
    #[must_use]
    pub fn id(&self) -> String {
        Notice::id(&self.uid, self.version, self.threshold)
    }

    /// Whether the secret has expired when this is told.
    #[must_use]
    pub fn expired(&self) -> bool {
        self.now >= self.expires
    }

    /// One sentence without an end, for a subject or an Event.
    #[must_use]
    pub fn headline(&self) -> String {
        let Self { namespace, name, .. } = self;
        format!("the client secret of {namespace}/{name} {}", self.happening())
    }

    fn happening(&self) -> String {
        let distance = in_words(self.expires.at() - self.now.at());
        if self.expired() { format!("expired {distance} ago") } else { format!("expires in {distance}") }
    }

    /// What to run, each with what it is for.
    fn remedies(&self) -> Vec<(String, String)> {
        let Self { namespace, name, next_number, .. } = self;
        let kubectl = format!("kubectl -n {namespace}");
        let account = format!("serviceaccounts.{GROUP} {name}");
        let mut all = Vec::new();
        if self.late_since.is_some() {
            all.push(("See what is in the way of the rotation:".to_owned(), format!("{kubectl} describe {account}")));
        }
        all.push((
            "Make a new client secret now:".to_owned(),
            format!("{kubectl} patch {account} --type merge -p '{{\"spec\":{{\"regenerate\":{{\"clientSecret\":{next_number}}}}}}}'"),
        ));
        all.push((
            format!("Or, without touching the spec (in Git, set spec.regenerate.clientSecret to {next_number} instead):"),
            format!("{kubectl} annotate --overwrite {account} \"keyrota.dev/regenerate=client-secret@$(date -u +%Y-%m-%dT%H:%M:%SZ)\""),
        ));
        all
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let cluster = self.cluster.as_ref().map(|cluster| ("Cluster", cluster.clone()));
        let rest = [
            ("Namespace", self.namespace.clone()),
            ("Service account", self.name.clone()),
            ("Secret", self.secret.clone()),
            ("Credential version", self.version.to_string()),
            (if self.expired() { "Expired" } else { "Expires" }, self.expires.to_string()),
        ];
        let late = self.late_since.map(|since| ("Rotation late since", since.to_string()));
        cluster.into_iter().chain(rest).chain(late).collect()
    }

    fn consequence(&self) -> &'static str {
        match (self.expired(), self.late_since) {
            (true, _) => "Requests for tokens with it are refused. A new client secret can still be made.",
            (false, None) => "From then on requests for tokens with it are refused. It is not rotated automatically.",
            (false, Some(_)) => {
                "It should have been rotated automatically by now. It works until then; after that, requests for tokens with it are refused."
            }
        }
    }

    fn afterwards(&self) -> String {
        format!(
            "The new client secret appears in the Secret {}. Workloads that read it only when they start have to be restarted.",
            self.secret
        )
    }
}

/// A mail's subject and its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

impl Letter {
    /// Writes it.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        let cluster = facts.cluster.as_ref().map(|cluster| format!(" (cluster {cluster})")).unwrap_or_default();
        let subject = one_line(&format!("[Keyrota] {}{cluster}", capital(&facts.headline())));
        Self { subject, text: text(facts), html: html(facts) }
    }
}

fn text(facts: &Facts) -> String {
    let mut text = format!("{}, at {}.\n{}\n\n", capital(&facts.headline()), facts.expires, facts.consequence());
    for (name, value) in facts.details() {
        text.push_str(&format!("  {:<20}{}\n", format!("{name}:"), one_line(&value)));
    }
    for (purpose, command) in facts.remedies() {
        text.push_str(&format!("\n{purpose}\n\n  {command}\n"));
    }
    text.push_str(&format!("\n{}\n\n-- \n{}\n", facts.afterwards(), signature()));
    text
}

fn html(facts: &Facts) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><body style=\"font-family: sans-serif\">\n<p><strong>{}, at {}.</strong><br>\n{}</p>\n<table>\n",
        escaped(&capital(&facts.headline())),
        facts.expires,
        escaped(facts.consequence())
    );
    for (name, value) in facts.details() {
        html.push_str(&format!("<tr><td>{name}</td><td><code>{}</code></td></tr>\n", escaped(&one_line(&value))));
    }
    html.push_str("</table>\n");
    for (purpose, command) in facts.remedies() {
        html.push_str(&format!("<p>{}</p>\n<pre>{}</pre>\n", escaped(&purpose), escaped(&command)));
    }
    html.push_str(&format!(
        "<p>{}</p>\n<p><small>{}</small></p>\n</body></html>\n",
        escaped(&facts.afterwards()),
        signature()
    ));
    html
}

fn signature() -> &'static str {
    "Sent by Keyrota, because spec.clientSecret.expiryNotifications is on."
}

/// The notice as a CloudEvent 1.0. The same for every attempt but for `expired`, so that a receiver that keeps IDs
/// needs nothing else.
#[must_use]
pub fn cloud_event(facts: &Facts) -> Value {
    let Facts { cluster, uid, namespace, name, secret, version, threshold, due, expires, late_since, .. } = facts;
    let kind = if facts.expired() { "expired" } else { "expiring" };
    json!({
        "specversion": "1.0",
        "id": facts.id(),
        "source": format!("/apis/{GROUP}/v1alpha1/namespaces/{namespace}/serviceaccounts/{name}"),
        "type": format!("dev.keyrota.clientsecret.{kind}"),
        "subject": format!("{namespace}/{name}"),
        "time": due,
        "datacontenttype": "application/json",
        "data": {
            "cluster": cluster,
            "uid": uid,
            "namespace": namespace,
            "name": name,
            "secretName": secret,
            "credentialVersion": version,
            "thresholdDays": threshold,
            "expiresAt": expires,
            "rotationLateSince": late_since,
            "message": facts.headline(),
        },
    })
}

/// A span for people, in its two largest units; rounded, so that the second that sending took does not make 7 days
/// "6 days 23 hours".
fn in_words(delta: TimeDelta) -> String {
    let seconds = delta.num_seconds().abs();
    let unit = if seconds >= 2 * 86_400 { 3600 } else { 60 };
    let rounded = (seconds + unit / 2) / unit * unit;
    let parts = [(rounded / 86_400, "day"), (rounded % 86_400 / 3600, "hour"), (rounded % 3600 / 60, "minute")];
    let plural = |count: i64| if count == 1 { "" } else { "s" };
    let shown = parts.iter().filter(|(count, _)| *count > 0).take(2);
    let shown: Vec<String> = shown.map(|(count, unit)| format!("{count} {unit}{}", plural(*count))).collect();
    if shown.is_empty() { "less than a minute".into() } else { shown.join(" ") }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// No line break and no other control character gets into a header.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notice::samples::{Sample, at, seconds};
    use rstest::rstest;

    fn facts(sample: &mut Sample, threshold: i32, now: Timestamp) -> Facts {
        sample.plan(now);
        Facts::of(&sample.account, sample.settings(), &sample.record, threshold, Some("prod"), now).unwrap()
    }

    #[test]
    fn a_letter_says_what_where_when_and_exactly_what_to_do() {
        let facts = facts(&mut Sample::manual(100), 7, at(93));
        let Letter { subject, text, html } = Letter::of(&facts);
        assert_eq!(subject, "[Keyrota] The client secret of shop/exporter expires in 7 days (cluster prod)");
        for part in [
            "expires in 7 days, at 2027-04-25T08:00:00Z.",
            "Namespace:          shop",
            "Cluster:            prod",
            "kubectl -n shop patch serviceaccounts.keyrota.dev exporter --type merge -p '{\"spec\":{\"regenerate\":{\"clientSecret\":1}}}'",
            "\"keyrota.dev/regenerate=client-secret@$(date -u +%Y-%m-%dT%H:%M:%SZ)\"",
            "exporter-credentials",
        ] {
            assert!(text.contains(part), "{part}: {text}");
            assert!(html.contains(&escaped(part)) || part.contains(":  "), "{part}: {html}");
        }
    }

    #[test]
    fn after_the_end_and_of_a_late_rotation_it_says_so() {
        let after = Letter::of(&facts(&mut Sample::manual(100), -1, at(101)));
        assert!(after.subject.contains("expired 1 day ago") && after.text.contains("can still be made"));
        let mut late = Sample::automatic(180);
        let since = late_from(&late.account, late.settings(), late.current()).unwrap();
        let letter = Letter::of(&facts(&mut late, 1, since));
        assert!(letter.text.contains("See what is in the way") && letter.text.contains("Rotation late since"));
    }

    #[test]
    fn markup_and_line_breaks_in_a_setting_stay_text() {
        let mut facts = facts(&mut Sample::manual(100), 7, at(93));
        facts.cluster = Some("<b>&\"x'\r\nBcc: evil@evil.org".into());
        let Letter { subject, html, text } = Letter::of(&facts);
        assert!(!subject.contains(['\r', '\n']) && !text.contains("\nBcc"));
        assert!(html.contains("&lt;b&gt;&amp;&quot;x&#39;") && !html.contains("<b>"), "{html}");
    }

    #[test]
    fn a_cloud_event_has_what_the_standard_asks_for_and_stays_the_same() {
        let mut sample = Sample::manual(100);
        let event = cloud_event(&facts(&mut sample, 7, at(93)));
        assert_eq!(
            (&event["specversion"], &event["type"]),
            (&json!("1.0"), &json!("dev.keyrota.clientsecret.expiring"))
        );
        assert_eq!(event["id"], "notice-uid-1-1-7");
        assert_eq!(event["time"], json!(at(93)));
        let later = cloud_event(&facts(&mut sample, 7, at(95)));
        assert_eq!(
            (&event["id"], &event["time"], &event["data"]["expiresAt"]),
            (&later["id"], &later["time"], &later["data"]["expiresAt"])
        );
    }

    #[rstest]
    #[case(7 * 86_400 - 3, "7 days")]
    #[case(86_400 + 3, "1 day")]
    #[case(85_800, "23 hours 50 minutes")]
    #[case(-600, "10 minutes")]
    #[case(20, "less than a minute")]
    #[case(3 * 86_400 + 5 * 3600, "3 days 5 hours")]
    fn a_span_reads_as_people_say_it(#[case] span: i64, #[case] words: &str) {
        assert_eq!(in_words(seconds(span)), words);
    }
}
