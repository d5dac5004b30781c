//! A part of a turn that is undone alone.
//!
//! Owns [`Context::transaction`]. Invariant: after a part that failed, the turn is what it was before,
//! and every failure inside is returned. It does not know what can be undone: the host does.

use crate::Result;
use crate::connection::forget_states;
use crate::context::Context;
use crate::host::{Current, Host as _};

impl Context {
    /// Runs a part of the turn that takes effect as a whole or not at all: its `Err` undoes what was done
    /// inside, and only that. Writes, deletes, the alarm, timers, ticks, messages, broadcasts, closes and
    /// states of connections are undone; fields of the room and variables are not. What was undone does not
    /// count against the limits of the turn. Log lines stay.
    ///
    /// The turn goes on after it, unless the error is passed on with `?`. Transactions may be nested. A
    /// panic inside fails the whole turn.
    ///
    /// ```
    /// # use room_sdk::prelude::*;
    /// # use room_sdk::test::TestRoom;
    /// # #[derive(Default)]
    /// # struct Bank;
    /// # impl Room for Bank {
    /// #     fn on_request(&mut self, ctx: &Context, _: Request) -> Result<Response> {
    /// let moved = ctx.transaction(|ctx| {
    ///     let storage = ctx.storage();
    ///     storage.put("to", &50)?;
    ///     let from = storage.get::<i64>("from")?.unwrap_or_default() - 50;
    ///     ensure!(from >= 0, "not enough");
    ///     storage.put("from", &from)
    /// });
    /// assert!(moved.is_err());
    /// assert_eq!(ctx.storage().get::<i64>("to")?, None);
    /// #         Ok(Response::status(204))
    /// #     }
    /// # }
    /// # let room = TestRoom::<Bank>::new("lobby");
    /// # assert_eq!(room.request(Request::get("/")).status_code(), 204, "{:?}", room.take_errors());
    /// ```
    ///
    /// # Errors
    /// What `part` returned, or the failure of a broadcast or a schedule that it dropped; all of it is
    /// undone then. More transactions are open than `turn_savepoints_max` allows; `part` did not run then.
    pub fn transaction<T>(&self, part: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let savepoint = Current::savepoint()?;
        let outer_failure = self.failure.take();
        self.transactions.set(self.transactions.get() + 1);
        let result = part(self);
        self.transactions.set(self.transactions.get() - 1);
        let failure = self.failure.replace(outer_failure);
        match (result, failure) {
            (Ok(value), None) => {
                Current::release(savepoint);
                Ok(value)
            }
            (Err(error), _) | (Ok(_), Some(error)) => {
                Current::roll_back(savepoint);
                forget_states();
                Err(error)
            }
        }
    }
}
