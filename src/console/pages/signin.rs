//! Signing in with a bearer token, and out again.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use http::{HeaderMap, StatusCode, Uri};
use secrecy::SecretString;

use super::{INVENTORY, html, local, redirect};
use crate::console::fields::Fields;
use crate::console::frame::Frame;
use crate::console::problem::Problem;
use crate::console::visit::{App, claimed, cookie};

/// Longer than any token: headers of this size are refused by API servers.
const LONGEST: usize = 16 * 1024;

#[derive(Template)]
#[template(path = "signin.html")]
struct Page<'a> {
    frame: &'a Frame,
    next: &'a str,
    notice: Option<&'static str>,
    refused: Option<&'static str>,
}

/// `/`
pub async fn home() -> Response {
    redirect(INVENTORY)
}

/// The sign-in page; whoever is signed in already goes on.
pub async fn show(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Response {
    let query = Fields::parse(uri.query().unwrap_or_default().as_bytes());
    let next = local(query.get("next"));
    if claimed(&headers).is_some_and(|name| app.sessions.find(&name).is_some()) {
        return redirect(next);
    }
    let notice = match (query.has("ended"), query.has("out")) {
        (true, _) => Some("Your session is over. Sign in again to go on."),
        (_, true) => Some("You are signed out."),
        _ => None,
    };
    html(StatusCode::OK, &Page { frame: &Frame::of(&headers, &uri), next, notice, refused: None })
}

/// Signs in, under a session name that is new whatever the browser brought.
pub async fn enter(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
    jar: CookieJar,
    fields: Fields,
) -> Result<Response, Problem> {
    let next = local(fields.get("next"));
    let frame = Frame::of(&headers, &uri);
    let refuse = |refused| {
        app.metrics.signed_in("refused");
        Ok(html(StatusCode::FORBIDDEN, &Page { frame: &frame, next, notice: None, refused: Some(refused) }))
    };
    let text = fields.get("token").trim();
    if text.is_empty() {
        return refuse("Paste a token first.");
    }
    if text.len() > LONGEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("This is not a token: a token is one line of letters, digits and dots.");
    }
    if app.pace.check().is_err() {
        return Err(Problem::Busy);
    }
    let token = SecretString::from(text);
    let Some(user) = app.authority.review(&token).await? else {
        tracing::info!("a sign-in was refused");
        return refuse("The API server does not accept this token. It may have expired, or be for another cluster.");
    };
    if let Some(old) = claimed(&headers) {
        app.sessions.end(&old);
    }
    let client = app.authority.client_of(&token)?;
    tracing::info!(user = user.name, "signed in");
    app.metrics.signed_in("accepted");
    let name = app.sessions.begin(user, client, token);
    let name = name.map_err(|_| Problem::broken("the operating system's random source failed"))?;
    Ok((jar.add(cookie(name)), redirect(next)).into_response())
}

/// Ends the session here and in the browser.
pub async fn leave(State(app): State<Arc<App>>, headers: HeaderMap, jar: CookieJar) -> Response {
    if let Some(name) = claimed(&headers) {
        app.sessions.end(&name);
    }
    (jar.remove(cookie(String::new())), redirect("/signin?out=")).into_response()
}
