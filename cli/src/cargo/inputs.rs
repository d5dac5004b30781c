//! The inputs of a build. Owns the reading of cargo's own lists: dep-info files, build scripts' output and messages.
//!
//! Invariant: files that the build wrote itself, and downloaded files, which never change, are left out. It does not
//! know when to look at the files.

use super::config;
use cargo_metadata::diagnostic::Diagnostic;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

/// Files and folders whose change makes a build outdated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// Files that were read, or looked for and not found.
    pub(crate) files: BTreeSet<PathBuf>,
    /// Folders that were read whole.
    pub(crate) trees: BTreeSet<PathBuf>,
    /// Packages in which every file counts that git does not ignore: their build scripts do not name their inputs.
    pub(crate) packages: BTreeSet<PathBuf>,
    /// Folders of sources: a new file in them may be the one that was missing.
    pub(crate) sources: BTreeSet<PathBuf>,
    /// Folders of packages: the inputs of a failed build are not fully known.
    pub(crate) roots: BTreeSet<PathBuf>,
    /// When the build read them.
    pub(crate) times: Times,
}

/// The times by which a build has read its inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// When cargo had read and written its lock file, which it does before anything else.
    pub(crate) locked: Option<SystemTime>,
    /// When the local packages' build scripts ended: cargo reads their outputs after that.
    pub(crate) scripts: Option<SystemTime>,
}

/// The inputs that the messages of one build name.
#[derive(Debug)]
pub(super) struct Reading {
    /// The folder from which relative paths of the compiler start.
    base: PathBuf,
    inputs: Inputs,
    /// The folders of local packages, by cargo's ids.
    packages: BTreeMap<String, PathBuf>,
    /// The outputs of build scripts, each with its package.
    scripts: Vec<(PathBuf, PathBuf)>,
}

impl Inputs {
    /// Adds the inputs of another build.
    pub(crate) fn extend(&mut self, other: Self) {
        self.files.extend(other.files);
        self.trees.extend(other.trees);
        self.packages.extend(other.packages);
        self.sources.extend(other.sources);
        self.roots.extend(other.roots);
        self.times.locked = self.times.locked.max(other.times.locked);
        self.times.scripts = self.times.scripts.max(other.times.scripts);
    }

    /// Adds a package as its folder describes it.
    pub(super) fn add_package(&mut self, dir: &Path) {
        self.files.insert(dir.join("Cargo.toml"));
        self.files.insert(dir.join("build.rs"));
        self.sources.insert(dir.join("src"));
        self.roots.insert(dir.to_owned());
    }

    /// Removes the files that the build wrote itself.
    pub(super) fn without(mut self, own: &Path) -> Self {
        for paths in [&mut self.files, &mut self.trees, &mut self.sources] {
            paths.retain(|path| !path.starts_with(own));
        }
        self
    }
}

impl Reading {
    /// Makes the list for a build of a workspace.
    pub(super) fn of(workspace: &Path) -> Self {
        let (packages, scripts) = (BTreeMap::new(), Vec::new());
        Self { base: workspace.to_owned(), inputs: Inputs::default(), packages, scripts }
    }

    /// Notes an output of a package.
    pub(super) fn made(&mut self, id: &str, manifest: &Path, source: &Path) {
        self.inputs.times.locked.get_or_insert_with(disk_time);
        if !is_local(id) {
            return;
        }
        if let Some(dir) = manifest.parent() {
            self.packages.insert(id.to_owned(), dir.to_owned());
            self.inputs.roots.insert(dir.to_owned());
        }
        self.inputs.files.insert(manifest.to_owned());
        self.tried(id, source);
    }

    /// Notes that the compiler worked on a source of a package.
    pub(super) fn tried(&mut self, id: &str, source: &Path) {
        if !is_local(id) {
            return;
        }
        self.inputs.files.insert(source.to_owned());
        // A build script lies beside files that are not sources.
        if source.file_name().is_some_and(|name| name != "build.rs") {
            self.inputs.sources.extend(source.parent().map(Path::to_owned));
        }
    }

    /// Notes the files that a compiler error names: the user may correct them, whether it read them or not.
    pub(super) fn missed(&mut self, said: &Diagnostic) {
        let spans = said.spans.iter().map(|span| span.file_name.as_str());
        for file in spans.chain(unreadable(&said.message)) {
            // Code of a macro is in no file.
            if !file.starts_with('<') {
                self.inputs.files.insert(plain(&self.base.join(file)));
            }
        }
    }

    /// Notes that a build script ran.
    pub(super) fn ran(&mut self, id: &str, out_dir: &Path) {
        if is_local(id) {
            self.inputs.times.scripts = Some(disk_time());
        }
        if let (Some(dir), Some(above)) = (self.packages.get(id), out_dir.parent()) {
            self.scripts.push((above.join("output"), dir.clone()));
        }
    }

    /// Returns all inputs that are known at the end of a build: from the list beside the component if there is one,
    /// otherwise from all lists that compilers left in these folders.
    pub(super) fn end(mut self, component: Option<&Path>, folders: &[PathBuf]) -> Inputs {
        for (output, dir) in std::mem::take(&mut self.scripts) {
            self.read_script(&output, &dir);
        }
        match component {
            Some(component) => {
                let listed = dep_info(&component.with_extension("d"));
                // Cargo lists paths relative to the workspace's root.
                self.add(&listed, Path::new("/"));
            }
            None => {
                let base = self.base.clone();
                for folder in folders {
                    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
                    let lists = entries.map(|entry| entry.path());
                    let lists = lists.filter(|path| path.extension().is_some_and(|end| end == "d"));
                    lists.for_each(|list| self.add(&dep_info(&list), &base));
                }
            }
        }
        self.inputs
    }

    fn add(&mut self, listed: &[String], base: &Path) {
        let downloaded: Vec<PathBuf> = config::home()
            .into_iter()
            .flat_map(|home| [home.join("registry"), home.join("git")])
            .collect();
        for path in listed.iter().map(|path| plain(&base.join(path))) {
            if downloaded.iter().any(|dir| path.starts_with(dir)) {
                continue;
            }
            self.add_path(path);
        }
    }

    fn add_path(&mut self, path: PathBuf) {
        let kind = if path.is_dir() { &mut self.inputs.trees } else { &mut self.inputs.files };
        kind.insert(path);
    }

    /// Reads the inputs that a build script names. A script that names none reads all of its package.
    fn read_script(&mut self, output: &Path, dir: &Path) {
        let text = std::fs::read(output).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let said = |key: &'static str| text.lines().filter_map(move |line| directive(line, key));
        said("rerun-if-changed").for_each(|path| self.add_path(plain(&dir.join(path))));
        let says = said("rerun-if-changed").chain(said("rerun-if-env-changed")).next().is_some();
        if !says {
            self.inputs.packages.insert(dir.to_owned());
        }
    }
}

/// Returns the current time by the clock of the files' stamps.
#[expect(clippy::disallowed_methods, reason = "the node's clock knows nothing of files")]
pub(crate) fn disk_time() -> SystemTime {
    SystemTime::now()
}

/// Returns the value of a line in which a build script gives cargo an instruction.
fn directive<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let rest = line.strip_prefix("cargo::").or_else(|| line.strip_prefix("cargo:"))?;
    rest.strip_prefix(key)?.strip_prefix('=')
}

/// Returns true if a package lies on this disk as its author's.
fn is_local(id: &str) -> bool {
    id.starts_with("path+")
}

/// Returns a path without `.` and `..`, as text. It follows no link.
pub(super) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// Returns the files of a list in make's format. A space in a name has a `\` before it.
fn dep_info(file: &Path) -> Vec<String> {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let rules = text.lines().filter_map(|line| line.split_once(": "));
    rules.flat_map(|(_, listed)| words(listed)).collect()
}

fn words(listed: &str) -> Vec<String> {
    let (mut found, mut word) = (Vec::new(), String::new());
    let mut chars = listed.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '\\' if chars.peek() == Some(&' ') => word.extend(chars.next()),
            ' ' => found.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            other => word.push(other),
        }
    }
    found.extend(Some(word).filter(|word| !word.is_empty()));
    found
}

/// Returns the file that the compiler could not read, from its message.
fn unreadable(message: &str) -> Option<&str> {
    message.strip_prefix("couldn't read `")?.split_once('`').map(|(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_with_spaces_are_parsed() {
        assert_eq!(words(r"/a/b.rs /out\ side.txt  c"), ["/a/b.rs", "/out side.txt", "c"]);
        assert!(words("").is_empty());
    }

    #[test]
    fn parent_folders_in_a_path_are_resolved_as_text() {
        assert_eq!(plain(Path::new("/a/src/../../x/./y")), Path::new("/x/y"));
    }

    #[test]
    fn a_build_script_depends_on_declared_files_or_on_all_files() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("output");
        std::fs::create_dir(dir.path().join("schema")).unwrap();
        let read = |text: &str| {
            std::fs::write(&output, text).unwrap();
            let mut reading = Reading::of(dir.path());
            reading.read_script(&output, dir.path());
            reading.inputs
        };
        let said = read("cargo::rerun-if-changed=../x\ncargo:rerun-if-changed=schema\nhello");
        assert_eq!(said.files, BTreeSet::from([dir.path().parent().unwrap().join("x")]));
        assert_eq!(said.trees, BTreeSet::from([dir.path().join("schema")]));
        assert!(said.packages.is_empty());
        assert!(read("cargo::rerun-if-env-changed=A").packages.is_empty());
        assert_eq!(read("cargo::rustc-cfg=a").packages, BTreeSet::from([dir.path().to_owned()]));
    }

    #[test]
    fn files_that_the_compiler_could_not_find_are_named() {
        let words = "couldn't read `src/../x.txt`: No such file or directory (os error 2)";
        assert_eq!(unreadable(words), Some("src/../x.txt"));
        assert_eq!(unreadable("mismatched types"), None);
    }
}
