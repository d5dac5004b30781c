//! The bytes that a client sends through its WebSocket. Owns the time and the memory that an unfinished message may
//! take.
//!
//! Invariant: an unfinished message ends within `message_ms_max` of reading, or its connection fails. Its bytes are
//! taken from the node's budget as long as they may be in memory. Only the time in which the server waits for the
//! client counts. It does not know what the messages are.

use super::frames::Frames;
use room_core::byte_budget::BytePermit;
use room_core::limits::{ms, size};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Why the server stops reading from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IntakeError {
    /// The client started a message and did not finish it.
    #[error("a message was not finished within {0} ms")]
    Overdue(u64),
    /// All memory for clients' messages is taken.
    #[error("the server's buffers are full")]
    BuffersFull,
    /// The client sent an invalid frame.
    #[error("{0}")]
    Frame(&'static str),
}

/// The bounds of one client's messages.
#[derive(Clone, Copy)]
pub(super) struct IntakeBounds {
    pub(super) message_ms_max: u64,
    pub(super) message_bytes_max: u64,
}

/// The bytes of a client on their way to the library that parses messages.
pub(crate) struct Intake<S> {
    inner: S,
    bounds: IntakeBounds,
    frames: Frames,
    permit: BytePermit,
    /// When the unfinished message is overdue; `None` while the server does not wait for the client.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The error to report instead of further bytes.
    error: Option<IntakeError>,
}

impl<S> Intake<S> {
    pub(super) fn new(inner: S, bounds: IntakeBounds, permit: BytePermit) -> Self {
        Self { inner, bounds, frames: Frames::default(), permit, deadline: None, error: None }
    }

    /// Checks received bytes, and returns how many of them may be passed on.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let complete = self.frames.complete();
        let valid = self.frames.follow(bytes);
        if complete != self.frames.complete() || !self.frames.is_unfinished() {
            self.deadline = None;
        }
        match valid {
            Err(violation) => {
                self.error = Some(IntakeError::Frame(violation.what));
                violation.valid
            }
            Ok(()) => {
                if !self.keep() {
                    self.error = Some(IntakeError::BuffersFull);
                }
                bytes.len()
            }
        }
    }

    /// Extends the permit to the unfinished message. Complete messages stay covered until more is read, because the
    /// room may not have them yet.
    fn keep(&mut self) -> bool {
        let bytes = self.frames.bytes();
        // A message that is too large is refused when its header is read.
        let bytes = if bytes > self.bounds.message_bytes_max { 0 } else { bytes };
        bytes == 0 || self.permit.cover(size(bytes))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Intake<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(error) = this.error {
            return Poll::Ready(Err(io::Error::other(error)));
        }
        // All complete messages have been taken by now.
        this.permit.shrink(size(this.frames.bytes()));
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let valid = this.take(&buf.filled()[before..]);
                if let (0, Some(error)) = (valid, this.error) {
                    return Poll::Ready(Err(io::Error::other(error)));
                }
                buf.set_filled(before + valid);
                Poll::Ready(Ok(()))
            }
            Poll::Pending if this.frames.is_unfinished() => {
                let limit = this.bounds.message_ms_max;
                let deadline = || Box::pin(tokio::time::sleep(ms(limit)));
                let due = this.deadline.get_or_insert_with(deadline).as_mut().poll(cx);
                due.map(|()| {
                    let error = IntakeError::Overdue(limit);
                    this.error = Some(error);
                    Err(io::Error::other(error))
                })
            }
            other => other,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Intake<S> {
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
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
