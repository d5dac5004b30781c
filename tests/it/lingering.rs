//! The end of a connection that the server ends: its last messages arrive, and the client sees a clean end.

use room_tests::{RawClient, Requests, Setup, TestNode, masked};
use serde_json::json;
use std::net::SocketAddr;

/// Returns a node that waits for slow clients far longer than a test does: so a connection that ends in time does not
/// end by that timeout.
fn patient(setup: Setup) -> Setup {
    setup.limits(|limits| {
        (limits.close_ms_max, limits.linger_ms_max) = (600_000, 600_000);
        limits.linger_quiet_ms_max = 600_000;
    })
}

/// Opens a WebSocket and sends all bytes.
async fn sent(addr: SocketAddr, bytes: &[u8]) -> RawClient {
    let mut client = RawClient::upgrade(addr, "/party/lobby").await;
    client.try_write(bytes).await.expect("the server takes all of it");
    client
}

#[tokio::test]
async fn a_connection_that_the_server_fails_ends_at_once_and_cleanly() {
    let node = patient(Setup::memory()).start().await;
    let cases = [
        ("a reserved bit", masked(0xf1, b"x"), 1002),
        ("text that is not UTF-8", masked(0x81, &[0xff]), 1007),
        ("a message that is too large", masked(0x82, &vec![0; 2 << 20]), 1009),
        ("the first piece of one", masked(0x02, &vec![0; 2 << 20]), 1009),
        ("many bytes after an invalid frame", [masked(0xf1, b""), vec![0; 3 << 20]].concat(), 1002),
    ];
    for (what, bytes, code) in cases {
        let mut client = sent(node.addr(), &bytes).await;
        assert_eq!(client.frame().await.and_then(|frame| frame.close_code()), Some(code), "{what}");
        // The client has not ended its side, and answers the close frame.
        client.try_write(&masked(0x88, &code.to_be_bytes())).await.expect("a clean end");
        assert_eq!(client.ended().await.map_err(|error| error.kind()), Ok(Vec::new()), "{what}");
    }
}

/// Returns a message of this many pieces.
fn in_pieces(count: usize, bytes: usize) -> Vec<u8> {
    let first = |number| match number {
        0 => 0x02,
        last if last == count - 1 => 0x80,
        _ => 0x00,
    };
    (0..count).flat_map(|number| masked(first(number), &vec![0; bytes])).collect()
}

#[tokio::test]
async fn a_client_that_reads_only_after_sending_20_mib_reads_why_it_is_refused() {
    let node = patient(Setup::memory()).start().await;
    let much = vec![0; 20 << 20];
    let cases = [
        ("one frame", masked(0x82, &much), 1009),
        ("one message", in_pieces(160, 1 << 17), 1009),
        ("many messages", masked(0x82, &much[..(1 << 20) + 1]).repeat(20), 1009),
        ("much behind a reserved bit", [masked(0xf1, b""), much.clone()].concat(), 1002),
        ("much behind a bad text", [masked(0x81, &[0xff]), masked(0x82, &much)].concat(), 1007),
        ("much behind a bad close", [masked(0x88, &[3, 237]), much.clone()].concat(), 1002),
    ];
    for (what, bytes, code) in cases {
        let mut client = sent(node.addr(), &bytes).await;
        assert_eq!(client.frame().await.and_then(|frame| frame.close_code()), Some(code), "{what}");
        client.try_write(&masked(0x88, &code.to_be_bytes())).await.expect("a clean end");
        assert_eq!(client.ended().await.map_err(|error| error.kind()), Ok(Vec::new()), "{what}");
    }
}

#[tokio::test]
async fn a_client_that_stops_in_a_message_reads_1008_whatever_it_sends_after() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.message_ms_max, limits.linger_ms_max) = (1, 600_000);
        limits.linger_quiet_ms_max = 600_000;
    };
    let node = Setup::memory().limits(limits).start().await;
    let mut client = sent(node.addr(), &masked(0x82, &[0; 100])[..50]).await;
    assert_eq!(client.frame().await.and_then(|frame| frame.close_code()), Some(1008));
    client.try_write(&vec![0; 20 << 20]).await.expect("the server takes all of it");
    assert_eq!(client.ended().await.map_err(|error| error.kind()), Ok(Vec::new()));
}

/// Browsers take an end for a clean one only if nothing that they have queued was left when the close frame came.
#[tokio::test]
async fn a_refused_message_is_answered_when_its_client_has_sent_everything_or_at_a_bound() {
    let long = 600_000;
    let start = |change: fn(&mut room_runtime::Limits)| async move {
        let setup = patient(Setup::memory());
        setup.limits(|limits| limits.refused_quiet_ms = long).limits(change).start().await
    };
    let bytes = masked(0x82, &vec![0; 20 << 20]);
    let code = |frame: Option<room_tests::RawFrame>| frame.and_then(|frame| frame.close_code());
    // It has sent all, and says so.
    let node = start(|_| {}).await;
    let mut client = sent(node.addr(), &bytes).await;
    client.finish().await;
    assert_eq!(code(client.frame().await), Some(1009));
    // It is silent.
    let node = start(|limits| limits.refused_quiet_ms = 1).await;
    assert_eq!(code(sent(node.addr(), &bytes[..1_000]).await.frame().await), Some(1009));
    // It sends more than is taken, or for longer.
    let node = start(|limits| limits.linger_bytes_max = 1 << 20).await;
    assert_eq!(code(sent(node.addr(), &bytes[..3 << 20]).await.frame().await), Some(1009));
    let node = start(|limits| limits.linger_ms_max = 1).await;
    assert_eq!(code(sent(node.addr(), &bytes[..1_000]).await.frame().await), Some(1009));
}

#[tokio::test]
async fn the_server_ends_the_connection_after_the_closing_handshake() {
    let node = patient(Setup::memory()).start().await;
    let mut first = sent(node.addr(), &masked(0x88, &1000_u16.to_be_bytes())).await;
    assert_eq!(first.frame().await.and_then(|frame| frame.close_code()), Some(1000));
    assert_eq!(first.ended().await.map_err(|error| error.kind()), Ok(Vec::new()));
    let mut second = sent(node.addr(), &masked(0x81, br#"[{"close":[4000,"bye"]}]"#)).await;
    assert_eq!(second.frame().await.and_then(|frame| frame.close_code()), Some(4000));
    second.try_write(&masked(0x88, &4000_u16.to_be_bytes())).await.expect("a clean end");
    assert_eq!(second.ended().await.map_err(|error| error.kind()), Ok(Vec::new()));
}

/// Returns the messages that a client receives for these bytes: texts, then the close code.
async fn heard(node: &TestNode, bytes: &[u8]) -> (Vec<String>, Option<u16>) {
    let mut client = sent(node.addr(), bytes).await;
    let mut texts = Vec::new();
    loop {
        match client.frame().await {
            Some(frame) if frame.opcode == 1 => {
                texts.push(String::from_utf8_lossy(&frame.payload).into_owned());
            }
            frame => return (texts, frame.and_then(|frame| frame.close_code())),
        }
    }
}

#[tokio::test]
async fn answers_to_messages_before_an_invalid_frame_arrive_before_the_close() {
    for setup in [Setup::memory(), Setup::disk()] {
        let node = patient(setup).start().await;
        let echo = [0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69];
        let durable = masked(0x81, json!([{"add": "n"}]).to_string().as_bytes());
        let many: Vec<u8> = (0..2_000).flat_map(|_| masked(0x81, b"hi")).collect();
        let bad = |bytes: &[u8]| [bytes, &[0xf1, 0x80, 0, 0, 0, 0]].concat();
        assert_eq!(heard(&node, &bad(&echo)).await, (vec!["hi".to_owned()], Some(1002)));
        assert_eq!(heard(&node, &bad(&durable)).await, (vec!["1".to_owned()], Some(1002)));
        assert_eq!(heard(&node, &bad(&many)).await, (vec!["hi".to_owned(); 2_000], Some(1002)));
        let bad_text = [&echo[..], &masked(0x81, &[0xff])].concat();
        assert_eq!(heard(&node, &bad_text).await, (vec!["hi".to_owned()], Some(1007)));
        let bad_code = [&echo[..], &masked(0x88, &1005_u16.to_be_bytes())].concat();
        assert_eq!(heard(&node, &bad_code).await, (vec!["hi".to_owned()], Some(1002)));
    }
}

#[tokio::test]
async fn a_room_that_does_not_answer_delays_the_close_no_longer_than_its_limit() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.close_ms_max, limits.linger_ms_max) = (100, 600_000);
        limits.linger_quiet_ms_max = 600_000;
        (limits.turn_ms_max, limits.turn_wall_ms_max) = (600_000, 600_000);
    };
    let node = Setup::memory().limits(limits).start().await;
    let slow = masked(0x81, json!([{"sleep": 30_000}]).to_string().as_bytes());
    let bytes = [slow, masked(0xf1, b"")].concat();
    assert_eq!(heard(&node, &bytes).await, (Vec::new(), Some(1002)));
}

#[tokio::test]
async fn an_early_answer_is_read_by_a_client_that_sends_its_whole_body_first() {
    let node = patient(Setup::memory()).start().await;
    let body = vec![b'x'; 20 << 20];
    for (what, path, status) in [
        ("a body that is too large", "/party/lobby", 413),
        ("a body for `on_fetch` that is too large", "/nowhere", 413),
        ("not a path of the server", "/_room/nowhere", 404),
        ("an operator's path without a token", "/_room/admin/rooms", 401),
        ("a method that a route does not have", "/_room/health", 405),
        ("a name that is invalid", "/party/%FF", 400),
    ] {
        let mut client = RawClient::open(node.addr()).await;
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        client.try_write(head.as_bytes()).await.expect("the server reads the head");
        client.try_write(&body).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{what}: {head}");
        assert!(client.ended().await.is_ok(), "{what} ends with a reset");
    }
    assert_eq!(node.get("/party/lobby").await.status, 200);
}

#[tokio::test]
async fn a_client_that_sends_without_end_is_cut_off() {
    let limits = |limits: &mut room_runtime::Limits| {
        (limits.linger_ms_max, limits.linger_bytes_max) = (600_000, 1 << 20);
        limits.linger_quiet_ms_max = 600_000;
    };
    let node = Setup::memory().limits(limits).start().await;
    let mut client = RawClient::open(node.addr()).await;
    let head = "POST /party/x HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n";
    client.try_write(head.as_bytes()).await.expect("the server reads the head");
    let piece = vec![0; 1 << 20];
    while client.try_write(&piece).await.is_ok() {}
}
