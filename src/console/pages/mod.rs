//! The pages: each a request, a template, and what lies between them.

pub mod actions;
pub mod add;
pub mod error;
pub mod groups;
pub mod inventory;
pub mod manage;
pub mod reach;
pub mod regenerate;
pub mod secret;
pub mod signin;
pub mod theme;

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use super::problem::Problem;

/// The inventory's path; the accounts' pages are below it.
pub const INVENTORY: &str = "/accounts";

/// A rendered page.
pub(super) fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            // Not as a page of its own: that could fail likewise.
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// To another page of ours, by GET.
pub(super) fn redirect(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) => (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response(),
        Err(_) => Problem::NotFound.into_response(),
    }
}

/// A path of ours as somebody else gave it; the inventory's when it could lead anywhere else (open redirects).
#[must_use]
pub(super) fn local(path: &str) -> &str {
    if is_ours(path) && !path.starts_with("/signin") { path } else { INVENTORY }
}

/// Whether it leads to a page of this console and nowhere else. Browsers read a backslash as a slash, leave out tabs and
/// line ends, and take `//host` for another site.
fn is_ours(path: &str) -> bool {
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    plain && path.starts_with('/') && !path.starts_with("//") && path.parse::<http::uri::PathAndQuery>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/accounts?q=a%20b&page=2", true)]
    #[case("/accounts/shop/exporter", true)]
    #[case("", false)]
    #[case("accounts", false)]
    #[case("//evil.example", false)]
    #[case("///evil.example", false)]
    #[case("/\\evil.example", false)]
    #[case("\\/evil.example", false)]
    #[case("/\t/evil.example", false)]
    #[case("/a\r\nSet-Cookie: x=y", false)]
    #[case("https://evil.example", false)]
    #[case("javascript:alert(1)", false)]
    #[case("/signin?next=/signin", false)]
    #[case("/ä", false)]
    fn only_our_own_paths_are_gone_to(#[case] path: &str, #[case] fine: bool) {
        assert_eq!(local(path), if fine { path } else { INVENTORY });
    }
}
