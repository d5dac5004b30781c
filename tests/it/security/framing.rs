//! Requests that two servers on their way could read differently, so that one of them sees two.

use room_tests::{RawClient, Requests, Setup, TestNode};
use serde_json::json;

/// A second request, which a careless server would find after the first.
const SMUGGLED: &str = "POST /party/victim HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]";

/// Returns all bytes that come back for these bytes, to the end of the connection.
async fn answers(node: &TestNode, bytes: &[u8]) -> String {
    let mut client = RawClient::open(node.addr()).await;
    client.write(bytes).await;
    client.finish().await;
    String::from_utf8_lossy(&client.rest().await).into_owned()
}

/// Returns the statuses of the responses in these bytes.
fn statuses(answers: &str) -> Vec<u16> {
    let pieces = answers.split("HTTP/1.1 ").skip(1);
    pieces.map(|piece| piece[..3].parse().unwrap()).collect()
}

async fn no_victim(node: &TestNode, what: &str) {
    assert_eq!(node.report("victim").await["handled"], 1, "{what} reached the other room");
}

#[tokio::test]
async fn an_ambiguous_head_gets_400_and_ends_the_connection() {
    let node = Setup::memory().start().await;
    for (what, lines) in [
        ("two lengths", "Content-Length: 0\r\nContent-Length: 50\r\n"),
        ("a list of lengths", "Content-Length: 0, 50\r\n"),
        ("a length with a sign", "Content-Length: +5\r\n"),
        ("a negative length", "Content-Length: -1\r\n"),
        ("a length in hexadecimal", "Content-Length: 0x5\r\n"),
        ("a length beyond all numbers", "Content-Length: 99999999999999999999\r\n"),
        ("a length that is empty", "Content-Length:\r\n"),
        ("an invalid encoding", "Transfer-Encoding: x-chunked\r\n"),
        ("an encoding after chunked", "Transfer-Encoding: chunked, identity\r\n"),
        ("two encodings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("a folded line", "X-One: 1\r\n Transfer-Encoding: chunked\r\n"),
        ("a folded encoding", "Transfer-Encoding:\r\n chunked\r\n"),
        ("a space before the colon", "Transfer-Encoding : chunked\r\n"),
        ("a tab before the colon", "Content-Length\t: 5\r\n"),
        ("a bare carriage return", "X-One: 1\rContent-Length: 5\r\n"),
        ("a NUL", "X-One: a\0b\r\n"),
        ("a line without a colon", "nonsense\r\n"),
    ] {
        let head = format!("POST /party/x HTTP/1.1\r\nHost: x\r\n{lines}\r\n{SMUGGLED}");
        let answers = answers(&node, head.as_bytes()).await;
        assert_eq!(statuses(&answers), [400], "{what}: {answers}");
    }
    let old = format!("POST /party/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{SMUGGLED}");
    let answers = answers(&node, old.as_bytes()).await;
    assert!(
        answers.starts_with("HTTP/1.0 400") || answers.starts_with("HTTP/1.1 400"),
        "{answers}"
    );
    no_victim(&node, "something").await;
}

#[tokio::test]
async fn chunked_encoding_overrides_a_length_and_ends_the_connection() {
    let node = Setup::memory().start().await;
    for lines in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
    ] {
        let request = format!(
            "POST /party/x/reflect HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n2\r\n[]\r\n0\r\n\r\n{SMUGGLED}"
        );
        let answers = answers(&node, request.as_bytes()).await;
        assert_eq!(statuses(&answers), [200], "{answers}");
        assert!(answers.contains(r#""body":[91,93]"#), "{answers}");
        // A room does not receive an invalid length.
        assert!(!answers.contains(r#"["content-length","#), "{answers}");
    }
    no_victim(&node, "what followed").await;
}

#[tokio::test]
async fn invalid_chunks_reach_no_room_and_end_the_connection() {
    let node = Setup::memory().start().await;
    for (what, chunks) in [
        ("no number", "zz\r\n[]\r\n0\r\n\r\n"),
        ("a sign", "+2\r\n[]\r\n0\r\n\r\n"),
        ("a prefix", "0x2\r\n[]\r\n0\r\n\r\n"),
        ("a number beyond all", "fffffffffffffffff\r\n[]\r\n0\r\n\r\n"),
        ("a chunk longer than it says", "1\r\n[]\r\n0\r\n\r\n"),
        ("a bare line feed after the size", "2\n[]\r\n0\r\n\r\n"),
        ("a bare line feed after an extension", "2;a\n[]\r\n0\r\n\r\n"),
        ("no size", "\r\n[]\r\n0\r\n\r\n"),
    ] {
        let request = format!(
            "POST /party/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{SMUGGLED}"
        );
        let answers = answers(&node, request.as_bytes()).await;
        assert_eq!(statuses(&answers), [408], "{what}: {answers}");
    }
    assert_eq!(node.report("x").await["handled"], 1, "half a body reached the room");
    no_victim(&node, "what followed").await;
}

#[tokio::test]
async fn bare_line_feeds_yield_one_request_of_its_declared_length() {
    let node = Setup::memory().start().await;
    let request = format!(
        "POST /party/x/reflect HTTP/1.1\nHost: x\nConnection: close\nContent-Length: {}\n\n{SMUGGLED}",
        SMUGGLED.len()
    );
    let mut client = RawClient::open(node.addr()).await;
    client.write(request.as_bytes()).await;
    let said = String::from_utf8_lossy(&client.rest().await).into_owned();
    assert_eq!(statuses(&said), [200], "{said}");
    // Nor does one hide a second length.
    let hidden = format!(
        "POST /party/x HTTP/1.1\r\nHost: x\r\nX-One: 1\nContent-Length: 0\r\nContent-Length: 9\r\n\r\n{SMUGGLED}"
    );
    assert_eq!(statuses(&answers(&node, hidden.as_bytes()).await), [400]);
    no_victim(&node, "what the body says").await;
}

#[tokio::test]
async fn a_truncated_body_reaches_no_room() {
    let node = Setup::memory().start().await;
    for (what, rest) in [
        ("a body", "Content-Length: 10\r\n\r\n[]"),
        ("a chunk", "Transfer-Encoding: chunked\r\n\r\n5\r\n[]"),
        ("the last chunk", "Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n"),
        ("trailers", "Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\nX-Half"),
    ] {
        let request = format!("POST /party/x HTTP/1.1\r\nHost: x\r\n{rest}");
        let answers = answers(&node, request.as_bytes()).await;
        // The test does not know whether somebody is there to receive it.
        assert!(!answers.contains("HTTP/1.1 200"), "{what}: {answers}");
    }
    assert_eq!(node.report("x").await["handled"], 1, "half a body reached the room");
}

#[tokio::test]
async fn bytes_after_an_upgrade_are_not_a_request() {
    let node = Setup::memory().start().await;
    let upgrade = "GET /party/lobby HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut client = RawClient::open(node.addr()).await;
    // Twice, so that the bytes read as a frame are there whole.
    client.write(format!("{upgrade}{SMUGGLED}{SMUGGLED}").as_bytes()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101"));
    assert_eq!(client.frame().await.and_then(|frame| frame.close_code()), Some(1002));
    client.finish().await;
    assert_eq!(client.rest().await, b"");
    no_victim(&node, "what followed").await;
}

#[tokio::test]
async fn an_upgrade_with_a_body_is_refused() {
    let node = Setup::memory().start().await;
    for body in
        ["Content-Length: 2\r\n\r\n[]", "Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n"]
    {
        let request = format!(
            "GET /party/lobby HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{body}"
        );
        let answers = answers(&node, request.as_bytes()).await;
        assert_eq!(statuses(&answers), [400], "{answers}");
        assert!(
            answers.contains("this is not a valid WebSocket handshake: it must have no body"),
            "{answers}"
        );
    }
    assert_eq!(node.report("lobby").await["events"], json!([]));
}

#[tokio::test]
async fn a_large_head_gets_431_and_an_announced_large_body_is_refused_at_once() {
    let node = Setup::memory()
        .limits(|limits| (limits.header_bytes_max, limits.body_bytes_max) = (16 * 1024, 1_000))
        .start()
        .await;
    let long = format!("X-Long: {}\r\n", "x".repeat(17 * 1024));
    let many = "X-Many: x\r\n".repeat(200);
    for lines in [long, many] {
        let request = format!("GET /party/x HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        let answers = answers(&node, request.as_bytes()).await;
        assert_eq!(statuses(&answers), [431], "{answers}");
    }
    // Not a byte of the body has been sent when the answer comes.
    let mut client = RawClient::open(node.addr()).await;
    client.write(b"POST /party/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 413"));
    assert_eq!(node.report("x").await["handled"], 1);
}
