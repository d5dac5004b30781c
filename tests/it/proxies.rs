//! Proxies before a node: which of them it believes about its clients, by HTTP's headers and by the PROXY protocol.

use crate::tls::Own;
use room_runtime::server::NewToken;
use room_runtime::{Limits, Preamble, Proxies, Server, ServerConfig, Space};
use room_tests::{RawClient, Requests, Setup, TestClient, TestNode, guest, within};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The network of the tests' own connections.
const HERE: &str = "127.0.0.0/8";
/// Version 2 of the PROXY protocol.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Returns what a room sees of a request with this preamble and these headers: its URL, and the headers that proxies
/// add.
async fn seen(node: &TestNode, preamble: &[u8], headers: &str) -> (String, Value) {
    let mut client = RawClient::open(node.addr()).await;
    client.write(&[preamble, request(headers).as_bytes()].concat()).await;
    reflected(&client.rest().await)
}

fn request(headers: &str) -> String {
    format!("GET /party/lobby/reflect HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}\r\n")
}

fn reflected(answer: &[u8]) -> (String, Value) {
    let answer = String::from_utf8_lossy(answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    let body: Value = serde_json::from_str(body).unwrap();
    let made_up = |header: &&Value| {
        let name = header[0].as_str().unwrap_or_default();
        name.contains("forwarded") || name == "x-real-ip"
    };
    let headers = body["headers"].as_array().unwrap().iter().filter(made_up).cloned().collect();
    (body["uri"].as_str().unwrap().to_owned(), headers)
}

/// Returns what a room sees of a client at this address.
fn at(uri: &str, client: &str) -> (String, Value) {
    (uri.to_owned(), json!([["x-forwarded-for", client]]))
}

/// Returns a header of version 2 from its command, its family, and the bytes after the length.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

/// The ends of a connection from 192.0.2.7.
const ENDS: [u8; 12] = [192, 0, 2, 7, 192, 0, 2, 1, 220, 4, 1, 187];

async fn refused(node: &TestNode, reason: &str) -> String {
    let text = node.get("/_room/metrics").await.text();
    let metric = format!("room_proxy_headers_refused_total{{reason=\"{reason}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&metric));
    line.unwrap_or_else(|| panic!("{metric} is not in\n{text}")).to_owned()
}

#[tokio::test]
async fn an_untrusted_claim_of_an_address_reaches_no_room() {
    let headers = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
                   X-Forwarded-User: root\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";
    let plain = at("http://here/party/lobby/reflect", "127.0.0.1");
    let node = Setup::memory().start().await;
    assert_eq!(seen(&node, b"", headers).await, plain);
    // A node that trusts one proxy does not trust every address.
    let node = Setup::memory().proxies(&["10.0.0.0/8", "::1"], Preamble::Nothing).start().await;
    assert_eq!(seen(&node, b"", headers).await, plain);
}

#[tokio::test]
async fn rooms_see_the_client_that_a_trusted_proxy_names() {
    let node = Setup::memory()
        .proxies(&["::ffff:127.0.0.1", "10.0.0.0/8", "fd00::/8"], Preamble::Nothing)
        .start()
        .await;
    let https = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: chat.example.com\r\n";
    let uri = "https://chat.example.com/party/lobby/reflect";
    // A chain: the client forged an address, and two proxies added the addresses that they saw.
    for (list, client) in [
        ("6.6.6.6, 192.0.2.7, 10.1.2.3", "192.0.2.7"),
        ("2001:db8::7, fd00::1", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("6.6.6.6, nonsense", "127.0.0.1"),
    ] {
        let headers = format!("X-Forwarded-For: {list}\r\n{https}");
        assert_eq!(seen(&node, b"", &headers).await, at(uri, client), "{list}");
    }
    let headers = "Forwarded: for=192.0.2.7;proto=https;host=chat.example.com, for=10.1.2.3\r\n";
    assert_eq!(seen(&node, b"", headers).await, at(uri, "192.0.2.7"));
    let plain = "http://here/party/lobby/reflect";
    assert_eq!(seen(&node, b"", "").await, at(plain, "127.0.0.1"));
    // An invalid forwarded host is refused like an invalid `Host`.
    let mut client = RawClient::open(node.addr()).await;
    client.write(request("X-Forwarded-Host: a b\r\n").as_bytes()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_page_of_the_forwarded_host_counts_as_same_origin() {
    let origins = ["https://elsewhere.example"];
    let page = [("origin", "https://chat.example.com"), ("x-forwarded-host", "chat.example.com")];
    for (trusted, code) in [(HERE, None), ("10.0.0.0/8", Some(4403))] {
        let setup = Setup::memory().origins(&origins).proxies(&[trusted], Preamble::Nothing);
        let node = setup.start().await;
        let path = "/parties/main/lobby";
        let mut client = TestClient::try_connect(node.addr(), path, &page).await.unwrap();
        match code {
            Some(code) => assert_eq!(client.closed().await.0, code),
            None => assert_eq!(client.echo("admitted").await, "admitted"),
        }
    }
}

#[tokio::test]
async fn a_proxy_header_names_the_client() {
    let node = Setup::memory().proxies(&[HERE], Preamble::ProxyHeader).start().await;
    let plain = "http://here/party/lobby/reflect";
    let ends6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 20]].concat();
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 56324 443\r\n".to_vec(), "192.0.2.7"),
        (v2(0x21, 0x11, &ENDS), "192.0.2.7"),
        (v2(0x21, 0x21, &ends6), "2001:db8::7"),
        // The proxy sends its own request, or does not know for which client: the node believes no headers.
        (v2(0x20, 0, &[]), "127.0.0.1"),
        (v2(0x21, 0, &[]), "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"PROXY UNKNOWN ffff::f ffff::f 65535 65535\r\n".to_vec(), "127.0.0.1"),
    ] {
        let forged = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n";
        assert_eq!(seen(&node, &header, forged).await, at(plain, client), "{header:?}");
    }
    // A proxy behind a balancer: the header names the proxy, which is trusted, and names the client.
    let proxy = b"PROXY TCP4 127.0.0.9 127.0.0.1 1 1\r\n";
    let headers = "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n";
    let https = "https://here/party/lobby/reflect";
    assert_eq!(seen(&node, proxy, headers).await, at(https, "192.0.2.7"));
    // The balancer removed TLS, and says so.
    let tls = [&ENDS[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
    assert_eq!(seen(&node, &v2(0x21, 0x11, &tls), "").await, at(https, "192.0.2.7"));
}

#[tokio::test]
async fn a_fragmented_proxy_header_is_accepted() {
    let node = Setup::memory().proxies(&[HERE], Preamble::ProxyHeader).start().await;
    for header in [b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n".to_vec(), v2(0x21, 0x11, &ENDS)] {
        let mut tcp = TcpStream::connect(node.addr()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        for byte in &header {
            tcp.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        tcp.write_all(request("").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        within("an answer", tcp.read_to_end(&mut answer)).await.unwrap();
        let plain = "http://here/party/lobby/reflect";
        assert_eq!(reflected(&answer), at(plain, "192.0.2.7"));
    }
}

/// An invalid, too large, truncated or missing header ends the connection, without an answer.
#[tokio::test]
async fn a_trusted_connection_without_a_proxy_header_is_closed_and_counted() {
    let limits = |limits: &mut Limits| limits.proxy_header_ms_max = 1_000;
    let setup = Setup::memory().limits(limits);
    // This test has two roles: the proxy, and the client that requests the metrics.
    let node = setup.proxies(&["127.0.0.2"], Preamble::ProxyHeader).start().await;
    let line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    for (said, ends, reason) in [
        (b"GET /party/lobby HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), false, "malformed"),
        (b"PROXY TCP4 1.2.3.4 nowhere 1 1\r\n".to_vec(), false, "malformed"),
        ([22, 3, 1, 2, 0, 1].repeat(8), false, "malformed"),
        (line.into_bytes(), false, "too_large"),
        (v2(0x21, 0x11, &[0; 8 * 1024]), false, "too_large"),
        (b"PROXY TCP4 1.2.3.4".to_vec(), true, "broken_off"),
        (v2(0x21, 0x11, &ENDS)[..20].to_vec(), true, "broken_off"),
        (b"PROXY TCP4 1.2.3.4".to_vec(), false, "timed_out"),
        (Vec::new(), false, "timed_out"),
    ] {
        let before: u64 = refused(&node, reason).await.parse().unwrap();
        let mut proxy = as_proxy(&node).await;
        // The node may close the connection before it has read all bytes.
        drop(proxy.write_all(&said).await);
        if ends {
            proxy.shutdown().await.unwrap();
        }
        let mut answer = Vec::new();
        drop(within("the end of a connection", proxy.read_to_end(&mut answer)).await);
        assert_eq!(String::from_utf8_lossy(&answer), "", "{reason}");
        assert_eq!(refused(&node, reason).await, (before + 1).to_string(), "{reason}");
    }
    // A connection that only probes the port does not count as refused.
    let mut proxy = as_proxy(&node).await;
    proxy.shutdown().await.unwrap();
    within("the end of a connection", proxy.read_to_end(&mut Vec::new())).await.unwrap();
    assert_eq!(refused(&node, "broken_off").await, "2");
    // Connections from elsewhere are served without a header, and a header there is invalid HTTP.
    assert_eq!(seen(&node, b"", "").await, at("http://here/party/lobby/reflect", "127.0.0.1"));
    let mut stranger = RawClient::open(node.addr()).await;
    stranger.write(b"PROXY TCP4 6.6.6.6 127.0.0.1 1 1\r\n").await;
    stranger.write(request("").as_bytes()).await;
    assert!(stranger.head().await.starts_with("HTTP/1.1 400"));
}

/// Returns a connection from 127.0.0.2.
async fn as_proxy(node: &TestNode) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
    within("a TCP connection", socket.connect(node.addr())).await.unwrap()
}

#[tokio::test]
async fn tls_begins_behind_a_proxy_header() {
    let (dir, own) = (tempfile::tempdir().unwrap(), Own::new());
    own.write(dir.path());
    let setup = Setup::memory().tls(dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let node = setup.proxies(&[HERE], Preamble::ProxyHeader).start().await;
    for header in [b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n".to_vec(), v2(0x21, 0x11, &ENDS)] {
        let mut tcp = TcpStream::connect(node.addr()).await.unwrap();
        tcp.write_all(&header).await.unwrap();
        let mut tls = own.shake_hands(tcp).await.unwrap();
        tls.write_all(request("X-Forwarded-Proto: http\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        within("an answer", tls.read_to_end(&mut answer)).await.unwrap();
        let https = "https://here/party/lobby/reflect";
        assert_eq!(reflected(&answer), at(https, "192.0.2.7"));
    }
    // Inside TLS it is too late for a header.
    let tcp = TcpStream::connect(node.addr()).await.unwrap();
    assert!(own.shake_hands(tcp).await.is_err());
}

/// A server with projects: its listener's settings hold for all of them, and the forwarded host chooses one.
#[tokio::test]
async fn the_forwarded_host_chooses_the_project() {
    let dir = tempfile::tempdir().unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = ServerConfig {
        data: dir.path().to_owned(),
        listen: any,
        admin: any,
        tls: None,
        admin_tls: None,
        proxies: Proxies { trusted: vec![HERE.parse().unwrap()], preamble: Preamble::ProxyHeader },
        space: Space::default(),
        cluster: None,
        limits: Limits { rooms_active_max: 32, door_instances_max: 1, ..Limits::default() },
    };
    let lost = Proxies { trusted: Vec::new(), ..config.proxies.clone() };
    let lost = Server::start(ServerConfig { proxies: lost, ..config.clone() }).await;
    assert!(lost.err().unwrap().to_string().contains("trusted proxies, and there are none"));
    let server = within("a server to start", Server::start(config)).await.unwrap();
    let NewToken { secret, .. } = server.first_token().unwrap().clone();
    let bearer = format!("Bearer {secret}");
    let headers = [("authorization", bearer.as_str())];
    let puppet = guest("puppet");
    let module = room_runtime::server::BlobId::of(&puppet).to_string();
    let admin = server.admin_addr();
    let path = format!("/_room/admin/blobs/{module}");
    assert_eq!(admin.request("PUT", &path, &headers, &puppet).await.status, 200);
    let release = json!({
        "parties": [{"name": "main", "module": module}], "hosts": ["chat.example.com"],
    });
    let path = "/_room/admin/projects/chat/deploy";
    let deployed = admin.request("POST", path, &headers, release.to_string().as_bytes()).await;
    assert_eq!(deployed.status, 200, "{}", deployed.text());
    let mut client = RawClient::open(server.addr()).await;
    client.write(b"PROXY TCP4 127.0.0.9 127.0.0.1 1 1\r\n").await;
    client.write(request("X-Forwarded-Host: chat.example.com\r\n").as_bytes()).await;
    let uri = "http://chat.example.com/party/lobby/reflect";
    assert_eq!(reflected(&client.rest().await), at(uri, "127.0.0.9"));
    let mut client = RawClient::open(server.addr()).await;
    client.write(b"nonsense, and more of it").await;
    client.rest().await;
    let metrics = admin.request("GET", "/_room/metrics", &headers, b"").await.text();
    let counted = "room_proxy_headers_refused_total{reason=\"malformed\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
    within("a server to stop", server.drain()).await;
}
