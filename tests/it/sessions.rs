//! Sockets of the subprotocol `room.1`: several rooms, acknowledgements, repetitions and newer tokens over one socket.

mod ends;

use room_auth::testing::Issuer;
use room_runtime::clock::Clock;
use room_runtime::{AuthMode, HistorySetting, Limits, PartyConfig, RetentionSettings};
use room_tests::{Got, Requests, Setup, TestClient, TestNode, guest, until, variant};
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../sdk/PROTOCOL.md");
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const VARS: [(&str, &str); 1] = [("AUTH_SECRET", SECRET)];

/// A client of the subprotocol.
struct Session {
    socket: TestClient,
    references: u64,
}

impl Session {
    /// Opens a session by this room, and reads what it says about its first channel.
    async fn open(node: &TestNode, query: &str) -> (Self, Value) {
        Self::open_with(node, query, &[]).await
    }

    async fn open_with(
        node: &TestNode,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> (Self, Value) {
        let path = format!("/parties/main/{query}");
        let headers = [headers, &[("sec-websocket-protocol", "room.1")]].concat();
        let socket = TestClient::try_connect(node.addr(), &path, &headers).await.unwrap();
        assert_eq!(socket.header("sec-websocket-protocol"), Some("room.1"));
        let mut session = Self { socket, references: 0 };
        let joined = session.hears().await;
        assert_eq!((&joined["type"], &joined["channel"]), (&json!("joined"), &json!(0)));
        (session, joined)
    }

    async fn says(&mut self, frame: &Value) {
        self.socket.send(frame.to_string()).await;
    }

    async fn hears(&mut self) -> Value {
        serde_json::from_str(&self.socket.text().await).unwrap()
    }

    /// Sends a frame with a number of its own, and returns the answer to it. Skips everything else.
    async fn asks(&mut self, mut frame: Value) -> Value {
        self.references += 1;
        frame["ref"] = self.references.into();
        self.says(&frame).await;
        loop {
            let heard = self.hears().await;
            if heard["ref"] == frame["ref"] {
                return heard;
            }
        }
    }

    /// Joins a room of the party `main`, and returns its channel.
    async fn joins(&mut self, room: &str) -> u64 {
        let joined = self.asks(json!({"type": "join", "room": room, "query": "quiet=1"})).await;
        assert_eq!(joined["type"], "joined", "{joined}");
        joined["channel"].as_u64().unwrap()
    }

    /// Sends a script, waits for its acknowledgement, and returns what the room said in between.
    async fn tells(&mut self, channel: u64, script: &Value) -> Vec<Value> {
        self.references += 1;
        let reference = self.references;
        let data = script.to_string();
        self.says(&json!({"type": "send", "channel": channel, "ref": reference, "data": data}))
            .await;
        let mut said = Vec::new();
        loop {
            let heard = self.hears().await;
            if heard["ref"] == reference {
                assert_eq!(heard["type"], "ack", "{heard}");
                return said;
            }
            said.push(heard);
        }
    }
}

fn message(channel: u64, data: &str) -> Value {
    json!({"type": "message", "channel": channel, "data": data})
}

fn send(channel: u64, data: &str) -> Value {
    json!({"type": "send", "channel": channel, "data": data})
}

fn remembering() -> Setup {
    let history = HistorySetting { keep: Some(20), keep_for: None, durable: false };
    let resume = Some("1m".parse().unwrap());
    Setup::memory().remembering(RetentionSettings { resume, history: Some(history) })
}

#[tokio::test]
async fn several_rooms_share_one_socket_and_none_hears_another() {
    let node = Setup::memory().auto_response("ping", "pong").start().await;
    let (mut session, _) = Session::open(&node, "lobby?_pk=ada").await;
    let mut other = node.connect("den?_pk=bob&quiet=1").await;
    let joined = session
        .asks(json!({"type": "join", "room": "den", "id": "ada", "query": "hello=hi"}))
        .await;
    assert_eq!((&joined["channel"], &joined["connection"]), (&json!(1), &json!("ada")));
    assert_eq!(session.hears().await, message(1, "hi"));
    session.says(&send(1, r#"[{"broadcast":"to den"}]"#)).await;
    assert_eq!(session.hears().await, message(1, "to den"));
    assert_eq!(other.text().await, "to den");
    session.says(&send(0, "echo")).await;
    assert_eq!(session.hears().await, message(0, "echo"));
    // The party's automatic answer comes without the room, and is acknowledged.
    assert_eq!(session.asks(send(1, "ping")).await["type"], "ack");
    let binary = [&[0, 0, 0, 1][..], &[0; 8], &[0], &[7, 8]].concat();
    session.socket.send_binary(&binary).await;
    let said = [&[0, 0, 0, 1][..], &[0; 16], &[7, 8]].concat();
    assert_eq!(session.socket.recv().await, Got::Binary(said));
    let report = node.report("den").await;
    assert_eq!(report["events"], json!(["connect ada"]));
    assert!(
        report["connections"][1]["uri"]
            .as_str()
            .unwrap()
            .ends_with("/parties/main/den?_pk=ada&hello=hi")
    );
    let left = session.asks(json!({"type": "leave", "channel": 1})).await;
    assert_eq!((&left["type"], &left["channel"]), (&json!("left"), &json!(1)));
    until("the room to note the end", async || {
        let events = node.report("den").await["events"].to_string();
        events.contains("close ada 1000")
    })
    .await;
    session.says(&send(0, "still here")).await;
    assert_eq!(session.hears().await, message(0, "still here"));
}

#[tokio::test]
async fn frames_that_cannot_be_read_are_answered_and_the_session_lives() {
    let limits = |limits: &mut Limits| limits.message_bytes_max = 4_096;
    let node = Setup::memory().limits(limits).start().await;
    let (mut session, _) = Session::open(&node, "lobby?quiet=1").await;
    let large = "x".repeat(4_097);
    for (frame, code, reference) in [
        ("{", "malformed", Value::Null),
        (r#"{"type":"send","ref":4}"#, "malformed", json!(4)),
        (r#"{"type":"sent","ref":5}"#, "unknown_type", json!(5)),
        (r#"{"type":"send","channel":7,"ref":6,"data":""}"#, "unknown_channel", json!(6)),
        (
            &format!(r#"{{"type":"send","channel":0,"ref":7,"data":"{large}"}}"#),
            "too_large",
            json!(7),
        ),
        (r#"{"type":"join","ref":8,"party":"no/pe","room":"a"}"#, "bad_room", json!(8)),
        (r#"{"type":"join","ref":9,"room":"a","since":"x"}"#, "bad_room", json!(9)),
        (r#"{"type":"join","ref":10,"room":"a","party":"none"}"#, "not_found", json!(10)),
        (r#"{"type":"join","ref":11,"room":"a","query":"verdict=refuse"}"#, "refused", json!(11)),
    ] {
        session.socket.send(frame).await;
        let heard = session.hears().await;
        assert_eq!((&heard["code"], &heard["ref"]), (&json!(code), &reference), "{heard}");
        if code == "refused" {
            assert_eq!((&heard["close"], &heard["message"]), (&json!(4403), &json!("not you")));
        }
    }
    session.socket.send_binary(&[1]).await;
    assert_eq!(session.hears().await["code"], "malformed");
    session.says(&send(0, "hi")).await;
    assert_eq!(session.hears().await, message(0, "hi"));
    session.socket.send("x".repeat(30_000)).await;
    assert_eq!(session.socket.closed().await.0, 1009);
}

#[tokio::test]
async fn a_room_that_closes_or_kicks_ends_its_channel_and_no_other() {
    let node = Setup::memory().start().await;
    let (mut session, _) = Session::open(&node, "lobby?_pk=ada").await;
    let den = session.joins("den").await;
    session.says(&send(den, r#"[{"say":"last"},{"close":[4000,"bye"]}]"#)).await;
    assert_eq!(session.hears().await, message(den, "last"));
    let closed = json!({"type": "closed", "channel": den, "code": 4000, "reason": "bye"});
    assert_eq!(session.hears().await, closed);
    assert_eq!(session.asks(send(den, "late")).await["code"], "unknown_channel");
    let bearer = format!("Bearer {}", node.secret());
    let path = "/_room/admin/rooms/main/lobby/kick";
    let body = br#"{"connection":"ada"}"#;
    let kicked = node.request("POST", path, &[("authorization", &bearer)], body).await;
    assert_eq!(kicked.status, 200);
    let closed = session.hears().await;
    assert_eq!((&closed["channel"], &closed["code"]), (&json!(0), &json!(4403)));
    until("the room to note the end", async || {
        node.report("lobby").await["events"].to_string().contains("close ada 4403")
    })
    .await;
    // A session without rooms goes on.
    let again = session.joins("den").await;
    assert!(again > den);
    session.says(&send(again, "hi")).await;
    assert_eq!(session.hears().await, message(again, "hi"));
}

#[tokio::test]
async fn a_second_join_with_the_same_id_replaces_the_first_channel() {
    let node = Setup::memory().start().await;
    let (mut session, _) = Session::open(&node, "lobby?_pk=ada").await;
    let join = json!({"type": "join", "ref": 1, "room": "lobby", "id": "ada", "query": "hello=hi"});
    session.says(&join).await;
    let mut heard = [session.hears().await, session.hears().await, session.hears().await];
    heard.sort_by_key(|frame| (frame["channel"].as_u64(), frame["type"].to_string()));
    assert_eq!((&heard[0]["type"], &heard[0]["code"]), (&json!("closed"), &json!(4409)));
    assert_eq!((&heard[1]["type"], &heard[1]["channel"]), (&json!("joined"), &json!(1)));
    assert_eq!(heard[2], message(1, "hi"));
    // Another id is another connection.
    let both = json!({"type": "join", "room": "lobby", "id": "bob", "query": "quiet=1"});
    assert_eq!(session.asks(both).await["channel"], 2);
    session.says(&send(2, r#"[{"broadcast":"twice"}]"#)).await;
    let mut channels = [session.hears().await, session.hears().await];
    channels.sort_by_key(|frame| frame["channel"].as_u64());
    assert_eq!(channels, [message(1, "twice"), message(2, "twice")]);
}

#[tokio::test]
async fn a_client_that_reads_its_answers_late_gets_them_all() {
    let node = Setup::memory().limits(|limits| limits.socket_batch_frames_max = 4).start().await;
    let (mut session, _) = Session::open(&node, "lobby?quiet=1").await;
    for reference in 1..=2_000 {
        session.says(&json!({"type": "ping", "ref": reference})).await;
    }
    for reference in 1..=2_000 {
        assert_eq!(session.hears().await, json!({"type": "pong", "ref": reference}));
    }
    session.says(&send(0, "hi")).await;
    assert_eq!(session.hears().await, message(0, "hi"));
}

#[tokio::test]
async fn a_failed_turn_answers_its_message_and_ends_nothing() {
    let node = Setup::memory().start().await;
    let (mut session, _) = Session::open(&node, "lobby?quiet=1").await;
    for (script, part) in [(r#"[{"err":"no such move"}]"#, "no such move"), (r#"["trap"]"#, "trap")]
    {
        let failed = session.asks(send(0, script)).await;
        assert_eq!((&failed["code"], &failed["channel"]), (&json!("failed"), &json!(0)));
        assert!(failed["message"].as_str().unwrap().contains(part), "{failed}");
    }
    assert_eq!(session.tells(0, &json!([{"say": "fine"}])).await, [message(0, "fine")]);
}

#[tokio::test]
async fn a_session_joins_as_many_rooms_as_its_limit() {
    let node = Setup::memory().start().await;
    let (mut session, _) = Session::open(&node, "room-0?quiet=1").await;
    for number in 1..64 {
        assert_eq!(session.joins(&format!("room-{number}")).await, number);
    }
    let more = session.asks(json!({"type": "join", "room": "room-64"})).await;
    assert_eq!(more["code"], "session_full");
    session.asks(json!({"type": "leave", "channel": 5})).await;
    assert_eq!(session.joins("room-64").await, 64);
    for channel in [0, 31, 64] {
        session.says(&send(channel, "hi")).await;
        assert_eq!(session.hears().await, message(channel, "hi"));
    }
}

#[tokio::test]
async fn a_message_that_is_sent_again_after_a_lost_socket_is_handled_once() {
    let node = remembering().start().await;
    let (mut session, _) = Session::open(&node, "lobby?_pk=ada").await;
    let join = json!({"type": "join", "room": "den", "id": "ada", "query": "quiet=1"});
    let joined = session.asks(join.clone()).await;
    assert_eq!((&joined["arrival"], &joined["resume_ms"]), (&json!("new"), &json!(60_000)));
    let mut add = send(1, r#"[{"add":"n"}]"#);
    add["id"] = "move-1".into();
    assert_eq!(session.asks(add.clone()).await["type"], "ack");
    drop(session);
    let (mut session, _) = Session::open(&node, "lobby?_pk=ada").await;
    let mut back = join;
    (back["since"], back["resume"]) = (joined["at"].clone(), joined["secret"].clone());
    let resumed = session.asks(back).await;
    assert_eq!((&resumed["arrival"], &resumed["channel"]), (&json!("resumed"), &json!(1)));
    let missed = session.hears().await;
    assert_eq!((&missed["data"], &missed["channel"]), (&json!("1"), &json!(1)));
    assert_eq!(session.asks(add).await["type"], "ack");
    let sum = session.tells(1, &json!([{"get": "n"}])).await;
    assert_eq!(sum[0]["data"], "1");
}

#[tokio::test]
async fn a_session_lives_through_sleep_and_new_code() {
    let limits = |limits: &mut Limits| (limits.hibernate_ms, limits.idle_evict_ms) = (20, 20);
    let node = Setup::memory().hibernate().limits(limits).start().await;
    let (mut session, _) = Session::open(&node, "lobby?quiet=1").await;
    let den = session.joins("den").await;
    until("every room to sleep", async || node.live().await == 0).await;
    let mut add = send(den, r#"[{"add":"n"}]"#);
    add["id"] = "once".into();
    for _ in 0..2 {
        assert_eq!(session.asks(add.clone()).await["type"], "ack");
        until("every room to sleep", async || node.live().await == 0).await;
    }
    node.deploy(variant(&guest("puppet"), 1), &[("VERSION", "2")]).await.unwrap();
    let said = session.tells(den, &json!([{"var": "VERSION"}, {"get": "n"}])).await;
    assert_eq!(said, [message(den, "2"), message(den, "1")]);
    session.says(&send(0, "hi")).await;
    assert_eq!(session.hears().await, message(0, "hi"));
}

#[tokio::test]
async fn a_client_too_slow_for_one_room_keeps_the_others() {
    let limits = |limits: &mut Limits| {
        (limits.outbox_frames_max, limits.history_messages_max) = (64, 32);
    };
    let node = Setup::memory().limits(limits).start().await;
    let (mut session, _) = Session::open(&node, "lobby?quiet=1").await;
    let den = session.joins("den").await;
    // One turn says more than an outbox holds.
    session.says(&send(den, r#"[{"say_many":[65,"much"]}]"#)).await;
    let error = session.hears().await;
    assert_eq!((&error["code"], &error["channel"]), (&json!("too_slow"), &json!(den)));
    assert_eq!(session.hears().await["code"], 1013);
    assert_eq!(session.tells(0, &json!([{"say": "fine"}])).await, [message(0, "fine")]);
    let again = session.joins("den").await;
    assert_eq!(session.tells(again, &json!([{"say": "fine"}])).await, [message(again, "fine")]);
}

#[tokio::test]
async fn a_room_without_space_refuses_its_own_messages_and_stalls_no_other() {
    let limits = |limits: &mut Limits| {
        (limits.mailbox_events_max, limits.session_waiting_max) = (1, 2);
    };
    let node = Setup::memory().limits(limits).start().await;
    let (mut session, _) = Session::open(&node, "lobby?quiet=1").await;
    let den = session.joins("den").await;
    let mut watcher = node.connect("den?quiet=1&tags=watches").await;
    for reference in 101..=110 {
        let mut frame = send(den, r#"[{"sleep":200},{"say":"slept"}]"#);
        frame["ref"] = reference.into();
        session.says(&frame).await;
    }
    let mut quick = send(0, "quick");
    quick["ref"] = 200.into();
    session.says(&quick).await;
    let mut order = Vec::new();
    let mut answers = Vec::new();
    while answers.len() < 11 {
        let heard = session.hears().await;
        if let Some(reference) = heard["ref"].as_u64() {
            assert!(!answers.contains(&reference), "{reference} is answered twice");
            answers.push(reference);
            order.push(format!(
                "{} {}",
                heard["type"].as_str().unwrap(),
                heard["code"].as_str().unwrap_or_default()
            ));
        }
    }
    let at = |reference| answers.iter().position(|own| *own == reference);
    assert!(order.iter().any(|answer| answer == "error busy"), "{order:?}");
    let slow =
        answers.iter().zip(&order).filter(|(own, how)| **own <= 110 && how.starts_with("ack"));
    let slow: Vec<u64> = slow.map(|(own, _)| *own).collect();
    assert!(slow.windows(2).all(|pair| pair[0] < pair[1]), "in order: {slow:?}");
    assert!(slow.len() >= 2, "{answers:?} {order:?}");
    let last = slow.last().and_then(|last| at(*last));
    assert!(at(200) < last, "the other room waited: {answers:?}");
    // A `leave` comes after the messages before it, those that wait included.
    for script in [r#"[{"sleep":100}]"#, r#"[{"sleep":100}]"#, r#"[{"note":"before"}]"#] {
        session.says(&send(den, script)).await;
    }
    assert_eq!(session.asks(json!({"type": "leave", "channel": den})).await["type"], "left");
    assert!(watcher.text().await.starts_with("left "));
    let events = node.report("den").await["events"].to_string();
    assert!(events.find("before") < events.find("close") && events.contains("before"), "{events}");
}

#[tokio::test]
async fn a_client_that_sends_too_fast_keeps_its_session() {
    let limits = |limits: &mut Limits| {
        (limits.connection_messages_per_s, limits.rates_burst_s) = (1, 3);
    };
    let node = Setup::memory().limits(limits).start().await;
    let (mut session, _) = Session::open(&node, "lobby?quiet=1").await;
    for _ in 0..3 {
        assert_eq!(session.asks(send(0, "x")).await["type"], "ack");
    }
    let refused = session.asks(send(0, "x")).await;
    assert_eq!(refused["code"], "too_fast");
    assert!((1..=1_000).contains(&refused["retry_ms"].as_u64().unwrap()), "{refused}");
    // Each connection has rates of its own.
    let den = session.joins("den").await;
    assert_eq!(session.asks(send(den, "x")).await["type"], "ack");
}

#[tokio::test]
async fn a_stopping_node_closes_sessions_with_1012() {
    let node = Setup::memory().start().await;
    let (mut session, _) = Session::open(&node, "lobby?quiet=1").await;
    session.joins("den").await;
    let closed = async {
        loop {
            match session.socket.recv().await {
                Got::Close(code, _) => return code,
                Got::Text(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let (_, code) = tokio::join!(node.stop(), closed);
    assert_eq!(code, 1012);
}

#[tokio::test]
async fn a_page_joins_no_room_whose_party_does_not_list_its_origin() {
    let mut node = Setup::memory().origins(&["https://app.example"]).start().await;
    let own = [("origin", "https://app.example")];
    let (mut session, _) = Session::open_with(&node, "lobby?quiet=1", &own).await;
    session.joins("den").await;
    // What the newest deployment lists holds for the rooms that are joined from then on.
    node.set_origins(&["https://other.example"]);
    node.deploy(variant(&guest("puppet"), 1), &[]).await.unwrap();
    let refused = session.asks(json!({"type": "join", "room": "hall"})).await;
    assert_eq!(refused["code"], "origin", "{refused}");
    session.says(&send(0, "hi")).await;
    assert_eq!(session.hears().await, message(0, "hi"));
}

fn now_s() -> u64 {
    Clock::system().wall_ms() / 1_000
}

/// Returns a token for somebody that ends after so many seconds.
fn token(who: &str, seconds: u64) -> String {
    Issuer::hs(SECRET).token(&json!({ "sub": who, "exp": now_s() + seconds }))
}

fn section() -> Value {
    json!({ "secret": "AUTH_SECRET", "skew_s": 0 })
}

async fn with_auth(setup: Setup) -> TestNode {
    let node = setup.auth(&section()).start_empty().await;
    let open = PartyConfig {
        name: "open".to_owned(),
        auth: Some(AuthMode::Off),
        ..node.party(guest("puppet"), &VARS)
    };
    let main = node.party(guest("puppet"), &VARS);
    node.deploy_project(vec![main, open]).await.unwrap();
    node
}

#[tokio::test]
async fn a_session_shows_its_token_to_each_party_that_asks_for_one() {
    let node = with_auth(Setup::memory()).await;
    let bearer = format!("Bearer {}", token("ann", 600));
    let headers = [("authorization", bearer.as_str())];
    let (mut session, _) = Session::open_with(&node, "lobby?quiet=1", &headers).await;
    let den = session.joins("den").await;
    let report = &session.tells(den, &json!(["report"])).await[0];
    let report: Value = serde_json::from_str(report["data"].as_str().unwrap()).unwrap();
    assert_eq!(report["connections"][0]["claims"]["sub"], "ann");
    // A party without [auth] sees no token, and another token of the same session is for one room alone.
    let open = session.asks(json!({"type": "join", "party": "open", "room": "a"})).await;
    assert_eq!(open["type"], "joined", "{open}");
    let bob =
        json!({"type": "join", "room": "den", "token": token("bob", 600), "query": "quiet=1"});
    let bob = session.asks(bob).await["channel"].as_u64().unwrap();
    let report = &session.tells(bob, &json!(["report"])).await[0];
    assert!(report["data"].as_str().unwrap().contains(r#""sub":"bob""#), "{report}");
    let hall = session.joins("hall").await;
    let report = &session.tells(hall, &json!(["report"])).await[0];
    assert!(report["data"].as_str().unwrap().contains(r#""sub":"ann""#), "{report}");
    // A session that began where no token is needed has none to show.
    let path = "/parties/open/lobby?quiet=1";
    let headers = [("sec-websocket-protocol", "room.1")];
    let socket = TestClient::try_connect(node.addr(), path, &headers).await.unwrap();
    let mut bare = Session { socket, references: 0 };
    bare.hears().await;
    let refused = bare.asks(json!({"type": "join", "room": "den"})).await;
    assert_eq!(refused["code"], "unauthorized", "{refused}");
    assert_eq!(
        bare.asks(json!({"type": "token", "token": token("eve", 600)})).await["type"],
        "ack"
    );
    bare.joins("den").await;
}

#[tokio::test]
async fn a_newer_token_replaces_the_claims_and_the_end_of_its_client_alone() {
    let node = with_auth(Setup::memory()).await;
    let (mut session, _) =
        Session::open(&node, &format!("lobby?quiet=1&token={}", token("ann", 20))).await;
    let notice = session.hears().await;
    assert_eq!((&notice["code"], &notice["channel"]), (&json!("token_expires"), &json!(0)));
    assert!((1..=20_000).contains(&notice["retry_ms"].as_u64().unwrap()), "{notice}");
    let stranger = session.asks(json!({"type": "token", "token": token("bob", 600)})).await;
    assert_eq!(stranger["code"], "other_client");
    let invalid = session.asks(json!({"type": "token", "token": "a.b.c"})).await;
    assert_eq!(invalid["code"], "unauthorized", "{invalid}");
    let newer = Issuer::hs(SECRET);
    let newer = newer.token(&json!({ "sub": "ann", "exp": now_s() + 600, "level": 2 }));
    assert_eq!(session.asks(json!({"type": "token", "token": newer})).await["type"], "ack");
    let report = &session.tells(0, &json!(["report"])).await[0];
    assert!(report["data"].as_str().unwrap().contains(r#""level":2"#), "{report}");
    // Rooms that are joined later see the newer one, too.
    let den = session.joins("den").await;
    let report = &session.tells(den, &json!(["report"])).await[0];
    assert!(report["data"].as_str().unwrap().contains(r#""level":2"#), "{report}");
}

#[tokio::test]
async fn a_token_that_ends_closes_its_channel_unless_a_newer_one_comes() {
    let node = with_auth(Setup::memory()).await;
    let path = format!("lobby?quiet=1&token={}", token("ann", 3));
    let first_end = now_s() + 3;
    let (mut session, _) = Session::open(&node, &path).await;
    let renewed = json!({"type": "token", "token": token("ann", 600)});
    assert_eq!(session.asks(renewed).await["type"], "ack");
    let join = json!({"type": "join", "room": "den", "token": token("bob", 3), "query": "quiet=1"});
    assert_eq!(session.asks(join).await["channel"], 1);
    let mut heard = Vec::new();
    while heard.last() != Some(&json!("closed")) {
        let frame = session.hears().await;
        assert_eq!(frame["channel"], 1, "{frame}");
        heard.push(frame["type"].clone());
        if frame["type"] == "error" {
            heard.push(frame["code"].clone());
        }
        if frame["type"] == "closed" {
            assert_eq!(frame["code"], 4401);
        }
    }
    let expected = ["error", "token_expires", "error", "token_expired", "closed"];
    assert_eq!(heard, expected.map(Value::from));
    until("the first token to end", async || now_s() > first_end).await;
    assert_eq!(session.asks(send(0, "x")).await["type"], "ack");
}

#[tokio::test]
async fn a_client_that_may_only_read_is_refused_by_name() {
    let node = with_auth(Setup::memory()).await;
    let bearer = format!("Bearer {}", node.secret());
    let body = json!({"party": "main", "room": "den", "ms": 60_000, "capabilities": ["read"]});
    let headers = [("authorization", bearer.as_str())];
    let path = "/_room/admin/tickets";
    let made = node.request("POST", path, &headers, body.to_string().as_bytes()).await.json();
    let token = token("ann", 600);
    let (mut session, _) = Session::open(&node, &format!("lobby?quiet=1&token={token}")).await;
    let join = json!({"type": "join", "room": "den", "token": made["ticket"], "query": "quiet=1"});
    let den = session.asks(join).await["channel"].as_u64().unwrap();
    assert_eq!(session.asks(send(den, "x")).await["code"], "read_only");
    assert_eq!(session.asks(send(0, "x")).await["type"], "ack");
}

/// Returns the lines of the page's conversation.
fn conversation() -> Vec<(char, Value)> {
    let block = PAGE.split("```conversation\n").nth(1).unwrap().split("```").next().unwrap();
    let line = |line: &str| {
        let (who, frame) = line.split_once(' ').unwrap();
        (who.chars().next().unwrap(), serde_json::from_str(frame).unwrap())
    };
    block.lines().map(line).collect()
}

#[tokio::test]
async fn the_conversation_of_the_page_is_what_a_server_says() {
    let node = remembering().start().await;
    let headers = [("sec-websocket-protocol", "room.1")];
    let path = "/parties/main/lobby?_pk=ada";
    let mut socket = TestClient::try_connect(node.addr(), path, &headers).await.unwrap();
    let lines = conversation();
    assert!(lines.len() > 10);
    for (who, frame) in lines {
        match who {
            '>' => socket.send(frame.to_string()).await,
            '<' => {
                let heard: Value = serde_json::from_str(&socket.text().await).unwrap();
                let (expected, heard) = (frame.as_object().unwrap(), heard.as_object().unwrap());
                let keys = |frame: &serde_json::Map<String, Value>| {
                    frame.keys().cloned().collect::<Vec<_>>()
                };
                assert_eq!(keys(expected), keys(heard), "{heard:?}");
                for (key, value) in expected.iter().filter(|(_, value)| **value != "…") {
                    assert_eq!(&heard[key], value, "{key} of {heard:?}");
                }
            }
            other => panic!("{other} says nothing"),
        }
    }
}
