//! Reading and writing the Secret, whole and damaged.

use chrono::TimeDelta;
use rstest::rstest;
use zeroize::Zeroizing;

use super::*;
use crate::api::Algorithm;
use crate::domain::signing::generate;

fn at(hours: i64) -> Timestamp {
    Timestamp::parse("2026-01-01T00:00:00Z").unwrap().saturating_add(TimeDelta::hours(hours))
}

fn tenure(created: i64, signs: i64) -> Tenure {
    Tenure::new(at(created), at(signs), TimeDelta::hours(1))
}

fn bytes(byte: u8) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(vec![byte; 64])
}

/// An ES256 key that signed, an RS256 key that signs, an EdDSA key to come; and two HS256 keys.
fn keys() -> Keys {
    let mut keys = Keys { schema_version: SCHEMA_VERSION, handled_regenerate: Some(3), ..Keys::default() };
    for (algorithm, tenure) in
        [(Algorithm::EdDSA, tenure(9, 11)), (Algorithm::ES256, tenure(0, 0)), (Algorithm::RS256, tenure(5, 9))]
    {
        keys.add_oauth(algorithm, tenure, generate(algorithm).unwrap()).unwrap();
    }
    keys.add_legacy(Phase::Current, tenure(0, 0), bytes(1)).unwrap();
    keys.add_legacy(Phase::Next, tenure(9, 11), bytes(2)).unwrap();
    keys
}

fn algorithms(keys: &Keys) -> Vec<Algorithm> {
    keys.oauth.line().iter().map(|key| key.key.algorithm()).collect()
}

fn problems(keys: &Keys) -> Vec<String> {
    keys.problems.iter().map(ToString::to_string).collect()
}

fn edit(content: &mut Content, change: impl FnOnce(&mut Value)) {
    let mut ring: Value = serde_json::from_slice(&content[RING]).unwrap();
    change(&mut ring);
    content.insert(RING.into(), Zeroizing::new(serde_json::to_vec(&ring).unwrap()));
}

#[test]
fn keys_survive_their_own_secret() {
    let content = keys().render(at(10)).unwrap();
    let read = Keys::parse(content.clone());
    assert_eq!(problems(&read), Vec::<String>::new());
    assert_eq!(algorithms(&read), [Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA]);
    assert_eq!(read.legacy.next.as_ref().unwrap().tenure, Some(tenure(9, 11)));
    assert_eq!(read.handled_regenerate, Some(3));
    assert_eq!(read.render(at(10)).unwrap(), content);
}

#[test]
fn the_ring_tells_people_what_each_key_is_for_and_holds_no_secret() {
    let content = keys().render(at(10)).unwrap();
    let ring: Value = serde_json::from_slice(&content[RING]).unwrap();
    let states: Vec<_> = ring["oauth"].as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["Previous", "Current", "Next"]);
    assert_eq!(ring["oauth"][0]["keptUntil"], at(9 + 2).to_string());
    let text = String::from_utf8(content[RING].to_vec()).unwrap();
    assert!(!text.contains("pkcs8") && !text.contains("private"), "{text}");
}

#[rstest]
#[case(-1, Some(Algorithm::ES256), 3)]
#[case(8, Some(Algorithm::ES256), 3)]
#[case(9, Some(Algorithm::RS256), 3)]
#[case(10, Some(Algorithm::RS256), 3)]
#[case(11, Some(Algorithm::EdDSA), 2)]
#[case(13, Some(Algorithm::EdDSA), 1)]
#[case(90_000, Some(Algorithm::EdDSA), 1)]
fn by_the_clock_alone_one_key_signs_and_the_others_come_and_go(
    #[case] hour: i64,
    #[case] signing: Option<Algorithm>,
    #[case] published: usize,
) {
    let keys = keys();
    assert_eq!(keys.oauth.signing(at(hour)).map(|key| key.key.algorithm()), signing);
    assert_eq!(keys.oauth.published(at(hour)).count(), published);
}

#[test]
fn the_next_hs256_key_signs_from_its_time_on_though_nobody_moved_it() {
    let keys = keys();
    let signing = |hour| keys.legacy.signing(at(hour)).unwrap().expose()[0];
    assert_eq!((signing(10), signing(11)), (1, 2));
    assert_eq!(keys.legacy.verifying(at(11)).count(), 2);
}

#[test]
fn a_damaged_key_is_said_and_the_others_are_read() {
    let keys = keys();
    let kid = keys.oauth.line()[1].key.kid().to_owned();
    let mut content = keys.render(at(10)).unwrap();
    content.get_mut(&format!("{kid}.p8")).unwrap().truncate(40);
    content.insert("legacy-next".into(), Zeroizing::new(b"canary".to_vec()));
    let read = Keys::parse(content.clone());
    assert_eq!(algorithms(&read), [Algorithm::ES256, Algorithm::EdDSA]);
    assert_eq!(read.oauth.lost[0].kid, kid);
    assert_eq!(
        problems(&read),
        [
            "legacy-next: an HS256 key needs at least 32 bytes (RFC 7518 section 3.2), this one has 6".to_owned(),
            format!("{kid}.p8: it is no RS256 key in PKCS#8: restore it from a backup, or delete it"),
        ]
    );
    // What is left of it stays, so that it can be restored.
    assert_eq!(read.render(at(10)).unwrap()[&format!("{kid}.p8")], content[&format!("{kid}.p8")]);
}

#[test]
fn a_key_under_anothers_name_is_not_taken_for_it() {
    let keys = keys();
    let kids: Vec<_> = keys.oauth.line().iter().map(|key| format!("{}.p8", key.key.kid())).collect();
    let mut content = keys.render(at(10)).unwrap();
    let another = Zeroizing::new(generate(Algorithm::ES256).unwrap().to_vec());
    content.insert(kids[0].clone(), another);
    let read = Keys::parse(content);
    assert_eq!(algorithms(&read), [Algorithm::RS256, Algorithm::EdDSA]);
    assert_eq!(read.problems[0].trouble, Trouble::AnotherKey);
}

#[rstest]
#[case(b"{\"schemaVersion\":1,\"oauth\":[{\"kid\":\"canary\"}]}".as_slice())]
#[case(b"\xff\xfe")]
#[case(b"")]
fn without_its_ring_every_key_is_still_read(#[case] ring: &[u8]) {
    let mut content = keys().render(at(10)).unwrap();
    content.insert(RING.into(), Zeroizing::new(ring.to_vec()));
    let read = Keys::parse(content);
    assert_eq!(read.oauth.line().len(), 3);
    assert_eq!((read.legacy.slots().count(), read.handled_regenerate), (2, None));
    assert!(problems(&read).len() == 1 && problems(&read)[0].starts_with("keys.json: it cannot be read (line "));
    assert!(!problems(&read)[0].contains("canary"));
    assert!(read.oauth.signing(at(10)).is_some());
}

#[test]
fn what_a_newer_binary_wrote_is_kept_and_its_layout_not_written_over() {
    let mut content = keys().render(at(10)).unwrap();
    content.insert("es512.p8".into(), bytes(9));
    content.insert("novelty".into(), bytes(8));
    edit(&mut content, |ring| {
        ring["novelty"] = 1.into();
        ring["oauth"][0]["novelty"] = 2.into();
        ring["legacy"]["novelty"] = 3.into();
        let mut entry = ring["oauth"][0].clone();
        (entry["kid"], entry["alg"]) = ("es512".into(), "ES512".into());
        ring["oauth"].as_array_mut().unwrap().push(entry);
    });
    let read = Keys::parse(content.clone());
    assert_eq!(problems(&read), ["es512.p8: this version does not know its algorithm"]);
    assert_eq!(read.oauth.line().len(), 3);
    let written = read.render(at(10)).unwrap();
    let ring = |content: &Content| serde_json::from_slice::<Value>(&content[RING]).unwrap();
    assert_eq!(ring(&written), ring(&content));
    assert_eq!(written.keys().collect::<Vec<_>>(), content.keys().collect::<Vec<_>>());
    edit(&mut content, |ring| {
        ring["schemaVersion"] = 2.into();
        ring["oauth"] = "other".into();
    });
    let read = Keys::parse(content);
    assert!(read.too_new() && read.oauth.line().len() == 3);
}

#[test]
fn the_secret_of_an_older_version_holds_its_one_key() {
    let read = Keys::parse([("legacy-current".to_owned(), bytes(1))].into());
    assert!(read.problems.is_empty() && read.legacy.signing(at(0)).is_some() && read.oauth.signing(at(0)).is_none());
}

#[test]
fn a_key_that_nobody_listed_is_published_but_does_not_sign() {
    let mut content = keys().render(at(10)).unwrap();
    let mut other = Keys::default();
    other.add_oauth(Algorithm::ES256, tenure(0, 0), generate(Algorithm::ES256).unwrap()).unwrap();
    let kid = other.oauth.line()[0].key.kid().to_owned();
    content.extend(other.render(at(10)).unwrap().into_iter().filter(|(item, _)| item.ends_with(".p8")));
    let read = Keys::parse(content);
    assert_eq!(read.problems[0].trouble, Trouble::Unlisted);
    assert_eq!(read.oauth.signing(at(10)).unwrap().key.algorithm(), Algorithm::RS256);
    assert!(read.oauth.published(at(10)).any(|key| key.key.kid() == kid));
}

#[test]
fn no_debug_output_shows_a_key() {
    let text = format!("{:?}", keys());
    assert!(!text.contains("1, 1, 1") && !text.contains("[48,"), "{text}");
}
