//! Any bytes in a file of the log: whole frames and records, or none.

use super::super::frame::{self, HEAD_BYTES};
use super::super::{Offset, Record};
use bytes::{BufMut, Bytes};
use room_test_inputs::Inputs;

/// Calculates the sum of a frame that takes up all of these bytes, independently of the tested code.
fn sum(frame: &[u8]) -> u32 {
    crc32fast::hash(&frame[8..])
}

/// Calculates the length of the whole frame at the start of these bytes, independently of the tested code.
fn whole(bytes: &[u8]) -> Option<usize> {
    let body = u32::from_be_bytes(*bytes.first_chunk()?);
    let end = HEAD_BYTES + usize::try_from(body).unwrap();
    let frame = bytes.get(..end)?;
    let is_meant = frame[8..16] != [0; 8] && frame[4..8] == sum(frame).to_be_bytes();
    is_meant.then_some(end)
}

#[test]
fn any_bytes_are_read_as_whole_frames_up_to_the_first_torn_one() {
    Inputs::of("store-frames", &["\u{0}\u{0}\u{0}\u{0}"]).each(|input| {
        let mut rest = Bytes::copy_from_slice(input);
        while let Some(end) = whole(&rest) {
            let (found, behind) = frame::decode(&rest).expect("a frame is whole");
            assert_eq!((&found.body[..], &behind), (&rest[HEAD_BYTES..end], &rest.slice(end..)));
            assert_eq!(found.is_mark(), end == HEAD_BYTES);
            rest = behind;
        }
        assert!(frame::decode(&rest).is_none(), "a frame is torn");
    });
}

#[test]
fn a_frame_with_a_correct_checksum_is_accepted_with_any_content() {
    Inputs::of("store-records", &[]).each(|body| {
        let mut bytes = Vec::new();
        bytes.put_u32(body.len().try_into().unwrap());
        bytes.put_u32(0);
        bytes.put_u64(7);
        bytes.put_u64(6);
        bytes.put_slice(body);
        let sum = sum(&bytes);
        bytes[4..8].copy_from_slice(&sum.to_be_bytes());
        let (found, rest) = frame::decode(&bytes.into()).expect("its sum is right");
        assert_eq!((found.offset, found.durable, rest.len()), (Offset(7), Offset(6), 0));
        let record = Record::decode(Offset(7), Bytes::copy_from_slice(body));
        assert_eq!(found.record(), record);
    });
}

#[test]
fn a_decoded_record_encodes_to_the_same_meaning() {
    Inputs::of("store-records", &["main", "\u{0}\u{0}\u{0}\u{1}a"]).each(|body| {
        if let Ok(record) = Record::decode(Offset(7), Bytes::copy_from_slice(body)) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(Record::decode(Offset(7), bytes.into()), Ok(record));
        }
    });
}
