//! Sockets of the subprotocol `room.ids`: clients that are lost and come back, and the examples of `sdk/PROTOCOL.md`.

use room_runtime::{HistorySetting, PartyConfig, RetentionSettings};
use room_tests::{Got, Requests, Setup, TestClient, TestNode, guest, until};
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../sdk/PROTOCOL.md");

fn setup() -> Setup {
    let history = HistorySetting { keep: Some(20), keep_for: None, durable: false };
    let resume = Some("1m".parse().unwrap());
    Setup::memory().remembering(RetentionSettings { resume, history: Some(history) })
}

/// Returns what the operator sees of the room `lobby`.
async fn look(node: &TestNode) -> Value {
    let secret = format!("Bearer {}", node.secret());
    let path = "/_room/admin/rooms/main/lobby";
    let reply = node.request("GET", path, &[("authorization", &secret)], &[]).await;
    assert_eq!(reply.status, 200);
    reply.json()
}

/// A client of the subprotocol.
struct Client {
    socket: TestClient,
    /// What the server said first.
    welcome: Value,
    since: String,
}

impl Client {
    async fn open(node: &TestNode, query: &str) -> Self {
        Self::open_in(node, "main", query).await
    }

    async fn open_in(node: &TestNode, party: &str, query: &str) -> Self {
        let path = format!("/parties/{party}/{query}");
        let headers = [("sec-websocket-protocol", "room.ids")];
        let socket = TestClient::try_connect(node.addr(), &path, &headers).await;
        let mut socket = socket.unwrap();
        assert_eq!(socket.header("sec-websocket-protocol"), Some("room.ids"));
        let first: Value = serde_json::from_str(&socket.text().await).unwrap();
        let welcome = first["welcome"].clone();
        let since = welcome["at"].as_str().unwrap_or_default().to_owned();
        Self { socket, welcome, since }
    }

    /// Loses the socket, and returns what the client needs to come back.
    fn lose(self) -> String {
        let secret = self.welcome["secret"].as_str().unwrap();
        format!("_since={}&_resume={secret}", self.since)
    }

    /// Returns the next text, and keeps its id.
    async fn hears(&mut self) -> String {
        let framed = self.socket.text().await;
        let (head, text) = framed.split_once(' ').unwrap();
        if head != "-" {
            self.since = head.to_owned();
        }
        text.to_owned()
    }

    fn arrival(&self) -> &str {
        self.welcome["arrival"].as_str().unwrap()
    }
}

#[tokio::test]
async fn a_lost_socket_is_resumed_by_another_one_with_its_secret() {
    let node = setup().auto_response("ping", "pong").start().await;
    let mut b = node.connect("lobby?_pk=b").await;
    let mut a = Client::open(&node, "lobby?_pk=a&state=mine&tags=red").await;
    assert_eq!(a.welcome["connection"], "a");
    assert_eq!(a.welcome["resume_ms"], 60_000);
    b.tell(json!([{"broadcast": "1"}])).await;
    assert_eq!((a.hears().await, b.text().await), ("1".to_owned(), "1".to_owned()));
    a.socket.send("ping").await;
    assert_eq!(a.socket.text().await, "- pong");
    let card = a.lose();
    let away = || async {
        let seen = look(&node).await;
        seen["log"]["away"] == 1
    };
    until("the room to notice", away).await;
    b.tell(
        json!([{"broadcast": "2"}, {"send_to": ["a", "3"]}, {"broadcast_tagged": ["4", "red"]}]),
    )
    .await;
    assert_eq!(b.text().await, "2");
    let mut a = Client::open(&node, &format!("lobby?_pk=a&{card}")).await;
    assert_eq!(a.arrival(), "resumed");
    for text in ["2", "3", "4"] {
        assert_eq!(a.hears().await, text);
    }
    a.socket.tell(json!(["state"])).await;
    assert_eq!(a.hears().await, r#""mine""#);
    let report = node.report("lobby").await;
    assert_eq!(report["events"], json!(["connect b", "connect a"]));
    // The room never sees what its clients prove themselves with.
    assert!(!report.to_string().contains("_resume"), "{report}");
    let seen = look(&node).await;
    assert_eq!((&seen["log"]["away"], &seen["connections"][1]["away"]), (&json!(0), &json!(false)));
    assert!(!seen.to_string().contains(a.welcome["secret"].as_str().unwrap()), "{seen}");
    a.socket.send_binary(&[1, 2]).await;
    let Got::Binary(bytes) = a.socket.recv().await else { panic!("the puppet answers alike") };
    let (epoch, seq) = (bytes[..8].try_into().unwrap(), bytes[8..16].try_into().unwrap());
    let id = format!("{}-{}", u64::from_be_bytes(epoch), u64::from_be_bytes(seq));
    assert_eq!(&bytes[16..], [1, 2]);
    let since = |id: &str| id.split_once('-').unwrap().1.parse::<u64>().unwrap();
    assert!(since(&id) > since(&a.since));
}

#[tokio::test]
async fn a_server_that_restarts_tells_its_clients_of_the_gap() {
    let history = HistorySetting { keep: Some(20), keep_for: None, durable: false };
    let resume = Some("1m".parse().unwrap());
    let settings = RetentionSettings { resume, history: Some(history) };
    let node = Setup::disk().remembering(settings).start().await;
    let mut a = Client::open(&node, "lobby?_pk=a").await;
    a.socket.send("kept?").await;
    assert_eq!(a.hears().await, "kept?");
    let card = a.lose();
    let node = node.restart().await;
    let a = Client::open(&node, &format!("lobby?_pk=a&{card}")).await;
    assert_eq!((a.arrival(), &a.welcome["gap"]), ("gap", &json!("unknown_connection")));
    let since = card.split('&').next().unwrap();
    let b = Client::open(&node, &format!("lobby?_pk=b&{since}")).await;
    assert_eq!((b.arrival(), &b.welcome["gap"]), ("gap", &json!("too_old")));
}

/// Returns a node on disk whose rooms store what they sent.
fn durable() -> Setup {
    let history = HistorySetting { keep: Some(20), keep_for: None, durable: true };
    let resume = Some("1m".parse().unwrap());
    Setup::disk().remembering(RetentionSettings { resume, history: Some(history) })
}

#[tokio::test]
async fn a_client_continues_after_a_restart_with_everything_that_it_missed() {
    let node = durable().start().await;
    let mut b = node.connect("lobby?_pk=b").await;
    let mut a = Client::open(&node, "lobby?_pk=a&tags=red").await;
    let mut c = Client::open(&node, "lobby?_pk=c").await;
    b.tell(json!([{"broadcast": "1"}])).await;
    assert_eq!((a.hears().await, c.hears().await), ("1".to_owned(), "1".to_owned()));
    let (card, other) = (a.lose(), c.lose());
    b.tell(
        json!([{"broadcast": "2"}, {"send_to": ["a", "3"]}, {"broadcast_tagged": ["4", "red"]}]),
    )
    .await;
    assert_eq!((b.text().await, b.text().await), ("1".to_owned(), "2".to_owned()));
    let node = node.restart().await;
    let mut b = node.connect("lobby?_pk=b").await;
    b.tell(json!([{"broadcast": "5"}])).await;
    assert_eq!(b.text().await, "5");
    let query = format!("lobby?_pk=a&tags=red&{card}");
    let mut a = Client::open(&node, &query).await;
    assert_eq!(a.arrival(), "continued");
    assert!(card.contains(a.welcome["at"].as_str().unwrap()), "it goes on after what it named");
    assert!(card.contains(a.welcome["secret"].as_str().unwrap()), "it keeps its secret");
    for text in ["2", "3", "4", "5"] {
        assert_eq!(a.hears().await, text);
    }
    // What was for another one, it does not get.
    let mut c = Client::open(&node, &format!("lobby?_pk=c&{other}")).await;
    assert_eq!(c.arrival(), "continued");
    assert_eq!((c.hears().await, c.hears().await), ("2".to_owned(), "5".to_owned()));
    b.tell(json!([{"broadcast": "6"}])).await;
    assert_eq!((a.hears().await, c.hears().await), ("6".to_owned(), "6".to_owned()));
    // Lost before it has heard anything: the connection that continued is resumed from where the client was.
    let mut a = Client::open(&node, &query).await;
    assert_eq!(a.arrival(), "resumed");
    for text in ["2", "3", "4", "5", "6"] {
        assert_eq!(a.hears().await, text);
    }
    let report = node.report("lobby").await;
    let events = report["events"].as_array().unwrap();
    assert_eq!(events[events.len() - 3..], ["connect b", "connect a", "connect c"]);
}

#[tokio::test]
async fn a_client_continues_when_it_was_away_for_too_long() {
    let history = HistorySetting { keep: Some(20), keep_for: None, durable: true };
    let settings = RetentionSettings { resume: None, history: Some(history) };
    let node = Setup::memory().remembering(settings).start().await;
    let mut b = node.connect("lobby?_pk=b").await;
    let a = Client::open(&node, "lobby?_pk=a").await;
    let card = a.lose();
    let closed = || async {
        let report = node.report("lobby").await;
        report["events"].as_array().is_some_and(|events| events.len() == 3)
    };
    until("the room to hear of the end", closed).await;
    b.tell(json!([{"broadcast": "1"}])).await;
    assert_eq!(b.text().await, "1");
    let mut a = Client::open(&node, &format!("lobby?_pk=a&{card}")).await;
    assert_eq!((a.arrival(), &a.welcome["resume_ms"]), ("continued", &json!(0)));
    assert_eq!(a.hears().await, "1");
}

#[tokio::test]
async fn history_is_read_after_a_restart_and_an_unknown_id_is_a_gap() {
    let node = durable().start().await;
    let mut a = Client::open(&node, "lobby?_pk=a").await;
    for text in ["1", "2", "3"] {
        a.socket.tell(json!([{"broadcast": text}])).await;
        assert_eq!(a.hears().await, text);
    }
    let card = a.lose();
    let node = node.restart().await;
    let mut late = Client::open(&node, "lobby?_pk=late&_rewind=2").await;
    assert_eq!((late.hears().await, late.hears().await), ("2".to_owned(), "3".to_owned()));
    late.socket.tell(json!([{"history": 2}])).await;
    assert_eq!(late.hears().await, "2,3 more: true");
    let seen = look(&node).await;
    assert_eq!(seen["log"]["messages"], 4);
    // An id that the log does not have, as after the restore of an older backup.
    let (epoch, rest) = card.split_once("_since=").unwrap().1.split_once('-').unwrap();
    let (seq, secret) = rest.split_once('&').unwrap();
    let undone = seq.parse::<u64>().unwrap() + 1;
    let query = format!("lobby?_pk=a&_since={epoch}-{undone}&{secret}");
    let a = Client::open(&node, &query).await;
    assert_eq!((a.arrival(), &a.welcome["gap"]), ("gap", &json!("unknown_id")));
    let b = Client::open(&node, &format!("lobby?_pk=b&_since={epoch}-{undone}")).await;
    assert_eq!((b.arrival(), &b.welcome["gap"]), ("gap", &json!("unknown_id")));
}

#[tokio::test]
async fn a_client_continues_in_a_renamed_party_and_in_the_copy_of_a_room() {
    let node = durable().start().await;
    let mut b = node.connect("lobby?_pk=b").await;
    let mut a = Client::open(&node, "lobby?_pk=a").await;
    b.tell(json!([{"broadcast": "1"}])).await;
    assert_eq!((a.hears().await, b.text().await), ("1".to_owned(), "1".to_owned()));
    let card = a.lose();
    b.tell(json!([{"broadcast": "2"}, {"send_to": ["a", "3"]}])).await;
    assert_eq!(b.text().await, "2");
    let secret = format!("Bearer {}", node.secret());
    let operator = [("authorization", secret.as_str())];
    let rooms = "/_room/admin/rooms/main";
    let export = node.request("GET", &format!("{rooms}/lobby/export"), &operator, &[]).await;
    let copied =
        node.request("PUT", &format!("{rooms}/copy/import"), &operator, &export.body).await;
    assert_eq!(copied.status, 200, "{}", copied.text());
    let chat = PartyConfig {
        name: "chat".to_owned(),
        was: Some("main".to_owned()),
        ..node.party(guest("puppet"), &[])
    };
    node.deploy_project(vec![chat]).await.unwrap();
    for room in ["lobby", "copy"] {
        let mut a = Client::open_in(&node, "chat", &format!("{room}?_pk=a&{card}")).await;
        assert_eq!(a.arrival(), "continued", "{room}");
        assert_eq!((a.hears().await, a.hears().await), ("2".to_owned(), "3".to_owned()), "{room}");
    }
}

#[tokio::test]
async fn a_log_that_a_party_gave_up_for_a_while_has_a_gap_there() {
    let memory = HistorySetting { keep: Some(20), keep_for: None, durable: false };
    let node = durable().start().await;
    let mut a = Client::open(&node, "lobby?_pk=a").await;
    a.socket.tell(json!([{"broadcast": "1"}])).await;
    assert_eq!(a.hears().await, "1");
    let card = a.lose();
    let setup = node.stop().await;
    let settings = RetentionSettings { resume: None, history: Some(memory) };
    let node = setup.remembering(settings).start().await;
    let mut b = node.connect("lobby?_pk=b").await;
    b.tell(json!([{"broadcast": "2"}])).await;
    assert_eq!(b.text().await, "2");
    let settings =
        RetentionSettings { history: Some(HistorySetting { durable: true, ..memory }), ..settings };
    let node = node.stop().await.remembering(settings).start().await;
    let a = Client::open(&node, &format!("lobby?_pk=a&{card}")).await;
    assert_eq!((a.arrival(), &a.welcome["gap"]), ("gap", &json!("too_old")));
}

#[tokio::test]
async fn a_room_reads_what_its_earlier_turns_have_sent() {
    let node = setup().start().await;
    let mut a = node.connect("lobby?_pk=a").await;
    for text in ["1", "2", "3"] {
        a.tell(json!([{"broadcast": text}, {"say": "for a"}])).await;
        assert_eq!((a.text().await, a.text().await), (text.to_owned(), "for a".to_owned()));
    }
    a.tell(json!([{"broadcast": "4"}, {"history": 2}, {"put": ["k", 1]}, "flush", {"history": 9}]))
        .await;
    assert_eq!(a.text().await, "4");
    assert_eq!(a.text().await, "2,3 more: true");
    assert_eq!(a.text().await, "1,2,3,4 more: false");
    let plain = Setup::memory().start().await;
    let mut b = plain.connect("lobby?_pk=b").await;
    b.tell(json!([{"say": "never"}, {"history": 2}])).await;
    assert_eq!(b.echo("the turn failed").await, "the turn failed");
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_refused_by_name() {
    let node = setup().start().await;
    for (query, problem) in [
        ("_since=yesterday", "_since is invalid: an id is two numbers with a dash between"),
        ("_since=1-99999999999999999999", "_since is invalid: the numbers of an id are whole"),
        ("_rewind=all", "_rewind is invalid: it is a number of messages, or a time such as"),
    ] {
        let (code, reason) = node.connect(&format!("lobby?{query}")).await.closed().await;
        assert_eq!(code, 4400);
        assert!(reason.starts_with(problem), "{reason}");
    }
    // A secret that no server made is nobody's.
    let a = Client::open(&node, "lobby?_pk=a&_since=1-1&_resume=%F0%9F%92%A9").await;
    assert_eq!(a.welcome["gap"], "unknown_connection");
}

/// Returns the code of the page's blocks in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let open = format!("```{language}\n");
    PAGE.split(&open).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[tokio::test]
async fn the_examples_of_the_page_are_what_a_server_says() {
    let node = setup().auto_response("ping", "pong").start().await;
    let mut a = Client::open(&node, "lobby?_pk=ada").await;
    let example: Value = serde_json::from_str(blocks("json")[0]).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&example["welcome"]), keys(&a.welcome));
    for (key, value) in example["welcome"].as_object().unwrap() {
        assert!(PAGE.contains(&format!("| `{key}` |")), "{key} is explained");
        let kind = std::mem::discriminant::<Value>;
        assert_eq!(kind(value), kind(&a.welcome[key]), "{key}");
    }
    let texts = blocks("text");
    let frames: Vec<_> = texts[0].lines().collect();
    let payload = |line: &str| line.split_once(' ').unwrap().1.to_owned();
    a.socket.send(payload(frames[0])).await;
    let told = a.hears().await;
    assert_eq!(format!("7-42 {told}"), frames[0]);
    a.socket.send("ping").await;
    assert_eq!(a.socket.text().await, frames[1]);
    // The URL of the page leads back, with the values of this client.
    let secret = a.welcome["secret"].as_str().unwrap();
    let url = texts[1].trim().replace("7-42", &a.since);
    let url = url.replace(example["welcome"]["secret"].as_str().unwrap(), secret);
    let query = url.strip_prefix("/parties/main/").unwrap().to_owned();
    drop(a);
    assert_eq!(Client::open(&node, &query).await.arrival(), "resumed");
}
