//! The framing of records in a file. Owns the framing, and the check that a frame is whole.
//!
//! Invariant: a frame whose bytes differ from the written ones is never accepted. It does not know what the
//! frames are for.
//!
//! ```text
//! u32 length of the body · u32 CRC-32 of all that follows · u64 offset · u64 durable · body
//! ```

use crate::{Offset, Record, StoreError};
use bytes::{Buf, BufMut, Bytes};

/// The size of a frame without its body, in bytes.
pub(super) const HEAD_BYTES: usize = 24;

/// One record in a file.
#[derive(Clone, Debug)]
pub(super) struct LogFrame {
    /// The record's offset.
    pub(super) offset: Offset,
    /// Everything up to this offset was on disk before this frame was written.
    pub(super) durable: Offset,
    /// The record's bytes.
    pub(super) body: Bytes,
}

impl LogFrame {
    /// Returns true if it is a mark, not a record.
    pub(super) fn is_mark(&self) -> bool {
        self.body.is_empty()
    }

    /// Decodes the record in it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: the body is not a record.
    pub(super) fn record(self) -> Result<Record, StoreError> {
        Record::decode(self.offset, self.body)
    }
}

/// The head of a frame, before its body has been checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogFrameHead {
    body_len: u32,
    sum: u32,
    offset: Offset,
    durable: Offset,
}

impl LogFrameHead {
    /// Decodes the head in these bytes, which may be meaningless.
    pub(super) fn decode(bytes: &[u8; HEAD_BYTES]) -> Self {
        let mut bytes = bytes.as_slice();
        Self {
            body_len: bytes.get_u32(),
            sum: bytes.get_u32(),
            offset: Offset(bytes.get_u64()),
            durable: Offset(bytes.get_u64()),
        }
    }

    /// Returns the length of the body, in bytes.
    pub(super) fn body_len(&self) -> usize {
        usize::try_from(self.body_len).unwrap_or(usize::MAX)
    }

    /// Returns the frame, if the body is the one that was written with this head.
    pub(super) fn with(self, body: Bytes) -> Option<LogFrame> {
        let Self { offset, durable, .. } = self;
        // Space that was never written is zeros, and zeros must not pass.
        let is_whole = offset > Offset(0) && sum(offset, durable, &body) == self.sum;
        is_whole.then_some(LogFrame { offset, durable, body })
    }
}

/// Appends a record as a frame.
pub(super) fn encode(record: &Record, durable: Offset, out: &mut Vec<u8>) {
    let start = out.len();
    out.put_bytes(0, HEAD_BYTES);
    record.encode(out);
    put_head(out, start, record.offset, durable);
}

/// Appends these frames, each record in the form from before records had versions.
#[cfg(test)]
pub(super) fn unversioned(mut frames: Bytes, out: &mut Vec<u8>) {
    while let Some((frame, behind)) = decode(&frames) {
        let (offset, durable) = (frame.offset, frame.durable);
        match frame.is_mark() {
            true => encode_mark(offset, durable, out),
            false => encode_unversioned(&frame.record().unwrap(), durable, out),
        }
        frames = behind;
    }
}

/// As [`encode`], with the record in the form from before records had versions.
#[cfg(test)]
fn encode_unversioned(record: &Record, durable: Offset, out: &mut Vec<u8>) {
    let start = out.len();
    out.put_bytes(0, HEAD_BYTES);
    crate::record::encode_unversioned(record, out);
    put_head(out, start, record.offset, durable);
}

/// Appends a frame without a body; a record always has one.
pub(super) fn encode_mark(offset: Offset, durable: Offset, out: &mut Vec<u8>) {
    let start = out.len();
    out.put_bytes(0, HEAD_BYTES);
    put_head(out, start, offset, durable);
}

/// Fills in the head of the frame that starts at `start` and is the last.
fn put_head(out: &mut [u8], start: usize, offset: Offset, durable: Offset) {
    let body = &out[start + HEAD_BYTES..];
    // The limits of a turn keep a record far below this.
    let body_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let sum = sum(offset, durable, body);
    let mut head = &mut out[start..start + HEAD_BYTES];
    head.put_u32(body_len);
    head.put_u32(sum);
    head.put_u64(offset.0);
    head.put_u64(durable.0);
}

/// Decodes the first frame in these bytes, and returns it with the rest; `None` if they do not start with a
/// whole frame.
pub(super) fn decode(bytes: &Bytes) -> Option<(LogFrame, Bytes)> {
    let head = LogFrameHead::decode(bytes.first_chunk()?);
    let end = HEAD_BYTES.checked_add(head.body_len()).filter(|end| *end <= bytes.len())?;
    Some((head.with(bytes.slice(HEAD_BYTES..end))?, bytes.slice(end..)))
}

fn sum(offset: Offset, durable: Offset, body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&offset.0.to_be_bytes());
    sum.update(&durable.0.to_be_bytes());
    sum.update(body);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::super::{Change, Wipe};
    use super::*;
    use room_core::id::{ModuleHash, PartyName, RoomId, SequenceNumber};

    fn framed() -> Bytes {
        let room = RoomId::new(PartyName::parse("main").unwrap(), "one", 256).unwrap();
        let change = Change { wipe: Wipe::Keys, ..Change::default() };
        let module = ModuleHash::of(b"");
        let number = SequenceNumber { epoch: 1, seq: 2 };
        let record = Record { offset: Offset(9), ..Record::of(room, 1, number, module, change) };
        let mut bytes = Vec::new();
        encode(&record, Offset(8), &mut bytes);
        bytes.into()
    }

    #[test]
    fn a_frame_is_read_back_with_the_bytes_after_it() {
        let bytes = Bytes::from([&framed()[..], b"more"].concat());
        let (frame, rest) = decode(&bytes).unwrap();
        assert_eq!((frame.offset, frame.durable, rest), (Offset(9), Offset(8), "more".into()));
        assert_eq!(frame.record().unwrap().room.name(), "one");
    }

    #[test]
    fn a_frame_with_a_flipped_bit_or_a_cut_is_invalid() {
        let whole = framed();
        for at in 0..whole.len() {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1;
            assert!(decode(&bytes.into()).is_none(), "byte {at}");
            assert!(decode(&whole.slice(..at)).is_none(), "cut at {at}");
        }
        assert!(decode(&Bytes::from(vec![0; 100])).is_none());
    }
}
