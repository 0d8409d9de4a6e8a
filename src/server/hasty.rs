//! A connection that says nothing is closed: hyper's own time-outs begin only once it knows the protocol, which takes up
//! to 24 bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::crowd::{Crowd, Place};

/// The length of the HTTP/2 preface.
const FIRST_BYTES: usize = 24;

/// Gives every connection that `A` accepts a place, and so much time for its first bytes.
#[derive(Clone, Debug)]
pub(super) struct Hasty<A> {
    pub(super) inner: A,
    pub(super) time: Duration,
    pub(super) crowd: Crowd,
}

impl<A, I, S> Accept<I, S> for Hasty<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
{
    type Stream = HastyStream<A::Stream>;
    type Service = A::Service;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let (place, time) = (self.crowd.enter(), self.time);
        let accepted = self.inner.accept(stream, service);
        Box::pin(async move {
            let place = place?;
            let (inner, service) = accepted.await?;
            Ok((HastyStream { inner, waiting: Some((FIRST_BYTES, Box::pin(sleep(time)))), _place: place }, service))
        })
    }
}

/// A stream whose first 24 bytes must come in time.
pub(super) struct HastyStream<S> {
    inner: S,
    /// How many bytes are still to come, and until when.
    waiting: Option<(usize, Pin<Box<Sleep>>)>,
    _place: Place,
}

impl<S: AsyncRead + Unpin> AsyncRead for HastyStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buffer);
        let Some((left, deadline)) = &mut this.waiting else {
            return read;
        };
        if read.is_pending() {
            return deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        *left = left.saturating_sub(buffer.filled().len() - before);
        if *left == 0 {
            this.waiting = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HastyStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
