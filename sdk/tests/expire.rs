//! The end of a room that nobody uses, as its author tests it.

use std::time::Duration;

use room_sdk::prelude::*;
use room_sdk::test::TestRoom;

/// Counts its visitors, and says how many there were when it ends.
#[derive(Default)]
struct Guestbook {
    ends: u32,
}

impl Room for Guestbook {
    fn on_connect(&mut self, ctx: &Context, _: &Connection, _: &Request) -> Result {
        let visitors: u32 = ctx.storage().get("visitors")?.unwrap_or_default();
        ctx.alarm().set_in(Duration::from_secs(3_600));
        ctx.storage().put("visitors", &(visitors + 1))
    }

    fn on_expire(&mut self, ctx: &Context) -> Result {
        self.ends += 1;
        let fails: u32 = ctx.var("FAILS").map_or(Ok(0), |fails| fails.parse())?;
        let visitors: u32 = ctx.storage().get("visitors")?.unwrap_or_default();
        ctx.storage().put("ends", &self.ends)?;
        ensure!(self.ends > fails, "failed with {visitors} visitors");
        log::info!("ends after {visitors} visitors");
        Ok(())
    }
}

fn visited(fails: &str) -> TestRoom<Guestbook> {
    let room = TestRoom::<Guestbook>::builder("lobby").var("FAILS", fails).build();
    room.connect("ada").close(1000, "");
    room.connect("bob").close(1000, "");
    room
}

fn logged(room: &TestRoom<Guestbook>, text: &str) -> bool {
    room.logs().iter().any(|line| line.message.contains(text))
}

#[test]
fn an_expiring_room_receives_on_expire_and_restarts_empty() {
    let room = visited("0");
    room.expire();
    assert!(logged(&room, "ends after 2 visitors"));
    assert!(room.storage().is_empty() && room.alarm().is_none());
    room.connect("eve").close(1000, "");
    assert_eq!(room.storage().get::<u32>("visitors"), Some(1));
    room.expire();
    assert!(logged(&room, "ends after 1 visitors"));
}

#[test]
fn a_failed_on_expire_is_retried_with_the_data_unchanged() {
    let room = visited("2");
    let begun = room.now();
    room.expire();
    assert_eq!(room.take_errors(), ["failed with 2 visitors", "failed with 2 visitors"]);
    assert_eq!(room.now().as_millis() - begun.as_millis(), 6_000);
    assert!(logged(&room, "ends after 2 visitors") && room.storage().is_empty());
}

#[test]
fn a_room_whose_on_expire_always_fails_still_expires() {
    let room = visited("1000");
    room.expire();
    let errors = room.take_errors();
    assert_eq!(errors.len(), 8);
    assert_eq!(errors[7], "on_expire failed too often; the room is deleted all the same");
    assert!(room.storage().is_empty());
}

#[test]
#[should_panic(expected = "somebody is connected")]
fn a_room_that_is_in_use_does_not_expire() {
    let room = visited("0");
    let _ada = room.connect("ada");
    room.expire();
}

/// Wants something done after its end.
#[derive(Default)]
struct Clingy;

impl Room for Clingy {
    fn on_connect(&mut self, ctx: &Context, _: &Connection, _: &Request) -> Result {
        ctx.storage().put("visited", &true)
    }

    fn on_expire(&mut self, ctx: &Context) -> Result {
        match ctx.var("HOW").as_deref() {
            Some("fetch") => drop(ctx.fetch(Request::get("https://example.com/")).tag("t")),
            Some("call") => drop(ctx.room("main", "other").call(&1).tag("t")),
            _ => drop(ctx.schedule(ctx.now(), "t", &())),
        }
        Ok(())
    }
}

#[test]
fn an_expiring_room_that_wants_something_done_later_gets_an_error_and_expires() {
    for (how, what) in [
        ("fetch", "ask another server or room"),
        ("call", "ask another server or room"),
        ("timer", "schedule a timer"),
    ] {
        let room = TestRoom::<Clingy>::builder("lobby").var("HOW", how).build();
        room.connect("ada").close(1000, "");
        room.expire();
        let errors = room.take_errors();
        let wanted = format!("on_expire cannot {what}: the room is deleted with this turn");
        assert!(errors[0].contains(&wanted), "{how}: {errors:?}");
        assert!(errors.last().is_some_and(|last| last.contains("deleted all the same")));
        assert!(room.storage().is_empty() && room.timers().is_empty());
    }
}
