//! The bytes of a client that nobody wants any more. Owns for how long, and how many, the server still takes them.
//!
//! Invariant: taking them costs no memory, and has a bound in time, in silence, and in bytes. It does not know why
//! nobody wants them.

use room_core::limits::{Limits, ms};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The number of bytes that are discarded at once.
const GULP: usize = 4096;

/// The end of what a client sends.
pub(crate) struct Discard {
    until: Pin<Box<Sleep>>,
    /// When a client that goes on sending nothing is not waited for any more.
    silent: Pin<Box<Sleep>>,
    silence: Duration,
    /// The number of bytes that may still be discarded.
    left: u64,
}

impl Discard {
    /// Begins to discard, within `linger_ms_max` and `linger_bytes_max`, until the client sends nothing for `silence`.
    pub(crate) fn new(limits: &Limits, silence: Duration) -> Self {
        Self {
            until: Box::pin(tokio::time::sleep(ms(limits.linger_ms_max))),
            silent: Box::pin(tokio::time::sleep(silence)),
            silence,
            left: limits.linger_bytes_max,
        }
    }

    /// Discards the bytes that arrive, and tells `took` of each read. Ready when the client has ended or is silent, or
    /// at a bound.
    pub(crate) fn poll(
        &mut self,
        mut stream: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
        mut took: impl FnMut(),
    ) -> Poll<()> {
        let mut moved = false;
        loop {
            let mut bytes = [MaybeUninit::<u8>::uninit(); GULP];
            let mut bytes = ReadBuf::uninit(&mut bytes);
            let Poll::Ready(read) = stream.as_mut().poll_read(cx, &mut bytes) else {
                if moved {
                    self.silent.as_mut().reset(Instant::now() + self.silence);
                }
                return self.poll_time(cx);
            };
            let count = bytes.filled().len() as u64;
            if read.is_err() || count == 0 || count > self.left {
                return Poll::Ready(());
            }
            (self.left, moved) = (self.left - count, true);
            took();
        }
    }

    /// Ready when the client has used up its time.
    pub(crate) fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let over = self.until.as_mut().poll(cx).is_ready();
        match over || self.silent.as_mut().poll(cx).is_ready() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
