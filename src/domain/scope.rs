//! Which scopes a token gets (RFC 6749 section 3.3).

use std::collections::BTreeSet;

use thiserror::Error;

/// A scope that is malformed, or that is not allowed; which one is nobody's business but the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the scope is malformed or not allowed")]
pub struct InvalidScope;

/// The scopes asked for, if all of them are allowed; all that are allowed, if none is asked for. Sorted, each once.
///
/// # Errors
/// When something else is asked for.
pub fn granted<'a>(
    asked: Option<&str>,
    allowed: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeSet<&'a str>, InvalidScope> {
    let allowed: BTreeSet<&str> = allowed.into_iter().collect();
    let Some(asked) = asked else { return Ok(allowed) };
    asked.split(' ').map(|scope| allowed.get(scope).copied().ok_or(InvalidScope)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const ALLOWED: [&str; 3] = ["write", "read", "read"];

    #[rstest]
    #[case::all_when_none_is_asked_for(None, &["read", "write"])]
    #[case::fewer(Some("read"), &["read"])]
    #[case::sorted_and_each_once(Some("write read write"), &["read", "write"])]
    fn what_is_asked_for_is_granted(#[case] asked: Option<&str>, #[case] expected: &[&str]) {
        let granted: Vec<&str> = granted(asked, ALLOWED).unwrap().into_iter().collect();
        assert_eq!(granted, expected);
    }

    #[rstest]
    #[case("admin")]
    #[case("read admin")]
    #[case("READ")]
    #[case("read,write")]
    #[case("read  write")]
    #[case(" read")]
    #[case("read\twrite")]
    #[case("\"")]
    fn what_is_not_allowed_or_malformed_is_refused(#[case] asked: &str) {
        assert_eq!(granted(Some(asked), ALLOWED), Err(InvalidScope));
    }

    #[test]
    fn an_account_without_scopes_gets_a_token_without_and_none_that_it_asks_for() {
        assert_eq!(granted(None, []), Ok(BTreeSet::new()));
        assert_eq!(granted(Some("read"), []), Err(InvalidScope));
    }

    proptest! {
        #[test]
        fn nothing_is_ever_granted_that_is_not_allowed(asked in "[a-c ]{0,12}", allowed in prop::collection::vec("[a-c]{1,2}", 0..4)) {
            let names: BTreeSet<&str> = allowed.iter().map(String::as_str).collect();
            if let Ok(granted) = granted(Some(&asked), allowed.iter().map(String::as_str)) {
                prop_assert!(granted.is_subset(&names) && !granted.is_empty());
            }
        }
    }
}
