//! Whom a token is for: `audience` and `resource` (RFC 8707), bounded by the issuer's list.

use thiserror::Error;

/// Something that the issuer does not list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the audience or resource is not one of the issuer's")]
pub struct InvalidTarget;

/// What was asked for, each once, if the issuer lists all of it. An issuer that lists nothing issues tokens for itself
/// alone; when nothing is asked for, a token is for the first that is listed (RFC 9068 section 3: a default resource).
///
/// # Errors
/// When something else is asked for.
pub fn granted<'a>(asked: &[String], listed: &'a [String], own: &'a str) -> Result<Vec<&'a str>, InvalidTarget> {
    let find = |target: &str| {
        let found = listed.iter().map(String::as_str).find(|listed| *listed == target);
        found.or((listed.is_empty() && target == own).then_some(own)).ok_or(InvalidTarget)
    };
    if asked.is_empty() {
        return Ok(vec![listed.first().map_or(own, String::as_str)]);
    }
    let mut granted = Vec::with_capacity(asked.len());
    for target in asked {
        let target = find(target)?;
        if !granted.contains(&target) {
            granted.push(target);
        }
    }
    Ok(granted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const OWN: &str = "https://tokens.example.com";

    #[rstest]
    #[case::by_default_itself(&[], &[], &[OWN])]
    #[case::itself(&[OWN], &[], &[OWN])]
    #[case::by_default_the_first(&[], &["b", "a"], &["b"])]
    #[case::several_each_once(&["a", "b", "a"], &["b", "a"], &["a", "b"])]
    fn a_token_is_for_what_the_issuer_lists(
        #[case] asked: &[&str],
        #[case] listed: &[&str],
        #[case] expected: &[&str],
    ) {
        assert_eq!(granted(&owned(asked), &owned(listed), OWN).unwrap(), expected);
    }

    #[rstest]
    #[case::another(&["c"], &["a"])]
    #[case::one_of_two(&["a", "c"], &["a"])]
    #[case::itself_when_it_is_not_listed(&[OWN], &["a"])]
    #[case::almost(&["https://tokens.example.com/"], &[])]
    #[case::empty(&[""], &[])]
    fn nothing_else_may_be_asked_for(#[case] asked: &[&str], #[case] listed: &[&str]) {
        assert_eq!(granted(&owned(asked), &owned(listed), OWN), Err(InvalidTarget));
    }

    fn owned(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }
}
