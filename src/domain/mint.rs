//! New client IDs and client secrets, from the randomness that the caller hands in.

use rand::TryRng;
use secrecy::SecretString;
use uuid::Builder;

/// The length of a generated client secret (manual page 000: "32 character").
pub const SECRET_LENGTH: usize = 32;

/// `A–Z a–z 0–9 - _ .`: 65 characters that survive every shell, YAML, URL and `.env` unquoted.
const ALPHABET: &[u8; 65] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";

/// A random UUID (RFC 9562 version 4).
///
/// # Errors
/// When the random source fails: an error, never a weak ID.
pub fn client_id<R: TryRng>(random: &mut R) -> Result<String, R::Error> {
    let mut bytes = [0; 16];
    random.try_fill_bytes(&mut bytes)?;
    Ok(Builder::from_random_bytes(bytes).into_uuid().hyphenated().to_string())
}

/// A client secret: 32 characters, the first and last alphanumeric, with at least one upper, lower, digit and special
/// character; about 190 bits. Drawn whole and thrown away until it fits, so that every fitting one is as likely.
///
/// # Errors
/// When the random source fails: an error, never a weak secret.
pub fn client_secret<R: TryRng>(random: &mut R) -> Result<SecretString, R::Error> {
    loop {
        let mut text = String::with_capacity(SECRET_LENGTH);
        while text.len() < SECRET_LENGTH {
            text.push(character(random)?);
        }
        let candidate = SecretString::from(text);
        if well_formed(secrecy::ExposeSecret::expose_secret(&candidate)) {
            return Ok(candidate);
        }
    }
}

/// One character, each as likely: bytes from 195 on (3 × 65) are drawn again.
fn character<R: TryRng>(random: &mut R) -> Result<char, R::Error> {
    loop {
        let mut byte = [0];
        random.try_fill_bytes(&mut byte)?;
        if usize::from(byte[0]) < 3 * ALPHABET.len() {
            return Ok(char::from(ALPHABET[usize::from(byte[0]) % ALPHABET.len()]));
        }
    }
}

/// Whether a text has the shape of a generated client secret.
#[must_use]
pub fn well_formed(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() == SECRET_LENGTH
        && text.bytes().all(|b| ALPHABET.contains(&b))
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text.contains(|c: char| c.is_ascii_uppercase())
        && text.contains(|c: char| c.is_ascii_lowercase())
        && text.contains(|c: char| c.is_ascii_digit())
        && text.contains(['-', '_', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};
    use secrecy::ExposeSecret;

    /// A source that fails, as a broken operating system's would.
    struct Broken;

    impl TryRng for Broken {
        type Error = std::io::Error;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Err(std::io::Error::other("no entropy"))
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Err(std::io::Error::other("no entropy"))
        }
        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Self::Error> {
            Err(std::io::Error::other("no entropy"))
        }
    }

    #[test]
    fn every_secret_is_well_formed_and_every_character_occurs() {
        let mut random = StdRng::seed_from_u64(7);
        let all: String = (0..2000)
            .map(|_| client_secret(&mut random).unwrap().expose_secret().to_owned())
            .inspect(|secret| assert!(well_formed(secret)))
            .collect();
        assert!(ALPHABET.iter().all(|c| all.contains(char::from(*c))));
    }

    #[test]
    fn characters_are_drawn_without_bias() {
        let mut random = StdRng::seed_from_u64(11);
        let mut counts = [0u32; 65];
        for _ in 0..65_000 {
            let c = character(&mut random).unwrap();
            counts[ALPHABET.iter().position(|a| char::from(*a) == c).unwrap()] += 1;
        }
        // Expected 1,000 each with a standard deviation of 31; five of them.
        assert!(counts.iter().all(|n| (845..=1155).contains(n)), "{counts:?}");
    }

    #[test]
    fn a_client_id_is_a_version_4_uuid() {
        let id = client_id(&mut StdRng::seed_from_u64(1)).unwrap();
        let uuid = uuid::Uuid::try_parse(&id).unwrap();
        assert_eq!((uuid.get_version_num(), id.len()), (4, 36));
    }

    #[test]
    fn a_failing_random_source_is_an_error_and_never_a_weak_credential() {
        assert!(client_secret(&mut Broken).is_err());
        assert!(client_id(&mut Broken).is_err());
    }
}
