//! From the first certificate to an orderly end: what a role that serves people or clients goes through.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tokio::sync::oneshot;
use tracing::info;

use super::{Answers, GRACE, Patience, serve};

/// Where a listener stands, for the probes.
#[derive(Debug, Default)]
pub struct Phase {
    listening: AtomicBool,
    draining: AtomicBool,
}

impl Phase {
    /// What keeps it from serving; empty when nothing does.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let draining = self.draining.load(Relaxed).then(|| "shutting down".to_owned());
        let waiting = (!self.listening.load(Relaxed)).then(|| "the TLS certificate is not loaded".to_owned());
        draining.into_iter().chain(waiting).collect()
    }

    pub(crate) fn listens(&self) {
        self.listening.store(true, Relaxed);
    }

    pub(crate) fn drains(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Serves from the moment when `first` says how, until `shutdown` and the drain after it: load balancers need a
    /// moment to notice that it is no longer ready.
    ///
    /// # Errors
    /// When the listener fails, or nobody is left to say how.
    pub async fn serve(
        &self,
        listener: TcpListener,
        first: oneshot::Receiver<Option<RustlsConfig>>,
        answers: impl Answers,
        drain: Duration,
        shutdown: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let handle: Handle<SocketAddr> = Handle::new();
        let address = listener.local_addr()?;
        let until = async {
            shutdown.await;
            info!(seconds = drain.as_secs(), "shutting down: no longer ready, serving on for a moment");
            self.drains();
            tokio::time::sleep(drain).await;
            handle.graceful_shutdown(Some(GRACE));
        };
        let serving = async {
            let Ok(tls) = first.await else {
                anyhow::bail!("nothing follows the TLS certificate any more");
            };
            self.listens();
            info!(%address, tls = tls.is_some(), "listening");
            serve(listener, tls, answers, handle.clone(), Patience::default()).await.context("the listener failed")
        };
        tokio::pin!(until);
        tokio::pin!(serving);
        tokio::select! {
            served = &mut serving => served,
            () = &mut until => match self.listening.load(Relaxed) {
                true => serving.await,
                false => Ok(()),
            },
        }
    }
}
