//! The webhooks of a room's turns. Owns which turn makes which.
//!
//! Invariant: a webhook is in the commit of the turn that it is about, so that it exists exactly if the turn does. The end
//! of a connection is a fact whatever its turn does, and has a commit of its own if that turn fails. It does not know who
//! receives webhooks, or when.

use super::super::outlet::{Reply, TurnOutputs};
use super::Turns;
use room_core::connection::Connection;
use room_core::id::Serial;
use room_core::jobs::JobId;
use room_core::turn::Writes;
use room_core::webhooks::{Webhook, WebhookConnection, WebhookEvent, WebhookEvents, WebhookId};
use room_store::{StoreError, WebhookChanges};

/// The webhooks that the next commit of a room makes.
#[derive(Debug, Default)]
pub(in super::super) struct TurnWebhooks {
    /// The events that it makes webhooks of.
    events: WebhookEvents,
    next: Vec<(WebhookEvent, Option<WebhookConnection>)>,
}

impl TurnWebhooks {
    pub(super) fn of(events: WebhookEvents) -> Self {
        Self { events, next: Vec::new() }
    }

    /// Makes webhooks of these events from now on.
    pub(in super::super) fn set_events(&mut self, events: WebhookEvents) {
        self.events = events;
    }

    /// Returns true if the next commit makes no webhook for which it has to take place.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    fn note(&mut self, event: WebhookEvent, connection: Option<&Connection>) {
        if self.events.has(event) {
            let named =
                |own: &Connection| WebhookConnection::new(own.id.as_str(), own.uri.as_ref());
            self.next.push((event, connection.map(named)));
        }
    }
}

impl Turns {
    /// Notes that the turn of a connection's beginning has succeeded, before its commit.
    pub(super) fn note_connected(&mut self, connection: &Connection) {
        self.webhooks.note(WebhookEvent::Connected, Some(connection));
    }

    /// Notes that a connection has ended, before it leaves the roster.
    pub(super) fn note_disconnected(&mut self, connection: &Connection) {
        self.webhooks.note(WebhookEvent::Disconnected, Some(connection));
        // The roster has the connections whose end the guest has not handled, this one included.
        if self.outlet.roster.len() == 1 {
            self.webhooks.note(WebhookEvent::Emptied, None);
        }
    }

    /// Commits that a connection has ended whose `on_close` failed: the room is left all the same.
    pub(in super::super) async fn commit_disconnected(
        &mut self,
        who: Serial,
    ) -> Result<(), StoreError> {
        let Some(connection) = self.outlet.roster.get(who).cloned() else { return Ok(()) };
        self.note_disconnected(&connection);
        if !self.webhooks.is_empty() {
            let offset = self.commit_writes(Writes::default()).await?;
            self.outlet.hold(Some(offset), TurnOutputs::default(), Reply::Nobody);
        }
        Ok(())
    }

    /// Takes the webhooks of a commit.
    #[inline]
    pub(super) fn take_webhooks(&mut self) -> WebhookChanges {
        match self.webhooks.events.is_empty() {
            true => WebhookChanges::new(),
            false => self.webhooks_with_first(),
        }
    }

    /// Takes the webhooks of a commit, which may be the room's first.
    #[cold]
    fn webhooks_with_first(&mut self) -> WebhookChanges {
        if self.store.facts().turns == 0 && self.webhooks.events.has(WebhookEvent::Created) {
            self.webhooks.next.push((WebhookEvent::Created, None));
        }
        self.made_webhooks()
    }

    /// Takes the webhooks of the commit that deletes the room because nobody uses it.
    pub(super) fn take_last_webhooks(&mut self) -> WebhookChanges {
        self.webhooks.note(WebhookEvent::Expired, None);
        self.made_webhooks()
    }

    fn made_webhooks(&mut self) -> WebhookChanges {
        // The turn's event has this number or an earlier one, and no other turn has it.
        let (number, at_ms) = (self.store.sequence().last(), self.parts.clock.wall_ms());
        let made = self.webhooks.next.drain(..).map(|(event, connection)| {
            let job = JobId { number, index: event as u32 };
            let id = WebhookId { room: self.room.clone(), job };
            (id, Some(Webhook::new(event, connection, at_ms).encode()))
        });
        made.collect()
    }
}
