//! The life of an account's credential as a drawing: pure, from its status to lines and marks.
//!
//! ```text
//!            now
//!  v3        │▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓│     current
//!  v2  ▓▓▓▓▓▓│▓▓│                             previous, until its grace ends
//!            │  ◆      ◇     ◇    ▲           notices sent and to come, the next rotation
//! ```

use chrono::TimeDelta;

use super::words::{When, day, exact};
use crate::api::service_account::{Credential, CredentialState, Notification, Reason};
use crate::api::{ServiceAccountStatus, Timestamp};

/// Where time begins and ends, in the units of the drawing.
const LEFT: i64 = 130;
const RIGHT: i64 = 980;
/// The whole width.
pub const WIDTH: i64 = 1000;
const TOP: i64 = 34;
const LANE: i64 = 40;
const BAR: i64 = 18;

/// One credential version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// `Version 3`.
    pub label: String,
    /// Current or Previous.
    pub current: bool,
    /// The left end.
    pub x: i64,
    /// The upper edge.
    pub y: i64,
    /// The length.
    pub width: i64,
    /// From first to last use: left end and length.
    pub used: Option<(i64, i64)>,
    /// The exact times, in words.
    pub title: String,
}

/// What a mark stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A notice that was sent.
    Sent,
    /// A notice to come.
    Coming,
    /// A notice that failed or was passed over.
    Missed,
    /// The next secret is published.
    Rotation,
}

impl Sign {
    /// Its class.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Coming => "coming",
            Self::Missed => "missed",
            Self::Rotation => "rotation",
        }
    }
}

/// A moment below the bars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What it stands for.
    pub sign: Sign,
    /// Where.
    pub x: i64,
    /// What it is and the exact time; a line for each, where several fall together.
    pub title: String,
}

/// A date on the axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Where.
    pub x: i64,
    /// `1 Feb 2027`.
    pub label: String,
}

/// A line of the same in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub time: Timestamp,
    /// The same for the page.
    pub when: When,
    /// What.
    pub what: String,
    /// It lies ahead.
    pub ahead: bool,
}

/// The drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawing {
    /// One for each version, the current first.
    pub bars: Vec<Bar>,
    /// Notices and the rotation.
    pub marks: Vec<Mark>,
    /// Dates.
    pub ticks: Vec<Tick>,
    /// The present.
    pub now: i64,
    /// The line of the marks.
    pub marks_y: i64,
    /// The line of the dates.
    pub axis_y: i64,
    /// The whole height.
    pub height: i64,
    /// All of it in words, in the order of time.
    pub entries: Vec<Entry>,
    /// What it shows, in a sentence.
    pub summary: String,
}

struct Scale {
    from: i64,
    to: i64,
}

impl Scale {
    fn x(&self, time: Timestamp) -> i64 {
        let span = (self.to - self.from).max(1);
        LEFT + (time.unix().clamp(self.from, self.to) - self.from) * (RIGHT - LEFT) / span
    }
}

/// Draws a status as seen at `now`; nothing when there is no credential.
#[must_use]
pub fn draw(status: &ServiceAccountStatus, now: Timestamp) -> Option<Drawing> {
    let credentials = &status.credentials;
    let current = credentials.iter().find(|credential| credential.state == CredentialState::Current)?;
    let begins = credentials.iter().map(|credential| credential.not_before);
    let ends = credentials.iter().map(|credential| credential.not_after);
    let from = begins.chain([now]).min()?;
    let to = ends.chain(status.notifications.iter().map(|notice| notice.due_time)).chain([now]).max()?;
    let margin = TimeDelta::seconds(((to.unix() - from.unix()) / 50).max(1));
    let scale = Scale { from: from.saturating_add(-margin).unix(), to: to.saturating_add(margin).unix() };
    let bars = credentials.iter().zip(0..).map(|(credential, lane)| bar(credential, lane, &scale)).collect::<Vec<_>>();
    let marks_y = TOP + LANE * i64::try_from(bars.len()).unwrap_or_default() + 12;
    let entries = entries(status, now);
    Some(Drawing {
        marks: marks(status, &scale),
        ticks: ticks(&scale),
        now: scale.x(now),
        marks_y,
        axis_y: marks_y + 24,
        height: marks_y + 56,
        summary: summary(current, status, now),
        entries,
        bars,
    })
}

fn bar(credential: &Credential, lane: i64, scale: &Scale) -> Bar {
    let (x, end) = (scale.x(credential.not_before), scale.x(credential.not_after));
    let last = credential.last_used_time.or(credential.first_used_time);
    let used = credential.first_used_time.zip(last).map(|(first, last)| {
        let first = scale.x(first);
        (first, (scale.x(last) - first).max(4))
    });
    Bar {
        label: format!("Version {}", credential.version),
        current: credential.state == CredentialState::Current,
        x,
        y: TOP + LANE * lane + (LANE - BAR) / 2,
        width: (end - x).max(3),
        title: lived(credential),
        used,
    }
}

fn lived(credential: &Credential) -> String {
    let Credential { version, not_before, not_after, .. } = credential;
    let mut text = format!("Version {version}: {} to {}", exact(*not_before), exact(*not_after));
    if let Some((first, last)) = credential.first_used_time.zip(credential.last_used_time) {
        text.push_str(&format!("\nused {} to {}", exact(first), exact(last)));
    }
    text
}

/// One mark for each moment, whatever the number of channels.
fn marks(status: &ServiceAccountStatus, scale: &Scale) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for notice in &status.notifications {
        let (sign, x, title) = (sign(&notice.result), scale.x(notice.due_time), titled(notice));
        match marks.iter_mut().find(|mark| mark.sign == sign && mark.x == x) {
            Some(mark) if mark.title.lines().any(|line| line == title) => {}
            Some(mark) => mark.title = format!("{}\n{title}", mark.title),
            None => marks.push(Mark { sign, x, title }),
        }
    }
    let rotation = |time| Mark { sign: Sign::Rotation, x: scale.x(time), title: format!("{NEXT}, {}", exact(time)) };
    marks.extend(status.next_rotation_time.map(rotation));
    marks
}

fn sign(result: &str) -> Sign {
    match result {
        "Sent" => Sign::Sent,
        "Pending" => Sign::Coming,
        _ => Sign::Missed,
    }
}

/// Five dates, evenly spread.
fn ticks(scale: &Scale) -> Vec<Tick> {
    let span = scale.to - scale.from;
    let short = span < 3 * 86_400;
    let tick = |part: i64| {
        let time =
            Timestamp::from(chrono::DateTime::from_timestamp(scale.from + span * part / 8, 0).unwrap_or_default());
        let label = if short { time.at().format("%-d %b %H:%M").to_string() } else { day(time) };
        Tick { x: scale.x(time), label }
    };
    (0..4).map(|part| tick(part * 2 + 1)).collect()
}

fn entries(status: &ServiceAccountStatus, now: Timestamp) -> Vec<Entry> {
    let mut told: Vec<(Timestamp, String)> = Vec::new();
    for credential in &status.credentials {
        let version = credential.version;
        told.push((credential.not_before, format!("Version {version} begins: {}", reason(credential.reason))));
        told.push((credential.not_after, format!("Version {version} stops working")));
        told.extend(credential.first_used_time.map(|time| (time, format!("Version {version} first used"))));
        told.extend(credential.last_used_time.map(|time| (time, format!("Version {version} last used"))));
    }
    for notice in &status.notifications {
        let line = (notice.sent_time.unwrap_or(notice.due_time), told_of(notice));
        if !told.contains(&line) {
            told.push(line);
        }
    }
    told.extend(status.next_rotation_time.map(|time| (time, NEXT.to_owned())));
    told.sort();
    let entry = |(time, what)| Entry { time, when: When::new(time, now), what, ahead: time > now };
    told.into_iter().map(entry).collect()
}

const NEXT: &str = "The next secret is published";

fn titled(notice: &Notification) -> String {
    format!("{}, {}", told_of(notice), exact(notice.sent_time.unwrap_or(notice.due_time)))
}

fn told_of(notice: &Notification) -> String {
    let days = notice.threshold.unsigned_abs();
    let unit = if days == 1 { "day" } else { "days" };
    let side = if notice.threshold < 0 { "after" } else { "before" };
    let how = match (sign(&notice.result), notice.channel.as_str()) {
        (Sign::Sent, channel) => format!("sent by {channel}"),
        (Sign::Coming, _) => "to come".to_owned(),
        (_, "All") => "passed over".to_owned(),
        (_, channel) => format!("{} by {channel}", notice.result.to_lowercase()),
    };
    format!("Notice {days} {unit} {side} expiry: {how}")
}

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Created => "the account was created",
        Reason::Scheduled => "its time had come",
        Reason::Requested => "somebody asked for it",
        Reason::ClientIdRegenerated => "with a new client ID",
        Reason::Compromised => "the one before was reported as leaked",
        Reason::Repaired => "the published Secret was gone or altered",
    }
}

fn summary(current: &Credential, status: &ServiceAccountStatus, now: Timestamp) -> String {
    let verb = if current.not_after > now { "works until" } else { "stopped working on" };
    let mut text = format!("Version {} {verb} {}", current.version, day(current.not_after));
    if let Some(time) = status.next_rotation_time {
        text.push_str(&format!("; the next one is published on {}", day(time)));
    }
    if let Some(previous) = status.credentials.iter().find(|credential| credential.state == CredentialState::Previous) {
        text.push_str(&format!("; version {} works on until {}", previous.version, day(previous.not_after)));
    }
    text + "."
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::inventory::testing::at;
    use proptest::prelude::*;
    use serde_json::json;

    fn status() -> ServiceAccountStatus {
        serde_json::from_value(json!({
            "observedGeneration": 1, "nextRotationTime": "2027-05-20T12:00:00Z",
            "credentials": [
                {"version": 3, "clientId": "x", "state": "Current", "notBefore": "2026-11-22T12:00:00Z",
                 "notAfter": "2027-05-21T12:00:00Z", "firstUsedTime": "2026-11-22T12:01:00Z",
                 "lastUsedTime": "2026-12-01T12:00:00Z", "reason": "Scheduled"},
                {"version": 2, "clientId": "x", "state": "Previous", "notBefore": "2026-05-26T12:00:00Z",
                 "notAfter": "2026-11-23T12:00:00Z", "reason": "Created"}],
            "notifications": [
                {"threshold": 90, "dueTime": "2027-02-20T12:00:00Z", "channel": "Email", "result": "Pending"},
                {"threshold": 90, "dueTime": "2027-02-20T12:00:00Z", "channel": "Event", "result": "Pending"}],
        }))
        .unwrap()
    }

    #[test]
    fn both_versions_the_notice_and_the_rotation_are_in_their_places() {
        let drawing = draw(&status(), at("2026-12-02T12:00:00Z")).unwrap();
        let [current, previous] = drawing.bars.as_slice() else { panic!("{:?}", drawing.bars) };
        assert!(current.current && !previous.current && current.y < previous.y);
        assert!(previous.x < current.x && previous.x + previous.width < drawing.now, "the previous one is over");
        let (first, length) = current.used.unwrap();
        assert!(first >= current.x && first + length <= drawing.now && previous.used.is_none());
        assert_eq!(drawing.marks.iter().map(|mark| mark.sign).collect::<Vec<_>>(), [Sign::Coming, Sign::Rotation]);
        assert!(drawing.now < drawing.marks[0].x && drawing.marks[0].x < drawing.marks[1].x);
        assert!(drawing.marks[1].x < current.x + current.width);
        assert_eq!(drawing.marks[0].title, "Notice 90 days before expiry: to come, 20 Feb 2027, 12:00:00 UTC");
        assert!(current.title.ends_with("\nused 22 Nov 2026, 12:01:00 UTC to 1 Dec 2026, 12:00:00 UTC"));
    }

    #[test]
    fn the_same_is_told_in_words_in_the_order_of_time() {
        let drawing = draw(&status(), at("2026-12-02T12:00:00Z")).unwrap();
        let told: Vec<_> = drawing.entries.iter().map(|entry| (entry.what.as_str(), entry.ahead)).collect();
        let expected = [
            ("Version 2 begins: the account was created", false),
            ("Version 3 begins: its time had come", false),
            ("Version 3 first used", false),
            ("Version 2 stops working", false),
            ("Version 3 last used", false),
            ("Notice 90 days before expiry: to come", true),
            ("The next secret is published", true),
            ("Version 3 stops working", true),
        ];
        assert_eq!(told, expected);
        let summary = "Version 3 works until 21 May 2027; the next one is published on 20 May 2027; \
                       version 2 works on until 23 Nov 2026.";
        assert_eq!(drawing.summary, summary);
    }

    #[test]
    fn without_a_credential_there_is_nothing_to_draw() {
        assert_eq!(draw(&ServiceAccountStatus::default(), at("2026-12-02T12:00:00Z")), None);
    }

    proptest! {
        #[test]
        fn nothing_is_drawn_beside_the_paper(begin in 0i64..4_000_000_000, life in 0i64..40_000_000, due in -400i64..400, now in 0i64..4_000_000_000) {
            let time = |seconds: i64| Timestamp::from(chrono::DateTime::from_timestamp(seconds, 0).unwrap());
            let mut status = status();
            status.credentials[0].not_before = time(begin);
            status.credentials[0].not_after = time(begin + life);
            status.notifications[0].due_time = time(begin + due * 86_400);
            let drawing = draw(&status, time(now)).unwrap();
            let xs = drawing.bars.iter().flat_map(|bar| [bar.x, bar.x + bar.width]).chain(drawing.marks.iter().map(|mark| mark.x));
            for x in xs.chain(drawing.ticks.iter().map(|tick| tick.x)).chain([drawing.now]) {
                prop_assert!((LEFT..=RIGHT + 3).contains(&x), "{x}");
            }
        }
    }
}
