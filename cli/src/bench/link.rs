//! One connection of the load. Owns its bytes in both directions.
//!
//! Invariant: bytes go out in order, at once if the kernel takes them. Reading and writing never wait for each other.
//! While no bytes come, a connection holds no buffer. It does not know what messages mean.

use super::frames::{self, Frame, Odd};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;

/// The bytes of one read.
const READ_BYTES: usize = 256 * 1024;
/// The longest head of an answer to the handshake, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The bytes of a connection that may wait to be sent. [`BenchLink::takes`] says whether more fit.
pub(crate) const OUT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a connection ended, or could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The system reported an error.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server ended it without a close frame.
    #[error("the server ended the connection without a close frame")]
    Ended,
    /// The server closed it.
    #[error("closed with {code} {reason}")]
    Closed {
        /// The close code.
        code: u16,
        /// The server's reason.
        reason: String,
    },
    /// The server answered the handshake with something else.
    #[error("the handshake was answered `{0}`")]
    Refused(String),
    /// The answer to the handshake is not a WebSocket's.
    #[error(transparent)]
    Odd(#[from] Odd),
    /// The first message is not that of the room for benchmarks.
    #[error("the room said `{0}`")]
    Stranger(String),
    /// No message came for so long.
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
}

/// The buffer into which all connections read, one after the other.
#[derive(Clone)]
pub(crate) struct Scratch(Rc<RefCell<Vec<u8>>>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(vec![0; READ_BYTES])))
    }
}

/// The sending side.
pub(crate) struct BenchLink {
    tcp: TcpStream,
    /// The bytes that the kernel has not taken yet.
    out: RefCell<Vec<u8>>,
    flushes: Cell<bool>,
}

/// The receiving side.
pub(crate) struct BenchReader {
    link: Rc<BenchLink>,
    /// The start of a frame whose end has not come.
    rest: Vec<u8>,
    scratch: Scratch,
}

impl BenchLink {
    /// Requests a WebSocket on a connection.
    ///
    /// # Errors
    /// [`Broken::Refused`] if the answer is another one.
    ///
    /// # Cancel safety
    /// The connection is closed.
    pub(crate) async fn upgrade(
        tcp: TcpStream,
        request: &str,
        scratch: &Scratch,
    ) -> Result<(Rc<Self>, BenchReader), Broken> {
        let link = Self { tcp, out: RefCell::default(), flushes: Cell::new(false) };
        let link = Rc::new(link);
        link.send(request.as_bytes());
        let mut head = Vec::new();
        let end = loop {
            link.tcp.readable().await?;
            let mut scratch = scratch.0.borrow_mut();
            match link.tcp.try_read(&mut scratch) {
                Ok(0) => return Err(Broken::Ended),
                Ok(count) => head.extend_from_slice(&scratch[..count]),
                Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                Err(err) => return Err(err.into()),
            }
            if let Some(at) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            if head.len() > HEAD_BYTES_MAX {
                return Err(Broken::Refused("a head without an end".to_owned()));
            }
        };
        if !head.starts_with(b"HTTP/1.1 101") {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            return Err(Broken::Refused(line.chars().flat_map(char::escape_debug).collect()));
        }
        let rest = head.split_off(end);
        Ok((link.clone(), BenchReader { link, rest, scratch: scratch.clone() }))
    }

    /// Sends frames, at once or as soon as the kernel takes them. If the connection is broken they are lost, and its
    /// reader receives the reason.
    pub(crate) fn send(self: &Rc<Self>, frames: &[u8]) {
        let mut out = self.out.borrow_mut();
        let mut rest = frames;
        if out.is_empty() {
            match self.tcp.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        if rest.is_empty() {
            return;
        }
        out.extend_from_slice(rest);
        if !self.flushes.replace(true) {
            tokio::task::spawn_local(self.clone().flush());
        }
    }

    /// Returns true if so many more bytes may wait to be sent.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        self.out.borrow().len() + bytes <= OUT_BYTES_MAX
    }

    /// Sends a close frame.
    pub(crate) fn close(self: &Rc<Self>) {
        let mut frame = Vec::new();
        frames::close(&mut frame);
        self.send(&frame);
    }

    /// Sends the waiting bytes.
    async fn flush(self: Rc<Self>) {
        while self.tcp.writable().await.is_ok() {
            let mut out = self.out.borrow_mut();
            match self.tcp.try_write(&out) {
                Ok(count) => drop(out.drain(..count)),
                Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
            if out.is_empty() {
                // A buffer that was needed once need not be held forever.
                *out = Vec::new();
                break;
            }
        }
        self.flushes.set(false);
    }
}

impl BenchReader {
    /// Waits until at least one message is there, hands over all that are, and returns their number.
    ///
    /// # Errors
    /// [`Broken`]: no more will come. Earlier messages were handed over.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn read(&mut self, mut take: impl FnMut(&[u8])) -> Result<usize, Broken> {
        let mut count = self.parse(&[], &mut take)?;
        while count == 0 {
            self.link.tcp.readable().await?;
            let scratch = self.scratch.clone();
            let mut scratch = scratch.0.borrow_mut();
            match self.link.tcp.try_read(&mut scratch) {
                Ok(0) => return Err(Broken::Ended),
                Ok(length) => count = self.parse(&scratch[..length], &mut take)?,
                Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                Err(err) => return Err(err.into()),
            }
        }
        Ok(count)
    }

    /// Waits for the end of a connection whose close frame was sent.
    ///
    /// # Errors
    /// It ended in another way.
    ///
    /// # Cancel safety
    /// Nothing is lost but messages that nobody wants.
    pub(crate) async fn closed(&mut self) -> Result<(), Broken> {
        loop {
            match self.read(|_| {}).await {
                Ok(_) => {}
                Err(Broken::Closed { code: 1000 | 1005, .. } | Broken::Ended) => return Ok(()),
                Err(err) => return Err(err),
            }
        }
    }

    /// Hands over the messages that these bytes complete.
    fn parse(&mut self, fresh: &[u8], take: &mut impl FnMut(&[u8])) -> Result<usize, Broken> {
        let mut rest = std::mem::take(&mut self.rest);
        let is_joined = !rest.is_empty();
        if is_joined {
            rest.extend_from_slice(fresh);
        }
        let bytes = if is_joined { &rest } else { fresh };
        let (mut at, mut count) = (0, 0);
        while let Some((frame, length)) = frames::next(&bytes[at..])? {
            at += length;
            match frame {
                Frame::Message(body) => {
                    take(body);
                    count += 1;
                }
                Frame::Ping(body) => {
                    let mut pong = Vec::new();
                    frames::pong(&mut pong, body);
                    self.link.send(&pong);
                }
                Frame::Pong => {}
                Frame::Close(code, reason) => {
                    let reason = String::from_utf8_lossy(reason);
                    let reason = reason.chars().flat_map(char::escape_debug).collect();
                    return Err(Broken::Closed { code, reason });
                }
            }
        }
        if at < bytes.len() {
            self.rest = bytes[at..].to_vec();
        }
        Ok(count)
    }
}
