//! What was seen of an account and everything around it, in the rules' own terms.

use chrono::TimeDelta;

use super::account::Account;
use super::record::Record;
use super::trigger::Triggers;
use crate::api::ServiceAccountStatus;

/// The input of [`super::decide::decide`].
#[derive(Clone, Debug)]
pub struct Observed {
    /// The account itself.
    pub account: Account,
    /// What people ask for.
    pub triggers: Triggers,
    /// Its record, or none before the first credential (or after the record was lost).
    pub record: Option<Record>,
    /// What the status still shows.
    pub reported: Reported,
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
    /// Why no foreign issuer's token can be accepted for it, if it is External.
    pub missing_trust: Option<String>,
    /// The namespace is being deleted.
    pub namespace_ending: bool,
}

/// What the status shows of a record: all that is left when the record is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// The client ID; tells a lost record from a new account.
    pub client_id: Option<String>,
    /// The highest version number, so that none is given out twice.
    pub version: i64,
}

impl From<&ServiceAccountStatus> for Reported {
    fn from(status: &ServiceAccountStatus) -> Self {
        let version = status.credentials.iter().map(|credential| credential.version).max();
        Self { client_id: status.client_id.clone(), version: version.unwrap_or_default() }
    }
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
