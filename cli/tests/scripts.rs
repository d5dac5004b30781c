//! Rooms in TypeScript and JavaScript from end to end: what `room new` makes is bundled, checked, served, and
//! reloaded with its sockets open.
#![cfg(unix)]

#[path = "common/dev.rs"]
mod dev;
#[path = "scripts/heaps.rs"]
mod heaps;
#[path = "common/project.rs"]
mod project;
#[path = "common/served.rs"]
#[expect(dead_code, reason = "the server is asked for nothing but a deployment")]
mod served;
#[path = "common/socket.rs"]
mod socket;

use dev::{BUILD_MAX, Dev, STEP_MAX, room};
use project::{Place, Project};
use socket::Socket;
use std::path::PathBuf;

/// What the template greets with.
const GREETING: &str = "Welcome! Everything here is live.";

/// A line of the template, behind which the tests write code.
const MESSAGE_HANDLER: &str = "  onMessage(connection: Connection<Person>, data: WSMessage) {\n";

/// A room as it is written for PartyKit.
const OF_PARTYKIT: &str = r#"import type * as Party from "partykit/server";

export default class Count implements Party.Server {
  constructor(readonly room: Party.Room) {}

  async onConnect(connection: Party.Connection) {
    const count = ((await this.room.storage.get<number>("count")) ?? 0) + 1;
    await this.room.storage.put("count", count);
    connection.send(`visitor ${count} of ${this.room.id}`);
  }

  onMessage(message: string, sender: Party.Connection) {
    this.room.broadcast(`everyone but one reads ${message}`, [sender.id]);
  }
}
"#;

/// A project that `room new` made.
struct Made {
    place: Place,
    /// The room's file, relative to the project.
    file: &'static str,
    /// What is in it at first.
    source: String,
}

impl Made {
    fn of(template: &str, file: &'static str) -> Self {
        let place = Place::take();
        let made = room(place.path(), &["new", "hello", "--template", template]).output();
        let made = made.expect("the command was built with this test");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let path = place.path().join("hello").join(file);
        let source = std::fs::read_to_string(path).expect("the template has it");
        Self { place, file, source }
    }

    fn root(&self) -> PathBuf {
        self.place.path().join("hello")
    }

    /// Saves the room's file in one step, so that a watcher counts one save.
    fn save(&self, source: &str) {
        let aside = self.place.path().join("a-file-being-written");
        std::fs::write(&aside, source)
            .and_then(|()| std::fs::rename(&aside, self.root().join(self.file)))
            .expect("the folder is ours");
    }

    /// The template's source with a part replaced.
    fn with(&self, old: &str, new: &str) -> String {
        assert_eq!(self.source.matches(old).count(), 1, "`{old}` is not in the template once");
        self.source.replacen(old, new, 1)
    }
}

/// The number of the line with this text.
fn line_of(source: &str, text: &str) -> usize {
    let index = source.lines().position(|line| line.contains(text));
    index.unwrap_or_else(|| panic!("`{text}` is not in {source}")) + 1
}

/// Says something, and waits until everyone reads it.
fn say(socket: &mut Socket, text: &str) {
    socket.send(&format!(r#"{{"type":"say","text":"{text}"}}"#));
    let said = socket.until(text);
    assert!(said.contains(r#""type":"said""#), "{said}");
}

#[test]
fn a_room_in_typescript_is_checked_served_and_reloaded_with_its_sockets() {
    let made = Made::of("typescript", "src/server.ts");
    let mut dev = Dev::start(&made.root(), &["--ephemeral"]);
    let (status, page) = dev.http("GET", "/");
    assert!(status == 200 && page.contains("/_room/client.js"), "{status} {page}");
    let mut socket = Socket::open(dev.port(), "/party/lobby");
    let welcome = socket.until(r#""type":"welcome""#);
    assert!(welcome.contains(GREETING), "{welcome}");
    say(&mut socket, "the first");

    // A save reaches the people who are there.
    let evening = made.with(GREETING, "Good evening.");
    made.save(&evening);
    let reloaded = dev.line("reloaded in", BUILD_MAX);
    assert!(reloaded.contains("1 socket kept"), "{reloaded}");
    socket.until("Good evening.");
    say(&mut socket, "after the save");

    // An error of types has its place, and does not replace what runs.
    let wrong = format!("{evening}\nconst wrong: number = \"a text\";\n");
    made.save(&wrong);
    let place = format!("src/server.ts:{}:", line_of(&wrong, "const wrong"));
    let error = dev.line(&place, BUILD_MAX);
    assert!(error.contains("TS2322"), "{error}");
    dev.line("const wrong", STEP_MAX);
    dev.line("the last good code keeps serving", STEP_MAX);
    say(&mut socket, "beside an error of types");

    // So has an error of the syntax.
    let broken = format!("{evening}\nlet a = ;\n");
    made.save(&broken);
    dev.line(&format!("src/server.ts:{}:", line_of(&broken, "let a = ;")), BUILD_MAX);
    dev.line("the last good code keeps serving", STEP_MAX);

    // What comes with Node is refused with a way out.
    made.save(&format!("import fs from \"fs\";\n{evening}\nconsole.log(fs);\n"));
    let help = dev.line("fs comes with Node", BUILD_MAX);
    assert!(help.contains("this.ctx.storage"), "{help}");
    dev.line("the last good code keeps serving", STEP_MAX);
    say(&mut socket, "beside an import of Node");

    // Everything of before is stored.
    let mut late = Socket::open(dev.port(), "/party/lobby");
    let welcome = late.until(r#""type":"welcome""#);
    for text in ["the first", "after the save", "beside an error of types"] {
        assert!(welcome.contains(text), "`{text}` is not in {welcome}");
    }
    assert_eq!(dev.stop().0, Some(0));
}

/// A deployment of the same code would be a new version otherwise.
#[test]
fn the_same_script_is_the_same_module_in_every_build() {
    let made = Made::of("typescript", "src/server.ts");
    let hash = || {
        let built = room(&made.root(), &["build", "--json"]).output();
        let built = built.expect("the command was built with this test");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let printed = String::from_utf8(built.stdout).expect("JSON is UTF-8");
        let line = printed.lines().find(|line| line.contains("\"hash\""));
        line.expect("a module has a hash").to_owned()
    };
    let first = hash();
    assert_eq!(first, hash());
    made.save(&made.with(GREETING, "Good evening."));
    assert_ne!(first, hash());
}

#[test]
fn an_error_of_a_handler_names_the_line_of_the_authors_file() {
    let made = Made::of("typescript", "src/server.ts");
    let thrower = r#"    if (data === "fail") throw new Error("a mistake of the author");"#;
    let source = made.with(MESSAGE_HANDLER, &format!("{MESSAGE_HANDLER}{thrower}\n"));
    made.save(&source);
    let mut dev = Dev::start(&made.root(), &["--ephemeral"]);
    let mut socket = Socket::open(dev.port(), "/party/lobby");
    socket.until(r#""type":"welcome""#);
    socket.send("fail");
    dev.line(&format!("src/server.ts:{}", line_of(&source, thrower)), STEP_MAX);
    let (code, lines) = dev.stop();
    assert_eq!(code, Some(0));
    assert!(lines.iter().any(|line| line.contains("a mistake of the author")), "{lines:?}");
}

#[test]
fn a_room_in_javascript_is_served_and_reloaded_with_its_sockets() {
    let made = Made::of("javascript", "src/server.js");
    let mut dev = Dev::start(&made.root(), &["--ephemeral"]);
    let mut socket = Socket::open(dev.port(), "/party/lobby");
    let welcome = socket.until(r#""type":"welcome""#);
    assert!(welcome.contains(GREETING), "{welcome}");
    made.save(&made.with(GREETING, "Good evening."));
    dev.line("1 socket kept", BUILD_MAX);
    socket.until("Good evening.");
    say(&mut socket, "after the save");
    assert_eq!(dev.stop().0, Some(0));
}

#[test]
fn a_new_project_in_react_is_checked_bundled_and_served() {
    let made = Made::of("react", "src/server.ts");
    let mut dev = Dev::start(&made.root(), &["--ephemeral"]);
    let parts =
        [("/", "/dist/main.js"), ("/dist/main.js", "Say something"), ("/dist/main.css", "#log")];
    for (path, part) in parts {
        let (status, text) = dev.http("GET", path);
        assert!(status == 200 && text.contains(part), "{path}: {status} {text}");
    }
    let mut socket = Socket::open(dev.port(), "/party/lobby");
    socket.until(GREETING);
    socket.send(r#"{"name":"Ada","text":"hello"}"#);
    socket.until(r#""text":"hello""#);
    made.save(&made.with(GREETING, "Good evening."));
    dev.line("1 socket kept", BUILD_MAX);
    socket.until("Good evening.");

    // A static file that no build reads reaches open pages, too.
    let page = made.root().join("web/index.html");
    let text = std::fs::read_to_string(&page).expect("the template has a page");
    std::fs::write(&page, text.replace("</title>", " (new)</title>")).expect("the folder is ours");
    dev.line("the page is replaced", STEP_MAX);
    assert!(dev.http("GET", "/").1.contains("(new)</title>"));

    // The bundle of a script that has another name now is gone.
    let (manifest, scripts) = (made.root().join("room.toml"), made.root().join("page"));
    std::fs::rename(scripts.join("main.tsx"), scripts.join("page.tsx"))
        .expect("it has this script");
    let text = std::fs::read_to_string(&manifest).expect("the template has it");
    let renamed = text.replace("page/main.tsx", "page/page.tsx");
    assert_ne!(renamed, text);
    std::fs::write(&manifest, renamed).expect("the folder is ours");
    dev.line("the page is replaced", BUILD_MAX);
    assert_eq!(dev.http("GET", "/dist/page.js").0, 200);
    for old in ["/dist/main.js", "/dist/main.css"] {
        assert_eq!(dev.http("GET", old).0, 404, "{old}");
    }
    assert_eq!(dev.stop().0, Some(0));
}

#[test]
fn an_imported_room_of_partykit_runs_as_it_is() {
    let project = Project::copy("tests/conformance/guest", "of-partykit");
    project.write("src/server.ts", OF_PARTYKIT);
    project.write("partykit.json", "{ \"name\": \"of-partykit\", \"main\": \"src/server.ts\" }");
    std::fs::remove_file(project.root().join("room.toml")).expect("the copied project has one");
    let made = room(project.root(), &["init", "--from", "partykit.json"]).output();
    let made = made.expect("the command was built with this test");
    let said = String::from_utf8_lossy(&made.stdout);
    assert!(said.contains("[parties.main] script = \"src/server.ts\""), "{said}");
    let dev = Dev::start(project.root(), &["--ephemeral"]);
    let mut first = Socket::open(dev.port(), "/party/lobby");
    first.until("visitor 1 of lobby");
    let mut second = Socket::open(dev.port(), "/party/lobby");
    second.until("visitor 2 of lobby");
    first.send("hello");
    second.until("everyone but one reads hello");
    assert_eq!(dev.stop().0, Some(0));
}
