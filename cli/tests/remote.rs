//! Looking into a server elsewhere, and changing its rooms, as a shell does: over HTTP and over TLS.
#![cfg(unix)]

#[path = "common/project.rs"]
mod project;
#[path = "common/served.rs"]
mod served;

use project::Project;
use rcgen::generate_simple_self_signed;
use serde_json::Value;
use served::Served;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

/// A room that counts its POST requests, and returns the count.
const COUNT: &str = r#"//! Counts.
use room_sdk::prelude::*;

/// Keeps its count in the storage.
#[derive(Default)]
pub struct Count;

impl Room for Count {
    fn on_request(&mut self, ctx: &Context, _: Request) -> Result<Response> {
        let count = ctx.storage().get::<u64>("count")?.unwrap_or_default() + 1;
        ctx.storage().put("count", &count)?;
        println!("counted {count} for {}", std::env::var("WHO").unwrap_or_default());
        Ok(Response::text(count.to_string()))
    }
}

room_sdk::export!(Count);
"#;

fn project(name: &str) -> Project {
    let project = Project::copy("tests/conformance/guest", name);
    project.write("src/lib.rs", COUNT);
    manifest(&project, "one");
    project
}

/// The same code as another project of the server.
fn manifest(project: &Project, name: &str) {
    let toml = format!(
        "name = \"{name}\"\n[vars]\nWHO = \"{name}\"\n[serve]\nhosts = [\"{name}.example.com\"]\n"
    );
    project.write("room.toml", &toml);
}

fn connect(served: &Served, head: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(&served.clients).expect("it listens");
    tcp.write_all(head.as_bytes()).expect("a request can be sent");
    tcp
}

/// Lets the room `lobby` of a project count, and returns its answer.
fn count(served: &Served, project: &str) -> String {
    let head = format!(
        "POST /party/lobby HTTP/1.1\r\nhost: {project}.example.com\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n"
    );
    let mut answer = String::new();
    connect(served, &head).read_to_string(&mut answer).expect("an answer comes");
    answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
}

/// A WebSocket of the client `alice` to the room `lobby` of the project `one`.
fn alice(served: &Served) -> BufReader<TcpStream> {
    let head = "GET /party/lobby?_pk=alice HTTP/1.1\r\nhost: one.example.com\r\n\
                connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut socket = BufReader::new(connect(served, head));
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        socket.read_line(&mut line).expect("an answer comes");
    }
    socket
}

/// The code of the close frame that comes next.
fn closed(mut socket: BufReader<TcpStream>) -> u16 {
    let mut frame = [0; 4];
    socket.read_exact(&mut frame).expect("a frame comes");
    assert_eq!(frame[0], 0x88);
    u16::from_be_bytes([frame[2], frame[3]])
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|err| panic!("{err}: {text}"))
}

#[test]
fn rooms_of_a_remote_server_are_inspected_and_changed() {
    let project = project("elsewhere");
    let root = project.root();
    let mut served = Served::start(root);
    served.first_token();
    served.good(root, &["deploy"]);
    manifest(&project, "two");
    served.good(root, &["deploy"]);
    manifest(&project, "one");
    assert_eq!((count(&served, "one"), count(&served, "two")), ("1".into(), "1".into()));
    assert_eq!(count(&served, "two"), "2");
    // The process names the project of the room.
    served.line("one:main/lobby counted 1 for one");
    served.line("two:main/lobby counted 2 for two");
    let alice_is_in = alice(&served);

    looks(&mut served, root);
    changes(&served, root, alice_is_in);
    logs(&served, root);
    moves(&served, root);
    finds(&served, root);
    assert_eq!(served.stop(), Some(0));
}

/// A token with the read scope reads everything and changes nothing.
fn looks(served: &mut Served, root: &Path) {
    let made = json(&served.good(root, &["token", "create", "reader", "--json"]));
    let secret = made["secret"].as_str().expect("it has one").to_owned();
    let admin = std::mem::replace(&mut served.token, secret);
    let rooms = json(&served.good(root, &["rooms", "--json"]));
    assert_eq!((&rooms["rooms"][0]["room"], &rooms["rooms"][1]), (&"lobby".into(), &Value::Null));
    let room = json(&served.good(root, &["inspect", "lobby", "--json"]));
    assert_eq!(room["connections"][0]["id"], "alice");
    assert_eq!(served.good(root, &["storage", "get", "lobby", "count"]), "1\n");
    let other = ["storage", "list", "lobby", "--name", "two"];
    assert!(served.good(root, &other).starts_with("count = 2 "));
    assert!(served.good(root, &["export", "lobby"]).contains("\"count\""));
    for args in [
        &["storage", "set", "lobby", "count", "9"][..],
        &["storage", "delete", "lobby", "count"],
        &["kick", "lobby", "alice"],
        &["close", "lobby"],
        &["ticket", "main/lobby"],
        &["delete-room", "lobby", "--yes"],
        &["backup", "all.room"],
    ] {
        let said = served.refused(root, args);
        assert!(said.contains("R0049") && said.contains("with the scope admin"), "{said}");
    }
    assert!(!root.join("all.room").exists());
    served.token = admin;
}

fn changes(served: &Served, root: &Path, alice_is_in: BufReader<TcpStream>) {
    served.good(root, &["storage", "set", "lobby", "count", "41"]);
    assert_eq!(count(served, "one"), "42");
    served.good(root, &["kick", "lobby", "alice"]);
    assert_eq!(closed(alice_is_in), 4403);
    let again = alice(served);
    served.good(root, &["close", "lobby"]);
    assert_eq!(closed(again), 1012);
    let said = served.refused(root, &["delete-room", "lobby"]);
    assert!(said.contains("add --yes"), "{said}");
    served.good(root, &["delete-room", "lobby", "--yes"]);
    assert_eq!((count(served, "one"), count(served, "two")), ("1".into(), "3".into()));
}

/// Each project has its own log.
fn logs(served: &Served, root: &Path) {
    let shown = served.good(root, &["logs", "--grep", "counted", "--json"]);
    assert!(shown.contains("counted 42 for one") && !shown.contains("for two"), "{shown}");
    let mut follows = served.command(root, &["logs", "-f", "--name", "two", "--grep", "counted"]);
    let mut follows = follows.stdout(Stdio::piped()).spawn().expect("the command was built");
    let mut lines = BufReader::new(follows.stdout.take().expect("it was asked for")).lines();
    let mut next = || lines.next().expect("a line comes").expect("it is text");
    let seen: Vec<String> = (0..3).map(|_| next()).collect();
    assert!(seen[2].contains("main/lobby counted 3 for two"), "{seen:?}");
    count(served, "two");
    assert!(next().contains("counted 4 for two"));
    follows.kill().expect("it runs");
    follows.wait().expect("it ends");
}

/// A copy from one place can be restored in another.
fn moves(served: &Served, root: &Path) {
    served.good(root, &["export", "lobby", "--name", "two", "-o", "lobby.jsonl"]);
    served.good(root, &["import", "lobby.jsonl", "--room", "copy"]);
    assert_eq!(served.good(root, &["storage", "get", "copy", "count"]), "4\n");
    let made = json(&served.good(root, &["backup", "one.room", "--json"]));
    let size = root.join("one.room").metadata().expect("it was made").len();
    assert_eq!(made["bytes"].as_u64(), Some(size));
    // A backup is restored into the folder of its data.
    let mut restore = std::process::Command::new(env!("CARGO_BIN_EXE_room"));
    let restore = restore.args(["restore", "one.room", "--data", "restored"]).current_dir(root);
    assert!(restore.output().expect("the command was built").status.success());
    let mut list = std::process::Command::new(env!("CARGO_BIN_EXE_room"));
    let list = list.args(["export", "copy", "--data", "restored"]).current_dir(root);
    // A flag goes over the environment.
    let list = list.env("ROOM_TO", &served.operators).env("ROOM_TOKEN", &served.token);
    let list = list.output().expect("the command was built");
    assert!(String::from_utf8_lossy(&list.stdout).contains("\"count\""), "{list:?}");
}

/// A command reaches the named project, or none.
fn finds(served: &Served, root: &Path) {
    let said = served.refused(root, &["rooms", "--name", "three"]);
    assert!(said.contains("there is no project three"), "{said}");
    let said = served.refused(root, &["rooms", "--data", "data"]);
    assert!(said.contains("R0056"), "{said}");
    let elsewhere = tempfile::tempdir().expect("a temporary folder can be made");
    let said = served.refused(elsewhere.path(), &["rooms"]);
    assert!(said.contains("R0001"), "{said}");
    served.good(elsewhere.path(), &["rooms", "--name", "one"]);
    let mut wrong = served.command(root, &["logs"]);
    let wrong = wrong.env("ROOM_TOKEN", "room_0").output().expect("the command was built");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("R0049"), "{wrong:?}");
}

#[test]
fn a_server_is_reached_over_tls_if_its_certificate_is_trusted() {
    let project = project("elsewhere-tls");
    let root = project.root();
    let write = |name: &str, hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
        let own = generate_simple_self_signed(hosts).expect("names are good");
        project.write(&format!("{name}.pem"), &own.cert.pem());
        project.write(&format!("{name}-key.pem"), &own.signing_key.serialize_pem());
    };
    write("own", &["localhost"]);
    write("other", &["localhost"]);
    let files = ["--tls-cert", "own.pem", "--tls-key", "own-key.pem", "--admin-tls"];
    let mut served = Served::start_with(root, &files);
    served.first_token();
    assert!(served.operators.starts_with("https://127.0.0.1:"), "{}", served.operators);
    let named = served.operators.replace("127.0.0.1", "localhost");
    let by_address = std::mem::replace(&mut served.operators, named);

    let trusting = ["--ca-file", "own.pem"];
    served.good(root, &[&["deploy"][..], &trusting].concat());
    assert_eq!(
        json(&served.good(root, &["rooms", "--json", "--ca-file", "own.pem"]))["rooms"],
        json("[]")
    );
    let shown = served.good(root, &[&["logs"][..], &trusting].concat());
    assert!(shown.contains("deployed"), "{shown}");
    for command in ["rooms", "logs", "list"] {
        let said = served.refused(root, &[command, "--ca-file", "other.pem"]);
        assert!(said.contains("R0054") && said.contains("--ca-file names"), "{said}");
    }
    let said = served.refused(root, &["rooms", "--ca-file", "room.toml"]);
    assert!(said.contains("R0055"), "{said}");
    let name = std::mem::replace(&mut served.operators, by_address);
    let said = served.refused(root, &["rooms", "--ca-file", "own.pem"]);
    assert!(said.contains("R0054") && said.contains("for other names"), "{said}");
    // Plain HTTP on a TLS port gets an explanation, and so does TLS on a plain port.
    served.operators = name.replace("https", "http");
    let said = served.refused(root, &["rooms"]);
    assert!(said.contains("this port speaks TLS"), "{said}");
    assert_eq!(served.stop(), Some(0));
    let mut plain = Served::start(root);
    plain.operators = plain.operators.replace("http", "https");
    plain.token = "room_0".to_owned();
    let said = plain.refused(root, &["rooms", "--ca-file", "own.pem"]);
    assert!(said.contains("R0054") && said.contains("it does not speak TLS"), "{said}");
    assert_eq!(plain.stop(), Some(0));
}
