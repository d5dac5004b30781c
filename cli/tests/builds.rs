//! What is built, and when: from the right sources, after every save of a file that cargo reads, and no more
//! often than that.
#![cfg(unix)]

#[path = "common/dev.rs"]
mod dev;
#[path = "common/project.rs"]
mod project;

use dev::{BUILD_MAX, Dev, STEP_MAX, room};
use project::Project;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where the room answers.
const LOBBY: &str = "/party/lobby";

/// A room that answers with the value of this expression.
fn source(before: &str, answer: &str) -> String {
    format!(
        r#"//! Answers.
use room_sdk::prelude::*;
{before}

/// Has no state.
#[derive(Default)]
pub struct Answer;

impl Room for Answer {{
    fn on_request(&mut self, _: &Context, _: Request) -> Result<Response> {{
        Ok(Response::text({answer}))
    }}
}}

room_sdk::export!(Answer);
"#
    )
}

fn project(name: &str, before: &str, answer: &str) -> Project {
    let project = Project::copy("tests/conformance/guest", name);
    project.write("src/lib.rs", &source(before, answer));
    project.write("room.toml", "name = \"answer\"\n");
    project
}

/// Builds a project into a folder for several, and returns the path of its component and its hash.
fn built(project: &Project, target: &Path) -> (String, String) {
    let mut command = room(project.root(), &["build", "--profile", "dev", "--json"]);
    let output = command.env("CARGO_TARGET_DIR", target).output().expect("there is the command");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let text = |key: &str| made[0][key].as_str().expect("it is text").to_owned();
    (text("path"), text("hash"))
}

/// Two packages of one name and version, as two worktrees have them, and one folder for cargo's outputs.
#[test]
fn packages_with_one_name_never_share_code_and_waiting_for_a_lock_is_reported() {
    let target = tempfile::tempdir().expect("a temporary folder can be made");
    let [one, two] = ["one", "two"].map(|word| project("same", "", &format!("{word:?}")));
    let (path, first) = built(&one, target.path());
    let (_, second) = built(&two, target.path());
    assert_ne!(first, second, "the second one has the code of the first");
    assert_eq!(built(&one, target.path()).1, first);
    let bytes = std::fs::read(&path).expect("a build makes it");
    assert!(bytes.windows(3).any(|bytes| bytes == b"one"), "{path}");

    let lock = Path::new(&path).parent().expect("it is in a folder").join(".cargo-lock");
    let held = File::open(&lock).expect("cargo makes it");
    held.lock().expect("nobody has it");
    let mut command = room(one.root(), &["build", "--profile", "dev"]);
    command.env("CARGO_TARGET_DIR", target.path()).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut waiting = command.spawn().expect("there is the command");
    let mut lines = BufReader::new(waiting.stderr.take().expect("it was asked for")).lines();
    let said = lines.next().expect("it says something").expect("it is text");
    assert!(said.contains("waiting for another cargo"), "{said}");
    held.unlock().expect("it is ours");
    assert!(waiting.wait().expect("a child can be waited for").success());
}

/// Saves a file, and waits until the room answers so.
fn save(dev: &mut Dev, project: &Project, file: &str, text: &str, answer: &str) {
    project.write(file, text);
    dev.line("reloaded in", BUILD_MAX);
    assert_eq!(dev.http("GET", LOBBY), (200, answer.to_owned()), "after a save of {file}");
}

/// A project whose build reads files in all the places where builds read files.
fn reader() -> Project {
    let before = r#"
mod linked;
mod ignored;
const BEYOND: &str = include_str!("../../beyond.txt");
const WEB: &str = include_str!("../web/read.txt");
"#;
    let answer = r#"[linked::WORD, ignored::WORD, BEYOND, WEB, env!("FROM_SCRIPT"), patched::WORD, env!("FROM_CONFIG")].join(" ")"#;
    let project = Project::copy("tests/conformance/guest", "builds-reader");
    project.write("src/lib.rs", &source(before, answer));
    project.write("room.toml", "name = \"answer\"\n[assets]\ndir = \"web\"\n");
    // Rules of other tools, and of a repository that this is not in.
    project.write(".ignore", "*\n");
    project.write("../.gitignore", "*\n");
    std::fs::create_dir(project.root().join(".git")).expect("it is ours");
    project.write(".gitignore", "ignored.rs\n");
    project.write("../linked.rs", "pub const WORD: &str = \"linked\";");
    symlink("../../linked.rs", project.root().join("src/linked.rs")).expect("it is ours");
    project.write("src/ignored.rs", "pub const WORD: &str = \"ignored\";");
    project.write("../beyond.txt", "beyond");
    project.write("web/read.txt", "web");
    project.write("../script.txt", "script");
    project.write(
        "build.rs",
        r#"fn main() {
    println!("cargo::rerun-if-changed=../script.txt");
    println!("cargo::rustc-env=FROM_SCRIPT={}", std::fs::read_to_string("../script.txt").unwrap());
}
"#,
    );
    let patched =
        "[package]\nname = \"patched\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    project.write("../patched/Cargo.toml", patched);
    project.write("../patched/src/lib.rs", "pub const WORD: &str = \"patched\";");
    let manifest = std::fs::read_to_string(project.root().join("Cargo.toml")).expect("it is there");
    project.write(
        "Cargo.toml",
        &format!(
            "{manifest}patched = \"0.1\"\n\n[patch.crates-io]\npatched = {{ path = \"../patched\" }}\n"
        ),
    );
    project.write(".cargo/config.toml", &config("config"));
    project
}

/// A configuration that also breaks guests if they use the settings of this machine's own target.
fn config(word: &str) -> String {
    format!("[build]\nrustflags = [\"-Clink-arg=-fuse-ld=mold\"]\n[env]\nFROM_CONFIG = {word:?}\n")
}

#[test]
fn only_a_save_of_a_file_that_cargo_read_starts_a_build() {
    let project = reader();
    let mut command = room(project.root(), &["dev", "--port", "0", "--ephemeral"]);
    command.env("RUSTFLAGS", "-Clink-arg=-fuse-ld=mold");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let stderr = |child: &mut std::process::Child| -> Vec<Box<dyn std::io::Read + Send>> {
        vec![Box::new(child.stderr.take().expect("it was asked for"))]
    };
    let mut dev = Dev::run(command, stderr);
    dev.ready();
    let mut words =
        ["linked", "ignored", "beyond", "web", "script", "patched", "config"].map(str::to_owned);
    assert_eq!(dev.http("GET", LOBBY), (200, words.join(" ")));
    let constant = |word: &str| format!("pub const WORD: &str = {word:?};");
    let plain = |word: &str| word.to_owned();
    let kept = |word: &str| config(word);
    type Text<'a> = &'a dyn Fn(&str) -> String;
    let saves: [(&str, Text<'_>); 7] = [
        ("../linked.rs", &constant),
        ("src/ignored.rs", &constant),
        ("../beyond.txt", &plain),
        ("web/read.txt", &plain),
        ("../script.txt", &plain),
        ("../patched/src/lib.rs", &constant),
        (".cargo/config.toml", &kept),
    ];
    for (at, (file, text)) in saves.iter().enumerate() {
        words[at] = format!("new-{at}");
        save(&mut dev, &project, file, &text(&words[at]), &words.join(" "));
    }

    // A file that a program writes constantly into the package is not an input, and delays no save.
    let (root, over) = (project.root().to_owned(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = File::create(root.join("src/notes.log")).expect("it is ours");
            while !over.load(Ordering::Relaxed) {
                log.write_all(b"line\n").expect("it is ours");
                std::thread::sleep(Duration::from_millis(30));
            }
        });
        words[2] = "at last".to_owned();
        save(&mut dev, &project, "../beyond.txt", "at last", &words.join(" "));
        over.store(true, Ordering::Relaxed);
    });
    // Another version in the lock file is another build, for which cargo produces the same code here.
    let lock = std::fs::read_to_string(project.root().join("Cargo.lock")).expect("cargo writes it");
    project.write("Cargo.lock", &format!("{lock}\n"));
    dev.line("the built code is the same", BUILD_MAX);
    assert_eq!(dev.stop().0, Some(0));
}

#[test]
fn a_build_that_writes_into_its_sources_ends_and_is_named() {
    let project = project("builds-writer", "mod build_info;", "build_info::WORD");
    project.write("src/build_info.rs", "pub const WORD: &str = \"first\";");
    project.write(
        "build.rs",
        r#"fn main() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let word = if std::path::Path::new("word").exists() { "two" } else { "one" };
    let text = format!("pub const WORD: &str = \"{word}\"; // {now}");
    std::fs::write("src/build_info.rs", text).unwrap();
    // It continues, like waits for git and the network.
    std::thread::sleep(std::time::Duration::from_millis(500));
}
"#,
    );
    let mut dev = Dev::start(project.root(), &["--ephemeral"]);
    assert_eq!(dev.http("GET", LOBBY), (200, "one".to_owned()));
    project.write("word", "");
    dev.line("reloaded in", BUILD_MAX);
    dev.line("src/build_info.rs itself", STEP_MAX);
    assert_eq!(dev.http("GET", LOBBY), (200, "two".to_owned()));
    assert_eq!(dev.stop().0, Some(0));
}

#[test]
fn clients_read_why_the_first_build_failed_and_saving_any_file_retries_it() {
    let project = project("builds-fails", "mod absent;", "absent::WORD");
    let mut dev = Dev::spawn(project.root(), &["--port", "0", "--ephemeral", "--poll"]);
    dev.line("it does not compile: nothing is served yet", BUILD_MAX);
    let control = project.root().join(".room/ephemeral/control.json");
    let control = std::fs::read(control).expect("the server announces its address");
    let control: Value = serde_json::from_slice(&control).expect("it is JSON");
    let address = control["address"].as_str().expect("it says where").rsplit(':').next();
    let port = address.and_then(|port| port.parse().ok()).expect("it has a port");
    let (status, text) = dev.http_at(("127.0.0.1", port), "GET", LOBBY);
    assert_eq!(status, 503);
    assert!(text.contains("it does not compile"), "{text}");
    // It comes with a mistake, which no list of cargo's names, and is mended.
    project.write("src/absent.rs", "pub const WORD &str");
    dev.line("it does not compile: nothing is served yet", BUILD_MAX);
    project.write("src/absent.rs", "pub const WORD: &str = include_str!(\"../far/word.txt\");");
    dev.line("it does not compile: nothing is served yet", BUILD_MAX);
    project.write("far/word.txt", "here");
    dev.line("saves are picked up by looking at the files", BUILD_MAX);
    assert_eq!(dev.http_at(("127.0.0.1", port), "GET", LOBBY), (200, "here".to_owned()));
    assert_eq!(dev.stop().0, Some(0));
}
