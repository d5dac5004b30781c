//! The examples in TypeScript, in Chromium: runs `tests/browser/NAME.mjs` with a copy of each.
#![cfg(unix)]

#[path = "move/fixture.rs"]
mod fixture;
#[path = "common/node.rs"]
mod node;
#[path = "common/project.rs"]
mod project;

fn check(example: &str) {
    let env = fixture::browser();
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let project = fixture::copy_of(&format!("rooms-examples/{example}"), example);
    node::run(&format!("browser/{example}.mjs"), &project, &env);
}

#[test]
fn two_tabs_chat_in_typescript_while_the_code_is_replaced() {
    check("chat-ts");
}

#[test]
fn rooms_in_typescript_report_to_a_lobby_that_announces_to_them() {
    check("lobby-ts");
}

#[test]
fn a_streamed_answer_reaches_two_tabs_while_the_code_is_replaced() {
    check("answer-ts");
}

#[test]
fn a_page_in_react_stays_connected_to_new_code_and_reloads_when_it_is_saved() {
    check("react-ts");
}
