//! Who is in the room, between its turns and its clients. Owns the way of their changes through the gate.
//!
//! Invariant: a change leaves after the turns before it, and clients get at most one event at a time. A room whose party
//! keeps no presence does nothing here. It does not know what users show.

use super::super::RoomError;
use super::super::presence::{PresenceAsk, PresenceEntrance, RoomPresence};
use super::{Outlet, Reply};
use room_core::config::Presence;
use room_core::connection::{Connection, Link};
use room_core::id::Serial;
use room_core::presence::{PresenceDraft, PresenceEdits, PresenceRefusal};
use tokio::time::Instant;

impl Outlet {
    /// Follows the party's settings. The connections that are there count from now on, and without the setting nobody is
    /// present.
    pub(in super::super) fn keep_presence(&mut self, settings: Option<Presence>) {
        match (settings, &mut self.presence) {
            (Some(settings), Some(own)) => own.set(settings),
            (Some(settings), none) => {
                let before = self.parts.clock.wall_ms();
                let mut own = RoomPresence::new(settings, self.parts.limits.clone(), before);
                let connections = self.roster.connections();
                let open = connections.all().filter(|connection| connection.link == Link::Open);
                for connection in open {
                    own.enter(connection);
                }
                self.roster.follow_all(own.shared());
                *none = Some(Box::new(own));
            }
            (None, known) => {
                if let Some(own) = known.take() {
                    own.shared().clear();
                    self.roster.follow_all(own.shared());
                }
            }
        }
    }

    /// Counts a connection that opens.
    pub(in super::super) fn enter_presence(
        &mut self,
        connection: &Connection,
    ) -> Option<PresenceEntrance> {
        self.presence.as_mut().map(|own| own.enter(connection))
    }

    /// Undoes the entrance of a connection that was refused.
    pub(in super::super) fn undo_presence(&mut self, entrance: Option<PresenceEntrance>) {
        if let (Some(own), Some(entrance)) = (&mut self.presence, entrance) {
            own.undo(entrance);
        }
    }

    /// Counts a connection that has ended. The guest may not have handled that yet.
    pub(in super::super) fn leave_presence(&mut self, serial: Serial) {
        if let Some(own) = &mut self.presence {
            own.leave(serial);
        }
    }

    /// Begins a turn's changes.
    pub(in super::super) fn draft_presence(&self) -> Option<PresenceDraft> {
        self.presence.as_ref().map(|own| own.draft())
    }

    /// Carries out the changes of a turn that has committed.
    pub(in super::super) fn apply_presence(&mut self, edits: PresenceEdits) {
        if let Some(own) = self.presence.as_mut().filter(|_| !edits.is_empty()) {
            own.apply(edits);
        }
    }

    /// Carries out what a client asks for its own user.
    ///
    /// # Errors
    /// [`RoomError::Over`], [`RoomError::Presence`]. Nothing was changed.
    pub(in super::super) fn change_presence(
        &mut self,
        (who, transport): (Serial, u32),
        ask: &PresenceAsk,
    ) -> Result<(), RoomError> {
        let Some(own) = &mut self.presence else { return Err(PresenceRefusal::NotKept.into()) };
        let open = self.roster.get(who).filter(|connection| connection.link == Link::Open);
        let open = open.filter(|_| self.roster.has_transport(who, transport));
        Ok(own.change(open.ok_or(RoomError::Over)?, ask)?)
    }

    /// Returns the answer to a client that asks who is there; `None` if the party keeps no presence.
    pub(in super::super) fn present_users(&self) -> Option<String> {
        self.presence.as_ref().map(|own| own.shared().users())
    }

    /// Returns true while a user is present.
    pub(in super::super) fn has_users(&self) -> bool {
        self.presence.as_ref().is_some_and(|own| own.count() > 0)
    }

    /// Returns when [`Outlet::advance_presence`] has something to do.
    pub(in super::super) fn next_presence(&self) -> Option<Instant> {
        self.presence.as_ref().and_then(|own| own.next())
    }

    /// Returns true if that is now.
    pub(in super::super) fn is_presence_due(&self) -> bool {
        self.presence.as_ref().is_some_and(|own| own.is_due())
    }

    /// Ends the graces and the flags whose time has come, and tells clients what has changed for them.
    pub(in super::super) fn advance_presence(&mut self) {
        let now = Instant::now();
        if self.presence.as_mut().is_some_and(|own| own.expire(now)) {
            self.answer(None, Reply::Nobody);
        }
        let event = self.presence.as_mut().and_then(|own| own.flush(now));
        // A room that another node may run already says nothing.
        if let Some(event) = event.filter(|_| !self.is_displaced && self.right.holds()) {
            self.roster.present(&event);
        }
    }
}
