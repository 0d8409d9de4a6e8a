//! When a credential version was first and last used, as gateways report it and status shows it.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::api::Timestamp;
use crate::api::service_account::Credential;

/// Stands for the version of an External account, which has none; versions begin with 1.
pub const EXTERNAL: i64 = 0;

/// The first and the last grant that a version got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
}

impl Use {
    /// Both together: the earlier first, the later last.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    /// Whether status tells all of this already.
    #[must_use]
    pub fn is_shown_by(self, credential: &Credential) -> bool {
        credential.first_used_time.is_some_and(|first| first <= self.first)
            && credential.last_used_time.is_some_and(|last| last >= self.last)
    }
}

/// Uses of an account's versions, by version number.
pub type Uses = BTreeMap<i64, Use>;

/// Adds `other` to `uses`.
pub fn merge(uses: &mut Uses, other: &Uses) {
    for (version, use_) in other {
        uses.entry(*version).and_modify(|known| *known = known.merged(*use_)).or_insert(*use_);
    }
}

/// What one gateway reports: uses by account UID. On the wire one line for each version, `uid version first last` with
/// the times in Unix seconds: 70 bytes, so that 10,000 accounts fit an object (1 MiB) with room to spare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(pub BTreeMap<String, Uses>);

/// The most that a report's text may have: an object's limit is 1 MiB, and it has metadata, too.
const MOST_BYTES: usize = 900 * 1024;

/// A line of a report that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("line {0} of the usage report is not \"uid version first last\"")]
pub struct ReportError(pub usize);

impl Report {
    /// The text of the report. What does not fit waits for the next one.
    #[must_use]
    pub fn to_text(&self) -> String {
        let lines = self.0.iter().flat_map(|(uid, uses)| {
            uses.iter().map(move |(version, Use { first, last })| {
                format!("{uid} {version} {} {}\n", first.unix(), last.unix())
            })
        });
        let mut text = String::new();
        for line in lines.take_while(|line| line.len() < MOST_BYTES) {
            if text.len() + line.len() > MOST_BYTES {
                break;
            }
            text.push_str(&line);
        }
        text
    }

    /// Reads a report.
    ///
    /// # Errors
    /// The number of the first line that has another shape.
    pub fn parse(text: &str) -> Result<Self, ReportError> {
        let mut report = Self::default();
        for (number, line) in text.lines().enumerate() {
            let (uid, version, use_) = parse_line(line).ok_or(ReportError(number + 1))?;
            merge(report.0.entry(uid.to_owned()).or_default(), &Uses::from([(version, use_)]));
        }
        Ok(report)
    }
}

fn parse_line(line: &str) -> Option<(&str, i64, Use)> {
    let mut words = line.split(' ');
    let (uid, version) = (words.next()?, words.next()?.parse().ok()?);
    let mut time = || chrono::DateTime::from_timestamp(words.next()?.parse().ok()?, 0).map(Timestamp::from);
    let use_ = Use { first: time()?, last: time()? };
    (words.next().is_none() && !uid.is_empty()).then_some((uid, version, use_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from(chrono::DateTime::from_timestamp(seconds, 0).unwrap())
    }

    #[test]
    fn a_report_survives_its_own_text() {
        let uses = Uses::from([(1, Use { first: at(10), last: at(20) }), (2, Use { first: at(30), last: at(30) })]);
        let report = Report([("u-1".to_owned(), uses.clone()), ("u-2".to_owned(), uses)].into());
        assert_eq!(Report::parse(&report.to_text()), Ok(report));
    }

    #[test]
    fn ten_thousand_accounts_fit_one_object() {
        let uses = Uses::from([(1, Use { first: at(1_700_000_000), last: at(1_700_000_000) })]);
        let uid = |n: u32| format!("97074e41-8af9-456d-9a64-{n:012}");
        let report = Report((0..10_000).map(|n| (uid(n), uses.clone())).collect());
        assert_eq!(Report::parse(&report.to_text()).unwrap().0.len(), 10_000);
    }

    #[rstest]
    #[case("u 1 2")]
    #[case("u 1 2 3 4")]
    #[case("u one 2 3")]
    #[case(" 1 2 3")]
    fn a_line_of_another_shape_is_an_error(#[case] line: &str) {
        assert_eq!(Report::parse(&format!("u 1 2 3\n{line}")), Err(ReportError(2)));
    }

    #[test]
    fn merging_keeps_the_earliest_first_and_the_latest_last() {
        let mut uses = Uses::from([(1, Use { first: at(10), last: at(20) })]);
        merge(&mut uses, &Uses::from([(1, Use { first: at(5), last: at(15) })]));
        assert_eq!(uses[&1], Use { first: at(5), last: at(20) });
    }
}
