//! What scripts do wrong, on a real server: what `tests/conformance/faults.mjs` says holds.
#![cfg(unix)]

#[path = "common/node.rs"]
mod node;
#[path = "common/project.rs"]
mod project;
#[path = "common/typed.rs"]
mod typed;

#[test]
fn every_fault_of_a_script_has_a_name_and_costs_its_turn_alone() {
    let project = typed::copy("tests/conformance/faults", "faults");
    node::run("conformance/faults.mjs", &project, &[]);
}
