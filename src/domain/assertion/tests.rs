//! Assertions, good and hostile.

use super::samples::{EC, OTHER, Signer};
use super::*;
use chrono::DateTime;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

const NOW: i64 = 1_800_000_000;
const OURS: &str = "https://tokens.example";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from(DateTime::from_timestamp(seconds, 0).unwrap())
}

fn claims() -> Value {
    json!({"iss": "https://idp.example", "sub": "robot", "aud": OURS, "exp": NOW + 60, "nbf": NOW, "iat": NOW})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// Everything that an endpoint does with a token of the issuer whose set this is.
fn checked(token: &str, set: &str, now: i64) -> Result<String, AssertionError> {
    let keys = KeySet::parse(set.as_bytes()).unwrap();
    let assertion = Assertion::read(token)?;
    assertion.check_signature(&keys)?;
    assertion.check_claims(OURS, at(now))?;
    assertion.client_id("sub").map(Into::into)
}

fn of(claims: &Value) -> Result<String, AssertionError> {
    checked(&EC.sign("k", claims), &EC.set("k"), NOW)
}

#[test]
fn a_good_assertion_of_every_kind_of_key_tells_its_client_id() {
    for signer in [&EC, Signer::rsa(), &Signer::ed()] {
        assert_eq!(checked(&signer.sign("k", &claims()), &signer.set("k"), NOW), Ok("robot".into()));
    }
}

#[test]
fn ed25519_goes_by_both_of_its_names() {
    let signer = Signer::ed();
    let token = signer.sign_texts(r#"{"alg":"Ed25519","kid":"k"}"#, &claims().to_string());
    assert_eq!(checked(&token, &signer.set("k"), NOW), Ok("robot".into()));
}

#[test]
fn the_public_key_is_no_secret_to_sign_with() {
    // The classic: HS256 with the text of the RSA public key, in each form that a verifier could take for the secret.
    let (rsa, set) = (Signer::rsa(), Signer::rsa().set("k"));
    let jwk = rsa.jwk("k");
    let modulus = BASE64_URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    for secret in [set.as_bytes(), jwk.to_string().as_bytes(), jwk["n"].as_str().unwrap().as_bytes(), &modulus] {
        let header = jsonwebtoken::Header { kid: Some("k".into()), ..jsonwebtoken::Header::new(Algorithm::HS256) };
        let key = jsonwebtoken::EncodingKey::from_secret(secret);
        let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
        assert_eq!(checked(&token, &set, NOW), Err(AssertionError::Algorithm));
        // And with a header that lies about it.
        let signature = token.rsplit('.').next().unwrap();
        let honest = rsa.sign("k", &claims());
        let forged = format!("{}.{signature}", honest.rsplit_once('.').unwrap().0);
        assert_eq!(checked(&forged, &set, NOW), Err(AssertionError::Signature));
    }
}

#[rstest]
#[case::none(r#"{"alg":"none"}"#, AssertionError::Algorithm)]
#[case::none_in_another_case(r#"{"alg":"nOnE"}"#, AssertionError::Algorithm)]
#[case::empty(r#"{"alg":""}"#, AssertionError::Algorithm)]
#[case::missing("{}", AssertionError::Algorithm)]
#[case::a_list(r#"{"alg":["ES256"]}"#, AssertionError::Algorithm)]
#[case::hmac(r#"{"alg":"HS512","kid":"k"}"#, AssertionError::Algorithm)]
#[case::unknown(r#"{"alg":"ES256K","kid":"k"}"#, AssertionError::Algorithm)]
#[case::in_another_case(r#"{"alg":"es256","kid":"k"}"#, AssertionError::Algorithm)]
#[case::another(r#"{"alg":"RS256","kid":"k"}"#, AssertionError::OtherAlgorithm)]
#[case::its_sibling(r#"{"alg":"ES384","kid":"k"}"#, AssertionError::OtherAlgorithm)]
#[case::critical(r#"{"alg":"ES256","kid":"k","crit":["exp"],"exp":1}"#, AssertionError::Critical)]
#[case::critical_but_empty(r#"{"alg":"ES256","kid":"k","crit":[]}"#, AssertionError::Critical)]
#[case::unencoded(r#"{"alg":"ES256","kid":"k","b64":false,"crit":["b64"]}"#, AssertionError::Critical)]
#[case::two_algorithms(r#"{"alg":"ES256","alg":"none","kid":"k"}"#, AssertionError::Repeated)]
#[case::two_keys(r#"{"alg":"ES256","kid":"x","kid":"k"}"#, AssertionError::Repeated)]
#[case::two_keys_escaped(r#"{"alg":"ES256","kid":"x","\u006bid":"k"}"#, AssertionError::Repeated)]
#[case::key_is_a_number(r#"{"alg":"ES256","kid":1}"#, AssertionError::BadKid)]
#[case::another_key(r#"{"alg":"ES256","kid":"../../k"}"#, AssertionError::UnknownKey)]
#[case::hostile_key(r#"{"alg":"ES256","kid":"k' OR '1'='1"}"#, AssertionError::UnknownKey)]
#[case::no_object("[]", AssertionError::NotAJwt)]
#[case::no_json("{", AssertionError::NotAJwt)]
#[case::more_after_it("{\"alg\":\"ES256\"}{}", AssertionError::NotAJwt)]
fn a_header_chooses_nothing(#[case] header: &str, #[case] error: AssertionError) {
    let token = EC.sign_texts(header, &claims().to_string());
    assert_eq!(checked(&token, &EC.set("k"), NOW), Err(error));
}

#[test]
fn keys_that_the_token_brings_along_are_not_looked_at() {
    let header = json!({
        "alg": "ES256", "kid": "k", "jwk": OTHER.jwk("k"), "jku": "https://evil.example/jwks",
        "x5u": "https://evil.example/x5u", "x5c": ["AAAA"],
    });
    let forged = OTHER.sign_texts(&header.to_string(), &claims().to_string());
    assert_eq!(checked(&forged, &EC.set("k"), NOW), Err(AssertionError::Signature));
    let honest = EC.sign_texts(&header.to_string(), &claims().to_string());
    assert_eq!(checked(&honest, &EC.set("k"), NOW), Ok("robot".into()));
}

#[test]
fn without_a_key_id_the_only_key_is_meant_and_of_several_none() {
    let token = EC.sign_texts(r#"{"alg":"ES256"}"#, &claims().to_string());
    assert_eq!(checked(&token, &EC.set("k"), NOW), Ok("robot".into()));
    let two = json!({"keys": [EC.jwk("k"), OTHER.jwk("o")]}).to_string();
    assert_eq!(checked(&token, &two, NOW), Err(AssertionError::NoKid));
    assert_eq!(checked(&EC.sign("o", &claims()), &two, NOW), Err(AssertionError::Signature));
    assert_eq!(checked(&OTHER.sign("o", &claims()), &two, NOW), Ok("robot".into()));
}

#[rstest]
#[case::of_another_key(|token: &str| token.replace(token.rsplit('.').next().unwrap(), OTHER.sign("k", &claims()).rsplit('.').next().unwrap()), AssertionError::Signature)]
#[case::none(|token: &str| format!("{}.", token.rsplit_once('.').unwrap().0), AssertionError::Signature)]
#[case::cut(|token: &str| token[..token.len() - 2].to_owned(), AssertionError::Signature)]
#[case::padded(|token: &str| format!("{token}=="), AssertionError::Signature)]
#[case::not_there(|token: &str| token.rsplit_once('.').unwrap().0.to_owned(), AssertionError::NotAJwt)]
#[case::a_fourth_part(|token: &str| format!("{token}.AAAA"), AssertionError::NotAJwt)]
#[case::five_parts(|token: &str| format!("{token}.AAAA.AAAA"), AssertionError::NotAJwt)]
#[case::spaces(|token: &str| format!(" {token}"), AssertionError::NotAJwt)]
#[case::the_other_alphabet(|token: &str| token.replacen('.', "+.", 1), AssertionError::NotAJwt)]
#[case::empty(|_: &str| String::new(), AssertionError::NotAJwt)]
#[case::dots(|_: &str| "..".into(), AssertionError::NotAJwt)]
#[case::a_nul(|token: &str| token.replacen('.', "\0.", 1), AssertionError::NotAJwt)]
fn a_token_that_was_touched_is_refused(#[case] touch: fn(&str) -> String, #[case] error: AssertionError) {
    assert_eq!(checked(&touch(&EC.sign("k", &claims())), &EC.set("k"), NOW), Err(error));
}

#[test]
fn claims_are_signed_along() {
    let (mine, yours) = (EC.sign("k", &claims()), EC.sign("k", &with("sub", json!("admin"))));
    let part = |token: &str, at: usize| token.split('.').nth(at).unwrap().to_owned();
    let forged = format!("{}.{}.{}", part(&mine, 0), part(&yours, 1), part(&mine, 2));
    assert_eq!(checked(&forged, &EC.set("k"), NOW), Err(AssertionError::Signature));
}

#[rstest]
#[case::alone(json!(OURS), true)]
#[case::among_others(json!(["https://a.example", OURS]), true)]
#[case::another(json!("https://a.example"), false)]
#[case::others(json!(["https://a.example", "https://b.example"]), false)]
#[case::with_a_slash(json!("https://tokens.example/"), false)]
#[case::in_another_case(json!("https://TOKENS.example"), false)]
#[case::as_a_part(json!("https://tokens.example.evil.example"), false)]
#[case::no_list(json!([]), false)]
#[case::a_list_with_more_than_text(json!([OURS, 7]), false)]
#[case::a_list_in_a_list(json!([[OURS]]), false)]
#[case::an_object(json!({ "aud": OURS }), false)]
#[case::null(Value::Null, false)]
#[case::far_too_many(json!(vec![OURS; 65]), false)]
fn it_must_be_for_us(#[case] aud: Value, #[case] good: bool) {
    assert_eq!(of(&with("aud", aud)).map_err(Some).err().flatten(), (!good).then_some(AssertionError::Audience));
    assert_eq!(of(&without("aud")), Err(AssertionError::Audience));
}

#[rstest]
#[case::a_second_left(json!(NOW + 1), None)]
#[case::just_now(json!(NOW), Some(AssertionError::Expired))]
#[case::a_second_ago(json!(NOW - 1), Some(AssertionError::Expired))]
#[case::with_a_fraction(json!(NOW as f64 + 1.5), None)]
#[case::within_this_second(json!(NOW as f64 + 0.5), Some(AssertionError::Expired))]
#[case::zero(json!(0), Some(AssertionError::Expired))]
#[case::negative(json!(-1), Some(AssertionError::BadTime))]
#[case::text(json!((NOW + 60).to_string()), Some(AssertionError::BadTime))]
#[case::huge(json!(u64::MAX), Some(AssertionError::BadTime))]
#[case::a_huge_float(json!(1e300), Some(AssertionError::BadTime))]
#[case::milliseconds(json!((NOW + 60) * 1_000_000), Some(AssertionError::BadTime))]
#[case::null(Value::Null, Some(AssertionError::BadTime))]
#[case::a_list(json!([NOW + 60]), Some(AssertionError::BadTime))]
fn it_holds_until_its_end_and_not_at_it(#[case] exp: Value, #[case] error: Option<AssertionError>) {
    assert_eq!(of(&with("exp", exp)).err(), error);
}

#[rstest]
fn it_holds_from_its_beginning_with_half_a_minute_for_another_clock(#[values("nbf", "iat")] claim: &str) {
    assert_eq!(of(&without(claim)), Ok("robot".into()));
    for (time, error) in [
        (json!(NOW + LEEWAY), None),
        (json!(NOW + LEEWAY + 1), Some(AssertionError::TooEarly)),
        (json!("soon"), Some(AssertionError::BadTime)),
        (json!(-5), Some(AssertionError::BadTime)),
    ] {
        assert_eq!(of(&with(claim, time.clone())).err(), error, "{time}");
    }
}

#[test]
fn an_end_is_demanded_and_must_be_a_number_of_json() {
    assert_eq!(of(&without("exp")), Err(AssertionError::BadTime));
    let text = claims().to_string().replace(&(NOW + 60).to_string(), "1e400");
    let token = EC.sign_texts(r#"{"alg":"ES256","kid":"k"}"#, &text);
    assert_eq!(checked(&token, &EC.set("k"), NOW), Err(AssertionError::NotAJwt));
}

#[rstest]
#[case(r#""exp":1"#)]
#[case(r#""aud":"x""#)]
#[case(r#""sub":"admin""#)]
#[case(r#""\u0073ub":"admin""#)]
#[case(r#""iss":"x""#)]
fn a_claim_twice_is_refused(#[case] second: &str) {
    let text = claims().to_string();
    for doubled in [format!("{{{second},{}", &text[1..]), format!("{},{second}}}", &text[..text.len() - 1])] {
        let token = EC.sign_texts(r#"{"alg":"ES256","kid":"k"}"#, &doubled);
        assert_eq!(checked(&token, &EC.set("k"), NOW), Err(AssertionError::Repeated), "{doubled}");
    }
}

#[rstest]
#[case(Value::Null)]
#[case(json!(""))]
#[case(json!(7))]
#[case(json!(["robot"]))]
#[case(json!("x".repeat(256)))]
fn a_client_id_is_text_of_255_bytes_at_most(#[case] sub: Value) {
    assert_eq!(of(&with("sub", sub)), Err(AssertionError::NoClientId));
    assert_eq!(of(&with("sub", json!("x".repeat(255)))), Ok("x".repeat(255)));
}

#[test]
fn another_claim_may_be_the_client_id() {
    let token = EC.sign("k", &with("azp", json!("crawler")));
    let assertion = Assertion::read(&token).unwrap();
    assert_eq!(assertion.client_id("azp"), Ok("crawler"));
    assert_eq!(assertion.client_id("client_id"), Err(AssertionError::NoClientId));
    assert_eq!((assertion.issuer(), assertion.subject()), (Some("https://idp.example"), Some("robot")));
}

#[test]
fn an_assertion_may_have_sixteen_kilobytes_and_not_a_byte_more() {
    let long = |bytes: usize| EC.sign("k", &with("pad", json!("x".repeat(bytes))));
    // Four characters of base64url for three bytes.
    let base = long(0).len();
    let fitting = long((MAX_BYTES - base) / 4 * 3 - 3);
    assert!(fitting.len() <= MAX_BYTES && fitting.len() > MAX_BYTES - 8);
    assert_eq!(checked(&fitting, &EC.set("k"), NOW), Ok("robot".into()));
    assert_eq!(checked(&long((MAX_BYTES - base) / 4 * 3 + 9), &EC.set("k"), NOW), Err(AssertionError::TooLong));
}

#[rstest]
#[case("system:serviceaccount:shop:exporter", Ok(()))]
#[case("system:serviceaccount:bank:exporter", Err(AssertionError::OtherNamespace))]
#[case("system:serviceaccount:shop:default", Err(AssertionError::DefaultServiceAccount))]
#[case("system:serviceaccount:bank:default", Err(AssertionError::OtherNamespace))]
#[case("system:serviceaccount:shop:a:b", Err(AssertionError::NotAServiceAccount))]
#[case("system:serviceaccount:shop:", Err(AssertionError::NotAServiceAccount))]
#[case("system:serviceaccount::exporter", Err(AssertionError::NotAServiceAccount))]
#[case("system:serviceaccount:shop", Err(AssertionError::NotAServiceAccount))]
#[case("system:node:shop", Err(AssertionError::NotAServiceAccount))]
#[case("", Err(AssertionError::NotAServiceAccount))]
fn a_pod_acts_for_its_own_namespace_and_not_as_default(
    #[case] subject: &str,
    #[case] expected: Result<(), AssertionError>,
) {
    assert_eq!(check_service_account(subject, "shop"), expected);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", header in "\\PC{0,80}", claims in "\\PC{0,80}") {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let _ = Assertion::read(&text);
        let token = [encode(&header), encode(&claims), text].join(".");
        prop_assert!(Assertion::read(&token).is_err());
    }
}
