//! One event as one JSON object on a line, with the field names of tracing-subscriber's own JSON format.
//!
//! Written here because that one costs a warm token request as much as everything else together: it formats the date
//! anew for each line and goes through a serializer for each field.

use std::cell::RefCell;
use std::fmt::{self, Write};

use chrono::{DateTime, SecondsFormat, SubsecRound, Timelike, Utc};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::span;
use crate::clock::{Clock, SystemClock};
use crate::domain::json;

/// The format.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonLines {
    /// Whether spans are sent at all: only then a line is asked which one it is in.
    pub(super) traced: bool,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // Taken, not borrowed: what is formatted may log itself.
        let mut line = LINE.take();
        line.clear();
        let written = write_line(&mut line, event, self.traced).and_then(|()| writer.write_str(&line));
        line.shrink_to(ORDINARY);
        LINE.set(line);
        written
    }
}

thread_local! {
    /// The memory of the line that was written last. A writer is called by a pointer for each of a line's forty pieces:
    /// without that, a grant's line takes a third fewer instructions.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// How much of it is kept, in bytes: what most lines fit into.
const ORDINARY: usize = 4096;

fn write_line(line: &mut String, event: &Event<'_>, traced: bool) -> fmt::Result {
    let about = event.metadata();
    line.push_str("{\"timestamp\":\"");
    write_time(line, SystemClock.now())?;
    line.push_str("\",\"level\":\"");
    line.push_str(level(*about.level()));
    line.push('"');
    let mut fields = Fields { line, result: Ok(()) };
    event.record(&mut fields);
    fields.result?;
    line.push_str(",\"target\":\"");
    line.push_str(about.target());
    line.push('"');
    if traced && let Some(ids) = span::ids() {
        write!(line, ",\"trace_id\":\"{}\",\"span_id\":\"{}\"", ids.trace, ids.span)?;
    }
    line.push_str("}\n");
    Ok(())
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

thread_local! {
    /// The second that was written last, and its text up to the fraction.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// RFC 3339 with microseconds, `2026-01-01T00:00:00.000001Z`.
fn write_time(line: &mut impl Write, now: DateTime<Utc>) -> fmt::Result {
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != now.timestamp() {
            *second = now.timestamp();
            *text = now.trunc_subsecs(0).to_rfc3339_opts(SecondsFormat::Secs, true);
            text.pop();
        }
        line.write_str(text)
    })?;
    // A leap second counts on in the fraction; 999,999 is as far as it goes here.
    let mut micros = (now.nanosecond() / 1000).min(999_999);
    let mut fraction = *b".000000Z";
    for digit in fraction[1..7].iter_mut().rev() {
        *digit = b"0123456789"[(micros % 10) as usize];
        micros /= 10;
    }
    line.write_str(std::str::from_utf8(&fraction).map_err(|_| fmt::Error)?)
}

struct Fields<'a> {
    line: &'a mut String,
    result: fmt::Result,
}

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: impl FnOnce(&mut String) -> fmt::Result) {
        for part in [",\"", field.name(), "\":"] {
            self.line.push_str(part);
        }
        self.result = self.result.and_then(|()| value(self.line));
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, |line| {
            json::string(line, value);
            Ok(())
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, |line| {
            json::number(line, value);
            Ok(())
        });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, |line| {
            json::number(line, value);
            Ok(())
        });
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, |line| write!(line, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, |line| if value.is_finite() { write!(line, "{value}") } else { line.write_str("null") });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, |line| {
            line.push('"');
            write!(Quoted(line), "{value:?}")?;
            line.push('"');
            Ok(())
        });
    }
}

/// Escapes what is written through it.
struct Quoted<'a>(&'a mut String);

impl Write for Quoted<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        json::escape(self.0, text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("2026-01-01T00:00:00.000001Z")]
    #[case("2026-01-01T00:00:00.999999Z")]
    #[case("1999-12-31T23:59:59.500000Z")]
    #[case("1969-12-31T23:59:59.000000Z")]
    fn times_are_written_as_rfc_3339_in_any_order(#[case] expected: &str) {
        for _ in 0..2 {
            let mut text = String::new();
            write_time(&mut text, DateTime::parse_from_rfc3339(expected).unwrap().to_utc()).unwrap();
            assert_eq!(text, expected);
        }
    }
}
