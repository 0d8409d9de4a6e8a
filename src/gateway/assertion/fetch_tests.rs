//! What is asked, and what is not; the network part is tried in the integration tests, against a real TLS server.

use super::*;
use rstest::rstest;

fn allowed(hosts: &[&str], networks: &[&str]) -> Allowed {
    Allowed {
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
    }
}

#[rstest]
#[case("https://idp.example/jwks")]
#[case("https://IDP.example:443/jwks?x=y")]
#[case("https://keycloak.example:8443/realms/a/certs")]
#[case("https://plain.example")]
fn a_listed_host_may_be_asked(#[case] uri: &str) {
    let allowed = allowed(&["idp.example", "Keycloak.example:8443", "plain.example:443"], &[]);
    assert!(allowed.check(uri).is_ok());
}

#[rstest]
#[case::plain("http://idp.example/jwks", FetchError::Uri)]
#[case::a_file("file:///etc/passwd", FetchError::Uri)]
#[case::no_uri("idp.example/jwks", FetchError::Uri)]
#[case::with_a_user("https://idp.example@evil.example/jwks", FetchError::Uri)]
#[case::with_a_password("https://:x@idp.example/jwks", FetchError::Uri)]
#[case::with_a_fragment("https://idp.example/jwks#x", FetchError::Uri)]
#[case::another("https://evil.example/idp.example", FetchError::Host("evil.example".into()))]
#[case::below("https://a.idp.example/", FetchError::Host("a.idp.example".into()))]
#[case::above("https://idp.example.evil.example/", FetchError::Host("idp.example.evil.example".into()))]
#[case::with_a_dot("https://idp.example./", FetchError::Host("idp.example.".into()))]
#[case::another_port("https://idp.example:8443/", FetchError::Host("idp.example:8443".into()))]
#[case::backslash("https://evil.example\\@idp.example/", FetchError::Host("evil.example".into()))]
#[case::an_address("https://192.0.2.1/", FetchError::Address)]
#[case::a_number("https://2130706433/", FetchError::Address)]
#[case::hexadecimal("https://0x7f.1/", FetchError::Address)]
#[case::version_six("https://[::1]/", FetchError::Address)]
#[case::mapped("https://[::ffff:127.0.0.1]/", FetchError::Address)]
fn nothing_else_is(#[case] uri: &str, #[case] error: FetchError) {
    let allowed = allowed(&["idp.example", "192.0.2.1", "127.0.0.1", "[::1]"], &["0.0.0.0/0", "::/0"]);
    assert_eq!(allowed.check(uri).err(), Some(error));
}

#[test]
fn without_a_list_nobody_is_asked() {
    let error = Allowed::default().check("https://idp.example/jwks").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the host idp.example is not allowed: start the gateway with --jwks-allowed-host idp.example"
    );
}

#[rstest]
#[case("8.8.8.8", true)]
#[case("2606:4700::1111", true)]
#[case("127.0.0.1", false)]
#[case("10.96.0.1", false)]
#[case("172.16.0.1", false)]
#[case("192.168.1.1", false)]
#[case("169.254.169.254", false)]
#[case("100.64.0.1", false)]
#[case("0.0.0.0", false)]
#[case("192.0.0.170", false)]
#[case("198.18.0.1", false)]
#[case("224.0.0.1", false)]
#[case("255.255.255.255", false)]
#[case("::1", false)]
#[case("::", false)]
#[case("::ffff:10.0.0.1", false)]
#[case("fe80::1", false)]
#[case("fd00:ec2::254", false)]
#[case("ff02::1", false)]
#[case("64:ff9b::a00:1", false)]
#[case("2002:a00:1::", false)]
#[case("2001:db8::1", false)]
#[case("2001::1", false)]
fn private_and_local_addresses_are_admitted_only_when_they_are_listed(#[case] address: &str, #[case] public: bool) {
    let address: IpAddr = address.parse().unwrap();
    assert_eq!(Allowed::default().admits(address), public);
    assert!(allowed(&[], &["0.0.0.0/0", "::/0"]).admits(address));
    assert!(allowed(&[], &["127.0.0.0/8"]).admits("127.0.0.1".parse().unwrap()));
    assert!(!allowed(&[], &["127.0.0.0/8"]).admits("10.0.0.1".parse().unwrap()));
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_connected_to() {
    crate::server::install_crypto();
    let fetch = HttpsFetch::new(allowed(&["localhost:1"], &[]), None).unwrap();
    assert_eq!(fetch.fetch("https://localhost:1/jwks").await, Err(FetchError::Private("localhost".into())));
}

#[test]
fn a_ca_file_without_certificates_is_told() {
    crate::server::install_crypto();
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = HttpsFetch::new(Allowed::default(), Some(file.path())).err().unwrap();
    assert!(error.to_string().contains("holds no PEM certificate"), "{error}");
}
