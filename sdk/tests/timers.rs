//! Timers and ticks, as their author tests them.

use std::time::Duration;

use room_sdk::TimerError;
use room_sdk::prelude::*;
use room_sdk::test::{TestClient, TestRoom};
use serde::Deserialize;

/// Reminds its clients, counts ticks, and fails as often as it is asked to.
#[derive(Default)]
struct Reminder {
    ticks: u32,
    tries: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    /// Schedules a timer so many seconds from now.
    In(u64, String),
    /// Schedules a timer that repeats.
    Every(u64, String),
    /// Cancels the timers with this tag.
    Cancel(String),
    Clear,
    Fail(String),
    Flood(u32),
    Bytes(usize),
    Tag(usize),
    Hasty,
    Tick(u64),
    StopTicks,
}

impl Room for Reminder {
    fn on_message(&mut self, ctx: &Context, _: &Connection, message: Message) -> Result {
        let seconds = Duration::from_secs;
        match message.json()? {
            Ask::In(delay, tag) => {
                ctx.schedule(ctx.now() + seconds(delay), &tag, &delay);
                ensure!(ctx.timers().iter().any(|timer| timer.tag() == tag), "it is seen at once");
            }
            Ask::Every(every, tag) => {
                ctx.schedule(ctx.now() + seconds(every), &tag, &every).every(seconds(every));
            }
            Ask::Cancel(tag) => {
                for timer in ctx.timers().iter().filter(|timer| timer.tag() == tag) {
                    ensure!(ctx.cancel(timer.id()) && !ctx.cancel(timer.id()), "it is gone");
                }
                ensure!(!ctx.cancel("1-2-3") && !ctx.cancel("nonsense"), "no timer has this id");
            }
            Ask::Clear => ctx.storage().delete_all()?,
            Ask::Fail(tag) => {
                ctx.schedule(ctx.now(), &tag, &());
                bail!("asked to fail");
            }
            Ask::Flood(count) => {
                for number in 0..count {
                    ctx.schedule(ctx.now() + seconds(60), "flood", &number);
                }
            }
            Ask::Bytes(bytes) => ctx.schedule(ctx.now(), "", &"x".repeat(bytes)).id().map(drop)?,
            Ask::Tag(bytes) => ctx.schedule(ctx.now(), &"x".repeat(bytes), &()).id().map(drop)?,
            Ask::Hasty => ctx.schedule(ctx.now(), "", &()).every(Duration::ZERO).id().map(drop)?,
            Ask::Tick(ms) => ctx.tick(Duration::from_millis(ms))?,
            Ask::StopTicks => ctx.stop_ticks(),
        }
        Ok(())
    }

    fn on_timer(&mut self, ctx: &Context, timer: Timer) -> Result {
        self.tries += 1;
        let own = ctx.timers().into_iter().find(|other| other.id() == timer.id());
        ensure!(own.is_some() == timer.every().is_some(), "it is gone, or at its next time");
        match timer.tag() {
            "fails" => bail!("try {}", timer.tries()),
            "flushes" => {
                ctx.flush()?;
                ensure!(timer.tries() > 0, "after the flush");
            }
            "cancels" => {
                ensure!(ctx.cancel(timer.id()), "a repeating timer can be cancelled");
                ctx.flush()?;
                bail!("after it was cancelled");
            }
            _ => {}
        }
        let seconds: u64 = timer.data()?;
        ctx.broadcast(&format!("{} of {seconds}", timer.tag()));
        Ok(())
    }

    fn on_tick(&mut self, ctx: &Context) -> Result {
        self.ticks += 1;
        ctx.broadcast(&self.ticks);
        ensure!(self.ticks != 2, "the second fails");
        Ok(())
    }
}

fn room() -> (TestRoom<Reminder>, TestClient<Reminder>) {
    let room = TestRoom::<Reminder>::new("lobby");
    let client = room.connect("ada");
    (room, client)
}

fn ask(client: &TestClient<Reminder>, ask: &str) {
    client.send_text(ask);
}

fn advance(room: &TestRoom<Reminder>, seconds: u64) {
    room.advance(Duration::from_secs(seconds));
}

fn tags(room: &TestRoom<Reminder>) -> Vec<String> {
    room.timers().iter().map(|timer| timer.tag().to_owned()).collect()
}

#[test]
fn timers_fire_in_order_and_a_cancelled_one_does_not() {
    let (room, ada) = room();
    ask(&ada, r#"{"in": [30, "late"]}"#);
    ask(&ada, r#"{"in": [10, "soon"]}"#);
    ask(&ada, r#"{"in": [20, "never"]}"#);
    assert_eq!(tags(&room), ["soon", "never", "late"]);
    ask(&ada, r#"{"cancel": "never"}"#);
    room.hibernate();
    advance(&room, 40);
    assert_eq!(ada.received_json::<String>(), ["soon of 10", "late of 30"]);
    assert_eq!((tags(&room), room.take_errors()), (vec![], vec![]));
}

#[test]
fn a_failed_turn_schedules_nothing_and_delete_all_removes_timers() {
    let (room, ada) = room();
    ask(&ada, r#"{"fail": "never"}"#);
    assert_eq!((room.take_errors(), tags(&room)), (vec!["asked to fail".to_owned()], vec![]));
    ask(&ada, r#"{"in": [10, "never"]}"#);
    ask(&ada, r#""clear""#);
    advance(&room, 20);
    assert!(ada.received().is_empty());
}

#[test]
fn a_repeating_timer_keeps_its_times() {
    let (room, ada) = room();
    ask(&ada, r#"{"every": [10, "tock"]}"#);
    let begun = room.now();
    advance(&room, 35);
    assert_eq!(ada.received().len(), 3);
    assert_eq!(room.timers()[0].at(), begun + Duration::from_secs(40));
    ask(&ada, r#"{"cancel": "tock"}"#);
    advance(&room, 100);
    assert!(ada.received().is_empty());
}

#[test]
fn a_failed_timer_is_retried_six_times_and_dropped() {
    let (room, ada) = room();
    ask(&ada, r#"{"in": [0, "fails"]}"#);
    advance(&room, 2 + 4 + 8 + 16 + 32);
    assert_eq!(room.timers()[0].tries(), 6);
    advance(&room, 64);
    let errors = room.take_errors();
    assert_eq!((errors.len(), errors[6].as_str()), (8, "try 6"));
    assert_eq!(errors[7], "the timer \"fails\" failed too often and is dropped");
    assert!(tags(&room).is_empty());
}

#[test]
fn a_flush_does_not_lose_the_timer_of_its_turn() {
    let (room, ada) = room();
    ask(&ada, r#"{"in": [0, "flushes"]}"#);
    assert_eq!(room.take_errors(), ["after the flush"]);
    advance(&room, 2);
    assert_eq!(ada.received_json::<String>(), ["flushes of 0"]);
    // A repeating timer that cancels itself, and flushes that, does not come back.
    ask(&ada, r#"{"every": [5, "cancels"]}"#);
    advance(&room, 100);
    assert_eq!(room.take_errors(), ["after it was cancelled"]);
    assert!(tags(&room).is_empty());
}

#[test]
fn too_many_and_invalid_timers_are_refused_by_name() {
    let (room, ada) = room();
    let refused = |ask: &str, error: &str| {
        ada.send_text(ask);
        let errors = room.take_errors();
        assert!(errors.len() == 1 && errors[0].contains(error), "{ask}: {errors:?}");
        assert!(tags(&room).is_empty());
    };
    refused(r#"{"flood": 10001}"#, "timers_max = 10000");
    refused(r#"{"bytes": 65536}"#, "timer_data_bytes_max = 65536");
    refused(r#"{"tag": 257}"#, "timer_tag_bytes_max = 256");
    refused(r#""hasty""#, "shorter than 1000 ms");
    refused(r#"{"tick": 9}"#, "tick_every_ms_min");
    let error = TimerError::TooOften { limit: "tick_every_ms_min".to_owned(), min: 10 };
    assert!(error.to_string().starts_with("the pause is shorter than 10 ms"));
    ask(&ada, r#"{"flood": 10000}"#);
    assert_eq!((room.take_errors(), room.timers().len()), (vec![], 10_000));
}

#[test]
fn ticks_come_until_they_are_stopped_or_the_instance_goes() {
    let (room, ada) = room();
    ask(&ada, r#"{"tick": 50}"#);
    assert_eq!(room.ticks(), Some(Duration::from_millis(50)));
    room.advance(Duration::from_millis(175));
    // The second failed, and the third came all the same.
    assert_eq!(ada.received_json::<u32>(), [1, 3]);
    assert_eq!(room.take_errors(), ["the second fails"]);
    room.restart();
    room.advance(Duration::from_millis(50));
    assert_eq!(ada.received_json::<u32>(), [1]);
    ask(&ada, r#""stop_ticks""#);
    advance(&room, 1);
    assert!(ada.received().is_empty());
    ask(&ada, r#"{"tick": 50}"#);
    room.hibernate();
    assert_eq!(room.ticks(), None);
}
