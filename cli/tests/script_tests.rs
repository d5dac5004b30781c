//! Tests of rooms in TypeScript and JavaScript from end to end: what `room test` finds, runs and prints.
#![cfg(unix)]

#[path = "common/dev.rs"]
#[expect(dead_code, reason = "most of it is for servers")]
mod dev;
#[path = "common/project.rs"]
#[expect(dead_code, reason = "most of it is for packages")]
mod project;

use dev::{BUILD_MAX, Dev, STEP_MAX, room};
use project::{Place, repo};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A room for tests of tests.
const ROOM: &str = r#"import { Server, type Connection, type WSMessage } from "roomkit/server";

export default class Echo extends Server {
  onAlarm() {
    this.ctx.storage.setAlarm(0);
  }

  onMessage(connection: Connection, message: WSMessage) {
    if (message === "alarm") return void this.ctx.storage.setAlarm(0);
    if (message === "throw") {
      throw new Error("the author failed");
    }
    if (message === "loop") for (;;);
    if (message === "time") return connection.send(String(Date.now()));
    this.ctx.storage.kv.put("last", message);
    connection.send(`${this.env.GREETING} ${message}`);
  }
}
"#;

const HEAD: &str = "import { assert, describe, test, TestRoom } from \"roomkit/test\";\n";

/// A project with the packages of this repository's tests.
struct Tested {
    place: Place,
}

/// What a run printed, and its exit code.
struct Ran {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Ran {
    fn line(&self, part: &str) -> &str {
        let line = self.out.lines().find(|line| line.contains(part));
        line.unwrap_or_else(|| panic!("no line has `{part}`:\n{}\n{}", self.out, self.err))
    }

    fn has(&self, part: &str) {
        assert!(self.out.contains(part), "`{part}` is missing:\n{}\n{}", self.out, self.err);
    }
}

impl Tested {
    fn new() -> Self {
        let tested = Self { place: Place::take() };
        tested.write("src/server.ts", ROOM);
        tested.write(
            "room.toml",
            "name = \"tested\"\n[vars]\nGREETING = \"hello\"\n[parties.main]\nscript = \"src/server.ts\"\n",
        );
        let roomkit = repo().join("sdk/js");
        tested.write(
            "package.json",
            &format!(
                "{{ \"private\": true, \"type\": \"module\", \"devDependencies\": {{ \"esbuild\": \"^0.28.2\", \
                 \"typescript\": \"^7.0.2\", \"roomkit\": \"file:{}\" }} }}",
                roomkit.display()
            ),
        );
        let tsconfig = repo().join("rooms-examples/chat-ts/tsconfig.json");
        tested.write(
            "tsconfig.json",
            &std::fs::read_to_string(tsconfig).expect("the example has it"),
        );
        tested
    }

    fn root(&self) -> PathBuf {
        self.place.path().join("project")
    }

    /// Writes a file in one step, so that a watcher counts one save.
    fn write(&self, file: &str, text: &str) {
        let (path, aside) =
            (self.root().join(file), self.place.path().join("a-file-being-written"));
        std::fs::create_dir_all(path.parent().expect("it is below the root"))
            .and_then(|()| std::fs::write(&aside, text))
            .and_then(|()| std::fs::rename(&aside, path))
            .expect("the folder is ours");
    }

    /// Writes a file of tests.
    fn tests(&self, text: &str) {
        self.write("src/server.test.ts", &format!("{HEAD}{text}"));
    }

    fn run(&self, args: &[&str]) -> Ran {
        run(&self.root(), args)
    }
}

fn run(root: &Path, args: &[&str]) -> Ran {
    let output = room(root, &[&["test"], args].concat()).output();
    let output = output.expect("the command was built with this test");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { out: text(&output.stdout), err: text(&output.stderr), code: output.status.code() }
}

/// A new project from a template passes its tests.
fn template_passes(template: &str) {
    let place = Place::take();
    let made = room(place.path(), &["new", "hello", "--template", template]).output();
    let made = made.expect("the command was built with this test");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let ran = run(&place.path().join("hello"), &[]);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    ran.line("✓ a message reaches everyone, with the name of its author");
    ran.line("✓ who comes later reads the history, also after a crash");
    ran.line("✓ 3 passed in");
}

#[test]
fn a_new_project_in_typescript_passes_its_tests() {
    template_passes("typescript");
}

#[test]
fn a_new_project_in_javascript_passes_its_tests() {
    template_passes("javascript");
}

#[test]
fn a_failed_test_names_its_line_and_shows_what_differs() {
    let tested = Tested::new();
    tested.tests(
        r#"test("echoes", () => {
  const ada = new TestRoom("lobby").connect("ada");
  ada.send("ada");
  assert.deepEqual(ada.received(), ["hello bob"]);
});
test("reads variables", () => {
  const ada = new TestRoom("lobby", { vars: { GREETING: "good morning" } }).connect("ada");
  ada.send("ada");
  assert.deepEqual(ada.received(), ["good morning ada"]);
});
test("tells the time", () => {
  const room = new TestRoom("lobby");
  const ada = room.connect("ada");
  for (const later of [0, 90_000]) {
    room.advance(later);
    ada.send("time");
    assert.deepEqual(ada.received(), [String(room.now())]);
  }
  assert.equal(new Date(room.now()).toISOString(), "2025-01-01T00:01:30.000Z");
});
"#,
    );
    let ran = tested.run(&[]);
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.out, ran.err);
    ran.line("✗ echoes (");
    ran.has("expected: [ 'hello bob' ]\n");
    ran.has("received: [ 'hello ada' ]\n");
    ran.line("(src/server.test.ts:5:");
    ran.has("5 │   assert.deepEqual(ada.received(), [\"hello bob\"]);\n");
    ran.line("✓ reads variables (");
    ran.line("✓ tells the time (");
    ran.line("✗ 1 failed, 2 passed in");
}

#[test]
fn a_handler_that_throws_fails_the_test_with_the_line_of_the_room() {
    let tested = Tested::new();
    tested.tests(
        r#"test("looks away", () => {
  new TestRoom("lobby").connect("ada").send("throw");
});
test("looks at it", () => {
  const room = new TestRoom("lobby");
  room.connect("ada").send("throw");
  assert.match(room.takeErrors().join(), /the author failed\n.*src\/server\.ts:11:/);
  assert.equal(room.storage.size, 0);
});
"#,
    );
    let ran = tested.run(&[]);
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.out, ran.err);
    ran.line("✗ looks away (");
    ran.line("main/lobby: Error: the author failed");
    ran.has("11 │       throw new Error(\"the author failed\");\n");
    ran.line("✓ looks at it (");
}

#[test]
fn endless_tests_and_turns_end_with_an_error_and_the_others_run() {
    let tested = Tested::new();
    tested.tests(
        r#"test("loops", () => {
  for (;;);
});
test("loops in the engine", () => {
  assert(!"a".repeat(10_000_000).includes("a".repeat(5_000_000) + "b"));
});
test("calls itself", () => {
  const down = (depth: number): number => down(depth + 1) + 1;
  down(0);
});
test("its room has an endless alarm", () => {
  new TestRoom("lobby").connect("ada").send("alarm");
});
test("waits", () => new Promise(() => {}));
test("its room loops", () => {
  const room = new TestRoom("lobby");
  const ada = room.connect("ada");
  ada.send("loop");
  assert.match(room.lastError(), "turn_ms_max");
  ada.send("still there");
  assert.deepEqual(ada.received(), ["hello still there"]);
});
"#,
    );
    let ran = tested.run(&["--timeout", "2"]);
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.out, ran.err);
    ran.line("the test ran for longer than 2 s, and was ended");
    ran.line("the test ran for longer than 2 s in one call of the engine, and was ended");
    ran.line("the test called functions within functions until the stack was full");
    ran.line("the test awaits something that never settles");
    ran.line("✓ its room loops (");
    ran.line("the alarm is set to now again and again");
    ran.line("✗ 5 failed, 1 passed in");
}

#[test]
fn names_choose_tests_and_a_name_that_no_test_has_is_an_error() {
    let tested = Tested::new();
    tested.tests(
        "describe(\"group\", () => test(\"inner\", () => {}));\ntest(\"outer\", () => {});\n",
    );
    tested.write("src/other.test.ts", &format!("{HEAD}test(\"outer\", () => {{}});\n"));
    let inner = tested.run(&["group > in"]);
    assert_eq!(inner.code, Some(0), "{}\n{}", inner.out, inner.err);
    inner.line("✓ group > inner (");
    inner.line("✓ 1 passed in");
    assert!(!inner.out.contains("other.test.ts"), "{}", inner.out);
    tested.run(&["./src/other.test.ts"]).line("✓ 1 passed in");
    tested.run(&["src/"]).line("✓ 3 passed in");
    tested.run(&["--", "inner", "other"]).line("✓ 2 passed in");
    let nothing = tested.run(&["nowhere"]);
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.err.contains("no test has \"nowhere\" in its name"), "{}", nothing.err);
}

#[test]
fn a_project_without_tests_is_an_error_that_says_what_is_looked_for() {
    let tested = Tested::new();
    let ran = tested.run(&[]);
    assert_eq!(ran.code, Some(1));
    for part in ["error[R0070]", "no tests were found", ".test.ts", "roomkit/test"] {
        assert!(ran.err.contains(part), "{}", ran.err);
    }
    tested.tests("console.log(typeof test, typeof assert, typeof describe, typeof TestRoom);\n");
    let ran = tested.run(&[]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("declare no test"), "{}", ran.err);
}

#[test]
fn errors_of_types_and_of_a_file_are_shown_once() {
    let tested = Tested::new();
    tested.tests("const wrong: number = \"a text\";\ntest(\"never runs\", () => assert(wrong));\n");
    let ran = tested.run(&[]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.err.matches("TS2322").count(), 1, "{}", ran.err);
    assert!(!ran.out.contains("never runs"), "{}", ran.out);
    tested.tests("test(\"runs\", () => {});\n");
    tested.write("src/broken.test.ts", &format!("{HEAD}throw new Error(\"at the top\");\n"));
    let ran = tested.run(&[]);
    assert_eq!(ran.code, Some(1));
    ran.line("Error: at the top");
    ran.line("src/broken.test.ts:2:");
    ran.line("✓ runs (");
    ran.line("✗ 1 passed, 1 file could not run in");
}

#[test]
fn a_watch_runs_the_tests_again_at_each_save_and_ends_well() {
    let tested = Tested::new();
    let test = |expected: &str| {
        format!(
            "test(\"echoes\", () => {{\n  const ada = new TestRoom(\"a\").connect(\"ada\");\n  ada.send(\"x\");\n  \
             assert.deepEqual(ada.received(), [{expected:?}]);\n}});\n"
        )
    };
    tested.tests(&test("hello x"));
    let mut command = room(&tested.root(), &["test", "--watch", "--timeout", "600"]);
    // One pipe for both, so that lines keep their order.
    let (words, end) = std::io::pipe().expect("a pipe can be made");
    let other_end = end.try_clone().expect("a pipe can have two ends");
    command.stdin(Stdio::null()).stdout(end).stderr(other_end);
    let mut watch = Dev::run(command, |_| vec![Box::new(words)]);
    watch.line("✓ 1 passed in", BUILD_MAX);
    watch.line("waiting for a save", STEP_MAX);
    tested.tests(&test("hello y"));
    watch.line("changed: src/server.test.ts", STEP_MAX);
    watch.line("✗ 1 failed, 0 passed in", BUILD_MAX);
    watch.line("waiting for a save", STEP_MAX);
    tested.write("src/server.ts", &ROOM.replace("${message}`", "y`"));
    watch.line("changed: src/server.ts", STEP_MAX);
    watch.line("✓ 1 passed in", BUILD_MAX);
    watch.line("waiting for a save", STEP_MAX);
    // A signal ends it in the middle of a test.
    tested.tests("test(\"loops\", () => {\n  console.log(\"it has begun\");\n  for (;;);\n});\n");
    watch.line("it has begun", BUILD_MAX);
    let (code, lines) = watch.stop();
    assert_eq!(code, Some(0), "{lines:?}");
}
