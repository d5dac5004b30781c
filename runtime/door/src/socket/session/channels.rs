//! The channels of a session: its connections in rooms. Owns the one table of them.
//!
//! Invariant: a connection is in the table from its entry until it ends, and the lock of the table is never held while
//! something else is waited for. It does not know frames.

use super::{EnteredRoom, Session};
use crate::socket::driver::Memberships;
use hashbrown::HashMap;
use room_core::id::RoomId;
use room_core::identity::{Capabilities, Identity};
use room_core::lock::lock;
use room_rooms::room::{ConnectionKey, JoinedConnection, Outboxes};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// The channels of one session.
pub(super) struct ChannelTable {
    pub(super) session: Session,
    outboxes: Outboxes,
    open: Mutex<HashMap<usize, OpenChannel>>,
    /// Signalled when frames are written.
    pub(super) drained: Notify,
    /// Signalled when a connection has left the table.
    pub(super) parted: Notify,
}

/// A connection in a room. Cheap to clone; clones are the same connection.
#[derive(Clone)]
pub(super) struct OpenChannel {
    pub(super) joined: Arc<JoinedConnection>,
    pub(super) room: RoomId,
    /// Who the client is in this room.
    pub(super) identity: Option<Identity>,
}

impl OpenChannel {
    /// Returns true if the client may send.
    pub(super) fn may_send(&self) -> bool {
        Identity::capabilities_of(self.identity.as_ref()).has(Capabilities::WRITE)
    }
}

impl ChannelTable {
    /// Makes a table without channels.
    pub(super) fn new(session: Session, outboxes: Outboxes) -> Self {
        let (drained, parted) = (Notify::new(), Notify::new());
        Self { session, outboxes, open: Mutex::default(), drained, parted }
    }

    /// Adds a connection.
    pub(super) fn open(&self, key: ConnectionKey, entered: EnteredRoom) {
        let EnteredRoom { joined, room, identity } = entered;
        let channel = OpenChannel { joined: Arc::new(joined), room, identity };
        lock(&self.open).insert(key.0, channel);
    }

    /// Returns the connection with this key.
    pub(super) fn get(&self, key: ConnectionKey) -> Option<OpenChannel> {
        lock(&self.open).get(&key.0).cloned()
    }

    /// Returns all connections.
    pub(super) fn all(&self) -> Vec<(ConnectionKey, OpenChannel)> {
        let open = lock(&self.open);
        open.iter().map(|(key, channel)| (ConnectionKey(*key), channel.clone())).collect()
    }

    /// Notes who the client of a connection is now.
    pub(super) fn renew(&self, key: ConnectionKey, identity: Identity) {
        if let Some(channel) = lock(&self.open).get_mut(&key.0) {
            channel.identity = Some(identity);
        }
    }
}

impl Memberships for ChannelTable {
    fn outboxes(&self) -> &Outboxes {
        &self.outboxes
    }

    fn with(&self, key: ConnectionKey, with: impl FnOnce(&JoinedConnection)) {
        if let Some(channel) = self.get(key) {
            with(&channel.joined);
        }
    }

    fn discard(&self) {
        for (_, channel) in self.all() {
            channel.joined.outbox.discard();
        }
    }

    fn forget(&self, key: ConnectionKey) {
        // A message that still waits for space holds the connection a little longer, without its outputs.
        if let Some(channel) = lock(&self.open).remove(&key.0) {
            channel.joined.outbox.discard();
            self.parted.notify_one();
        }
    }

    fn wrote(&self) {
        self.drained.notify_one();
    }
}
