//! The client against servers on loopback, most of which misbehave.

mod peer;
mod redirects;
mod secure;

use super::*;
use peer::{Peer, Then};

/// Limits under which a test of a bound is short.
fn small() -> Limits {
    Limits {
        fetch_ms_max: 2_000,
        fetch_connect_ms_max: 1_000,
        fetch_quiet_ms_max: 200,
        fetch_response_bytes_max: 64 * 1024,
        fetch_header_bytes_max: 8 * 1024,
        fetch_chunk_bytes_max: 1_000,
        fetch_redirects_max: 3,
        ..Limits::default()
    }
}

fn client(limits: &Limits) -> FetchClient {
    let bytes = ByteBudget::new(limits.buffered_bytes_max);
    FetchClient::new(&Arc::new(limits.clone()), bytes)
}

fn request(method: &str, uri: &str) -> FetchRequest {
    FetchRequest {
        request: room_core::event::Request {
            method: method.to_owned(),
            uri: uri.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        },
        timeout_ms: None,
        redirects: Redirects::Follow,
    }
}

fn get(uri: &str) -> FetchRequest {
    request("GET", uri)
}

fn hosts(list: &[&str]) -> FetchHosts {
    let list: Vec<String> = list.iter().map(|host| (*host).to_owned()).collect();
    FetchHosts::parse(&list, &Limits::default()).unwrap()
}

/// Fetches from a server that answers with these bytes, and then goes on as `then` says.
async fn answered(limits: &Limits, answer: &[u8], then: Then) -> Result<Response, FetchFailure> {
    let peer = Peer::answering(answer, then).await;
    client(limits).fetch(&get(&peer.url()), &peer.hosts(), None).await
}

#[tokio::test]
async fn a_request_and_its_response_arrive_whole() {
    let peer = Peer::answering(
        b"HTTP/1.1 201 Created\r\nX-Own: a\r\nSet-Cookie: b=1\r\nSet-Cookie: c=2\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        Then::Next,
    )
    .await;
    let mut post = request("POST", &format!("{}path?a=b#c", peer.url()));
    post.request.headers = vec![("X-Mine".to_owned(), b"1".to_vec()); 2];
    post.request.body = Bytes::from_static(b"body");
    let own = client(&Limits::default());
    let response = own.fetch(&post, &peer.hosts(), Some("key-1")).await.unwrap();
    assert_eq!((response.status, &response.body[..]), (201, &b"hello"[..]));
    let header = |name: &str| {
        let found = response.headers.iter().filter(|(own, _)| own == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (header("x-own"), header("set-cookie")),
        (vec!["a".into()], vec!["b=1".into(), "c=2".into()])
    );
    assert!(header("connection").is_empty() && header("content-length").is_empty());
    let seen = peer.seen().remove(0);
    assert!(seen.starts_with("POST /path?a=b HTTP/1.1\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\nbody"), "{seen}");
    for line in [
        format!("host: {}", peer.addr()),
        "content-length: 4".to_owned(),
        "idempotency-key: key-1".to_owned(),
        "accept-encoding: identity".to_owned(),
        concat!("user-agent: room/", env!("CARGO_PKG_VERSION")).to_owned(),
    ] {
        assert!(seen.contains(&line), "{line} in {seen}");
    }
    assert_eq!(seen.matches("x-mine: 1").count(), 2, "{seen}");
}

#[tokio::test]
async fn no_host_is_allowed_by_default_and_nothing_is_sent() {
    let peer = Peer::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Close).await;
    let own = client(&Limits::default());
    for hosts in [FetchHosts::default(), hosts(&["*"]), hosts(&["127.0.0.1:1", "*:*"])] {
        let failure = own.fetch(&get(&peer.url()), &hosts, None).await.unwrap_err();
        assert_eq!(failure.code(), "host-not-allowed", "{failure}");
    }
    // The name is allowed, and the address that it leads to is not.
    let url = format!("http://localhost:{}/", peer.addr().port());
    let failure = own.fetch(&get(&url), &hosts(&["*:*"]), None).await.unwrap_err();
    assert_eq!(failure.code(), "address-not-allowed", "{failure}");
    let by_name = hosts(&[&format!("localhost:{}", peer.addr().port())]);
    assert_eq!(own.fetch(&get(&url), &by_name, None).await.unwrap().status, 200);
    assert_eq!(peer.seen().len(), 1, "{:?}", peer.seen());
}

#[tokio::test]
async fn requests_that_cannot_be_sent_are_invalid() {
    let own = client(&Limits::default());
    for uri in ["", "/path", "http://", "ftp://a.example/", "https://me@a.example/", "http://[/"] {
        let failure = own.fetch(&get(uri), &hosts(&["*"]), None).await.unwrap_err();
        assert_eq!(failure.code(), "invalid", "{uri}: {failure}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named() {
    let own = client(&small());
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = closed.local_addr().unwrap();
    drop(closed);
    let listed = [addr.to_string(), "nowhere.invalid".to_owned()];
    let hosts = hosts(&[&listed[0], &listed[1]]);
    for host in &listed {
        let failure = own.fetch(&get(&format!("http://{host}/")), &hosts, None).await.unwrap_err();
        assert_eq!((failure.code(), failure.is_transient()), ("unreachable", true), "{failure}");
        let name = host.split(':').next().unwrap();
        assert!(failure.to_string().contains(name), "{failure}");
    }
}

#[tokio::test]
async fn servers_that_break_the_protocol_are_named() {
    for answer in [
        &b""[..],
        b"hello, I am a database\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"<html>HTTP/0.9</html>",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
    ] {
        let failure = answered(&small(), answer, Then::Close).await.unwrap_err();
        let shown = String::from_utf8_lossy(answer);
        assert_eq!(
            (failure.code(), failure.is_transient()),
            ("protocol", true),
            "{shown}: {failure}"
        );
    }
}

#[tokio::test]
async fn servers_that_hang_are_timed_out() {
    let limits = Limits { fetch_ms_max: 300, fetch_quiet_ms_max: 100, ..small() };
    for (answer, ms) in [
        (&b""[..], 300),
        (b"HTTP/1.1 200", 300),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", 100),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", 100),
    ] {
        let failure = answered(&limits, answer, Then::Hang).await.unwrap_err();
        assert_eq!(failure, FetchFailure::TimedOut { ms }, "{}", String::from_utf8_lossy(answer));
    }
    // A request may have less time than the limit.
    let peer = Peer::answering(b"", Then::Hang).await;
    let hasty = FetchRequest { timeout_ms: Some(50), ..get(&peer.url()) };
    let failure = client(&small()).fetch(&hasty, &peer.hosts(), None).await.unwrap_err();
    assert_eq!(failure, FetchFailure::TimedOut { ms: 50 });
}

#[tokio::test]
async fn bytes_without_end_are_cut_at_the_limit() {
    let limits = small();
    let (kib, chunk) = (vec![b'x'; 1024], [b"400\r\n", &[b'x'; 0x400][..], b"\r\n"].concat());
    for (head, then) in [
        ("transfer-encoding: chunked\r\n", Then::Repeat(chunk)),
        ("", Then::Repeat(kib.clone())),
        ("content-length: 99999999999\r\n", Then::Hang),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
        let failure = answered(&limits, answer.as_bytes(), then).await;
        let limit = "fetch_response_bytes_max".to_owned();
        assert_eq!(failure, Err(FetchFailure::TooLarge { limit, bytes: 64 * 1024 }), "{head}");
    }
    let header = b"x-more: 0123456789012345678901234567890123456789\r\n".to_vec();
    for (head, then) in [("", header), ("x-long: ", kib)] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}");
        let failure = answered(&limits, answer.as_bytes(), Then::Repeat(then)).await.unwrap_err();
        assert_eq!(failure.code(), "too-large", "{head}: {failure}");
        assert!(failure.to_string().contains("fetch_header_bytes_max"), "{failure}");
    }
    let early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_vec();
    let hints = answered(&Limits { fetch_ms_max: 300, ..limits }, b"", Then::Repeat(early)).await;
    assert_eq!(hints, Err(FetchFailure::TimedOut { ms: 300 }));
}

#[tokio::test]
async fn odd_and_valid_responses_are_read_as_they_are_meant() {
    for (answer, status, body) in [
        (&b"HTTP/1.0 200 OK\r\n\r\nuntil the end"[..], 200, &b"until the end"[..]),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok, and more than announced", 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-trailer: 1\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n", 500, b""),
    ] {
        let response = answered(&small(), answer, Then::Close).await.unwrap();
        assert_eq!((response.status, &response.body[..]), (status, body));
    }
    let peer =
        Peer::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n", Then::Next).await;
    let head = request("HEAD", &peer.url());
    let response = client(&small()).fetch(&head, &peer.hosts(), None).await.unwrap();
    assert_eq!(response.body.len(), 0);
    assert!(response.headers.contains(&("content-length".to_owned(), b"99999999".to_vec())));
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Waits until this many connections are kept.
async fn kept(client: &FetchClient, count: usize) {
    while client.shared.idle.count() != count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_serves_the_next_request_and_is_closed_when_it_is_old() {
    let limits = Limits { fetch_idle_ms_max: 200, ..small() };
    let (own, peer) = (client(&limits), Peer::answering(OK, Then::Next).await);
    for _ in 0..3 {
        own.fetch(&get(&peer.url()), &peer.hosts(), None).await.unwrap();
        kept(&own, 1).await;
    }
    assert_eq!((peer.connections(), peer.seen().len()), (1, 3));
    // Another project that does not list the server cannot use it.
    let refused = own.fetch(&get(&peer.url()), &hosts(&["*"]), None).await.unwrap_err();
    assert_eq!(refused.code(), "host-not-allowed");
    kept(&own, 0).await;
    own.fetch(&get(&peer.url()), &peer.hosts(), None).await.unwrap();
    assert_eq!(peer.connections(), 2);
}

#[tokio::test]
async fn no_more_connections_are_kept_than_the_limit_allows() {
    let limits = Limits { fetch_idle_max: 1, ..small() };
    let (own, peer) = (client(&limits), Peer::answering(OK, Then::Next).await);
    let other = Peer::answering(OK, Then::Next).await;
    for peer in [&peer, &other, &peer] {
        own.fetch(&get(&peer.url()), &peer.hosts(), None).await.unwrap();
        kept(&own, 1).await;
        // The one of before is gone when this one is kept.
        while !own.shared.idle.leads_to_port(peer.addr().port()) {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!((peer.connections(), other.connections()), (2, 1));
}

#[tokio::test]
async fn a_request_over_a_connection_that_was_closed_meanwhile_is_sent_again() {
    let (own, peer) = (client(&small()), Peer::answering(OK, Then::NextButOne).await);
    own.fetch(&get(&peer.url()), &peer.hosts(), None).await.unwrap();
    kept(&own, 1).await;
    own.fetch(&get(&peer.url()), &peer.hosts(), None).await.unwrap();
    assert_eq!((peer.connections(), peer.seen().len()), (2, 3), "{:?}", peer.seen());
    // The server may have handled a POST, so it is not repeated.
    kept(&own, 1).await;
    let post = request("POST", &peer.url());
    let failure = own.fetch(&post, &peer.hosts(), None).await.unwrap_err();
    assert_eq!(failure.code(), "protocol", "{failure}");
}

#[tokio::test]
async fn too_many_requests_at_once_are_busy_with_the_limits_name() {
    let own = client(&Limits { fetches_node_max: 1, ..small() });
    let (slow, quick) =
        (Peer::answering(b"", Then::Hang).await, Peer::answering(OK, Then::Next).await);
    let (waits, asked) = (get(&slow.url()), slow.hosts());
    let waiting = own.fetch(&waits, &asked, None);
    tokio::pin!(waiting);
    while slow.seen().is_empty() {
        assert!(futures_step(waiting.as_mut()).await.is_none());
    }
    let project = own.for_project(Arc::new(small()));
    let failure = project.fetch(&get(&quick.url()), &quick.hosts(), None).await.unwrap_err();
    assert_eq!(failure, FetchFailure::Busy("fetches_node_max".to_owned()));
    assert_eq!(waiting.await.unwrap_err().code(), "timed-out");
    own.fetch(&get(&quick.url()), &quick.hosts(), None).await.unwrap();
}

/// Lets a future go on for a moment, and returns its output if it ended.
async fn futures_step<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = tokio::task::yield_now() => None,
    }
}

#[tokio::test]
async fn bodies_count_in_the_budget_of_the_process_until_they_are_complete() {
    let limits = Arc::new(small());
    let budget = ByteBudget::new(16 * 1024);
    let own = FetchClient::new(&limits, budget.clone());
    let body = [b"HTTP/1.1 200 OK\r\ncontent-length: 32000\r\n\r\n", &[b'x'; 32_000][..]].concat();
    let peer = Peer::answering(&body, Then::Next).await;
    let failure = own.fetch(&get(&peer.url()), &peer.hosts(), None).await.unwrap_err();
    assert_eq!(failure, FetchFailure::Busy("buffered_bytes_max".to_owned()));
    assert_eq!(budget.granted(), 0);
}

#[tokio::test]
async fn a_streamed_response_comes_in_bounded_pieces_and_waits_for_its_reader() {
    let limits = Limits { fetch_stream_bytes_max: 50_000, ..small() };
    let body = [b"HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n", &[b'x'; 40_000][..]].concat();
    let peer = Peer::answering(&body, Then::Next).await;
    let (sink, mut parts) = mpsc::channel(1);
    let (own, asked, listed) = (client(&limits), get(&peer.url()), peer.hosts());
    let reading = tokio::spawn(async move { own.fetch_stream(&asked, &listed, None, sink).await });
    let Some(FetchPart::Head(head)) = parts.recv().await else { panic!("no head") };
    assert_eq!((head.status, head.url), (200, peer.url()));
    let mut bytes = 0;
    while let Some(part) = parts.recv().await {
        let FetchPart::Chunk(chunk) = part else { panic!("a second head") };
        assert!((1..=1_000).contains(&chunk.len()));
        bytes += chunk.len();
    }
    assert_eq!((bytes, reading.await.unwrap()), (40_000, Ok(())));
}

#[tokio::test]
async fn a_streamed_response_ends_with_its_reader_and_at_its_limits() {
    let chunk: Vec<u8> = b"400\r\n".iter().chain(&[b'x'; 0x400]).chain(b"\r\n").copied().collect();
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let limits = Limits { fetch_stream_bytes_max: 100_000, fetch_stream_ms_max: 300, ..small() };
    let own = client(&limits);
    let peer = Peer::answering(head, Then::Repeat(chunk)).await;
    let (sink, parts) = mpsc::channel(1);
    drop(parts);
    assert_eq!(own.fetch_stream(&get(&peer.url()), &peer.hosts(), None, sink).await, Ok(()));

    let (sink, mut parts) = mpsc::channel(1);
    let (asked, listed) = (get(&peer.url()), peer.hosts());
    let (failure, ()) = tokio::join!(own.fetch_stream(&asked, &listed, None, sink), async {
        while parts.recv().await.is_some() {}
    });
    let limit = "fetch_stream_bytes_max".to_owned();
    assert_eq!(failure, Err(FetchFailure::TooLarge { limit, bytes: 100_000 }));

    // Nobody reads, and the time is over.
    let (sink, _unread) = mpsc::channel(1);
    let failure = own.fetch_stream(&asked, &listed, None, sink).await;
    assert_eq!(failure, Err(FetchFailure::TimedOut { ms: 300 }));
}
