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
    let Some(last) = text.last_chunk::<8>() else { return !text.iter().any(|byte| needs_escape(*byte)) };
    let words = text.as_chunks::<8>().0.iter().chain([last]);
    // Without a way out of the loop it becomes one of vectors.
    words.fold(0, |found, word| found | escapes(u64::from_ne_bytes(*word))) == 0
}

/// Not 0 if a byte of it needs an escape: by the borrow that a subtraction leaves in the byte's highest bit (Hacker's
/// Delight, section 6-1); bytes above 127 have that one anyway and need none.
fn escapes(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let below = |bytes: u64, bound: u64| bytes.wrapping_sub(ONES * bound) & !bytes & HIGH;
    let quote = below(word ^ (ONES * u64::from(b'"')), 1);
    let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
    below(word, 0x20) | quote | backslash
}

/// An object, member by member. Their names are written as they stand: none of ours needs an escape.
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
    pub fn text(&mut self, name: &'static str, value: &str) {
        self.member(name);
        string(&mut self.0, value);
    }

    /// A member that is a string which needs no escape: a token, or a word of ours.
    pub fn plain(&mut self, name: &'static str, value: &str) {
        self.member(name);
        for part in ["\"", value, "\""] {
            self.0.push_str(part);
        }
    }

    /// A member that is a number.
    pub fn number(&mut self, name: &'static str, value: i64) {
        self.member(name);
        number(&mut self.0, value);
    }

    /// A member that is an array of strings.
    pub fn texts(&mut self, name: &'static str, values: &[&str]) {
        self.member(name);
        self.0.push('[');
        self.all(values, |json, value| string(json, value));
        self.0.push(']');
    }

    /// A member that is an object of strings, by whatever names.
    pub fn map<'a>(&mut self, name: &'static str, entries: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.member(name);
        self.0.push('{');
        self.all(entries, |json, (key, value)| {
            string(json, key);
            json.push(':');
            string(json, value);
        });
        self.0.push('}');
    }

    /// Each of them, with commas between.
    fn all<T>(&mut self, items: impl IntoIterator<Item = T>, write: impl Fn(&mut String, T)) {
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.0.push(',');
            }
            write(&mut self.0, item);
        }
    }

    /// Its text.
    #[must_use]
    pub fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn member(&mut self, name: &'static str) {
        self.0.push_str(if self.0.len() > 1 { ",\"" } else { "\"" });
        self.0.push_str(name);
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
        fn whatever_is_written_reads_back(key in "\\PC*|[\\x00-\\x7F]*", value in "\\PC*|[\\x00-\\x7F]{0,80}", n: i64) {
            let mut object = Object::new();
            object.text("text", &value);
            object.number("number", n);
            object.texts("texts", &[&value, &key]);
            object.map("map", [(&*key, &*value)]);
            let json = object.end();
            prop_assert!(!json.contains('\n'));
            let expected = json!({"text": value, "number": n, "texts": [value, key], "map": {key: value}});
            prop_assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), expected);
        }

        #[test]
        fn one_character_that_needs_an_escape_is_found_wherever_it_stands(
            before in 0..40_usize, after in 0..40_usize, byte in prop::sample::select(b"\0\t\n\x1F\"\\".to_vec()),
        ) {
            let text = [&"~ü".repeat(before), &*char::from(byte).to_string(), &" !".repeat(after)].concat();
            prop_assert!(!is_plain(text.as_bytes()));
            prop_assert!(is_plain(text.replace(char::from(byte), "").as_bytes()));
        }
    }

    #[test]
    fn members_keep_their_order_and_an_object_may_be_empty() {
        let mut object = Object::new();
        object.text("b", "ü\"");
        object.texts("a", &[]);
        object.map("c", []);
        object.plain("d", "e.f-g_");
        assert_eq!(object.end(), r#"{"b":"ü\"","a":[],"c":{},"d":"e.f-g_"}"#);
        assert_eq!(Object::new().end(), "{}");
    }
}
