//! The body of a request to the manual's endpoint: a form, JSON or a multipart form, whatever the `Content-Type` says
//! (the manual says JSON in its table, form in its text, and shows a urlencoded one).

use bytes::Bytes;
use futures::FutureExt;
use serde::Deserialize;
use thiserror::Error;

use crate::gateway::basic::form_decode;

/// A body has one parameter; this leaves room for what libraries add.
const MAX_PARAMETERS: usize = 64;

/// The largest body, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// What is wrong with a request. The text stands in the answer, in the brackets of `Invalid Request::[…]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// Another method than POST.
    #[error("Method not allowed, use POST")]
    Method,
    /// Another path.
    #[error("No such endpoint")]
    Path,
    /// More than one `Host`.
    #[error("More than one Host header")]
    Hosts,
    /// The endpoint is switched off for this host's issuer.
    #[error("This endpoint is disabled for this host")]
    EndpointOff,
    /// Longer than [`MAX_BODY`].
    #[error("Request body is larger than 64 KiB")]
    TooLarge,
    /// It did not arrive within 30 s.
    #[error("Request body did not arrive within 30 seconds")]
    TooSlow,
    /// It broke off.
    #[error("Request body is incomplete")]
    Incomplete,
    /// gzip and the like.
    #[error("Compressed request bodies are not supported")]
    Compressed,
    /// Not UTF-8.
    #[error("Request body is not UTF-8")]
    NotUtf8,
    /// `%` without two hexadecimal digits, or escapes that are not UTF-8.
    #[error("Malformed percent escape in the request body")]
    BadEscape,
    /// Not JSON, not an object, or `grant_type` is no text.
    #[error("Malformed JSON in the request body")]
    BadJson,
    /// Not multipart as RFC 7578 has it.
    #[error("Malformed multipart form in the request body")]
    BadMultipart,
    /// More than [`MAX_PARAMETERS`].
    #[error("Too many parameters in the request body")]
    TooMany,
    /// `grant_type` twice.
    #[error("Repeated parameter grant_type")]
    Repeated,
    /// Another grant.
    #[error("Unsupported grant type")]
    GrantType,
}

/// Checks that a body asks for the one grant there is. An empty body does (clients in the field send none), and so does
/// one that does not name a grant.
///
/// # Errors
/// When it asks for another one, or cannot be read.
pub fn check(content_type: Option<&str>, body: &Bytes) -> Result<(), WireError> {
    let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii();
    let grant = match text {
        [] => None,
        [0x1F, 0x8B, ..] => return Err(WireError::Compressed),
        [b'{' | b'[' | b'"', ..] => json(text)?,
        [b'-', b'-', ..] => multipart(content_type, body.slice_ref(text))?,
        _ => form(text)?,
    };
    match grant {
        Some(grant) if !grant.is_empty() && !grant.eq_ignore_ascii_case("client_credentials") => {
            Err(WireError::GrantType)
        }
        _ => Ok(()),
    }
}

fn form(text: &[u8]) -> Result<Option<String>, WireError> {
    let text = std::str::from_utf8(text).map_err(|_| WireError::NotUtf8)?;
    let mut grant = None;
    for (count, pair) in text.split('&').enumerate() {
        if count >= MAX_PARAMETERS {
            return Err(WireError::TooMany);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = form_decode(name).ok_or(WireError::BadEscape)?;
        let value = form_decode(value).ok_or(WireError::BadEscape)?;
        if name == "grant_type" {
            once(&mut grant, value)?;
        }
    }
    Ok(grant)
}

fn once(grant: &mut Option<String>, value: String) -> Result<(), WireError> {
    match grant.replace(value) {
        None => Ok(()),
        Some(_) => Err(WireError::Repeated),
    }
}

/// serde refuses repeated fields of a struct by itself, and too deep nesting.
#[derive(Deserialize)]
struct Parameters {
    grant_type: Option<String>,
    payload: Option<Payload>,
}

#[derive(Deserialize)]
struct Payload {
    grant_type: Option<String>,
}

fn json(text: &[u8]) -> Result<Option<String>, WireError> {
    // An array would fill a struct's fields by position.
    if !text.starts_with(b"{") {
        return Err(WireError::BadJson);
    }
    let Parameters { grant_type, payload } = serde_json::from_slice(text).map_err(|error| {
        if error.to_string().starts_with("duplicate field") { WireError::Repeated } else { WireError::BadJson }
    })?;
    let inner = payload.and_then(|payload| payload.grant_type);
    match (grant_type, inner) {
        (Some(_), Some(_)) => Err(WireError::Repeated),
        (outer, inner) => Ok(outer.or(inner)),
    }
}

fn multipart(content_type: Option<&str>, body: Bytes) -> Result<Option<String>, WireError> {
    let declared = content_type.and_then(|text| multer::parse_boundary(text).ok());
    let boundary = match declared {
        Some(boundary) => boundary,
        None => first_line(&body).ok_or(WireError::BadMultipart)?,
    };
    let stream = futures::stream::iter([Ok::<_, std::convert::Infallible>(body)]);
    // The whole body is in memory, so nothing is ever waited for.
    grant_of(multer::Multipart::new(stream, boundary)).now_or_never().unwrap_or(Err(WireError::BadMultipart))
}

/// The boundary, for bodies whose `Content-Type` does not give it.
fn first_line(body: &[u8]) -> Option<String> {
    let line = body.split(|byte| *byte == b'\n').next()?.trim_ascii().strip_prefix(b"--")?;
    let text = std::str::from_utf8(line).ok()?;
    // RFC 2046 section 5.1.1: 1 to 70 characters.
    (1..=70).contains(&text.len()).then(|| text.to_owned())
}

async fn grant_of(mut form: multer::Multipart<'_>) -> Result<Option<String>, WireError> {
    let (mut grant, mut count) = (None, 0);
    while let Some(field) = form.next_field().await.map_err(|_| WireError::BadMultipart)? {
        count += 1;
        if count > MAX_PARAMETERS {
            return Err(WireError::TooMany);
        }
        if field.name() == Some("grant_type") {
            let bytes = field.bytes().await.map_err(|_| WireError::BadMultipart)?;
            let value = std::str::from_utf8(&bytes).map_err(|_| WireError::NotUtf8)?;
            once(&mut grant, value.trim().to_owned())?;
        }
    }
    Ok(grant)
}
