//! What a callback is to do when it runs. Owns how a test's plans are kept.
//!
//! Invariant: a plan that was begun is spent, even if the turn that carries it out fails. It does not
//! know what the steps do.

use crate::Puppet;
use crate::step::Step;
use room_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A script for a callback.
#[derive(Serialize, Deserialize)]
pub(crate) struct Plan {
    /// How often it is carried out.
    pub(crate) times: u32,
    /// An array of `Step`s.
    pub(crate) steps: Value,
}

impl Plan {
    /// Puts it in place of the callback's plan before.
    pub(crate) fn keep(&self, ctx: &Context, callback: &str) -> Result {
        ctx.storage().put(key(callback), self)
    }

    /// Carries out the callback's plan, if it has one. What it says goes to all.
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
        // The turn fails, and with it what it wrote; so this is kept before.
        ctx.flush()?;
        let say = |text: String| ctx.broadcast(Message::text(text)).send();
        let steps: Vec<Step> = serde_json::from_value(steps)?;
        steps.into_iter().try_for_each(|step| step.run(room, ctx, conn, &say))
    }
}

/// Hidden from reports, as everything that begins so.
fn key(callback: &str) -> String {
    format!("~plan {callback}")
}
