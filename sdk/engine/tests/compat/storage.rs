//! The storage of a room, with the interface of a Durable Object's.

use std::time::Duration;

use serde_json::json;

use super::{ask, room, soon, texts};

#[test]
fn a_missing_key_is_undefined_and_many_keys_are_a_map_of_those_that_are_there() {
    let room = room("stored.ts");
    let ada = room.connect("ada");
    assert_eq!(ask(&ada, "missing"), json!([true, 0]));
    assert_eq!(ask(&ada, "many"), json!([[["a", 1], ["c", 3]], true, 1]));
}

#[test]
fn a_list_is_in_the_order_of_utf8_bytes_within_its_options() {
    let room = room("stored.ts");
    let ada = room.connect("ada");
    let (wide, emoji) = ("item:\u{FF5E}", "item:\u{1F600}");
    assert_eq!(
        ask(&ada, "order"),
        json!([
            ["item:", "item:10", "item:2", wide, emoji],
            ["item:", "item:10"],
            [emoji],
            ["item:10", "item:2", wide, emoji],
            ["item:2"],
        ])
    );
}

#[test]
fn values_are_what_structured_clone_copies() {
    let room = room("stored.ts");
    let ada = room.connect("ada");
    assert_eq!(ask(&ada, "clone"), json!([5, "1180591620717411303424", [1], true, true]));
    assert!(ask(&ada, "noFunctions").to_string().contains("could not be cloned"));
    assert_eq!(ask(&ada, "noUndefined"), json!("put() called with undefined value."));
}

#[test]
fn keys_are_bounded_as_on_durable_objects_and_values_by_a_mebibyte() {
    let room = room("stored.ts");
    let ada = room.connect("ada");
    let bounds = ask(&ada, "bounds");
    assert_eq!((&bounds[0], &bounds[2]), (&json!("stored"), &json!("stored")));
    assert!(bounds[1].to_string().contains("2048"), "{bounds}");
    assert!(bounds[3].to_string().contains("1048576"), "{bounds}");
}

#[test]
fn a_transaction_is_kept_as_a_whole_or_undone() {
    let room = room("stored.ts");
    assert_eq!(ask(&room.connect("ada"), "transaction"), json!([2, "undo it", 2]));
}

#[test]
fn writes_need_no_await() {
    let room = room("stored.ts");
    let ada = room.connect("ada");
    assert_eq!(ask(&ada, "unawaited"), json!([["x", 1], ["y", 2]]));
    assert_eq!(ask(&ada, "sync"), json!(null));
    assert_eq!(
        (room.storage().get::<u32>("x"), room.storage().get::<u32>("y")),
        (Some(1), Some(2))
    );
}

#[test]
fn a_room_has_one_alarm_that_is_replaced_and_deleted() {
    let room = room("stored.ts");
    let ada = room.connect("ada");
    assert_eq!(ask(&ada, "alarm"), json!([null, true, true, null]));
    assert_eq!(ask(&ada, "deleteAll"), json!([0, null]), "it is deleted with everything else");
    assert!(ask(&ada, "badAlarm").to_string().contains("setAlarm() takes a Date or milliseconds"));
}

#[test]
fn an_alarm_in_the_past_is_due_now_and_get_alarm_is_null_while_it_runs() {
    let room = room("stored.ts");
    let ada = room.connect("ada");
    ada.send_text(format!("setAlarm {}", soon(&room, 0) - 1_000));
    room.advance(Duration::from_millis(1));
    assert_eq!(texts(&ada), ["null", r#"["alarm",null]"#]);
}

#[test]
fn an_alarm_that_fails_comes_again() {
    let room = room("stored.ts");
    let ada = room.connect("ada");
    assert_eq!(ask(&ada, &format!("failOnce {}", soon(&room, 1_000))), json!(null));
    room.advance(Duration::from_millis(1_001));
    assert_eq!(texts(&ada), [""; 0], "what the failed one sent is undone");
    assert!(room.last_error().is_some_and(|error| error.contains("the alarm failed")));
    room.advance(Duration::from_secs(120));
    assert_eq!(texts(&ada), [r#"["alarm",null]"#]);
}
