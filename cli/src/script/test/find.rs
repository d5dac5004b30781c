//! The files of tests in a project. Owns which those are.
//!
//! Invariant: their order is that of their paths, and neither packages, nor hidden folders, nor another project within this
//! one have any. It does not know what is in them.

use crate::manifest;
use ignore::{DirEntry, WalkBuilder};
use std::path::{Path, PathBuf};

/// The endings of their names.
const ENDINGS: [&str; 5] = [".test.ts", ".test.js", ".test.mts", ".test.tsx", ".test.jsx"];

/// How to write one.
pub(super) const HELP: &str = "tests are in files whose names end in .test.ts, .test.js, .test.mts, .test.tsx or \
                               .test.jsx, such as src/server.test.ts: import { test, TestRoom } from \"roomkit/test\"";

/// Returns the files below a project's folder.
pub(super) fn files(root: &Path) -> Vec<PathBuf> {
    let mut walk = WalkBuilder::new(root);
    walk.standard_filters(false).hidden(true);
    walk.filter_entry(|entry| entry.depth() == 0 || !is_apart(entry));
    let entries = walk.build().flatten().filter(|entry| {
        let name = entry.file_name().to_string_lossy();
        entry.file_type().is_some_and(|kind| kind.is_file())
            && ENDINGS.iter().any(|ending| name.ends_with(ending))
    });
    let mut files: Vec<_> = entries.map(DirEntry::into_path).collect();
    files.sort();
    files
}

/// Whether this is a folder without sources of the project.
fn is_apart(entry: &DirEntry) -> bool {
    let (name, path) = (entry.file_name(), entry.path());
    entry.file_type().is_some_and(|kind| kind.is_dir())
        && (name == "node_modules"
            || path.join("CACHEDIR.TAG").exists()
            || path.join(manifest::FILE).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_tests_are_found_below_the_project_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "src/b.test.ts",
            "a.test.js",
            "src/deep/c.test.tsx",
            "src/test.ts",
            "src/d.test.ts.snap",
            "node_modules/x/e.test.ts",
            ".room/f.test.ts",
            "other/src/g.test.ts",
            "other/room.toml",
        ];
        for name in names {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = files(dir.path());
        let found: Vec<_> =
            found.iter().map(|file| file.strip_prefix(dir.path()).unwrap()).collect();
        let expected = ["a.test.js", "src/b.test.ts", "src/deep/c.test.tsx"];
        assert_eq!(found, expected.map(Path::new));
    }
}
