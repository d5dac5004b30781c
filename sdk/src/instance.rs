//! One room in memory.
//!
//! Owns the author's struct and its [`Context`], from `on_start` until the instance is dropped.
//! Invariant: every callback goes through [`Live::turn`], so that no failure is lost. It does not know
//! which events there are, nor what a failed turn undoes: that is the host's.

use crate::connection::forget_states;
use crate::context::Context;
use crate::error::StatusError;
use crate::host::{Current, Host as _};
use crate::http::{Request, Response};
use crate::stream::opened;
use crate::{Result, Room};

/// A room that has started.
#[derive(Debug)]
pub(crate) struct Live<R> {
    room: R,
    ctx: Context,
}

impl<R: Room> Live<R> {
    /// Makes the room's struct and starts it.
    pub(crate) fn start() -> Result<Self, String> {
        let mut live = Self { room: R::default(), ctx: Context::default() };
        live.turn(|room, ctx| room.on_start(ctx))?;
        Ok(live)
    }

    /// Runs one callback to its end; the error is the text that fails the turn.
    pub(crate) fn turn<T>(
        &mut self,
        callback: impl FnOnce(&mut R, &Context) -> Result<T>,
    ) -> Result<T, String> {
        forget_states();
        let result = callback(&mut self.room, &self.ctx);
        self.ctx.settle(result)
    }

    /// Runs `on_request`, and names the response that goes with a [`StatusError`]. A response that stays open is begun or
    /// left to a later turn here.
    pub(crate) fn request(&mut self, request: Request) -> Result<Response, String> {
        self.turn(|room, ctx| {
            ctx.opened.set(false);
            let response = room.on_request(ctx, request);
            response.and_then(|response| opened(ctx, response)).inspect_err(|error| {
                if let Some(error) = error.downcast_ref::<StatusError>() {
                    Current::refuse(error.response());
                }
            })
        })
    }
}
