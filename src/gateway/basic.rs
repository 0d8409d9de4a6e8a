//! Credentials in an `Authorization: Basic` header (RFC 7617), as clients in the field really send them.
//!
//! ```text
//! Basic aWQ6czMlM0FjcmV0Cg==  →  "id:s3%3Acret\n"  →  id, s3%3Acret  →  s3:cret (form-decoded) · s3%3Acret (raw)
//! ```

use std::borrow::Cow;

use base64::Engine;
use percent_encoding::percent_decode;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::domain::base64::TOLERANT;

/// A header longer than this is no credential: client IDs have up to 255 characters, and imported secrets are short.
const MAX_HEADER: usize = 8 * 1024;

/// Why a header holds no credentials. For the log; the answer says the same for all. Quotes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BasicError {
    /// No `Authorization` header.
    #[error("no authorization header")]
    Missing,
    /// More than one of them.
    #[error("more than one authorization header")]
    Repeated,
    /// Not `Basic` and one value.
    #[error("the authorization header is not Basic")]
    OtherScheme,
    /// More than 8 KiB.
    #[error("the authorization header is longer than {MAX_HEADER} bytes")]
    TooLong,
    /// Not base64 (RFC 4648), neither the standard nor the URL-safe alphabet.
    #[error("the credentials are not base64")]
    NotBase64,
    /// Not UTF-8.
    #[error("the credentials are not UTF-8")]
    NotUtf8,
    /// No colon between client ID and secret.
    #[error("the credentials have no colon")]
    NoColon,
    /// Empty client ID.
    #[error("the client ID is empty")]
    EmptyId,
    /// Empty client secret.
    #[error("the client secret is empty")]
    EmptySecret,
}

/// One way to read what was presented. No `Debug`: it holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Both, with a colon between them: what was presented is not copied.
    text: Zeroizing<String>,
    colon: usize,
}

impl Candidate {
    /// Of a client ID and a client secret.
    #[must_use]
    pub fn new(client_id: &str, secret: &str) -> Self {
        Self { text: Zeroizing::new([client_id, ":", secret].concat()), colon: client_id.len() }
    }

    /// The client ID.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.text[..self.colon]
    }

    /// The client secret.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.text[self.colon + 1..]
    }
}

/// Every way to read the header, the likeliest first, each once; never empty.
///
/// # Errors
/// When the value is not `Basic` credentials with an ID and a secret.
pub fn candidates(header: &[u8]) -> Result<Vec<Candidate>, BasicError> {
    let text = decode(header)?;
    let colon = text.find(':').ok_or(BasicError::NoColon)?;
    if colon == 0 {
        return Err(BasicError::EmptyId);
    }
    if colon + 1 == text.len() {
        return Err(BasicError::EmptySecret);
    }
    let raw = Candidate { text, colon };
    if !is_escaped(&raw.text) {
        return Ok(vec![raw]);
    }
    let (id, secret) = (raw.client_id(), raw.secret());
    let (decoded, colons) =
        (form_decoded(id, secret), Candidate::new(&with_colons(id), &Zeroizing::new(with_colons(secret))));
    let mut all = Vec::with_capacity(3);
    for candidate in [decoded, Some(raw), Some(colons)].into_iter().flatten() {
        if !all.contains(&candidate) {
            all.push(candidate);
        }
    }
    Ok(all)
}

/// The decoded credentials without trailing white space: the manual's own example ends in a line end, as everything
/// does that went through `echo`.
fn decode(header: &[u8]) -> Result<Zeroizing<String>, BasicError> {
    if header.len() > MAX_HEADER {
        return Err(BasicError::TooLong);
    }
    let header = header.trim_ascii();
    let (scheme, value) = header.split_at_checked(5).ok_or(BasicError::OtherScheme)?;
    if !scheme.eq_ignore_ascii_case(b"basic") || !value.first().is_some_and(|b| matches!(b, b' ' | b'\t')) {
        return Err(BasicError::OtherScheme);
    }
    let mut bytes = from_base64(value.trim_ascii_start())?;
    let end = bytes.iter().rposition(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n')).map_or(0, |last| last + 1);
    bytes.truncate(end);
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(BasicError::NotUtf8)
        }
    }
}

/// The two alphabets share no character with two meanings, so either is read. What decodes is compared with a hash
/// afterwards: tolerance here lets nobody in.
fn from_base64(value: &[u8]) -> Result<Zeroizing<Vec<u8>>, BasicError> {
    decoded(value).or_else(|error| {
        let standard = value.iter().map(|b| match b {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        });
        let standard = Zeroizing::new(standard.collect::<Vec<u8>>());
        if *standard == value { Err(error) } else { decoded(&standard) }
    })
}

fn decoded(value: &[u8]) -> Result<Zeroizing<Vec<u8>>, BasicError> {
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(value.len())]);
    let length = TOLERANT.decode_slice(value, &mut bytes).map_err(|_| BasicError::NotBase64)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// As RFC 6749 section 2.3.1 has it; none if an escape is malformed, or what comes out is empty or not UTF-8.
fn form_decoded(id: &str, secret: &str) -> Option<Candidate> {
    let (client_id, secret) = (form_decode(id)?.into_owned(), Zeroizing::new(form_decode(secret)?.into_owned()));
    (!client_id.is_empty() && !secret.is_empty()).then(|| Candidate::new(&client_id, &secret))
}

/// Reads `application/x-www-form-urlencoded` text strictly: none if an escape is malformed or the result not UTF-8.
pub(super) fn form_decode(text: &str) -> Option<Cow<'_, str>> {
    if !is_escaped(text) {
        return Some(Cow::Borrowed(text));
    }
    let escapes_are_whole =
        text.bytes().enumerate().filter(|(_, byte)| *byte == b'%').all(|(at, _)| {
            text.as_bytes().get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
        });
    if !escapes_are_whole {
        return None;
    }
    let spaced = Zeroizing::new(text.replace('+', " "));
    String::from_utf8(percent_decode(spaced.as_bytes()).collect()).ok().map(Cow::Owned)
}

/// Whether form-decoding could change it.
fn is_escaped(text: &str) -> bool {
    // A slice's `contains` is a vectorized search; `any` is not.
    text.as_bytes().contains(&b'%') || text.as_bytes().contains(&b'+')
}

/// For clients that escape nothing but the colon which would split the pair.
fn with_colons(text: &str) -> String {
    text.replace("%3A", ":").replace("%3a", ":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};
    use proptest::prelude::*;
    use rstest::rstest;

    type Pairs = Vec<(String, String)>;

    fn pairs(header: &str) -> Result<Pairs, BasicError> {
        let read = candidates(header.as_bytes())?;
        Ok(read.iter().map(|c| (c.client_id().to_owned(), c.secret().to_owned())).collect())
    }

    fn basic(credentials: impl AsRef<[u8]>) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(credentials))
    }

    fn owned(expected: &[(&str, &str)]) -> Pairs {
        expected.iter().map(|(id, secret)| ((*id).to_owned(), (*secret).to_owned())).collect()
    }

    #[test]
    fn the_manuals_sample_header_is_read_with_its_secret_as_it_stands() {
        let header =
            "Basic NTIxYzNhZDItZWE0ZS00NDdiLWE1MWItOTYyMWJiN2VhMTI2OjU1QVUjTk84JSpaaGd2TmZhWVVtdHZYMGRrRWhvZGJpCg==";
        let expected = [("521c3ad2-ea4e-447b-a51b-9621bb7ea126", "55AU#NO8%*ZhgvNfaYUmtvX0dkEhodbi")];
        assert_eq!(pairs(header), Ok(owned(&expected)));
    }

    #[rstest]
    // Raw, as curl, requests, Authlib and httpx send it; generated secrets read the same in every way.
    #[case("id:aA0-_.z", &[("id", "aA0-_.z")])]
    // Escaped, as Go's x/oauth2 (- stays) and openid-client (- and . do not) send it.
    #[case("id:a%2Fb", &[("id", "a/b"), ("id", "a%2Fb")])]
    #[case("a%2Db:c%2Ed", &[("a-b", "c.d"), ("a%2Db", "c%2Ed")])]
    // + is a space in a form, and itself when raw.
    #[case("id:a+b", &[("id", "a b"), ("id", "a+b")])]
    // A colon in the ID has to be escaped somehow, or it splits the pair.
    #[case("sys%3Ashop%3aa:s", &[("sys:shop:a", "s"), ("sys%3Ashop%3aa", "s")])]
    #[case("a%3Ab:10%", &[("a%3Ab", "10%"), ("a:b", "10%")])]
    // Everything after the first colon is secret.
    #[case("id:a:b:c", &[("id", "a:b:c")])]
    // An escape that is malformed, or not UTF-8 (overlong, cut), means that nothing was escaped.
    #[case("id:%zz", &[("id", "%zz")])]
    #[case("id:50%", &[("id", "50%")])]
    #[case("id:%4", &[("id", "%4")])]
    #[case("id:%C0%AF", &[("id", "%C0%AF")])]
    #[case("id:a%00b", &[("id", "a\0b"), ("id", "a%00b")])]
    // What decodes to nothing was not escaped either.
    #[case("id:%2", &[("id", "%2")])]
    // White space is stripped at the end, and only there.
    #[case("id:s \t\r\n\n", &[("id", "s")])]
    #[case(" id: s", &[(" id", " s")])]
    #[case("id:ü", &[("id", "ü")])]
    fn credentials_are_read_in_every_way_they_may_be_meant(#[case] sent: &str, #[case] expected: &[(&str, &str)]) {
        assert_eq!(pairs(&basic(sent)), Ok(owned(expected)));
    }

    #[rstest]
    #[case(format!("basic {}", BASE64_STANDARD.encode("id:s")))]
    #[case(format!("BASIC\t {}  ", BASE64_STANDARD.encode("id:s")))]
    #[case(format!("Basic {}", BASE64_STANDARD_NO_PAD.encode("id:s")))]
    #[case(format!("Basic {}", BASE64_URL_SAFE.encode("id:s")))]
    fn scheme_padding_and_alphabet_are_read_tolerantly(#[case] header: String) {
        assert_eq!(pairs(&header), Ok(owned(&[("id", "s")])));
    }

    #[test]
    fn the_url_safe_alphabet_means_the_same_bytes() {
        // "~~~" and "???" are where the alphabets differ.
        let (standard, safe) = (BASE64_STANDARD.encode("id:~~~???>>>"), BASE64_URL_SAFE.encode("id:~~~???>>>"));
        assert!(standard != safe && pairs(&format!("Basic {safe}")) == pairs(&format!("Basic {standard}")));
    }

    #[rstest]
    #[case("", BasicError::OtherScheme)]
    #[case("Bearer aWQ6cw==", BasicError::OtherScheme)]
    #[case("BasicaWQ6cw==", BasicError::OtherScheme)]
    #[case("Basic", BasicError::OtherScheme)]
    #[case("Basi\u{e9} aWQ6cw==", BasicError::OtherScheme)]
    #[case("Basic ", BasicError::OtherScheme)]
    #[case("Basic =", BasicError::NotBase64)]
    #[case("Basic !!!!", BasicError::NotBase64)]
    #[case("Basic aWQ6 cw==", BasicError::NotBase64)]
    #[case("Basic aWQ6cw==, Basic aWQ6cw==", BasicError::NotBase64)]
    #[case("Basic aWQ6cx==", BasicError::NotBase64)]
    #[case("Basic aWRz", BasicError::NoColon)]
    #[case("Basic OnM=", BasicError::EmptyId)]
    #[case("Basic aWQ6", BasicError::EmptySecret)]
    #[case("Basic aWQ6Cg==", BasicError::EmptySecret)]
    #[case("Basic aWQ6//8=", BasicError::NotUtf8)]
    fn anything_else_is_refused_for_its_own_reason(#[case] header: &str, #[case] error: BasicError) {
        assert_eq!(pairs(header), Err(error));
    }

    #[test]
    fn a_header_of_64_kilobytes_is_refused_before_it_is_decoded() {
        assert_eq!(pairs(&basic(vec![b'a'; 48 * 1024])), Err(BasicError::TooLong));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = candidates(&header);
        }

        #[test]
        fn no_credentials_make_it_panic_and_the_raw_pair_is_always_among_the_candidates(text in "\\PC{1,20}:\\PC{0,40}[!-~]") {
            let all = pairs(&basic(&text));
            let (id, secret) = text.split_once(':').unwrap();
            if !id.is_empty() {
                prop_assert!(all.unwrap().contains(&(id.to_owned(), secret.to_owned())));
            }
        }

        #[test]
        fn what_a_form_encoder_sends_is_read_back_first(id in "\\PC{1,20}", secret in "\\PC{0,40}[!-~]") {
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let sent = format!("{}:{}", encode(&id), encode(&secret));
            prop_assert_eq!(pairs(&basic(sent)).unwrap().remove(0), (id, secret));
        }
    }
}
