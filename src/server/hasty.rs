//! A connection that keeps us waiting is closed: for its first bytes, for the head of a request, or for the next request.
//!
//! hyper could do the same but for the first bytes, and sets a timer for each request. Here one runs for each connection,
//! twice in the time that there is, and a look at what has been since the last costs a request nothing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;

use super::crowd::{Crowd, Place};

/// What a client that knows HTTP/2 begins with (RFC 9113 section 3.4). Such a connection is left to hyper, which asks it
/// for a sign of life.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Requests {
    /// One begins, and ends when what is returned is dropped.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        self.begun.fetch_add(1, Relaxed);
        UnderWay(self)
    }
}

/// A request that is being served.
#[derive(Debug)]
pub(super) struct UnderWay<'a>(&'a Requests);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Relaxed);
    }
}

/// A connection's service on its way to [`Hasty`], with what counts its requests.
#[derive(Clone)]
pub(super) struct Counted<S> {
    pub(super) inner: S,
    pub(super) requests: Arc<Requests>,
}

/// axum-server takes nothing else, though `Hasty` goes on with the inner one.
impl<R, S: Service<R>> Service<R> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.inner.call(request)
    }
}

/// Gives every connection that `A` accepts a place, and so much time.
#[derive(Clone, Debug)]
pub(super) struct Hasty<A> {
    pub(super) inner: A,
    pub(super) time: Duration,
    pub(super) crowd: Crowd,
}

impl<A, I, S> Accept<I, Counted<S>> for Hasty<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
{
    type Stream = HastyStream<A::Stream>;
    type Service = A::Service;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: I, service: Counted<S>) -> Self::Future {
        let (place, time) = (self.crowd.enter(), self.time);
        let Counted { inner, requests } = service;
        let accepted = self.inner.accept(stream, inner);
        Box::pin(async move {
            let place = place?;
            let (inner, service) = accepted.await?;
            let watch = Watch::new(requests, time);
            Ok((
                HastyStream { inner, first: Vec::with_capacity(PREFACE.len()), watch: Some(watch), _place: place },
                service,
            ))
        })
    }
}

/// Looks at a connection again and again.
struct Watch {
    requests: Arc<Requests>,
    /// Between two looks: half of the time that there is.
    pause: Duration,
    sleep: Pin<Box<Sleep>>,
    /// Requests that had begun at the last look.
    begun: u64,
    /// Whether something was written since.
    written: bool,
    /// Looks without a change.
    looks: u8,
}

impl Watch {
    fn new(requests: Arc<Requests>, time: Duration) -> Self {
        let pause = time / 2;
        Self { requests, pause, sleep: Box::pin(sleep(pause)), begun: 0, written: false, looks: 0 }
    }

    /// Ready when it has kept us waiting for too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            if self.look() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(Instant::now() + self.pause);
        }
        Poll::Pending
    }

    /// Whether nothing happened for two looks.
    fn look(&mut self) -> bool {
        let begun = self.requests.begun.load(Relaxed);
        let busy = begun != self.requests.ended.load(Relaxed);
        let idle = !busy && !self.written && begun == self.begun;
        self.looks = if idle { self.looks + 1 } else { 0 };
        (self.begun, self.written) = (begun, false);
        self.looks >= 2
    }
}

/// A stream whose peer must not keep it waiting.
pub(super) struct HastyStream<S> {
    inner: S,
    /// What came first, as long as it may be HTTP/2's preface.
    first: Vec<u8>,
    /// None with HTTP/2.
    watch: Option<Watch>,
    _place: Place,
}

impl<S> HastyStream<S> {
    fn has_read(&mut self, bytes: &[u8]) {
        let missing = PREFACE.len() - self.first.len();
        if missing > 0 {
            self.first.extend_from_slice(&bytes[..bytes.len().min(missing)]);
            if self.first == PREFACE {
                self.watch = None;
            }
        }
    }

    fn writes(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.written = true;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HastyStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buffer);
        match (&read, &mut this.watch) {
            (Poll::Pending, Some(watch)) => watch.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            (Poll::Ready(Ok(())), Some(_)) => {
                this.has_read(&buffer.filled()[before..]);
                read
            }
            _ => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HastyStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.writes();
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
        self.writes();
        Pin::new(&mut self.inner).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    fn connection(time: Duration) -> (HastyStream<DuplexStream>, DuplexStream, Arc<Requests>) {
        let (near, far) = duplex(64);
        let requests = Arc::<Requests>::default();
        let watch = Some(Watch::new(requests.clone(), time));
        let place = Crowd::of(1).enter().unwrap();
        (HastyStream { inner: near, first: Vec::new(), watch, _place: place }, far, requests)
    }

    /// What happens between two looks.
    #[derive(Clone, Copy)]
    enum Event {
        Nothing,
        /// A request from beginning to end.
        Asked,
        /// A request that is not answered before the look.
        Asks,
        /// Some of an answer is taken.
        Wrote,
    }
    use Event::{Asked, Asks, Nothing, Wrote};

    #[rstest]
    #[case::silent(&[Nothing, Nothing], Some(2))]
    #[case::silent_after_a_request(&[Asked, Nothing, Nothing], Some(3))]
    #[case::asks_in_time(&[Asked, Nothing, Asked, Nothing, Asked, Nothing], None)]
    #[case::waits_for_us(&[Asks, Nothing, Nothing, Nothing, Nothing], None)]
    #[case::takes_an_answer_slowly(&[Asked, Nothing, Wrote, Nothing, Wrote, Nothing], None)]
    #[case::takes_it_no_more(&[Asked, Wrote, Nothing, Nothing], Some(4))]
    #[tokio::test]
    async fn a_connection_is_given_up_at_the_second_look_without_a_change(
        #[case] events: &[Event],
        #[case] given_up: Option<usize>,
    ) {
        let (mut stream, _far, requests) = connection(Duration::from_secs(3600));
        let mut under_way = Vec::new();
        let looks = events.iter().map(|event| {
            match event {
                Nothing => {}
                Asked => drop(requests.begin()),
                Asks => under_way.push(requests.begin()),
                Wrote => stream.writes(),
            }
            stream.watch.as_mut().unwrap().look()
        });
        assert_eq!(looks.collect::<Vec<_>>().iter().position(|given_up| *given_up).map(|at| at + 1), given_up);
    }

    #[tokio::test]
    async fn a_head_that_comes_byte_by_byte_is_not_waited_for() {
        let (mut stream, mut far, _) = connection(Duration::from_millis(20));
        let writing = tokio::spawn(async move {
            while far.write_all(b"G").await.is_ok() {
                sleep(Duration::from_millis(2)).await;
            }
        });
        let mut buffer = [0; 8];
        let error = loop {
            if let Err(error) = stream.read(&mut buffer).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        writing.abort();
    }

    #[rstest]
    #[case::whole(PREFACE.len(), false)]
    #[case::all_but_a_byte(PREFACE.len() - 1, true)]
    #[tokio::test]
    async fn http_2_is_left_to_hyper_once_its_preface_is_there(#[case] bytes: usize, #[case] watched: bool) {
        let (mut stream, mut far, _) = connection(Duration::from_secs(3600));
        for byte in &PREFACE[..bytes] {
            far.write_all(&[*byte]).await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 1);
        }
        assert_eq!(stream.watch.is_some(), watched);
    }
}
