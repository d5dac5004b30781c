//! Projects of this repository whose code is a script, as copies. Owns what a copy has.
//!
//! Invariant: a copy has no file that a tool made, and needs nothing beside it. It does not know what is done with it.

use super::project::{Project, repo};
use std::path::{Path, PathBuf};

/// What the browser is called, on different systems.
const CHROMIUM: [&str; 4] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// What tools make in a project, and its picture in the gallery.
const MADE: [&str; 5] = ["node_modules", "package-lock.json", ".room", "dist", "page.png"];

/// A copy of the project in this folder of the repository.
pub(crate) fn copy_of(folder: &str, name: &str) -> Project {
    let project = Project::copy(folder, name);
    // They belong to rooms in Rust.
    for file in ["Cargo.toml", "Cargo.lock"] {
        std::fs::remove_file(project.root().join(file)).expect("the copy has it");
    }
    add(&project, &repo().join(folder), Path::new(""));
    project
}

/// Adds all files of a folder.
fn add(project: &Project, folder: &Path, at: &Path) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let entry = entry.expect("a folder can be read");
        let name = entry.file_name().into_string().expect("it is UTF-8");
        if MADE.contains(&name.as_str()) {
            continue;
        }
        let path = at.join(if name == "gitignore" { ".gitignore" } else { &name });
        if entry.path().is_dir() {
            add(project, &entry.path(), &path);
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).expect("it is text");
        let sdk = repo().join("sdk/js").display().to_string();
        project.write(path.to_str().expect("it is UTF-8"), &text.replace("../../sdk/js", &sdk));
    }
}

/// The variables of a test in Chromium.
pub(crate) fn browser() -> [(&'static str, String); 2] {
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&screenshots).expect("a folder can be made");
    let text = |path: PathBuf| path.to_str().expect("it is UTF-8").to_owned();
    [("CHROMIUM", text(chromium())), ("SCREENSHOTS", text(screenshots))]
}

fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .flat_map(|dir| CHROMIUM.map(|name| dir.join(name)))
        .find(|file| file.is_file())
        .expect("these tests need Chromium: install the package chromium, or google-chrome")
}
