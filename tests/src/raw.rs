//! A client that sends raw bytes. Owns a TCP connection.
//!
//! Invariant: it sends the given bytes, valid or not, and reads frames without checking them.

use crate::within;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A raw connection.
pub struct RawClient {
    tcp: TcpStream,
    buffer: Vec<u8>,
}

/// A received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl RawFrame {
    /// Returns the code of a close frame.
    pub fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk::<2>()?;
        (self.opcode == 8).then(|| u16::from_be_bytes(*code))
    }
}

impl RawClient {
    /// Opens a TCP connection.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn open(addr: SocketAddr) -> Self {
        let tcp = within("a TCP connection", TcpStream::connect(addr)).await;
        Self { tcp: tcp.expect("the node listens"), buffer: Vec::new() }
    }

    /// Opens a TCP connection with a small receive buffer.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn narrow(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 * 1024).expect("a socket has a buffer");
        let tcp = within("a TCP connection", socket.connect(addr)).await;
        Self { tcp: tcp.expect("the node listens"), buffer: Vec::new() }
    }

    /// Opens a WebSocket to a path.
    ///
    /// # Panics
    /// When the answer is not 101.
    pub async fn upgrade(addr: SocketAddr, path: &str) -> Self {
        let mut this = Self::open(addr).await;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        this.write(request.as_bytes()).await;
        let head = this.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{path} was answered with {head}");
        this
    }

    /// Sends bytes, as far as the other side takes them.
    pub async fn write(&mut self, bytes: &[u8]) {
        // A server that cuts off invalid bytes has already answered them.
        drop(within("bytes to be written", self.tcp.write_all(bytes)).await);
    }

    /// Sends bytes, all of them.
    ///
    /// # Errors
    /// The connection was reset before.
    pub async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("bytes to be written", self.tcp.write_all(bytes)).await
    }

    /// Returns all bytes up to the end of the connection, if it is a clean one.
    ///
    /// # Errors
    /// The connection was reset.
    pub async fn ended(&mut self) -> std::io::Result<Vec<u8>> {
        let tcp = &mut self.tcp;
        within("the end of a connection", tcp.read_to_end(&mut self.buffer)).await?;
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Ends the sending direction.
    pub async fn finish(&mut self) {
        drop(within("the end to be written", self.tcp.shutdown()).await);
    }

    /// Returns the head of an HTTP response, up to its empty line.
    ///
    /// # Panics
    /// When the connection ends before.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return String::from_utf8_lossy(&head).into_owned();
            }
            let so_far = String::from_utf8_lossy(&self.buffer).into_owned();
            assert!(self.more().await, "the response ended with {so_far:?}");
        }
    }

    /// Returns the next chunk of a chunked body: an empty one at its end, `None` if it broke off.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((chunk, size)) = parse_chunk(&self.buffer) {
                self.buffer.drain(..size);
                return Some(chunk);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Returns all bytes up to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Returns the next frame; `None` if the connection ended.
    pub async fn frame(&mut self) -> Option<RawFrame> {
        loop {
            if let Some((frame, size)) = parse(&self.buffer) {
                self.buffer.drain(..size);
                return Some(frame);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Reads once. Returns false at the end of the connection.
    async fn more(&mut self) -> bool {
        self.buffer.reserve(64 * 1024);
        let read = within("bytes from the server", self.tcp.read_buf(&mut self.buffer)).await;
        read.is_ok_and(|count| count > 0)
    }
}

/// Returns the chunk at the start of these bytes, and its length.
fn parse_chunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let head = bytes.windows(2).position(|two| two == b"\r\n")?;
    let size = usize::from_str_radix(std::str::from_utf8(&bytes[..head]).ok()?, 16).ok()?;
    let end = head + 2 + size;
    let chunk = bytes.get(head + 2..end)?.to_vec();
    bytes.get(end..end + 2).map(|_| (chunk, end + 2))
}

/// Returns the frame at the start of these bytes, and its length.
fn parse(bytes: &[u8]) -> Option<(RawFrame, usize)> {
    let [first, second] = *bytes.first_chunk::<2>()?;
    let (length, head) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        length => (u64::from(length), 2),
    };
    let size = head + usize::try_from(length).ok()?;
    let payload = bytes.get(head..size)?.to_vec();
    Some((RawFrame { opcode: first & 0x0f, payload }, size))
}

/// Returns a frame of a client: the first byte as it is given, then length, mask and payload.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | u8::try_from(length).unwrap_or(0)),
        Ok(length) => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
