//! One room as its operator sees and changes it. Owns which question goes to the store and which to the rooms.
//!
//! Invariant: inspecting a room that is at rest does not wake it, and inspecting an unknown room does not create it. It
//! does not know the operator's protocol.

use crate::{Operator, OperatorError};
use bytes::Bytes;
use room_core::event::CloseFrame;
use room_core::id::RoomId;
use room_core::limits::{ms, size};
use room_core::span::{Key, ListOptions};
use room_core::turn::Refusal;
use room_rooms::room::{ClientWindow, Edit, RoomError, RoomStage};
use room_rooms::rooms::{LiveRoomReport, NodeSnapshot};
use room_rooms::webhooks::WebhookCounts;
use room_store::{KeyPage, RoomFacts};

/// One inspected room.
#[derive(Debug)]
pub struct RoomInspection {
    /// The stored facts, or `None` if the store failed to answer or has nothing for the room.
    pub facts: Option<RoomFacts>,
    /// The room's state in memory, if it is in memory.
    pub look: Option<LiveRoomReport>,
    /// When the room expires if it stays unused, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// Its webhooks that wait for their receiver, and its dead letters.
    pub webhooks: WebhookCounts,
}

impl RoomInspection {
    pub fn stage(&self) -> RoomStage {
        self.look.as_ref().map_or(RoomStage::Asleep, |look| look.glance.stage)
    }
}

impl Operator {
    /// Returns the state of a room.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`], or the store's error.
    ///
    /// # Cancel safety
    /// A dropped call changes nothing.
    pub async fn inspect(
        &self,
        room: &RoomId,
        window: ClientWindow,
    ) -> Result<RoomInspection, OperatorError> {
        let look = self.0.rooms.inspect(room, window).await;
        let own = look.as_ref().and_then(|look| look.report.as_ref()).map(|words| words.facts);
        let facts = match own {
            Some(facts) => Some(facts),
            None => self.must_know(room).await?,
        };
        let expires_ms = facts.and_then(|facts| self.0.rooms.expires_ms(room, &facts));
        let webhooks = self.0.webhooks.counts_of(room);
        Ok(RoomInspection { facts, look, expires_ms, webhooks })
    }

    /// Returns the totals of the node.
    pub fn overview(&self) -> NodeSnapshot {
        self.0.rooms.glance()
    }

    /// Returns a page of a room's keys.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`], or the store's error.
    ///
    /// # Cancel safety
    /// A dropped call changes nothing.
    pub async fn entries(
        &self,
        room: &RoomId,
        options: ListOptions,
        limit: usize,
    ) -> Result<KeyPage, OperatorError> {
        self.must_know(room).await?;
        let bytes_max = size(self.0.limits.admin_page_bytes_max);
        Ok(self.0.store.entries(room, options, limit, bytes_max).await?)
    }

    /// Returns the value of a key of a room.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`], [`OperatorError::NoKey`], or the store's error.
    ///
    /// # Cancel safety
    /// A dropped call changes nothing.
    pub async fn value(&self, room: &RoomId, key: &Key) -> Result<Bytes, OperatorError> {
        self.must_know(room).await?;
        let value = self.0.store.value(room, key).await?;
        value.ok_or_else(|| OperatorError::NoKey(room.clone()))
    }

    /// Sets or removes a key, and returns whether the key existed before.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`]; [`OperatorError::Invalid`], which names the limit; or the room's error.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the room makes the change all the same.
    pub async fn edit(&self, room: &RoomId, edit: Edit) -> Result<bool, OperatorError> {
        self.must_know(room).await?;
        self.0
            .rooms
            .edit(room, edit)
            .await?
            .map_err(|refusal| OperatorError::Invalid(said(&refusal)))
    }

    /// Closes one connection of a room.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`], [`OperatorError::NoConnection`], or the room's error.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the room closes the connection all the same.
    pub async fn kick(
        &self,
        room: &RoomId,
        id: String,
        frame: CloseFrame,
    ) -> Result<(), OperatorError> {
        self.must_know(room).await?;
        match self.0.rooms.kick(room, id.clone(), frame).await? {
            true => Ok(()),
            false => Err(OperatorError::NoConnection(room.clone(), id)),
        }
    }

    /// Closes all connections of a room, lets the room leave memory, and returns the number of connections closed.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`], or the room's error.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the room is closed all the same.
    pub async fn close(&self, room: &RoomId, frame: CloseFrame) -> Result<u64, OperatorError> {
        self.must_know(room).await?;
        Ok(self.0.rooms.close(room, frame).await?)
    }

    /// Deletes everything stored for a room and closes its connections. Returns the number of connections closed, and
    /// the facts that were stored.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`], or the room's error.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the room is deleted all the same.
    pub async fn delete(
        &self,
        room: &RoomId,
        frame: CloseFrame,
    ) -> Result<(u64, Option<RoomFacts>), OperatorError> {
        let facts = self.must_know(room).await?;
        Ok((self.0.rooms.delete(room, frame).await?, facts))
    }

    /// Returns the stored facts of a room, or an error if the room does not exist. A room in memory exists even if the
    /// store has nothing, fails or answers late: the room may be busy because the disk is.
    async fn must_know(&self, room: &RoomId) -> Result<Option<RoomFacts>, OperatorError> {
        let patience = ms(self.0.limits.inspect_ms_max);
        let facts = tokio::time::timeout(patience, self.0.store.facts(room)).await;
        match facts {
            Ok(Ok(Some(facts))) => Ok(Some(facts)),
            _ if self.0.rooms.figures_of(room).is_some() => Ok(None),
            Ok(Ok(None)) => Err(OperatorError::NoRoom(room.clone())),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(RoomError::TimedOut.into()),
        }
    }
}

/// Returns why a key cannot be changed, as a sentence.
fn said(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Key(max) => format!("a key has 1 to {max} bytes (key_bytes_max)"),
        Refusal::TooLarge(max) => format!("a value has at most {max} bytes (value_bytes_max)"),
        Refusal::UsedUp(limit) => format!("the room would go beyond {limit}"),
        other => format!("the change was refused: {other:?}"),
    }
}
