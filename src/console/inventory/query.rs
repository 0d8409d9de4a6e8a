//! What a page of the inventory is asked for, all of it in the URL: a link can be kept, sent and gone back to.

use std::cmp::Ordering;

use chrono::TimeDelta;

use super::column::Column;
use super::row::{AccountState, Row, SecretState};
use crate::api::Timestamp;
use crate::api::service_account::Mode;

/// Records per page.
pub const PAGE_SIZES: [usize; 4] = [10, 20, 50, 100];

/// The choices of "expiring within", in days.
pub const WITHIN_DAYS: [i64; 5] = [1, 7, 30, 60, 90];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// One namespace; all when absent.
    pub namespace: Option<String>,
    /// Every word of it must be in the name, client ID, description, email or creator.
    pub search: String,
    /// Only accounts of this status.
    pub account: Option<AccountState>,
    /// Only accounts of this mode.
    pub mode: Option<Mode>,
    /// Only accounts whose secret has this status.
    pub secret: Option<SecretState>,
    /// Only accounts whose secret ends within so many days, or has ended.
    pub within_days: Option<i64>,
    /// By what it is sorted; ties by name and namespace.
    pub sort: Column,
    /// The other way round.
    pub descending: bool,
    /// From 1.
    pub page: usize,
    /// Rows on a page.
    pub size: usize,
    /// All check boxes of the page ticked: for those without JavaScript.
    pub select_all: bool,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            namespace: None,
            search: String::new(),
            account: None,
            mode: None,
            secret: None,
            within_days: None,
            sort: Column::Name,
            descending: false,
            page: 1,
            size: 20,
            select_all: false,
        }
    }
}

impl Query {
    /// Reads the query of a URL. What cannot be understood is as if it were not there: an old link still shows a page.
    #[must_use]
    pub fn parse(raw: &str) -> Self {
        let mut query = Self::default();
        for (key, value) in form_urlencoded::parse(raw.as_bytes()) {
            let value = value.trim();
            match &*key {
                "namespace" => query.namespace = Some(value.to_owned()).filter(|name| !name.is_empty()),
                "q" => value.clone_into(&mut query.search),
                "status" => query.account = AccountState::ALL.into_iter().find(|state| state.key() == value),
                "mode" => {
                    query.mode = [Mode::Internal, Mode::External].into_iter().find(|mode| mode_key(*mode) == value)
                }
                "secret" => query.secret = SecretState::ALL.into_iter().find(|state| state.key() == value),
                "expiring" => query.within_days = value.parse().ok().filter(|days| (1..=3650).contains(days)),
                "sort" => {
                    let (key, descending) = value.strip_prefix('-').map_or((value, false), |key| (key, true));
                    if let Some(column) = Column::of_key(key) {
                        (query.sort, query.descending) = (column, descending);
                    }
                }
                "page" => query.page = value.parse().ok().filter(|page| *page > 0).unwrap_or(1),
                "size" => {
                    query.size = value.parse().ok().filter(|size| PAGE_SIZES.contains(size)).unwrap_or(query.size);
                }
                "select" => query.select_all = value == "all",
                _ => {}
            }
        }
        query
    }

    /// The query of a URL, without what is as it is anyway; empty, or beginning with `?`.
    #[must_use]
    pub fn to_url(&self) -> String {
        let usual = Self::default();
        let mut out = form_urlencoded::Serializer::new(String::new());
        let mut put = |key: &str, value: Option<&str>| {
            out.extend_pairs(value.map(|value| (key, value)));
        };
        put("namespace", self.namespace.as_deref());
        put("q", Some(self.search.as_str()).filter(|text| !text.is_empty()));
        put("status", self.account.map(AccountState::key));
        put("mode", self.mode.map(mode_key));
        put("secret", self.secret.map(SecretState::key));
        put("expiring", self.within_days.map(|days| days.to_string()).as_deref());
        let sort = format!("{}{}", if self.descending { "-" } else { "" }, self.sort.key());
        put("sort", (self.sort != usual.sort || self.descending).then_some(sort.as_str()));
        put("size", (self.size != usual.size).then(|| self.size.to_string()).as_deref());
        put("page", (self.page > 1).then(|| self.page.to_string()).as_deref());
        put("select", self.select_all.then_some("all"));
        let text = out.finish();
        if text.is_empty() { text } else { format!("?{text}") }
    }

    /// The same on another page.
    #[must_use]
    pub fn at_page(&self, page: usize) -> Self {
        Self { page, select_all: false, ..self.clone() }
    }

    /// The same sorted by a column: again by the same turns it round.
    #[must_use]
    pub fn sorted_by(&self, column: Column) -> Self {
        let descending = self.sort == column && !self.descending;
        Self { sort: column, descending, page: 1, select_all: false, ..self.clone() }
    }

    /// Whether anything but namespace, order and page narrows it.
    #[must_use]
    pub fn is_narrowed(&self) -> bool {
        !self.search.is_empty()
            || self.account.is_some()
            || self.mode.is_some()
            || self.secret.is_some()
            || self.within_days.is_some()
    }

    /// The same with nothing narrowing it but the namespace.
    #[must_use]
    pub fn widened(&self) -> Self {
        let Self { namespace, sort, descending, size, .. } = self.clone();
        Self { namespace, sort, descending, size, ..Self::default() }
    }

    /// The test that a row must pass, made once for all rows.
    pub fn filter(&self, now: Timestamp) -> impl Fn(&Row) -> bool + '_ {
        let words: Vec<String> = self.search.split_whitespace().map(str::to_lowercase).collect();
        let until = self.within_days.map(|days| now.saturating_add(TimeDelta::days(days)));
        move |row| {
            self.namespace.as_ref().is_none_or(|namespace| row.namespace == *namespace)
                && self.account.is_none_or(|state| row.account == state)
                && self.mode.is_none_or(|mode| row.mode == mode)
                && self.secret.is_none_or(|state| row.secret == state)
                && until.is_none_or(|until| row.expiry.is_some_and(|expiry| expiry <= until))
                && words.iter().all(|word| row.searched.contains(word))
        }
    }

    /// The order of rows; never a tie, so that no row is on two pages.
    #[must_use]
    pub fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let rest = || (&a.name, &a.namespace, &a.uid).cmp(&(&b.name, &b.namespace, &b.uid));
        self.sort.compare(a, b, self.descending).then_with(rest)
    }
}

/// A mode as it stands in the URL.
fn mode_key(mode: Mode) -> &'static str {
    match mode {
        Mode::Internal => "internal",
        Mode::External => "external",
    }
}
