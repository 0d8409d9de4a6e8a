//! JSON written without a serializer, for what every token request writes: its claims and its line in the log. Nearly none
//! of it holds a character that needs an escape, and serde_json looks at each byte by itself.

use std::fmt::Write;

/// Appends a string, quoted.
pub fn string(json: &mut String, text: &str) {
    json.push('"');
    escape(json, text);
    json.push('"');
}

/// Appends what stands between the quotes of a string (RFC 8259 section 7): nothing in `text` can end it, or the line.
pub fn escape(json: &mut String, text: &str) {
    if is_plain(text.as_bytes()) {
        return json.push_str(text);
    }
    let mut rest = text;
    while let Some(at) = rest.bytes().position(needs_escape) {
        json.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => json.push_str("\\\""),
            b'\\' => json.push_str("\\\\"),
            b'\n' => json.push_str("\\n"),
            // A String takes everything.
            control => drop(write!(json, "\\u{control:04x}")),
        }
        rest = &rest[at + 1..];
    }
    json.push_str(rest);
}

/// Appends a number.
pub fn number(json: &mut String, number: impl itoa::Integer) {
    json.push_str(itoa::Buffer::new().format(number));
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Eight bytes at a time: to look at each by itself took longer than everything else about an object.
fn is_plain(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let rest = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    // What there is not in the last word counts as spaces.
    let filler = u64::from_ne_bytes([b' '; 8]).checked_shl(8 * (text.len() as u32 % 8)).unwrap_or_default();
    words.iter().map(|word| u64::from_ne_bytes(*word)).chain([rest | filler]).all(is_plain_word)
}

/// By the borrow that a subtraction leaves in a byte's highest bit (Hacker's Delight, section 6-1); bytes above 127 have it
/// anyway and are plain.
fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let below = |bytes: u64, bound: u64| bytes.wrapping_sub(ONES * bound) & !bytes & HIGH;
    let quote = below(word ^ (ONES * u64::from(b'"')), 1);
    let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
    below(word, 0x20) | quote | backslash == 0
}

/// An object, member by member.
pub struct Object(String);

impl Object {
    /// An empty one with room for the claims of a token.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(512)
    }

    /// An empty one with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut json = String::with_capacity(bytes);
        json.push('{');
        Self(json)
    }

    /// A member that is a string.
    pub fn text(&mut self, name: &str, value: &str) {
        self.member(name);
        string(&mut self.0, value);
    }

    /// A member that is a number.
    pub fn number(&mut self, name: &str, value: i64) {
        self.member(name);
        number(&mut self.0, value);
    }

    /// A member that is an array of strings.
    pub fn texts(&mut self, name: &str, values: &[&str]) {
        self.member(name);
        self.0.push('[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                self.0.push(',');
            }
            string(&mut self.0, value);
        }
        self.0.push(']');
    }

    /// A member that is an object.
    pub fn object(&mut self, name: &str, value: Self) {
        self.member(name);
        self.0.push_str(&value.end());
    }

    /// Its text.
    #[must_use]
    pub fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn member(&mut self, name: &str) {
        self.0.push_str(if self.0.len() > 1 { ",\"" } else { "\"" });
        escape(&mut self.0, name);
        self.0.push_str("\":");
    }
}

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    proptest! {
        #[test]
        fn whatever_is_written_reads_back(name in "\\PC*|[\\x00-\\x7F]*", value in "\\PC*|[\\x00-\\x7F]{0,80}", n: i64) {
            let mut inner = Object::new();
            inner.text(&name, &value);
            let mut object = Object::new();
            object.text("text", &value);
            object.number("number", n);
            object.texts("texts", &[&value, &name]);
            object.object("object", inner);
            let json = object.end();
            prop_assert!(!json.contains('\n'));
            let expected = json!({"text": value, "number": n, "texts": [value, name], "object": {name: value}});
            prop_assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), expected);
        }
    }

    #[test]
    fn members_keep_their_order_and_an_object_may_be_empty() {
        let mut object = Object::new();
        object.text("b", "ü\"");
        object.texts("a", &[]);
        object.object("c", Object::new());
        assert_eq!(object.end(), r#"{"b":"ü\"","a":[],"c":{}}"#);
    }
}
