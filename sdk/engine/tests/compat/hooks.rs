//! What runs outside of rooms: the static methods of a PartyKit class.

use room_sdk::SocketVerdict;
use room_sdk::prelude::*;
use serde_json::json;

use super::{GREETING, lines, room, said, texts};

#[test]
fn on_before_connect_decides_about_a_connection() {
    let room = room("statics.ts");
    let asked = |ask: &str| room.client("ada").query("ask", ask).connect();
    assert_eq!(texts(&asked("user")), ["user ada of lobby"], "the changed request goes on");
    assert_eq!(texts(&asked("nothing")), ["user null"], "nothing returned: it goes on as it came");
    let answered = asked("answer").response().expect("a Response is the answer");
    assert_eq!(said(&answered), "403 no entry");
    for (ask, code, reason) in [
        ("error", 4401, "no token"),
        ("string", 4401, "no token at all"),
        ("refuse", 4403, "not you"),
    ] {
        let close = asked(ask).closed().expect("it was refused");
        assert_eq!((close.code, close.reason.as_str()), (code, reason), "{ask}");
    }
}

#[test]
fn a_hook_asks_another_server_and_waits() {
    let room = room("statics.ts");
    room.answer_hooks(|request| {
        assert_eq!(request.uri(), "https://auth.example.com/");
        Ok(Response::text("grace"))
    });
    assert_eq!(texts(&room.client("ada").query("ask", "fetch").connect()), ["user grace"]);
}

#[test]
fn on_before_request_decides_about_a_request() {
    let room = room("statics.ts");
    let asked = |ask: &str| room.request(Request::get(format!("/?ask={ask}")));
    assert_eq!(asked("nothing").body_text(), "user null", "nothing returned: it goes on");
    assert_eq!(asked("change").body_text(), "user eve");
    let refused = asked("error");
    assert_eq!(said(&refused), "401 not for you");
}

#[test]
fn a_lobby_has_the_project_around_it_and_says_what_it_has_not() {
    let room = room("statics.ts");
    let answer = room.request(Request::get("/?ask=lobby"));
    let lobby: serde_json::Value = answer.body_json().expect("it is JSON");
    assert_eq!(
        (&lobby[0], &lobby[1], &lobby[2]),
        (&json!("lobby"), &json!(GREETING), &json!("function"))
    );
    let absent = lines(&lobby[3]);
    assert_eq!(absent.len(), 4);
    assert!(absent.iter().all(|text| text.contains(" does not exist here: ")), "{absent:?}");
    let asked = room.request(Request::get("/?ask=room"));
    assert!(asked.body_text().contains("a hook belongs to no room"), "{}", asked.body_text());
}

#[test]
fn on_fetch_answers_urls_of_no_room() {
    let room = room("statics.ts");
    let fetched = room.fetch(Request::get("http://h/about")).expect("onFetch answers");
    assert_eq!(fetched.body_text(), "fetched /about false", "its lobby has no id");
    assert!(room.fetch(Request::get("http://h/nothing")).is_none());
}

#[test]
fn on_socket_sends_a_websocket_to_a_room_or_closes_it() {
    let room = room("statics.ts");
    let entered = room.socket(Request::get("http://h/ws"));
    assert!(
        matches!(&entered, Some(SocketVerdict::Enter { party, room }) if party == "main" && room == "entered"),
        "{entered:?}"
    );
    let closed = room.socket(Request::get("http://h/closed"));
    assert!(matches!(&closed, Some(SocketVerdict::Refuse { code: 4000, .. })), "{closed:?}");
}

#[test]
fn on_cron_of_the_class_is_called_with_its_name_and_time() {
    let room = room("statics.ts");
    room.cron("nightly", room.now());
    let line = format!("cron nightly {} function", room.now().as_millis());
    assert!(room.logs().iter().any(|logged| logged.message == line), "{:?}", room.logs());
}
