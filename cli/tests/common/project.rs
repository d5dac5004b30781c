//! Projects in temporary folders. Owns how they get a manifest and where they are compiled.
//!
//! Invariant: no two tests have one folder at a time, and the next test has it again, so that what cargo has
//! compiled for its dependencies is there. It does not know what is done with the projects.

use std::fs::File;
use std::path::{Path, PathBuf};

/// A project outside of the repository, which goes away with this.
pub(crate) struct Project {
    /// In a folder of its own, in which files may lie beside it.
    root: PathBuf,
    place: Place,
}

/// A folder that a test has for itself.
pub(crate) struct Place {
    dir: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes one that nobody has, and empties it.
    pub(crate) fn take() -> Self {
        let all = std::env::temp_dir().join("room-tests");
        std::fs::create_dir_all(&all).expect("a temporary folder can be made");
        let all = all.canonicalize().expect("it was just made");
        for number in 0.. {
            let lock = File::create(all.join(format!("{number}.lock"))).expect("it is ours");
            if lock.try_lock().is_err() {
                continue;
            }
            let dir = all.join(number.to_string());
            // A first one has nothing to empty.
            drop(std::fs::remove_dir_all(&dir));
            std::fs::create_dir(&dir).expect("it is empty, and ours");
            return Self { dir, _lock: lock };
        }
        unreachable!("there are more numbers than tests")
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }
}

impl Project {
    /// A copy of a room of this repository, with a manifest of its own.
    pub(crate) fn copy(room: &str, name: &str) -> Self {
        let place = Place::take();
        let project = Self { root: place.path().join("project"), place };
        for part in ["src", "web", "room.toml"] {
            copy(&repo().join(room).join(part), &project.root().join(part));
        }
        project.write("Cargo.toml", &manifest(name));
        // The same versions as here, so that nothing has to be looked up or downloaded.
        copy(&repo().join("Cargo.lock"), &project.root().join("Cargo.lock"));
        project
    }

    /// Its folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file of it, in one step: nobody sees it empty, so a watcher counts one save.
    pub(crate) fn write(&self, file: &str, content: &str) {
        let path = self.root().join(file);
        // Through a link, as editors do.
        let path = path.canonicalize().unwrap_or(path);
        let aside = self.place.path().join("a-file-being-written");
        std::fs::create_dir_all(path.parent().expect("it is in the project"))
            .and_then(|()| std::fs::write(&aside, content))
            .and_then(|()| std::fs::rename(&aside, &path))
            .unwrap_or_else(|err| panic!("{} cannot be written: {err}", path.display()));
    }
}

/// The root of this repository.
pub(crate) fn repo() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace")
}

/// Where projects are compiled: for wasm, and apart from what cargo builds for this very test.
pub(crate) fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects")
}

fn manifest(name: &str) -> String {
    let sdk = repo().join("sdk");
    format!(
        r#"[package]
name = "{name}"
version = "0.1.0"
edition = "2024"

[workspace]

[lib]
crate-type = ["cdylib", "rlib"]

[dependencies]
room-sdk = {{ path = {sdk:?} }}
serde = {{ version = "1", features = ["derive"] }}
serde_json = "1"

[target.'cfg(target_os = "wasi")'.dependencies]
wasip2 = "1"
"#
    )
}

/// Copies a file, or a folder with everything in it; what is not there is left out.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).expect("a folder can be made");
        for entry in std::fs::read_dir(from).expect("a folder can be read") {
            let entry = entry.expect("a folder can be read");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else if from.is_file() {
        std::fs::copy(from, to).expect("a file can be copied");
    }
}
