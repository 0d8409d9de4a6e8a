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
    /// It did not arrive in time.
    #[error("Request body did not arrive in time")]
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
    /// More than `MAX_PARAMETERS`.
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
    // What nearly every client sends needs no parser.
    if body.strip_prefix(b"grant_type=").is_some_and(is_the_grant) {
        return Ok(());
    }
    let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii();
    let grant = match text {
        [] => None,
        [0x1F, 0x8B, ..] => return Err(WireError::Compressed),
        [b'{' | b'[' | b'"', ..] => json(text)?,
        [b'-', b'-', ..] => multipart(content_type, body.slice_ref(text))?,
        _ => form(text)?,
    };
    match grant {
        Some(grant) if !grant.is_empty() && !is_the_grant(grant.as_bytes()) => Err(WireError::GrantType),
        _ => Ok(()),
    }
}

fn is_the_grant(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"client_credentials")
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

/// serde refuses repeated fields of a struct by itself, and skips everything else without recursion.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";
    const MULTIPART: &str = "multipart/form-data; boundary=xYz";
    const PARTS: &str =
        "--xYz\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nClient_Credentials\r\n--xYz--\r\n";

    fn checked(content_type: Option<&str>, body: impl Into<Vec<u8>>) -> Result<(), WireError> {
        check(content_type, &Bytes::from(body.into()))
    }

    #[rstest]
    #[case("grant_type=Client_Credentials")]
    #[case("grant_type=client_credentials")]
    #[case("grant_type=CLIENT%5FCREDENTIALS")]
    #[case("a=b&grant_type=Client_Credentials&scope=x+y")]
    #[case(r#"{"grant_type":"Client_Credentials"}"#)]
    #[case(r#"{"payload":{"grant_type":"client_credentials","x":[1,{}]},"y":null}"#)]
    #[case(PARTS)]
    #[case("\u{FEFF}grant_type=Client_Credentials\n")]
    #[case("\u{FEFF}{\"grant_type\":\"Client_Credentials\"}")]
    // An empty body is what clients in the field send, and an absent or empty parameter is as good as none.
    #[case("")]
    #[case(" \r\n")]
    #[case("{}")]
    #[case(r#"{"grant_type":null,"payload":null}"#)]
    #[case("grant_type=")]
    #[case("scope=read")]
    fn the_grant_is_found_whatever_the_content_type_says(
        #[case] body: &str,
        #[values(None, Some(FORM), Some(JSON), Some(MULTIPART), Some("text/plain"), Some("multipart/form-data"))]
        content_type: Option<&str>,
    ) {
        assert_eq!(checked(content_type, body), Ok(()));
    }

    #[rstest]
    #[case("grant_type=password", WireError::GrantType)]
    #[case("grant_type=client_credentials+", WireError::GrantType)]
    #[case("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer", WireError::GrantType)]
    #[case(r#"{"grant_type":"authorization_code"}"#, WireError::GrantType)]
    #[case(
        "--xYz\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\npassword\r\n--xYz--\r\n",
        WireError::GrantType
    )]
    #[case("grant_type=client_credentials&grant_type=client_credentials", WireError::Repeated)]
    #[case(r#"{"grant_type":"client_credentials","grant_type":"password"}"#, WireError::Repeated)]
    #[case(r#"{"grant_type":"client_credentials","payload":{"grant_type":"client_credentials"}}"#, WireError::Repeated)]
    #[case("grant_type=%zz", WireError::BadEscape)]
    #[case("grant_type=client_credentials&x=%C0%AF", WireError::BadEscape)]
    #[case("%", WireError::BadEscape)]
    #[case(r#"{"grant_type":"client_credentials""#, WireError::BadJson)]
    #[case(r#"{"grant_type":7}"#, WireError::BadJson)]
    #[case(r#"{"grant_type":["client_credentials"]}"#, WireError::BadJson)]
    #[case(r#"["client_credentials"]"#, WireError::BadJson)]
    #[case(r#""client_credentials""#, WireError::BadJson)]
    #[case("--xYz", WireError::BadMultipart)]
    #[case("--xYz\r\nno header\r\n\r\nx\r\n", WireError::BadMultipart)]
    fn anything_else_is_refused_for_its_own_reason(#[case] body: &str, #[case] error: WireError) {
        assert_eq!(checked(Some(FORM), body), Err(error));
    }

    #[rstest]
    #[case(b"\x1F\x8B\x08\0\0\0\0\0".to_vec(), WireError::Compressed)]
    #[case(b"grant_type=\xFF".to_vec(), WireError::NotUtf8)]
    #[case(b"\xFF\xFEg\0r\0".to_vec(), WireError::NotUtf8)]
    #[case(b"--b\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\n\xFF\r\n--b--".to_vec(), WireError::NotUtf8)]
    fn bytes_that_are_no_text_are_refused(#[case] body: Vec<u8>, #[case] error: WireError) {
        assert_eq!(checked(None, body), Err(error));
    }

    #[rstest]
    #[case("a=b&".repeat(16_000), WireError::TooMany)]
    #[case("&".repeat(MAX_BODY), WireError::TooMany)]
    #[case(format!("{}--b--", "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n\r\n".repeat(1000)), WireError::TooMany)]
    fn what_is_too_much_is_refused(#[case] body: String, #[case] error: WireError) {
        assert_eq!(checked(None, body), Err(error));
    }

    #[test]
    fn what_is_not_read_may_be_long_or_deep() {
        assert_eq!(checked(Some(FORM), format!("scope={}", "a+".repeat(25_000))), Ok(()));
        assert_eq!(checked(None, format!("{{\"x\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000))), Ok(()));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(
            start in prop::sample::select(vec!["", "{", "--", "--b\r\n", "grant_type=", "\u{FEFF}", "{\"payload\":"]),
            rest in prop::collection::vec(any::<u8>(), 0..400),
            content_type in prop::option::of("[ -~]{0,60}"),
        ) {
            let mut body = start.as_bytes().to_vec();
            body.extend(rest);
            let _ = checked(content_type.as_deref(), body);
        }
    }
}
