//! Cargo's configuration. Owns where its files are, and the one value of them that is asked for here.
//!
//! Invariant: it only reads. What cannot be read is not there: cargo says what is wrong with it. It does not
//! know what cargo makes of the values.

use std::path::{Path, PathBuf};

/// The files that configure a cargo run in this folder, the strongest first, whether they are there or not.
pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let folders = dir.ancestors().map(|above| above.join(".cargo")).chain(home());
    folders.flat_map(|dir| [dir.join("config.toml"), dir.join("config")]).collect()
}

/// The files that choose the toolchain for this folder, whether they are there or not.
pub(super) fn toolchain_files(dir: &Path) -> Vec<PathBuf> {
    let names = ["rust-toolchain", "rust-toolchain.toml"];
    dir.ancestors().flat_map(|above| names.map(|name| above.join(name))).collect()
}

/// The folder in which cargo keeps what it downloads.
pub(super) fn home() -> Option<PathBuf> {
    let named = std::env::var_os("CARGO_HOME").filter(|dir| !dir.is_empty());
    named.map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cargo")))
}

/// The target that cargo compiles for here if none is named.
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

/// Whether the user has chosen how much guests are optimised in the profile `dev`: in the environment, in cargo's
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

/// The folders that the `[patch]` sections of a file name.
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
    fn a_configuration_is_looked_for_in_every_folder_above() {
        let found = files(Path::new("/a/b"));
        for file in ["/a/b/.cargo/config.toml", "/a/.cargo/config", "/.cargo/config.toml"] {
            assert!(found.contains(&PathBuf::from(file)), "{file}");
        }
    }

    #[test]
    fn the_nearest_target_is_the_one() {
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
    fn an_opt_level_is_the_users_wherever_cargo_reads_one() {
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
    fn patches_by_path_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("Cargo.toml");
        let text = "[patch.crates-io]\na = { path = \"x/a\" }\nb = { git = \"u\" }\n[patch.\"u\"]\nc = { path = \"c\" }";
        std::fs::write(&file, text).unwrap();
        assert_eq!(patches(&file), [dir.path().join("x/a"), dir.path().join("c")]);
    }
}
