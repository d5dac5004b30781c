//! Rooms as they are written for PartyKit and PartyServer, on a real server: what `tests/conformance/scripts.mjs` says holds.
//! The rooms are those of the engine's own tests.
#![cfg(unix)]

#[path = "common/node.rs"]
mod node;
#[path = "common/project.rs"]
mod project;
#[path = "common/typed.rs"]
mod typed;

#[test]
fn rooms_of_both_generations_of_partykit_meet_their_clients_as_there() {
    let project = typed::copy("sdk/engine/tests/compat/rooms", "scripts");
    node::run("conformance/scripts.mjs", &project, &[]);
}
