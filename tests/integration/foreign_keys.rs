//! Reading keys over a real TLS connection, within bounds.

use std::path::Path;

use keyrota::domain::assertion::jwks::{KeySet, KeySetError};
use keyrota::gateway::assertion::fetch::{Allowed, Fetch, FetchError, HttpsFetch};
use rstest::rstest;

use super::common::idp::{Idp, Key};

fn fetch(idp: &Idp, network: &str, ca: Option<&Path>) -> HttpsFetch {
    let allowed = Allowed { hosts: vec![idp.host()], networks: vec![network.parse().unwrap()] };
    HttpsFetch::new(allowed, ca).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_read_from_a_listed_host_in_a_listed_network_with_a_trusted_certificate() {
    let key = Key::new("k");
    let idp = Idp::start(key.set()).await;
    let expected = KeySet::parse(key.set().as_bytes()).unwrap();
    let read = fetch(&idp, "127.0.0.0/8", Some(idp.ca.path())).fetch(&idp.uri("/jwks")).await;
    assert_eq!(read, Ok(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_an_authority_that_is_not_trusted_is_refused() {
    let idp = Idp::start(Key::new("k").set()).await;
    let read = fetch(&idp, "127.0.0.0/8", None).fetch(&idp.uri("/jwks")).await;
    assert!(matches!(read, Err(FetchError::Unreachable(_))), "{read:?}");
    assert_eq!(idp.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_host_that_is_on_this_machine_is_not_asked_unless_its_network_is_listed() {
    let idp = Idp::start(Key::new("k").set()).await;
    let read = fetch(&idp, "10.0.0.0/8", Some(idp.ca.path())).fetch(&idp.uri("/jwks")).await;
    assert_eq!(read, Err(FetchError::Private("localhost".into())));
    assert_eq!(idp.asked(), 0);
}

#[rstest]
#[case::a_redirect("/moved", FetchError::Status(302))]
#[case::nothing_there("/nothing", FetchError::Status(404))]
#[case::a_gigabyte("/huge", FetchError::Keys(KeySetError::TooLarge))]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_set_of_keys_is_told(#[case] path: &str, #[case] error: FetchError) {
    let idp = Idp::start(Key::new("k").set()).await;
    let read = fetch(&idp, "127.0.0.0/8", Some(idp.ca.path())).fetch(&idp.uri(path)).await;
    assert_eq!(read, Err(error));
    assert_eq!(idp.asked(), 0, "a redirect is not followed");
}
