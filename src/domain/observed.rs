//! What was seen of an account and everything around it, in the rules' own terms.

use chrono::TimeDelta;

use super::account::Account;
use super::record::Record;
use super::trigger::Triggers;

/// The input of [`super::decide::decide`].
#[derive(Clone, Debug)]
pub struct Observed {
    /// The account itself.
    pub account: Account,
    /// What people ask for.
    pub triggers: Triggers,
    /// Its record, or none before the first credential (or after the record was lost).
    pub record: Option<Record>,
    /// The client ID that the status still shows; tells a lost record from a new account.
    pub reported_client_id: Option<String>,
    /// The Secret under the published name.
    pub secret: Published,
    /// The issuer that serves the account.
    pub issuer: String,
    /// That issuer's grace.
    pub grace: TimeDelta,
    /// An older account that has this one's external client ID.
    pub rival: Option<String>,
    /// Names in `userGroups` that no UserGroup has.
    pub missing_groups: Vec<String>,
    /// The namespace is being deleted.
    pub namespace_ending: bool,
}

/// The Secret under the published name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// There is none.
    Missing,
    /// Somebody else's: not controlled by this account.
    Foreign {
        /// Who controls it, for the message.
        owner: String,
    },
    /// Of an earlier account with this name, and about to be garbage-collected.
    Leftover,
    /// Ours.
    Ours {
        /// The number of the version whose secret it holds; none when that is no known one.
        holds: Option<i64>,
        /// What differs from what should be published, for the Event; empty when nothing does.
        outdated: Vec<String>,
    },
}
