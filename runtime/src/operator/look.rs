//! One room as its operator sees and changes it. Owns what is asked of whom.
//!
//! Invariant: a room that is at rest is not woken by being looked at, and one that nobody knows is not made.
//! It does not know how it is asked, or how it answers.

use super::{Operator, OperatorError};
use crate::event::CloseFrame;
use crate::id::RoomId;
use crate::limits::{ms, size};
use crate::room::{Edit, RoomError, Stage, Window};
use crate::rooms::{Look, NodeGlance};
use crate::span::{Key, ListOptions};
use crate::store::{KeyPage, RoomFacts};
use crate::turn::Refusal;
use bytes::Bytes;

/// A room.
#[derive(Debug)]
pub(crate) struct Looked {
    /// What is stored for it; none if the store cannot tell, or has nothing.
    pub(crate) facts: Option<RoomFacts>,
    /// What it is like in memory, if it is there.
    pub(crate) look: Option<Look>,
    /// When it ends if nobody uses it any more, in milliseconds since 1970.
    pub(crate) expires_ms: Option<u64>,
}

impl Looked {
    pub(crate) fn stage(&self) -> Stage {
        self.look.as_ref().map_or(Stage::Asleep, |look| look.glance.stage)
    }
}

impl Operator {
    /// How a room is.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`], and what the store says.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub(crate) async fn inspect(
        &self,
        room: &RoomId,
        window: Window,
    ) -> Result<Looked, OperatorError> {
        let look = self.0.rooms.inspect(room, window).await;
        let own = look.as_ref().and_then(|look| look.words.as_ref()).map(|words| words.facts);
        let facts = match own {
            Some(facts) => Some(facts),
            None => self.must_know(room).await?,
        };
        let expires_ms = facts.and_then(|facts| self.0.rooms.expires_ms(room, &facts));
        Ok(Looked { facts, look, expires_ms })
    }

    /// What the node comes to.
    pub(crate) fn overview(&self) -> NodeGlance {
        self.0.rooms.glance()
    }

    /// A page of a room's keys.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`], and what the store says.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub(crate) async fn entries(
        &self,
        room: &RoomId,
        options: ListOptions,
        limit: usize,
    ) -> Result<KeyPage, OperatorError> {
        self.must_know(room).await?;
        let bytes_max = size(self.0.limits.admin_page_bytes_max);
        Ok(self.0.store.entries(room, options, limit, bytes_max).await?)
    }

    /// The value of a room's key.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`], [`OperatorError::NoKey`], and what the store says.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub(crate) async fn value(&self, room: &RoomId, key: &Key) -> Result<Bytes, OperatorError> {
        self.must_know(room).await?;
        let value = self.0.store.value(room, key).await?;
        value.ok_or_else(|| OperatorError::NoKey(room.clone()))
    }

    /// Sets or removes a key: whether it was there before.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`]; [`OperatorError::Invalid`] names the limit; and what the room says.
    ///
    /// # Cancel safety
    /// Dropped before it returns, it is done all the same.
    pub(crate) async fn edit(&self, room: &RoomId, edit: Edit) -> Result<bool, OperatorError> {
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
    /// [`OperatorError::NoRoom`], [`OperatorError::NoConnection`], and what the room says.
    ///
    /// # Cancel safety
    /// Dropped before it returns, it is done all the same.
    pub(crate) async fn kick(
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

    /// Closes all connections of a room and lets it leave memory: how many there were.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`], and what the room says.
    ///
    /// # Cancel safety
    /// Dropped before it returns, it is done all the same.
    pub(crate) async fn close(
        &self,
        room: &RoomId,
        frame: CloseFrame,
    ) -> Result<u64, OperatorError> {
        self.must_know(room).await?;
        Ok(self.0.rooms.close(room, frame).await?)
    }

    /// Deletes everything that is stored for a room, and closes its connections: how many there were, and
    /// what was stored.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`], and what the room says.
    ///
    /// # Cancel safety
    /// Dropped before it returns, it is done all the same.
    pub(crate) async fn delete(
        &self,
        room: &RoomId,
        frame: CloseFrame,
    ) -> Result<(u64, Option<RoomFacts>), OperatorError> {
        let facts = self.must_know(room).await?;
        Ok((self.0.rooms.delete(room, frame).await?, facts))
    }

    /// What is stored for a room, if it is one. A room in memory is one whatever the store says of it, in
    /// time or not: it may be busy because the disk is.
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

/// Why a key cannot be changed so.
fn said(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Key(max) => format!("a key has 1 to {max} bytes (key_bytes_max)"),
        Refusal::TooLarge(max) => format!("a value has at most {max} bytes (value_bytes_max)"),
        Refusal::UsedUp(limit) => format!("the room would go beyond {limit}"),
        other => format!("the change was refused: {other:?}"),
    }
}
