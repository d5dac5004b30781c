//! One change of an input. Owns the kinds of changes.

use crate::Dice;

/// Bytes at which something often ends, starts or overflows.
const EDGES: [u8; 12] = [0, 1, 0x7e, 0x7f, 0x80, 0x81, 0xfe, 0xff, b'\n', b'\r', b' ', b'"'];

/// Changes an input in one place; `kept` and `words` are the texts that it may insert.
pub(crate) fn once(input: &mut Vec<u8>, kept: &[Vec<u8>], words: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(input.len() + 1);
    let end = at + dice.below((input.len() - at).min(64) + 1);
    match dice.below(9) {
        0 => flip(input, dice),
        1 => set(input, EDGES[dice.below(EDGES.len())], dice),
        2 => set(input, dice.bytes(1)[0], dice),
        3 => input.truncate(at),
        4 => drop(input.drain(at..end)),
        5 => {
            let piece = input[at..end].to_vec();
            put(input, at, &piece);
        }
        6 => {
            let count = 1 + dice.below(8);
            put(input, at, &dice.bytes(count));
        }
        7 if !words.is_empty() => put(input, at, &words[dice.below(words.len())]),
        _ => {
            // The end of another input.
            let other = &kept[dice.below(kept.len())];
            input.truncate(at);
            input.extend(&other[dice.below(other.len() + 1)..]);
        }
    }
}

fn flip(input: &mut [u8], dice: &mut Dice) {
    if !input.is_empty() {
        input[dice.below(input.len())] ^= 1 << dice.below(8);
    }
}

fn set(input: &mut [u8], byte: u8, dice: &mut Dice) {
    if !input.is_empty() {
        input[dice.below(input.len())] = byte;
    }
}

fn put(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}
