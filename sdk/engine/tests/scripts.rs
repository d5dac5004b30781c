//! The library's own tests: each file of `js/tests` runs in the engine, in a room.
//!
//! Owns nothing but the way there. A file imports "room:test"; see `js/tests/harness.js`.

use std::fs;
use std::path::Path;

use room_engine::{Script, ScriptRoom};
use room_sdk::test::TestRoom;

/// Runs the tests of a file and returns the lines of its report.
fn run(source: &str) -> Vec<String> {
    let script = format!("{source}\nexport {{ default }} from \"room:test\";\n");
    Script::new(script).run_as("main");
    let room = TestRoom::<ScriptRoom>::new("tests");
    let response = room.request(room_sdk::Request::get("/"));
    assert_eq!(response.status_code(), 200, "{}\n{:?}", response.body_text(), room.logs());
    response.body_json().expect("a report is a list of lines")
}

#[test]
fn every_file_of_tests_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("js/tests");
    let (mut passed, mut failed, mut files) = (0, Vec::new(), 0);
    for entry in fs::read_dir(folder).expect("the tests are there") {
        let path = entry.expect("a folder is read to its end").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if !name.ends_with(".test.js") {
            continue;
        }
        files += 1;
        let lines = run(&fs::read_to_string(&path).expect("a file of tests is text"));
        assert!(!lines.is_empty(), "{name} has no tests");
        for line in lines {
            if line.starts_with("ok ") {
                passed += 1
            } else {
                failed.push(format!("{name}: {line}"))
            }
        }
    }
    assert!(files > 0, "no file of tests was found");
    assert!(
        failed.is_empty(),
        "{} of {} failed:\n{}",
        failed.len(),
        passed + failed.len(),
        failed.join("\n")
    );
}

#[test]
fn a_failed_assertion_is_reported() {
    let lines =
        run("import { test, equal } from 'room:test'; test('sums', () => equal(1 + 1, 3));");
    assert!(lines[0].starts_with("failed sums: got 2, expected 3"), "{lines:?}");
}
