//! JSON objects without repeated members: of two, one library takes the first and another the last (RFC 7519 section 4
//! lets us refuse).

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::AssertionError;

const REPEATED: &str = "repeated member";

struct Strict(Map<String, Value>);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Strict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Strict, A::Error> {
                let mut seen = Map::new();
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    if seen.insert(name, value).is_some() {
                        return Err(A::Error::custom(REPEATED));
                    }
                }
                Ok(Strict(seen))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Reads an object.
///
/// # Errors
/// When it is none, or a member of it stands there twice.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, AssertionError> {
    serde_json::from_slice(bytes).map(|Strict(members)| members).map_err(|error| {
        if error.to_string().starts_with(REPEATED) { AssertionError::Repeated } else { AssertionError::NotAJwt }
    })
}
