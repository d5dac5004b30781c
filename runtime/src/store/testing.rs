//! Stores that misbehave on purpose, for tests of those who use one.

use super::Offset;

/// The offset with this number.
pub(crate) fn offset(number: u64) -> Offset {
    Offset(number)
}
