//! What can go wrong with a request, as its page will say it.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use kube::core::Status;

/// Why there is no page.
#[derive(Clone, Debug)]
pub enum Problem {
    /// Nobody is signed in; where they wanted to go.
    SignIn {
        /// A path of ours.
        next: String,
        /// There was a session, and it is over.
        ended: bool,
    },
    /// There is no such page or account.
    NotFound,
    /// Another method is needed.
    Method,
    /// The request came from another site.
    CrossSite,
    /// The request cannot be understood.
    Bad(&'static str),
    /// The body is too large.
    TooLarge,
    /// Too many sign-ins at once.
    Busy,
    /// The API server refused, and says why.
    Refused(Box<Status>),
    /// The API server gave no answer.
    Unreachable,
    /// Our fault.
    Broken(&'static str),
}

impl Problem {
    /// Our fault, and where.
    #[must_use]
    pub fn broken(what: &'static str) -> Self {
        Self::Broken(what)
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::SignIn { .. } => StatusCode::SEE_OTHER,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::CrossSite => StatusCode::FORBIDDEN,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Refused(status) => {
                // A 401 of ours would need a challenge, and others would be taken for the console's own state.
                let known = [400, 403, 404, 409, 413, 422].contains(&status.code);
                StatusCode::from_u16(status.code).ok().filter(|_| known).unwrap_or(StatusCode::BAD_GATEWAY)
            }
            Self::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The heading of its page.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self {
            Self::SignIn { .. } => "Sign in",
            Self::NotFound => "There is nothing here",
            Self::Method => "This address is not asked that way",
            Self::CrossSite => "This request came from another site",
            Self::Bad(_) => "This request cannot be understood",
            Self::TooLarge => "This is too much at once",
            Self::Busy => "Too many people sign in at this moment",
            Self::Refused(status) if status.code == 403 => "You may not do this",
            Self::Refused(status) if status.code == 404 => "There is nothing here",
            Self::Refused(_) => "The API server refused",
            Self::Unreachable => "The API server does not answer",
            Self::Broken(_) => "Something is broken in the console",
        }
    }

    /// What happened and what to do, in a sentence or two.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::SignIn { .. } => String::new(),
            Self::NotFound => "The page does not exist, or the account is gone, or it is not yours to see.".to_owned(),
            Self::Method => "Go back to the inventory and use its buttons.".to_owned(),
            Self::CrossSite => "Nothing was changed. Open the console itself and try there.".to_owned(),
            Self::Bad(what) => (*what).to_owned(),
            Self::TooLarge => "A form may be 64 KiB. Shorten what you typed.".to_owned(),
            Self::Busy => "Wait a few seconds and try again.".to_owned(),
            Self::Refused(status) => said(status),
            Self::Unreachable => "Nothing was changed as far as the console knows. Try again in a moment.".to_owned(),
            Self::Broken(what) => format!("{what}. The console's log may say more."),
        }
    }
}

/// The API server's own words.
#[must_use]
pub fn said(status: &Status) -> String {
    match status.message.as_str() {
        _ if status.code == 401 => "The API server no longer accepts your token. Sign in again in another tab, then \
                                    send this once more."
            .to_owned(),
        "" => format!("{} {}", status.code, status.reason),
        message => message.to_owned(),
    }
}

impl From<kube::Error> for Problem {
    /// Nothing of an answer that cannot be read is kept: it may have been a Secret.
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            kube::Error::SerdeError(_) => Self::Broken("an answer of the API server cannot be read"),
            _ => Self::Unreachable,
        }
    }
}

impl IntoResponse for Problem {
    /// Dressed as a page by [`super::guard`], which knows theme and user.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
