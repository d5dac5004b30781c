//! Projects that were written for PartyKit and PartyServer move here: they are imported, served, edited and deployed.
#![cfg(unix)]

#[path = "common/dev.rs"]
mod dev;
#[path = "move/fixture.rs"]
mod fixture;
#[path = "move/guides.rs"]
mod guides;
#[path = "common/node.rs"]
mod node;
#[path = "common/project.rs"]
mod project;
#[path = "common/served.rs"]
mod served;
#[path = "common/socket.rs"]
mod socket;
#[path = "move/worker.rs"]
mod worker;

#[test]
fn a_partykit_project_is_imported_edited_deployed_and_rolled_back_without_a_reconnect() {
    let env = fixture::browser();
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let project = fixture::copy_of("cli/tests/move/partykit", "moved-partykit");
    node::run("browser/moved.mjs", &project, &env);
}
