//! Messages that a client may miss: volatile ones, and the latest of each key.

use room_runtime::RetentionSettings;
use room_tests::{RawClient, Requests, Setup, TestClient, TestNode, until};
use serde_json::{Value, json};

const ROOM: &str = "/parties/main/lobby";

/// Returns what the operator sees of the room `lobby`.
async fn look(node: &TestNode) -> Value {
    let secret = format!("Bearer {}", node.secret());
    let path = "/_room/admin/rooms/main/lobby";
    node.request("GET", path, &[("authorization", &secret)], &[]).await.json()
}

/// Returns the messages that wait for a client.
async fn lag(node: &TestNode, id: &str) -> u64 {
    let seen = look(node).await;
    let connections = seen["connections"].as_array().unwrap();
    let own = connections.iter().find(|connection| connection["id"] == id);
    own.unwrap_or_else(|| panic!("{id} is not in {seen}"))["lag"]["messages"].as_u64().unwrap()
}

/// Opens a WebSocket that takes little.
async fn narrow(node: &TestNode, id: &str) -> RawClient {
    let mut client = RawClient::narrow(node.addr()).await;
    let request = format!(
        "GET {ROOM}?_pk={id}&quiet=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    client.write(request.as_bytes()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101"));
    client
}

/// Reads texts up to this one.
async fn read_to(client: &mut RawClient, last: &str) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let frame = client.frame().await.unwrap();
        assert_eq!(frame.opcode, 1, "{frame:?}");
        texts.push(String::from_utf8(frame.payload).unwrap());
        if texts.last().is_some_and(|text| text == last) {
            return texts;
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_one_message_of_each_key_when_it_reads_again() {
    let node = Setup::memory().start().await;
    let mut slow = narrow(&node, "slow").await;
    let mut quick = TestClient::connect(node.addr(), &format!("{ROOM}?_pk=quick")).await;
    let large = 256 * 1024;
    until("messages to wait for the slow client", async || {
        quick.tell(json!([{"broadcast_bytes": large}])).await;
        assert_eq!(quick.text().await.len(), large);
        lag(&node, "slow").await > 1
    })
    .await;
    let waited = lag(&node, "slow").await;
    // A second of three pointers at 60 Hz, ten times.
    for frame in 0..600 {
        for key in ["ada", "bob", "cy"] {
            let text = format!("{key} {frame}");
            quick.tell(json!([{"broadcast_latest": [key, text]}])).await;
            assert_eq!(quick.text().await, text);
        }
    }
    quick.tell(json!([{"broadcast_volatile": "typing"}, {"broadcast": "cy leaves"}])).await;
    quick.tell(json!([{"broadcast_latest": ["ada", "ada moved"]}, {"broadcast": "end"}])).await;
    for text in ["typing", "cy leaves", "ada moved", "end"] {
        assert_eq!(quick.text().await, text);
    }
    let behind = lag(&node, "slow").await;
    assert!(behind <= waited + 5, "{behind} messages wait, {waited} of them large");
    let texts = read_to(&mut slow, "end").await;
    let small: Vec<&String> = texts.iter().filter(|text| text.len() < large).collect();
    assert_eq!(small, ["bob 599", "cy 599", "cy leaves", "ada moved", "end"]);
    let metrics = node.get("/_room/metrics").await.text();
    for line in [
        "room_messages_missed_total{reason=\"replaced\"} 1798",
        "room_messages_missed_total{reason=\"volatile\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn messages_that_may_be_missed_have_no_id_and_are_not_remembered() {
    let resume = Some("1m".parse().unwrap());
    let settings = RetentionSettings { resume, history: None };
    let node = Setup::memory().remembering(settings).start().await;
    let headers = [("sec-websocket-protocol", "room.ids")];
    let path = format!("{ROOM}?_pk=ada&quiet=1");
    let mut ada = TestClient::try_connect(node.addr(), &path, &headers).await.unwrap();
    let welcome: Value = serde_json::from_str(&ada.text().await).unwrap();
    let (since, secret) = (&welcome["welcome"]["at"], &welcome["welcome"]["secret"]);
    let mut bob = TestClient::connect(node.addr(), &format!("{ROOM}?_pk=bob&quiet=1")).await;
    let script = json!([
        {"broadcast_volatile": "v"}, {"broadcast_latest": ["k", "1"]}, {"broadcast": "kept"},
        {"broadcast_latest": ["k", "2"]},
    ]);
    bob.tell(script.clone()).await;
    let mut heard = Vec::new();
    while heard.last().is_none_or(|text| text != "- 2") {
        heard.push(ada.text().await);
    }
    // A client that keeps up may get the first of a key before the second replaces it.
    heard.retain(|text| text != "- 1");
    assert_eq!((heard[0].as_str(), heard.len()), ("- v", 3));
    assert!(heard[1].ends_with(" kept") && !heard[1].starts_with('-'), "{heard:?}");
    drop(ada);
    until("ada to be away", async || look(&node).await["log"]["away"] == 1).await;
    bob.tell(script).await;
    until("the room to have sent it", async || {
        let seen = look(&node).await;
        seen["log"]["messages"] == 2
    })
    .await;
    let (since, secret) = (since.as_str().unwrap(), secret.as_str().unwrap());
    let path = format!("{path}&_since={since}&_resume={secret}");
    let mut ada = TestClient::try_connect(node.addr(), &path, &headers).await.unwrap();
    assert!(ada.text().await.contains("resumed"));
    bob.tell(json!([{"broadcast": "end"}])).await;
    for end in [" kept", " kept", " end"] {
        let text = ada.text().await;
        assert!(text.ends_with(end), "{text}");
    }
}

#[tokio::test]
async fn a_key_that_is_too_long_is_refused_with_its_limit() {
    let node = Setup::memory().limits(|limits| limits.latest_key_bytes_max = 8).start().await;
    let said = node.post("lobby", &json!([{"broadcast_latest": ["12345678", "x"]}])).await;
    assert_eq!(said.status, 200, "{}", said.text());
    for key in ["123456789", ""] {
        let refused = node.post("lobby", &json!([{"broadcast_latest": [key, "x"]}])).await;
        assert_eq!(refused.status, 500);
        let text = refused.text();
        assert!(text.contains("1 to 8 bytes") && text.contains("latest_key_bytes_max"), "{text}");
    }
}
