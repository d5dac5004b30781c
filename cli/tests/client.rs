//! The client, as the packed npm package has it: what `tests/client/*.mjs` says holds.
//!
//! Each file packs and installs the package. Those that need a server get a project of their own with the room of
//! `tests/client/room`.
#![cfg(unix)]

#[path = "common/node.rs"]
mod node;
#[path = "common/project.rs"]
mod project;
#[path = "common/typed.rs"]
mod typed;

fn check(name: &str) {
    let project = typed::copy("tests/client/room", &format!("client-{name}"));
    node::run(&format!("client/{name}.mjs"), &project, &[]);
}

#[test]
fn the_core_of_the_client_makes_frames_and_events() {
    check("session");
}

#[test]
fn the_client_reaches_its_server_and_comes_back_to_it() {
    check("link");
}

#[test]
fn rooms_share_a_socket_and_show_their_tokens() {
    check("shared");
}

#[test]
fn the_client_misses_nothing_of_a_real_server() {
    check("rooms");
}

#[test]
fn the_client_falls_back_to_event_streams_and_polls() {
    check("fallback");
}

#[test]
fn the_hooks_hold_in_strict_mode_and_on_a_server() {
    check("react");
}

#[test]
fn a_back_end_publishes_makes_tickets_and_verifies_webhooks() {
    check("backend");
}

#[test]
fn the_package_is_small_typed_and_needs_no_other() {
    check("package");
}

#[test]
fn the_examples_of_the_guide_have_their_output() {
    check("guide");
}
