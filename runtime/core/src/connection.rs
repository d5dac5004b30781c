//! The connections of a room, as the room sees them. Owns ids, tags, states and the order of joining.
//!
//! Invariant: an id belongs to at most one connection, and only open ones are listed. It outlives the
//! instance (reload, faults, hibernation). It does not know sockets or queues.

use crate::encoding;
use crate::id::{ConnectionId, Serial};
use crate::identity::Identity;
use bytes::Bytes;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// A client of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The id, which the client chose.
    pub id: ConnectionId,
    /// The serial, which the room assigned.
    pub serial: Serial,
    /// The URL it connected with.
    #[serde(with = "encoding::shared")]
    pub uri: Arc<str>,
    /// The tags from the room, without the id.
    #[serde(with = "encoding::shared")]
    pub tags: Arc<[String]>,
    /// The state that the room keeps with it.
    #[serde(with = "encoding::bytes")]
    pub state: Bytes,
    /// Whether it takes part in the room.
    pub link: Link,
    /// Who it is, if the door checked that.
    pub identity: Option<Identity>,
    /// What carries its messages.
    #[serde(default)]
    pub transport: Transport,
}

/// What carries the messages of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A WebSocket, both ways.
    #[default]
    WebSocket,
    /// Server-sent events to the client, and a POST for each message of the client.
    Sse,
    /// Requests that wait for messages to the client, and a POST for each message of the client.
    #[serde(rename = "long-poll")]
    LongPoll,
}

impl Transport {
    /// Returns its name, as rooms in scripts, operators and the logs know it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
            Self::LongPoll => "long-poll",
        }
    }
}

/// The state of a connection's link, which only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Link {
    /// It takes part.
    Open,
    /// The room closed it, or it ended. It is no longer listed and gets no messages.
    Closing,
}

impl Connection {
    /// Returns true if it carries the tag. The id is a tag, too.
    #[inline]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.id.as_str() == tag || self.tags.iter().any(|own| own == tag)
    }
}

/// The connections of one room.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// Boxed, because a map with one entry has space for eleven.
    by_serial: BTreeMap<Serial, Box<Connection>>,
    by_id: HashMap<ConnectionId, Serial>,
}

impl Connections {
    /// Adds a connection whose id is not in use: the caller has ended any earlier connection with it.
    pub fn insert(&mut self, connection: Connection) {
        self.by_id.insert(connection.id.clone(), connection.serial);
        self.by_serial.insert(connection.serial, Box::new(connection));
    }

    /// Removes a connection. Returns `None` if it was gone already.
    pub fn remove(&mut self, serial: Serial) -> Option<Box<Connection>> {
        let connection = self.by_serial.remove(&serial)?;
        if self.by_id.get(&connection.id) == Some(&serial) {
            self.by_id.remove(&connection.id);
        }
        Some(connection)
    }

    /// Returns the connection with this serial.
    #[inline]
    pub fn get(&self, serial: Serial) -> Option<&Connection> {
        self.by_serial.get(&serial).map(Box::as_ref)
    }

    /// Returns the connection with this serial, for a change.
    pub fn get_mut(&mut self, serial: Serial) -> Option<&mut Connection> {
        self.by_serial.get_mut(&serial).map(Box::as_mut)
    }

    /// Returns the connection with this id.
    #[inline]
    pub fn by_id(&self, id: &str) -> Option<&Connection> {
        self.get(*self.by_id.get(id)?)
    }

    /// Returns the open connections in the order in which they joined, only those with `tag` if one is given.
    pub fn open<'a>(&'a self, tag: Option<&'a str>) -> impl Iterator<Item = &'a Connection> {
        self.all().filter(move |c| c.link == Link::Open && tag.is_none_or(|tag| c.has_tag(tag)))
    }

    /// Returns all connections, closing ones included.
    pub fn all(&self) -> impl Iterator<Item = &Connection> {
        self.by_serial.values().map(Box::as_ref)
    }

    /// Returns the connection that joined last, closing ones included. The cost does not depend on their
    /// number.
    #[inline]
    pub fn newest(&self) -> Option<Serial> {
        self.by_serial.last_key_value().map(|(serial, _)| *serial)
    }

    /// Returns the connections that joined after this one, closing ones included.
    pub fn after(&self, serial: Option<Serial>) -> impl Iterator<Item = &Connection> {
        let start = serial.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_serial.range((start, Bound::Unbounded)).map(|(_, connection)| connection.as_ref())
    }

    /// Returns the number of connections, closing ones included.
    pub fn len(&self) -> usize {
        self.by_serial.len()
    }

    /// Returns true if there are no connections.
    pub fn is_empty(&self) -> bool {
        self.by_serial.is_empty()
    }
}

/// Returns a connection with this id, number and tags, for tests.
#[cfg(any(test, feature = "testing"))]
pub fn connection(id: &str, serial: u64, tags: &[&str]) -> Connection {
    Connection {
        id: ConnectionId::parse(id, 256).expect("tests give valid ids"),
        serial: Serial(serial),
        uri: "http://localhost/parties/main/lobby".into(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        state: Bytes::new(),
        link: Link::Open,
        identity: None,
        transport: Transport::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_listed_in_the_order_they_joined() {
        let mut all = Connections::default();
        for (id, serial) in [("zoe", 1), ("adam", 2), ("mia", 3)] {
            all.insert(connection(id, serial, &[if serial == 2 { "red" } else { "blue" }]));
        }
        let ids = |tag| all.open(tag).map(|c| c.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(None), ["zoe", "adam", "mia"]);
        assert_eq!(ids(Some("blue")), ["zoe", "mia"]);
        assert_eq!(ids(Some("adam")), ["adam"]);
    }

    #[test]
    fn the_newest_connection_is_the_last_open_one_that_joined() {
        let mut all = Connections::default();
        assert_eq!(all.newest(), None);
        all.insert(connection("a", 1, &[]));
        all.insert(connection("b", 2, &[]));
        assert_eq!(all.newest(), Some(Serial(2)));
        all.remove(Serial(2));
        assert_eq!(all.newest(), Some(Serial(1)));
    }

    #[test]
    fn removing_a_replaced_connection_keeps_its_successor() {
        let mut all = Connections::default();
        all.insert(connection("a", 1, &[]));
        all.insert(connection("a", 2, &[]));
        all.remove(Serial(1));
        assert_eq!(all.by_id("a").map(|c| c.serial), Some(Serial(2)));
    }
}
