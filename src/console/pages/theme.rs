//! The choice of light and dark, kept in a cookie: it needs neither a session nor JavaScript.

use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};

use super::{INVENTORY, is_ours, redirect};
use crate::console::fields::Fields;
use crate::console::frame::{THEME_COOKIE, Theme};

/// Chooses, and goes back to where one was.
pub async fn choose(jar: CookieJar, fields: Fields) -> Response {
    let theme = Theme::of_key(fields.get("theme"));
    let mut cookie = Cookie::build((THEME_COOKIE, theme.key())).path("/").secure(true).http_only(true).build();
    cookie.set_same_site(SameSite::Lax);
    cookie.make_permanent();
    // The sign-in page has the choice, too.
    let to = Some(fields.get("back")).filter(|back| is_ours(back)).unwrap_or(INVENTORY);
    (jar.add(cookie), redirect(to)).into_response()
}
