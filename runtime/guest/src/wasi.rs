//! A guest's part of WASI: time and randomness from its samples, its variables, and output into the log. Owns
//! the choice of these.
//!
//! Invariant: nothing here opens a file, a socket or the host's own streams. It does not know the room's
//! functions.

use crate::log::{GuestLog, Stdio};
use crate::samples::{self, SampleSource, Samples};
use bytes::Bytes;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// The most a guest may print in one call. It is cut into lines at once, so this bounds a copy.
const PRINT_BYTES_MAX: usize = 64 * 1024;

/// Makes the WASI context of one instance, and returns its source of time with it.
pub(super) fn context(
    source: Box<dyn SampleSource>,
    log: &GuestLog,
    vars: &[(String, String)],
) -> (WasiCtx, Samples) {
    let mut builder = WasiCtx::builder();
    builder
        .stdout(LogStream { log: log.clone(), stream: Stdio::Out })
        .stderr(LogStream { log: log.clone(), stream: Stdio::Err })
        .allow_tcp(false)
        .allow_udp(false)
        .envs(vars);
    let samples = samples::give(&mut builder, source);
    (builder.build(), samples)
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
