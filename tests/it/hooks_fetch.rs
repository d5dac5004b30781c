//! Hooks that fetch from other servers, and wait.

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use room_tests::{Origin, Requests, Setup, TestClient, TestNode, guest, response, until, within};
use tokio::sync::watch;

/// Returns the path of a room whose hook fetches from a server, and keeps the response under a key, if there is one.
fn asking(server: &Origin, key: &str) -> String {
    let key = if key.is_empty() { String::new() } else { format!("&key={key}") };
    format!("lobby?verdict=fetch&url={}{key}", server.url("/who"))
}

async fn node(server: &Origin) -> TestNode {
    Setup::memory().fetch_hosts(&[server.host()]).start().await
}

/// Returns a server that holds its answers, and what lets them go.
async fn held() -> (Origin, watch::Sender<bool>) {
    let open = watch::Sender::new(false);
    let server = Origin::behind(open.subscribe(), |_, _| Some(response(200, "ann"))).await;
    (server, open)
}

#[tokio::test]
async fn a_hook_decides_by_what_it_fetched() {
    let server = Origin::of(200, "ann").await;
    let node = node(&server).await;
    let path = asking(&server, "");
    let mut client = node.connect(&path).await;
    assert_eq!(client.text().await, "x-added: 200 ann");
    let seen = node.get(&format!("/party/{path}")).await;
    assert_eq!(seen.status, 200);
    let own = format!("/own?fetch={}", server.url("/own"));
    assert_eq!(node.get(&own).await.text(), "ann");
    let socket = format!("/fetched?fetch={}", server.url("/socket"));
    let mut client = TestClient::connect(node.addr(), &socket).await;
    assert_eq!(client.echo("hi").await, "hi");
    let paths: Vec<String> = server.received().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/who", "/who", "/own", "/socket"]);
    assert_eq!(node.report("ann").await["connections"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_hook_learns_why_it_has_no_response() {
    let (server, _closed) = held().await;
    let limits = |limits: &mut room_runtime::Limits| limits.hook_fetch_ms_max = 200;
    let node = Setup::memory().fetch_hosts(&[server.host()]).limits(limits).start().await;
    let refused = async |url: &str| {
        let mut client = node.connect(&format!("lobby?verdict=fetch&url={url}")).await;
        client.closed().await
    };
    for (url, code) in [
        ("http://127.0.0.1:1/", "host-not-allowed"),
        ("http://169.254.169.254/latest/", "host-not-allowed"),
        ("ftp://127.0.0.1/", "invalid"),
        ("nonsense", "invalid"),
    ] {
        assert_eq!(refused(url).await, (4403, code.to_owned()), "{url}");
    }
    assert_eq!(refused(&server.url("/")).await, (4403, "timed-out".to_owned()));
    // A hook that asks too often is refused by name.
    let mut client = node.connect("lobby?verdict=fetch-many&url=http://127.0.0.1:1/").await;
    assert_eq!(
        client.closed().await,
        (
            4403,
            "the request is invalid: a hook makes at most 8 requests (hook_fetches_max) (invalid)"
                .to_owned()
        )
    );
}

#[tokio::test]
async fn a_thousand_handshakes_make_one_request_to_a_slow_server() {
    let (server, open) = held().await;
    let node = node(&server).await;
    let mut friend = node.connect("other").await;
    let path = asking(&server, "jwks");
    let joining = join_all((0..1_000).map(|_| node.connect(&path)));
    let ((), clients) = within("a thousand handshakes", async {
        tokio::join!(
            async {
                until("the request", async || server.received().len() == 1).await;
                // Rooms go on while hooks wait.
                for _ in 0..10 {
                    assert_eq!(friend.echo("fine").await, "fine");
                }
                open.send_replace(true);
            },
            joining
        )
    })
    .await;
    for mut client in clients {
        assert_eq!(client.text().await, "x-added: 200 ann");
    }
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn waiting_hooks_are_bounded_and_rooms_are_unaffected() {
    let (server, open) = held().await;
    let limits = |limits: &mut room_runtime::Limits| {
        limits.fetching_hooks_max = 2;
        limits.connect_ms_max = 300;
    };
    let node = Setup::memory().fetch_hosts(&[server.host()]).limits(limits).start().await;
    let mut friend = node.connect("friend").await;
    let path = format!("/party/{}", asking(&server, ""));
    let mut asking: FuturesUnordered<_> = (0..6).map(|_| node.get(&path)).collect();
    let mut statuses = Vec::new();
    while let Some(answer) = within("an answer", asking.next()).await {
        if answer.status == 503 {
            assert!(answer.text().contains("fetching_hooks_max"), "{}", answer.text());
        }
        statuses.push(answer.status);
        if statuses == [503; 4] {
            // Two hooks wait, and everybody else is served.
            assert_eq!((friend.echo("fine").await.as_str(), server.received().len()), ("fine", 2));
            open.send_replace(true);
        }
    }
    assert_eq!(statuses, [503, 503, 503, 503, 200, 200]);
}

#[tokio::test]
async fn a_deployment_forgets_what_hooks_have_kept() {
    let server = Origin::of(200, "ann").await;
    let node = node(&server).await;
    let path = format!("/party/{}", asking(&server, "who"));
    for _ in 0..2 {
        assert_eq!(node.get(&path).await.status, 200);
    }
    assert_eq!(server.received().len(), 1);
    node.deploy(guest("puppet"), &[("VERSION", "2")]).await.unwrap();
    assert_eq!(node.get(&path).await.status, 200);
    assert_eq!(server.received().len(), 2);
}
