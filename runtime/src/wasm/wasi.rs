//! What of WASI a guest gets: clocks, random numbers, its variables, and output into the log.
//!
//! Invariant: nothing here opens a file, a socket or the host's own streams. It does not know the
//! room's functions.

use super::log::{GuestLog, Stdio};
use crate::clock::Clock;
use bytes::Bytes;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx};

/// The most a guest may print in one call. It is cut into lines at once, so this bounds a copy.
const PRINT_BYTES_MAX: usize = 64 * 1024;

/// The WASI context of one instance.
pub(super) fn context(clock: Clock, log: &GuestLog, vars: &[(String, String)]) -> WasiCtx {
    let mut builder = WasiCtx::builder();
    builder
        .wall_clock(GuestClock(clock))
        .monotonic_clock(GuestClock(clock))
        .stdout(LogStream { log: log.clone(), stream: Stdio::Out })
        .stderr(LogStream { log: log.clone(), stream: Stdio::Err })
        .allow_tcp(false)
        .allow_udp(false)
        .envs(vars);
    builder.build()
}

/// The host's time as the guest sees it.
struct GuestClock(Clock);

impl HostWallClock for GuestClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.0.wall()
    }
}

impl HostMonotonicClock for GuestClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.monotonic().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A standard stream that ends in the log.
#[derive(Clone)]
struct LogStream {
    log: GuestLog,
    stream: Stdio,
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log.print(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PRINT_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for LogStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.log.print(self.stream, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
