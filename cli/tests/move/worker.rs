//! A PartyServer project: a worker, two classes that are rooms, a cron, a page.

use super::dev::{BUILD_MAX, Dev, STEP_MAX, room};
use super::fixture::copy_of;
use super::project::Project;
use super::socket::Socket;
use std::process::Output;

/// Where wrangler keeps the secrets of this machine. In the fixture the file is in sight.
const SECRETS: &str = ".dev.vars";

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The project, imported and with its packages.
fn imported() -> Project {
    let project = copy_of("cli/tests/move/partyserver", "moved-partyserver");
    let root = project.root();
    std::fs::rename(root.join("dev.vars"), root.join(SECRETS)).expect("the fixture has it");
    let made = room(root, &["init", "--from", "wrangler.jsonc"]).output();
    let made = made.expect("the command was built with this test");
    let rows = said(&made);
    assert!(made.status.success(), "{rows}");
    for row in [
        "[parties.desk] script = \"src/server.ts\" export = \"Desk\"; the code runs as it is",
        "[parties.room-list] script = \"src/server.ts\" export = \"Listing\"; the code runs as it is",
        "desk: hibernate       [parties.desk] hibernate = true",
        "[assets] single_page = true",
        "[crons.cron-1] schedule = \"0 3 * * *\"",
        "env.CACHE is not there: keep values in the storage of a room",
        "they are not needed: a room's storage is there from the start",
        "cp .dev.vars .env",
        "npm install --save-dev esbuild ./vendor/roomkit",
    ] {
        assert!(rows.contains(row), "{row} is not in {rows}");
    }
    std::fs::copy(root.join(SECRETS), root.join(".env")).expect("it is there");
    let mut npm = std::process::Command::new("npm");
    npm.args(["install", "--save-dev", "--no-audit", "--no-fund", "esbuild", "./vendor/roomkit"]);
    let installed = npm.current_dir(root).output().expect("these tests need Node with npm");
    assert!(installed.status.success(), "{}", said(&installed));
    project
}

#[test]
fn a_partyserver_project_is_imported_and_served_as_it_is() {
    let project = imported();
    let mut dev = Dev::start(project.root(), &[]);
    let mut ada = Socket::open(dev.port(), "/parties/desk/red?user=ada");
    ada.until("good morning ada, visit 1 of red in the desk");
    let mut bob = Socket::open(dev.port(), "/parties/desk/red?user=bob");
    bob.until("good morning bob, visit 2 of red in the desk");
    ada.send("hello");
    bob.until("4 hello");

    // The worker answers beside the rooms, and is asked before them.
    assert_eq!(dev.http("GET", "/api/title"), (200, "the desk, of this machine".to_owned()));
    let (status, page) = dev.http("GET", "/");
    assert!(status == 200 && page.contains("The page of the desk"), "{status} {page}");
    assert_eq!(dev.http("GET", "/parties/room-list/all"), (200, r#"{"red":2}"#.to_owned()));
    assert_eq!(dev.http("GET", "/parties/desk/red").0, 404);

    let source =
        std::fs::read_to_string(project.root().join("src/server.ts")).expect("it is there");
    project.write("src/server.ts", &source.replace("good morning", "good evening"));
    let reloaded = dev.line("reloaded in", BUILD_MAX);
    assert!(reloaded.contains("2 sockets kept"), "{reloaded}");
    bob.send("still here");
    ada.until("4 still here");
    let mut late = Socket::open(dev.port(), "/parties/desk/red?user=cleo");
    late.until("good evening cleo, visit 3");

    let ran = room(project.root(), &["crons", "run", "cron-1"]).output();
    let ran = ran.expect("the command was built with this test");
    assert!(ran.status.success(), "{}", said(&ran));
    let empty = || dev.http("GET", "/parties/room-list/all").1 == "{}";
    let deadline = tokio::time::Instant::now() + STEP_MAX;
    while !empty() {
        assert!(tokio::time::Instant::now() < deadline, "the cron forgot nothing in {STEP_MAX:?}");
        std::thread::yield_now();
    }
    assert_eq!(dev.stop().0, Some(0));
}
