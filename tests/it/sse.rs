//! Clients that connect by server-sent events, and their messages by POST.

use room_runtime::{CorsSetting, HistorySetting, Limits, RetentionSettings};
use room_tests::{RawClient, Reply, Requests, Setup, TestClient, TestNode, guest, until, variant};
use serde_json::{Value, json};

/// An event as a page sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PageEvent {
    name: String,
    id: String,
    data: String,
}

/// A client of an event stream, which reads it as the HTML standard has it.
struct Page {
    client: RawClient,
    head: String,
    text: String,
    /// The blocks that were comments.
    comments: usize,
    connection: String,
    secret: String,
    /// Whether the connection is the one that the client had.
    arrival: String,
}

impl Page {
    /// Opens a stream to the lobby, and reads its first event.
    async fn open(node: &TestNode, query: &str) -> Self {
        Self::over(RawClient::open(node.addr()).await, query).await
    }

    async fn over(client: RawClient, query: &str) -> Self {
        Self::begin(client, &head_of(query, "")).await
    }

    /// Comes back as an `EventSource` does: with the id of the last event, and nothing else.
    async fn again(node: &TestNode, query: &str, last_id: &str) -> Self {
        let head = head_of(query, &format!("Last-Event-ID: {last_id}\r\n"));
        Self::begin(RawClient::open(node.addr()).await, &head).await
    }

    async fn begin(mut client: RawClient, request: &str) -> Self {
        client.write(request.as_bytes()).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{request} was answered with {head}");
        let [text, connection, secret, arrival] = Default::default();
        let mut page = Self { client, head, text, comments: 0, connection, secret, arrival };
        let welcome = page.event().await;
        assert_eq!(welcome.name, "welcome", "{welcome:?}");
        let told: Value = serde_json::from_str(&welcome.data).unwrap();
        page.connection = told["connection"].as_str().unwrap().to_owned();
        page.secret = told["secret"].as_str().unwrap().to_owned();
        page.arrival = told["arrival"].as_str().unwrap().to_owned();
        page
    }

    /// Returns the next block between empty lines; `None` at the end of the body.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let chunk = self.client.chunk().await.expect("the body does not break off");
            if chunk.is_empty() {
                assert_eq!(self.text, "", "the stream ends after a complete event");
                return None;
            }
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Returns the next event, and skips comments.
    async fn event(&mut self) -> PageEvent {
        self.next().await.expect("the stream goes on")
    }

    async fn next(&mut self) -> Option<PageEvent> {
        loop {
            let block = self.block().await?;
            if block == ":" {
                self.comments += 1;
                continue;
            }
            let mut event = PageEvent::default();
            let mut lines = Vec::new();
            for line in block.split('\n') {
                match line.split_once(": ") {
                    Some(("event", name)) => event.name = name.to_owned(),
                    Some(("id", id)) => event.id = id.to_owned(),
                    Some(("data", data)) => lines.push(data),
                    Some(("retry", ms)) => assert!(ms.parse::<u64>().is_ok(), "{block:?}"),
                    _ => panic!("{line:?} in {block:?}"),
                }
            }
            event.data = lines.join("\n");
            return Some(event);
        }
    }

    /// Returns the text of the next event, which must be a message.
    async fn heard(&mut self) -> String {
        let PageEvent { name, id, data } = self.event().await;
        assert_eq!((name.as_str(), id.as_str()), ("", ""), "{data}");
        data
    }

    /// Posts a text.
    async fn post(&self, node: &TestNode, text: &str) -> Reply {
        self.post_as(node, "text/plain", text.as_bytes()).await
    }

    async fn post_as(&self, node: &TestNode, kind: &str, body: &[u8]) -> Reply {
        let headers = [("x-room-secret", self.secret.as_str()), ("content-type", kind)];
        node.request("POST", &posted_to(&self.connection), &headers, body).await
    }

    /// Posts a script to the puppet, which is carried out.
    async fn tell(&self, node: &TestNode, script: Value) {
        let reply = self.post_as(node, "application/json", script.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.text().as_str()), (204, ""));
    }
}

fn head_of(query: &str, headers: &str) -> String {
    format!(
        "GET /parties/main/lobby?{query} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n{headers}\r\n"
    )
}

fn posted_to(connection: &str) -> String {
    format!("/parties/main/lobby?_connection={connection}")
}

/// Asks for a stream that there will not be.
async fn refused(node: &TestNode, query: &str, headers: &[(&str, &str)]) -> Reply {
    let headers = [headers, &[("Accept", "text/event-stream")]].concat();
    node.request("GET", &format!("/parties/main/lobby?{query}"), &headers, &[]).await
}

async fn start(change: impl FnOnce(&mut Limits)) -> TestNode {
    Setup::memory().limits(change).sse().start().await
}

/// Waits until the room has noted an event.
async fn noted(node: &TestNode, words: &str) {
    until(words, async || {
        let events = node.report("lobby").await["events"].clone();
        events.as_array().unwrap().iter().any(|event| event.as_str().unwrap().contains(words))
    })
    .await;
}

#[tokio::test]
async fn an_event_stream_is_a_connection_of_its_room() {
    let node = start(|_| {}).await;
    let mut other = TestClient::connect(node.addr(), "/parties/main/lobby?_pk=bob&tags=red").await;
    let mut page = Page::open(&node, "_pk=ada&hello=one,two&tags=red&state=s").await;
    for header in [
        "content-type: text/event-stream\r\n",
        "cache-control: no-store, no-transform\r\n",
        "x-accel-buffering: no\r\n",
    ] {
        assert!(page.head.contains(header), "{}", page.head);
    }
    assert!(!page.head.contains("content-encoding"), "{}", page.head);
    assert_eq!((page.connection.as_str(), page.secret.len()), ("ada", 32));
    assert_eq!((page.heard().await, page.heard().await), ("one".to_owned(), "two".to_owned()));
    assert_eq!(page.post(&node, "hello").await.status, 204);
    assert_eq!(page.heard().await, "hello");
    page.tell(&node, json!([{"say": "mine"}, {"broadcast_tagged": ["to red", "red"]}])).await;
    assert_eq!((page.heard().await, page.heard().await), ("mine".to_owned(), "to red".to_owned()));
    assert_eq!(other.text().await, "to red");
    page.tell(&node, json!(["transport"])).await;
    other.tell(json!(["transport"])).await;
    assert_eq!(
        (page.heard().await, other.text().await),
        ("sse".to_owned(), "websocket".to_owned())
    );
    let report = node.report("lobby").await;
    assert_eq!(report["connections"][1]["id"], "ada");
    assert_eq!(report["connections"][1]["state"], "s");
}

#[tokio::test]
async fn a_close_is_the_last_event_and_a_final_one_stops_a_client_that_comes_again() {
    let node = start(|_| {}).await;
    for (code, id) in [(4001, "closed-4001"), (1000, "")] {
        let mut page = Page::open(&node, "_pk=ada").await;
        page.tell(&node, json!([{"say": "last"}, {"close": [code, "bye\nnow"]}])).await;
        assert_eq!(page.heard().await, "last");
        let close = page.event().await;
        assert_eq!((close.name.as_str(), close.id.as_str()), ("close", id));
        assert_eq!(
            serde_json::from_str::<Value>(&close.data).unwrap(),
            json!({"code": code, "reason": "bye\nnow"})
        );
        assert_eq!(page.next().await, None);
        noted(&node, &format!("close ada {code} \"bye\\nnow\" clean=true")).await;
        if code == 4001 {
            let reply = refused(&node, "_pk=ada&hello=again", &[("Last-Event-ID", id)]).await;
            assert_eq!((reply.status, reply.text().as_str()), (204, ""));
        }
    }
}

#[tokio::test]
async fn a_party_without_the_setting_answers_such_requests_itself() {
    let node = Setup::memory().start().await;
    let reply = refused(&node, "_pk=ada", &[]).await;
    assert_eq!((reply.status, reply.json()["name"].as_str()), (200, Some("lobby")));
    let script = json!([{"say": "its own"}]).to_string();
    let reply = node.request("POST", &posted_to("ada"), &[], script.as_bytes()).await;
    assert_eq!(reply.json(), json!(["its own"]));
    // With it, a client that prefers something else still reaches on_request.
    let node = start(|_| {}).await;
    let accept = [("Accept", "text/html, text/event-stream;q=0.9")];
    let reply = node.request("GET", "/parties/main/lobby", &accept, &[]).await;
    assert_eq!((reply.status, reply.json()["name"].as_str()), (200, Some("lobby")));
    assert_eq!(node.post("lobby", &json!([{"say": "still"}])).await.json(), json!(["still"]));
}

#[tokio::test]
async fn texts_and_bytes_arrive_whatever_is_in_them() {
    let node = start(|_| {}).await;
    let mut page = Page::open(&node, "").await;
    for (sent, heard) in [
        ("", ""),
        (" a\r\nb\rc\n\nd ", " a\nb\nc\n\nd "),
        ("x\n\nevent: close\ndata: {}", "x\n\nevent: close\ndata: {}"),
        ("é\u{feff}\u{2028}😀", "é\u{feff}\u{2028}😀"),
    ] {
        assert_eq!(page.post(&node, sent).await.status, 204);
        assert_eq!(page.heard().await, heard);
    }
    let bytes = page.post_as(&node, "application/octet-stream", &[0, 255, 10]).await;
    assert_eq!(bytes.status, 204);
    let event = page.event().await;
    assert_eq!((event.name.as_str(), event.data.as_str()), ("binary", "AP8K"));
}

#[tokio::test]
async fn a_post_with_any_other_secret_is_refused_as_one_for_no_connection() {
    let node = start(|_| {}).await;
    let mut page = Page::open(&node, "_pk=ada").await;
    let other = Page::open(&node, "_pk=bob").await;
    let _socket = TestClient::connect(node.addr(), "/parties/main/lobby?_pk=eve").await;
    let own = page.secret.clone();
    let mut texts = Vec::new();
    for (connection, secret) in [
        ("ada", None),
        ("ada", Some("")),
        ("ada", Some("x")),
        ("ada", Some("0123456789abcdef0123456789abcdef")),
        ("ada", Some(other.secret.as_str())),
        ("ada", Some(&own[1..])),
        ("nobody", Some(own.as_str())),
        ("eve", Some(own.as_str())),
        ("", Some(own.as_str())),
        ("%00%ff%2f..", Some(own.as_str())),
    ] {
        let headers = secret.map(|secret| ("x-room-secret", secret));
        let headers: Vec<_> = headers.into_iter().collect();
        let reply = node.request("POST", &posted_to(connection), &headers, b"x").await;
        assert_eq!(reply.status, 403, "{connection} {secret:?} {}", reply.text());
        texts.push(reply.text());
    }
    texts.dedup();
    assert_eq!(texts, ["no connection has this id and this secret"]);
    // In a room that does not run, and the secret in the query.
    let elsewhere = format!("/parties/main/asleep?_connection=ada&_secret={own}");
    assert_eq!(node.request("POST", &elsewhere, &[], b"x").await.status, 403);
    assert_eq!(node.running().await, 1, "a room was woken");
    let beacon = format!("{}&_secret={own}", posted_to("ada"));
    assert_eq!(
        node.request("POST", &beacon, &[("content-type", "text/plain")], b"x").await.status,
        204
    );
    assert_eq!(page.heard().await, "x");
    // A connection that has ended is gone for its own client, and unknown to every other.
    page.tell(&node, json!([{"close": [4000, "over"]}])).await;
    assert_eq!(page.event().await.name, "close");
    assert_eq!(page.next().await, None);
    noted(&node, "close ada").await;
    assert_eq!(page.post(&node, "late").await.status, 410);
    let wrong = [("x-room-secret", other.secret.as_str())];
    assert_eq!(node.request("POST", &posted_to("ada"), &wrong, b"x").await.status, 403);
}

#[tokio::test]
async fn bad_posts_are_answered_with_what_is_wrong_and_the_connection_goes_on() {
    let node = start(|limits| {
        (limits.message_bytes_max, limits.auto_response_bytes_max) = (1_000, 100);
        limits.body_ms_max = 200;
    })
    .await;
    let mut page = Page::open(&node, "_pk=ada").await;
    let secret = page.secret.clone();
    let large = page.post(&node, &"x".repeat(1_001)).await;
    assert_eq!((large.status, large.text().as_str()), (413, "the body is larger than 1000 bytes"));
    let head =
        format!("POST {} HTTP/1.1\r\nHost: x\r\nx-room-secret: {secret}\r\n", posted_to("ada"));
    for (rest, status) in [
        ("Content-Type: text/plain\r\nContent-Length: 10000000\r\n\r\n".to_owned(), 413),
        ("Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n".to_owned(), 408),
        (format!("Transfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n", "x".repeat(1_001)), 413),
        ("Transfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(), 408),
    ] {
        let mut client = RawClient::open(node.addr()).await;
        client.write(format!("{head}{rest}").as_bytes()).await;
        let answer = client.head().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{rest:?} {answer}");
    }
    let invalid = page.post_as(&node, "application/json", b"\xff").await;
    assert_eq!(invalid.status, 400);
    assert!(invalid.text().contains("UTF-8"), "{}", invalid.text());
    // The sender of a message gets the failure of its turn.
    let failed = page.post(&node, r#"[{"say": "lost"}, {"err": "no"}]"#).await;
    assert_eq!(failed.status, 500);
    assert_eq!(page.post(&node, "still here").await.status, 204);
    assert_eq!(page.heard().await, "still here");
}

#[tokio::test]
async fn a_stream_is_refused_as_a_socket_is_and_an_eventsource_knows_whether_to_come_again() {
    let origins = ["https://app.example"];
    let setup = Setup::memory().limits(|limits| limits.room_connections_max = 1);
    let node = setup.origins(&origins).sse().start().await;
    for (query, status, text) in [
        ("verdict=refuse", 403, "not you"),
        ("verdict=err", 401, "asked to fail"),
        ("verdict=respond", 418, "teapot"),
    ] {
        let reply = refused(&node, query, &[]).await;
        assert_eq!((reply.status, reply.text().as_str()), (status, text), "{query}");
    }
    let reply = refused(&node, "", &[("Origin", "https://evil.example")]).await;
    assert_eq!(reply.status, 403);
    let long = "x".repeat(10_000);
    for id in ["", "1-2", "closed-1012", "nonsense", &long] {
        let _page = Page::open(&node, "").await;
        // A stock EventSource gives up after any status but 200, and the room may have space later.
        let reply = refused(&node, "", &[("Last-Event-ID", id)]).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")));
        let text = reply.text();
        assert!(text.starts_with("retry: "), "{text}");
        let close = "\nevent: close\ndata: {\"code\":1013,\"reason\":\"the room is full\"}\n\n";
        assert!(text.ends_with(close), "{text}");
        drop(_page);
        until("the page to be gone", async || {
            node.report("lobby").await["connections"].as_array().unwrap().is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn new_code_takes_over_and_event_streams_notice_nothing() {
    let node = start(|_| {}).await;
    let mut page = Page::open(&node, "_pk=ada&state=kept").await;
    for version in 2..5 {
        let vars = [("VERSION", version.to_string())];
        let vars: Vec<_> = vars.iter().map(|(name, value)| (*name, value.as_str())).collect();
        node.deploy(variant(&guest("puppet"), version), &vars).await.unwrap();
        page.tell(&node, json!([{"var": "VERSION"}, "state"])).await;
        assert_eq!(page.heard().await, version.to_string());
        assert_eq!(page.heard().await, "\"kept\"");
    }
    assert_eq!(node.report("lobby").await["connections"][0]["id"], "ada");
}

#[tokio::test]
async fn a_node_that_stops_closes_event_streams_and_their_clients_come_again() {
    let node = start(|limits| limits.drain_spread_ms = 50).await;
    let mut page = Page::open(&node, "_pk=ada").await;
    let stopping = tokio::spawn(node.stop());
    let close = page.event().await;
    assert_eq!((close.name.as_str(), close.id.as_str()), ("close", ""));
    assert!(close.data.contains("1012"), "{close:?}");
    assert_eq!(page.next().await, None);
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_of_events_costs_only_itself() {
    let node = start(|limits| {
        (limits.outbox_bytes_max, limits.room_message_bytes_max) = (256 * 1024, 128 * 1024);
        (limits.write_ms_max, limits.close_ms_max) = (300, 300);
    })
    .await;
    let slow = Page::over(RawClient::narrow(node.addr()).await, "_pk=slow").await;
    let mut quick = Page::open(&node, "_pk=quick").await;
    let mut sent = 0;
    until("the slow client to be closed", async || {
        quick.tell(&node, json!([{"broadcast_bytes": 64 * 1024}])).await;
        assert_eq!(quick.heard().await.len(), 64 * 1024);
        sent += 1;
        let report = node.report("lobby").await;
        report["connections"].as_array().unwrap().len() == 1
    })
    .await;
    assert!(sent > 1, "the kernel's buffers took nothing");
    noted(&node, "close slow").await;
    assert_eq!(quick.post(&node, "on").await.status, 204);
    assert_eq!(quick.heard().await, "on");
    drop(slow);
}

#[tokio::test]
async fn a_quiet_stream_gets_comments_and_a_client_that_leaves_is_noticed() {
    let node = start(|limits| limits.stream_keep_alive_ms = 20).await;
    let mut page = Page::open(&node, "_pk=ada").await;
    for _ in 0..3 {
        assert_eq!(page.block().await.as_deref(), Some(":"));
    }
    assert_eq!(page.post(&node, "hi").await.status, 204);
    assert_eq!(page.heard().await, "hi");
    drop(page);
    noted(&node, "close ada 1006").await;
}

#[tokio::test]
async fn a_message_of_a_page_wakes_a_room_that_hibernates_and_a_sign_of_life_does_not() {
    let setup = Setup::memory().limits(|limits| limits.hibernate_ms = 50).hibernate();
    let node = setup.auto_response("ping", "pong").sse().start().await;
    let mut page = Page::open(&node, "_pk=ada&state=kept").await;
    let rests = async || until("the room to rest", async || node.live().await == 0).await;
    rests().await;
    let reply = page.post(&node, "ping").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "pong"));
    assert_eq!(node.live().await, 0);
    page.tell(&node, json!(["state"])).await;
    assert_eq!(page.heard().await, "\"kept\"");
    rests().await;
}

#[tokio::test]
async fn posts_of_one_client_are_handled_and_answered_in_order() {
    let node = start(|_| {}).await;
    let mut page = Page::open(&node, "_pk=ada").await;
    let mut client = RawClient::open(node.addr()).await;
    let posts: String = (0..50)
        .map(|number: u32| {
            let body = number.to_string();
            format!(
                "POST {} HTTP/1.1\r\nHost: x\r\nx-room-secret: {}\r\nContent-Type: text/plain\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                posted_to("ada"),
                page.secret,
                body.len()
            )
        })
        .collect();
    client.write(posts.as_bytes()).await;
    for number in 0..50 {
        assert!(client.head().await.starts_with("HTTP/1.1 204"));
        assert_eq!(page.heard().await, number.to_string());
    }
}

#[tokio::test]
async fn pages_that_cors_lists_may_connect_and_post() {
    let page_origin = ("Origin", "https://app.example");
    let origins = CorsSetting::Origins(vec!["https://app.example".to_owned()]);
    let node = Setup::memory().cors(origins).sse().start().await;
    let mut client = RawClient::open(node.addr()).await;
    client.write(head_of("_pk=ada", "Origin: https://app.example\r\n").as_bytes()).await;
    let head = client.head().await;
    assert!(head.contains("access-control-allow-origin: https://app.example\r\n"), "{head}");
    assert!(head.contains("access-control-allow-credentials: true\r\n"), "{head}");
    let asks = [
        page_origin,
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type,last-event-id,x-room-secret"),
    ];
    let reply = node.request("OPTIONS", &posted_to("ada"), &asks, &[]).await;
    assert_eq!(reply.status, 204);
    let allowed = reply.header("access-control-allow-headers");
    assert_eq!(allowed, Some("content-type,last-event-id,x-room-secret"));
    assert_eq!(reply.header("access-control-max-age"), Some("86400"));
    let refused = node.request("POST", &posted_to("ada"), &[page_origin], b"x").await;
    assert_eq!(refused.status, 403);
    let readable = refused.header("access-control-allow-origin");
    assert_eq!(readable, Some("https://app.example"));
    let other =
        node.request("POST", &posted_to("ada"), &[("Origin", "https://b.example")], b"x").await;
    assert_eq!(other.header("access-control-allow-origin"), None);
}

/// Waits until this many clients of the lobby are away.
async fn away(node: &TestNode, count: u64) {
    let bearer = format!("Bearer {}", node.secret());
    let headers = [("authorization", bearer.as_str())];
    until("clients to be away", async || {
        let seen = node.request("GET", "/_room/admin/rooms/main/lobby", &headers, &[]).await.json();
        seen["log"]["away"] == count
    })
    .await;
}

#[tokio::test]
async fn a_stock_event_source_that_comes_back_has_its_connection_and_what_it_missed() {
    let resume = Some("1m".parse().unwrap());
    let retention = RetentionSettings { resume, history: None };
    let node = Setup::memory().sse().remembering(retention).start().await;
    let mut b = node.connect("lobby?_pk=b").await;
    let mut page = Page::open(&node, "tags=red").await;
    assert_eq!(page.arrival, "new");
    b.tell(json!([{"broadcast": "1"}])).await;
    let PageEvent { id, data, .. } = page.event().await;
    assert_eq!(data, "1");
    let (connection, secret) = (page.connection.clone(), page.secret.clone());
    drop(page);
    away(&node, 1).await;
    b.tell(json!([{"broadcast": "2"}, {"broadcast": "3"}])).await;
    let mut page = Page::again(&node, "tags=red", &id).await;
    assert_eq!((page.arrival.as_str(), &page.connection), ("resumed", &connection));
    assert_eq!(page.secret, secret);
    b.tell(json!([{"broadcast": "4"}])).await;
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(page.event().await);
    }
    let texts: Vec<&str> = heard.iter().map(|event| event.data.as_str()).collect();
    assert_eq!(texts, ["2", "3", "4"]);
    // The room noticed nothing, and the secret goes on to prove messages.
    page.tell(&node, json!([])).await;
    let events = node.report("lobby").await["events"].to_string();
    assert!(!events.contains("close"), "{events}");
    // An id of another connection, or one that nobody gave, gets nothing of this one.
    let (since, tag) = heard[2].id.split_once('.').unwrap();
    let forged = format!("{since}.{}.{connection}", "0".repeat(32));
    assert!(tag.starts_with(&secret));
    drop(page);
    away(&node, 1).await;
    let stranger = Page::again(&node, "", &forged).await;
    assert_eq!(stranger.arrival, "gap");
    assert_ne!(stranger.secret, secret);
    for garbage in ["x", "1", "-", "99999999999999999999-1", "1-2.x"] {
        assert_eq!(Page::again(&node, "", garbage).await.arrival, "new", "{garbage}");
    }
}

#[tokio::test]
async fn an_event_source_of_a_party_with_history_gets_what_was_sent_to_all_since_its_last_event() {
    let history = Some(HistorySetting { keep: Some(10), keep_for: None, durable: false });
    let retention = RetentionSettings { resume: None, history };
    let node = Setup::memory().sse().remembering(retention).start().await;
    let mut b = node.connect("lobby?_pk=b").await;
    let mut page = Page::open(&node, "").await;
    b.tell(json!([{"broadcast": "1"}])).await;
    let PageEvent { id, .. } = page.event().await;
    drop(page);
    b.tell(json!([{"broadcast": "2"}])).await;
    let mut page = Page::again(&node, "", &id).await;
    assert_eq!(page.event().await.data, "2");
}
