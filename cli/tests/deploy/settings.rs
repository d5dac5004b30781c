//! What a manifest sets for the door, as clients of a deployed project see it. Owns one project with all of it.
//!
//! Invariant: each setting is seen with a deployment that has it, and gone with one that has not. A rollback and a
//! restart of the server bring it back. It does not know how the door does it.

use super::{BUILD_MAX, Project, Served};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// A room that says where it was asked, and a project that answers one URL outside of rooms.
const ROOM: &str = r#"//! Says where it was asked.
use room_sdk::prelude::*;

/// Keeps nothing.
#[derive(Default)]
pub struct Here;

impl Room for Here {
    fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
        Ok(Response::text(format!("{} {} {}", ctx.party(), ctx.name(), request.rest())))
    }

    fn on_fetch(request: Request, _: &ProjectEnv) -> Result<Option<Response>> {
        Ok((request.path() == "/own").then(|| Response::text("the project's own")))
    }
}

room_sdk::export!(Here);
"#;

/// A manifest with every setting of the door.
const FIRST: &str = r#"name = "here"

[parties.main]
path = "."
cors = true

[parties.listed]
path = "."
cors = ["https://app.example", "https://*.b.example"]

[assets]
dir = "web"

[assets.cache]
"img/**" = "public, max-age=60"
"*.txt" = "no-store"

[serve]
prefix = "/api/rooms"
"#;

/// A manifest in which each of them is another one, or gone.
const SECOND: &str = r#"name = "here"

[parties.main]
path = "."

[parties.listed]
path = "."
cors = ["https://new.example"]

[assets]
dir = "web"
single_page = true

[assets.cache]
"*.txt" = "public, max-age=5"

[serve]
prefix = "/rooms"
"#;

/// An answer.
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        pairs.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whose pages may read it, and whether with cookies.
    fn cors(&self) -> (Option<&str>, bool) {
        let cookies = self.header("access-control-allow-credentials") == Some("true");
        (self.header("access-control-allow-origin"), cookies)
    }
}

/// Asks a server; `head` are further lines of the request's head.
fn ask(addr: &str, request: &str, head: &[&str]) -> Reply {
    let mut tcp = TcpStream::connect(addr).expect("it listens");
    tcp.set_read_timeout(Some(BUILD_MAX)).expect("there can be a time limit");
    let more: String = head.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n");
    tcp.write_all(head.as_bytes()).expect("a request can be sent");
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).expect("an answer comes");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("it has a head");
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).expect("a head is text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Reply { status: status.expect("it has a status"), head, body }
}

/// The status and the text at a path, as a page's navigation asks for it.
fn page(addr: &str, path: &str) -> (u16, String) {
    let reply = ask(addr, &format!("GET {path}"), &["accept: text/html,*/*;q=0.8"]);
    (reply.status, reply.text())
}

fn said(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

/// How long a file is kept in caches.
fn cache(addr: &str, path: &str) -> String {
    let reply = ask(addr, &format!("GET {path}"), &[]);
    assert_eq!(reply.status, 200, "{path}");
    reply.header("cache-control").unwrap_or_default().to_owned()
}

/// What the answer to a request of a page of this origin says about who may read it.
fn read_by(addr: &str, party: &str, origin: &str) -> (Option<String>, bool) {
    let reply = ask(addr, &format!("GET /parties/{party}/lobby"), &[&format!("origin: {origin}")]);
    assert_eq!((reply.status, reply.text()), (200, format!("{party} lobby /")));
    let (allowed, cookies) = reply.cors();
    (allowed.map(str::to_owned), cookies)
}

fn preflight(addr: &str, party: &str, origin: &str) -> (u16, Option<String>) {
    let origin = format!("origin: {origin}");
    let head = [origin.as_str(), "access-control-request-method: DELETE"];
    let reply = ask(addr, &format!("OPTIONS /parties/{party}/lobby"), &head);
    (reply.status, reply.header("access-control-allow-methods").map(str::to_owned))
}

/// What clients see of [`FIRST`].
fn first(addr: &str) {
    // Missing pages are the project's own, whatever they look like. A URL that its code answers is not missing.
    for path in ["/nowhere", "/nowhere/else.js"] {
        assert_eq!(page(addr, path), said(404, "no such page"), "{path}");
    }
    assert_eq!(page(addr, "/own"), said(200, "the project's own"));
    assert_eq!(page(addr, "/"), said(200, "the index"));
    assert_eq!(cache(addr, "/img/a.svg"), "public, max-age=60");
    assert_eq!(cache(addr, "/deep/a.txt"), "no-store");
    assert_eq!(cache(addr, "/main.3f2a1bc4.css"), "public, max-age=31536000, immutable");
    assert_eq!(cache(addr, "/index.html"), "no-cache");
    // Compressed forms are made on the server.
    let br = ask(addr, "GET /large.js", &["accept-encoding: br"]);
    assert_eq!((br.status, br.header("content-encoding")), (200, Some("br")));
    assert!(br.body.len() < 2_000, "{} bytes", br.body.len());
    let part = ask(addr, "GET /large.js", &["range: bytes=0-3", "accept-encoding: br"]);
    assert_eq!((part.status, part.text()), (206, "let ".to_owned()));

    assert_eq!(read_by(addr, "main", "https://any.example"), (Some("*".to_owned()), false));
    for origin in ["https://app.example", "https://x.b.example"] {
        assert_eq!(read_by(addr, "listed", origin), (Some(origin.to_owned()), true), "{origin}");
        assert_eq!(preflight(addr, "listed", origin).0, 204, "{origin}");
    }
    assert_eq!(read_by(addr, "listed", "https://new.example"), (None, false));
    assert_eq!(preflight(addr, "listed", "https://new.example"), (403, None));

    assert_eq!(page(addr, "/api/rooms/listed/a%20b/c?d"), said(200, "listed a b /c"));
    assert_eq!(page(addr, "/rooms/listed/a"), said(404, "no such page"));
}

/// What clients see of [`SECOND`].
fn second(addr: &str) {
    assert_eq!(page(addr, "/nowhere"), said(200, "the index"));
    assert_eq!(page(addr, "/nowhere/else.js"), said(404, "no such page"));
    assert_eq!(ask(addr, "GET /nowhere", &["accept: image/png"]).status, 404);
    assert_eq!(cache(addr, "/img/a.svg"), "no-cache");
    assert_eq!(cache(addr, "/deep/a.txt"), "public, max-age=5");
    assert_eq!(read_by(addr, "main", "https://any.example"), (None, false));
    assert_eq!(read_by(addr, "listed", "https://app.example"), (None, false));
    let new = "https://new.example";
    assert_eq!(read_by(addr, "listed", new), (Some(new.to_owned()), true));
    assert_eq!(page(addr, "/rooms/main/a/b"), said(200, "main a /b"));
    assert_eq!(
        page(addr, "/api/rooms/main/a"),
        said(200, "the index"),
        "a page of the application"
    );
}

#[test]
fn each_setting_of_the_door_is_deployed_rolled_back_and_kept_through_a_restart() {
    let project = Project::copy("tests/conformance/guest", "deployed-settings");
    project.write("src/lib.rs", ROOM);
    for (path, text) in [
        ("index.html", "the index"),
        ("404.html", "no such page"),
        ("img/a.svg", "<svg/>"),
        ("deep/a.txt", "a text"),
        ("main.3f2a1bc4.css", "a {}"),
        ("large.js", &"let it = 'repeat itself';\n".repeat(200)),
    ] {
        project.write(&format!("web/{path}"), text);
    }
    let root = project.root();
    let mut served = Served::start(root);
    served.first_token();
    project.write("room.toml", FIRST);
    served.good(root, &["deploy"]);
    first(&served.clients);
    project.write("room.toml", SECOND);
    served.good(root, &["deploy"]);
    second(&served.clients);
    served.good(root, &["rollback"]);
    first(&served.clients);
    assert_eq!(served.stop(), Some(0));
    let served = Served::start(root);
    first(&served.clients);
    assert_eq!(served.stop(), Some(0));
}
