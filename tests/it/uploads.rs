//! Request bodies that reach their room in pieces, each a turn of its own.

use room_tests::{RawClient, Requests, Setup, TestNode, until};
use serde_json::{Value, json};

const PATH: &str = "/parties/main/lobby/upload";

/// The sum that the room makes of a body.
fn sum(body: &[u8]) -> u64 {
    body.iter().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

fn body(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

async fn events(node: &TestNode) -> Vec<String> {
    serde_json::from_value(node.report("lobby").await["events"].clone()).unwrap()
}

async fn heard(node: &TestNode, expected: &[&str]) {
    until("the room to hear of it", async || events(node).await.len() >= expected.len()).await;
    assert_eq!(events(node).await, expected);
}

async fn is_open(node: &TestNode) {
    until("the request", async || node.report("lobby").await["streams"] != json!([])).await;
}

/// Begins a request with this framing, and sends a part of its body.
async fn begin(node: &TestNode, framing: &str, part: &str) -> RawClient {
    let mut client = RawClient::open(node.addr()).await;
    let request = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n{part}");
    client.write(request.as_bytes()).await;
    client
}

#[tokio::test]
async fn a_million_bytes_arrive_in_pieces() {
    let node =
        Setup::memory().pieces().limits(|limits| limits.body_bytes_max = 1_000).start().await;
    let body = body(1_000_000);
    let reply = node.request("POST", PATH, &[], &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let told = reply.json();
    assert_eq!((&told["bytes"], &told["sum"]), (&json!(1_000_000), &json!(sum(&body))));
    assert!(told["pieces"].as_u64() > Some(15) && told["largest"].as_u64() <= Some(64 << 10));
    // The same in chunks.
    let mut client = begin(&node, "Transfer-Encoding: chunked\r\nConnection: close", "").await;
    for part in body.chunks(10_007) {
        client.write(format!("{:x}\r\n", part.len()).as_bytes()).await;
        client.write(part).await;
        client.write(b"\r\n").await;
    }
    client.write(b"0\r\n\r\n").await;
    client.head().await;
    let told: Value = serde_json::from_slice(&client.rest().await).unwrap();
    assert_eq!((&told["bytes"], &told["sum"]), (&json!(1_000_000), &json!(sum(&body))));
}

#[tokio::test]
async fn a_request_without_a_body_has_no_pieces_and_a_refused_one_is_not_read() {
    let node = Setup::memory().pieces().start().await;
    assert_eq!(node.get(PATH).await.text(), "whole 0");
    assert_eq!(node.request("POST", PATH, &[("Content-Length", "0")], &[]).await.text(), "whole 0");
    let mut client = RawClient::open(node.addr()).await;
    let request =
        "POST /parties/main/lobby/refused HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    client.write(request.as_bytes()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 403"));
    assert!(events(&node).await.is_empty());
    let whole = Setup::memory().start().await;
    assert_eq!(whole.request("POST", PATH, &[], b"hello").await.text(), "whole 5");
}

#[tokio::test]
async fn an_upload_that_stalls_is_an_error_piece_and_408() {
    let node = Setup::memory().pieces().limits(|limits| limits.piece_ms_max = 100).start().await;
    let mut client = begin(&node, "Content-Length: 10", "hello").await;
    assert!(client.head().await.starts_with("HTTP/1.1 408"));
    heard(&node, &["body Stalled 5", "stream Failed"]).await;
    // The room may answer by itself.
    let mut other = node.connect("lobby?quiet=1").await;
    other.ask(json!([{"put": ["answers", true]}, {"say": "put"}])).await;
    let mut client = begin(&node, "Content-Length: 10\r\nConnection: close", "hello").await;
    assert!(client.head().await.starts_with("HTTP/1.1 422"));
    assert_eq!(String::from_utf8_lossy(&client.rest().await), "Stalled after 5");
    heard(&node, &["body Stalled 5", "stream Failed", "body Stalled 5"]).await;
    assert_eq!(node.report("lobby").await["streams"], json!([]));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_an_error_piece_and_413() {
    let limits = |limits: &mut room_runtime::Limits| limits.body_pieces_bytes_max = 10;
    let node = Setup::memory().pieces().limits(limits).start().await;
    // An announced length is refused before the room gets the request.
    let mut client = begin(&node, "Content-Length: 11", "").await;
    assert!(client.head().await.starts_with("HTTP/1.1 413"));
    assert!(events(&node).await.is_empty());
    let mut client = begin(&node, "Transfer-Encoding: chunked", "5\r\nhello\r\n").await;
    is_open(&node).await;
    client.write(b"6\r\n world\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    let told = events(&node).await;
    assert_eq!(told.last().map(String::as_str), Some("stream Failed"));
    assert!(told[0].starts_with("body TooLarge"), "{told:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_piece() {
    let node = Setup::memory().pieces().start().await;
    let client = begin(&node, "Content-Length: 10", "hello").await;
    is_open(&node).await;
    drop(client);
    // The server may see the end of the body or that of the connection first.
    let ends = async |count: usize| {
        let told = events(&node).await;
        told.iter().filter(|event| event.starts_with("stream ")).count() == count
    };
    until("the end of the response", async || ends(1).await).await;
    // The same after an invalid chunk.
    let mut client = begin(&node, "Transfer-Encoding: chunked", "5\r\nhello\r\n").await;
    is_open(&node).await;
    client.write(b"not a chunk\r\n").await;
    until("both ends", async || ends(2).await).await;
    assert_eq!(node.report("lobby").await["streams"], json!([]));
}

#[tokio::test]
async fn a_failed_piece_fails_the_request() {
    let small = |limits: &mut room_runtime::Limits| limits.body_piece_bytes_max = 4;
    for fault in [json!({"err": "no"}), json!("trap")] {
        let node = Setup::memory().pieces().limits(small).start().await;
        let plan = json!([{"plan": ["on_body", 1, [fault]]}]);
        // The script is a body in pieces, too, so it comes by a message.
        let mut client = node.connect("lobby?quiet=1").await;
        client.tell(plan).await;
        client.ask(json!([{"say": "planned"}])).await;
        let reply = node.request("POST", PATH, &[], b"hello world").await;
        assert_eq!(reply.status, 500, "{}", reply.text());
        heard(&node, &["stream Failed"]).await;
        // The next one is whole again.
        let told = node.request("POST", PATH, &[], b"hello world").await.json();
        assert_eq!(
            (&told["bytes"], &told["pieces"], &told["largest"]),
            (&json!(11), &json!(3), &json!(4))
        );
    }
}

#[tokio::test]
async fn an_answer_in_the_middle_of_a_body_ends_it() {
    let node = Setup::memory().pieces().start().await;
    let mut client = begin(&node, "Transfer-Encoding: chunked", "5\r\nhello\r\n").await;
    is_open(&node).await;
    let mut other = node.connect("lobby?quiet=1").await;
    other.ask(json!([{"stream": {"respond": ["", 202, "enough"]}}, {"say": "said"}])).await;
    assert!(client.head().await.starts_with("HTTP/1.1 202"));
    client.write(b"6\r\n world\r\n").await;
    assert!(events(&node).await.is_empty());
}
