//! Show, and the downloads: with the user's own token, and never without an Event that tells of it.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, StatusCode};
use kube::ResourceExt;

use super::manage::{Shown, called, read, render};
use crate::api::{ServiceAccount, Timestamp};
use crate::console::account;
use crate::console::credential::{self, Credential};
use crate::console::fields::Fields;
use crate::console::form::Form;
use crate::console::problem::Problem;
use crate::console::visit::{Locator, Visit};
use crate::domain::words;

/// How long a secret stays on the screen.
pub const SHOWN_SECONDS: u32 = 30;

/// Shows the credential, once; what was typed into the form meanwhile stays.
pub async fn reveal(visit: Visit, at: Locator, fields: Fields) -> Result<Response, Problem> {
    let object = read(&visit, &at).await?;
    let credential = taken(&visit, &object, words::SECRET_SHOWN.reason(), "looked at").await?;
    visit.session.note_shown(&object.uid().unwrap_or_default(), visit.now);
    let form = fields.has("validity").then(|| Form::edited(&fields, &object));
    let shown = Shown { form, credential: Some(&credential), ..Shown::default() };
    let mut response = render(&visit, &at, &object, shown).await?;
    if !visit.frame.partial
        && let Ok(back) = HeaderValue::from_str(&format!("{SHOWN_SECONDS};url={}", at.href()))
    {
        // Hides it again where no script does.
        response.headers_mut().insert(HeaderName::from_static("refresh"), back);
    }
    Ok(response)
}

/// The credential as a file.
pub async fn download(visit: Visit, at: Locator, fields: Fields) -> Result<Response, Problem> {
    let object = read(&visit, &at).await?;
    let as_env = match fields.get("as") {
        "env" => true,
        "kubectl" => false,
        _ => return Err(Problem::Bad("A credential is downloaded as env or as kubectl.")),
    };
    let credential = taken(&visit, &object, words::SECRET_DOWNLOADED.reason(), "downloaded").await?;
    visit.session.note_shown(&object.uid().unwrap_or_default(), visit.now);
    let (text, suffix) = if as_env { (credential.env(), "env") } else { (credential.kubectl(&object)?, "sh") };
    let file = format!("attachment; filename=\"{}.{suffix}\"", at.name);
    let file = HeaderValue::from_str(&file).map_err(|_| Problem::NotFound)?;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok((StatusCode::OK, [(CONTENT_TYPE, plain), (CONTENT_DISPOSITION, file)], text.to_string()).into_response())
}

/// Reads the credential and records it; what cannot be recorded is not handed out.
async fn taken(visit: &Visit, object: &ServiceAccount, reason: &str, verb: &str) -> Result<Credential, Problem> {
    let credential = credential::read(&visit.session.client, object).await?;
    let message = format!("{} {verb} the client secret in the console", visit.session.user.name);
    account::record(&visit.session.client, object, reason, message, Timestamp::from(visit.now)).await?;
    tracing::info!(user = visit.session.user.name, account = called(object), reason, "a secret was handed out");
    Ok(credential)
}
