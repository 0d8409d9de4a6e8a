//! Credentials in an `Authorization: Basic` header (RFC 7617), as clients in the field really send them.
//!
//! ```text
//! Basic aWQ6czMlM0FjcmV0Cg==  →  "id:s3%3Acret\n"  →  id, s3%3Acret  →  s3:cret (form-decoded) · s3%3Acret (raw)
//! ```

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode;
use thiserror::Error;
use zeroize::Zeroizing;

/// A header longer than this is no credential: client IDs have up to 255 characters, and imported secrets are short.
const MAX_HEADER: usize = 8 * 1024;

/// Padding or none: half of all hand-made clients leave it away. What decodes is compared with a hash afterwards, so
/// tolerance here lets nobody in.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
    /// The client ID.
    pub client_id: String,
    /// The client secret.
    pub secret: Zeroizing<String>,
}

/// Every way to read the header, the likeliest first, each once; never empty.
///
/// # Errors
/// When the value is not `Basic` credentials with an ID and a secret.
pub fn candidates(header: &[u8]) -> Result<Vec<Candidate>, BasicError> {
    let text = decode(header)?;
    let (id, secret) = text.split_once(':').ok_or(BasicError::NoColon)?;
    if id.is_empty() {
        return Err(BasicError::EmptyId);
    }
    if secret.is_empty() {
        return Err(BasicError::EmptySecret);
    }
    let raw = Candidate { client_id: id.to_owned(), secret: Zeroizing::new(secret.to_owned()) };
    if !text.contains(['%', '+']) {
        return Ok(vec![raw]);
    }
    let colons = Candidate { client_id: with_colons(id), secret: Zeroizing::new(with_colons(secret)) };
    let mut all = Vec::with_capacity(3);
    for candidate in [form_decoded(id, secret), Some(raw), Some(colons)].into_iter().flatten() {
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
    let bytes = from_base64(value.trim_ascii_start())?;
    let end = bytes.iter().rposition(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n')).map_or(0, |last| last + 1);
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| BasicError::NotUtf8)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The two alphabets share no character with two meanings, so either is read.
fn from_base64(value: &[u8]) -> Result<Zeroizing<Vec<u8>>, BasicError> {
    let decoded = if value.iter().any(|b| matches!(b, b'-' | b'_')) {
        let standard = value.iter().map(|b| match b {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        });
        TOLERANT.decode(Zeroizing::new(standard.collect::<Vec<u8>>()).as_slice())
    } else {
        TOLERANT.decode(value)
    };
    decoded.map(Zeroizing::new).map_err(|_| BasicError::NotBase64)
}

/// As RFC 6749 section 2.3.1 has it; none if an escape is malformed, or what comes out is empty or not UTF-8.
fn form_decoded(id: &str, secret: &str) -> Option<Candidate> {
    let (client_id, secret) = (form_decode(id)?, Zeroizing::new(form_decode(secret)?));
    (!client_id.is_empty() && !secret.is_empty()).then_some(Candidate { client_id, secret })
}

/// Reads `application/x-www-form-urlencoded` text strictly: none if an escape is malformed or the result not UTF-8.
pub(super) fn form_decode(text: &str) -> Option<String> {
    let escapes_are_whole =
        text.bytes().enumerate().filter(|(_, byte)| *byte == b'%').all(|(at, _)| {
            text.as_bytes().get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
        });
    if !escapes_are_whole {
        return None;
    }
    let spaced = Zeroizing::new(text.replace('+', " "));
    String::from_utf8(percent_decode(spaced.as_bytes()).collect()).ok()
}

/// For clients that escape nothing but the colon which would split the pair.
fn with_colons(text: &str) -> String {
    text.replace("%3A", ":").replace("%3a", ":")
}
