//! The text of a [`SequenceNumber`], as clients send it back. Owns its parsing.
//!
//! Invariant: any text is parsed or refused by a name, and what [`SequenceNumber`] displays is read back as the same
//! number. It does not know whether a room ever gave the number to something.

use super::SequenceNumber;
use std::str::FromStr;

/// The reason why a text is not an id of an output. Display is a sentence for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// It is not two numbers with a dash between.
    #[error("an id is two numbers with a dash between, such as 7-42")]
    Shape,
    /// A number has leading zeros or a sign, or is too large.
    #[error(
        "the numbers of an id are whole, without leading zeros, and below 2 to the power of 64"
    )]
    Number,
}

impl FromStr for SequenceNumber {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (epoch, seq) = text.split_once('-').ok_or(CursorError::Shape)?;
        Ok(Self { epoch: number(epoch)?, seq: number(seq)? })
    }
}

/// Parses a number that is spelled as it is displayed.
fn number(text: &str) -> Result<u64, CursorError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CursorError::Shape);
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(CursorError::Number);
    }
    text.parse().map_err(|_| CursorError::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_that_no_server_made_are_refused_by_name() {
        for text in
            ["", "-", "7", "7-", "-7", "7--1", "+7-1", "7-1 ", " 7-1", "a-b", "7-1-2", "٣-1"]
        {
            assert_eq!(text.parse::<SequenceNumber>(), Err(CursorError::Shape), "{text}");
        }
        let long = format!("1-{}", "9".repeat(1_000));
        for text in ["07-1", "7-00", "18446744073709551616-1", &long] {
            assert_eq!(text.parse::<SequenceNumber>(), Err(CursorError::Number), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_id_is_read_back_as_it_is_displayed(epoch: u64, seq: u64) {
            let number = SequenceNumber { epoch, seq };
            prop_assert_eq!(number.to_string().parse(), Ok(number));
        }

        #[test]
        fn any_text_is_refused_or_displayed_as_it_was(text in "[0-9+ a-]{0,45}|\\PC{0,20}") {
            if let Ok(number) = text.parse::<SequenceNumber>() {
                prop_assert_eq!(number.to_string(), text);
            }
        }
    }
}
