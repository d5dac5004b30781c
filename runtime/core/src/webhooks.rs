//! Webhooks: what a project reports about its rooms to a receiver of its own. Owns their kinds, the stored form of one,
//! and the id and the body that its receiver gets.
//!
//! Invariant: the id and the body depend on what is stored alone, so that every try sends the same, and no two webhooks
//! have one id. It does not know receivers, or when a room makes a webhook.

use crate::id::RoomId;
use crate::jobs::JobId;
use crate::limits::fixed::WEBHOOK_URI_BYTES_MAX;
use crate::schedule::rfc3339;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What happened to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WebhookEvent {
    /// The first commit of a room for which nothing is stored.
    Created,
    /// The turn of a connection's `on_connect` succeeded.
    Connected,
    /// A connection ended, and its `on_close` is over.
    Disconnected,
    /// With that, the room has no connection.
    Emptied,
    /// The room was deleted, because nobody used it for its `ttl`.
    Expired,
}

impl WebhookEvent {
    /// All of them, in the order in which one turn makes them.
    pub const ALL: [Self; 5] =
        [Self::Created, Self::Connected, Self::Disconnected, Self::Emptied, Self::Expired];

    /// Returns its name, as in `room.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Emptied => "emptied",
            Self::Expired => "expired",
        }
    }

    /// Returns the event with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }
}

/// A set of events. The default has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookEvents(u8);

impl WebhookEvents {
    /// Returns true if it has no event.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns true if it has this event.
    pub fn has(self, event: WebhookEvent) -> bool {
        self.0 & Self::bit(event) != 0
    }

    fn bit(event: WebhookEvent) -> u8 {
        1 << event as u8
    }
}

impl FromIterator<WebhookEvent> for WebhookEvents {
    fn from_iter<I: IntoIterator<Item = WebhookEvent>>(events: I) -> Self {
        Self(events.into_iter().fold(0, |set, event| set | Self::bit(event)))
    }
}

/// The id of a webhook: its room, and the number of the event whose turn made it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookId {
    /// The room.
    pub room: RoomId,
    /// The number. Its index is that of the webhook's event, so that the webhooks of a room are in their order.
    pub job: JobId,
}

/// Characters that stay as they are in an id. A dot is between its parts.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

impl WebhookId {
    /// Returns the header `webhook-id`. `project` is empty in a process with one project.
    pub fn header(&self, project: &str) -> String {
        let room = utf8_percent_encode(self.room.name(), PLAIN);
        let dot = if project.is_empty() { "" } else { "." };
        format!("msg_{project}{dot}{}.{room}.{}", self.room.party(), self.job)
    }
}

/// One webhook, until its receiver has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// What happened.
    pub event: WebhookEvent,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The connection that it is about.
    pub connection: Option<WebhookConnection>,
    /// The number of tries that failed.
    pub tries: u32,
    /// When the next try is due, in milliseconds since 1970.
    pub due_ms: u64,
    /// How the last try failed.
    pub error: Option<String>,
    /// When it was given up, in milliseconds since 1970: it is a dead letter.
    pub dead_ms: Option<u64>,
}

/// A connection, as a webhook names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookConnection {
    /// Its id.
    pub id: String,
    /// The URL that it connected with, without the query, which may hold tokens. `None` for one that is too long.
    pub uri: Option<String>,
}

impl WebhookConnection {
    /// Returns the connection with this id that connected with this URL.
    pub fn new(id: &str, uri: &str) -> Self {
        let plain = uri.split(['?', '#']).next().unwrap_or_default();
        let uri = (plain.len() <= WEBHOOK_URI_BYTES_MAX).then(|| plain.to_owned());
        Self { id: id.to_owned(), uri }
    }
}

/// The version of the stored form: the first byte.
const VERSION: u8 = 1;

impl Webhook {
    /// Returns the webhook of something that happened at this time.
    pub fn new(event: WebhookEvent, connection: Option<WebhookConnection>, at_ms: u64) -> Self {
        let (tries, due_ms, error, dead_ms) = (0, at_ms, None, None);
        Self { event, at_ms, connection, tries, due_ms, error, dead_ms }
    }

    /// Returns the stored form.
    pub fn encode(&self) -> Bytes {
        let bytes = postcard::to_extend(self, vec![VERSION]).expect("memory takes any bytes");
        bytes.into()
    }

    /// Reads the stored form. Returns `None` for other bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            Some((&VERSION, webhook)) => postcard::from_bytes(webhook).ok(),
            _ => None,
        }
    }

    /// Returns the body with which it is sent, as JSON.
    pub fn body(&self, room: &RoomId) -> String {
        let mut data = json!({ "party": room.party().as_str(), "room": room.name() });
        if let Some(WebhookConnection { id, uri }) = &self.connection {
            data["connection"] = json!({ "id": id });
            if let Some(uri) = uri {
                data["connection"]["uri"] = uri.as_str().into();
            }
        }
        let kind = format!("room.{}", self.event.name());
        json!({ "type": kind, "timestamp": rfc3339(self.at_ms), "data": data }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{PartyName, SequenceNumber};

    fn id(name: &str) -> WebhookId {
        let room = RoomId::new(PartyName::parse("main").unwrap(), name, 256).unwrap();
        WebhookId { room, job: JobId { number: SequenceNumber { epoch: 3, seq: 7 }, index: 1 } }
    }

    #[test]
    fn an_id_is_a_plain_header_whose_parts_cannot_be_mistaken() {
        assert_eq!(id("lobby").header("chat"), "msg_chat.main.lobby.3-7-1");
        assert_eq!(id("lobby").header(""), "msg_main.lobby.3-7-1");
        let strange = id("a.b/ü \"").header("chat");
        assert_eq!(strange, "msg_chat.main.a%2Eb%2F%C3%BC%20%22.3-7-1");
    }

    #[test]
    fn a_body_names_the_room_and_the_connection_without_its_query() {
        let connection = WebhookConnection::new("alice", "/parties/main/lobby?token=s3cret#x");
        let webhook = Webhook::new(WebhookEvent::Connected, Some(connection), 1_700_000_000_123);
        assert_eq!(
            webhook.body(&id("lobby").room),
            "{\"data\":{\"connection\":{\"id\":\"alice\",\"uri\":\"/parties/main/lobby\"},\"party\":\"main\",\
             \"room\":\"lobby\"},\"timestamp\":\"2023-11-14T22:13:20.123Z\",\"type\":\"room.connected\"}"
        );
        let long = WebhookConnection::new("a", &format!("/{}", "x".repeat(WEBHOOK_URI_BYTES_MAX)));
        assert_eq!(long.uri, None);
        let expired = Webhook::new(WebhookEvent::Expired, None, 0).body(&id("x").room);
        assert!(expired.contains("{\"party\":\"main\",\"room\":\"x\"}"), "{expired}");
    }

    #[test]
    fn a_stored_webhook_is_read_back_and_other_bytes_are_not_one() {
        let webhook = Webhook {
            error: Some("500".to_owned()),
            dead_ms: Some(9),
            ..Webhook::new(WebhookEvent::Emptied, None, 5)
        };
        let bytes = webhook.encode();
        assert_eq!(Webhook::decode(&bytes), Some(webhook));
        for other in [&b""[..], b"\x09new", &bytes[..bytes.len() - 1]] {
            assert_eq!(Webhook::decode(other), None);
        }
    }

    #[test]
    fn a_set_has_the_events_that_it_was_made_of() {
        let set: WebhookEvents =
            [WebhookEvent::Created, WebhookEvent::Expired].into_iter().collect();
        let has = WebhookEvent::ALL.map(|event| set.has(event));
        assert_eq!(has, [true, false, false, false, true]);
        assert!(!set.is_empty() && WebhookEvents::default().is_empty());
        assert_eq!(WebhookEvent::parse("Created"), None);
    }
}
