//! The end of a connection. Owns the steps between the last byte that is sent and the close.
//!
//! Invariant: a connection that the server ends is shut down for writing first. The bytes that the client still sends
//! are read and discarded until the client ends, too, within `linger_ms_max` and `linger_bytes_max`. A socket that is
//! closed with unread bytes is reset, and the client may never see the last answer. It does not know what was sent.

use room_core::limits::{Limits, ms};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The number of bytes that are discarded at once.
const GULP: usize = 4096;

/// A connection whose shutdown waits for the client's end.
pub(super) struct Linger<S> {
    inner: S,
    limits: Arc<Limits>,
    /// Cancelled when the server stops: it then waits only for clients that still send.
    stop: CancellationToken,
    parting: Option<Box<LingeringConnection>>,
}

/// A connection that is shut down for writing.
struct LingeringConnection {
    until: Pin<Box<Sleep>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The number of bytes that may still be discarded.
    left: u64,
}

impl<S> Linger<S> {
    pub(super) fn new(inner: S, limits: Arc<Limits>, stop: CancellationToken) -> Self {
        Self { inner, limits, stop, parting: None }
    }
}

impl LingeringConnection {
    fn new(limits: &Limits, stop: &CancellationToken) -> Box<Self> {
        Box::new(Self {
            until: Box::pin(tokio::time::sleep(ms(limits.linger_ms_max))),
            stopped: Box::pin(stop.clone().cancelled_owned()),
            left: limits.linger_bytes_max,
        })
    }

    /// Discards the bytes that arrive. Ready when the client has ended, or enough has been discarded.
    fn poll(&mut self, stream: Pin<&mut impl AsyncRead>, cx: &mut Context<'_>) -> Poll<()> {
        let mut stream = stream;
        loop {
            let mut bytes = [MaybeUninit::<u8>::uninit(); GULP];
            let mut bytes = ReadBuf::uninit(&mut bytes);
            let Poll::Ready(read) = stream.as_mut().poll_read(cx, &mut bytes) else {
                let over = self.until.as_mut().poll(cx).is_ready();
                let over = over || self.stopped.as_mut().poll(cx).is_ready();
                return if over { Poll::Ready(()) } else { Poll::Pending };
            };
            let count = bytes.filled().len() as u64;
            if read.is_err() || count == 0 || count > self.left {
                return Poll::Ready(());
            }
            self.left -= count;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Linger<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Linger<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.parting.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        let parting =
            this.parting.get_or_insert_with(|| LingeringConnection::new(&this.limits, &this.stop));
        ready!(parting.poll(Pin::new(&mut this.inner), cx));
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    fn pair(change: impl FnOnce(&mut Limits)) -> (Linger<DuplexStream>, DuplexStream) {
        let mut limits = Limits::default();
        change(&mut limits);
        let (server, client) = duplex(64 * 1024);
        (Linger::new(server, Arc::new(limits), CancellationToken::new()), client)
    }

    #[tokio::test]
    async fn a_lingering_connection_reads_until_the_client_ends() {
        let (mut server, mut client) = pair(|_| {});
        server.write_all(b"bye").await.unwrap();
        let sending = async {
            client.write_all(&vec![0; 1 << 20]).await.unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            drop(client);
            heard
        };
        let (ended, heard) = tokio::join!(server.shutdown(), sending);
        assert_eq!((ended.unwrap(), heard), ((), b"bye".to_vec()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_end_is_cut_off_by_time_or_bytes() {
        let (mut server, _silent) = pair(|limits| limits.linger_ms_max = 1_000);
        server.shutdown().await.unwrap();
        let (mut server, mut client) = pair(|limits| {
            (limits.linger_ms_max, limits.linger_bytes_max) = (u64::from(u32::MAX), 100_000);
        });
        let much = vec![0; 1 << 20];
        let (ended, _) = tokio::join!(
            async {
                let ended = server.shutdown().await;
                drop(server);
                ended
            },
            client.write_all(&much)
        );
        ended.unwrap();
    }

    #[tokio::test]
    async fn a_stopping_server_does_not_wait_for_a_silent_client() {
        let (mut server, _silent) = pair(|limits| limits.linger_ms_max = u64::from(u32::MAX));
        let stop = server.stop.clone();
        let (ended, ()) = tokio::join!(server.shutdown(), async { stop.cancel() });
        ended.unwrap();
    }
}
