//! The gallery of examples says what is there.

use super::{none, root};
use std::fs;
use std::path::Path;

/// Returns the lines of a room: those of its sources, without tests.
fn lines(example: &Path) -> usize {
    let sources = fs::read_dir(example.join("src")).expect("an example has sources");
    let is_source = |name: &str| {
        name.ends_with(".rs") || (name.ends_with(".ts") && !name.ends_with(".test.ts"))
    };
    sources
        .map(|entry| entry.expect("it is listed").path())
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_source))
        .map(|path| fs::read_to_string(path).expect("it is text").lines().count())
        .sum()
}

#[test]
fn the_gallery_has_each_example_with_its_lines_and_its_picture() {
    let folder = root().join("rooms-examples");
    let gallery = fs::read_to_string(folder.join("README.md")).expect("the examples have a page");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).expect("there are examples") {
        let example = entry.expect("it is listed").path();
        let name = example.file_name().expect("it has a name").to_string_lossy().into_owned();
        if !example.join("room.toml").is_file() {
            continue;
        }
        let row = format!("| [{name}]({name}) | {} |", lines(&example));
        if !gallery.contains(&row) {
            found.push(format!("the row {row}"));
        }
        if example.join("web").is_dir() {
            let picture = format!("({name}/page.png)");
            if !gallery.contains(&picture) || !example.join("page.png").is_file() {
                found.push(format!("the picture {picture}"));
            }
        }
    }
    none("what rooms-examples/README.md lacks", found);
}
