//! The stock npm client and our own against a real server: what `tests/conformance/*.mjs` says holds.
//!
//! Each file gets a project of its own with the room of `tests/conformance/guest`, and starts the
//! server itself, as some of them stop it or change its source.
#![cfg(unix)]

#[path = "common/node.rs"]
mod node;
#[path = "common/project.rs"]
mod project;

use project::Project;

fn check(name: &str) {
    let project = Project::copy("tests/conformance/guest", &format!("conformance-{name}"));
    node::run(&format!("conformance/{name}.mjs"), &project, &[]);
}

#[test]
fn clients_connect_to_rooms_and_their_messages_arrive() {
    check("connect");
}

#[test]
fn the_stock_client_and_our_own_behave_alike() {
    check("clients");
}

#[test]
fn closes_and_refusals_have_the_codes_that_clients_expect() {
    check("close");
}

#[test]
fn plain_http_reaches_rooms() {
    check("http");
}

#[test]
fn clients_reconnect_after_a_crash() {
    check("reconnect");
}

#[test]
fn clients_that_are_cut_off_come_back_to_their_connection() {
    let project = Project::copy("tests/conformance/guest", "conformance-returns");
    let parties = include_str!("../../tests/conformance/guest/room.toml");
    let more = "[parties.returning]\npath = \".\"\nresume = \"30s\"\nhistory = { keep = 100 }\n";
    project.write("room.toml", &format!("{parties}\n{more}"));
    node::run("conformance/returns.mjs", &project, &[]);
}

#[test]
fn sockets_stay_when_the_code_is_replaced() {
    check("reload");
}

#[test]
fn clients_of_server_sent_events_hear_rooms_and_post_to_them() {
    let project = Project::copy("tests/conformance/guest", "conformance-events");
    let manifest = "name = \"conformance\"\n[parties.main]\npath = \".\"\nsse = true\n\
                    [parties.polled]\npath = \".\"\nsse = true\nresume = \"30s\"\n\
                    [publish]\nkeys = [\"PUBLISH_KEY\"]\n";
    project.write("room.toml", manifest);
    project.write(".env", "PUBLISH_KEY=a-key-of-the-conformance-tests\n");
    node::run("conformance/events.mjs", &project, &[]);
}
