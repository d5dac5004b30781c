//! The command from end to end: what `room new` makes is built, tested and served, and saves are
//! picked up.
#![cfg(unix)]

#[path = "common/dev.rs"]
mod dev;
#[path = "common/project.rs"]
mod project;

use dev::{BUILD_MAX, Dev, STEP_MAX, room};
use project::{Place, Project};
use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;

/// A room that returns a word of its source and a variable, and counts its POST requests.
const ANSWER: &str = r#"//! Answers.
use room_sdk::prelude::*;

const WORD: &str = "one";

/// Keeps its count in the storage.
#[derive(Default)]
pub struct Answer;

impl Room for Answer {
    fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
        let mut count: u64 = ctx.storage().get("count")?.unwrap_or_default();
        if request.method() == "POST" {
            count += 1;
            ctx.storage().put("count", &count)?;
        }
        let greeting = ctx.var("GREETING").unwrap_or_default();
        Ok(Response::text(format!("{WORD} {greeting} {count}")))
    }
}

room_sdk::export!(Answer);
"#;

/// Where the room answers.
const LOBBY: &str = "/party/lobby";

/// A project with the room [`ANSWER`].
fn answer(name: &str) -> Project {
    let project = Project::copy("tests/conformance/guest", name);
    project.write("src/lib.rs", ANSWER);
    project.write("room.toml", &manifest("hello", "web"));
    project.write("web/index.html", "the web");
    project.write("other/index.html", "the other");
    project
}

fn manifest(greeting: &str, assets: &str) -> String {
    format!("name = \"answer\"\n[assets]\ndir = \"{assets}\"\n[vars]\nGREETING = \"{greeting}\"\n")
}

/// Saves the room with another word.
fn save(project: &Project, word: &str) {
    project.write("src/lib.rs", &ANSWER.replace("\"one\"", &format!("{word:?}")));
}

fn count(lines: &[String], text: &str) -> usize {
    lines.iter().filter(|line| line.contains(text)).count()
}

/// Runs the command, which must succeed, and returns its stdout.
fn done(project: &Path, args: &[&str]) -> String {
    let output = room(project, args).output().expect("the command was built with this test");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let Output { stdout, stderr, status } = output;
    assert!(status.success(), "{args:?} fails\n{}{}", text(&stdout), text(&stderr));
    text(&stdout)
}

/// The first of the two commands of the front page serves the chat room; the second one is what CI runs.
#[test]
fn the_two_commands_of_the_readme_start_a_working_room() {
    let page = include_str!("../../README.md");
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let blocks: Vec<&str> = blocks.map(str::trim).collect();
    let [first, second] = blocks[..] else { panic!("there are two commands: {blocks:?}") };
    let args = first.strip_prefix("cargo run -p room-cli -- ");
    let args: Vec<&str> = args.expect("it is `room`").split(' ').collect();
    let (verb, rest) = args.split_first().expect("there is a verb");
    assert_eq!(*verb, "dev");
    let dev = Dev::start(project::repo(), &[rest, &["--ephemeral"]].concat());
    let (status, page) = dev.http("GET", "/");
    assert!(status == 200 && page.contains("/_room/client.js"), "{status} {page}");
    assert_eq!(dev.stop().0, Some(0));
    let ci = std::fs::read_to_string(project::repo().join(".ci/run")).expect("CI is there");
    let step = format!("check tests {second}");
    assert!(ci.lines().any(|line| line.starts_with(&step)), "{second}");
}

/// Makes a project of a template, away from this repository, and does with it what its README says.
fn check_template(template: &str) {
    let name = format!("new-{template}");
    let place = Place::take();
    done(place.path(), &["new", &name, "--template", template]);
    let project = place.path().join(&name);
    // The same versions as here, so that nothing has to be downloaded.
    std::fs::copy(project::repo().join("Cargo.lock"), project.join("Cargo.lock"))
        .expect("the project is there");
    if template == "blank" {
        // The default target is for guests, and tests run on this machine's own.
        let config = project.join(".cargo/config.toml");
        std::fs::create_dir(config.parent().expect("it is in a folder")).expect("it is ours");
        std::fs::write(config, "[build]\ntarget = \"wasm32-wasip2\"\n").expect("it is ours");
    }
    let tested = done(&project, &["test"]);
    assert!(tested.contains("test result: ok"), "{tested}");

    let built = done(&project, &["build", "--profile", "dev", "--json"]);
    let built: serde_json::Value = serde_json::from_str(&built).expect("it is JSON");
    assert_eq!(built[0]["party"], "main");
    let component = std::fs::read(built[0]["path"].as_str().expect("there is a path"))
        .expect("a build makes it");
    assert_eq!(component[..8], *b"\0asm\x0d\0\x01\0", "it is a component");
    let has = |name: &[u8]| component.windows(name.len()).any(|window| window == name);
    assert!(has(b"on_message") || has(b"on_request"), "functions keep their names");
    assert!(!has(b".debug_info"), "files and lines, which nothing reads, are left out");

    let dev = Dev::start(&project, &["--ephemeral"]);
    let (status, page) = dev.http("GET", "/");
    assert_eq!(status, 200);
    assert!(page.contains("/_room/client.js"), "{page}");
    assert_eq!(dev.stop().0, Some(0));
}

#[test]
fn a_new_chat_is_tested_built_and_served() {
    check_template("chat");
}

#[test]
fn a_new_counter_is_tested_built_and_served() {
    check_template("counter");
}

#[test]
fn a_new_blank_room_is_tested_built_and_served() {
    check_template("blank");
}

/// A PartyKit project that was imported: two parties, each a package, beside what PartyKit has there.
fn imported() -> Place {
    let place = Place::take();
    let write = |file: &str, text: &str| {
        let path = place.path().join(file);
        std::fs::create_dir_all(path.parent().expect("it is in the project")).expect("it is ours");
        std::fs::write(path, text).expect("it is ours");
    };
    write("public/index.html", "the page");
    write("src/server.ts", "export default class {}");
    write(
        "partykit.json",
        r#"{
          "name": "imported", "main": "src/chat.ts", "parties": { "lobby": "src/lobby.ts" },
          "serve": "public", "vars": { "A": "b" }, "port": 8080, // and no more
        }"#,
    );
    let rows = done(place.path(), &["init", "--from", "partykit.json", "--json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&rows).expect("it is JSON");
    let of = |key: &str| rows.iter().find(|row| row["key"] == key).expect("each key has one");
    assert_eq!(of("parties.lobby")["taken"], true);
    assert_eq!(of("port")["taken"], false);
    let source = std::fs::read_to_string(place.path().join("src/server.ts"));
    assert_eq!(source.ok().as_deref(), Some("export default class {}"));
    for party in ["main", "lobby"] {
        let package = place.path().join("rooms").join(party);
        // The same versions as here, so that nothing has to be downloaded.
        std::fs::copy(project::repo().join("Cargo.lock"), package.join("Cargo.lock"))
            .expect("the package is there");
    }
    place
}

#[test]
fn several_parties_of_an_imported_project_are_tested_built_and_served() {
    let place = imported();
    let root = place.path();
    let again = room(root, &["init", "--from", "partykit.json"]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("room.toml exists"));

    assert_eq!(
        done(root, &["test"]).matches("test a_message_reaches_the_other_clients ... ok").count(),
        2
    );
    let built = done(root, &["build", "--profile", "dev", "--json"]);
    let built: serde_json::Value = serde_json::from_str(&built).expect("it is JSON");
    assert_eq!((&built[0]["party"], &built[1]["party"]), (&"main".into(), &"lobby".into()));
    assert_ne!(built[0]["path"], built[1]["path"]);

    let save = |party: &str, word: &str| {
        let source = ANSWER.replace("\"one\"", &format!("{word:?}"));
        std::fs::write(root.join("rooms").join(party).join("src/lib.rs"), source).unwrap();
    };
    save("main", "main-one");
    save("lobby", "lobby-one");
    let mut dev = Dev::start(root, &["--ephemeral"]);
    let answer = |dev: &Dev, party: &str| dev.http("GET", &format!("/parties/{party}/a")).1;
    assert_eq!(answer(&dev, "main"), "main-one  0");
    assert_eq!(answer(&dev, "lobby"), "lobby-one  0");
    assert_eq!(dev.http("GET", "/").1, "the page");
    // A save of one party's package is picked up, and the other one continues.
    save("lobby", "lobby-two");
    dev.line("reloaded in", BUILD_MAX);
    assert_eq!(answer(&dev, "lobby"), "lobby-two  0");
    assert_eq!(answer(&dev, "main"), "main-one  0");
    // One that does not compile keeps both as they were.
    std::fs::write(root.join("rooms/main/src/lib.rs"), "nonsense").unwrap();
    dev.line("it does not compile: the last good code keeps serving", BUILD_MAX);
    assert_eq!(answer(&dev, "main"), "main-one  0");
    assert_eq!(dev.stop().0, Some(0));
}

#[test]
fn build_json_has_the_path_and_size_of_the_release_component() {
    let project = answer("e2e-release");
    let built = done(project.root(), &["build", "--json"]);
    let built: serde_json::Value = serde_json::from_str(&built).unwrap();
    let path = built[0]["path"].as_str().unwrap();
    assert!(path.contains("/release/"), "{path}");
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(built[0]["bytes"], bytes.len());
}

#[test]
fn every_key_in_the_examples_manifests_is_in_the_schema() {
    let schema = done(project::repo(), &["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    for example in std::fs::read_dir(project::repo().join("rooms-examples")).unwrap() {
        let file = example.unwrap().path().join("room.toml");
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        for key in text.parse::<toml::Table>().unwrap().keys() {
            assert!(!schema["properties"][key].is_null(), "{key} of {}", file.display());
        }
    }
}

#[test]
fn a_misspelled_key_is_shown_with_the_right_one() {
    let project = answer("e2e-misspelled");
    project.write("room.toml", "name = \"answer\"\n[limits]\nturn_ms_mx = 5\n");
    let output = room(project.root(), &["dev"]).output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(talk.contains("room.toml:3") && talk.contains("turn_ms_max"), "{talk}");
}

#[test]
fn a_busy_port_is_replaced_only_if_it_is_the_default() {
    let project = answer("e2e-ports");
    // If it cannot be had, somebody else has it, which is as good.
    let taken = TcpListener::bind(("127.0.0.1", 1999));
    let mut dev = Dev::spawn(project.root(), &["--ephemeral"]);
    let said = dev.line("port 1999 is taken, using", STEP_MAX);
    let port = dev.ready();
    assert!(said.ends_with(&port.to_string()), "{said}");
    assert_eq!(dev.http("GET", LOBBY), (200, "one hello 0".to_owned()));
    // What browsers take `localhost` for is ours, whichever of both it is.
    assert_eq!(dev.http_at(("::1", port), "GET", LOBBY), (200, "one hello 0".to_owned()));
    drop(taken);
    let other = TcpListener::bind(("::1", 0)).expect("a port is free");
    let busy = other.local_addr().expect("it listens").port().to_string();
    let refused = room(project.root(), &["dev", "--port", &busy]).output().unwrap();
    let talk = String::from_utf8_lossy(&refused.stderr);
    assert!(talk.contains(&format!("port {busy} is taken, at ::1")), "{talk}");

    let port = port.to_string();
    let refused = room(project.root(), &["dev", "--port", &port]).output().unwrap();
    let talk = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(talk.contains(&format!("port {port} is taken")), "{talk}");
    // Its terminal goes away: it gets a hangup, and ends as by any other signal.
    dev.signal(Signal::HUP);
    let (code, lines) = dev.ended();
    assert_eq!(code, Some(0));
    assert_eq!(count(&lines, "stopping"), 1, "{}", lines.join("\n"));
}

#[test]
fn stored_data_survives_a_restart_unless_the_server_is_ephemeral() {
    let project = answer("e2e-state");
    for before in 0..2 {
        let dev = Dev::start(project.root(), &[]);
        assert_eq!(dev.http("POST", LOBBY), (200, format!("one hello {}", before + 1)));
        assert_eq!(dev.stop().0, Some(0));
    }
    assert!(project.root().join(".room/state").is_dir());

    let dev = Dev::start(project.root(), &["--ephemeral"]);
    assert_eq!(dev.http("GET", LOBBY), (200, "one hello 0".to_owned()));
    assert_eq!(dev.stop().0, Some(0));
}

#[test]
fn a_save_leads_to_exactly_one_reload() {
    let project = answer("e2e-saves");
    let mut dev = Dev::start(project.root(), &["--ephemeral"]);
    for word in ["two", "three"] {
        save(&project, word);
        dev.line("reloaded in", BUILD_MAX);
        assert_eq!(dev.http("GET", LOBBY), (200, format!("{word} hello 0")));
    }
    // A file outside of what is built, and one that is saved as it was, lead to nothing; the save after
    // them tells that their time has passed.
    project.write("web/index.html", "the new web");
    assert_eq!(dev.http("GET", "/"), (200, "the new web".to_owned()));
    save(&project, "three");
    save(&project, "four");
    dev.line("reloaded in", BUILD_MAX);
    let (code, lines) = dev.stop();
    assert_eq!(code, Some(0));
    assert_eq!(count(&lines, "reloaded in"), 3, "{}", lines.join("\n"));
    assert_eq!(count(&lines, "the built code is the same"), 0, "{}", lines.join("\n"));
}

#[test]
fn variables_and_the_assets_folder_change_without_a_restart() {
    let project = answer("e2e-manifest");
    let mut dev = Dev::start(project.root(), &["--ephemeral"]);
    assert_eq!(dev.http("GET", LOBBY), (200, "one hello 0".to_owned()));
    assert_eq!(dev.http("GET", "/"), (200, "the web".to_owned()));

    project.write("room.toml", &manifest("goodbye", "other"));
    dev.line("reloaded in", BUILD_MAX);
    assert_eq!(dev.http("GET", LOBBY), (200, "one goodbye 0".to_owned()));
    assert_eq!(dev.http("GET", "/"), (200, "the other".to_owned()));

    project.write("room.toml", "name = ");
    dev.line("the project has a mistake: the last good code keeps serving", STEP_MAX);
    assert_eq!(dev.http("GET", LOBBY), (200, "one goodbye 0".to_owned()));
    assert_eq!(dev.stop().0, Some(0));
}

#[test]
fn dotenv_files_override_room_toml_reload_on_save_and_are_never_shown() {
    let project = answer("e2e-dotenv");
    project.write(".env", "GREETING=dot-one");
    let mut dev = Dev::start(project.root(), &["--ephemeral"]);
    dev.line("Variables  .env", STEP_MAX);
    assert_eq!(dev.http("GET", LOBBY), (200, "one dot-one 0".to_owned()));
    let saves = [
        (".env", "GREETING=dot-two", "dot-two"),
        (".env.local", "export GREETING='dot local' # mine", "dot local"),
        (".env.local", "", "dot-two"),
        (".env", "", "hello"),
    ];
    for (file, text, seen) in saves {
        project.write(file, text);
        dev.line("reloaded in", BUILD_MAX);
        assert_eq!(dev.http("GET", LOBBY), (200, format!("one {seen} 0")));
    }
    project.write(".env", "# mine\nGREETING='dot-secret");
    dev.line(".env:2: the value of GREETING has no closing '", STEP_MAX);
    dev.line("the last good code keeps serving", STEP_MAX);
    assert_eq!(dev.http("GET", LOBBY), (200, "one hello 0".to_owned()));
    let (code, lines) = dev.stop();
    assert_eq!(code, Some(0));
    assert!(!lines.iter().any(|line| line.contains("dot-") || line.contains("dot local")));

    let refused = room(project.root(), &["dev", "--port", "0"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    project.write(".env", "GREETING=dot-three");
    let dev = Dev::start(project.root(), &["--ephemeral", "--var", "GREETING=flag"]);
    assert_eq!(dev.http("GET", LOBBY), (200, "one flag 0".to_owned()));
    assert_eq!(dev.stop().0, Some(0));
}

/// A build script that calls the test when it starts, and continues when the test answers.
struct Builds(TcpListener);

impl Builds {
    fn of(project: &Project) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let addr = listener.local_addr().expect("it listens");
        let script = format!(
            r#"use std::io::Read;
fn main() {{
    println!("cargo:rerun-if-changed=src/lib.rs");
    let mut test = std::net::TcpStream::connect("{addr}").unwrap();
    test.read_exact(&mut [0]).unwrap();
}}
"#
        );
        project.write("build.rs", &script);
        Self(listener)
    }

    /// Waits until a build runs.
    fn next(&self) -> TcpStream {
        let listener = self.0.try_clone().expect("it listens");
        let (send, called) = std::sync::mpsc::channel();
        std::thread::spawn(move || drop(send.send(listener.accept())));
        let (build, _) =
            called.recv_timeout(BUILD_MAX).expect("a build starts in time").expect("it listens");
        build.set_read_timeout(Some(STEP_MAX)).expect("there can be a time limit");
        build
    }
}

#[test]
fn a_save_during_a_build_cancels_that_build() {
    let project = answer("e2e-cancel");
    let builds = Builds::of(&project);
    let mut dev = Dev::spawn(project.root(), &["--port", "0", "--ephemeral"]);
    builds.next().write_all(b"!").unwrap();
    dev.ready();

    save(&project, "two");
    let mut old = builds.next();
    save(&project, "three");
    assert_eq!(old.read(&mut [0]).unwrap(), 0, "the old build is gone, and its socket closed");
    builds.next().write_all(b"!").unwrap();
    dev.line("reloaded in", BUILD_MAX);
    assert_eq!(dev.http("GET", LOBBY), (200, "three hello 0".to_owned()));
    let (code, lines) = dev.stop();
    assert_eq!(code, Some(0));
    assert_eq!(count(&lines, "reloaded in"), 1, "{}", lines.join("\n"));
}
