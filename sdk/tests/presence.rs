//! Who is in a room, as its author tests it.

use std::time::Duration;

use room_sdk::prelude::*;
use room_sdk::test::{TestClient, TestRoom};
use room_sdk::{PresenceError, PresentUser};
use serde_json::{Value, json};

/// Shows what its clients ask for.
#[derive(Default)]
struct Lounge;

impl Room for Lounge {
    fn on_connect(&mut self, ctx: &Context, conn: &Connection, request: &Request) -> Result {
        if let Some(data) = request.query("show") {
            ctx.presence().set(conn, &data)?;
        }
        ensure!(request.query("fail").is_none(), "asked to fail");
        Ok(())
    }

    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        let text = message.as_text().unwrap_or_default();
        match text.split_once(' ').unwrap_or((text, "")) {
            ("show", data) => ctx.presence().set(conn, &data.to_owned()),
            ("clear", _) => ctx.presence::<String>().clear(conn),
            ("typing", seconds) => {
                let lasting = Duration::from_secs(seconds.parse()?);
                ctx.presence::<String>().flag(conn, "typing", lasting)
            }
            ("try", data) => {
                let tried: Result = ctx.transaction(|ctx| {
                    ctx.presence().set(conn, &data.to_owned())?;
                    bail!("undone")
                });
                ensure!(tried.is_err(), "it was undone");
                ctx.presence().set(conn, &"kept".to_owned())
            }
            ("fail", data) => {
                ctx.presence().set(conn, &data.to_owned())?;
                bail!("asked to fail")
            }
            ("who", name) => {
                let found = ctx.presence::<String>().user(name);
                conn.send(&found.map(|own| own.data))
            }
            _ => {
                let users = ctx.presence::<String>().users();
                let seen = |own: &PresentUser<String>| format!("{} {}", own.user, own.data);
                conn.send(&users.iter().map(seen).collect::<Vec<_>>())
            }
        }
    }

    fn on_close(&mut self, ctx: &Context, conn: &Connection, close: Close) -> Result {
        match close.code {
            4000 => ctx.presence::<String>().clear(conn),
            4001 => ctx.presence().set(conn, &"leaving".to_owned()),
            _ => Ok(()),
        }
    }
}

fn room() -> TestRoom<Lounge> {
    TestRoom::<Lounge>::builder("lobby").presence().build()
}

fn present(room: &TestRoom<Lounge>) -> Vec<String> {
    let users = room.present_users::<Value>();
    let seen = users.iter().map(|own| {
        let flags: String = own.flags.iter().map(|flag| format!(" {flag}")).collect();
        format!("{} {} {}{flags}", own.user, own.data, own.connections)
    });
    seen.collect()
}

fn says(client: &TestClient<Lounge>, text: &str) -> Value {
    client.send_text(text);
    client.received_json::<Value>().pop().unwrap_or_default()
}

#[test]
fn a_user_counts_once_and_is_there_until_its_last_connection_is_gone_for_the_grace() {
    let room = room();
    let ada = room.client("tab-1").claims(&json!({"sub": "ada"})).query("show", "hi").connect();
    let again = room.client("tab-2").claims(&json!({"sub": "ada"})).connect();
    let bob = room.connect("bob");
    assert_eq!(present(&room), ["ada \"hi\" 2"]);
    assert_eq!(says(&bob, "users"), json!(["ada hi"]));
    assert_eq!(says(&bob, "who ada"), json!("hi"));
    assert_eq!(says(&bob, "who bob"), json!(null));
    ada.lose();
    assert_eq!(present(&room), ["ada \"hi\" 1"]);
    again.lose();
    room.advance(Duration::from_millis(4_999));
    assert_eq!(present(&room), ["ada \"hi\" 0"]);
    // A page that loads again does not leave.
    let ada = room.client("tab-3").claims(&json!({"sub": "ada"})).connect();
    room.advance(Duration::from_secs(60));
    assert_eq!(present(&room), ["ada \"hi\" 1"]);
    ada.lose();
    room.advance(Duration::from_secs(5));
    assert_eq!(present(&room), [""; 0]);
    assert_eq!(says(&bob, "users"), json!([]));
}

#[test]
fn a_turn_changes_who_is_there_or_changes_nothing() {
    let room = room();
    let ada = room.connect("ada");
    ada.send_text("fail never");
    assert_eq!(room.take_errors().len(), 1);
    assert_eq!(present(&room), [""; 0]);
    ada.send_text("try never");
    assert_eq!(present(&room), ["ada \"kept\" 1"]);
    ada.send_text("show one");
    ada.send_text("fail two");
    assert_eq!(room.take_errors().len(), 1);
    assert_eq!(present(&room), ["ada \"one\" 1"]);
    ada.send_text("clear");
    assert_eq!(present(&room), [""; 0]);
    // A client that the room refuses is nobody.
    let _refused = room.client("eve").query("show", "x").query("fail", "1").connect();
    assert_eq!(room.take_errors().len(), 1);
    assert_eq!(present(&room), [""; 0]);
}

#[test]
fn a_flag_ends_by_itself() {
    let room = room();
    let ada = room.connect("ada");
    ada.send_text("typing 5");
    let refused = room.take_errors().pop().unwrap_or_default();
    assert!(refused.contains("set its data before its flags"), "{refused}");
    ada.send_text("show x");
    ada.send_text("typing 5");
    room.advance(Duration::from_secs(3));
    ada.send_text("typing 5");
    room.advance(Duration::from_secs(4));
    assert_eq!(present(&room), ["ada \"x\" 1 typing"]);
    room.advance(Duration::from_secs(1));
    assert_eq!(present(&room), ["ada \"x\" 1"]);
    ada.send_text("typing 5");
    ada.send_text("typing 0");
    assert_eq!(present(&room), ["ada \"x\" 1"]);
    ada.send_text("typing 61");
    assert!(room.take_errors().pop().unwrap_or_default().contains("at most 60000 ms"));
}

#[test]
fn a_close_may_end_or_change_what_a_user_shows() {
    let room = room();
    let ada = room.client("ada").query("show", "x").connect();
    ada.close(4000, "");
    assert_eq!(present(&room), [""; 0]);
    let ada = room.client("ada").query("show", "x").connect();
    ada.close(4001, "");
    assert_eq!(present(&room), ["ada \"leaving\" 0"]);
    room.advance(Duration::from_secs(5));
    assert_eq!(present(&room), [""; 0]);
}

#[test]
fn users_survive_new_code_and_not_a_crash() {
    let room = room();
    let ada = room.client("ada").query("show", "x").connect();
    room.restart();
    room.hibernate();
    assert_eq!(present(&room), ["ada \"x\" 1"]);
    assert_eq!(says(&ada, "users"), json!(["ada x"]));
    room.crash();
    assert_eq!(present(&room), [""; 0]);
}

#[test]
fn clients_show_themselves_if_their_ticket_allows_it() {
    let room = room();
    let ada = room.connect("ada");
    assert_eq!(ada.flag("typing", Duration::from_secs(1)), Err(PresenceError::NotPresent));
    assert_eq!(ada.show(&json!({"x": 1})), Ok(()));
    assert_eq!(ada.flag("typing", Duration::from_secs(1)), Ok(()));
    assert_eq!(present(&room), ["ada {\"x\":1} 1 typing"]);
    // The room reads texts, and leaves out everything else.
    assert_eq!(says(&ada, "users"), json!([]));
    let large = "x".repeat(4_096);
    assert_eq!(ada.show(&large), Err(PresenceError::TooLarge(4_096)));
    assert_eq!(ada.hide(), Ok(()));
    assert_eq!(present(&room), [""; 0]);
    ada.lose();
    assert_eq!(ada.show(&1), Err(PresenceError::NotFound));
}

#[test]
fn the_room_and_each_user_have_their_bounds() {
    let room = room();
    let clients: Vec<_> = (0..130).map(|at| room.connect(&format!("user-{at:03}"))).collect();
    let data = "x".repeat(4_000);
    let shown = clients.iter().map(|client| client.show(&data)).collect::<Vec<_>>();
    let fits = shown.iter().filter(|outcome| outcome.is_ok()).count();
    let full =
        PresenceError::BeyondLimit { limit: "presence_room_bytes_max".to_owned(), max: 512 * 1024 };
    assert_eq!((fits, shown.last()), (128, Some(&Err(full))));
    assert_eq!(clients[0].hide(), Ok(()));
    assert_eq!(clients[129].show(&data), Ok(()));
    for flag in 0..8 {
        assert_eq!(clients[129].flag(&flag.to_string(), Duration::from_secs(1)), Ok(()));
    }
    let full = PresenceError::BeyondLimit { limit: "presence_flags_max".to_owned(), max: 8 };
    assert_eq!(clients[129].flag("8", Duration::from_secs(1)), Err(full));
}

#[test]
fn without_the_setting_every_use_fails_and_says_what_to_write() {
    let room = TestRoom::<Lounge>::new("lobby");
    let ada = room.connect("ada");
    for text in ["show x", "clear", "typing 1", "users", "who ada"] {
        ada.send_text(text);
        let error = room.take_errors().pop().unwrap_or_default();
        assert!(error.contains("presence = true"), "{text}: {error}");
    }
    assert_eq!(ada.show(&1), Err(PresenceError::NotKept));
}
