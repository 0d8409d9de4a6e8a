//! The body of a request to the manual's endpoint: a form, JSON or a multipart form, whatever the `Content-Type` says
//! (the manual says JSON in its table, form in its text, and shows a urlencoded one).

use std::collections::HashMap;

use bytes::Bytes;
use futures::FutureExt;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::domain::assertion::ASSERTION_TYPE;
use crate::gateway::basic::{BasicError, Candidate, form_decode};
use crate::gateway::identify::Credentials;
use crate::gateway::refusal::Refusal;
use crate::gateway::request::{MAX_PARAMETERS, RequestError};

/// What a body says besides the grant. No `Debug`: an assertion is a credential.
#[derive(Default)]
pub struct Asked {
    /// `client_assertion`, of the one type there is.
    pub assertion: Option<Zeroizing<String>>,
    /// `client_id`.
    pub client_id: Option<String>,
}

impl Asked {
    /// The assertion, or the header's credentials.
    ///
    /// # Errors
    /// When there are both or none.
    pub fn credentials(self, header: Option<Vec<Candidate>>) -> Result<Credentials, Refusal> {
        match (header, self.assertion) {
            (Some(_), Some(_)) => Err(Refusal::Request(RequestError::TwoMethods)),
            (Some(candidates), None) => Ok(Credentials::Secret(candidates)),
            (None, Some(assertion)) => Ok(Credentials::Assertion(assertion, self.client_id)),
            (None, None) => Err(Refusal::Credentials(BasicError::Missing)),
        }
    }
}

/// Reads a body, which asks for the one grant there is. An empty one does (clients in the field send none), and so does
/// one that does not name a grant.
///
/// # Errors
/// When it asks for another one, authenticates in two ways, or cannot be read.
pub fn read(content_type: Option<&str>, body: &Bytes) -> Result<Asked, RequestError> {
    // What nearly every client sends needs no parser.
    if body.strip_prefix(b"grant_type=").is_some_and(is_the_grant) {
        return Ok(Asked::default());
    }
    let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii();
    let parameters = match text {
        [] => return Ok(Asked::default()),
        [0x1F, 0x8B, ..] => return Err(RequestError::Compressed),
        [b'{' | b'[' | b'"', ..] => json(text)?,
        [b'-', b'-', ..] => multipart(content_type, body.slice_ref(text))?,
        _ => form(text)?,
    };
    asked(parameters)
}

/// An empty parameter is as good as none.
fn asked(mut parameters: Parameters) -> Result<Asked, RequestError> {
    let mut take = |name| parameters.remove(name).filter(|value| !value.is_empty());
    if take(GRANT_TYPE).is_some_and(|grant| !is_the_grant(grant.as_bytes())) {
        return Err(RequestError::GrantType);
    }
    let (assertion, kind) = (take(ASSERTION), take(ASSERTION_KIND));
    let (client_id, secret) = (take(CLIENT_ID), take(CLIENT_SECRET));
    match (&assertion, kind) {
        (Some(_), _) if secret.is_some() => Err(RequestError::TwoMethods),
        (Some(_), Some(kind)) if *kind == ASSERTION_TYPE => Ok(()),
        (None, None) => Ok(()),
        _ => Err(RequestError::AssertionType),
    }?;
    Ok(Asked { assertion, client_id: client_id.map(|id| id.to_string()) })
}

/// The parameters that are read, by name.
type Parameters = HashMap<&'static str, Zeroizing<String>>;

const GRANT_TYPE: &str = "grant_type";
const ASSERTION: &str = "client_assertion";
const ASSERTION_KIND: &str = "client_assertion_type";
const CLIENT_ID: &str = "client_id";
const CLIENT_SECRET: &str = "client_secret";

/// The name of a parameter that is read.
fn known(name: &str) -> Option<&'static str> {
    [GRANT_TYPE, ASSERTION, ASSERTION_KIND, CLIENT_ID, CLIENT_SECRET].into_iter().find(|known| *known == name)
}

fn is_the_grant(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"client_credentials")
}

fn form(text: &[u8]) -> Result<Parameters, RequestError> {
    let text = std::str::from_utf8(text).map_err(|_| RequestError::NotUtf8)?;
    let mut parameters = Parameters::new();
    for (count, pair) in text.split('&').enumerate() {
        if count >= MAX_PARAMETERS {
            return Err(RequestError::TooMany);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = form_decode(name).ok_or(RequestError::BadEscape)?;
        let value = form_decode(value).ok_or(RequestError::BadEscape)?;
        if let Some(name) = known(&name) {
            once(&mut parameters, name, value.into_owned())?;
        }
    }
    Ok(parameters)
}

fn repeated(name: &str) -> RequestError {
    if name == GRANT_TYPE { RequestError::Repeated } else { RequestError::RepeatedParameter }
}

fn once(parameters: &mut Parameters, name: &'static str, value: String) -> Result<(), RequestError> {
    match parameters.insert(name, Zeroizing::new(value)) {
        None => Ok(()),
        Some(_) => Err(repeated(name)),
    }
}

/// serde refuses repeated fields of a struct by itself, and skips everything else without recursion.
#[derive(Deserialize)]
struct Object {
    grant_type: Option<String>,
    client_assertion: Option<String>,
    client_assertion_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    payload: Option<Payload>,
}

#[derive(Deserialize)]
struct Payload {
    grant_type: Option<String>,
    client_assertion: Option<String>,
    client_assertion_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

fn json(text: &[u8]) -> Result<Parameters, RequestError> {
    // An array would fill a struct's fields by position.
    if !text.starts_with(b"{") {
        return Err(RequestError::BadJson);
    }
    let Object { grant_type, client_assertion, client_assertion_type, client_id, client_secret, payload } =
        serde_json::from_slice(text).map_err(|error| {
            let text = error.to_string();
            let name = text.strip_prefix("duplicate field `").and_then(|rest| rest.split('`').next());
            name.map_or(RequestError::BadJson, repeated)
        })?;
    let mut all = vec![(grant_type, client_assertion, client_assertion_type, client_id, client_secret)];
    if let Some(Payload { grant_type, client_assertion, client_assertion_type, client_id, client_secret }) = payload {
        all.push((grant_type, client_assertion, client_assertion_type, client_id, client_secret));
    }
    let mut parameters = Parameters::new();
    for (grant_type, assertion, kind, client_id, secret) in all {
        let named = [
            (GRANT_TYPE, grant_type),
            (ASSERTION, assertion),
            (ASSERTION_KIND, kind),
            (CLIENT_ID, client_id),
            (CLIENT_SECRET, secret),
        ];
        for (name, value) in named {
            value.map(|value| once(&mut parameters, name, value)).transpose()?;
        }
    }
    Ok(parameters)
}

fn multipart(content_type: Option<&str>, body: Bytes) -> Result<Parameters, RequestError> {
    let declared = content_type.and_then(|text| multer::parse_boundary(text).ok());
    let boundary = match declared {
        Some(boundary) => boundary,
        None => first_line(&body).ok_or(RequestError::BadMultipart)?,
    };
    let stream = futures::stream::iter([Ok::<_, std::convert::Infallible>(body)]);
    // The whole body is in memory, so nothing is ever waited for.
    fields_of(multer::Multipart::new(stream, boundary)).now_or_never().unwrap_or(Err(RequestError::BadMultipart))
}

/// The boundary, for bodies whose `Content-Type` does not give it.
fn first_line(body: &[u8]) -> Option<String> {
    let line = body.split(|byte| *byte == b'\n').next()?.trim_ascii().strip_prefix(b"--")?;
    let text = std::str::from_utf8(line).ok()?;
    // RFC 2046 section 5.1.1: 1 to 70 characters.
    (1..=70).contains(&text.len()).then(|| text.to_owned())
}

async fn fields_of(mut form: multer::Multipart<'_>) -> Result<Parameters, RequestError> {
    let (mut parameters, mut count) = (Parameters::new(), 0);
    while let Some(field) = form.next_field().await.map_err(|_| RequestError::BadMultipart)? {
        count += 1;
        if count > MAX_PARAMETERS {
            return Err(RequestError::TooMany);
        }
        if let Some(name) = field.name().and_then(known) {
            let bytes = field.bytes().await.map_err(|_| RequestError::BadMultipart)?;
            let value = std::str::from_utf8(&bytes).map_err(|_| RequestError::NotUtf8)?;
            once(&mut parameters, name, value.trim().to_owned())?;
        }
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::request::MAX_BODY;
    use proptest::prelude::*;
    use rstest::rstest;

    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";
    const MULTIPART: &str = "multipart/form-data; boundary=xYz";
    const PARTS: &str =
        "--xYz\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nClient_Credentials\r\n--xYz--\r\n";

    fn checked(content_type: Option<&str>, body: impl Into<Vec<u8>>) -> Result<(), RequestError> {
        read(content_type, &Bytes::from(body.into())).map(drop)
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
    #[case("grant_type=password", RequestError::GrantType)]
    #[case("grant_type=client_credentials+", RequestError::GrantType)]
    #[case("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer", RequestError::GrantType)]
    #[case(r#"{"grant_type":"authorization_code"}"#, RequestError::GrantType)]
    #[case(
        "--xYz\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\npassword\r\n--xYz--\r\n",
        RequestError::GrantType
    )]
    #[case("grant_type=client_credentials&grant_type=client_credentials", RequestError::Repeated)]
    #[case(r#"{"grant_type":"client_credentials","grant_type":"password"}"#, RequestError::Repeated)]
    #[case(
        r#"{"grant_type":"client_credentials","payload":{"grant_type":"client_credentials"}}"#,
        RequestError::Repeated
    )]
    #[case("grant_type=%zz", RequestError::BadEscape)]
    #[case("grant_type=client_credentials&x=%C0%AF", RequestError::BadEscape)]
    #[case("%", RequestError::BadEscape)]
    #[case(r#"{"grant_type":"client_credentials""#, RequestError::BadJson)]
    #[case(r#"{"grant_type":7}"#, RequestError::BadJson)]
    #[case(r#"{"grant_type":["client_credentials"]}"#, RequestError::BadJson)]
    #[case(r#"["client_credentials"]"#, RequestError::BadJson)]
    #[case(r#""client_credentials""#, RequestError::BadJson)]
    #[case("--xYz", RequestError::BadMultipart)]
    #[case("--xYz\r\nno header\r\n\r\nx\r\n", RequestError::BadMultipart)]
    fn anything_else_is_refused_for_its_own_reason(#[case] body: &str, #[case] error: RequestError) {
        assert_eq!(checked(Some(FORM), body), Err(error));
    }

    #[rstest]
    #[case(b"\x1F\x8B\x08\0\0\0\0\0".to_vec(), RequestError::Compressed)]
    #[case(b"grant_type=\xFF".to_vec(), RequestError::NotUtf8)]
    #[case(b"\xFF\xFEg\0r\0".to_vec(), RequestError::NotUtf8)]
    #[case(b"--b\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\n\xFF\r\n--b--".to_vec(), RequestError::NotUtf8)]
    fn bytes_that_are_no_text_are_refused(#[case] body: Vec<u8>, #[case] error: RequestError) {
        assert_eq!(checked(None, body), Err(error));
    }

    #[rstest]
    #[case("a=b&".repeat(16_000), RequestError::TooMany)]
    #[case("&".repeat(MAX_BODY), RequestError::TooMany)]
    #[case(format!("{}--b--", "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n\r\n".repeat(1000)), RequestError::TooMany)]
    fn what_is_too_much_is_refused(#[case] body: String, #[case] error: RequestError) {
        assert_eq!(checked(None, body), Err(error));
    }

    #[test]
    fn what_is_not_read_may_be_long_or_deep() {
        assert_eq!(checked(Some(FORM), format!("scope={}", "a+".repeat(25_000))), Ok(()));
        assert_eq!(checked(None, format!("{{\"x\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000))), Ok(()));
    }

    const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

    #[rstest]
    #[case::form(format!("grant_type=client_credentials&client_assertion=a.b.c&client_id=x&client_assertion_type={}", KIND.replace(':', "%3A")))]
    #[case::form_unescaped(format!("client_assertion_type={KIND}&client_assertion=a.b.c&client_id=x"))]
    #[case::json(format!(r#"{{"client_assertion":"a.b.c","client_assertion_type":"{KIND}","client_id":"x","client_secret":""}}"#))]
    #[case::payload(format!(r#"{{"client_id":"x","payload":{{"client_assertion":"a.b.c","client_assertion_type":"{KIND}"}}}}"#))]
    #[case::multipart(["client_assertion", "client_assertion_type", "client_id"].iter().zip(["a.b.c", KIND, "x"]).map(|(name, value)| {
        format!("--xYz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }).collect::<String>() + "--xYz--\r\n")]
    fn an_assertion_is_found_in_every_kind_of_body(#[case] body: String) {
        let asked = read(None, &Bytes::from(body)).unwrap();
        assert_eq!(asked.assertion.as_ref().map(|text| text.as_str()), Some("a.b.c"));
        assert_eq!(asked.client_id.as_deref(), Some("x"));
    }

    #[rstest]
    #[case("client_assertion=a.b.c".into(), RequestError::AssertionType)]
    #[case("client_assertion=a.b.c&client_assertion_type=jwt".into(), RequestError::AssertionType)]
    #[case(format!("client_assertion_type={KIND}"), RequestError::AssertionType)]
    #[case(format!("client_assertion=&client_assertion_type={KIND}"), RequestError::AssertionType)]
    #[case(format!("client_assertion=a&client_assertion_type={KIND}&client_secret=s"), RequestError::TwoMethods)]
    #[case(format!("client_assertion=a&client_assertion=b&client_assertion_type={KIND}"), RequestError::RepeatedParameter)]
    #[case(r#"{"client_id":"a","client_id":"b"}"#.into(), RequestError::RepeatedParameter)]
    #[case(r#"{"client_id":"a","payload":{"client_id":"b"}}"#.into(), RequestError::RepeatedParameter)]
    #[case(r#"{"payload":{},"payload":{}}"#.into(), RequestError::RepeatedParameter)]
    #[case(r#"{"client_assertion":["a.b.c"]}"#.into(), RequestError::BadJson)]
    fn an_assertion_stands_once_with_its_type_and_without_a_secret(#[case] body: String, #[case] error: RequestError) {
        assert_eq!(checked(None, body), Err(error));
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
