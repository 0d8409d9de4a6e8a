//! Listeners: TLS from PEM, plain ones, bounds against slow and greedy peers, and a way to stop gracefully.

use std::convert::Infallible;
use std::future::ready;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum_server::accept::{Accept, NoDelayAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use futures::future::{BoxFuture, select_all};
use hyper::body::Incoming;
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use thiserror::Error;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tower::service_fn;

mod answers;
mod crowd;
pub mod files;
mod hasty;
pub mod phase;
pub mod probe;

pub use answers::Answers;
use crowd::Crowd;
use hasty::{Counted, Hasty, Requests};

/// What is borne of peers: how long one may keep a connection waiting, and how many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a TLS handshake, for the first bytes on a connection, for a request's headers and, with HTTP/1, for the next
    /// request; but for handshakes it may be half as long again until it is noticed.
    pub headers: Duration,
    /// At once; more are closed as soon as they come. One with TLS that says nothing holds 12 KiB.
    pub connections: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { headers: Duration::from_secs(10), connections: 10_000 }
    }
}

/// Header bytes of one request.
const HEADER_BYTES: usize = 32 * 1024;

/// What a process that is told to stop gives the requests under way. A Pod gets 30 s.
pub const GRACE: Duration = Duration::from_secs(25);

/// Why a certificate and key cannot be used. Quotes neither.
#[derive(Debug, Error)]
pub enum TlsError {
    /// No certificate in the PEM text.
    #[error("tls.crt holds no PEM certificate")]
    NoCertificate,
    /// No key in the PEM text.
    #[error("tls.key holds no PEM private key")]
    NoKey,
    /// rustls refuses them.
    #[error("tls.crt and tls.key cannot be used together: {0}")]
    Unusable(#[from] rustls::Error),
}

/// A certificate chain and its key, both PEM.
///
/// # Errors
/// When either cannot be read, or the key is not the certificate's.
pub fn certified_key(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::NoCertificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey)?;
    Ok(CertifiedKey::from_der(chain, key, &default_provider())?)
}

/// A server configuration with one certificate: TLS 1.2 and 1.3, HTTP/2 and 1.1.
///
/// # Errors
/// As [`certified_key`].
pub fn tls_config(certificate: &[u8], key: &[u8]) -> Result<ServerConfig, TlsError> {
    tls_config_by(Arc::new(SingleCertAndKey::from(certified_key(certificate, key)?)))
}

/// A server configuration whose certificates are chosen by the name that the client asks for.
///
/// # Errors
/// When rustls refuses the protocol versions.
pub fn tls_config_by(certificates: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Connections that the kernel keeps until they are accepted; std's 128 would be too few for a rush after a restart.
const BACKLOG: u32 = 1024;

/// Makes aws-lc-rs the process's cryptography, for libraries that are not told which to use. The first call counts.
pub fn install_crypto() {
    let _ = default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// Opens a listener; to be called in a tokio runtime. A port of 0 takes any free one.
///
/// # Errors
/// When the address cannot be had, saying which.
pub fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    open().map_err(|error| anyhow::anyhow!("cannot listen on {address}: {error}"))
}

/// Serves until `handle` stops it; TLS if there is a configuration for it, which may be exchanged at any time.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    answers: impl Answers,
    handle: Handle<SocketAddr>,
    patience: Patience,
) -> std::io::Result<()> {
    let Patience { headers: time, connections } = patience;
    let crowd = Crowd::of(connections);
    let mut server = axum_server::from_tcp(listener)?.handle(handle);
    bound(&mut server, time);
    let service = service_fn(move |peer: SocketAddr| {
        let line = Arc::new(Line { answers: answers.clone(), peer, requests: Arc::default() });
        let requests = line.requests.clone();
        let inner = service_fn(move |request: http::Request<Incoming>| {
            let line = line.clone();
            async move {
                let _under_way = line.requests.begin();
                Ok::<_, Infallible>(line.answers.answer(request, line.peer).await)
            }
        });
        ready(Ok::<_, Infallible>(Counted { inner, requests }))
    });
    match tls {
        None => server.acceptor(Hasty { inner: NoDelayAcceptor, time, crowd }).serve(service).await,
        Some(config) => {
            let acceptor = RustlsAcceptor::new(config).handshake_timeout(time).acceptor(NoDelayAcceptor);
            server.acceptor(Hasty { inner: acceptor, time, crowd }).serve(service).await
        }
    }
}

/// What a connection's requests share: one counter to count up and down for each of them.
struct Line<A> {
    answers: A,
    peer: SocketAddr,
    requests: Arc<Requests>,
}

fn bound<A>(server: &mut Server<SocketAddr, A>, time: Duration)
where
    A: Accept<tokio::net::TcpStream, ()>,
{
    let builder = server.http_builder();
    // Answers are small: copied behind their headers they cost less than a vectored write.
    builder.http1().max_buf_size(HEADER_BYTES).writev(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(time)
        .max_concurrent_streams(100)
        .max_header_list_size(u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX));
}

/// Ends at SIGTERM (Kubernetes) or SIGINT (Ctrl-C).
pub async fn told_to_stop() {
    let mut ways: Vec<BoxFuture<'static, ()>> = Vec::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        match signal(kind) {
            Ok(mut signals) => ways.push(Box::pin(async move {
                signals.recv().await;
            })),
            Err(error) => tracing::warn!(%error, "a signal cannot be listened for"),
        }
    }
    if ways.is_empty() {
        std::future::pending::<()>().await;
    }
    select_all(ways).await;
}
