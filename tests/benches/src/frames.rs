//! WebSocket frames by hand: of a client that talks to rooms which are not for benchmarks, and of the raw server.
//!
//! Invariant: a frame is counted when its last byte has come. It knows text frames that are whole, their ends, and
//! nothing else of the protocol. It does not know what they say.

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
        Self::connect_to(addr, &addr.to_string(), room).await
    }

    /// As [`Client::connect`], with the subprotocol by which a client may come back.
    pub(crate) async fn connect_returning(addr: std::net::SocketAddr, room: &str) -> Result<Self> {
        let offer = "sec-websocket-protocol: room.ids\r\n";
        Self::connect_with(addr, &addr.to_string(), room, offer).await
    }

    /// As [`Client::connect`], to the project that answers to this host.
    pub(crate) async fn connect_to(
        addr: std::net::SocketAddr,
        host: &str,
        room: &str,
    ) -> Result<Self> {
        Self::connect_with(addr, host, room, "").await
    }

    /// Connects with these further lines of the request's head.
    async fn connect_with(
        addr: std::net::SocketAddr,
        host: &str,
        room: &str,
        lines: &str,
    ) -> Result<Self> {
        let mut tcp = TcpStream::connect(addr).await?;
        tcp.set_nodelay(true)?;
        let request = format!(
            "GET /parties/main/{room} HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\n\
             connection: upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
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

    /// Waits until at least one frame is there, and returns the number of frames.
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

/// A frame of a client.
pub(crate) enum Received<'a> {
    /// A text message, with its mask taken off.
    Text(&'a [u8]),
    /// The close frame.
    Close,
}

/// Steps over the first whole frame of a client, removes its mask in place, and returns it with its length.
///
/// # Errors
/// The load does not send such a frame.
pub(crate) fn received(bytes: &mut [u8]) -> Result<Option<(Received<'_>, usize)>> {
    let (mask_at, length) = match *bytes {
        [_, length @ 0x80..0xfe, ..] => (2, usize::from(length & 0x7f)),
        [_, 0xfe, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        [_, 0xff, 0, 0, 0, 0, a, b, c, d, ..] => {
            (10, usize::try_from(u32::from_be_bytes([a, b, c, d]))?)
        }
        [_, 0xff, ..] if bytes.len() < 10 => return Ok(None),
        [] | [_] | [_, 0xfe, ..] => return Ok(None),
        [first, second, ..] => bail!("the load sent a frame of {first:#x} {second:#x}"),
    };
    let (body_at, end) = (mask_at + 4, mask_at + 4 + length);
    if bytes.len() < end {
        return Ok(None);
    }
    let mask = [bytes[mask_at], bytes[mask_at + 1], bytes[mask_at + 2], bytes[mask_at + 3]];
    let (kind, body) = (bytes[0], &mut bytes[body_at..end]);
    for (byte, mask) in body.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    match kind {
        0x81 => Ok(Some((Received::Text(body), end))),
        0x88 => Ok(Some((Received::Close, end))),
        other => bail!("the load sent opcode {other:#x}"),
    }
}

/// Appends a text frame of a server.
pub(crate) fn answer(into: &mut Vec<u8>, body: &[u8]) {
    into.push(0x81);
    match (u8::try_from(body.len()), u16::try_from(body.len())) {
        (Ok(short @ ..126), _) => into.push(short),
        (_, Ok(length)) => {
            into.push(126);
            into.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            into.push(127);
            into.extend_from_slice(&(body.len() as u64).to_be_bytes());
        }
    }
    into.extend_from_slice(body);
}

/// Returns a text frame of a client, masked with zeros.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    // The payloads here are far shorter than those that need a longer head.
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut frame = match u8::try_from(length) {
        Ok(short) if short < 126 => vec![0x81, 0x80 | short],
        _ => [&[0x81, 0x80 | 126], &length.to_be_bytes()[..]].concat(),
    };
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&payload.as_bytes()[..usize::from(length)]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_frames_of_any_length_are_unmasked_and_answered() {
        for length in [0, 1, 125, 126, 70_000] {
            let body = vec![b'x'; length];
            let mut answered = Vec::new();
            answer(&mut answered, &body);
            // The same bytes as a client sends, but for the mask.
            let mut frame = answered[..answered.len() - length].to_vec();
            frame[1] |= 0x80;
            frame.extend_from_slice(&[1, 2, 3, 4]);
            frame.extend(body.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(a, b)| a ^ b));
            for cut in [1, frame.len() / 2, frame.len() - 1] {
                assert!(received(&mut frame[..cut].to_vec()).unwrap().is_none());
            }
            let whole = frame.len();
            match received(&mut frame).unwrap() {
                Some((Received::Text(text), end)) => assert!(text == body && end == whole),
                _ => panic!("a text of {length} bytes was not read"),
            }
        }
        assert!(received(&mut [0x81, 5, 1, 2, 3, 4, 5]).is_err());
        assert!(matches!(received(&mut [0x88, 0x80, 0, 0, 0, 0]), Ok(Some((Received::Close, 6)))));
    }
}
