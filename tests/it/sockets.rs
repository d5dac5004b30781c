//! One WebSocket: its frames, its end, and the room's events for both.

use room_tests::{
    EventStream, Got, RawClient, Requests, Setup, TestClient, TestNode, masked, until,
};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// Returns the events of a room, as soon as there are so many.
async fn events(node: &TestNode, room: &str, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    until(&format!("{count} events in {room}"), async || {
        let report = node.report(room).await;
        events = serde_json::from_value(report["events"].clone()).unwrap();
        events.len() >= count
    })
    .await;
    events
}

#[tokio::test]
async fn text_stays_text_and_binary_stays_binary() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby").await;
    assert_eq!(client.echo("héllo").await, "héllo");
    assert_eq!(client.echo("").await, "");
    client.send_binary(&[0, 159, 146, 150]).await;
    assert_eq!(client.recv().await, Got::Binary(vec![0, 159, 146, 150]));
    client.send_binary(&[]).await;
    assert_eq!(client.recv().await, Got::Binary(Vec::new()));
}

#[tokio::test]
async fn a_message_of_1_mib_passes_and_one_byte_more_is_1009() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby?_pk=a").await;
    let largest = "x".repeat(1 << 20);
    assert_eq!(client.echo(&largest).await.len(), largest.len());
    client.send(largest + "x").await;
    assert_eq!(client.closed().await.0, 1009);
    let events = events(&node, "lobby", 3).await;
    assert!(events[1].starts_with("error a "), "{events:?}");
    assert!(
        events[2].starts_with("close a 1009 ") && events[2].contains("clean=false"),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_protocol_violation_is_closed_with_the_rfcs_code() {
    let node = Setup::memory().start().await;
    let unmasked = [&[0x81, 2][..], b"hi"].concat();
    let cases = [
        ("text that is not UTF-8", masked(0x81, &[0xff, 0xfe]), 1007),
        ("a frame that is not masked", unmasked, 1002),
        ("a reserved opcode", masked(0x83, b"x"), 1002),
        ("a reserved bit", masked(0xc1, b"x"), 1002),
        ("a continuation of nothing", masked(0x80, b"x"), 1002),
        ("a ping in pieces", masked(0x09, b"x"), 1002),
        ("a ping of 126 bytes", masked(0x89, &[0; 126]), 1002),
    ];
    for (what, frame, code) in cases {
        let mut client = RawClient::upgrade(node.addr(), "/party/lobby").await;
        client.write(&frame).await;
        let answer = client.frame().await.and_then(|frame| frame.close_code());
        assert_eq!(answer, Some(code), "{what}");
    }
    // The room received each as an error and as an end.
    assert_eq!(events(&node, "lobby", 21).await.len(), 21);
}

#[tokio::test]
async fn a_fragmented_message_is_one_message() {
    let node = Setup::memory().start().await;
    let mut client = RawClient::upgrade(node.addr(), "/party/lobby").await;
    client.write(&masked(0x01, "h\u{e9}".as_bytes().get(..2).unwrap())).await;
    client.write(&masked(0x89, b"between")).await;
    client.write(&masked(0x80, &[0xa9])).await;
    let frames = [client.frame().await.unwrap(), client.frame().await.unwrap()];
    assert!(frames.iter().any(|f| f.opcode == 10 && f.payload == b"between"), "{frames:?}");
    assert!(
        frames.iter().any(|f| f.opcode == 1 && f.payload == "h\u{e9}".as_bytes()),
        "{frames:?}"
    );
}

#[tokio::test]
async fn a_ping_is_answered() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby").await;
    client.ping(b"mark").await;
    assert_eq!(client.recv().await, Got::Pong(b"mark".to_vec()));
}

#[tokio::test]
async fn a_client_that_answers_no_ping_counts_as_dropped() {
    let node = Setup::memory()
        .limits(|limits| (limits.ping_interval_ms, limits.pong_ms_max) = (50, 50))
        .start()
        .await;
    let mut client = RawClient::upgrade(node.addr(), "/party/lobby?_pk=mute").await;
    assert_eq!(client.frame().await.map(|frame| frame.opcode), Some(9));
    let events = events(&node, "lobby", 2).await;
    assert!(
        events[1].starts_with("close mute 1006 ") && events[1].contains("clean=false"),
        "{events:?}"
    );
}

#[tokio::test]
async fn the_room_receives_the_clients_close_code_and_reason() {
    let node = Setup::memory().start().await;
    let mut told = node.connect("told?_pk=a&state=kept").await;
    told.close(Some((4001, "enough"))).await;
    assert_eq!(told.recv().await, Got::Close(4001, "enough".to_owned()));
    assert_eq!(told.recv().await, Got::End);
    let end = r#"close a 4001 "enough" clean=true state="kept""#;
    assert_eq!(events(&node, "told", 2).await, ["connect a", end]);

    let mut wordless = node.connect("wordless?_pk=a").await;
    wordless.close(None).await;
    assert_eq!(wordless.recv().await, Got::Close(1005, String::new()));
    let end = r#"close a 1005 "" clean=true state="""#;
    assert_eq!(events(&node, "wordless", 2).await, ["connect a", end]);

    drop(node.connect("dropped?_pk=a").await);
    let events = events(&node, "dropped", 2).await;
    assert!(
        events[1].starts_with("close a 1006 ") && events[1].contains("clean=false"),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_client_receives_the_rooms_close_code_and_reason() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby?_pk=a").await;
    client
        .tell(json!([{"say": "last words"}, {"close": [4321, "go away"]}, {"broadcast": "late"}]))
        .await;
    assert_eq!(client.text().await, "last words");
    assert_eq!(client.closed().await, (4321, "go away".to_owned()));
    assert_eq!(client.recv().await, Got::End);
    let end = r#"close a 4321 "go away" clean=true state="""#;
    assert_eq!(events(&node, "lobby", 2).await, ["connect a", end]);
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_rooms_close_is_dropped() {
    let node = Setup::memory().limits(|limits| limits.close_ms_max = 50).start().await;
    let mut client = RawClient::upgrade(node.addr(), "/party/lobby?_pk=mute").await;
    client.write(&masked(0x81, br#"[{"close":[4000,"bye"]}]"#)).await;
    assert_eq!(client.frame().await.and_then(|frame| frame.close_code()), Some(4000));
    assert_eq!(client.frame().await, None);
    assert!(events(&node, "lobby", 2).await[1].starts_with("close mute 1006 "));
}

#[tokio::test]
async fn close_codes_that_a_room_may_not_send_are_refused() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby").await;
    for code in [999, 1004, 1005, 1006, 1015, 5000] {
        client.tell(json!([{"say": "never said"}, {"close": [code, ""]}])).await;
    }
    client.tell(json!([{"say": "never said"}, {"close": [4000, "x".repeat(124)]}])).await;
    assert_eq!(client.echo("still here").await, "still here");
}

#[tokio::test]
async fn a_room_closes_with_every_code_that_a_frame_can_carry_and_without_one() {
    let node = Setup::memory().start().await;
    for code in [1000, 1001, 1003, 1007, 1011, 1014, 1016, 2999, 3000, 4000, 4999] {
        let mut client = RawClient::upgrade(node.addr(), "/party/lobby?_pk=raw").await;
        let script = json!([{"close": [code, "bye"]}]).to_string();
        client.write(&masked(0x81, script.as_bytes())).await;
        let frame = client.frame().await.expect("a close frame");
        assert_eq!(frame.close_code(), Some(code));
        client.write(&masked(0x88, &frame.payload)).await;
        assert_eq!(client.frame().await, None);
    }
    let mut client = RawClient::upgrade(node.addr(), "/party/bare?_pk=raw").await;
    client.write(&masked(0x81, br#"["close_without_code"]"#)).await;
    let frame = client.frame().await.expect("a close frame");
    assert_eq!((frame.opcode, frame.payload.len()), (8, 0));
    client.write(&masked(0x88, &[])).await;
    assert_eq!(client.frame().await, None);
    let end = r#"close raw 1005 "" clean=true state="""#;
    assert_eq!(events(&node, "bare", 2).await, ["connect raw", end]);
}

#[tokio::test]
async fn closing_a_closed_connection_changes_nothing_and_is_not_an_error() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby?_pk=a").await;
    let mut witness = node.connect("lobby?_pk=b").await;
    let again = json!([{"close": [4001, "again"]}, "close_without_code"]);
    witness.tell(json!([{"plan": ["on_close", 1, again]}])).await;
    assert_eq!(witness.echo("planned").await, "planned");
    client
        .tell(json!([{"say": "kept"}, {"close": [1001, "first"]}, {"close": [4001, "again"]}]))
        .await;
    assert_eq!(client.text().await, "kept", "the turn was not refused");
    assert_eq!(client.closed().await, (1001, "first".to_owned()));
    assert_eq!(client.recv().await, Got::End);
    let end = r#"close a 1001 "first" clean=true state="""#;
    assert_eq!(events(&node, "lobby", 3).await[2], end, "its on_close was not refused either");
}

#[tokio::test]
async fn messages_sent_in_on_connect_arrive_first() {
    let node = Setup::memory().start().await;
    let mut others = node.connect("lobby").await;
    let mut client = node.connect("lobby?_pk=new&hello=one,two,three&join=1").await;
    client.send("mine").await;
    for expected in ["one", "two", "three", "mine"] {
        assert_eq!(client.text().await, expected);
    }
    assert_eq!(others.text().await, "joined new");
}

#[tokio::test]
async fn the_first_subprotocol_is_chosen() {
    let node = Setup::memory().start().await;
    let offer = [("sec-websocket-protocol", "first, second")];
    let client = TestClient::try_connect(node.addr(), "/party/lobby", &offer).await.unwrap();
    assert_eq!(client.header("sec-websocket-protocol"), Some("first"));
    assert_eq!(node.connect("lobby").await.header("sec-websocket-protocol"), None);
}

#[tokio::test]
async fn a_room_may_send_larger_messages_than_a_client() {
    let node = Setup::memory().start().await;
    let limits = node.limits().clone();
    let mut client = node.connect("lobby?_pk=a").await;
    let mut other = node.connect("lobby?_pk=b").await;
    for bytes in [2 << 20, limits.room_message_bytes_max] {
        client.tell(json!([{"broadcast_bytes": bytes}])).await;
        for hears in [&mut client, &mut other] {
            assert_eq!(hears.text().await.len() as u64, bytes);
        }
    }
    let too_much = limits.room_message_bytes_max + 1;
    client.tell(json!([{"broadcast_bytes": too_much}])).await;
    assert_eq!(client.echo("refused").await, "refused");
    // A large message of the room is delivered, and a client that sends as much receives the limit's close code.
    let mut late = node.connect("lobby?_pk=c").await;
    late.send(&"x".repeat(2 << 20)).await;
    assert_eq!(late.closed().await.0, 1009);
}

const REPLACED: &str = "replaced by a newer connection with the same id";

#[tokio::test]
async fn two_tabs_with_one_id_stop_replacing_each_other() {
    let node = Setup::memory().limits(|limits| limits.replacements_max = 3).start().await;
    let mut log = EventStream::follow(&node, "room=lobby&level=warn").await;
    let mut tab = node.connect("lobby?_pk=same").await;
    for _ in 0..3 {
        let newer = node.connect("lobby?_pk=same").await;
        assert_eq!(tab.closed().await, (4409, REPLACED.to_owned()));
        tab = newer;
    }
    for _ in 0..3 {
        let (code, reason) = node.connect("lobby?_pk=same").await.closed().await;
        assert_eq!(code, 1013);
        assert!(reason.contains("an id belongs to one connection"), "{reason}");
    }
    // The connected client stays, and other ids are not affected.
    assert_eq!(tab.echo("still here").await, "still here");
    assert_eq!(node.connect("lobby?_pk=other").await.echo("hello").await, "hello");
    // A client that the room closed may come again.
    tab.tell(json!([{"close": [4000, "bye"]}])).await;
    let mut again = node.connect("lobby?_pk=same").await;
    assert_eq!(again.echo("back").await, "back");
    again.tell(json!([{"err": "the end"}])).await;
    let said = log.texts_to("the end").await;
    let named =
        said.iter().filter(|text| text.contains(r#"the id "same" replaced each other 3 times"#));
    assert_eq!(named.count(), 1, "it is logged once per window: {said:?}");
}

#[tokio::test]
async fn a_second_client_with_the_same_id_replaces_the_first() {
    let node = Setup::memory().start().await;
    let mut first = node.connect("lobby?_pk=same&state=first").await;
    let mut second = node.connect("lobby?_pk=same&state=second").await;
    assert_eq!(first.closed().await, (4409, REPLACED.to_owned()));
    let replaced = format!(r#"close same 4409 "{REPLACED}" clean=false state="first""#);
    assert_eq!(
        events(&node, "lobby", 3).await,
        ["connect same", replaced.as_str(), "connect same"]
    );
    // The end of the first socket does not touch the second.
    assert_eq!(first.recv().await, Got::End);
    assert_eq!(second.ask(json!(["state"])).await, r#""second""#);
    let report = node.report("lobby").await;
    assert_eq!(report["connections"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["events"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn a_client_without_an_id_gets_one() {
    let node = Setup::memory().start().await;
    let _clients = [node.connect("lobby").await, node.connect("lobby?_pk=").await];
    let report = node.report("lobby").await;
    let ids: Vec<&str> =
        report["connections"].as_array().unwrap().iter().filter_map(|c| c["id"].as_str()).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1] && ids.iter().all(|id| id.len() == 36), "{ids:?}");
}

#[tokio::test]
async fn a_full_room_is_closed_with_1013() {
    let node = Setup::memory().limits(|limits| limits.room_connections_max = 2).start().await;
    let _first = node.connect("lobby?_pk=a").await;
    let _second = node.connect("lobby?_pk=b").await;
    assert_eq!(
        node.connect("lobby?_pk=c").await.closed().await,
        (1013, "the room is full".to_owned())
    );
    // A client that comes back takes its own place.
    assert_eq!(node.connect("lobby?_pk=a").await.echo("back").await, "back");
}

#[tokio::test]
async fn a_slow_client_is_closed_with_1013_and_costs_nobody_else() {
    let node = Setup::memory()
        .limits(|limits| {
            limits.room_message_bytes_max = 64 << 10;
            limits.outbox_bytes_max = 256 << 10;
        })
        .start()
        .await;
    let mut slow = RawClient::upgrade(node.addr(), "/party/lobby?_pk=slow").await;
    let mut fast = node.connect("lobby?_pk=fast").await;
    // Far more than the kernel keeps for the two ends of a connection.
    for _ in 0..400 {
        fast.tell(json!([{"broadcast_bytes": 64 << 10}])).await;
        assert_eq!(fast.text().await.len(), 64 << 10);
    }
    let mut heard = 0;
    let last = loop {
        match slow.frame().await {
            Some(frame) if frame.opcode == 1 => heard += 1,
            other => break other,
        }
    };
    assert_eq!(last.and_then(|frame| frame.close_code()), Some(1013));
    assert!(heard < 400, "the slow client received everything");
    assert_eq!(fast.echo("still here").await, "still here");
}

#[tokio::test]
async fn draining_closes_with_1012() {
    let node = Setup::memory().start().await;
    let mut client = node.connect("lobby").await;
    let addr = node.addr();
    let (_, closed) = tokio::join!(node.stop(), client.closed());
    assert_eq!(closed, (1012, "the server is shutting down".to_owned()));
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn an_open_socket_counts_among_the_nodes_connections() {
    let node = Setup::memory().limits(|limits| limits.connections_max = 1).start().await;
    let mut client = TestClient::connect(node.addr(), "/party/lobby").await;
    let mut waiting = std::pin::pin!(node.get("/_room/health"));
    for _ in 0..100 {
        tokio::select! {
            reply = &mut waiting => panic!("admitted beyond the limit: {reply:?}"),
            text = client.echo("still the only one") => assert_eq!(text, "still the only one"),
        }
    }
    client.close(Some((1000, ""))).await;
    assert_eq!(waiting.await.status, 200);
}

#[tokio::test]
async fn draining_closes_sockets_one_by_one_and_each_works_until_then() {
    let node = Setup::memory()
        // The window is added to the time to end, or most sockets would never receive a close frame.
        .limits(|limits| (limits.drain_ms_max, limits.drain_spread_ms) = (2_000, 4_000))
        .start()
        .await;
    let (told, worked) = (watch::Sender::new(0), Arc::new(AtomicUsize::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut client = RawClient::upgrade(node.addr(), "/party/lobby").await;
        let (told, worked, mut another) = (told.clone(), worked.clone(), told.subscribe());
        clients.spawn(async move {
            loop {
                let frame = tokio::select! {
                    frame = client.frame() => frame.expect("no connection breaks off"),
                    _ = another.changed() => {
                        client.write(&masked(0x81, b"hello")).await;
                        continue;
                    }
                };
                let Some(code) = frame.close_code() else {
                    worked.fetch_add(1, Ordering::SeqCst);
                    continue;
                };
                assert_eq!(code, 1012);
                told.send_modify(|count| *count += 1);
                // The node waits for the answer.
                return client.write(&masked(0x88, &1012_u16.to_be_bytes())).await;
            }
        });
    }
    node.stop().await;
    assert_eq!(*told.borrow(), 8, "the node did not wait for its sockets");
    assert!(worked.load(Ordering::SeqCst) > 0, "no socket worked once the first was closed");
    clients.join_all().await;
}

#[tokio::test]
async fn an_offer_of_compression_is_declined_and_the_socket_works() {
    let node = Setup::memory().start().await;
    for offer in ["permessage-deflate", "permessage-deflate; client_max_window_bits, x-other"] {
        let headers = [("sec-websocket-extensions", offer)];
        let path = "/parties/main/lobby?quiet=1";
        let mut client = TestClient::try_connect(node.addr(), path, &headers).await.unwrap();
        assert_eq!(client.header("sec-websocket-extensions"), None);
        let text = "a text that could be compressed, ".repeat(1_000);
        assert_eq!(client.echo(&text).await, text);
    }
}
