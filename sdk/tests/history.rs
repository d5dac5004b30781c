//! What a room has sent, as its author tests the reading of it.

use std::time::Duration;

use room_sdk::HistoryError;
use room_sdk::prelude::*;
use room_sdk::test::{TestClient, TestRoom};

/// Says what it hears to all, or to a tag, and reads what it has said.
#[derive(Default)]
struct Scribe;

impl Room for Scribe {
    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        let text = message.as_text().unwrap_or_default();
        match text.split_once(' ').unwrap_or((text, "")) {
            ("fail", text) => {
                ctx.broadcast(Message::text(text));
                bail!("asked to fail")
            }
            ("red", text) => ctx.broadcast(Message::text(text)).tagged("red").send(),
            ("last", count) => {
                ctx.broadcast(Message::text("not there yet"));
                let read = ctx.history().limit(count.parse()?).read()?;
                let texts = read.messages.iter().map(|sent| {
                    let tag = sent.tag.as_deref().unwrap_or("all");
                    format!(
                        "{} to {tag} at {}",
                        sent.message.as_text().unwrap_or_default(),
                        sent.at.as_millis() % 10_000
                    )
                });
                let texts = texts.collect::<Vec<_>>().join(", ");
                conn.send(Message::text(format!("{texts}; more: {}", read.more)))
            }
            ("between", ids) => {
                let (after, before) = ids.split_once(' ').unwrap_or_default();
                let read = ctx.history().after(after).before(before).read();
                conn.send(Message::text(match read {
                    Ok(read) => read
                        .messages
                        .iter()
                        .map(|sent| sent.id.as_str())
                        .collect::<Vec<_>>()
                        .join(","),
                    Err(HistoryError::NotKept) => "not kept".to_owned(),
                    Err(error) => error.to_string(),
                }))
            }
            _ => ctx.broadcast(message).except(conn).send(),
        }
    }
}

fn room(history: Option<usize>) -> TestRoom<Scribe> {
    let builder = TestRoom::<Scribe>::builder("lobby");
    match history {
        Some(messages) => builder.history(messages).build(),
        None => builder.build(),
    }
}

/// Returns the last text that a client has got.
fn last(client: &TestClient<Scribe>) -> Option<String> {
    let last = client.received().pop()?;
    last.as_text().map(str::to_owned)
}

#[test]
fn a_room_reads_what_it_has_sent_to_all_and_to_tags() {
    let room = room(Some(10));
    let ada = room.connect("ada");
    for text in ["one", "red two", "fail three", "four"] {
        ada.send_text(text);
    }
    room.take_errors();
    room.advance(Duration::from_secs(1));
    ada.send_text("last 2");
    let heard = last(&ada);
    assert_eq!(heard.as_deref(), Some("two to red at 0, four to all at 0; more: true"));
    ada.send_text("between 1-1 1-3");
    assert_eq!(last(&ada).as_deref(), Some("1-2"));
    ada.send_text("between yesterday 1-3");
    let error = "an id is two numbers with a dash between, such as 7-42";
    assert_eq!(last(&ada).as_deref(), Some(error));
}

#[test]
fn a_room_forgets_the_oldest_messages_and_says_so() {
    let room = room(Some(2));
    let ada = room.connect("ada");
    for text in ["1", "2", "3", "4"] {
        ada.send_text(text);
    }
    ada.send_text("between 1-2 1-9");
    assert_eq!(last(&ada).as_deref(), Some("1-3,1-4"));
    ada.send_text("between 1-1 1-9");
    let error = "the room has forgotten messages after this id";
    assert_eq!(last(&ada).as_deref(), Some(error));
}

#[test]
fn a_room_of_a_party_without_history_gets_an_error_that_says_what_to_write() {
    let room = room(None);
    let ada = room.connect("ada");
    ada.send_text("between 1-1 1-9");
    assert_eq!(last(&ada).as_deref(), Some("not kept"));
    ada.send_text("last 1");
    let error = room.take_errors().concat();
    assert!(error.contains("history = { keep = 100 }"), "{error}");
}

#[test]
fn a_crash_takes_messages_from_memory_and_none_that_are_durable() {
    let durable = TestRoom::<Scribe>::builder("lobby").durable_history(10).build();
    for (room, heard) in
        [(room(Some(10)), "the room has forgotten messages after this id"), (durable, "1-2,1-3")]
    {
        let ada = room.connect("ada");
        for text in ["1", "2", "3"] {
            ada.send_text(text);
        }
        room.crash();
        assert_eq!(ada.closed().map(|close| close.code), Some(1006));
        assert_eq!(room.connection_ids(), Vec::<String>::new());
        let ada = room.connect("ada");
        ada.send_text("between 1-1 1-9");
        assert_eq!(last(&ada).as_deref(), Some(heard));
        assert_eq!(room.take_errors(), Vec::<String>::new());
    }
}
