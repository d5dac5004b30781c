//! A set of parts at a stamp. Owns which parts there are, their sizes and their bytes.
//!
//! Invariant: the stamp alone determines everything, so a reader of a set can tell whether all of it is of one turn.
//! No byte is 0. Pure. The tests that read the ledger back are built from this file, too.

/// Parts of a set, counting those that a stamp leaves out.
pub(crate) const PARTS: u64 = 8;
/// Digits of the stamp at the start of each part.
const HEAD: usize = 16;

/// Returns the length of a part at a stamp; `None` if it does not exist. Some are cut into pieces by any store, and
/// most are small, as their bytes are most of the cost of a turn.
pub(crate) fn part_bytes(stamp: u64, index: u64) -> Option<usize> {
    match mix(stamp, index) % 16 {
        0..4 => None,
        4..10 => Some(40),
        10..12 => Some(700),
        12 => Some(4_096),
        13 => Some(5_000),
        14 => Some(12_000),
        _ => Some(45_000),
    }
}

/// Returns a part at a stamp; `None` if it does not exist.
pub(crate) fn part(stamp: u64, index: u64) -> Option<Vec<u8>> {
    let bytes = part_bytes(stamp, index)?;
    let mut part = format!("{stamp:0HEAD$x}").into_bytes();
    let fill = (mix(stamp, index) | 0x0101_0101_0101_0101).to_le_bytes();
    part.extend(fill.iter().cycle().take(bytes - HEAD));
    Some(part)
}

/// Returns the stamp that a part was written with, if it is whole.
pub(crate) fn stamp_of(bytes: &[u8], index: u64) -> Option<u64> {
    let head = std::str::from_utf8(bytes.get(..HEAD)?).ok()?;
    let stamp = u64::from_str_radix(head, 16).ok()?;
    (part(stamp, index).as_deref() == Some(bytes)).then_some(stamp)
}

/// Spreads two numbers over all bits of one.
fn mix(stamp: u64, index: u64) -> u64 {
    let mixed = (stamp << 8 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 29)
}
