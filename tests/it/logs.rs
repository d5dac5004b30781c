//! The log of a node as its operator watches it: which lines reach which watcher, and what happens to a slow one.

use room_tests::{
    EventStream, RawClient, Reply, Requests, SentEvent, Setup, TestNode, guest, until, variant,
};
use serde_json::{Value, json};

async fn ask(node: &TestNode, query: &str) -> Reply {
    let secret = format!("Bearer {}", node.secret());
    node.request("GET", &format!("/_room/admin/logs{query}"), &[("authorization", &secret)], &[])
        .await
}

/// Makes the guest of a room log this.
async fn log(node: &TestNode, room: &str, text: &str) {
    assert_eq!(node.post(room, &json!([{"log": text}])).await.status, 200);
}

/// Returns the number of a line.
fn seq(event: &SentEvent) -> u64 {
    event.data["seq"].as_u64().unwrap()
}

#[tokio::test]
async fn two_watchers_each_see_the_lines_that_pass_their_filters() {
    let node = Setup::memory().start().await;
    let mut games = EventStream::follow(&node, "room=game-%3F&level=info").await;
    let mut errors = EventStream::follow(&node, "level=error&party=Main").await;
    let mut wins = EventStream::follow(&node, "grep=has+won").await;
    // A turn that has not ended: its lines are there already.
    let mut player = node.connect("game-1").await;
    player.tell(json!([{"log": "it begins"}, "loop"])).await;
    assert_eq!(games.text().await.unwrap(), "it begins");
    log(&node, "lobby", "nobody has won").await;
    log(&node, "game-12", "eve has won").await;
    log(&node, "game-2", "bob has won").await;
    let line = errors.next().await.unwrap();
    assert_eq!((&line.data["party"], &line.data["room"]), (&json!("main"), &json!("game-1")));
    assert_eq!((&line.data["level"], &line.data["kind"]), (&json!("error"), &json!("platform")));
    assert!(line.data["text"].as_str().unwrap().contains("turn_ms_max"), "{line:?}");
    assert_eq!(line.id, line.data["seq"].as_u64());
    let won = games.texts_to("won").await;
    assert_eq!(won.last().unwrap(), "bob has won");
    assert!(won.iter().all(|text| !text.contains("eve")), "{won:?}");
    for winner in ["nobody", "eve", "bob"] {
        let line = wins.next().await.unwrap();
        assert_eq!(line.data["text"], format!("{winner} has won"));
        assert_eq!((&line.data["level"], &line.data["kind"]), (&json!("info"), &json!("guest")));
    }
}

#[tokio::test]
async fn a_fault_is_logged_with_its_reason_and_its_backtrace() {
    let node = Setup::memory().limits(|limits| limits.faults_max = 2).start().await;
    let mut watcher = EventStream::follow(&node, "room=lobby").await;
    for _ in 0..2 {
        assert_eq!(node.post("lobby", &json!([{"panic": "ouch"}])).await.status, 500);
    }
    let texts = watcher.texts_to("rests").await;
    assert_eq!(texts[0], "activated");
    let panicked = texts.iter().position(|text| text.contains("ouch")).unwrap();
    let fault = &texts[panicked + 1..];
    let fault = fault.iter().find(|text| text.contains("turn dropped: the guest trapped")).unwrap();
    assert!(fault.starts_with("request: "), "{fault}");
    assert!(fault.contains("wasm backtrace:\n") && fault.contains("puppet"), "{fault}");
    assert!(
        texts.iter().any(|text| text.starts_with("a client was turned away: the guest trapped"))
    );
}

#[tokio::test]
async fn a_guest_cannot_forge_a_line_or_control_a_terminal() {
    let node = Setup::memory().start().await;
    let mut watcher = EventStream::follow(&node, "level=info").await;
    let evil = "a\ndata: {}\n\nid: 7\rERROR main/other b\u{1b}[2J\u{9b}31m";
    let steps = json!([{"log": evil}, {"print": format!("{evil}\n")}, {"err": evil}]);
    assert_eq!(node.post("lobby", &steps).await.status, 500);
    let mut client = node.connect("lobby?verdict=refuse").await;
    assert_eq!(client.closed().await.0, 4403);
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &Value| !line["text"].as_str().unwrap().contains("4403")) {
        lines.push(watcher.next().await.unwrap().data);
    }
    for line in &lines {
        let text = line["text"].as_str().unwrap();
        let guest = line["kind"] == "guest";
        let steers = |c: char| c.is_control() && c != '\t' && (guest || c != '\n');
        assert!(!text.contains(steers), "{text:?}");
        assert!(line["room"].is_null() || line["room"] == "lobby", "{line}");
    }
    let guests: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "guest").collect();
    // Each line that the guest prints is a line of the log, with its room.
    assert_eq!(
        guests[0]["text"],
        "a\\ndata: {}\\n\\nid: 7\\rERROR main/other b\\u{1b}[2J\\u{9b}31m"
    );
    assert_eq!(guests[1]["text"], "a");
}

#[tokio::test]
async fn a_watcher_stays_while_code_is_deployed() {
    let node = Setup::memory().start().await;
    let mut watcher = EventStream::follow(&node, "level=info").await;
    let mut client = node.connect("lobby").await;
    client.ask(json!([{"log": "old code"}, {"say": "done"}])).await;
    node.deploy(variant(&guest("puppet"), 1), &[]).await.unwrap();
    client.ask(json!([{"log": "new code"}, {"say": "done"}])).await;
    let failed = node.deploy(variant(&guest("puppet"), 2), &[("START", "err")]).await;
    assert!(failed.is_err());
    assert!(node.deploy(b"no module"[..].into(), &[]).await.is_err());
    client.ask(json!([{"log": "still new code"}, {"say": "done"}])).await;
    let texts = watcher.texts_to("still new code").await;
    let told = |word: &str| texts.iter().position(|text| text.contains(word));
    let order = [
        told("old code"),
        told("rooms that took it over: 1, connections that stayed: 1"),
        told("new code"),
        told("not deployed: the new code does not start in room main/lobby, the old one is back"),
        told("not deployed: party main: this is not WebAssembly"),
        told("still new code"),
    ];
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?} {texts:?}");
}

#[tokio::test]
async fn a_returning_watcher_misses_nothing_or_reads_how_many_lines() {
    let node = Setup::memory().limits(|limits| limits.log_ring_lines = 10).start().await;
    let mut watcher = EventStream::follow(&node, "grep=line").await;
    log(&node, "lobby", "line 0").await;
    let last = watcher.next().await.unwrap();
    drop(watcher);
    log(&node, "lobby", "line 1").await;
    let after = format!("follow=1&grep=line&after={}", last.id.unwrap());
    // The header that EventSource sends overrides the query with which it was opened.
    let header = format!("Last-Event-ID: {}\r\n", last.id.unwrap());
    for (query, header) in [(after.as_str(), ""), ("follow=1&grep=line&tail=0", &header)] {
        let client = RawClient::open(node.addr()).await;
        let mut watcher = EventStream::of(client, &node, query, header).await;
        assert_eq!(watcher.text().await.unwrap(), "line 1");
    }
    for number in 2..22 {
        log(&node, "lobby", &format!("line {number}")).await;
    }
    let mut watcher =
        EventStream::follow(&node, &format!("grep=line&after={}", last.id.unwrap())).await;
    let missed = watcher.next().await.unwrap();
    assert_eq!(missed.name, "missed");
    let first = watcher.next().await.unwrap();
    assert_eq!(missed.data["missed"], seq(&first) - seq(&last) - 1);
    assert_eq!(missed.id, Some(seq(&first) - 1));
    assert_eq!(watcher.texts_to("21").await.len(), 9);
}

#[tokio::test]
async fn a_slow_watcher_delays_nobody_and_reads_exactly_what_it_missed() {
    const POSTS: u64 = 24;
    const LINES: u64 = 900;
    let node = Setup::memory().start().await;
    let mut quick = EventStream::follow(&node, "level=info&room=quick").await;
    let client = RawClient::narrow(node.addr()).await;
    let mut slow = EventStream::of(client, &node, "follow=1", "").await;
    // Far more than the node keeps and the sockets take between them.
    let flood = json!([{"print": format!("{}\n", "x".repeat(1_000)).repeat(LINES as usize)}]);
    for number in 0..POSTS {
        assert_eq!(node.post("flood", &flood).await.status, 200);
        log(&node, "quick", &number.to_string()).await;
        assert_eq!(quick.text().await.unwrap(), number.to_string());
    }
    log(&node, "quick", "the end").await;
    let (mut lines, mut missed, mut next) = (0, 0, None);
    loop {
        let event = slow.next().await.unwrap();
        if event.name == "missed" {
            let count = event.data["missed"].as_u64().unwrap();
            (missed, next) = (missed + count, next.map(|next: u64| next + count));
            continue;
        }
        assert!(next.is_none_or(|next| next == seq(&event)), "{next:?} {}", seq(&event));
        (lines, next) = (lines + 1, Some(seq(&event) + 1));
        if event.data["text"] == "the end" {
            break;
        }
    }
    assert!(missed > 0 && lines > 0, "{missed} missed, {lines} read");
    assert!(lines + missed > POSTS * (LINES + 1), "{missed} missed, {lines} read");
}

#[tokio::test]
async fn a_watcher_reads_the_last_lines_before_a_stop_and_notices_the_next_start() {
    let node = Setup::memory().start().await;
    let mut watcher = EventStream::follow(&node, "room=lobby").await;
    let client = node.connect("lobby").await;
    log(&node, "lobby", "hello").await;
    let reading = async {
        let mut events = Vec::new();
        while let Some(event) = watcher.next().await {
            events.push(event);
        }
        events
    };
    let (events, setup) = tokio::join!(reading, node.stop());
    drop(client);
    let last = events.last().unwrap();
    assert_eq!(last.data["text"], "stopped");
    let node = setup.start().await;
    let mut watcher = EventStream::follow(&node, &format!("after={}", seq(last))).await;
    let restarted = watcher.next().await.unwrap();
    assert_eq!((restarted.name.as_str(), restarted.data), ("restarted", json!({})));
    let first = watcher.next().await.unwrap();
    assert!(first.data["text"].as_str().unwrap().starts_with("deployed main "), "{first:?}");
    assert!(seq(&first) > seq(last));
}

#[tokio::test]
async fn a_log_that_is_not_followed_ends_after_the_kept_lines() {
    let node = Setup::memory().start().await;
    for number in 0..5 {
        log(&node, "lobby", &format!("line {number}")).await;
    }
    let texts = async |query: &str| {
        let client = RawClient::open(node.addr()).await;
        let mut stream = EventStream::of(client, &node, query, "").await;
        let mut texts = Vec::new();
        while let Some(text) = stream.text().await {
            texts.push(text);
        }
        texts
    };
    assert_eq!(texts("tail=2&room=lobby&level=info").await, ["line 3", "line 4"]);
    assert_eq!(texts("grep=line").await.len(), 5);
    assert!(texts("level=debug").await.contains(&"activated".to_owned()));
    assert_eq!(texts("tail=0").await, [""; 0]);
    assert_eq!(texts("party=other").await, [""; 0]);
}

#[tokio::test]
async fn a_watcher_without_matching_lines_gets_keep_alives_with_its_position() {
    let node = Setup::memory().limits(|limits| limits.log_heartbeat_ms = 5).start().await;
    let mut watcher = EventStream::follow(&node, "grep=never").await;
    let first = watcher.next_block().await.unwrap().id.unwrap();
    log(&node, "lobby", "something else").await;
    while watcher.next_block().await.unwrap().id.unwrap() == first {}
}

#[tokio::test]
async fn watchers_are_bounded_and_a_leaving_one_frees_its_slot() {
    let node = Setup::memory().limits(|limits| limits.log_watchers_max = 1).start().await;
    let watcher = EventStream::follow(&node, "").await;
    let refused = ask(&node, "?follow=1").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.text(), "1 clients watch the log already");
    drop(watcher);
    until("the place to be free", async || ask(&node, "?tail=1").await.status == 200).await;
}

#[tokio::test]
async fn an_invalid_log_query_is_named_and_requires_the_token() {
    let node = Setup::disk().start().await;
    for (query, text) in [
        ("?level=loud", "the parameter level is \"loud\""),
        ("?follow=1&after=x", "the parameter after is \"x\""),
        ("?rom=lobby", "the parameter rom is not known; there are follow, room, party, level"),
    ] {
        let reply = ask(&node, query).await;
        assert_eq!(reply.status, 400);
        assert!(reply.text().starts_with(text), "{}", reply.text());
    }
    let wrong = [("authorization", "Bearer x")];
    assert_eq!(node.request("GET", "/_room/admin/logs?level=loud", &wrong, &[]).await.status, 401);
}

#[tokio::test]
async fn a_refusal_is_logged_with_the_reason_that_the_client_does_not_see() {
    let node = Setup::memory().public().start().await;
    let mut watcher = EventStream::follow(&node, "grep=turned+away").await;
    let mut client = node.connect("lobby?verdict=refuse").await;
    assert_eq!(client.closed().await.0, 4403);
    let line = watcher.next().await.unwrap();
    assert_eq!(
        line.data["text"],
        "a client was turned away by on_before_connect with 4403: not you"
    );
    assert_eq!(line.data["level"], "info");
    let reply = node.post("lobby", &json!([{"err": "a secret"}])).await;
    assert!(!reply.text().contains("a secret"));
    let line = watcher.next().await.unwrap();
    let (text, id) = (line.data["text"].as_str().unwrap(), reply.text());
    let id = id.rsplit(' ').next().unwrap();
    assert!(text.contains("a secret") && text.contains(id), "{text}");
    assert_eq!(line.data["level"], "warn");
    // A request that leads to no room is not in it.
    assert_eq!(node.get("/parties/main/").await.status, 404);
    assert_eq!(node.get("/parties/nobody/lobby").await.status, 404);
    assert_eq!(watcher.next().await.unwrap().data["party"], "nobody");
}
