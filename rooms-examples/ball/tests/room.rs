//! The ball against the mock host: it moves while somebody watches, and kicks count for a day.

use std::time::Duration;

use room_example_ball::Field;
use room_sdk::test::{TestClient, TestRoom};
use serde_json::{Value, json};

fn balls(client: &TestClient<Field>) -> Vec<Value> {
    let all: Vec<Value> = client.received_json();
    all.into_iter().filter(|message| message["type"] == "ball").collect()
}

#[test]
fn the_ball_moves_twenty_times_a_second_while_somebody_watches() {
    let room = TestRoom::<Field>::new("lobby");
    let (ada, bob) = (room.connect("ada"), room.connect("bob"));
    room.advance(Duration::from_secs(10));
    let seen = balls(&ada);
    assert_eq!((seen.len(), &seen), (200, &balls(&bob)));
    let inside = |at: &Value| at.as_f64().is_some_and(|at| (0.0..=1.0).contains(&at));
    assert!(seen.iter().all(|ball| inside(&ball["x"]) && inside(&ball["y"])));
    ada.lose();
    assert!(room.ticks().is_some());
    bob.lose();
    assert!(room.ticks().is_none() && room.take_errors().is_empty());
}

#[test]
fn a_kick_turns_the_ball_and_counts_for_a_day() {
    let room = TestRoom::<Field>::new("lobby");
    let ada = room.connect("ada");
    ada.send(&json!({ "dx": -9, "dy": 0 }));
    room.advance(Duration::from_millis(50));
    assert_eq!(balls(&ada)[0]["x"], 0.45);
    assert_eq!(room.storage().get::<u64>("kicks"), Some(1));
    ada.lose();
    // The room sleeps, and the timer wakes it.
    room.hibernate();
    room.advance(Duration::from_secs(23 * 3_600));
    assert_eq!(room.storage().get::<u64>("kicks"), Some(1));
    room.advance(Duration::from_secs(3_600));
    assert_eq!(room.storage().get::<u64>("kicks"), Some(0));
    assert!(room.timers().is_empty() && room.take_errors().is_empty());
}
