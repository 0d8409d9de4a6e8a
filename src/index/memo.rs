//! What a gateway has found out about a credential version, kept beside it: each further look-up by a key of its own would
//! wait for memory that the processor has not at hand, of which a token of one in a thousand accounts costs dozens.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Empty again whenever the version is read anew, and no part of what it is.
pub struct Memo {
    tag: OnceLock<[u8; 32]>,
    noted: AtomicI64,
}

impl Memo {
    /// The MAC of the good secret, once it was kept.
    #[must_use]
    pub fn tag(&self) -> Option<&[u8; 32]> {
        self.tag.get()
    }

    /// Keeps the MAC of the good secret; the first one stays.
    pub fn keep(&self, tag: [u8; 32]) {
        // Full already: as good.
        let _ = self.tag.set(tag);
    }

    /// Whether a use in this second, since the Unix epoch, is another than the last that this was asked about.
    pub fn is_news(&self, second: i64) -> bool {
        self.noted.load(Relaxed) != second && self.noted.swap(second, Relaxed) != second
    }
}

impl Default for Memo {
    fn default() -> Self {
        Self { tag: OnceLock::new(), noted: AtomicI64::new(i64::MIN) }
    }
}

impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Memo {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_news_once_and_so_is_each_that_differs_from_the_last() {
        let memo = Memo::default();
        assert_eq!([0, 0, 7, 7, 6, 7].map(|second| memo.is_news(second)), [true, false, true, false, true, true]);
    }

    #[test]
    fn a_copy_knows_nothing_and_nothing_is_shown() {
        let memo = Memo::default();
        memo.keep([1; 32]);
        memo.keep([2; 32]);
        assert_eq!((memo.tag(), memo.clone().tag()), (Some(&[1; 32]), None));
        assert_eq!(format!("{memo:?}"), "Memo");
    }
}
