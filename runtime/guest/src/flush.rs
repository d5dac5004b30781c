//! A guest's flushes: requests to commit in the middle of a call. Owns their way to the room.
//!
//! Invariant: a guest waits for one flush before it can ask for another, so one slot is enough. It does not
//! know what a commit is.

use room_core::lock::lock;
use room_core::turn::Turn;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, oneshot};

/// A guest's request to commit the effects of its turn so far.
pub struct Flush {
    /// The turn up to here.
    pub turn: Box<Turn>,
    /// The receiver of the next turn.
    pub resume: oneshot::Sender<Box<Turn>>,
}

/// The way of a guest's flushes. Cheap to clone; clones are the same way. A channel would reserve a kilobyte
/// for as long as the instance lives.
#[derive(Clone, Default)]
pub struct Flushes(Arc<FlushSlot>);

#[derive(Default)]
struct FlushSlot {
    flush: Mutex<Option<Flush>>,
    filled: Notify,
}

impl Flushes {
    /// Asks for a commit, and returns the turn that continues; `None` if the room stopped in the middle of
    /// it.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room still commits.
    pub(super) async fn ask(&self, turn: Box<Turn>) -> Option<Box<Turn>> {
        let (resume, resumed) = oneshot::channel();
        *lock(&self.0.flush) = Some(Flush { turn, resume });
        self.0.filled.notify_one();
        resumed.await.ok()
    }

    /// Returns the guest's next flush. Only the guest's one room may call it.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the next call returns the flush.
    pub async fn next(&self) -> Flush {
        loop {
            let asked = lock(&self.0.flush).take();
            match asked {
                Some(flush) => return flush,
                None => self.0.filled.notified().await,
            }
        }
    }
}
