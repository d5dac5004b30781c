//! The end of a connection. Owns the steps between the last byte that is sent and the close.
//!
//! Invariant: a connection that the server ends is shut down for writing first. The bytes that the client still sends
//! are read and discarded until the client ends, too, within `linger_ms_max`, `linger_quiet_ms_max` and
//! `linger_bytes_max`. A socket that is closed with unread bytes is reset, and the client may never see the last answer.
//! It does not know what was sent.

use crate::discard::Discard;
use room_core::limits::{Limits, ms};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A connection whose shutdown waits for the client's end.
pub(super) struct Linger<S> {
    inner: S,
    limits: Arc<Limits>,
    /// Cancelled when the server stops: it then waits only for clients that still send.
    stop: CancellationToken,
    parting: Option<Box<LingeringConnection>>,
}

/// A connection that is being shut down for writing, or is shut down.
struct LingeringConnection {
    discard: Discard,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    is_shut_down: bool,
}

impl<S> Linger<S> {
    pub(super) fn new(inner: S, limits: Arc<Limits>, stop: CancellationToken) -> Self {
        Self { inner, limits, stop, parting: None }
    }
}

impl LingeringConnection {
    fn new(limits: &Limits, stop: &CancellationToken) -> Box<Self> {
        Box::new(Self {
            discard: Discard::new(limits, ms(limits.linger_quiet_ms_max)),
            stopped: Box::pin(stop.clone().cancelled_owned()),
            is_shut_down: false,
        })
    }

    /// Shuts the connection down, and discards the bytes that arrive. Ready when the client has ended, or its time is
    /// over, or enough has been discarded.
    fn poll(
        &mut self,
        mut stream: Pin<&mut (impl AsyncRead + AsyncWrite)>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_shut_down
            && let Poll::Ready(shut_down) = stream.as_mut().poll_shutdown(cx)
        {
            shut_down?;
            self.is_shut_down = true;
        }
        let discarded = match self.is_shut_down {
            true => self.discard.poll(stream, cx, || {}),
            // A client that does not read may hold up the last bytes.
            false => self.discard.poll_time(cx),
        };
        match discarded.is_ready() || self.stopped.as_mut().poll(cx).is_ready() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
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
        let parting =
            this.parting.get_or_insert_with(|| LingeringConnection::new(&this.limits, &this.stop));
        parting.poll(Pin::new(&mut this.inner), cx)
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
        let long = u64::from(u32::MAX);
        let (mut server, _silent) = pair(|limits| {
            (limits.linger_ms_max, limits.linger_quiet_ms_max) = (long, 1_000);
        });
        server.shutdown().await.unwrap();
        let (mut server, mut client) = pair(|limits| {
            (limits.linger_ms_max, limits.linger_quiet_ms_max) = (long, long);
            limits.linger_bytes_max = 100_000;
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
        let (mut server, _silent) = pair(|limits| {
            let long = u64::from(u32::MAX);
            (limits.linger_ms_max, limits.linger_quiet_ms_max) = (long, long);
        });
        let stop = server.stop.clone();
        let (ended, ()) = tokio::join!(server.shutdown(), async { stop.cancel() });
        ended.unwrap();
    }
}
