//! What a room can reach while it handles an event.
//!
//! Owns [`Context`], [`Broadcast`] and [`Alarm`]. Invariant: whatever is asked for here takes effect
//! when the turn commits, and a failure that no caller could see fails the turn. It does not know
//! which event is being handled.

use std::cell::{Cell, OnceCell, RefCell};
use std::time::Duration;

use crate::Result;
use crate::connection::Connection;
use crate::delivery::Delivery;
use crate::error::Error;
use crate::host::{Current, Host as _};
use crate::message::{IntoMessage, Message};
use crate::storage::Storage;
use crate::time::Timestamp;

/// The room as its callbacks see it: its clients, storage, alarm, name and clock.
#[derive(Debug, Default)]
pub struct Context {
    party: OnceCell<String>,
    name: OnceCell<String>,
    /// The first failure of a broadcast or a schedule that took effect by being dropped.
    pub(crate) failure: RefCell<Option<Error>>,
    /// How many transactions are open, one in the other.
    pub(crate) transactions: Cell<u32>,
    /// Whether the running `on_request` has opened a stream.
    pub(crate) opened: Cell<bool>,
}

impl Context {
    /// The party's name, in kebab-case: `main`, `chat-room`.
    pub fn party(&self) -> &str {
        self.party.get_or_init(Current::party)
    }

    /// The room's name, as it stands in the URL after decoding.
    pub fn name(&self) -> &str {
        self.name.get_or_init(Current::name)
    }

    /// The open connections, in the order they joined. One that this turn has closed is not open any
    /// more, nor is the one that [`Room::on_close`](crate::Room::on_close) is about.
    pub fn connections(&self) -> Vec<Connection> {
        Current::connections(None).into_iter().map(Connection::from_data).collect()
    }

    /// The open connections that carry a tag, in the order they joined.
    pub fn connections_with(&self, tag: &str) -> Vec<Connection> {
        Current::connections(Some(tag)).into_iter().map(Connection::from_data).collect()
    }

    /// The ids of the open connections, in the order they joined. Cheaper than
    /// [`connections`](Self::connections), as neither URL nor state is copied.
    pub fn connection_ids(&self) -> Vec<String> {
        Current::connection_ids(None)
    }

    /// The connection with this id, or `None`.
    pub fn connection(&self, id: &str) -> Option<Connection> {
        Current::connection(id).map(Connection::from_data)
    }

    /// Sends a message to every open connection: `&value` as JSON text, a [`Message`] as it is.
    ///
    /// The message is sent when the returned [`Broadcast`] is dropped, which is at the end of the
    /// statement:
    ///
    /// ```
    /// # use room_sdk::prelude::*;
    /// # fn example(ctx: &Context, conn: &Connection) {
    /// ctx.broadcast(&"hello");
    /// ctx.broadcast(&"hello, others").except(conn.id());
    /// ctx.broadcast(Message::text("red team, hello")).tagged("red").except(conn);
    /// # }
    /// ```
    pub fn broadcast(&self, message: impl IntoMessage) -> Broadcast<'_> {
        Broadcast {
            ctx: self,
            message: Some(message.into_message()),
            tag: None,
            without: Vec::new(),
            delivery: Delivery::Reliable,
        }
    }

    /// The room's durable storage.
    pub fn storage(&self) -> Storage {
        Storage::new()
    }

    /// The room's one alarm.
    pub fn alarm(&self) -> Alarm {
        Alarm(())
    }

    /// What time it is. In tests it is what the test says.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(Current::now_ms())
    }

    /// A variable or secret of the project: `[vars]` in `room.toml`, `room env set`.
    pub fn var(&self, name: &str) -> Option<String> {
        Current::var(name)
    }

    /// Ends the turn so far, and starts another within the same callback: what was done is committed
    /// and sent, and stays done even if the rest of the callback fails. For progress on long work.
    ///
    /// # Errors
    /// A broadcast or a schedule of the turn so far failed, or a [transaction](Self::transaction) is open.
    /// Nothing is committed then.
    pub fn flush(&self) -> Result {
        if self.transactions.get() > 0 {
            return Err(anyhow::anyhow!(
                "a transaction cannot be flushed, as it may still be undone: flush before it or after it"
            ));
        }
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => {
                Current::flush();
                Ok(())
            }
        }
    }

    /// Fails the turn at its end, unless something failed it already.
    pub(crate) fn fail(&self, failure: Error) {
        self.failure.borrow_mut().get_or_insert(failure);
    }

    /// Ends a callback: its own error, or else that of a broadcast, becomes the turn's.
    pub(crate) fn settle<T>(&self, result: Result<T>) -> Result<T, String> {
        let failure = self.failure.take();
        match (result, failure) {
            (Ok(value), None) => Ok(value),
            (Err(error), _) | (Ok(_), Some(error)) => Err(format!("{error:#}")),
        }
    }
}

/// A message on its way to many: narrowed by its methods, sent when it is dropped.
///
/// A failure to send a dropped one (the value is not JSON, the message is too large, the turn sent
/// too much) fails the turn, as if the callback had returned it. [`send`](Self::send) returns it
/// instead.
#[derive(Debug)]
pub struct Broadcast<'a> {
    ctx: &'a Context,
    message: Option<Result<Message>>,
    tag: Option<String>,
    without: Vec<String>,
    delivery: Delivery,
}

impl Broadcast<'_> {
    /// Leaves out the connection with this id; may be repeated. Takes an id or a [`Connection`].
    pub fn except(mut self, id: impl AsRef<str>) -> Self {
        self.without.push(id.as_ref().to_owned());
        self
    }

    /// Sends only to connections that carry this tag. A second call replaces the first.
    pub fn tagged(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Leaves out clients that are behind or away: see [`Delivery::Volatile`].
    pub fn volatile(mut self) -> Self {
        self.delivery = Delivery::Volatile;
        self
    }

    /// Lets only the newest message with this key wait for each client: see [`Delivery::Latest`].
    pub fn latest(mut self, key: impl Into<String>) -> Self {
        self.delivery = Delivery::Latest(key.into());
        self
    }

    /// Sends now and returns the failure, if there is one, to the caller instead of to the turn.
    ///
    /// # Errors
    /// [`MessageTooLarge`](crate::ConnectionError::MessageTooLarge),
    /// [`TooManySends`](crate::ConnectionError::TooManySends),
    /// [`InvalidKey`](crate::ConnectionError::InvalidKey); or the value cannot be written as JSON. Nothing is sent then.
    pub fn send(mut self) -> Result {
        self.send_once()
    }

    fn send_once(&mut self) -> Result {
        let Some(message) = self.message.take() else {
            return Ok(());
        };
        let (message, tag) = (message?, self.tag.as_deref());
        match &self.delivery {
            Delivery::Reliable => Current::broadcast(message, tag, &self.without)?,
            other => Current::broadcast_as(message, tag, &self.without, other)?,
        }
        Ok(())
    }
}

impl Drop for Broadcast<'_> {
    fn drop(&mut self) {
        if let Err(failure) = self.send_once() {
            self.ctx.fail(failure.context("cannot broadcast"));
        }
    }
}

/// The room's one alarm: a durable time at which [`Room::on_alarm`](crate::Room::on_alarm) is
/// called, at least once.
#[derive(Clone, Copy, Debug)]
pub struct Alarm(());

impl Alarm {
    /// When the alarm is due, or `None`. While `on_alarm` runs there is none.
    pub fn get(&self) -> Option<Timestamp> {
        Current::alarm().map(Timestamp::from_millis)
    }

    /// Sets the alarm in place of the one before, when the turn commits. A time in the past means
    /// now. Takes a [`Timestamp`] or a [`SystemTime`](std::time::SystemTime).
    pub fn set(&self, at: impl Into<Timestamp>) {
        Current::set_alarm(at.into().as_millis());
    }

    /// Sets the alarm so long from now.
    pub fn set_in(&self, delay: Duration) {
        self.set(Timestamp::from_millis(Current::now_ms()) + delay);
    }

    /// Removes the alarm when the turn commits.
    pub fn delete(&self) {
        Current::delete_alarm();
    }

    /// How many tries of the alarm that `on_alarm` handles have failed before: 0 at the first one, and
    /// outside `on_alarm`. The count survives a crash of the server; a try that a crash interrupted is not
    /// in it.
    pub fn tries(&self) -> u32 {
        Current::alarm_tries()
    }
}
