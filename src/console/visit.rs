//! What a request brings along: its session, or the way to the sign-in page.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::request::Parts;

use super::authority::Authority;
use super::frame::Frame;
use super::inventory::Holdings;
use super::metrics::Metrics;
use super::pages;
use super::problem::Problem;
use super::rights::Rights;
use super::session::{Session, Sessions};
use crate::clock::SharedClock;

/// The session cookie. The prefix makes the browser hold it to this host, all of it, over TLS (RFC 6265bis).
pub const COOKIE: &str = "__Host-keyrota";

/// The query of a page that looks again by itself.
const BY_ITSELF: &str = "waiting";

/// What all requests share.
pub struct App {
    /// What the watches know.
    pub holdings: Arc<Holdings>,
    /// The way to the API server.
    pub authority: Arc<Authority>,
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
    /// The time.
    pub clock: SharedClock,
    /// Sign-ins at once.
    pub pace: super::guard::Pace,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// A request of somebody who is signed in.
pub struct Visit {
    /// Their session.
    pub session: Arc<Session>,
    /// What is around the page.
    pub frame: Frame,
    /// The time of the request.
    pub now: DateTime<Utc>,
    /// To ask what they may.
    pub rights: Rights,
}

/// The name of the session that a request claims to belong to.
#[must_use]
pub fn claimed(headers: &HeaderMap) -> Option<String> {
    CookieJar::from_headers(headers).get(COOKIE).map(|cookie| cookie.value().to_owned())
}

/// The cookie of a session; `Lax`, so that a link in a mail still finds the session, while [`super::guard`] refuses
/// changes from elsewhere.
#[must_use]
pub fn cookie(name: String) -> Cookie<'static> {
    Cookie::build((COOKIE, name)).path("/").secure(true).http_only(true).same_site(SameSite::Lax).build()
}

impl FromRequestParts<Arc<App>> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let mut frame = Frame::of(&parts.headers, &parts.uri);
        // A form cannot be sent again by a redirect: after signing in one is where it stood.
        let next = frame.here.clone();
        let name = claimed(&parts.headers);
        let find = |name| match parts.uri.query() {
            Some(BY_ITSELF) => app.sessions.peek(name),
            _ => app.sessions.find(name),
        };
        let Some((name, session)) = name.as_ref().and_then(|name| Some((name, find(name)?))) else {
            return Err(Problem::SignIn { next, ended: name.is_some() });
        };
        let now = app.clock.now();
        if let Some(due) = session.due(now) {
            let user = app.authority.review(&session.token).await?;
            due.answered();
            if user.is_none_or(|user| user.name != session.user.name) {
                app.sessions.end(name);
                return Err(Problem::SignIn { next, ended: true });
            }
        }
        frame.user = Some(session.user.name.clone());
        let rights = Rights { authority: app.authority.clone(), session: session.clone(), now };
        Ok(Self { session, frame, now, rights })
    }
}

/// The account that a URL names. Only what can be a name gets any further: a path of the API server is made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locator {
    /// The namespace.
    pub namespace: String,
    /// The account's name.
    pub name: String,
}

impl Locator {
    /// None when either is no name.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Option<Self> {
        let fine = is_label(namespace) && is_subdomain(name);
        fine.then(|| Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The account's page.
    #[must_use]
    pub fn href(&self) -> String {
        format!("{}/{}/{}", pages::INVENTORY, self.namespace, self.name)
    }
}

/// A DNS label (RFC 1123).
#[must_use]
pub fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let within = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.len() <= 63 && edge(text.chars().next()) && edge(text.chars().last()) && text.chars().all(within)
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

impl FromRequestParts<Arc<App>> for Locator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let named = Path::<(String, String)>::from_request_parts(parts, app).await;
        let Path((namespace, name)) = named.map_err(|_| Problem::NotFound)?;
        Self::new(&namespace, &name).ok_or(Problem::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("shop", "exporter", true)]
    #[case("shop", "a.b-c.9", true)]
    #[case("shop", "..", false)]
    #[case("shop", "../../secrets/x", false)]
    #[case("shop/../bank", "a", false)]
    #[case("shop", "a%2fb", false)]
    #[case("shop", "a?b", false)]
    #[case("", "a", false)]
    #[case("shop", "", false)]
    #[case("Shop", "a", false)]
    #[case("shop.a", "a", false)]
    #[case("shop", "a\n", false)]
    fn only_names_become_paths(#[case] namespace: &str, #[case] name: &str, #[case] fine: bool) {
        assert_eq!(Locator::new(namespace, name).is_some(), fine);
    }
}
