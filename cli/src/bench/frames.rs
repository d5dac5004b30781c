//! WebSocket frames by hand, so that the load costs little beside what it measures. Pure.
//!
//! Invariant: a frame is read when its last byte is there, however the bytes were cut, and any bytes are a frame, too
//! short yet, or an error. It knows the frames that servers send: whole and not masked.

/// The longest frame, in bytes: more than any server of rooms sends in one.
const FRAME_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A frame of a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A text or binary message.
    Message(&'a [u8]),
    /// A ping, to be answered with the same bytes.
    Ping(&'a [u8]),
    /// The answer to a ping. This client sends no pings.
    Pong,
    /// The end, with its code (1005 if there is none) and reason.
    Close(u16, &'a [u8]),
}

/// The reason why bytes are not a server's frame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Odd {
    /// Its first byte is unknown here.
    #[error("the server sent a frame of the kind {0:#04x}, which is not read here")]
    Kind(u8),
    /// It is masked, which only clients do.
    #[error("the server sent a masked frame")]
    Masked,
    /// It is longer than [`FRAME_BYTES_MAX`].
    #[error("the server announced a frame of {0} bytes")]
    Length(u64),
}

/// Returns the first frame of these bytes and its length; `None` if it is not whole yet.
///
/// # Errors
/// [`Odd`]: the bytes are not a frame, and nothing after them can be read.
pub(crate) fn next(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Odd> {
    let [kind, length, rest @ ..] = bytes else { return Ok(None) };
    if !matches!(kind, 0x81 | 0x82 | 0x88 | 0x89 | 0x8a) {
        return Err(Odd::Kind(*kind));
    }
    let (head, length) = match (*length, rest) {
        (0x80.., _) => return Err(Odd::Masked),
        (short @ ..126, _) => (2, u64::from(short)),
        (126, [high, low, ..]) => (4, u64::from(u16::from_be_bytes([*high, *low]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
        }
        _ => return Ok(None),
    };
    if length > FRAME_BYTES_MAX {
        return Err(Odd::Length(length));
    }
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(head));
    let Some(body) = end.and_then(|end| bytes.get(head..end)) else { return Ok(None) };
    let frame = match (kind, body) {
        (0x89, _) => Frame::Ping(body),
        (0x8a, _) => Frame::Pong,
        (0x88, [high, low, reason @ ..]) => Frame::Close(u16::from_be_bytes([*high, *low]), reason),
        (0x88, _) => Frame::Close(1005, &[]),
        _ => Frame::Message(body),
    };
    Ok(Some((frame, head + body.len())))
}

/// Appends a text message of a client.
pub(crate) fn text(into: &mut Vec<u8>, body: &[u8]) {
    append(into, 0x81, body);
}

/// Appends the answer to a ping.
pub(crate) fn pong(into: &mut Vec<u8>, body: &[u8]) {
    append(into, 0x8a, body);
}

/// Appends the close frame of a connection that ended well.
pub(crate) fn close(into: &mut Vec<u8>) {
    append(into, 0x88, &1000_u16.to_be_bytes());
}

/// Appends a client's frame. It is masked with zeros, so that the bytes stay the same.
fn append(into: &mut Vec<u8>, kind: u8, body: &[u8]) {
    into.push(kind);
    match (u8::try_from(body.len()), u16::try_from(body.len())) {
        (Ok(length @ ..126), _) => into.push(0x80 | length),
        (_, Ok(length)) => {
            into.push(0x80 | 126);
            into.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            into.push(0x80 | 127);
            into.extend_from_slice(&(body.len() as u64).to_be_bytes());
        }
    }
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns a frame in the form that servers write.
    fn served(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut masked = Vec::new();
        append(&mut masked, kind, body);
        // Without the mask, and the bit that says that there is one.
        let head = masked.len() - body.len() - 4;
        masked.drain(head..head + 4);
        masked[1] &= 0x7f;
        masked
    }

    /// Returns all frames of bytes that arrive in these pieces.
    fn read(pieces: &[&[u8]]) -> Vec<(u8, Vec<u8>)> {
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some((frame, length)) = next(&buffer).unwrap() {
                found.push(match frame {
                    Frame::Message(body) => (0x81, body.to_vec()),
                    Frame::Ping(body) => (0x89, body.to_vec()),
                    Frame::Pong => (0x8a, Vec::new()),
                    Frame::Close(code, reason) => (0x88, [&code.to_be_bytes(), reason].concat()),
                });
                buffer.drain(..length);
            }
        }
        assert!(buffer.is_empty(), "{} bytes are left", buffer.len());
        found
    }

    proptest! {
        #[test]
        fn splitting_the_bytes_anywhere_yields_the_same_frames(
            bodies in prop::collection::vec((0usize..3, 0usize..70_000), 1..6),
            cuts in prop::collection::vec(0.0f64..1.0, 0..8),
        ) {
            let frames: Vec<(u8, Vec<u8>)> = bodies.iter().map(|(kind, length)| match kind {
                0 => (0x81, vec![b'x'; *length]),
                1 => (0x89, vec![b'p'; length % 126]),
                _ => (0x88, vec![3; 2 + length % 100]),
            }).collect();
            let bytes: Vec<u8> = frames.iter().flat_map(|(kind, body)| served(*kind, body)).collect();
            let mut cuts: Vec<usize> =
                cuts.iter().map(|cut| (cut * bytes.len() as f64) as usize).collect();
            cuts.sort_unstable();
            let (mut pieces, mut from) = (Vec::new(), 0);
            for cut in cuts.into_iter().chain([bytes.len()]) {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(read(&pieces), frames);
        }

        #[test]
        fn any_bytes_are_a_frame_an_error_or_incomplete(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Ok(Some((_, length))) = next(&bytes) {
                prop_assert!(length >= 2 && length <= bytes.len());
            }
        }
    }

    #[test]
    fn frames_that_no_server_sends_are_named_errors() {
        assert_eq!(next(&[0x01, 0]), Err(Odd::Kind(0x01)));
        assert_eq!(next(&[0x81, 0x80]), Err(Odd::Masked));
        let long = [&[0x82, 127][..], &u64::MAX.to_be_bytes()].concat();
        assert_eq!(next(&long), Err(Odd::Length(u64::MAX)));
        assert_eq!(next(&[0x88, 0]), Ok(Some((Frame::Close(1005, &[]), 2))));
    }

    #[test]
    fn client_frames_are_masked_with_zeros() {
        let mut out = Vec::new();
        text(&mut out, b"hi");
        pong(&mut out, b"");
        close(&mut out);
        let masked = [0, 0, 0, 0];
        let wanted = [
            &[0x81, 0x82][..],
            &masked,
            b"hi",
            &[0x8a, 0x80],
            &masked,
            &[0x88, 0x82],
            &masked,
            &[3, 232],
        ];
        assert_eq!(out, wanted.concat());
    }
}
