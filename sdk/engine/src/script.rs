//! The script of a party.
//!
//! Owns [`Script`], and natively the scripts of the parties that a test runs. Invariant: a script does not change while
//! its room runs. It does not know how it was bundled.

use crate::stack::Positions;

/// One ES module, and what is needed to make a room of it.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The module's source.
    pub source: String,
    /// The export that is the room; `default` if it is not named.
    pub export: String,
    /// The position in the author's files for positions of the source; see [`Positions`].
    pub positions: Positions,
}

impl Script {
    /// A script whose default export is the room, and whose positions are its own.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            export: "default".to_owned(),
            positions: Positions::default(),
        }
    }
}

#[cfg(any(feature = "testing", not(target_family = "wasm")))]
mod natively {
    use super::Script;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    thread_local! {
        static SCRIPTS: RefCell<BTreeMap<String, Script>> = const { RefCell::new(BTreeMap::new()) };
    }

    impl Script {
        /// Makes this the script of a party for the rooms that this thread starts from now on.
        pub fn run_as(self, party: &str) {
            SCRIPTS.with_borrow_mut(|scripts| scripts.insert(party.to_owned(), self));
        }

        /// The script of a party, if this thread has one.
        pub(crate) fn of(party: &str) -> Option<Self> {
            SCRIPTS.with_borrow(|scripts| scripts.get(party).cloned())
        }
    }
}
