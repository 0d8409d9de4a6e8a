//! The forms that the standard endpoints take, read strictly, and the credentials in them.

use http::HeaderMap;
use zeroize::Zeroizing;

use crate::domain::assertion::ASSERTION_TYPE;
use crate::gateway::basic::{BasicError, Candidate, form_decode};
use crate::gateway::identify::Credentials;
use crate::gateway::refusal::Refusal;
use crate::gateway::request::{self, MAX_PARAMETERS, RequestError};

/// What a request asks. No `Debug`: it holds secrets.
#[derive(Default)]
pub struct Form {
    /// `grant_type`.
    pub grant_type: Option<String>,
    /// `scope`.
    pub scope: Option<String>,
    /// Every `audience` and `resource`.
    pub targets: Vec<String>,
    /// `token`.
    pub token: Option<Zeroizing<String>>,
    client_id: Option<String>,
    client_secret: Option<Zeroizing<String>>,
    assertion: Option<Zeroizing<String>>,
    assertion_type: Option<String>,
}

/// Reads a form (RFC 6749 section 3.2 and appendix B): parameters without a value are as good as none, those that are
/// not known are ignored, and none of ours may be repeated but the targets (RFC 8707 section 2).
///
/// # Errors
/// When it is no form.
pub fn form(content_type: Option<&str>, body: &[u8]) -> Result<Form, RequestError> {
    let media_type = content_type.map(|text| text.split(';').next().unwrap_or_default().trim());
    if media_type.is_some_and(|text| !text.eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
        return Err(RequestError::NoForm);
    }
    let text = std::str::from_utf8(body.trim_ascii()).map_err(|_| RequestError::NotUtf8)?;
    let mut form = Form::default();
    for (count, pair) in text.split('&').enumerate() {
        if count >= MAX_PARAMETERS {
            return Err(RequestError::TooMany);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = form_decode(name).ok_or(RequestError::BadEscape)?;
        let value = form_decode(value).ok_or(RequestError::BadEscape)?;
        if !value.is_empty() {
            form.take(&name, Zeroizing::new(value.into_owned()))?;
        }
    }
    Ok(form)
}

impl Form {
    fn take(&mut self, name: &str, mut value: Zeroizing<String>) -> Result<(), RequestError> {
        let place = match name {
            "grant_type" => &mut self.grant_type,
            "scope" => &mut self.scope,
            "client_id" => &mut self.client_id,
            "client_assertion_type" => &mut self.assertion_type,
            "client_assertion" => return once(&mut self.assertion, value),
            "client_secret" => return once(&mut self.client_secret, value),
            "token" => return once(&mut self.token, value),
            "audience" | "resource" => {
                self.targets.push(std::mem::take(&mut value));
                return Ok(());
            }
            _ => return Ok(()),
        };
        once(place, std::mem::take(&mut value))
    }

    /// The credentials in the header or in the form, never in both (RFC 6749 section 2.3). Those in the form are not
    /// escaped once more.
    ///
    /// # Errors
    /// When there are none, or more than one way of authentication was used.
    pub fn credentials(&self, headers: &HeaderMap) -> Result<Credentials, Refusal> {
        let header = request::authorization(headers)?;
        let ways = [header.is_some(), self.client_secret.is_some(), self.assertion.is_some()];
        if ways.into_iter().filter(|used| *used).count() > 1 {
            return Err(Refusal::Request(RequestError::TwoMethods));
        }
        match (&self.assertion, self.assertion_type.as_deref()) {
            (None, None) => {}
            (Some(text), Some(ASSERTION_TYPE)) => {
                return Ok(Credentials::Assertion(text.clone(), self.client_id.clone()));
            }
            _ => return Err(Refusal::Request(RequestError::AssertionType)),
        }
        match (header, &self.client_id, &self.client_secret) {
            (Some(candidates), Some(id), _) if candidates.iter().all(|candidate| candidate.client_id() != id) => {
                Err(Refusal::Request(RequestError::OtherClient))
            }
            (Some(candidates), ..) => Ok(Credentials::Secret(candidates)),
            (None, Some(id), Some(secret)) => Ok(Credentials::Secret(vec![Candidate::new(id, secret)])),
            (None, None, Some(_)) => Err(Refusal::Credentials(BasicError::EmptyId)),
            (None, ..) => Err(Refusal::Credentials(BasicError::Missing)),
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), RequestError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(RequestError::RepeatedParameter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use http::HeaderValue;
    use http::header::AUTHORIZATION;
    use proptest::prelude::*;
    use rstest::rstest;

    const FORM: &str = "application/x-www-form-urlencoded";

    fn basic(pair: &str) -> HeaderMap {
        let value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair))).unwrap();
        [(AUTHORIZATION, value)].into_iter().collect()
    }

    fn pairs(headers: &HeaderMap, body: &str) -> Result<Vec<(String, String)>, Refusal> {
        let credentials = form(Some(FORM), body.as_bytes()).map_err(Refusal::Request)?.credentials(headers)?;
        let Credentials::Secret(candidates) = credentials else { panic!("an assertion") };
        Ok(candidates.iter().map(|c| (c.client_id().to_owned(), c.secret().to_owned())).collect())
    }

    #[test]
    fn parameters_are_decoded_empty_ones_are_none_and_unknown_ones_are_ignored() {
        let body =
            "grant_type=client_credentials&scope=a+b%2Fc&audience=x&resource=https%3A%2F%2Fy&scope=&foo=1&foo=2&token=";
        let form = form(Some("Application/X-WWW-Form-Urlencoded; charset=UTF-8"), body.as_bytes()).unwrap();
        assert_eq!(form.grant_type.as_deref(), Some("client_credentials"));
        assert_eq!((form.scope.as_deref(), form.token.is_none()), (Some("a b/c"), true));
        assert_eq!(form.targets, ["x", "https://y"]);
    }

    #[rstest]
    #[case(Some("application/json"), "{}", RequestError::NoForm)]
    #[case(Some("multipart/form-data; boundary=x"), "--x--", RequestError::NoForm)]
    #[case(Some(""), "a=b", RequestError::NoForm)]
    #[case(None, "a=%zz", RequestError::BadEscape)]
    #[case(None, "a=%C0%AF", RequestError::BadEscape)]
    #[case(Some(FORM), "scope=a&scope=b", RequestError::RepeatedParameter)]
    #[case(Some(FORM), "client_secret=a&client_secret=a", RequestError::RepeatedParameter)]
    #[case(Some(FORM), "grant_type=a&grant%5Ftype=a", RequestError::RepeatedParameter)]
    fn what_is_no_form_is_refused(#[case] content_type: Option<&str>, #[case] body: &str, #[case] error: RequestError) {
        assert_eq!(form(content_type, body.as_bytes()).err(), Some(error));
    }

    #[test]
    fn bytes_and_floods_are_refused() {
        assert_eq!(form(None, b"scope=\xFF").err(), Some(RequestError::NotUtf8));
        assert_eq!(form(None, "&".repeat(MAX_PARAMETERS).as_bytes()).err(), Some(RequestError::TooMany));
        assert!(form(None, format!("scope={}", "a+".repeat(25_000)).as_bytes()).is_ok());
    }

    #[rstest]
    #[case::basic(basic("id:s"), "", &[("id", "s")])]
    #[case::basic_and_the_same_client_id(basic("id:s"), "client_id=id", &[("id", "s")])]
    #[case::basic_escaped_and_the_same_client_id(basic("a%3Ab:s"), "client_id=a%3Ab", &[("a:b", "s"), ("a%3Ab", "s")])]
    #[case::post(HeaderMap::new(), "client_id=a%3Ab&client_secret=%2B%2541", &[("a:b", "+%41")])]
    fn credentials_come_from_the_header_or_from_the_form(
        #[case] headers: HeaderMap,
        #[case] body: &str,
        #[case] expected: &[(&str, &str)],
    ) {
        let expected: Vec<_> = expected.iter().map(|(id, s)| ((*id).to_owned(), (*s).to_owned())).collect();
        assert_eq!(pairs(&headers, body), Ok(expected));
    }

    #[rstest]
    #[case::none(HeaderMap::new(), "", Refusal::Credentials(BasicError::Missing))]
    #[case::no_secret(HeaderMap::new(), "client_id=id&client_secret=", Refusal::Credentials(BasicError::Missing))]
    #[case::no_id(HeaderMap::new(), "client_secret=s", Refusal::Credentials(BasicError::EmptyId))]
    #[case::unreadable(basic("nocolon"), "client_id=id&client_secret=s", Refusal::Credentials(BasicError::NoColon))]
    #[case::two_ways(basic("id:s"), "client_id=id&client_secret=s", Refusal::Request(RequestError::TwoMethods))]
    #[case::two_others(
        HeaderMap::new(),
        "client_id=id&client_secret=s&client_assertion=x",
        Refusal::Request(RequestError::TwoMethods)
    )]
    #[case::an_assertion_besides_basic(
        basic("id:s"),
        &format!("client_assertion=x&client_assertion_type={ASSERTION_TYPE}"),
        Refusal::Request(RequestError::TwoMethods)
    )]
    #[case::an_assertion_of_no_type(
        HeaderMap::new(),
        "client_assertion=x",
        Refusal::Request(RequestError::AssertionType)
    )]
    #[case::an_assertion_of_another_type(
        HeaderMap::new(),
        "client_assertion=x&client_assertion_type=saml",
        Refusal::Request(RequestError::AssertionType)
    )]
    #[case::a_type_without_an_assertion(
        HeaderMap::new(),
        &format!("client_id=id&client_secret=s&client_assertion_type={ASSERTION_TYPE}"),
        Refusal::Request(RequestError::AssertionType)
    )]
    #[case::another_client(basic("id:s"), "client_id=other", Refusal::Request(RequestError::OtherClient))]
    fn anything_else_is_refused_for_its_own_reason(
        #[case] headers: HeaderMap,
        #[case] body: &str,
        #[case] refusal: Refusal,
    ) {
        assert_eq!(pairs(&headers, body), Err(refusal));
    }

    #[test]
    fn an_assertion_comes_with_its_type_and_perhaps_a_client_id() {
        let body = format!("client_assertion=a.b.c&client_id=id&client_assertion_type={ASSERTION_TYPE}");
        match form(Some(FORM), body.as_bytes()).unwrap().credentials(&HeaderMap::new()) {
            Ok(Credentials::Assertion(text, id)) => assert_eq!((text.as_str(), id.as_deref()), ("a.b.c", Some("id"))),
            _ => panic!("no assertion"),
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = form(None, &body).map(|form| form.credentials(&HeaderMap::new()).is_ok());
        }
    }
}
