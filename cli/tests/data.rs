//! Backups, restores, exports and imports as a shell sees them, with a server on the data and without.
#![cfg(unix)]

#[path = "common/count.rs"]
mod count;
#[path = "common/dev.rs"]
mod dev;
#[path = "common/project.rs"]
mod project;

use count::COUNT;
use dev::{Dev, STEP_MAX, room};
use project::Project;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::time::Instant;

const LOBBY: &str = "/party/lobby";

/// What a command did.
struct Done {
    code: Option<i32>,
    out: String,
    talk: String,
}

/// Runs a command with lines on its stdin.
fn fed(dir: &Path, args: &[&str], lines: &str) -> Done {
    let mut command = room(dir, args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command was built with this test");
    let mut stdin = child.stdin.take().expect("it was asked for");
    // One that fails before it reads has said why.
    drop(stdin.write_all(lines.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output().expect("a child can be waited for");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Done { code: output.status.code(), out: text(&output.stdout), talk: text(&output.stderr) }
}

fn run(dir: &Path, args: &[&str]) -> Done {
    fed(dir, args, "")
}

/// Runs a command that must succeed, and returns its stdout.
fn good(dir: &Path, args: &[&str]) -> String {
    let done = run(dir, args);
    assert_eq!(done.code, Some(0), "{args:?}\n{}", done.talk);
    done.out
}

/// Runs a command that must be refused as the user's mistake, and returns its output on one line.
fn refused(dir: &Path, args: &[&str], lines: &str) -> String {
    let done = fed(dir, args, lines);
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{args:?}\n{}", done.talk);
    let words: Vec<&str> = done.talk.split_whitespace().filter(|word| *word != "│").collect();
    words.join(" ")
}

/// The lines of a room with one count.
fn lines(room: &str, count: u64) -> String {
    format!(
        "{{\"room-export\":1,\"party\":\"main\",\"room\":\"{room}\",\"alarm\":null}}\n\
         {{\"key\":\"count\",\"json\":{count}}}\n"
    )
}

/// A folder with data in it: the room `lobby` has a count of 7.
fn with_data() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let done = fed(dir.path(), &["import", "-", "--data", "data"], &lines("lobby", 7));
    assert_eq!(done.code, Some(0), "{}", done.talk);
    assert_eq!(done.talk, "main/lobby has 1 key now\n");
    dir
}

#[test]
fn rooms_are_exported_and_imported_without_a_server() {
    let dir = with_data();
    let dir = dir.path();
    let export = ["export", "lobby", "--data", "data"];
    assert_eq!(good(dir, &export), lines("lobby", 7));
    good(dir, &[&export[..], &["-o", "lobby.jsonl"]].concat());
    let text = std::fs::read_to_string(dir.join("lobby.jsonl")).unwrap();
    assert_eq!(text, lines("lobby", 7));
    let other = ["import", "lobby.jsonl", "--room", "a b/c", "--party", "Game", "--data", "data"];
    good(dir, &other);
    let other = good(dir, &["export", "a b/c", "--party", "game", "--data", "data"]);
    assert!(other.starts_with(r#"{"room-export":1,"party":"game","room":"a b/c""#), "{other}");

    let made = good(dir, &["backup", "all.room", "--data", "data", "--json"]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let bytes = std::fs::metadata(dir.join("all.room")).unwrap().len();
    assert_eq!(made, serde_json::json!({"file": "all.room", "bytes": bytes}));
    good(dir, &["restore", "all.room", "--data", "new"]);
    assert_eq!(good(dir, &["export", "lobby", "--data", "new"]), lines("lobby", 7));
}

#[test]
fn an_existing_file_is_replaced_only_with_force() {
    let dir = with_data();
    let dir = dir.path();
    std::fs::write(dir.join("mine"), "mine").unwrap();
    for args in [
        &["backup", "mine", "--data", "data"][..],
        &["export", "lobby", "-o", "mine", "--data", "data"],
    ] {
        let said = refused(dir, args, "");
        assert!(said.contains("mine exists") && said.contains("--force"), "{said}");
        assert_eq!(std::fs::read_to_string(dir.join("mine")).unwrap(), "mine");
        good(dir, &[args, &["--force"]].concat());
        assert_ne!(std::fs::read(dir.join("mine")).unwrap(), b"mine");
        std::fs::write(dir.join("mine"), "mine").unwrap();
    }
    // One that fails replaces nothing either, and leaves nothing.
    refused(dir, &["export", "nobody", "-o", "mine", "--force", "--data", "data"], "");
    assert_eq!(std::fs::read_to_string(dir.join("mine")).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 2);
}

#[test]
fn a_damaged_or_foreign_version_file_is_refused_and_changes_nothing() {
    let dir = with_data();
    let dir = dir.path();
    let import = ["import", "-", "--data", "data"];
    let broken = format!("{}{{\"key\":", lines("lobby", 8));
    assert!(refused(dir, &import, &broken).contains("-: line 3: EOF while parsing"));
    let newer = lines("lobby", 8).replace(":1,", ":2,");
    assert!(
        refused(dir, &import, &newer).contains("line 1: format 2; this version reads format 1")
    );
    assert_eq!(good(dir, &["export", "lobby", "--data", "data"]), lines("lobby", 7));

    good(dir, &["backup", "all.room", "--data", "data"]);
    let whole = std::fs::read(dir.join("all.room")).unwrap();
    let mut newer = whole.clone();
    newer[11] += 1;
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let cases = [
        (&whole[..whole.len() - 3], "is damaged or cut short at byte"),
        (&damaged, "is damaged or cut short at byte"),
        (&newer, "the data has format copy 3, this version reads format copy 2"),
        (b"something else", "is not a copy of a store"),
    ];
    for (bytes, why) in cases {
        std::fs::write(dir.join("bad.room"), bytes).unwrap();
        let said = refused(dir, &["restore", "bad.room", "--data", "new"], "");
        assert!(said.contains(why), "{said}");
        assert!(!dir.join("new").exists());
    }
}

#[test]
fn a_missing_folder_is_named_and_not_created() {
    let dir = with_data();
    let dir = dir.path();
    let said = refused(dir, &["export", "nobody", "--data", "data"], "");
    assert!(said.contains("nothing is stored for the room main/nobody"), "{said}");
    for args in [&["backup", "x", "--data", "."][..], &["export", "lobby", "--data", "none"]] {
        let said = refused(dir, args, "");
        assert!(said.contains("there is no data in"), "{said}");
    }
    let said = refused(dir, &["import", "-", "--data", "."], &lines("lobby", 1));
    assert!(said.contains("there is no data in"), "{said}");
    assert!(refused(dir, &["restore", "x", "--data", "new"], "").contains("there is no file x"));
    assert!(refused(dir, &["backup", "x"], "").contains("there is no room.toml here"));
    assert!(
        refused(dir, &["backup", "no/x", "--data", "data"], "").contains("there is no folder no")
    );
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 1);

    good(dir, &["backup", "all.room", "--data", "data"]);
    let said = refused(dir, &["restore", "all.room", "--data", "data"], "");
    assert!(said.contains("which restore never replaces") && said.contains("mv data"), "{said}");
    std::fs::create_dir(dir.join("full")).unwrap();
    std::fs::write(dir.join("full/file"), "").unwrap();
    let said = refused(dir, &["restore", "all.room", "--data", "full"], "");
    assert!(said.contains("is not empty"), "{said}");
}

#[test]
fn a_stale_announcement_is_ignored_and_a_silent_owner_is_named() {
    let dir = with_data();
    let dir = dir.path();
    // No server listens there any more. The folder is free, so the command opens it itself.
    let stale = r#"{"format":1,"address":"127.0.0.1:1","token":"old"}"#;
    std::fs::write(dir.join("data/control.json"), stale).unwrap();
    assert_eq!(good(dir, &["export", "lobby", "--data", "data"]), lines("lobby", 7));
    // Another process has the folder open and has not announced an address.
    let lock = std::fs::File::create(dir.join("data/lock")).unwrap();
    lock.lock().unwrap();
    let said = refused(dir, &["export", "lobby", "--data", "data"], "");
    assert!(said.contains("cannot be reached: no server answers at 127.0.0.1:1"), "{said}");
    std::fs::remove_file(dir.join("data/control.json")).unwrap();
    let said = refused(dir, &["backup", "x", "--data", "data"], "");
    assert!(said.contains("it has not announced an address"), "{said}");
}

#[test]
fn a_backup_through_a_running_server_is_a_past_consistent_state() {
    let project = Project::copy("tests/conformance/guest", "data-served");
    project.write("src/lib.rs", COUNT);
    project.write("room.toml", "name = \"count\"\n");
    let root = project.root();
    let dev = Dev::start(root, &[]);
    let control = root.join(".room/state/control.json");
    assert_eq!(control.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let count = || dev.http("POST", LOBBY).1.parse::<u64>().unwrap();

    let (done, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let (before, after) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                done.store(count(), Ordering::SeqCst);
            }
        });
        let deadline = Instant::now() + STEP_MAX;
        while done.load(Ordering::SeqCst) < 10 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let before = done.load(Ordering::SeqCst);
        let made = run(root, &["backup", "all.room", "--json"]);
        // One more may have started without an answer yet.
        let after = done.load(Ordering::SeqCst) + 1;
        ended.store(true, Ordering::SeqCst);
        assert_eq!(made.code, Some(0), "{}", made.talk);
        (before, after)
    });
    good(root, &["restore", "all.room", "--data", "restored"]);
    let restored = good(root, &["export", "lobby", "--data", "restored"]);
    let entry: serde_json::Value = serde_json::from_str(restored.lines().nth(1).unwrap()).unwrap();
    let kept = entry["json"].as_u64().unwrap();
    assert!(before >= 10 && (before..=after).contains(&kept), "{kept}: {before} to {after}");

    let last = count();
    let export = good(root, &["export", "lobby"]);
    assert!(export.ends_with(&format!("{{\"key\":\"count\",\"json\":{last}}}\n")), "{export}");
    let edited = fed(root, &["import", "-"], &lines("lobby", 1_000));
    assert_eq!(edited.code, Some(0), "{}", edited.talk);
    assert_eq!(dev.http("POST", LOBBY), (200, "1001".to_owned()));

    let said = refused(root, &["export", "nobody"], "");
    assert!(said.contains("nothing is stored for the room main/nobody"), "{said}");
    let said = refused(root, &["import", "-", "--party", "other"], &lines("lobby", 1));
    assert!(said.contains("party other not found"), "{said}");
    let said = refused(root, &["restore", "all.room"], "");
    assert!(said.contains("stop the server if one runs on it"), "{said}");
    let text = std::fs::read_to_string(&control).unwrap();
    let mut wrong: serde_json::Value = serde_json::from_str(&text).unwrap();
    let secret = wrong["token"].as_str().unwrap().to_owned();
    wrong["token"] = "wrong".into();
    std::fs::write(&control, wrong.to_string()).unwrap();
    let said = refused(root, &["backup", "again.room"], "");
    assert!(said.contains("it does not know the token in control.json"), "{said}");
    assert!(!root.join("again.room").exists());

    let (code, terminal) = dev.stop();
    assert_eq!(code, Some(0));
    assert!(!control.exists());
    assert!(!terminal.iter().any(|line| line.contains(&secret)), "the token is on the terminal");
    assert!(good(root, &["export", "lobby"]).contains("\"json\":1001"));
}
