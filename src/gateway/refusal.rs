//! Why a request is refused: many causes inside, few answers outside. The one match between is in each `answer.rs`.

use super::basic::BasicError;
use super::request::RequestError;
use crate::domain::assertion::AssertionError;

/// Every cause of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No account of this host's issuer holds the client ID.
    Unknown,
    /// The account is disabled.
    Disabled,
    /// The account is gone, or going.
    Deleted,
    /// The secret is another one.
    WrongSecret,
    /// The client ID is known, but no version of it works any more.
    Ended,
    /// The account is External and has no secret.
    External,
    /// The assertion is not this account's, or nobody's.
    Assertion(AssertionError),
    /// The keys of the assertion's issuer cannot be had, or its settings are unusable.
    NoIssuerKeys,
    /// No usable credentials in the request.
    Credentials(BasicError),
    /// The request itself is wrong.
    Request(RequestError),
    /// Too many failures from this address with this client ID.
    Limited {
        /// In seconds.
        retry_after: u32,
    },
    /// More verifications are waiting than can be done soon.
    Overloaded,
    /// The index is not filled yet, or was last up to date too long ago.
    NotReady,
    /// It would be refused, but whether the watch is late could not be found out.
    Unsure,
    /// The issuer's signing key is not there yet.
    NoKey,
    /// Our fault.
    Internal,
}

impl From<AssertionError> for Refusal {
    fn from(error: AssertionError) -> Self {
        Self::Assertion(error)
    }
}

impl Refusal {
    /// One word for logs and metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
            Self::WrongSecret => "wrong_secret",
            Self::Ended => "ended",
            Self::External => "external",
            Self::Assertion(_) => "bad_assertion",
            Self::NoIssuerKeys => "no_issuer_keys",
            Self::Credentials(_) => "bad_credentials",
            Self::Request(_) => "bad_request",
            Self::Limited { .. } => "limited",
            Self::Overloaded => "overloaded",
            Self::NotReady => "not_ready",
            Self::Unsure => "unsure",
            Self::NoKey => "no_key",
            Self::Internal => "internal",
        }
    }

    /// Whether credentials that could be read were not good.
    #[must_use]
    pub fn is_failed_authentication(self) -> bool {
        matches!(
            self,
            Self::Unknown
                | Self::Disabled
                | Self::Deleted
                | Self::WrongSecret
                | Self::Ended
                | Self::External
                | Self::Assertion(_)
        )
    }

    /// All reasons, for metrics that must show a zero.
    pub const REASONS: [&'static str; 16] = [
        "unknown",
        "disabled",
        "deleted",
        "wrong_secret",
        "ended",
        "external",
        "bad_assertion",
        "no_issuer_keys",
        "bad_credentials",
        "bad_request",
        "limited",
        "overloaded",
        "not_ready",
        "unsure",
        "no_key",
        "internal",
    ];
}
