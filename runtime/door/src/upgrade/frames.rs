//! The position of a client in its frames. Owns the parsing of frame headers, beside the library that parses messages.
//!
//! Invariant: at every byte it is known whether a message is unfinished, and how large it is so far. Frames that the
//! library accepts against RFC 6455 are refused, and so is a message that is too large. Pure: it does not know sockets or
//! time.

/// The longest frame header: two bytes, eight of length, four of mask.
const HEAD_BYTES_MAX: usize = 14;
/// The opcode of a close frame, and the first one of a control frame.
const CLOSE: u8 = 8;

/// The frames of one client, as far as their bytes have arrived.
#[derive(Default)]
pub(super) struct Frames {
    /// The largest size of a message.
    bytes_max: u64,
    head: [u8; HEAD_BYTES_MAX],
    /// The number of received header bytes.
    have: usize,
    /// The number of payload bytes that have not arrived, once the header is complete.
    left: Option<u64>,
    /// The first two bytes of a close frame's payload, as far as they have arrived.
    code: Vec<u8>,
    /// True between the first and the last frame of a fragmented message.
    in_pieces: bool,
    /// The payload bytes of the unfinished message's frames, including the rest of the newest frame.
    bytes: u64,
    /// The number of complete messages, and of complete control frames outside of messages.
    complete: u64,
}

/// The byte at which the frames become invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// The number of valid bytes before it.
    pub(super) valid: usize,
    /// What is invalid.
    pub(super) what: Breach,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// RFC 6455 forbids it.
    Invalid(&'static str),
    /// With it, its message has so many bytes.
    TooLarge(u64),
}

impl From<&'static str> for Breach {
    fn from(what: &'static str) -> Self {
        Self::Invalid(what)
    }
}

impl Frames {
    /// Starts with a client whose messages have at most so many bytes.
    pub(super) fn of_at_most(bytes_max: u64) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// Follows the client through these bytes.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (read, valid) = match self.left {
                None => self.head(rest[0]),
                Some(left) => self.payload(rest, left),
            };
            at += read;
            // The invalid byte is not passed on to the library.
            valid.map_err(|what| Violation { valid: at - 1, what })?;
        }
        Ok(())
    }

    /// Returns true if a frame or a message has started and is not complete.
    pub(super) fn is_unfinished(&self) -> bool {
        self.have > 0 || self.in_pieces
    }

    /// Returns the number of complete messages, and of complete control frames outside of messages.
    pub(super) fn complete(&self) -> u64 {
        self.complete
    }

    /// Returns the size of the unfinished message, according to the headers of its frames so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn head(&mut self, byte: u8) -> (usize, Result<(), Breach>) {
        self.head[self.have] = byte;
        self.have += 1;
        let valid = match self.have {
            0..2 => Ok(()),
            have if have < self.head_bytes() => Ok(()),
            _ => self.begin(),
        };
        (1, valid)
    }

    /// Returns the length of the header, once its first two bytes have arrived.
    fn head_bytes(&self) -> usize {
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.is_masked() { 4 } else { 0 };
        2 + length + mask
    }

    fn is_masked(&self) -> bool {
        self.head[1] & 0x80 != 0
    }

    fn opcode(&self) -> u8 {
        self.head[0] & 0x0f
    }

    /// Handles a complete header.
    fn begin(&mut self) -> Result<(), Breach> {
        let length = self.length()?;
        if self.opcode() < CLOSE {
            self.bytes = self.bytes.saturating_add(length);
            if self.bytes > self.bytes_max {
                return Err(Breach::TooLarge(self.bytes));
            }
        }
        self.left = Some(length);
        if length == 0 {
            self.end();
        }
        Ok(())
    }

    fn length(&self) -> Result<u64, &'static str> {
        let (length, min) = match self.head[1] & 0x7f {
            126 => (u64::from(u16::from_be_bytes([self.head[2], self.head[3]])), 126),
            127 => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&self.head[2..10]);
                (u64::from_be_bytes(bytes), 1 << 16)
            }
            length => (u64::from(length), 0),
        };
        if length >> 63 != 0 {
            return Err("the highest bit of a frame's length is set");
        }
        match length < min {
            true => Err("a frame's length takes more bytes than it needs"),
            false => Ok(length),
        }
    }

    fn payload(&mut self, bytes: &[u8], left: u64) -> (usize, Result<(), Breach>) {
        let may = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        // A close frame is read only up to its code, so that its last byte can be kept back.
        let looks = self.opcode() == CLOSE && self.code.len() < 2;
        let read = if looks { may.min(2 - self.code.len()) } else { may };
        let left = left - read as u64;
        self.left = Some(left);
        if looks {
            let at = self.code.len();
            let mask = self.mask();
            let plain = bytes[..read].iter().enumerate();
            self.code.extend(plain.map(|(i, byte)| byte ^ mask[at + i]));
            if let [high, low] = self.code[..]
                && !is_allowed(u16::from_be_bytes([high, low]))
            {
                return (read, Err("a close frame has a code that is not to be sent".into()));
            }
        }
        if left == 0 {
            self.end();
        }
        (read, Ok(()))
    }

    fn mask(&self) -> [u8; 4] {
        match self.is_masked() {
            true => {
                let end = self.head_bytes();
                [self.head[end - 4], self.head[end - 3], self.head[end - 2], self.head[end - 1]]
            }
            false => [0; 4],
        }
    }

    /// Handles the end of a frame.
    fn end(&mut self) {
        if self.opcode() < CLOSE {
            self.in_pieces = self.head[0] & 0x80 == 0;
        }
        if !self.in_pieces {
            self.bytes = 0;
            self.complete += 1;
        }
        (self.have, self.left) = (0, None);
        self.code.clear();
    }
}

/// Returns true if a client's close frame may carry this code: RFC 6455 section 7.4, and the codes that IANA has
/// registered since, except 1014, which only gateways send.
fn is_allowed(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_test_inputs::Inputs;
    use std::io::Cursor;
    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

    /// Returns a masked frame with its length in this form: 0, 2 or 8 bytes more.
    fn frame(first: u8, form: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u64;
        let mut frame = vec![first];
        match form {
            0 => frame.push(0x80 | u8::try_from(length).unwrap()),
            2 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend([7; 4]);
        frame.extend(payload.iter().map(|byte| byte ^ 7));
        frame
    }

    fn followed(bytes: &[u8]) -> (Frames, Result<(), Violation>) {
        let mut frames = Frames::of_at_most(u64::MAX);
        let valid = frames.follow(bytes);
        (frames, valid)
    }

    #[test]
    fn an_unfinished_message_is_reported_after_every_byte() {
        let message = [frame(0x01, 0, b"abc"), frame(0x89, 0, b"p"), frame(0x80, 0, b"d")].concat();
        for end in 1..message.len() {
            let (frames, valid) = followed(&message[..end]);
            assert_eq!((valid, frames.is_unfinished()), (Ok(()), true), "{end}");
            assert_eq!(frames.complete(), 0, "{end}");
        }
        let (frames, _) = followed(&message);
        assert_eq!((frames.is_unfinished(), frames.complete(), frames.bytes()), (false, 1, 0));
    }

    #[test]
    fn a_frame_counts_with_its_announced_length() {
        let (frames, _) = followed(&frame(0x02, 8, &[0; 70_000])[..20]);
        assert_eq!((frames.is_unfinished(), frames.bytes()), (true, 70_000));
        let pieces = [frame(0x02, 0, &[0; 100]), frame(0x00, 2, &[0; 1_000])].concat();
        assert_eq!(followed(&pieces).0.bytes(), 1_100);
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_the_last_byte_of_its_head() {
        let refused = |bytes: &[u8]| Frames::of_at_most(1_000).follow(bytes);
        assert_eq!(refused(&frame(0x82, 2, &[0; 1_000])), Ok(()));
        let large = |valid, bytes| Err(Violation { valid, what: Breach::TooLarge(bytes) });
        assert_eq!(refused(&frame(0x82, 2, &[0; 1_001])), large(7, 1_001));
        assert_eq!(refused(&frame(0x82, 2, &[0; 1_001])[..8]), large(7, 1_001));
        let pieces = [frame(0x01, 2, &[0; 999]), frame(0x89, 0, b"p"), frame(0x80, 0, b"ab")];
        assert_eq!(refused(&pieces.concat()), large(7 + 1 + 999 + 7 + 5, 1_001));
    }

    #[test]
    fn invalid_frames_that_the_library_accepts_are_refused_before_their_last_byte() {
        let cases = [
            (frame(0x81, 2, b"short"), 7),
            (frame(0x81, 8, b"short"), 13),
            (frame(0x82, 8, &[0; 65_535]), 13),
            (frame(0x88, 0, &1005_u16.to_be_bytes()), 7),
            (frame(0x88, 0, &[&[0, 0][..], b"reason"].concat()), 7),
            ([&[0x82, 0xff, 0x80][..], &[0; 11]].concat(), 13),
        ];
        for (bytes, valid) in cases {
            let (_, outcome) = followed(&bytes);
            assert_eq!(outcome.unwrap_err().valid, valid, "{:?}", &bytes[..bytes.len().min(16)]);
        }
        for code in [1000, 1003, 1007, 1013, 3000, 4999_u16] {
            assert_eq!(followed(&frame(0x88, 0, &code.to_be_bytes())).1, Ok(()), "{code}");
        }
    }

    /// Returns how the library counts the frames: the number of complete ones, and whether one is unfinished. Returns
    /// `None` if the library refuses a header.
    fn counted(mut bytes: &[u8]) -> Option<(u64, bool)> {
        let (mut complete, mut in_pieces) = (0, false);
        while !bytes.is_empty() {
            let mut cursor = Cursor::new(bytes);
            let Some((head, length)) = FrameHeader::parse(&mut cursor).ok()? else {
                return Some((complete, true));
            };
            let end = cursor.position().saturating_add(length);
            let Some(rest) = usize::try_from(end).ok().and_then(|end| bytes.get(end..)) else {
                return Some((complete, true));
            };
            if let OpCode::Data(_) = head.opcode {
                in_pieces = !head.is_final;
            }
            complete += u64::from(!in_pieces);
            bytes = rest;
        }
        Some((complete, in_pieces))
    }

    #[test]
    fn splitting_the_bytes_anywhere_gives_the_same_outcome() {
        Inputs::of("websocket-frames", &["\u{0}", "\u{1}a"]).each(|bytes| {
            let (whole, all) = followed(bytes);
            // Every cut of a short input, and some cuts of a long one.
            for cut in (0..=bytes.len()).step_by(1 + bytes.len() / 64) {
                let mut pieces = Frames::of_at_most(u64::MAX);
                let first = pieces.follow(&bytes[..cut]);
                let second = first.and_then(|()| {
                    let moved = |v: Violation| Violation { valid: v.valid + cut, ..v };
                    pieces.follow(&bytes[cut..]).map_err(moved)
                });
                assert_eq!(all, second, "cut at {cut}");
                if all.is_ok() {
                    assert_eq!(whole.is_unfinished(), pieces.is_unfinished(), "cut at {cut}");
                    assert_eq!(whole.bytes(), pieces.bytes(), "cut at {cut}");
                }
            }
        });
    }

    #[test]
    fn complete_messages_agree_with_the_library() {
        Inputs::of("websocket-frames", &["\u{0}", "\u{1}a"]).each(|bytes| {
            let (frames, valid) = followed(bytes);
            match (valid, counted(bytes)) {
                (Ok(()), Some(wanted)) => {
                    assert_eq!((frames.complete(), frames.is_unfinished()), wanted);
                }
                (Err(violation), _) => {
                    assert!(violation.valid < bytes.len());
                    assert_eq!(followed(&bytes[..violation.valid]).1, Ok(()));
                }
                (Ok(()), None) => {}
            }
        });
    }
}
