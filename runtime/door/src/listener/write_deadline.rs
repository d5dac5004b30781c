//! The time for which a client may take nothing. Owns the clock of a connection whose bytes wait.
//!
//! Invariant: a connection on which bytes wait takes at least one of them within `write_ms_max`, or fails. hyper and a
//! response's room would wait without a limit otherwise, as they ask for the next part only when the client has taken the
//! one before. It lies below TLS, so that it sees each byte that the client takes. It does not know what is sent.

use room_core::limits::ms;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A connection whose writes fail when its client takes nothing for too long.
pub(super) struct WriteDeadline<S> {
    inner: S,
    patience: Duration,
    /// Made when a write waits for the first time.
    until: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl<S> WriteDeadline<S> {
    pub(super) fn new(inner: S, write_ms_max: u64) -> Self {
        Self { inner, patience: ms(write_ms_max), until: None, waits: false }
    }

    /// Passes the outcome of a write on, unless the client has taken nothing for too long.
    fn checked(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waits = false;
            return written;
        }
        let until = Instant::now() + self.patience;
        let sleep = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if !self.waits {
            sleep.as_mut().reset(until);
            self.waits = true;
        }
        ready!(sleep.as_mut().poll(cx));
        let text = "the client took no byte of what waits for it within write_ms_max";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteDeadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.checked(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// The end of a connection has limits of its own.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.checked(cx, written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_fails_and_a_slow_one_does_not() {
        let (server, mut client) = duplex(10);
        let mut server = WriteDeadline::new(server, 1_000);
        let slow = async {
            let mut byte = [0];
            for _ in 0..50 {
                tokio::time::sleep(Duration::from_millis(900)).await;
                client.read_exact(&mut byte).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(server.write_all(&[7; 60]), slow);
        written.unwrap();
        // Ten bytes fill the way, and nobody reads them.
        let begun = Instant::now();
        let error = server.write_all(&[7; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_between_two_writes_does_not_count() {
        let (server, mut client) = duplex(10);
        let mut server = WriteDeadline::new(server, 1_000);
        for _ in 0..3 {
            server.write_all(&[7; 10]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            client.read_exact(&mut [0; 10]).await.unwrap();
        }
    }
}
