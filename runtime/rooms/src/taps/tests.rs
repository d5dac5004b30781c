use super::*;
use room_core::event::CloseHandshake;
use room_core::id::{PartyName, SequenceNumber};
use serde_json::{Value, json};

fn room(name: &str) -> RoomId {
    RoomId::new(PartyName::parse("main").unwrap(), name, 99).unwrap()
}

fn taps(change: impl FnOnce(&mut Limits)) -> Taps {
    let mut limits = Limits::default();
    change(&mut limits);
    Taps::new(&limits, Clock::system())
}

fn id(text: &str) -> ConnectionId {
    ConnectionId::parse(text, 99).unwrap()
}

/// Returns what a watcher reads, without the times. The number of missed events is a number among it.
fn read(tap: &mut Tap) -> Vec<Value> {
    let mut all = Vec::new();
    while let Some(TapBatch { missed, passed }) = tap.read() {
        all.extend((missed > 0).then(|| json!(missed)));
        for passed in passed {
            let mut passed = serde_json::to_value(&*passed).unwrap();
            let fields = passed.as_object_mut().unwrap();
            assert!(fields.remove("time_ms").unwrap().as_u64() > Some(0));
            fields.retain(|_, value| !value.is_null() && *value != json!(false));
            all.push(passed);
        }
    }
    all
}

fn texts(tap: &mut Tap) -> Vec<Value> {
    read(tap).into_iter().map(|value| value.get("text").cloned().unwrap_or(value)).collect()
}

#[test]
fn a_watcher_reads_its_rooms_messages_from_then_on() {
    let taps = taps(|limits| limits.tap_excerpt_bytes = 4);
    let (lobby, other) = (taps.of(room("lobby")), taps.of(room("other")));
    lobby.came(&id("a"), &Message::text("before"));
    let mut tap = taps.watch(room("lobby")).unwrap();
    let frame = CloseFrame::new(4001, "bye");
    let number = SequenceNumber { epoch: 7, seq: 12 };
    lobby.opened(&id("a"));
    other.opened(&id("b"));
    lobby.came(&id("a"), &Message::text("häää"));
    lobby.went(number, OutputReceivers::Many(2), &Message::Binary(vec![0, 255, 7].into()));
    lobby.closed(Some(number.after(1)), OutputReceivers::One(&id("a")), &frame);
    lobby.ended(&id("a"), &Ending { frame, handshake: CloseHandshake::Clean });
    lobby.failed("message", "out");
    assert_eq!(
        read(&mut tap),
        [
            json!({"direction": "in", "kind": "open", "connection": "a"}),
            json!({"direction": "in", "kind": "text", "connection": "a", "bytes": 7, "text": "hä", "cut": true}),
            json!({"direction": "out", "kind": "binary", "to": 2, "bytes": 3, "text": "00ff", "cut": true, "number": "7-12"}),
            json!({"direction": "out", "kind": "close", "connection": "a", "code": 4001, "text": "bye", "number": "7-13"}),
            json!({"direction": "in", "kind": "close", "connection": "a", "code": 4001, "text": "bye", "clean": true}),
            json!({"kind": "fault", "event": "message", "text": "out"}),
        ]
    );
    assert_eq!(tap.read(), None);
}

#[test]
fn a_watcher_stays_while_its_room_comes_and_goes() {
    let taps = taps(|_| {});
    let mut tap = taps.watch(room("lobby")).unwrap();
    for text in ["first life", "second life"] {
        taps.of(room("lobby")).came(&id("a"), &Message::text(text));
    }
    assert_eq!(texts(&mut tap), ["first life", "second life"]);
}

#[test]
fn a_slow_watcher_loses_the_oldest_messages_and_reads_how_many() {
    let taps = taps(|limits| limits.tap_lines_max = 2);
    let lobby = taps.of(room("lobby"));
    let (mut slow, mut fast) =
        (taps.watch(room("lobby")).unwrap(), taps.watch(room("lobby")).unwrap());
    for text in ["1", "2", "3", "4", "5"] {
        lobby.came(&id("a"), &Message::text(text));
        assert_eq!(texts(&mut fast), [text]);
    }
    assert_eq!(texts(&mut slow), [json!(3), json!("4"), json!("5")]);
    lobby.came(&id("a"), &Message::text("6"));
    assert_eq!(texts(&mut slow), ["6"]);
}

#[test]
fn the_bytes_of_a_queue_and_of_a_batch_are_bounded() {
    let taps = taps(|limits| {
        (limits.tap_bytes_max, limits.log_batch_bytes) = (4_000, 1_500);
    });
    let lobby = taps.of(room("lobby"));
    let mut tap = taps.watch(room("lobby")).unwrap();
    for _ in 0..10 {
        lobby.came(&id("a"), &Message::text("x".repeat(1_000)));
    }
    let batch = tap.read().unwrap();
    assert_eq!(batch.passed.len(), 1);
    let rest = std::iter::from_fn(|| tap.read()).map(|batch| batch.passed.len()).sum::<usize>();
    assert_eq!(batch.missed + 1 + rest as u64, 10);
    assert!(rest < 4, "{rest}");
}

#[test]
fn watchers_are_bounded_and_a_leaving_one_frees_everything() {
    let taps = taps(|limits| limits.tap_watchers_max = 1);
    let lobby = taps.of(room("lobby"));
    let first = taps.watch(room("lobby")).unwrap();
    assert_eq!(taps.watch(room("other")).err(), Some(TapsFull(1)));
    lobby.came(&id("a"), &Message::text("hi"));
    let queue = Arc::downgrade(&lobby.known.lock().unwrap().queues[0]);
    drop(first);
    assert!(taps.watched().is_empty());
    let mut other = taps.watch(room("other")).unwrap();
    lobby.came(&id("a"), &Message::text("hi"));
    assert!(queue.upgrade().is_none());
    assert_eq!(other.read(), None);
}

#[tokio::test]
async fn a_watcher_reads_the_remaining_messages_when_the_node_stops() {
    let taps = taps(|_| {});
    let mut tap = taps.watch(room("lobby")).unwrap();
    taps.of(room("lobby")).came(&id("a"), &Message::text("last"));
    taps.close();
    assert!(tap.wait().await);
    assert_eq!(texts(&mut tap), ["last"]);
    assert!(!tap.wait().await);
    assert!(!taps.watch(room("late")).unwrap().wait().await);
}
