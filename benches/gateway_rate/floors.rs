//! What the cryptography costs by itself, on one core.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use keyrota::api::Algorithm;
use keyrota::domain::signing::generate;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use crate::load;

/// How long each is measured.
const TIME: Duration = Duration::from_secs(1);
/// As long as the first two parts of one of our tokens.
const SIGNED: [u8; 512] = [b'x'; 512];

/// Per second.
#[derive(Debug)]
pub struct Floors {
    pub es256: f64,
    pub eddsa: f64,
    pub rs256: f64,
    pub handshakes: f64,
}

/// Measures them in a process of its own, on the servers' core.
pub fn measure() -> anyhow::Result<Floors> {
    let output = load::pinned(0, &std::env::current_exe()?).args(["--serve", "floors"]).output()?;
    ensure!(output.status.success(), "the floors: {}", String::from_utf8_lossy(&output.stderr));
    let numbers: Vec<f64> = String::from_utf8(output.stdout)?.lines().map(str::parse).collect::<Result<_, _>>()?;
    let [es256, eddsa, rs256, handshakes] = numbers[..] else { anyhow::bail!("the floors are not four") };
    Ok(Floors { es256, eddsa, rs256, handshakes })
}

/// One number a line.
pub fn print() -> anyhow::Result<()> {
    let random = SystemRandom::new();
    let key = generate(Algorithm::ES256)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key)?;
    println!("{}", rate(|| black_box(pair.sign(&random, &SIGNED)).is_ok())?);
    let pair = Ed25519KeyPair::from_pkcs8(&generate(Algorithm::EdDSA)?)?;
    println!("{}", rate(|| black_box(pair.try_sign(&SIGNED)).is_ok())?);
    let pair = RsaKeyPair::from_pkcs8(&generate(Algorithm::RS256)?)?;
    let mut signature = vec![0; pair.public_modulus_len()];
    println!("{}", rate(|| pair.sign(&RSA_PKCS1_SHA256, &random, &SIGNED, &mut signature).is_ok())?);
    println!("{}", handshakes()?);
    Ok(())
}

fn rate(mut signs: impl FnMut() -> bool) -> anyhow::Result<f64> {
    let (began, mut count) = (Instant::now(), 0.0);
    while began.elapsed() < TIME {
        for _ in 0..16 {
            ensure!(signs(), "the library cannot sign");
            count += 1.0;
        }
    }
    Ok(count / began.elapsed().as_secs_f64())
}

/// Of the server's half alone, from the first flight to the last: the client's is not counted.
fn handshakes() -> anyhow::Result<f64> {
    let (certificate, key, root) = load::certificate()?;
    let server = Arc::new(keyrota::server::tls_config(certificate.as_bytes(), key.as_bytes())?);
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    let mut client = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = rustls::client::Resumption::disabled();
    let client = Arc::new(client);
    let name = ServerName::try_from("localhost")?;
    let (mut spent, mut count) = (Duration::ZERO, 0.0);
    while spent < TIME {
        let mut near = ClientConnection::new(client.clone(), name.clone())?;
        let mut far = ServerConnection::new(server.clone())?;
        let (mut there, mut back) = (Vec::new(), Vec::new());
        while near.is_handshaking() || far.is_handshaking() {
            there.clear();
            back.clear();
            while near.wants_write() {
                near.write_tls(&mut there)?;
            }
            let began = Instant::now();
            let mut rest = &there[..];
            while !rest.is_empty() {
                far.read_tls(&mut rest)?;
                far.process_new_packets()?;
            }
            while far.wants_write() {
                far.write_tls(&mut back)?;
            }
            spent += began.elapsed();
            let mut rest = &back[..];
            while !rest.is_empty() {
                near.read_tls(&mut rest)?;
                near.process_new_packets().context("the client refuses the handshake")?;
            }
        }
        count += 1.0;
    }
    Ok(count / spent.as_secs_f64())
}
