//! The bytes that a client sends through its WebSocket. Owns the time and the memory that an unfinished message may
//! take.
//!
//! Invariant: an unfinished message ends within `message_ms_max` of reading, or its connection fails. Its bytes are
//! taken from the node's budget as long as they may be in memory. Only the time in which the server waits for the
//! client counts. A message for which there is no space is refused when its client has sent all that it had queued, as
//! far as the limits on lingering allow: a browser takes the end for a clean one only then. It does not know what the
//! messages are.

use super::frames::{Breach, Frames};
use crate::discard::Discard;
use room_core::byte_budget::BytePermit;
use room_core::limits::{Limits, ms, size};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
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
    /// A message is larger than allowed.
    #[error("message of {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its size, as far as the client has said it.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The client sent an invalid frame.
    #[error("{0}")]
    Frame(&'static str),
}

/// The bytes of a client on their way to the library that parses messages.
pub(crate) struct Intake<S> {
    inner: S,
    limits: Arc<Limits>,
    /// Size of one message, in bytes.
    bytes_max: u64,
    frames: Frames,
    permit: BytePermit,
    /// When the unfinished message is overdue; `None` while the server does not wait for the client.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The error to report instead of further bytes.
    error: Option<IntakeError>,
    /// The rest of what the client sends, which is discarded before the error is reported.
    rest: Option<Box<Discard>>,
    /// Set whenever bytes arrive.
    alive: Arc<AtomicBool>,
}

impl<S> Intake<S> {
    pub(super) fn new(inner: S, limits: Arc<Limits>, permit: BytePermit, bytes_max: u64) -> Self {
        let frames = Frames::of_at_most(bytes_max);
        let (deadline, error, rest, alive) = (None, None, None, Arc::default());
        Self { inner, limits, bytes_max, frames, permit, deadline, error, rest, alive }
    }

    /// Returns a flag that is set whenever bytes arrive: a client in the middle of a large message lives, too.
    pub(crate) fn alive(&self) -> Arc<AtomicBool> {
        self.alive.clone()
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
                match violation.what {
                    Breach::Invalid(what) => self.error = Some(IntakeError::Frame(what)),
                    Breach::TooLarge(bytes) => {
                        let max = self.bytes_max;
                        self.refuse(IntakeError::TooLarge { bytes, max });
                    }
                }
                violation.valid
            }
            Ok(()) => {
                if !self.keep() {
                    self.refuse(IntakeError::BuffersFull);
                }
                bytes.len()
            }
        }
    }

    /// Reports this error when the client has sent all that it had queued.
    fn refuse(&mut self, error: IntakeError) {
        let silence = ms(self.limits.refused_quiet_ms);
        self.rest = Some(Box::new(Discard::new(&self.limits, silence)));
        self.error = Some(error);
    }

    /// Extends the permit to the unfinished message. Complete messages stay covered until more is read, because the
    /// room may not have them yet.
    fn keep(&mut self) -> bool {
        let bytes = self.frames.bytes();
        bytes == 0 || self.permit.cover(size(bytes))
    }
}

impl<S: AsyncRead + Unpin> Intake<S> {
    /// Reports the error, after the rest of what the client sends.
    fn poll_end(&mut self, error: IntakeError, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // All complete messages have been taken by now, and nothing is kept of the others.
        self.permit.shrink(0);
        if let Some(rest) = &mut self.rest {
            let alive = &self.alive;
            ready!(
                rest.poll(Pin::new(&mut self.inner), cx, || alive.store(true, Ordering::Relaxed))
            );
            self.rest = None;
        }
        Poll::Ready(Err(io::Error::other(error)))
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
            return this.poll_end(error, cx);
        }
        // All complete messages have been taken by now.
        this.permit.shrink(size(this.frames.bytes()));
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                this.alive.store(true, Ordering::Relaxed);
                let valid = this.take(&buf.filled()[before..]);
                if let (0, Some(error)) = (valid, this.error) {
                    buf.set_filled(before);
                    return this.poll_end(error, cx);
                }
                buf.set_filled(before + valid);
                Poll::Ready(Ok(()))
            }
            Poll::Pending if this.frames.is_unfinished() => {
                let limit = this.limits.message_ms_max;
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
