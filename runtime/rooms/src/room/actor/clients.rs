//! Clients that come and go. Owns the order in which the room, its guest and its roster learn of it.
//!
//! Invariant: the guest gets each connection's end once, and the end of a replaced connection before its
//! successor comes. While the guest handles the end, the connection is still on the list. It does not know
//! sockets.

use super::super::RoomError;
use super::super::handle::{Admission, ConnectingClient};
use super::super::mail::{ConnectionEnd, JoinRequest};
use super::super::outbox::OutboxSender;
use super::super::outlet::{DueOutputs, Reply};
use super::super::replacements::{ReplacementDecision, Replacements};
use super::super::returning::{Gap, Greeting, ReturningClient};
use super::super::roster::{ArrivingClient, Return};
use super::Actor;
use bytes::Bytes;
use room_core::connection::{Connection, Link, Transport};
use room_core::event::{CloseFrame, CloseHandshake, Ending, Event};
use room_core::id::{ConnectionId, Serial};
use room_core::identity::Identity;
use room_core::limits::size;
use room_core::report;
use room_core::turn::Output;
use room_store::StoreError;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The close code of a connection whose id a newer one has. Clients know 44xx to be final. If both came back
/// each time, they would replace each other forever.
const REPLACED: u16 = 4409;

impl Actor {
    /// Lets a client in, or refuses it.
    pub(super) async fn connect(&mut self, joining: JoinRequest) -> Result<(), StoreError> {
        let JoinRequest { visitor, outbox, reply } = joining;
        let ConnectingClient { id, request, transport, identity, secret, returning, rewind } =
            *visitor;
        let asked =
            returning.map(|client| (client, self.returning(&id, identity.as_ref(), client)));
        let (secret, greeting) = match asked {
            Some((_, Ok(back))) => {
                self.resume(back, (identity, transport), (outbox, reply));
                return Ok(());
            }
            Some((client, Err(gap))) => match self.continues(client, gap) {
                // It keeps its secret: if it is lost before it learns of its new connection, it comes back with the old one.
                Ok(()) if secret.is_some() => {
                    self.turns.parts.metrics.continued.increment(1);
                    (client.secret, Greeting { former: Some(client.since), ..Greeting::default() })
                }
                continued => {
                    let gap = continued.err().unwrap_or(gap);
                    self.turns.parts.metrics.resume_gaps.count(gap.into());
                    (secret, Greeting { gap: Some(gap), rewind, former: None })
                }
            },
            None => (secret, Greeting { gap: None, rewind, former: None }),
        };
        // Before the client is on the list: `on_start` must not broadcast to a client that is not in yet. And
        // before the client replaces another: a client that cannot be admitted must replace nobody.
        if let Err(error) = self.ready().await? {
            self.refuse(Reply::Joined(DueOutputs::new(reply, Err(error))));
            return Ok(());
        }
        let roster = &self.turns.outlet.roster;
        let replaced = roster.by_id(id.as_str()).map(|old| old.serial);
        if let Err(error) = roster.users.admit(identity.as_ref(), replaced) {
            self.refuse(Reply::Joined(DueOutputs::new(reply, Err(error))));
            return Ok(());
        }
        let since_ms = self.turns.parts.clock.wall_ms();
        let Some(replacements) = self.make_way(&id, since_ms).await? else {
            self.refuse(Reply::Joined(DueOutputs::new(reply, Err(RoomError::Contended))));
            return Ok(());
        };
        if self.turns.outlet.roster.len() >= size(self.turns.parts.limits.room_connections_max) {
            self.refuse(Reply::Joined(DueOutputs::new(reply, Err(RoomError::Full))));
            return Ok(());
        }
        self.joined += 1;
        let serial = Serial(self.joined);
        let uri = Arc::from(request.uri.as_str());
        let (tags, state) = (Arc::default(), Bytes::new());
        let link = Link::Open;
        let connection = Connection { id, serial, uri, tags, state, link, transport, identity };
        let identified = (secret, connection.identity.as_ref());
        let ticket = self.turns.outlet.roster.ticket(identified, greeting);
        let arrival = ArrivingClient { outbox, ticket, since_ms, replacements };
        self.turns.outlet.roster.join(connection.clone(), arrival);
        let entrance = self.turns.outlet.enter_presence(&connection);
        match self.turn(&Event::Connect { connection, request }, Some(serial)).await? {
            Ok(turn) => {
                let admission = Admission::new(self.mailbox.clone(), serial, 0);
                self.turns.hold(turn, Reply::Joined(DueOutputs::new(reply, Ok(admission))));
            }
            Err(error) => {
                self.turns.outlet.undo_presence(entrance);
                self.turns.outlet.roster.leave(serial);
                self.turns.outlet.roster.hang_up(serial);
                self.refuse(Reply::Joined(DueOutputs::new(reply, Err(error))));
            }
        }
        Ok(())
    }

    /// Looks for the connection of a client that comes back.
    fn returning(
        &mut self,
        id: &ConnectionId,
        identity: Option<&Identity>,
        client: ReturningClient,
    ) -> Result<Return, Gap> {
        let now_ms = self.turns.parts.clock.wall_ms();
        self.turns.outlet.roster.returning((id, identity), client, now_ms)
    }

    /// Looks whether a client whose connection is over, for this reason, can continue it with a new one.
    fn continues(&self, client: ReturningClient, otherwise: Gap) -> Result<(), Gap> {
        let now_ms = self.turns.parts.clock.wall_ms();
        self.turns.outlet.roster.continues(client, otherwise, now_ms)
    }

    /// Gives a connection to the new transport of its client. The guest does not learn of it. The client is admitted when
    /// the earlier turns are durable; what waits for that follows what it missed.
    fn resume(
        &mut self,
        back: Return,
        client: (Option<Identity>, Transport),
        (outbox, reply): (OutboxSender, oneshot::Sender<Result<Admission, RoomError>>),
    ) {
        let carried = client.1;
        let resumed = self.turns.outlet.roster.resume(back, client, outbox);
        if let (Some((serial, _)), Some(own)) = (resumed, &self.turns.outlet.presence) {
            self.turns.outlet.roster.follow(serial, own.shared());
        }
        let admission = resumed
            .map(|(serial, transport)| Admission::new(self.mailbox.clone(), serial, transport));
        if carried != Transport::LongPoll {
            self.turns.parts.metrics.resumed.increment(1);
        }
        self.refuse(Reply::Joined(DueOutputs::new(reply, admission.ok_or(RoomError::Gone))));
    }

    /// Handles a report about the transport of a connection, unless the connection has another one by now.
    pub(super) async fn part(&mut self, parting: ConnectionEnd) -> Result<(), StoreError> {
        let roster = &mut self.turns.outlet.roster;
        match parting {
            ConnectionEnd::Failed { who, transport, error } => {
                if let Some(connection) = roster.get(who).cloned()
                    && roster.has_transport(who, transport)
                {
                    self.plain(Event::Error { connection, error }, Some(who)).await?;
                }
            }
            ConnectionEnd::Closed { who, transport, ending } => {
                let is_over = roster.has_transport(who, transport)
                    && !roster.suspend(who, &ending, &self.turns.parts);
                if is_over {
                    self.close(who, ending).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends the connections whose clients have been away for too long.
    pub(super) async fn end_overdue(&mut self) -> Result<(), StoreError> {
        while let Some(who) = self.turns.outlet.roster.take_overdue() {
            let ending = self.turns.outlet.roster.unfetched(who);
            self.close(who, ending.unwrap_or_else(Ending::broken_off)).await?;
            self.last_event = Instant::now();
        }
        Ok(())
    }

    /// Ends the connection that has a newcomer's id, if there is one. Returns what the newcomer knows of the
    /// earlier connections with its id; `None` if they replaced each other too often, so that the caller must
    /// refuse the newcomer.
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
        // A client that the room closed, or that is away, is expected to come again.
        if link == Link::Open
            && !roster.is_away(old)
            && let Some(replacements) = roster.replacements(old)
        {
            match replacements.meet(now_ms, &self.turns.parts.limits) {
                ReplacementDecision::Replaces(next) => known = next,
                ReplacementDecision::Refused { first } => {
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
        self.close(old, Ending { frame, handshake: CloseHandshake::Missing }).await?;
        Ok(Some(known))
    }

    /// Logs the id whose newcomers are refused. The guest's log gets the line, too, because the room's author
    /// chose the ids.
    fn warn_of(&self, id: &ConnectionId) {
        let limits = &self.turns.parts.limits;
        report!(
            warn,
            self.turns.log(),
            [],
            "connections with the id {:?} replaced each other {} times in {} ms, and newer ones are refused \
             until that time is over: give each tab an id of its own",
            id.as_str(),
            limits.replacements_max,
            limits.replacement_window_ms,
        );
    }

    /// Handles the end of a connection, unless that was done already.
    pub(super) async fn close(&mut self, who: Serial, ending: Ending) -> Result<(), StoreError> {
        if self.turns.outlet.roster.retire(who) {
            self.turns.outlet.roster.ended(who, &ending);
            self.turns.outlet.leave_presence(who);
            self.tell_end(who, ending).await?;
            self.turns.outlet.answer(None, Reply::Left(who));
        }
        Ok(())
    }

    /// Delivers a connection's end to the guest, and forgets the connection. If that is impossible now, keeps
    /// the end for later.
    async fn tell_end(&mut self, who: Serial, ending: Ending) -> Result<(), StoreError> {
        let Some(connection) = self.turns.outlet.roster.get(who).cloned() else { return Ok(()) };
        let event = Event::Close { connection, ending: ending.clone() };
        match self.turn(&event, Some(who)).await? {
            Ok(turn) => self.turns.hold(turn, Reply::Nobody),
            Err(RoomError::Guest(_)) => self.turns.commit_disconnected(who).await?,
            Err(_) => {
                self.unheard.push((who, ending));
                return Ok(());
            }
        }
        self.turns.outlet.roster.leave(who);
        Ok(())
    }

    /// Delivers the ends that could not be delivered when they came, because there was no place for an
    /// instance or the room rested.
    pub(super) async fn tell_unheard(&mut self) -> Result<(), StoreError> {
        for (who, ending) in std::mem::take(&mut self.unheard) {
            self.tell_end(who, ending).await?;
        }
        if !self.unheard_streams.is_empty() {
            for (id, end) in std::mem::take(&mut self.unheard_streams) {
                self.tell_stream_end(id, end).await?;
            }
        }
        Ok(())
    }
}
