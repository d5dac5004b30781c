//! WebSocket frames by hand, so that the load costs little beside what it measures.
//!
//! Invariant: a frame is counted when its last byte has come. It knows text frames of servers, which
//! are not masked, and nothing else of the protocol.

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client connection after its handshake.
pub(crate) struct Client {
    tcp: TcpStream,
    buffer: Vec<u8>,
    start: usize,
}

impl Client {
    /// Connects to a room and waits for its hello.
    pub(crate) async fn connect(addr: std::net::SocketAddr, room: &str) -> Result<Self> {
        let mut tcp = TcpStream::connect(addr).await?;
        tcp.set_nodelay(true)?;
        let request = format!(
            "GET /parties/main/{room} HTTP/1.1\r\nhost: {addr}\r\nupgrade: websocket\r\n\
             connection: upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        tcp.write_all(request.as_bytes()).await?;
        let mut client = Self { tcp, buffer: Vec::with_capacity(64 * 1024), start: 0 };
        let end = loop {
            client.fill().await?;
            if let Some(at) = client.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
        };
        if !client.buffer.starts_with(b"HTTP/1.1 101") {
            bail!("no upgrade: {}", String::from_utf8_lossy(&client.buffer[..end]));
        }
        client.start = end;
        while client.next_buffered()?.is_none() {
            client.fill().await?;
        }
        Ok(client)
    }

    /// Writes frames that were encoded before.
    pub(crate) async fn write(&mut self, frames: &[u8]) -> Result<()> {
        Ok(self.tcp.write_all(frames).await?)
    }

    /// Waits until at least one frame is there. How many are.
    pub(crate) async fn read(&mut self) -> Result<usize> {
        loop {
            let mut count = 0;
            while self.next_buffered()?.is_some() {
                count += 1;
            }
            if count > 0 {
                return Ok(count);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        match self.tcp.read_buf(&mut self.buffer).await? {
            0 => bail!("the server closed the connection"),
            _ => Ok(()),
        }
    }

    /// Steps over the next whole frame.
    fn next_buffered(&mut self) -> Result<Option<()>> {
        let rest = &self.buffer[self.start..];
        let (head, length) = match rest {
            [0x81, length @ 0..126, ..] => (2, usize::from(*length)),
            [0x81, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
            [0x81, 127, 0, 0, 0, 0, length @ ..] if length.len() >= 4 => {
                let [a, b, c, d] = [length[0], length[1], length[2], length[3]];
                (10, usize::try_from(u32::from_be_bytes([a, b, c, d]))?)
            }
            [first, _, _, _, ..] if *first != 0x81 => bail!("the server sent opcode {first:#x}"),
            _ => return Ok(None),
        };
        if rest.len() < head + length {
            return Ok(None);
        }
        self.start += head + length;
        Ok(Some(()))
    }
}

/// A text frame of a client, masked with zeros.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    // The payloads here are far shorter than the second length that needs a longer head.
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut frame = match u8::try_from(length) {
        Ok(short) if short < 126 => vec![0x81, 0x80 | short],
        _ => [&[0x81, 0x80 | 126], &length.to_be_bytes()[..]].concat(),
    };
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&payload.as_bytes()[..usize::from(length)]);
    frame
}
