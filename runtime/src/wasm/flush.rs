//! What a guest asks to be committed in the middle of a call. Owns its way to the room.
//!
//! Invariant: a guest waits for one flush before it can ask for another, so that one place is enough. It does not
//! know what a commit is.

use crate::turn::Turn;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, oneshot};

/// A guest asks to commit what its turn did so far.
pub(crate) struct Flush {
    /// The turn up to here.
    pub(crate) turn: Turn,
    /// Where the next turn goes.
    pub(crate) resume: oneshot::Sender<Turn>,
}

/// The way of a guest's flushes. Cheap to clone; clones are the same way. A channel would hold a kilobyte of space
/// for as long as there is an instance.
#[derive(Clone, Default)]
pub(crate) struct Flushes(Arc<Place>);

#[derive(Default)]
struct Place {
    flush: Mutex<Option<Flush>>,
    filled: Notify,
}

impl Flushes {
    /// Asks for a commit. → The turn that goes on; none if the room stopped in the middle of it.
    ///
    /// # Cancel safety
    /// Dropped before it returns, what was asked for is still done.
    pub(super) async fn ask(&self, turn: Turn) -> Option<Turn> {
        let (resume, resumed) = oneshot::channel();
        *self.0.flush.lock().unwrap_or_else(PoisonError::into_inner) = Some(Flush { turn, resume });
        self.0.filled.notify_one();
        resumed.await.ok()
    }

    /// Returns when the guest asks. For the one room of the guest.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the next call returns what was asked for meanwhile.
    pub(crate) async fn next(&self) -> Flush {
        loop {
            let asked = self.0.flush.lock().unwrap_or_else(PoisonError::into_inner).take();
            match asked {
                Some(flush) => return flush,
                None => self.0.filled.notified().await,
            }
        }
    }
}
