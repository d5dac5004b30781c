//! A ball that everyone sees bounce, and anyone may kick.
//!
//! Owns the ball and who kicked it how often. Invariant: the ball moves with the ticks, while somebody watches, and is
//! lost with the room's memory; kicks are stored, and each is forgotten a day after it. It does not know screens:
//! positions are fractions of the page.

use room_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The pause between two moves of the ball: 20 a second.
const MOVE: Duration = Duration::from_millis(50);
/// How long a kick counts.
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// The tag of the timer that forgets a kick.
const FORGET: &str = "forget";

/// The room. The ball is in memory only.
pub struct Field {
    ball: Ball,
}

/// The ball: where it is, from 0 to 1, and how far it goes with each move.
#[derive(Clone, Copy, Debug, Serialize)]
struct Ball {
    x: f64,
    y: f64,
    dx: f64,
    dy: f64,
}

/// What a client sends: a kick, in this direction.
#[derive(Debug, Deserialize)]
struct Kick {
    dx: f64,
    dy: f64,
}

/// What the room sends.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ToClient {
    Ball(Ball),
    Kicks { today: u64 },
}

impl Default for Field {
    fn default() -> Self {
        Self { ball: Ball { x: 0.5, y: 0.5, dx: 0.01, dy: 0.007 } }
    }
}

impl Room for Field {
    fn on_connect(&mut self, ctx: &Context, conn: &Connection, _: &Request) -> Result {
        // Ticks that run already keep their rhythm.
        ctx.tick(MOVE)?;
        let today = ctx.storage().get("kicks")?.unwrap_or_default();
        conn.send(&ToClient::Kicks { today })
    }

    fn on_tick(&mut self, ctx: &Context) -> Result {
        self.ball = self.ball.moved();
        ctx.broadcast(&ToClient::Ball(self.ball));
        Ok(())
    }

    fn on_message(&mut self, ctx: &Context, _: &Connection, message: Message) -> Result {
        let Kick { dx, dy } = message.json()?;
        count(ctx, 1)?;
        ctx.schedule(ctx.now() + DAY, FORGET, &1);
        self.ball = Ball { dx: dx.clamp(-0.05, 0.05), dy: dy.clamp(-0.05, 0.05), ..self.ball };
        Ok(())
    }

    fn on_timer(&mut self, ctx: &Context, timer: Timer) -> Result {
        ensure!(timer.tag() == FORGET, "no timer has the tag {:?}", timer.tag());
        count(ctx, -timer.data::<i64>()?)
    }

    fn on_close(&mut self, ctx: &Context, _: &Connection, _: Close) -> Result {
        if ctx.connection_ids().is_empty() {
            ctx.stop_ticks();
        }
        Ok(())
    }
}

/// Changes the number of kicks, and says it to all.
fn count(ctx: &Context, by: i64) -> Result {
    let kicks: u64 = ctx.storage().get("kicks")?.unwrap_or_default();
    let today = kicks.saturating_add_signed(by);
    ctx.storage().put("kicks", &today)?;
    ctx.broadcast(&ToClient::Kicks { today });
    Ok(())
}

impl Ball {
    /// The ball one move later: it bounces off the edges.
    fn moved(self) -> Self {
        let (x, dx) = bounced(self.x + self.dx, self.dx);
        let (y, dy) = bounced(self.y + self.dy, self.dy);
        Self { x, y, dx, dy }
    }
}

fn bounced(at: f64, by: f64) -> (f64, f64) {
    if at < 0.0 {
        (-at, by.abs())
    } else if at > 1.0 {
        (2.0 - at, -by.abs())
    } else {
        (at, by)
    }
}

room_sdk::export!(Field);
