//! Several nodes that serve one space of rooms: each room lives on one of them, and all of them lead there.

use crate::operated::Operated;
use room_auth::testing::Issuer;
use room_runtime::clock::Clock;
use room_runtime::{Limits, Preamble, Proxies, Space, node_name};
use room_tests::{Got, RawClient, Requests, TestClient, guest, until, within};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Where a street leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// To nobody: it is closed at once.
    Nowhere,
    /// To somebody who never says anything.
    Silence,
    Node(SocketAddr),
}

/// An address that is known before the node behind it starts, and that the test can cut.
struct Street {
    addr: SocketAddr,
    end: watch::Sender<End>,
}

impl Street {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, (end, leads)) = (listener.local_addr().unwrap(), watch::channel(End::Nowhere));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut leads = leads.clone();
                tokio::spawn(async move {
                    let end = *leads.borrow_and_update();
                    let cut = async {
                        drop(leads.changed().await);
                    };
                    let walk = async {
                        match end {
                            End::Nowhere => {}
                            End::Silence => std::future::pending().await,
                            End::Node(addr) => {
                                let mut far = TcpStream::connect(addr).await.unwrap();
                                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                            }
                        }
                    };
                    tokio::select! {
                        () = walk => {}
                        () = cut => {}
                    }
                });
            }
        });
        Self { addr, end }
    }

    fn leads_to(&self, end: End) {
        self.end.send_replace(end);
    }
}

/// Starts a node of a space with the project `chat`. It trusts the other nodes, which connect from this machine.
async fn start(data: &Path, name: &str, peers: &[(&str, &Street)], limits: Limits) -> Operated {
    let peer = |(name, street): &(&str, &Street)| format!("{name}=http://{}", street.addr);
    let peers = peers.iter().map(|named| peer(named).parse().unwrap()).collect();
    let space = Space { node: node_name(name).unwrap(), peers };
    let trusted = vec!["127.0.0.0/8".parse().unwrap()];
    let proxies = Proxies { trusted, preamble: Preamble::Nothing };
    let node = Operated::start_in(data, space, proxies, limits).await;
    node.deploy("chat", &guest("puppet"), "1").await;
    node
}

/// Two nodes, a and b.
struct Pair {
    a: Operated,
    b: Operated,
    to_b: Street,
    _to_a: Street,
    _data: [tempfile::TempDir; 2],
}

impl Pair {
    async fn start(change: impl Fn(&mut Limits)) -> Self {
        let data = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mut limits = Limits { drain_spread_ms: 1, ..Limits::default() };
        change(&mut limits);
        let (to_a, to_b) = (Street::open().await, Street::open().await);
        let a = start(data[0].path(), "a", &[("b", &to_b)], limits.clone()).await;
        let b = start(data[1].path(), "b", &[("a", &to_a)], limits).await;
        to_a.leads_to(End::Node(a.server.addr()));
        to_b.leads_to(End::Node(b.server.addr()));
        Self { a, b, to_b, _to_a: to_a, _data: data }
    }

    fn addrs(&self) -> [SocketAddr; 2] {
        [self.a.server.addr(), self.b.server.addr()]
    }

    /// Returns a room that lives on b.
    async fn room_of_b(&self) -> String {
        for number in 0..64 {
            let room = format!("room-{number}");
            let path = format!("projects/chat/node/rooms/main/{room}");
            if self.a.ask("GET", &path, b"").await.status == 421 {
                return room;
            }
        }
        panic!("64 rooms live on a");
    }

    async fn stop(self) {
        within("a server to stop", self.a.server.drain()).await;
        within("a server to stop", self.b.server.drain()).await;
    }
}

fn path(room: &str) -> String {
    format!("/parties/main/{room}")
}

/// Returns the rooms that a node has in memory or stored.
async fn rooms(node: &Operated) -> Vec<String> {
    let list = node.good("GET", "projects/chat/node/rooms", Value::Null).await;
    let rooms = list["rooms"].as_array().unwrap();
    rooms.iter().map(|room| room["room"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_node_leads_to_the_one_home_of_a_room() {
    let pair = Pair::start(|_| {}).await;
    let [a, b] = pair.addrs();
    for number in 0..12 {
        let room = format!("room-{number}");
        assert_eq!(a.post(&room, &json!([{"put": ["k", number]}])).await.status, 200);
        let read = b.post(&room, &json!([{"get": "k"}])).await;
        assert_eq!(read.json(), json!([number.to_string()]), "{}", read.text());
        let mut near = TestClient::connect(a, &path(&room)).await;
        let mut far = TestClient::connect(b, &(path(&room) + "?add=set-cookie:a=1")).await;
        assert_eq!(far.header("set-cookie"), Some("a=1"));
        near.tell(json!([{"broadcast": "to all"}])).await;
        assert_eq!((near.text().await, far.text().await), ("to all".into(), "to all".into()));
        far.close(Some((4000, "bye"))).await;
        assert_eq!(far.closed().await.0, 4000);
    }
    let (on_a, on_b) = (rooms(&pair.a).await, rooms(&pair.b).await);
    assert_eq!(on_a.len() + on_b.len(), 12, "{on_a:?} {on_b:?}");
    assert!(on_a.iter().all(|room| !on_b.contains(room)) && !on_a.is_empty() && !on_b.is_empty());
    pair.stop().await;
}

#[tokio::test]
async fn a_cron_calls_a_room_on_the_rooms_own_node() {
    let pair = Pair::start(|_| {}).await;
    let room = pair.room_of_b().await;
    let cron = |name: &str, room: Option<&str>| json!({"name": name, "schedule": "@yearly", "zone": "UTC", "party": "main", "room": room});
    for node in [&pair.a, &pair.b] {
        let mut release = node.release(&guest("puppet"), "2").await;
        release["crons"] = json!([cron("one", Some(&room)), cron("all", None)]);
        node.good("POST", "projects/chat/deploy", release).await;
    }
    let [a, _] = pair.addrs();
    for number in 0..8 {
        assert_eq!(
            a.post(&format!("room-{number}"), &json!([{"put": ["k", 1]}])).await.status,
            200
        );
    }
    let run = async |node: &Operated, name: &str| {
        let path = format!("projects/chat/node/crons/{name}/run");
        node.good("POST", &path, Value::Null).await["rooms"].as_u64().unwrap()
    };
    assert_eq!((run(&pair.a, "one").await, run(&pair.b, "one").await), (0, 1));
    let stored = rooms(&pair.a).await.len() + rooms(&pair.b).await.len();
    let called = run(&pair.a, "all").await + run(&pair.b, "all").await;
    assert_eq!(usize::try_from(called).unwrap(), stored);
    pair.stop().await;
}

#[tokio::test]
async fn a_forwarded_request_arrives_whole_and_names_its_client() {
    let pair = Pair::start(|_| {}).await;
    let ([a, _], room) = (pair.addrs(), pair.room_of_b().await);
    let headers =
        [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https"), ("x-own", "1")];
    let body = "é".repeat(100_000);
    let reply = a.request("PUT", &(path(&room) + "/reflect?q=1"), &headers, body.as_bytes()).await;
    let seen = reply.json();
    assert_eq!((&seen["method"], &seen["body"]), (&json!("PUT"), &json!(body.as_bytes())));
    assert_eq!(seen["uri"], format!("https://{a}/parties/main/{room}/reflect?q=1"));
    let header = |name: &str| -> Vec<Value> {
        let all = seen["headers"].as_array().unwrap().iter();
        all.filter(|pair| pair[0] == name).map(|pair| pair[1].clone()).collect()
    };
    assert_eq!(header("x-forwarded-for"), [json!("192.0.2.7")]);
    assert_eq!(header("x-own"), [json!("1")]);
    assert_eq!((header("room-forwarded-by"), header("x-forwarded-proto")), (vec![], vec![]));
    let large = a.get(&(path(&room) + "/large?bytes=3000000")).await;
    assert_eq!((large.status, large.body.len()), (200, 3_000_000));
    assert_eq!(a.get(&(path(&room) + "/status?code=404")).await.status, 404);
    let head = a.request("HEAD", &(path(&room) + "/large?bytes=7"), &[], b"").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("7")));
    // The home's limits hold.
    let long = vec![b'x'; 5 * 1024 * 1024];
    assert_eq!(a.request("POST", &path(&room), &[], &long).await.status, 413);
    pair.stop().await;
}

#[tokio::test]
async fn the_home_of_a_room_checks_what_a_forwarded_client_shows() {
    let pair = Pair::start(|_| {}).await;
    for node in [&pair.a, &pair.b] {
        let mut release = node.release(&guest("puppet"), "2").await;
        release["vars"] =
            json!({ "AUTH": "0123456789abcdef".repeat(2), "TICKETS": "t".repeat(32) });
        release["auth"] = json!({ "secret": "AUTH", "ticket_secret": "TICKETS" });
        node.good("POST", "projects/chat/deploy", release).await;
    }
    let ([a, _], room) = (pair.addrs(), pair.room_of_b().await);
    let exp = Clock::system().wall_ms() / 1_000 + 600;
    let token = |secret: &str| Issuer::hs(secret).token(&json!({ "sub": "ann", "exp": exp }));
    let (good, forged) = (token(&"0123456789abcdef".repeat(2)), token(&"f".repeat(32)));
    let bearer = |token: &str| format!("Bearer {token}");
    for (shown, status) in [(bearer(&good), 200), (bearer(&forged), 401), (String::new(), 401)] {
        let headers = [("authorization", shown.as_str())];
        let reply = a.request("GET", &(path(&room) + "/reflect"), &headers, b"").await;
        assert_eq!(reply.status, status, "{}", reply.text());
        if status == 200 {
            assert_eq!(reply.json()["claims"]["sub"], "ann");
            assert!(!reply.text().contains(&good));
        }
    }
    let mut stranger = TestClient::connect(a, &format!("{}?token={forged}", path(&room))).await;
    assert_eq!(stranger.closed().await.0, 4401);
    // The nodes have one key for tickets, and the home remembers the uses.
    let asked = json!({
        "party": "main", "room": room, "ms": 60_000, "capabilities": ["read", "write"], "once": true,
    });
    let made = pair.b.good("POST", "projects/chat/node/tickets", asked).await;
    let entered = format!("{}?ticket={}", path(&room), made["ticket"].as_str().unwrap());
    let mut guest = TestClient::connect(a, &entered).await;
    guest.tell(json!([{"broadcast": "to all"}])).await;
    assert_eq!(guest.text().await, "to all");
    let mut second = TestClient::connect(a, &entered).await;
    assert_eq!(second.closed().await.0, 4401);
    pair.stop().await;
}

/// Returns how many handshakes a node refused because the room's home did not answer.
async fn refused_handshakes(node: &Operated) -> String {
    let metrics = node.ask("GET", "/_room/metrics", b"").await.text();
    let of_homes =
        |line: &&str| line.starts_with("room_upgrades_refused_total") && line.contains("elsewhere");
    let line = metrics.lines().find(of_homes).unwrap_or_default();
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_home_that_is_down_is_named_and_found_when_it_is_back() {
    let pair = Pair::start(|_| {}).await;
    let ([a, b], room) = (pair.addrs(), pair.room_of_b().await);
    let mut client = TestClient::connect(a, &path(&room)).await;
    assert_eq!(client.echo("through").await, "through");
    pair.to_b.leads_to(End::Nowhere);
    // A client whose way is cut sees the end of its connection.
    assert_eq!(client.recv().await, Got::End);
    let reply = a.get(&path(&room)).await;
    let why = "node b, on which the room lives, cannot be reached";
    assert_eq!((reply.status, reply.text()), (503, why.to_owned()));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(TestClient::try_connect(a, &path(&room), &[]).await.err(), Some(503));
    assert_eq!(refused_handshakes(&pair.a).await, "1");
    pair.to_b.leads_to(End::Node(b));
    let mut client = TestClient::connect(a, &path(&room)).await;
    assert_eq!(client.echo("again").await, "again");
    pair.stop().await;
}

#[tokio::test]
async fn a_home_that_is_silent_is_named() {
    let pair = Pair::start(|limits| limits.forward_answer_ms_max = 50).await;
    let ([a, _], room) = (pair.addrs(), pair.room_of_b().await);
    pair.to_b.leads_to(End::Silence);
    let reply = a.get(&path(&room)).await;
    let why = "node b, on which the room lives, did not answer in time";
    assert_eq!((reply.status, reply.text()), (504, why.to_owned()));
    assert_eq!(TestClient::try_connect(a, &path(&room), &[]).await.err(), Some(504));
    assert_eq!(refused_handshakes(&pair.a).await, "1");
    pair.stop().await;
}

#[tokio::test]
async fn nodes_that_disagree_on_a_home_refuse_instead_of_forwarding_in_circles() {
    let data = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (to_a, to_c) = (Street::open().await, Street::open().await);
    // Each takes the other for b.
    let a = start(data[0].path(), "a", &[("b", &to_c)], Limits::default()).await;
    let c = start(data[1].path(), "c", &[("b", &to_a)], Limits::default()).await;
    to_a.leads_to(End::Node(a.server.addr()));
    to_c.leads_to(End::Node(c.server.addr()));
    let why = "node c was sent a request for a room of node b: all nodes of a space must be given the \
               same names";
    let addr = a.server.addr();
    let mut looped = None;
    for number in 0..64 {
        let room = format!("room-{number}");
        let reply = addr.get(&path(&room)).await;
        if reply.status != 200 {
            assert_eq!((reply.status, reply.text()), (508, why.to_owned()));
            looped = Some(room);
            break;
        }
    }
    let mut client = TestClient::connect(addr, &path(&looped.unwrap())).await;
    assert_eq!(client.closed().await, (4508, why.to_owned()));
    within("a server to stop", a.server.drain()).await;
    within("a server to stop", c.server.drain()).await;
}

#[tokio::test]
async fn forwarded_requests_are_bounded() {
    let pair = Pair::start(|limits| limits.forwards_max = 1).await;
    let ([a, b], room) = (pair.addrs(), pair.room_of_b().await);
    let client = TestClient::connect(a, &path(&room)).await;
    let full = a.get(&path(&room)).await;
    let why = "this node already forwards as many requests as it may (forwards_max = 1)";
    assert_eq!((full.status, full.text()), (503, why.to_owned()));
    // A client that asks the home itself takes no place.
    assert_eq!(b.get(&path(&room)).await.status, 200);
    drop(client);
    until("the place to be free", async || a.get(&path(&room)).await.status == 200).await;
    pair.stop().await;
}

#[tokio::test]
async fn a_node_that_stops_ends_what_it_forwards() {
    let pair = Pair::start(|_| {}).await;
    let ([a, b], room) = (pair.addrs(), pair.room_of_b().await);
    let mut through = TestClient::connect(a, &path(&room)).await;
    let mut direct = TestClient::connect(b, &path(&room)).await;
    let Pair { a, b, .. } = pair;
    within("a server to stop", a.server.drain()).await;
    assert_eq!(through.recv().await, Got::End);
    assert_eq!(direct.echo("stays").await, "stays");
    within("a server to stop", b.server.drain()).await;
    assert_eq!(direct.closed().await.0, 1012);
}

#[tokio::test]
async fn an_operator_of_the_wrong_node_reads_the_name_of_the_right_one() {
    let pair = Pair::start(|_| {}).await;
    let room = pair.room_of_b().await;
    let path = format!("projects/chat/node/rooms/main/{room}");
    let reply = pair.a.ask("GET", &path, b"").await;
    assert_eq!(reply.text(), "the room lives on node b: ask that node");
    let space = Space { node: node_name("b").unwrap(), peers: vec!["b=http://h".parse().unwrap()] };
    let dir = tempfile::tempdir().unwrap();
    let refused = Operated::try_start_in(dir.path(), space, Proxies::default(), Limits::default());
    let why = refused.await.err().unwrap().to_string();
    assert_eq!(why, "two nodes are named b: give each node of the space a name of its own");
    pair.stop().await;
}

/// Reads a stream of events until a word comes, and returns what came.
async fn up_to(stream: &mut RawClient, word: &str) -> String {
    let mut text = String::new();
    while !text.contains(word) {
        let chunk = stream.chunk().await.expect("the stream goes on");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    text
}

#[tokio::test]
async fn event_streams_posts_and_publications_reach_a_room_by_every_node() {
    const KEY: &str = "a-key-that-is-for-all-rooms";
    let pair = Pair::start(|_| {}).await;
    let room = pair.room_of_b().await;
    for node in [&pair.a, &pair.b] {
        let mut release = node.release(&guest("puppet"), "2").await;
        release["parties"][0]["sse"] = json!(true);
        release["publish"] = json!({"keys": ["KEY"]});
        release["vars"]["KEY"] = json!(KEY);
        node.good("POST", "projects/chat/deploy", release).await;
    }
    let bearer = format!("Bearer {KEY}");
    let publish = [("authorization", bearer.as_str()), ("content-type", "text/plain")];
    for [near, far] in [pair.addrs(), [pair.b.server.addr(), pair.a.server.addr()]] {
        let mut stream = RawClient::open(near).await;
        let head = format!("Host: {near}\r\nAccept: text/event-stream\r\n");
        stream
            .write(format!("GET {}?_pk=ada HTTP/1.1\r\n{head}\r\n", path(&room)).as_bytes())
            .await;
        let head = stream.head().await;
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        let welcome = up_to(&mut stream, "\n\n").await;
        let secret = welcome.split("\"secret\":\"").nth(1).unwrap()[..32].to_owned();
        let headers = [("x-room-secret", secret.as_str()), ("content-type", "text/plain")];
        let posted = path(&room) + "?_connection=ada";
        assert_eq!(far.request("POST", &posted, &headers, b"by the other node").await.status, 204);
        up_to(&mut stream, "data: by the other node\n\n").await;
        let wrong = [("x-room-secret", "0123456789abcdef0123456789abcdef")];
        assert_eq!(far.request("POST", &posted, &wrong, b"x").await.status, 403);
        let one = format!("/_room/publish/main/{room}");
        let reply = far.request("POST", &one, &publish, b"published").await;
        assert!(reply.json()["id"].is_string(), "{}", reply.text());
        up_to(&mut stream, "data: published\n\n").await;
        let messages = json!({"messages": [
            {"room": room, "text": "of a batch", "idempotency_key": format!("{near}")},
            {"room": room, "text": "again", "idempotency_key": format!("{near}")},
            {"room": "room-0", "text": "x"},
            {"party": "nobody", "room": room, "text": "x"},
        ]});
        let messages = messages.to_string();
        let batch = far.request("POST", "/_room/publish", &publish, messages.as_bytes()).await;
        let results = batch.json()["results"].clone();
        let statuses: Vec<_> = (0..4).map(|at| results[at]["status"].as_u64().unwrap()).collect();
        assert_eq!(statuses, [200, 200, 200, 404], "{results}");
        assert_eq!(results[0]["id"], results[1]["id"]);
        up_to(&mut stream, "data: of a batch\n\n").await;
    }
    pair.stop().await;
}

#[tokio::test]
async fn a_session_has_the_rooms_of_one_node_and_reads_which_live_elsewhere() {
    let pair = Pair::start(|_| {}).await;
    let room = pair.room_of_b().await;
    let headers = [("sec-websocket-protocol", "room.1")];
    let [a, _] = pair.addrs();
    let mut session = TestClient::try_connect(a, &path(&room), &headers).await.unwrap();
    let mut hears = async |frame: Option<Value>| -> Value {
        if let Some(frame) = frame {
            session.send(frame.to_string()).await;
        }
        serde_json::from_str(&session.text().await).unwrap()
    };
    assert_eq!(hears(None).await["type"], "joined");
    let (mut here, mut elsewhere) = (0, 0);
    for number in 1..=64 {
        let room = format!("further-{number}");
        let join = json!({"type": "join", "ref": number, "room": room, "query": "quiet=1"});
        let answer = hears(Some(join)).await;
        match answer["code"].as_str() {
            None => here += 1,
            Some("elsewhere") => elsewhere += 1,
            Some(_) => panic!("{answer}"),
        }
        if here > 0 && elsewhere > 0 {
            return pair.stop().await;
        }
    }
    panic!("{here} of 64 rooms live on b, and {elsewhere} on a");
}
