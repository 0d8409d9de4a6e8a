//! Reading Secrets of ours.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use rstest::rstest;

use super::*;
use crate::index::testing::account;

fn secret(name: &str, labels: &[(&str, &str)], data: &[(&str, &[u8])]) -> Secret {
    let texts = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let data: BTreeMap<_, _> = data.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.to_vec()))).collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(name.into()),
            labels: Some(texts(labels)),
            resource_version: Some("42".into()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..Secret::default()
    }
}

#[test]
fn a_record_is_read_with_everything_that_tokens_need() {
    let record = account("a").current("old", "s").current("new", "s").current("new", "t").external("x").record;
    let json = record.to_json().unwrap();
    let facts = RecordFacts::parse(&secret("record-uid-of-a", &[], &[(DATA_KEY, json.as_bytes())])).unwrap();
    assert_eq!(facts.client_ids().map(|id| &**id).collect::<Vec<_>>(), ["old", "new", "x"]);
    assert_eq!((facts.versions.len(), facts.revision), (3, 42.into()));
    let fingerprints: std::collections::HashSet<_> = facts.versions.iter().map(|v| v.fingerprint).collect();
    assert_eq!(fingerprints.len(), 3);
}

#[test]
fn a_record_of_a_newer_binary_is_read_as_far_as_it_is_understood() {
    let mut record = account("a").current("id", "s").record;
    record.schema_version = 99;
    let json = record.to_json().unwrap().replacen('{', "{\"novelty\":[1],", 1);
    let facts = RecordFacts::parse(&secret("record-uid-of-a", &[], &[(DATA_KEY, json.as_bytes())])).unwrap();
    assert_eq!(facts.versions.len(), 1);
}

#[test]
fn a_copied_record_is_not_accepted_and_no_error_quotes_its_content() {
    let json = account("a").current("id", "s").record.to_json().unwrap();
    let copy = RecordFacts::parse(&secret("record-copy", &[], &[(DATA_KEY, json.as_bytes())])).unwrap_err();
    assert_eq!(copy.to_string(), "its name should be record-uid-of-a: a copy is not accepted, delete it");
    let broken = json.replace("\"Current\"", "\"canary\"");
    let broken = RecordFacts::parse(&secret("record-uid-of-a", &[], &[(DATA_KEY, broken.as_bytes())])).unwrap_err();
    assert!(
        broken.to_string().starts_with("record.json cannot be read (line 1") && !broken.to_string().contains("canary")
    );
    assert!(matches!(RecordFacts::parse(&secret("record-a", &[], &[])), Err(FactsError::NoRecord)));
}

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const LABEL: (&str, &str) = (names::LABEL_ISSUER, "acme");

#[test]
fn signing_keys_are_read_current_previous_and_next() {
    let data = [("legacy-current", KEY), ("legacy-previous", KEY), ("legacy-next", &[])];
    let facts = KeyFacts::parse(secret("signing-keys-acme", &[LABEL], &data)).unwrap();
    let legacy = &facts.keys.legacy;
    assert_eq!((facts.issuer.as_str(), legacy.previous.is_some(), legacy.next.is_some()), ("acme", true, false));
}

#[test]
fn one_damaged_key_does_not_keep_the_others_from_serving() {
    let data = [("legacy-current", KEY), ("legacy-previous", &KEY[1..])];
    let facts = KeyFacts::parse(secret("signing-keys-acme", &[LABEL], &data)).unwrap();
    assert!(facts.keys.legacy.current.is_some() && facts.keys.legacy.previous.is_none());
    assert_eq!(
        facts.keys.problems[0].to_string(),
        "legacy-previous: an HS256 key needs at least 32 bytes (RFC 7518 section 3.2), this one has 31"
    );
}

const NONE: &str = "it has no signing key that can be used: delete it to have new keys made";

#[rstest]
#[case("signing-keys-acme", &[], &[("legacy-current", KEY)], "it has no label keyrota.dev/issuer: delete it to have new keys made")]
#[case("other", &[LABEL], &[("legacy-current", KEY)], "its name should be signing-keys-acme: a copy is not accepted, delete it")]
#[case("signing-keys-acme", &[LABEL], &[], NONE)]
#[case("signing-keys-acme", &[LABEL], &[("legacy-current", &KEY[1..]), ("x.p8", KEY), ("keys.json", b"{")], NONE)]
fn keys_that_cannot_be_used_say_why(
    #[case] name: &str,
    #[case] labels: &[(&str, &str)],
    #[case] data: &[(&str, &[u8])],
    #[case] error: &str,
) {
    assert_eq!(KeyFacts::parse(secret(name, labels, data)).unwrap_err().to_string(), error);
}

#[test]
fn revisions_compare_as_numbers_and_only_if_they_are() {
    let of = |text: &str| {
        let meta = ObjectMeta { resource_version: Some(text.into()), ..ObjectMeta::default() };
        Revision::of(&meta)
    };
    assert!(of("10").is_after(of("9")) && of("9").is_not_after(of("10")) && of("9").is_not_after(of("9")));
    assert!(!of("abc").is_after(of("9")) && !of("abc").is_not_after(of("9")) && !of("9").is_not_after(of("")));
    assert_eq!((of("9").later(of("10")), of("9").later(of("x"))), (of("10"), of("9")));
}
