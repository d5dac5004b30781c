//! The step of a connection into presence, until its guest has let it in. Owns what that step has changed.
//!
//! Invariant: a refused connection changes neither its user's grace nor the user whose name it has proved. What a turn
//! commits for the user before the refusal stays. It does not know why a connection is refused.

use super::RoomPresence;
use room_core::id::Serial;
use room_core::presence::{PresenceUser, ShownPresence, UserProof};
use std::sync::Arc;
use tokio::time::Instant;

/// What a connection that opens has changed.
#[derive(Debug)]
pub(in super::super) struct PresenceEntrance {
    pub(super) serial: Serial,
    /// When its user's grace was to end.
    pub(super) grace: Option<Instant>,
    /// The user that had its user's name without a proof.
    pub(super) forgotten: Option<ForgottenUser>,
}

/// A user that somebody else proves to be.
#[derive(Debug)]
pub(super) struct ForgottenUser {
    pub(super) key: Arc<str>,
    pub(super) shown: Option<ShownPresence>,
    pub(super) members: Vec<Serial>,
    /// When its flags and its grace were to end.
    pub(super) ends: Vec<(Option<Arc<str>>, Instant)>,
}

impl PresenceEntrance {
    /// Begins with a connection that has changed nothing.
    pub(super) fn of(serial: Serial) -> Self {
        Self { serial, grace: None, forgotten: None }
    }
}

impl RoomPresence {
    /// Undoes the entrance of a connection that was refused.
    pub(in super::super) fn undo(&mut self, entrance: PresenceEntrance) {
        let PresenceEntrance { serial, grace, forgotten } = entrance;
        let Some(key) = self.members.remove(&serial) else { return };
        Arc::make_mut(&mut self.users).leave(&key);
        self.note(&key);
        if grace.is_some() {
            self.times.set((key.clone(), None), grace);
        }
        // A user that a turn has cleared has no grace.
        self.begin_grace(key);
        if let Some(forgotten) = forgotten {
            self.restore(forgotten);
        }
    }

    /// Brings a forgotten user back, unless the room shows the user that has its name now.
    fn restore(&mut self, forgotten: ForgottenUser) {
        let ForgottenUser { key, shown, members, ends } = forgotten;
        if self.users.get(&key).is_some() {
            return;
        }
        let user = PresenceUser { name: key.to_string(), proof: UserProof::Client };
        let users = Arc::make_mut(&mut self.users);
        // One connection too many until it shows what it showed: a user without a connection and data is not kept.
        users.enter(&user);
        users.show(&key, shown);
        for serial in members {
            self.members.insert(serial, users.enter(&user));
        }
        users.leave(&key);
        for (what, at) in ends {
            self.times.set((key.clone(), what), Some(at));
        }
        self.note(&key);
    }
}
