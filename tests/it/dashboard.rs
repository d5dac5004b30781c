//! The operator's page: its headers, and its answers to clients without a token.

use room_runtime::server::NewToken;
use room_runtime::{Limits, Proxies, Server, ServerConfig, Space};
use room_tests::{RawClient, Reply, Requests, Setup, TestNode, guest, within};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};

const FILES: [&str; 2] = ["main.js", "style.css"];

fn policy(reply: &Reply) -> String {
    reply.header("content-security-policy").unwrap_or_default().to_owned()
}

async fn server(data: &std::path::Path, listen: &str) -> (Server, String) {
    let config = ServerConfig {
        data: data.to_owned(),
        listen: listen.parse().unwrap(),
        admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        tls: None,
        admin_tls: None,
        proxies: Proxies::default(),
        space: Space::default(),
        cluster: None,
        limits: Limits { rooms_active_max: 32, door_instances_max: 1, ..Limits::default() },
    };
    let server = within("a server to start", Server::start(config)).await.unwrap();
    let token = server.first_token().map(|NewToken { secret, .. }| secret.clone()).unwrap();
    (server, token)
}

#[tokio::test]
async fn the_dashboards_policy_allows_only_its_own_files_and_server() {
    let node = Setup::memory().start().await;
    let page = node.get("/_room/").await;
    assert_eq!((page.status, page.header("cache-control")), (200, Some("no-cache")));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let addr = node.addr();
    assert_eq!(
        policy(&page),
        format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self' ws://{addr} wss://{addr}; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
        )
    );
    // Nothing in it is inline: the policy would not run it.
    let html = page.text();
    assert!(
        !html.contains("<style") && !html.contains(" style=") && !html.contains(" on"),
        "{html}"
    );
    for file in FILES {
        let reply = node.get(&format!("/_room/dashboard/{file}")).await;
        assert_eq!((reply.status, reply.header("x-content-type-options")), (200, Some("nosniff")));
        assert!(!reply.text().contains("innerHTML"), "{file}");
    }
    let moved = node.get("/_room").await;
    assert_eq!((moved.status, moved.header("location")), (308, Some("/_room/")));
}

#[tokio::test]
async fn a_cached_dashboard_file_is_not_sent_again() {
    let node = Setup::memory().start().await;
    let first = node.get("/_room/").await;
    let tag = first.header("etag").unwrap().to_owned();
    let known = [("if-none-match", tag.as_str())];
    let again = node.request("GET", "/_room/", &known, &[]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(policy(&again), policy(&first));
    let other = node.request("GET", "/_room/dashboard/main.js", &known, &[]).await;
    assert_eq!(other.status, 200);
    let head = node.request("HEAD", "/_room/", &[], &[]).await;
    assert_eq!((head.status, head.header("etag")), (200, Some(tag.as_str())));
}

#[tokio::test]
async fn the_dashboard_answers_only_get_and_only_on_the_operators_paths() {
    let node = Setup::memory().start().await;
    for path in ["/_room/", "/_room/dashboard/main.js", "/_room/dashboard.json"] {
        for method in ["POST", "PUT", "DELETE"] {
            assert_eq!(node.request(method, path, &[], b"x").await.status, 405, "{method} {path}");
        }
    }
    for path in ["/_room/dashboard/", "/_room/dashboard/none.js", "/_room/dashboard/..%2fdom.js"] {
        assert_eq!(node.get(path).await.status, 404, "{path}");
    }
    let public = Setup::memory().public().start().await;
    for path in ["/_room", "/_room/", "/_room/dashboard/main.js", "/_room/dashboard.json"] {
        assert_eq!(public.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn without_a_token_the_dashboard_learns_only_its_kind() {
    let node = Setup::memory().start().await;
    let told = node.get("/_room/dashboard.json").await;
    assert_eq!(told.json(), json!({"mode": "node", "sockets": null}));
    assert_eq!(node.get("/_room/admin/overview").await.status, 401);
    assert_eq!(node.get("/_room/admin/rooms/main/lobby/messages").await.status, 401);

    let dir = tempfile::tempdir().unwrap();
    let (server, token) = server(dir.path(), "127.0.0.1:0").await;
    let bearer = format!("Bearer {token}");
    let ask = async |method: &str, path: &str, body: &[u8]| {
        let path = format!("/_room/admin/{path}");
        let headers = [("authorization", bearer.as_str())];
        server.admin_addr().request(method, &path, &headers, body).await
    };
    let module = guest("puppet");
    let blob = room_runtime::server::BlobId::of(&module).to_string();
    assert_eq!(ask("PUT", &format!("blobs/{blob}"), &module).await.status, 200);
    let release = json!({
        "parties": [{"name": "main", "module": blob}],
        "hosts": ["secret-project.example.com", "*.example.org"],
    });
    let deployed = ask("POST", "projects/chat/deploy", release.to_string().as_bytes()).await;
    assert_eq!(deployed.status, 200, "{}", deployed.text());

    let (admin, public) = (server.admin_addr(), server.addr());
    let told = admin.get("/_room/dashboard.json").await.json();
    assert_eq!(told, json!({"mode": "server", "sockets": format!("ws://{public}")}));
    let page = admin.get("/_room/").await;
    let connects = |to: &str| format!("connect-src 'self' ws://{to};");
    assert!(policy(&page).contains(&connects(&public.to_string())), "{}", policy(&page));
    // A client that knows the name of a project can reach it. Nobody learns a name, or sends the page elsewhere.
    let named = admin.get("/_room/?host=secret-project.example.com").await;
    let to = format!("secret-project.example.com:{}", public.port());
    assert!(policy(&named).contains(&connects(&to)), "{}", policy(&named));
    for host in ["evil.example.com", "x.example.org;script-src%20*", "example.org", ""] {
        let page = admin.get(&format!("/_room/?host={host}")).await;
        assert!(policy(&page).contains(&connects(&public.to_string())), "{}", policy(&page));
    }
    let scope: Value = ask("GET", "server", &[]).await.json();
    assert_eq!(scope["token"], json!({"name": "first", "scope": "admin"}));
    for path in ["/_room", "/_room/", "/_room/dashboard/main.js", "/_room/dashboard.json"] {
        assert_eq!(public.get(path).await.status, 404, "{path}");
    }
    within("a server to stop", server.drain()).await;
}

/// Returns the answer to a page at `origin` that signs in with a code, by this name of the server.
async fn sign_in(node: &TestNode, (host, origin): (&str, &str), code: &str) -> Reply {
    let body = json!({ "code": code }).to_string();
    let head = format!(
        "POST /_room/sign-in HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = RawClient::open(node.addr()).await;
    client.write(head.as_bytes()).await;
    let head = client.head().await;
    Reply::of(&head, client.rest().await)
}

#[tokio::test]
async fn a_sign_in_link_signs_in_one_page_of_the_server_only() {
    let node = Setup::memory().start().await;
    let own = format!("localhost:{}", node.addr().port());
    let (good, code) = (format!("http://{own}"), node.sign_in_code());
    // Pages of other sites, and this server by a name that is not this machine's.
    let rebound = format!("evil.example:{}", node.addr().port());
    let foreign = format!("http://{rebound}");
    for who in [(own.as_str(), "http://evil.example"), (own.as_str(), "null"), (&rebound, &foreign)]
    {
        let refused = sign_in(&node, who, &code).await;
        assert_eq!(refused.status, 403, "{who:?}: {}", refused.text());
        assert!(!refused.text().contains(&node.secret()), "{who:?}");
    }
    assert_eq!(sign_in(&node, (&own, &good), "made up").await.status, 403);
    let signed_in = sign_in(&node, (&own, &good), &code).await;
    assert_eq!(signed_in.json(), json!({ "token": node.secret() }));
    assert_eq!(signed_in.header("cache-control"), Some("no-store"));
    // A second use, by anybody who has seen the link.
    let again = sign_in(&node, (&own, &good), &code).await;
    assert_eq!(again.status, 403);
    assert!(again.text().contains("this link has been used"), "{}", again.text());
}

#[tokio::test]
async fn sign_in_links_are_refused_if_other_machines_can_connect() {
    let node = Setup::memory().public().start().await;
    let own = format!("localhost:{}", node.addr().port());
    let (good, code) = (format!("http://{own}"), node.sign_in_code());
    assert_eq!(sign_in(&node, (&own, &good), &code).await.status, 404);
}
