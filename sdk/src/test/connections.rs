//! The connections of a room under test: how each opens, says something and ends.
//!
//! Owns the order of their events. Invariant: a connection that takes another one's id opens behind the other one's end,
//! and one that does not open leaves nothing. It does not know how a turn is kept or dropped.

use super::limits;
use super::mock::set_tags;
use super::replacements::{Newcomer, Replacements};
use super::runner::{FAILED, Runner};
use super::world::{Ended, Inbox, Link, LogLine, Phase};
use crate::connection::{Close, Connection, Transport};
use crate::host::ConnectionData;
use crate::http::{Request, Verdict};
use crate::identity::Identity;
use crate::log::Level;
use crate::message::Message;
use crate::{Result, Room};

/// The text for a client whose id changes hands too often.
const CONTENDED: &str =
    "connections with this id replace each other too often: an id belongs to one connection";

impl<R: Room> Runner<R> {
    /// Opens a connection, or does not; returns the number of the client either way.
    pub(super) fn connect(
        &mut self,
        id: &str,
        mut request: Request,
        (transport, ticket): (Transport, Option<&str>),
    ) -> usize {
        let client = self.world.clients.len();
        self.world.clients.push(Inbox::default());
        let admitted = ticket.map_or(Ok(()), |ticket| {
            request.identity = Some(Identity::of(self.world.admit(ticket)?));
            Ok(())
        });
        let connected = admitted.and_then(|()| self.try_connect(client, id, request, transport));
        if let Err((code, reason)) = connected {
            let close = Close { code, reason, clean: true };
            self.world.clients[client].closed = Some(close);
        }
        self.settle();
        client
    }

    fn try_connect(
        &mut self,
        client: usize,
        id: &str,
        mut request: Request,
        transport: Transport,
    ) -> Result<(), (u16, String)> {
        let failed = |_| (1011, FAILED.to_owned());
        let (verdict, added) = self.decide(R::on_before_connect, &request).map_err(failed)?;
        match verdict {
            Verdict::Forward(Request { headers, uri, .. }) => {
                request = Request { headers, uri, ..request };
            }
            Verdict::Respond(mut response) => {
                response.headers.extend(added);
                let reason = format!("answered with {}", response.status_code());
                self.world.clients[client].response = Some(response);
                return Err((1006, reason));
            }
            Verdict::Refuse { code, reason } => {
                self.world.clients[client].headers = added;
                return Err((code, reason));
            }
        }
        self.start().map_err(failed)?;
        let Some(replacements) = self.replace(id) else {
            return Err((1013, CONTENDED.to_owned()));
        };
        match transport {
            Transport::WebSocket => drop(self.world.transports.remove(id)),
            other => drop(self.world.transports.insert(id.to_owned(), other)),
        }
        self.open((client, replacements), id, &request).map_err(failed)?;
        self.world.clients[client].headers = added;
        Ok(())
    }

    /// Ends the connection that has this id already. Its `on_close` runs before the new `on_connect`. Returns what
    /// the newcomer knows of those before it; none if they replaced each other too often, and it is turned away.
    fn replace(&mut self, id: &str) -> Option<Replacements> {
        let now_ms = self.world.now_ms;
        let Some(old) = self.world.links.iter_mut().find(|link| link.data.id == id) else {
            return Some(Replacements::default());
        };
        let client = old.client;
        match old.replacements.meet(now_ms) {
            Newcomer::Replaces(known) => {
                let reason = "replaced by a newer connection with the same id".to_owned();
                self.world.end(client, Close { code: 4409, reason, clean: false });
                self.settle();
                Some(known)
            }
            Newcomer::Refused { first } => {
                if first {
                    self.warn_of(id);
                }
                None
            }
        }
    }

    /// Says whose newcomers are refused.
    fn warn_of(&mut self, id: &str) {
        let (max, window_ms) = (limits::REPLACEMENTS_MAX, limits::REPLACEMENT_WINDOW_MS);
        let message = format!(
            "connections with the id {id:?} replaced each other {max} times in {window_ms} ms, and newer ones are \
             refused until that time is over: give each tab an id of its own"
        );
        self.world.logs.push(LogLine { level: Level::Warn, message, fields: Vec::new() });
    }

    /// The turn of `tags` and `on_connect`.
    fn open(
        &mut self,
        (client, replacements): (usize, Replacements),
        id: &str,
        request: &Request,
    ) -> Result<(), String> {
        let uri = request.uri.clone();
        let data = ConnectionData { id: id.to_owned(), uri, ..ConnectionData::default() };
        let identity = request.identity.as_ref().map(Identity::record);
        self.world.introduce(client, id, identity.cloned());
        let phase = Phase::Open;
        self.world.links.push(Link { data: data.clone(), client, phase, replacements });
        self.world.count_user(id);
        let opened = self.turn(|live| {
            let conn = Connection::from_data(data);
            let tags = live.turn(|room, ctx| room.tags(ctx, &conn, request))?;
            limits::check_tags(&tags)?;
            let conn = Connection::from_data(set_tags(client, tags));
            live.turn(|room, ctx| room.on_connect(ctx, &conn, request))
        });
        if opened.is_err() {
            self.world.links.retain(|link| link.client != client);
            self.world.count_user(id);
            self.world.identities.remove(id);
        }
        opened
    }

    /// Hands on a message from a client, unless it is too large.
    pub(super) fn message(&mut self, client: usize, message: Message) {
        if !limits::may_come(&message) {
            let error = format!("a message is larger than {} bytes", limits::MESSAGE_BYTES_MAX);
            self.fail(client, 1009, &error);
        } else if self.world.clients[client].is_mute {
            self.fail(client, 4403, "the ticket does not allow sending");
        } else if let Some(link) = self.world.link_of(client) {
            let conn = Connection::from_id(link.data.id.clone());
            let _ = self.call(|room, ctx| room.on_message(ctx, &conn, message));
        }
        self.settle();
    }

    /// Hands on a message that another server publishes.
    pub(super) fn publish(&mut self, message: Message) {
        // A failure is among the errors.
        let _ = self.call(|room, ctx| room.on_publish(ctx, message));
        self.settle();
    }

    /// Ends a connection that broke the protocol. The client is gone at once; the room has it among the
    /// open ones until `on_error` returned.
    fn fail(&mut self, client: usize, code: u16, error: &str) {
        let Some(link) = self.world.link_of(client) else { return };
        let conn = Connection::from_data(link.data.clone());
        let close = Close { code, reason: error.to_owned(), clean: false };
        self.world.clients[client].closed = Some(close.clone());
        let _ = self.call(|room, ctx| room.on_error(ctx, &conn, error));
        self.world.end(client, close);
    }

    /// Ends a connection from the client's side.
    pub(super) fn end(&mut self, client: usize, close: Close) {
        self.world.end(client, close);
        self.settle();
    }

    pub(super) fn ended(&mut self, ended: Ended) {
        let Ended { data, close } = ended;
        let conn = Connection::from_data(data.clone());
        self.world.about = Some(data);
        let _ = self.call(|room, ctx| room.on_close(ctx, &conn, close));
        self.world.about = None;
        self.world.identities.remove(conn.id());
    }
}
