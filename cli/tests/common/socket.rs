//! A client with an open WebSocket. Owns its frames.
//!
//! Invariant: every wait has a deadline, and shows at its end what came. It does not know what is said.

use super::dev::STEP_MAX;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// The longest message that is sent.
const SENT_BYTES_MAX: usize = 125;

/// An open WebSocket.
pub(crate) struct Socket {
    tcp: TcpStream,
    seen: Vec<String>,
}

impl Socket {
    /// Opens one to a path of a server here.
    pub(crate) fn open(port: u16, path: &str) -> Self {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        tcp.set_read_timeout(Some(STEP_MAX)).expect("there can be a time limit");
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        tcp.write_all(head.as_bytes()).expect("a request can be sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tcp.read_exact(&mut byte).expect("an answer has a head");
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        Self { tcp, seen: Vec::new() }
    }

    /// Sends a short text.
    pub(crate) fn send(&mut self, text: &str) {
        assert!(text.len() <= SENT_BYTES_MAX, "{text}");
        let len = u8::try_from(text.len()).expect("it is short");
        // Clients mask what they send; the mask of zeros changes nothing.
        let mut frame = vec![0x81, 0x80 | len, 0, 0, 0, 0];
        frame.extend(text.as_bytes());
        self.tcp.write_all(&frame).expect("a message can be sent");
    }

    /// Waits for the next message that has this text in it.
    pub(crate) fn until(&mut self, text: &str) -> String {
        loop {
            let message = self.message(text);
            self.seen.push(message.clone());
            if message.contains(text) {
                return message;
            }
        }
    }

    /// The next text; pings are passed over.
    fn message(&mut self, wanted: &str) -> String {
        loop {
            let (first, payload) = self.frame(wanted);
            let payload = String::from_utf8_lossy(&payload).into_owned();
            match first {
                0x81 => return payload,
                0x89 | 0x8a => {}
                _ => {
                    panic!("a frame {first:#x} came, and no `{wanted}`: {payload}; {:?}", self.seen)
                }
            }
        }
    }

    fn frame(&mut self, wanted: &str) -> (u8, Vec<u8>) {
        let [first, len] = self.bytes(wanted);
        let len = match len {
            126 => u64::from(u16::from_be_bytes(self.bytes(wanted))),
            127 => u64::from_be_bytes(self.bytes(wanted)),
            len => u64::from(len),
        };
        let mut payload = vec![0; usize::try_from(len).expect("it fits into memory")];
        self.tcp.read_exact(&mut payload).expect("a frame is whole");
        (first, payload)
    }

    fn bytes<const N: usize>(&mut self, wanted: &str) -> [u8; N] {
        let mut bytes = [0; N];
        if let Err(err) = self.tcp.read_exact(&mut bytes) {
            panic!("no `{wanted}` came: {err}; before it came {:?}", self.seen);
        }
        bytes
    }
}
