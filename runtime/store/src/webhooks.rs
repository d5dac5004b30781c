//! The webhooks of a project, until their receiver has them. Owns their place in the store, and the bell that reports new
//! ones.
//!
//! Invariant: a webhook is stored with the commit of the turn that made it, and can be read only when that commit is
//! durable. A deletion of its room leaves it. The bell reports each new one, or that all must be read again. It does not
//! know what a webhook says.
//!
//! They are entries of their own, and not jobs of a room: the node finds all of them in one span, and sends them without
//! the room.

use crate::committer::Commit;
use crate::keys::{self, RoomFacts};
use crate::pending::PendingCell;
use crate::{Change, Record, Store, StoreError, blocking};
use bytes::Bytes;
use hashbrown::HashSet;
use room_core::id::{ModuleHash, RoomId, SequenceNumber};
use room_core::lock::lock;
use room_core::webhooks::WebhookId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Changes of webhooks: their new bytes, or `None` for those that are removed.
pub type WebhookChanges = BTreeMap<WebhookId, Option<Bytes>>;

/// Reports webhooks that rooms have made. Has one listener.
#[derive(Debug)]
pub struct WebhookBell {
    fresh: Mutex<FreshWebhooks>,
    notify: Notify,
    fresh_max: usize,
}

/// What the bell has reported since the listener took it.
#[derive(Debug, Default)]
pub struct FreshWebhooks {
    /// New webhooks.
    pub new: BTreeMap<WebhookId, Bytes>,
    /// Whether there were more than the bell keeps, so that the listener must read all.
    pub missed: bool,
}

impl WebhookBell {
    pub(super) fn new(fresh_max: usize) -> Self {
        Self { fresh: Mutex::default(), notify: Notify::new(), fresh_max }
    }

    /// Rings for the webhooks of these records, which can be read from now on.
    pub(super) fn ring<'a>(&self, records: impl Iterator<Item = &'a Record>) {
        // What the node itself notes about a webhook is no turn.
        let new = records.filter(|record| record.turn > 0 && !record.change.webhooks.is_empty());
        let mut new = new.peekable();
        if new.peek().is_none() {
            return;
        }
        let mut fresh = lock(&self.fresh);
        for (key, value) in new.flat_map(|record| &record.change.webhooks) {
            if let (Ok(id), Some(value)) = (keys::decode_webhook(key), value) {
                fresh.new.insert(id, value.clone());
            }
        }
        if fresh.new.len() > self.fresh_max {
            fresh.new.clear();
            fresh.missed = true;
        }
        drop(fresh);
        self.notify.notify_one();
    }

    /// Rings for webhooks that the bell does not know.
    pub(super) fn miss(&self) {
        lock(&self.fresh).missed = true;
        self.notify.notify_one();
    }

    /// Waits for a ring since the last wait.
    ///
    /// # Cancel safety
    /// Dropping the future before it is over loses no ring.
    pub async fn rings(&self) {
        self.notify.notified().await;
    }

    /// Takes what was reported since the last call.
    pub fn take(&self) -> FreshWebhooks {
        std::mem::take(&mut lock(&self.fresh))
    }
}

/// Returns the changes with the keys that a commit has them under.
pub(super) fn keyed(changes: WebhookChanges) -> room_core::span::Overlay {
    // Most commits have none.
    if changes.is_empty() {
        return room_core::span::Overlay::new();
    }
    changes.into_iter().map(|(id, value)| (keys::webhook(&id), value)).collect()
}

impl Store {
    /// Returns the bell that rings for new webhooks.
    pub fn webhook_bell(&self) -> Arc<WebhookBell> {
        self.applier.webhook_bell()
    }

    /// Returns all stored webhooks, with every earlier change.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub async fn webhooks(&self) -> Result<Vec<(WebhookId, Bytes)>, StoreError> {
        self.applied().await?;
        let tree = self.applier.shared().tree();
        blocking(|| {
            let mut found = Vec::new();
            for entry in tree.scan(&keys::all_webhooks(), HashSet::new()) {
                let (key, value) = entry?;
                match keys::decode_webhook_key(&key) {
                    Ok(id) => found.push((id, value)),
                    // One that cannot be read must not hold up all others.
                    Err(error) => tracing::error!(%error, "a webhook cannot be read"),
                }
            }
            Ok(found)
        })
    }

    /// Changes stored webhooks. Waits while the queue to the disk is full, and not until the changes are durable: a crash
    /// before that undoes them. The changes of each room are a commit of their own.
    ///
    /// # Errors
    /// [`StoreError`]: the changes of some rooms, or of none, are made.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the changes of some rooms, or of none, are made.
    pub async fn keep_webhooks(&self, changes: WebhookChanges) -> Result<(), StoreError> {
        let mut by_room: BTreeMap<RoomId, WebhookChanges> = BTreeMap::new();
        for (id, value) in changes {
            by_room.entry(id.room.clone()).or_default().insert(id, value);
        }
        for (room, of_room) in by_room {
            self.committer.space().await;
            let change = Change { webhooks: keyed(of_room), ..Change::default() };
            // It changes nothing of its room: it has no turn and no number.
            let record = Record::of(room, 0, SequenceNumber::default(), ModuleHash::NONE, change);
            let fence = self.place.as_ref().map(|place| place.fence());
            let record = Record { fence, ..record };
            let pending = Arc::new(PendingCell::new(RoomFacts::default(), 0));
            self.committer.push(Commit { pending, record }, |_| {})?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
