//! How channels and sessions end at the edges: before they have begun, and with messages that still wait.

use super::{Session, message, send};
use room_runtime::Limits;
use room_tests::{Requests, Setup, until};
use serde_json::json;

#[tokio::test]
async fn a_room_that_closes_its_clients_as_they_join_keeps_none_of_them() {
    let node = Setup::memory().start().await;
    let (mut session, _) = Session::open(&node, "lobby?quiet=1").await;
    let close = json!([{"close": [4000, "bye"]}]);
    node.post("den", &json!([{"plan": ["on_connect", 20, close]}])).await;
    for number in 1..=20 {
        let id = format!("client-{number}");
        let joined = session.asks(json!({"type": "join", "room": "den", "id": id})).await;
        assert_eq!(joined["type"], "joined", "{joined}");
        let closed = json!({"type": "closed", "channel": number, "code": 4000, "reason": "bye"});
        assert_eq!(session.hears().await, closed);
    }
    until("the room to note every end", async || {
        let events = node.report("den").await["events"].to_string();
        events.matches("clean=true").count() == 20
    })
    .await;
    // None of them has a place in the session.
    for number in 0..63 {
        session.joins(&format!("room-{number}")).await;
    }
}

#[tokio::test]
async fn messages_that_wait_for_space_reach_their_room_before_the_end_of_the_session() {
    let limits = |limits: &mut Limits| {
        (limits.mailbox_events_max, limits.message_bytes_max) = (1, 4_096);
    };
    let node = Setup::memory().limits(limits).start().await;
    for (room, code) in [("closed", 4001), ("failed", 1009)] {
        let (mut session, _) = Session::open(&node, &format!("{room}?_pk=ada&quiet=1")).await;
        let mut watcher = node.connect(&format!("{room}?quiet=1&tags=watches")).await;
        for _ in 0..4 {
            session.says(&send(0, r#"[{"sleep":100}]"#)).await;
        }
        session.says(&send(0, r#"[{"say":"unheard"},{"note":"last"}]"#)).await;
        if code == 1009 {
            session.socket.send("x".repeat(30_000)).await;
        } else {
            session.socket.close(Some((code, "done"))).await;
        }
        assert_eq!(watcher.text().await, "left ada");
        let events = node.report(room).await["events"].to_string();
        let (last, end) = (events.find("last"), events.find(&format!("close ada {code}")));
        assert!(last.is_some() && last < end, "{events}");
    }
}

#[tokio::test]
async fn automatic_answers_in_a_row_do_not_overflow_the_outbox() {
    let limits = |limits: &mut Limits| {
        (limits.outbox_frames_max, limits.history_messages_max) = (64, 32);
        limits.socket_batch_frames_max = 16;
    };
    let node = Setup::memory().auto_response("ping", "pong").limits(limits).start().await;
    let (mut session, _) = Session::open(&node, "lobby?quiet=1").await;
    for reference in 1..=500 {
        session
            .says(&json!({"type": "send", "channel": 0, "ref": reference, "data": "ping"}))
            .await;
    }
    for reference in 1..=500 {
        assert_eq!(session.hears().await, message(0, "pong"));
        assert_eq!(session.hears().await, json!({"type": "ack", "channel": 0, "ref": reference}));
    }
}
