//! The examples in Chromium: runs `tests/browser/*.mjs`. Screenshots are left in
//! `target/tmp/screenshots`.
#![cfg(unix)]

#[path = "common/node.rs"]
mod node;
#[path = "common/project.rs"]
mod project;
#[path = "common/typed.rs"]
mod typed;

use project::Project;
use std::path::{Path, PathBuf};

/// What the browser is called, on different systems.
const CHROMIUM: [&str; 4] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Runs the file that is named like the example.
fn check(example: &str) {
    check_with(example, example);
}

/// Runs a file with a copy of an example.
fn check_with(example: &str, file: &str) {
    run(&Project::copy(&format!("rooms-examples/{example}"), &format!("browser-{file}")), file);
}

/// Runs a file with a room that follows the commands in its messages.
fn check_with_puppet(file: &str, manifest: &str) {
    let project = Project::copy("tests/guests/puppet", &format!("browser-{file}"));
    project.write("room.toml", manifest);
    run(&project, file);
}

fn run(project: &Project, file: &str) {
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&screenshots).expect("a folder can be made");
    let (chromium, screenshots) = (chromium(), screenshots.to_string_lossy().into_owned());
    let env = [("CHROMIUM", chromium.to_str().expect("UTF-8")), ("SCREENSHOTS", &screenshots)];
    node::run(&format!("browser/{file}.mjs"), project, &env);
}

fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .flat_map(|dir| CHROMIUM.map(|name| dir.join(name)))
        .find(|file| file.is_file())
        .expect("these tests need Chromium: install the package chromium, or google-chrome")
}

#[test]
fn two_tabs_chat_while_the_code_is_replaced() {
    check("chat");
}

#[test]
fn two_tabs_count_together() {
    check("counter");
}

#[test]
fn two_tabs_see_each_others_cursors() {
    check("cursors");
}

#[test]
fn two_tabs_kick_one_ball() {
    check("ball");
}

#[test]
fn two_rooms_are_counted_in_the_lobby() {
    check("lobby");
}

#[test]
fn a_page_follows_a_task_through_a_crash() {
    check("progress");
}

#[test]
fn two_pages_see_who_is_here_and_who_types() {
    check("lounge");
}

#[test]
fn two_pages_without_a_websocket_notify_each_other_through_a_crash() {
    check("notifications");
}

#[test]
fn a_page_works_with_the_stock_npm_client() {
    check_with("counter", "stock");
}

#[test]
fn a_page_enters_a_deployed_room_with_all_that_a_stock_client_offers() {
    let project = Project::copy("tests/conformance/guest", "browser-door");
    project.write(
        "room.toml",
        "name = \"door\"\n[assets]\ndir = \"web\"\n[serve]\nprefix = \"/api/rooms\"\n",
    );
    run(&project, "door");
}

#[test]
fn a_page_of_another_origin_loads_the_client_from_the_server() {
    let project = Project::copy("tests/conformance/guest", "browser-client");
    run(&project, "client");
}

#[test]
fn a_page_of_another_origin_enters_rooms_by_each_transport() {
    run(&typed::copy("tests/client/room", "browser-rooms"), "rooms");
}

#[test]
fn a_page_shows_compile_errors_until_they_are_fixed() {
    check_with("counter", "overlay");
}

#[test]
fn a_dashboard_shows_rooms_and_changes_them() {
    let crons = "[crons]\nindex = \"0 0 1 1 *\"\n\
                 prune = { schedule = \"0 3 * * *\", zone = \"Europe/Berlin\", rooms = \"all\" }\n";
    check_with_puppet("dashboard", &format!("name = \"dash\"\n{crons}"));
}

#[test]
fn a_dashboard_of_a_server_rolls_back_and_no_client_notices() {
    let manifest = "name = \"dash\"\n\n[serve]\n\n[vars]\nVERSION = \"1\"\n";
    check_with_puppet("dashboard-server", manifest);
}

#[test]
fn pages_of_another_origin_connect_by_server_sent_events() {
    let project = Project::copy("tests/conformance/guest", "browser-events");
    let manifest = "name = \"events\"\n[parties.main]\npath = \".\"\nsse = true\ncors = true\n";
    project.write("room.toml", manifest);
    run(&project, "events");
}
