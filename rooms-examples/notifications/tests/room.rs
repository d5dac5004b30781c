//! Two pages, and what they hear of each other.

use room_example_notifications::Notifications;
use room_sdk::test::TestRoom;
use room_sdk::{Delivery, Transport};
use serde_json::{Value, json};

#[test]
fn a_notice_that_one_page_has_read_is_read_in_all() {
    let room = TestRoom::<Notifications>::new("lobby");
    let ada = room.client("ada").transport(Transport::Sse).connect();
    let bob = room.client("bob").transport(Transport::LongPoll).connect();
    let first = |by: &str| json!({ "type": "all", "notices": [], "by": by });
    assert_eq!(ada.received_json::<Value>(), [first("sse")]);
    assert_eq!(bob.received_json::<Value>(), [first("long-poll")]);
    ada.send(&json!({ "do": "notify", "text": "tea" }));
    let notice = json!({ "id": 1, "text": "tea", "read": false });
    let heard = [json!({ "type": "new", "notice": notice })];
    assert_eq!(ada.received_json::<Value>(), heard);
    assert_eq!(bob.received_json::<Value>(), heard);
    bob.send(&json!({ "do": "read", "id": 1 }));
    bob.send(&json!({ "do": "read", "id": 2 }));
    assert_eq!(ada.received_json::<Value>(), [json!({ "type": "read", "id": 1 })]);
    room.restart();
    let notices = room.connect("cy").received_json::<Value>();
    assert_eq!(notices[0]["notices"][0]["read"], true);
    assert_eq!(room.take_errors(), Vec::<String>::new());
}

#[test]
fn only_so_many_notices_are_kept_and_no_long_ones() {
    let room = TestRoom::<Notifications>::new("lobby");
    let ada = room.connect("ada");
    for number in 0..60 {
        ada.send(&json!({ "do": "notify", "text": number.to_string() }));
    }
    // A character counts once, however many bytes it has.
    ada.send(&json!({ "do": "notify", "text": "é".repeat(200) }));
    assert_eq!(room.take_errors(), Vec::<String>::new());
    ada.send(&json!({ "do": "notify", "text": "x".repeat(201) }));
    assert!(room.take_errors()[0].contains("1 to 200 characters"));
    let all = room.connect("bob").received_json::<Value>();
    let notices = all[0]["notices"].as_array().unwrap();
    assert_eq!((notices.len(), &notices[0]["text"]), (50, &json!("11")));
}

#[test]
fn others_may_miss_that_somebody_writes() {
    let room = TestRoom::<Notifications>::new("lobby");
    let (ada, bob) = (room.connect("ada"), room.connect("bob"));
    drop((ada.received(), bob.received()));
    ada.send(&json!({ "do": "writes" }));
    assert!(ada.received().is_empty());
    let [(_, delivery)] = &bob.deliveries()[..] else { panic!("bob hears of it once") };
    assert_eq!(*delivery, Delivery::Volatile);
}
