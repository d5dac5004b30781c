//! The plan for a callback. Owns how a test's plans are kept.
//!
//! Invariant: a started plan is spent, even if the turn that carries it out fails. It does not know what the steps
//! do.

use crate::Puppet;
use crate::step::Step;
use room_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A script for a callback.
#[derive(Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The number of times it is carried out.
    pub(crate) times: u32,
    /// An array of `Step`s.
    pub(crate) steps: Value,
}

impl Plan {
    /// Replaces the callback's plan.
    pub(crate) fn keep(&self, ctx: &Context, callback: &str) -> Result {
        ctx.storage().put(key(callback), self)
    }

    /// Carries out the callback's plan, if it has one. Its outputs go to all.
    pub(crate) fn run(
        room: &mut Puppet,
        ctx: &Context,
        callback: &str,
        conn: Option<&Connection>,
    ) -> Result {
        let Some(Self { times, steps }) = ctx.storage().get(key(callback))? else { return Ok(()) };
        if times > 1 {
            Self { times: times - 1, steps: steps.clone() }.keep(ctx, callback)?;
        } else {
            ctx.storage().delete(key(callback))?;
        }
        // The turn fails, and its writes are lost. So this is kept before.
        ctx.flush()?;
        let say = |text: String| ctx.broadcast(Message::text(text)).send();
        let steps: Vec<Step> = serde_json::from_value(steps)?;
        steps.into_iter().try_for_each(|step| step.run(room, ctx, conn, &say))
    }
}

/// Returns a key that reports hide, as they hide all keys with this prefix.
fn key(callback: &str) -> String {
    format!("~plan {callback}")
}
