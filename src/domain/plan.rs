//! What to do about an account: the output of [`super::decide::decide`].

use super::credential::Reason;
use super::record::Handled;
use crate::api::Timestamp;

/// One step, and when to look again though nothing happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What to write.
    pub action: Action,
    /// How the account stands once that is written.
    pub standing: Standing,
    /// The next moment at which time alone changes something.
    pub wake: Option<Timestamp>,
}

/// One change of the cluster; each is safe to die before and after.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing is to be written but the status.
    Nothing,
    /// Write the record of an External account.
    Register,
    /// Make a new credential: stage, publish, retire.
    Change(Change),
    /// The published Secret holds a staged version: make it the current one.
    Retire {
        /// Its number.
        version: i64,
    },
    /// Write the published Secret again around the secret that it holds.
    Republish {
        /// What differs.
        outdated: Vec<String>,
    },
    /// The validity was edited: the current version ends at another time.
    MoveExpiry {
        /// The new end.
        not_after: Timestamp,
        /// The validity that it follows from.
        validity_days: i32,
    },
    /// The grace was edited: the previous version ends sooner.
    ShortenGrace {
        /// The new end.
        not_after: Timestamp,
    },
}

/// A new credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Why.
    pub reason: Reason,
    /// The client ID that it has; none when one is to be drawn.
    pub client_id: Option<String>,
    /// The trigger values that it answers.
    pub answers: Handled,
}

/// How an account stands, for its `Ready` condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The credential is published, or the External account registered.
    Ready,
    /// Disabled by its owner.
    Disabled,
    /// Manual, and expired: refused until somebody regenerates.
    Expired,
    /// It, or its namespace, is being deleted.
    Deleting,
    /// A Secret of somebody else has the name.
    SecretConflict {
        /// Who controls it.
        owner: String,
    },
    /// The Secret of an earlier account with this name is still there.
    WaitingForGarbageCollection,
    /// An older account has the external client ID.
    ClientIdConflict {
        /// Its namespace and name.
        rival: String,
    },
}
