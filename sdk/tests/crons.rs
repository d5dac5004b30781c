//! Crons, as their author tests them.

use std::time::Duration;

use room_sdk::prelude::*;
use room_sdk::test::TestRoom;

/// Counts its crons, each planned time once, and fails on request.
#[derive(Default)]
struct Counter;

impl Room for Counter {
    fn on_cron(&mut self, ctx: &Context, cron: Cron) -> Result {
        let last: Option<Timestamp> = ctx.storage().get("last")?;
        if last == Some(cron.at()) {
            return Ok(());
        }
        let count: u64 = ctx.storage().get(cron.name())?.unwrap_or_default();
        ctx.storage().put(cron.name(), &(count + 1))?;
        ctx.storage().put("last", &cron.at())?;
        ctx.broadcast(Message::text(cron.name()));
        ensure!(cron.name() != "fails", "asked to fail");
        ctx.alarm().set_in(Duration::from_secs(1));
        Ok(())
    }
}

/// A room without `on_cron`.
#[derive(Default)]
struct Deaf;

impl Room for Deaf {}

#[test]
fn a_cron_is_a_turn_and_its_time_tells_repeats() {
    let room = TestRoom::<Counter>::new("lobby");
    let alice = room.connect("alice");
    room.cron("prune", room.now());
    room.cron("prune", room.now());
    assert_eq!(alice.received(), [Message::text("prune")]);
    room.cron("prune", room.now() + Duration::from_secs(60));
    assert_eq!(room.storage().get::<u64>("prune"), Some(2));
    assert!(room.alarm().is_some() && room.take_errors().is_empty());
}

#[test]
fn a_cron_that_fails_leaves_nothing_but_its_error() {
    let room = TestRoom::<Counter>::new("lobby");
    let alice = room.connect("alice");
    room.cron("fails", room.now());
    assert!(alice.received().is_empty() && room.storage().is_empty());
    assert!(room.take_errors()[0].contains("asked to fail"));
    let room = TestRoom::<Deaf>::new("lobby");
    room.cron("prune", room.now());
    assert_eq!(room.take_errors(), ["the room has no on_cron for the cron \"prune\""]);
}
