//! A server with deployed projects: its operators' requests over HTTP, and the effects for clients.

use crate::operated::{Operated, ask};
use room_runtime::server::BlobId;
use room_tests::{Got, RawClient, Requests, TestClient, guest, until, variant, within};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Clients of the load test.
const CLIENTS: usize = 200;
/// Deployments while the clients are connected.
const DEPLOYS: u64 = 10;

#[tokio::test]
async fn the_origins_of_the_release_decide_about_pages() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    let mut release = operated.release(&guest("puppet"), "1").await;
    release["origins"] = json!(["chat.example.com"]);
    let said = operated.refused(400, "POST", "projects/chat/deploy", &release).await;
    assert!(said.contains("is not an origin: it must start with a scheme"), "{said}");
    release["origins"] = json!(["https://chat.example.com"]);
    operated.good("POST", "projects/chat/deploy", release).await;
    for (origin, code) in [("https://evil.example", Some(4403)), ("https://chat.example.com", None)]
    {
        let (addr, path) = (operated.server.addr(), "/parties/main/lobby");
        let mut page = TestClient::try_connect(addr, path, &[("origin", origin)]).await.unwrap();
        match code {
            Some(code) => assert_eq!(page.closed().await.0, code, "{origin}"),
            None => assert_eq!(page.echo("admitted").await, "admitted"),
        }
    }
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn draining_uses_the_servers_window_and_not_the_projects() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start_draining_for(dir.path(), 60_000).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    let addr = operated.server.addr();
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(TestClient::connect(addr, "/parties/main/lobby").await);
    }
    let drained = tokio::spawn(operated.server.drain());
    until("the server to stop listening", async || {
        tokio::net::TcpStream::connect(addr).await.is_err()
    })
    .await;
    // With a window of zero, all would be closed by now or before they send.
    let mut worked = 0;
    for mut client in clients {
        client.try_send("still here").await;
        worked += u32::from(client.recv().await == Got::Text("still here".to_owned()));
    }
    assert!(worked > 0, "all sockets were closed at once");
    within("a server to stop", drained).await.unwrap();
}

#[tokio::test]
async fn a_deployment_is_served_rolled_back_and_persisted_without_closing_sockets() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    let reply = operated.server.addr().get("/parties/main/lobby").await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    let puppet = guest("puppet");
    let first = operated.deploy("chat", &puppet, "1").await;
    assert_eq!(
        first,
        json!({"version": 1, "rooms": 0, "connections": 0, "limits_wait_for_restart": false})
    );
    let mut client = TestClient::connect(operated.server.addr(), "/parties/main/lobby").await;
    client.ask(json!([{"put": ["k", 1]}, {"say": "put"}])).await;

    let second = operated.deploy("chat", &variant(&puppet, 2), "2").await;
    assert_eq!(
        (&second["version"], &second["rooms"], &second["connections"]),
        (&json!(2), &json!(1), &json!(1))
    );
    let report = operated.report("lobby").await;
    assert_eq!((&report["version"], operated.page().await), (&json!("2"), "2".to_owned()));
    operated.good("POST", "projects/chat/rollback", Value::Null).await;
    let report = operated.report("lobby").await;
    assert_eq!((&report["version"], operated.page().await), (&json!("1"), "1".to_owned()));
    assert_eq!(client.echo("still here").await, "still here");
    let versions = operated.good("GET", "projects/chat/versions", Value::Null).await;
    let current = |version: &Value| (version["number"].clone(), version["current"].clone());
    let listed: Vec<_> = versions.as_array().unwrap().iter().map(current).collect();
    assert_eq!(listed, [(json!(1), json!(true)), (json!(2), json!(false))]);
    operated.good("POST", "projects/chat/rollback?version=2", Value::Null).await;
    let said =
        operated.refused(404, "POST", "projects/chat/rollback?version=9", &Value::Null).await;
    assert_eq!(said, "there is no version 9");

    let token = operated.token.clone();
    within("a server to stop", operated.server.drain()).await;
    assert_eq!(client.closed().await.0, 1012);
    let operated = Operated { token, ..Operated::start(dir.path()).await };
    assert!(operated.server.first_token().is_none());
    let report = operated.report("lobby").await;
    assert_eq!((&report["version"], operated.page().await), (&json!("2"), "2".to_owned()));
    assert!(report["keys"].to_string().contains("\"k\""), "{report}");
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn a_release_that_cannot_be_served_never_becomes_current() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    let good = operated.release(&guest("puppet"), "2").await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut release = good.clone();
        change(&mut release);
        release
    };
    let at = "projects/chat/deploy";
    let nothing = BlobId::of(b"nobody has uploaded this").to_string();
    let missing = with(&|release| release["parties"][0]["module"] = json!(nothing));
    let reply = operated.ask("POST", at, missing.to_string().as_bytes()).await;
    assert_eq!((reply.status, &reply.json()["missing"]), (409, &json!([nothing])));
    let text = operated.upload(b"this is no module").await;
    let no_module = with(&|release| release["parties"][0]["module"] = json!(text));
    let said = operated.refused(422, "POST", at, &no_module).await;
    assert!(said.starts_with("party main: "), "{said}");
    for (status, change, why) in [
        (
            400,
            &(|release: &mut Value| release["assets"][0]["path"] = json!("../x"))
                as &dyn Fn(&mut Value),
            "leads out",
        ),
        (400, &|release: &mut Value| release["parties"] = json!([]), "no party"),
        (400, &|release: &mut Value| release["limits"] = json!({"turn_ms": 1}), "turn_ms"),
        (400, &|release: &mut Value| release["newer"] = json!(1), "unknown field `newer`"),
        (400, &|release: &mut Value| release["hosts"] = json!(["A b"]), "is not a host name"),
    ] {
        let said = operated.refused(status, "POST", at, &with(change)).await;
        assert!(said.contains(why), "{said}");
    }
    let said = operated.refused(400, "POST", "projects/No%20Name/deploy", &good).await;
    assert!(said.contains("a project's name"), "{said}");
    let said = operated.refused(409, "POST", "projects/other/deploy", &good).await;
    assert!(said.contains("chat answers to the same hosts"), "{said}");
    let cut = operated.ask("PUT", &format!("blobs/{nothing}"), b"cut").await;
    assert_eq!(cut.status, 400, "{}", cut.text());

    let plan = operated.good("POST", "projects/chat/plan", good).await;
    assert_eq!(
        plan,
        json!({
            "current": 1, "missing": [], "changes": ["~ file index.html", "~ variable VERSION"],
        })
    );
    let versions = operated.good("GET", "projects/chat/versions", Value::Null).await;
    assert_eq!(versions.as_array().map(Vec::len), Some(1));
    assert_eq!(operated.report("lobby").await["version"], "1");
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn projects_are_chosen_by_host_and_a_deleted_one_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    for (project, host) in [("one", "one.example.com"), ("two", "*.example.com")] {
        let mut release = operated.release(&guest("puppet"), project).await;
        release["hosts"] = json!([host]);
        operated.good("POST", &format!("projects/{project}/deploy"), release).await;
    }
    let served = async |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let mut client = room_tests::RawClient::open(operated.server.addr()).await;
        client.write(request.as_bytes()).await;
        let head = client.head().await;
        (
            head.split(' ').nth(1).unwrap().to_owned(),
            String::from_utf8(client.rest().await).unwrap(),
        )
    };
    assert_eq!(served("ONE.example.com:80").await, ("200".into(), "one".into()));
    assert_eq!(served("else.example.com").await, ("200".into(), "two".into()));
    assert_eq!(served("example.org").await.0, "404");
    let projects = operated.good("GET", "projects", Value::Null).await;
    assert_eq!(projects[0], json!({"name": "one", "version": 1, "hosts": ["one.example.com"]}));
    operated.good("DELETE", "projects/one", Value::Null).await;
    operated.refused(404, "DELETE", "projects/one", &Value::Null).await;
    assert_eq!(served("one.example.com").await, ("200".into(), "two".into()));
    assert!(!dir.path().join("projects/one").exists());
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn a_websocket_without_a_project_is_accepted_and_closed_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    let addr = operated.server.addr();
    // A refusal that may pass a little later is a plain 503, and opens no WebSocket.
    assert_eq!(TestClient::try_connect(addr, "/party/lobby", &[]).await.err(), Some(503));
    let mut release = operated.release(&guest("puppet"), "one").await;
    release["hosts"] = json!(["one.example.com"]);
    operated.good("POST", "projects/one/deploy", release).await;
    for path in ["/party/lobby", "/nowhere", "/_room/admin/rooms"] {
        let mut client = TestClient::connect(addr, path).await;
        let reason = "no project has this host".to_owned();
        assert_eq!(client.closed().await, (4404, reason), "{path}");
    }
    // An invalid handshake, or one with two hosts, has the same answer as from a project.
    let no_key = [("upgrade", "websocket"), ("connection", "upgrade")];
    assert_eq!(addr.request("GET", "/party/lobby", &no_key, &[]).await.status, 400);
    let mut two = RawClient::open(addr).await;
    two.write(b"GET /party/lobby HTTP/1.1\r\nHost: a\r\nHost: b\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert!(two.head().await.starts_with("HTTP/1.1 400"));
    assert_eq!(addr.request("GET", "/party/lobby", &[], &[]).await.status, 404);
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn variables_reach_the_rooms_and_secrets_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    let body = json!({"value": "s3cret", "secret": true});
    operated.good("PUT", "projects/chat/env/VERSION", body).await;
    assert_eq!(operated.report("lobby").await["version"], "s3cret");
    operated.good("PUT", "projects/chat/env/OTHER", json!({"value": "seen"})).await;
    let listed = operated.good("GET", "projects/chat/env", Value::Null).await;
    let wanted = json!([
        {"name": "OTHER", "secret": false, "value": "seen"},
        {"name": "VERSION", "secret": true},
    ]);
    assert_eq!(listed, wanted);
    operated.refused(400, "PUT", "projects/chat/env/A%3DB", &json!({"value": ""})).await;
    operated.refused(404, "DELETE", "projects/chat/env/NONE", &Value::Null).await;
    operated.good("DELETE", "projects/chat/env/VERSION", Value::Null).await;
    assert_eq!(operated.report("lobby").await["version"], "1");
    let audit = std::fs::read_to_string(dir.path().join("audit.log")).unwrap();
    assert!(audit.contains("\"path\":\"/_room/admin/projects/chat/env/VERSION\",\"status\":200"));
    assert!(!audit.contains("s3cret") && !audit.contains(&operated.token), "{audit}");
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn a_token_is_valid_for_its_scope_until_it_is_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    let admin = operated.server.admin_addr();
    let mut tokens = Vec::new();
    for scope in ["read", "deploy"] {
        let made = operated.good("POST", "tokens", json!({"name": scope, "scope": scope})).await;
        tokens.push((
            made["id"].as_str().unwrap().to_owned(),
            made["secret"].as_str().unwrap().to_owned(),
        ));
    }
    let described: Value = operated.good("GET", "openapi.json", Value::Null).await;
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, told) in methods.as_object().unwrap() {
            let path = path.replace("{project}", "chat").replace("{path}", "overview");
            let path = path.replace("{id}", "none").replace("{hash}", "0").replace("{name}", "X");
            let method = method.to_uppercase();
            let status = async |token: &str| {
                let bearer = format!("Bearer {token}");
                admin.request(&method, &path, &[("authorization", &bearer)], &[]).await.status
            };
            let Some(scope) = told["x-scope"].as_str() else {
                assert_eq!((status("").await, &told["security"]), (200, &json!([])), "{path}");
                continue;
            };
            assert_eq!(status("").await, 401, "{method} {path}");
            assert_eq!(status("room_0").await, 401, "{method} {path}");
            let refused = [status(&tokens[0].1).await == 403, status(&tokens[1].1).await == 403];
            let wanted = [scope != "read", scope == "admin"];
            assert_eq!(refused, wanted, "{method} {path} needs {scope}");
        }
    }
    for path in ["", "nowhere", "projects/chat/node/nowhere", "projects/%2e%2e/versions"] {
        assert_eq!(operated.ask("GET", path, &[]).await.status, 404, "{path}");
    }
    // The operators' paths do not exist at the clients' address.
    let here = operated.server.addr();
    assert_eq!(ask(here, &operated.token, "GET", "projects", &[]).await.status, 404);
    assert_eq!(here.get("/_room/metrics").await.status, 404);
    operated.good("DELETE", &format!("tokens/{}", tokens[0].0), Value::Null).await;
    assert_eq!(ask(admin, &tokens[0].1, "GET", "projects", &[]).await.status, 401);
    within("a server to stop", operated.server.drain()).await;
}

/// The file that describes the paths and the router that serves them name the same ones.
#[tokio::test]
async fn every_path_of_the_server_is_documented() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    let described: Value = operated.good("GET", "openapi.json", Value::Null).await;
    let mut described: Vec<String> =
        described["paths"].as_object().unwrap().keys().cloned().collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src/server/api.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let named = |call: &str, below: &str| -> Vec<String> {
        let calls = source.split(call).skip(1);
        calls.filter_map(|rest| Some(format!("{}{below}", rest.split('"').nth(1)?))).collect()
    };
    let mut routes = [named(".route(", ""), named(".nest(", "/{path}")].concat();
    described.sort();
    routes.sort();
    assert_eq!(described, routes);
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn a_projects_node_answers_its_operator_through_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    let mut client = TestClient::connect(operated.server.addr(), "/parties/main/a%20b?_pk=x").await;
    let rooms = operated.good("GET", "projects/chat/node/rooms", Value::Null).await;
    assert_eq!(rooms["rooms"][0]["room"], "a b", "{rooms}");
    let seen = operated.good("GET", "projects/chat/node/rooms/main/a%20b", Value::Null).await;
    assert_eq!(seen["connection_count"], 1, "{seen}");
    client.ask(json!([{"put": ["k", 1]}, {"say": "wrote"}])).await;
    let lines = operated.ask("GET", "projects/chat/node/rooms/main/a%20b/export", &[]).await;
    assert!(lines.text().contains("\"k\""), "{}", lines.text());
    let copy = "projects/chat/node/rooms/main/copy/import";
    let imported = operated.ask("PUT", copy, lines.text().as_bytes()).await;
    assert_eq!((imported.status, &imported.json()["room"]), (200, &json!("main/copy")));
    let metrics = operated.ask("GET", "projects/chat/node/metrics", &[]).await;
    assert!(metrics.text().contains("room_sockets_open 1"), "{}", metrics.text());
    // The same of all projects at once, as Prometheus scrapes it.
    let mut game = operated.release(&guest("puppet"), "1").await;
    game["hosts"] = json!(["game.example.com"]);
    operated.good("POST", "projects/game/deploy", game).await;
    let metrics = operated.ask("GET", "/_room/metrics", &[]).await;
    let lines = "# TYPE room_sockets_open gauge\n\
        room_sockets_open{project=\"chat\"} 1\nroom_sockets_open{project=\"game\"} 0\n";
    assert!(metrics.text().contains(lines), "{}", metrics.text());
    let turns = "room_turns_total{project=\"game\",outcome=\"ok\"} 0\n";
    assert!(metrics.text().contains(turns), "{}", metrics.text());
    drop(client);
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn keys_of_any_bytes_are_reached_through_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    operated.report("lobby").await;
    let storage = "projects/chat/node/rooms/main/lobby/storage";
    for key in ["%FF%00", "a%2Fb", "a/c", "%25", "k"] {
        let path = format!("{storage}/{key}");
        let put = operated.ask("PUT", &path, b"7").await;
        assert_eq!(put.status, 200, "{key}: {}", put.text());
        let got = operated.ask("GET", &path, &[]).await;
        assert_eq!((got.status, &got.json()["json"]), (200, &json!(7)), "{key}: {}", got.text());
    }
    let page = operated.good("GET", storage, Value::Null).await;
    let entries = page["entries"].as_array().unwrap().iter();
    assert_eq!(entries.filter(|entry| entry["json"] == 7).count(), 5, "{page}");
    within("a server to stop", operated.server.drain()).await;
}

/// None of the operators' paths, of a server or of a project's rooms, exists at the clients' address, with the
/// operator's own token and by any method.
#[tokio::test]
async fn clients_cannot_reach_any_operator_path() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    operated.report("lobby").await;
    let described: Value = operated.good("GET", "openapi.json", Value::Null).await;
    let mut paths: Vec<String> = described["paths"].as_object().unwrap().keys().cloned().collect();
    let rooms = ["overview", "logs", "metrics", "backup", "rooms", "nowhere"];
    let room = ["", "/export", "/import", "/close", "/kick", "/messages", "/storage", "/storage/k"];
    let rooms = rooms.map(str::to_owned).into_iter();
    let rooms = rooms.chain(room.map(|rest| format!("rooms/main/lobby{rest}")));
    for path in rooms.collect::<Vec<_>>() {
        paths.push(format!("/_room/admin/projects/chat/node/{path}"));
        paths.push(format!("/_room/admin/{path}"));
    }
    let page = ["", "/", "/dashboard.json", "/dashboard/main.js", "/sign-in", "/admin", "/admin/"];
    paths.extend(page.map(|path| format!("/_room{path}")));
    paths.retain(|path| path != "/_room/health");
    let bearer = format!("Bearer {}", operated.token);
    for path in paths {
        let path = path.replace("{project}", "chat").replace(['{', '}'], "");
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let headers = [("authorization", bearer.as_str())];
            let reply = operated.server.addr().request(method, &path, &headers, b"{}").await;
            assert_eq!(reply.status, 404, "{method} {path}");
            assert_eq!(reply.text(), "not found", "{method} {path}");
        }
    }
    // None of it took effect, either.
    let room = operated.good("GET", "projects/chat/node/rooms/main/lobby", Value::Null).await;
    assert_eq!(
        (&room["phase"], &room["storage"]["turns"]),
        (&json!("running"), &json!(1)),
        "{room}"
    );
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test]
async fn a_project_that_cannot_be_opened_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    operated.deploy("chat", &guest("puppet"), "1").await;
    let token = operated.token.clone();
    within("a server to stop", operated.server.drain()).await;
    std::fs::create_dir(dir.path().join("projects/hurt")).unwrap();
    std::fs::write(dir.path().join("projects/hurt/versions.json"), "{").unwrap();
    let operated = Operated { token, ..Operated::start(dir.path()).await };
    assert_eq!(operated.server.projects(), ["chat"]);
    assert!(operated.server.broken()[0].1.contains("versions.json"));
    assert_eq!(operated.report("lobby").await["version"], "1");
    let admin = operated.server.admin_addr();
    assert_eq!(
        (admin.get("/_room/ready").await.status, admin.get("/_room/health").await.status),
        (503, 200)
    );
    operated.refused(500, "GET", "projects/hurt/versions", &Value::Null).await;
    operated.good("DELETE", "projects/hurt", Value::Null).await;
    assert_eq!(admin.get("/_room/ready").await.status, 200);
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_notice_nothing_of_ten_deployments() {
    let dir = tempfile::tempdir().unwrap();
    let operated = Operated::start(dir.path()).await;
    let puppet = guest("puppet");
    operated.deploy("chat", &puppet, "0").await;
    static ENDED: AtomicBool = AtomicBool::new(false);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let path = format!("/parties/main/room-{}", client % 20);
        let mut client = TestClient::connect(operated.server.addr(), &path).await;
        clients.spawn(async move {
            let mut said = 0_u64;
            // Each message comes back before the client sends the next, so it notices a lost one.
            while !ENDED.load(Ordering::SeqCst) {
                let text = said.to_string();
                assert_eq!(client.echo(&text).await, text);
                said += 1;
            }
            said
        });
    }
    for mark in 1..=DEPLOYS {
        let module = variant(&puppet, u8::try_from(mark).unwrap());
        let done = operated.deploy("chat", &module, &mark.to_string()).await;
        assert_eq!((&done["version"], &done["connections"]), (&json!(mark + 1), &json!(CLIENTS)));
    }
    ENDED.store(true, Ordering::SeqCst);
    let said = within("all clients to end", clients.join_all()).await;
    assert_eq!(said.len(), CLIENTS);
    assert!(said.iter().all(|said| *said > 0), "{said:?}");
    within("a server to stop", operated.server.drain()).await;
}
