//! Cargo's configuration. Owns the paths of its files, included ones among them, and the one value that is read here.
//!
//! Invariant: it only reads. A file that cannot be read counts as missing: cargo reports its error. It does not know
//! what cargo does with the values.

use super::inputs::plain;
use std::path::{Path, PathBuf};

/// The most files that are read: no real configuration has more.
const FILES_MAX: usize = 1_000;

/// Returns the files that configure a cargo run in this folder, the strongest first, whether they exist or not. A
/// file overrides its included files, and of these a later one overrides an earlier one.
pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let folders = dir.ancestors().map(|above| above.join(".cargo")).chain(home());
    let mut files = Vec::new();
    for file in folders.flat_map(|dir| [dir.join("config.toml"), dir.join("config")]) {
        add(file, &mut files);
    }
    files
}

/// Adds a file, and those that it includes. Cargo refuses files that include each other.
fn add(file: PathBuf, files: &mut Vec<PathBuf>) {
    if files.len() < FILES_MAX && !files.contains(&file) {
        let included = included(&file);
        files.push(file);
        included.into_iter().rev().for_each(|file| add(file, files));
    }
}

/// Returns the files that a file names under `include`, relative to its own folder: a list of paths, or of tables
/// with a path.
fn included(file: &Path) -> Vec<PathBuf> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    let list = match table(file).and_then(|mut config| config.remove("include")) {
        Some(toml::Value::Array(list)) => list,
        one => one.into_iter().collect(),
    };
    let path =
        |one: &toml::Value| one.as_str().or_else(|| one.get("path")?.as_str()).map(str::to_owned);
    let paths = list.iter().filter_map(path).filter(|path| path.ends_with(".toml"));
    paths.map(|path| plain(&dir.join(path))).collect()
}

/// Returns the files that choose the toolchain for this folder, whether they exist or not.
pub(super) fn toolchain_files(dir: &Path) -> Vec<PathBuf> {
    let names = ["rust-toolchain", "rust-toolchain.toml"];
    dir.ancestors().flat_map(|above| names.map(|name| above.join(name))).collect()
}

/// Returns the folder of cargo's downloads.
pub(super) fn home() -> Option<PathBuf> {
    let named = std::env::var_os("CARGO_HOME").filter(|dir| !dir.is_empty());
    named.map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cargo")))
}

/// Returns the target that cargo compiles for here by default.
pub(super) fn build_target(dir: &Path) -> Option<String> {
    let named = std::env::var_os("CARGO_BUILD_TARGET").and_then(|target| target.into_string().ok());
    if named.is_some() {
        return named;
    }
    files(dir).iter().find_map(|file| target_in(&table(file)?))
}

fn target_in(config: &toml::Table) -> Option<String> {
    match config.get("build")?.get("target")? {
        toml::Value::Array(targets) => targets.first()?.as_str().map(str::to_owned),
        target => target.as_str().map(str::to_owned),
    }
}

/// Returns true if the user has set the optimisation of the profile `dev`: in the environment, in cargo's
/// configuration for this folder, or in the manifest of its workspace.
pub(super) fn chooses_opt_level(dir: &Path, workspace: &Path) -> bool {
    let is_in = |config: toml::Table| {
        let profile = config.get("profile").and_then(|profiles| profiles.get("dev"));
        profile.and_then(|profile| profile.get("opt-level")).is_some()
    };
    std::env::var_os("CARGO_PROFILE_DEV_OPT_LEVEL").is_some()
        || files(dir).iter().filter_map(|file| table(file)).any(is_in)
        || table(&workspace.join("Cargo.toml")).is_some_and(is_in)
}

/// Returns the folders that the `[patch]` sections of a file name.
pub(super) fn patches(file: &Path) -> Vec<PathBuf> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    let found = table(file).unwrap_or_default();
    let sources = found.get("patch").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let tables = sources.values().filter_map(toml::Value::as_table);
    let paths = tables.flat_map(toml::Table::values);
    paths.filter_map(|patch| Some(dir.join(patch.get("path")?.as_str()?))).collect()
}

fn table(file: &Path) -> Option<toml::Table> {
    std::fs::read_to_string(file).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_configuration_is_searched_in_every_parent_folder() {
        let found = files(Path::new("/a/b"));
        for file in ["/a/b/.cargo/config.toml", "/a/.cargo/config", "/.cargo/config.toml"] {
            assert!(found.contains(&PathBuf::from(file)), "{file}");
        }
    }

    #[test]
    fn the_nearest_configured_target_wins() {
        let dir = tempfile::tempdir().unwrap();
        let (root, inner) = (dir.path(), dir.path().join("inner"));
        std::fs::create_dir_all(root.join(".cargo")).unwrap();
        std::fs::create_dir_all(inner.join(".cargo")).unwrap();
        std::fs::write(root.join(".cargo/config.toml"), "[build]\ntarget = \"far\"").unwrap();
        assert_eq!(build_target(&inner).as_deref(), Some("far"));
        let near = "[build]\ntarget = [\"near\"]";
        std::fs::write(inner.join(".cargo/config.toml"), near).unwrap();
        assert_eq!(build_target(&inner).as_deref(), Some("near"));
    }

    #[test]
    fn an_opt_level_set_anywhere_that_cargo_reads_is_the_users() {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("package");
        std::fs::create_dir_all(package.join(".cargo")).unwrap();
        let chosen = "[profile.dev]\nopt-level = 3";
        for file in ["Cargo.toml", "package/.cargo/config.toml"] {
            assert!(!chooses_opt_level(&package, dir.path()), "before {file}");
            let file = dir.path().join(file);
            std::fs::write(&file, "[profile.dev]\ndebug = 1\n[profile.release]\nopt-level = 3")
                .unwrap();
            assert!(!chooses_opt_level(&package, dir.path()), "{}", file.display());
            std::fs::write(&file, chosen).unwrap();
            assert!(chooses_opt_level(&package, dir.path()), "{}", file.display());
            std::fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn included_files_are_found_where_cargo_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join(".cargo/more")).unwrap();
        let write = |file: &str, text: &str| std::fs::write(root.join(file), text).unwrap();
        write(
            ".cargo/config.toml",
            r#"include = ["first.toml", { path = "../second.toml", optional = true }, "third", 7, {}]"#,
        );
        write(".cargo/first.toml", "include = \"more/inner.toml\"\n[build]\ntarget = \"first\"");
        write(
            ".cargo/more/inner.toml",
            "include = [\"../first.toml\"]\n[build]\ntarget = \"inner\"",
        );
        let found = files(root);
        let own =
            [".cargo/config.toml", "second.toml", ".cargo/first.toml", ".cargo/more/inner.toml"];
        assert_eq!(found[..own.len()], own.map(|file| root.join(file)));
        assert_eq!(found[own.len()], root.join(".cargo/config"));
        assert_eq!(build_target(root).as_deref(), Some("first"));
        write("second.toml", "[build]\ntarget = \"second\"");
        assert_eq!(build_target(root).as_deref(), Some("second"));
        write(".cargo/config.toml", "include = [\"first.toml\"]\n[build]\ntarget = \"own\"");
        assert_eq!(build_target(root).as_deref(), Some("own"));
    }

    #[test]
    fn patches_by_path_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("Cargo.toml");
        let text = "[patch.crates-io]\na = { path = \"x/a\" }\nb = { git = \"u\" }\n[patch.\"u\"]\nc = { path = \"c\" }";
        std::fs::write(&file, text).unwrap();
        assert_eq!(patches(&file), [dir.path().join("x/a"), dir.path().join("c")]);
    }
}
