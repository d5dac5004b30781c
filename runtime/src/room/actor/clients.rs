//! Clients that come and go. Owns the order in which a room, its guest and who is connected learn of it.
//!
//! Invariant: the guest hears of each connection's end once, of a replaced one before its successor comes, and
//! while it hears of it the connection is still on the list. It does not know sockets.

use super::super::RoomError;
use super::super::handle::{Admission, Visitor};
use super::super::mail::Joining;
use super::super::outlet::{Due, Reply};
use super::super::replacements::{Newcomer, Replacements};
use super::super::roster::Arrival;
use super::Actor;
use crate::connection::{Connection, Link};
use crate::event::{CloseFrame, Ending, Event, Handshake};
use crate::id::{ConnectionId, Serial};
use crate::limits::size;
use crate::logs::LogLevel;
use crate::store::StoreError;
use crate::turn::Output;
use bytes::Bytes;
use std::sync::Arc;

/// The close code of a connection whose id a newer one has. Clients know 44xx to be final: if each came
/// back, they would throw each other out for ever.
const REPLACED: u16 = 4409;

impl Actor {
    /// A client wants in.
    pub(super) async fn connect(&mut self, joining: Joining) -> Result<(), StoreError> {
        let Joining { visitor: Visitor { id, request }, outbox, reply } = joining;
        // Before it is on the list: what `on_start` broadcasts is not for who is not in yet. And before
        // it replaces anybody: who cannot be let in replaces nobody.
        if let Err(error) = self.ready().await? {
            self.refuse(Reply::Joined(Due::new(reply, Err(error))));
            return Ok(());
        }
        let since_ms = self.turns.parts.clock.wall_ms();
        let Some(replacements) = self.make_way(&id, since_ms).await? else {
            self.refuse(Reply::Joined(Due::new(reply, Err(RoomError::Contended))));
            return Ok(());
        };
        if self.turns.outlet.roster.len() >= size(self.turns.parts.limits.room_connections_max) {
            self.refuse(Reply::Joined(Due::new(reply, Err(RoomError::Full))));
            return Ok(());
        }
        self.joined += 1;
        let serial = Serial(self.joined);
        let uri = Arc::from(request.uri.as_str());
        let (tags, state) = (Arc::default(), Bytes::new());
        let connection = Connection { id, serial, uri, tags, state, link: Link::Open };
        let arrival = Arrival { outbox, since_ms, replacements };
        self.turns.outlet.roster.join(connection.clone(), arrival);
        match self.turn(&Event::Connect { connection, request }, Some(serial)).await? {
            Ok(turn) => {
                let admission = Admission::new(self.mailbox.clone(), serial);
                self.turns.hold(turn, Reply::Joined(Due::new(reply, Ok(admission))));
            }
            Err(error) => {
                self.turns.outlet.roster.leave(serial);
                self.turns.outlet.roster.hang_up(serial);
                self.refuse(Reply::Joined(Due::new(reply, Err(error))));
            }
        }
        Ok(())
    }

    /// Ends the connection that has a newcomer's id, if there is one. → What the newcomer knows of those
    /// before it; none if it is to be turned away, as they replaced each other too often.
    async fn make_way(
        &mut self,
        id: &ConnectionId,
        now_ms: u64,
    ) -> Result<Option<Replacements>, StoreError> {
        let roster = &mut self.turns.outlet.roster;
        let Some((old, link)) = roster.by_id(id.as_str()).map(|old| (old.serial, old.link)) else {
            return Ok(Some(Replacements::default()));
        };
        let mut known = roster.replacements(old).copied().unwrap_or_default();
        // Who was closed is expected to come again.
        if link == Link::Open
            && let Some(replacements) = roster.replacements(old)
        {
            match replacements.meet(now_ms, &self.turns.parts.limits) {
                Newcomer::Replaces(next) => known = next,
                Newcomer::Refused { first } => {
                    if first {
                        self.warn_of(id);
                    }
                    return Ok(None);
                }
            }
        }
        let frame = CloseFrame::new(REPLACED, "replaced by a newer connection with the same id");
        let goodbye = Output::Close { to: old, frame: frame.clone() };
        self.turns.say(goodbye);
        self.close(old, Ending { frame, handshake: Handshake::Missing }).await?;
        Ok(Some(known))
    }

    /// Says whose newcomers are refused. The guest's log has it, too, as the room's author chose the ids.
    fn warn_of(&self, id: &ConnectionId) {
        let limits = &self.turns.parts.limits;
        let text = format!(
            "connections with the id {id:?} replaced each other {} times in {} ms, and newer ones are refused \
             until that time is over: give each tab an id of its own",
            limits.replacements_max,
            limits.replacement_window_ms,
            id = id.as_str(),
        );
        tracing::warn!(project = self.turns.project(), room = %self.turns.room, "{text}");
        self.turns.log(LogLevel::Warn, &text);
    }

    /// A connection ended, unless that was handled already.
    pub(super) async fn close(&mut self, who: Serial, ending: Ending) -> Result<(), StoreError> {
        if self.turns.outlet.roster.retire(who) {
            self.turns.outlet.roster.ended(who, &ending);
            self.tell_end(who, ending).await?;
            self.turns.outlet.answer(None, Reply::Left(who));
        }
        Ok(())
    }

    /// Tells the guest of a connection's end, and forgets it; if it cannot be told, later.
    async fn tell_end(&mut self, who: Serial, ending: Ending) -> Result<(), StoreError> {
        let Some(connection) = self.turns.outlet.roster.get(who).cloned() else { return Ok(()) };
        let event = Event::Close { connection, ending: ending.clone() };
        match self.turn(&event, Some(who)).await? {
            Ok(turn) => self.turns.hold(turn, Reply::Nobody),
            Err(RoomError::Guest(_)) => {}
            Err(_) => {
                self.unheard.push((who, ending));
                return Ok(());
            }
        }
        self.turns.outlet.roster.leave(who);
        Ok(())
    }

    /// Tells of the ends that could not be told of when they came: there was no place for an instance,
    /// or the room had a rest.
    pub(super) async fn tell_unheard(&mut self) -> Result<(), StoreError> {
        for (who, ending) in std::mem::take(&mut self.unheard) {
            self.tell_end(who, ending).await?;
        }
        Ok(())
    }
}
