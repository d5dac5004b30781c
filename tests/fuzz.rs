//! Strangers' bytes against a whole node: kept inputs of `inputs/corpus`, and changes of them. Whatever comes, the
//! node continues.
//!
//! `inputs/src/lib.rs` says how to keep an input, or try more of them. The parts of the runtime try theirs beside
//! their code, as do `room.toml` and `.env` in `cli`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use room_runtime::{
    ConnectionId, Limits, PublishKeySetting, RetentionSettings, RoomId, connection_of_query,
    room_of_path,
};
use room_test_inputs::Inputs;
use room_tests::{Got, RawClient, Requests, Setup, TestClient, TestNode, guest};

/// The number of connections that a test of a whole node makes with changed inputs.
const CONNECTIONS: usize = 300;
/// After so many of them, the test serves a well-behaved client in between.
const BETWEEN: usize = 25;

/// Returns the bytes, each percent-encoded.
fn encoded(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
}

/// Decodes percent-encoded bytes; a `%` without two digits is itself.
fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((byte, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.extend(u8::try_from(high * 16 + low));
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = behind;
            }
        }
    }
    bytes
}

#[test]
fn any_url_leads_to_a_room_or_is_refused() {
    let limits = Limits::default();
    let words =
        ["/", "/parties/", "/party/", "%2f", "%00", "%ff", "%C3%A9", "é", "?", "&", "_pk=", "+"];
    Inputs::of("room-paths", &words).each(|input| {
        let url = String::from_utf8_lossy(input);
        let (path, query) = url.split_once('?').unwrap_or((&url, ""));
        if let Ok(Some(room)) = room_of_path(path, &limits) {
            let name = room.name();
            assert!((1..=256).contains(&name.len()) && !name.contains(char::is_control));
            assert_eq!(RoomId::new(room.party().clone(), name, 256), Ok(room.clone()));
            let at = if path.starts_with("/party/") { 2 } else { 3 };
            let segment = path.split('/').nth(at).unwrap_or_default();
            assert_eq!(decoded(segment), name.as_bytes(), "it is decoded once");
            let again = format!("/parties/{}/{}", room.party(), encoded(name.as_bytes()));
            assert_eq!(room_of_path(&again, &limits), Ok(Some(room)));
        }
        if let Ok(id) = connection_of_query(Some(query), &limits) {
            assert_eq!(ConnectionId::parse(id.as_str(), 256), Ok(id.clone()));
            let again = format!("_pk={}", encoded(id.as_str().as_bytes()));
            assert_eq!(connection_of_query(Some(&again), &limits), Ok(id));
        }
    });
}

async fn serves(node: &TestNode) {
    let mut witness = node.connect("witness?quiet=1").await;
    assert_eq!(witness.echo("still here").await, "still here");
}

#[tokio::test]
async fn no_sequence_of_frames_breaks_a_node() {
    let node = Setup::memory().limits(|limits| limits.close_ms_max = 50).start().await;
    let mut inputs = Inputs::of("websocket-frames", &["\u{0}", "\u{1}a"]);
    let kept = inputs.kept().to_vec();
    let changed: Vec<_> = (0..CONNECTIONS).map(|_| inputs.changed()).collect();
    for (number, input) in kept.into_iter().chain(changed).enumerate() {
        let mut client = RawClient::upgrade(node.addr(), "/party/lobby?quiet=1").await;
        client.write(&input).await;
        if number % 2 == 0 {
            client.finish().await;
        }
        if number % BETWEEN == 0 {
            serves(&node).await;
        }
    }
    serves(&node).await;
    assert_eq!(node.report("lobby").await["starts"], 1);
}

#[tokio::test]
async fn no_frame_of_a_session_breaks_a_node_or_ends_the_session() {
    let node = Setup::memory().start().await;
    let words = ["{\"type\":\"", "\"channel\":", "\"ref\":", "join", "send", "leave"];
    let mut inputs = Inputs::of("room-one-frames", &words);
    let kept = inputs.kept().to_vec();
    let changed: Vec<_> = (0..CONNECTIONS).map(|_| inputs.changed()).collect();
    let headers = [("sec-websocket-protocol", "room.1")];
    let path = "/parties/main/lobby?quiet=1";
    let mut session = TestClient::try_connect(node.addr(), path, &headers).await.unwrap();
    for (number, input) in kept.into_iter().chain(changed).enumerate() {
        match std::str::from_utf8(&input) {
            Ok(text) if number % 3 > 0 => session.send(text).await,
            _ => session.send_binary(&input).await,
        }
        // No input has this number.
        let ping = format!(r#"{{"type":"ping","ref":{}}}"#, 1_000_000_000 + number);
        session.send(ping).await;
        let pong = format!(r#"{{"ref":{},"type":"pong"}}"#, 1_000_000_000 + number);
        loop {
            match session.recv().await {
                Got::Text(text) if text == pong => break,
                Got::Text(_) | Got::Binary(_) => {}
                other => panic!("{other:?} after {}", input.escape_ascii()),
            }
        }
        if number % BETWEEN == 0 {
            serves(&node).await;
        }
    }
    serves(&node).await;
}

#[tokio::test]
async fn no_sequence_of_requests_breaks_a_node() {
    let node = Setup::memory().limits(|limits| limits.header_ms_max = 2_000).start().await;
    let mut urls = Inputs::of("room-paths", &["/party/", "%00", " ", "\r\n"]);
    let mut heads = Inputs::of("forwarded", &["\r\n", "\r\n\r\n", ": ", "host", "\u{0}"]);
    let kept = urls.kept().to_vec();
    let changed: Vec<_> = (0..CONNECTIONS).map(|_| (urls.changed(), heads.changed())).collect();
    for (number, (url, head)) in
        kept.into_iter().map(|url| (url, Vec::new())).chain(changed).enumerate()
    {
        let method = ["GET", "POST", "HEAD", "OPTIONS", "G\u{0}T"][number % 5];
        let request = [
            method.as_bytes(),
            b" ",
            &url,
            b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n",
            &head,
            b"\r\n\r\n",
        ]
        .concat();
        let mut client = RawClient::open(node.addr()).await;
        client.write(&request).await;
        client.finish().await;
        client.rest().await;
        if number % BETWEEN == 0 {
            serves(&node).await;
        }
    }
    serves(&node).await;
}

/// A node that every client without a WebSocket may come back to, and that other servers publish to.
async fn open_node() -> TestNode {
    let resume = Some("1m".parse().unwrap());
    let limits =
        |limits: &mut Limits| (limits.poll_ms_max, limits.room_connections_max) = (1, 100_000);
    let setup = Setup::memory().limits(limits).sse();
    let setup = setup.remembering(RetentionSettings { resume, history: None });
    let keys = vec![PublishKeySetting::Name("PUBLISH_KEY".to_owned())];
    let node = setup.publish(keys).start_empty().await;
    node.deploy(guest("puppet"), &[("PUBLISH_KEY", "0123456789abcdef")]).await.unwrap();
    node
}

#[tokio::test]
async fn nothing_that_a_returning_client_says_breaks_a_node() {
    let node = open_node().await;
    let words = ["_since=", "_resume=", "_rewind=", "_poll", "&", "-", ".", "%", "closed-", "ada"];
    let mut inputs = Inputs::of("returning-clients", &words);
    let kept = inputs.kept().to_vec();
    let changed: Vec<_> = (0..CONNECTIONS).map(|_| inputs.changed()).collect();
    for (number, input) in kept.into_iter().chain(changed).enumerate() {
        let text: String = String::from_utf8_lossy(&input).into_owned();
        let (query, last) = text.split_once(' ').unwrap_or((&text, ""));
        let is_word = |byte: &char| byte.is_ascii_graphic();
        let query: String = query.chars().filter(is_word).collect();
        let last: String = last.chars().filter(is_word).collect();
        for accept in ["text/event-stream", "application/json"] {
            let mut client = RawClient::open(node.addr()).await;
            let request = format!(
                "GET /parties/main/lobby?{query}&quiet=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                 Accept: {accept}\r\nLast-Event-ID: {last}\r\n\r\n"
            );
            client.write(request.as_bytes()).await;
            let head = client.head().await;
            let status: u16 = head[9..12].parse().unwrap();
            assert!((200..500).contains(&status), "{request:?} was answered with {head}");
        }
        if number % BETWEEN == 0 {
            serves(&node).await;
        }
    }
    serves(&node).await;
}

#[tokio::test]
async fn no_body_of_a_publication_breaks_a_node() {
    let node = open_node().await;
    let words =
        ["\"", "{", "[", "\"text\":", "\"room\":\"lobby\"", "\"json\":", "\\u0000", "1e999"];
    let mut inputs = Inputs::of("publications", &words);
    let kept = inputs.kept().to_vec();
    let changed: Vec<_> = (0..CONNECTIONS).map(|_| inputs.changed()).collect();
    let headers = [("Authorization", "Bearer 0123456789abcdef")];
    for (number, input) in kept.into_iter().chain(changed).enumerate() {
        let reply = node.request("POST", "/_room/publish", &headers, &input).await;
        let shown = String::from_utf8_lossy(&input);
        assert!([200, 400, 413].contains(&reply.status), "{shown}: {}", reply.text());
        if reply.status != 200 {
            continue;
        }
        let results = reply.json()["results"].as_array().cloned().unwrap_or_default();
        assert!(results.iter().all(|result| result["status"] != 500), "{shown}: {results:?}");
        if number % BETWEEN == 0 {
            serves(&node).await;
        }
    }
    serves(&node).await;
}
