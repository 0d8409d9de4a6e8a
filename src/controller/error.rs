//! What can go wrong between us and the API server, told without ever quoting an object: a Secret's content must not
//! reach a log through an error.

use thiserror::Error;

use crate::domain::record::RecordError;
use crate::domain::signing::KeyError;
use crate::domain::token::KeyTooShort;
use crate::domain::verifier::HashError;
use crate::entropy::EntropyError;

/// Why a pass over an account ended early. It is tried again.
#[derive(Debug, Error)]
pub enum Error {
    /// A call to the API server failed.
    #[error("cannot {what}: {cause}")]
    Call {
        /// What was to be done.
        what: String,
        /// Why it could not.
        cause: CallError,
    },
    /// A pass took longer than it may.
    #[error("the pass took longer than {0} s: the API server is slow or away")]
    TooSlow(u64),
    /// The record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// No hash.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// What decides kept finding something to do: a bug, stopped before it becomes a hot loop.
    #[error("no end was reached after {0} steps")]
    Unsettled(usize),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A bug, kept to the account that met it.
    #[error("the pass panicked: this is a bug, please report it with the text beside it in the log")]
    Panicked,
    /// A worker of the blocking pool was lost.
    #[error("hashing, or making a key, was interrupted")]
    Interrupted,
    /// A Secret that is not ours has the name of one with signing keys.
    #[error("the Secret {0} has another type than ours: delete it, and it is made anew")]
    ForeignKeys(String),
    /// Signing keys written by a newer binary.
    #[error("the Secret {0} was written by a newer version of keyrota: run that again")]
    KeysTooNew(String),
    /// A signing key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An HS256 key could not be made.
    #[error(transparent)]
    LegacyKey(#[from] KeyTooShort),
    /// Never: the ring of signing keys is plain data.
    #[error("the ring of signing keys cannot be written: {0}")]
    Ring(#[from] serde_json::Error),
}

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// 409 on a write with a resourceVersion: somebody else wrote first.
    #[error("somebody else changed it first (409)")]
    Conflict,
    /// 409 AlreadyExists.
    #[error("it exists already (409)")]
    AlreadyExists,
    /// 404.
    #[error("it does not exist (404)")]
    NotFound,
    /// 403: RBAC, a quota, or a terminating namespace.
    #[error("the API server forbids it (403): {0}")]
    Forbidden(String),
    /// 422: the object itself; not quoted.
    #[error("the API server calls it invalid (422)")]
    Invalid,
    /// Any other answer.
    #[error("the API server answered {code} {reason}")]
    Answer {
        /// The HTTP status.
        code: u16,
        /// The reason of the Kubernetes Status.
        reason: String,
    },
    /// No answer.
    #[error("the API server did not answer")]
    Unreachable,
    /// Answered in time, but nothing that can be read; not quoted.
    #[error("the API server's answer cannot be read")]
    Unreadable,
    /// No answer in time.
    #[error("the API server did not answer within {0} s")]
    TimedOut(u64),
}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match (status.code, status.reason.as_str()) {
                (409, "AlreadyExists") => Self::AlreadyExists,
                (409, _) => Self::Conflict,
                (404, _) => Self::NotFound,
                (403, _) => Self::Forbidden(status.message),
                (422, _) => Self::Invalid,
                (code, reason) => Self::Answer { code, reason: reason.chars().take(60).collect() },
            },
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self::Unreadable,
            _ => Self::Unreachable,
        }
    }
}

impl Error {
    /// The API server's answer behind it.
    #[must_use]
    pub fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// Somebody else wrote first: look again at once, it is nobody's fault.
    #[must_use]
    pub fn is_race(&self) -> bool {
        matches!(self.call(), Some(CallError::Conflict | CallError::AlreadyExists | CallError::NotFound))
    }
}
