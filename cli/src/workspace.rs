//! The cargo workspace around a new package. Owns whether the package becomes a member of it.
//!
//! Invariant: it decides as cargo does: the nearest workspace above, its `members` and its `exclude`. It only reads.
//! It does not know what is in a package.

use globset::GlobBuilder;
use std::path::{Component, Path, PathBuf};

/// A workspace that has the package as a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workspace {
    /// Its folder, absolute.
    pub(crate) root: PathBuf,
    /// True if its members may inherit their dependency on the SDK.
    pub(crate) has_sdk: bool,
}

impl Workspace {
    /// Returns the workspace that has a package in this folder as a member; `None` if it stands alone. The folder
    /// need not exist.
    pub(crate) fn of(dir: &Path) -> Option<Self> {
        let dir = absolute(dir);
        let (root, table) = dir.ancestors().skip(1).find_map(|above| {
            let text = std::fs::read_to_string(above.join("Cargo.toml")).ok()?;
            let mut manifest: toml::Table = text.parse().ok()?;
            let Some(toml::Value::Table(table)) = manifest.remove("workspace") else { return None };
            Some((above.to_owned(), table))
        })?;
        let below = dir.strip_prefix(&root).ok()?;
        let has_sdk = table.get("dependencies").is_some_and(|all| all.get("room-sdk").is_some());
        takes_in(&table, below).then_some(Self { root, has_sdk })
    }
}

/// Returns true if a workspace has a member in this folder below it.
fn takes_in(table: &toml::Table, below: &Path) -> bool {
    let list = |key: &str| -> Vec<&str> {
        let values = table.get(key).and_then(toml::Value::as_array);
        values.into_iter().flatten().filter_map(toml::Value::as_str).collect()
    };
    let members = list("members");
    let is_named = members.iter().any(|member| plain(member) == below);
    let excluded = list("exclude").iter().any(|excluded| below.starts_with(plain(excluded)));
    let is_matched = members.iter().any(|member| {
        let pattern = plain(member).to_string_lossy().into_owned();
        let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
        glob.is_ok_and(|glob| glob.compile_matcher().is_match(below))
    });
    is_named || is_matched && !excluded
}

fn plain(path: &str) -> PathBuf {
    Path::new(path).components().filter(|part| *part != Component::CurDir).collect()
}

/// Returns an absolute path, without links as far as it exists.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for above in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (above.canonicalize(), path.strip_prefix(above)) {
            return real.join(rest);
        }
    }
    path
}

/// Returns the relative path from a folder to a path, both absolute, with `/`.
pub(crate) fn relative(from: &Path, to: &Path) -> String {
    let (from, to) = (absolute(from), absolute(to));
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| "..".to_owned());
    let down = to.components().skip(shared);
    let down = down.map(|part| part.as_os_str().to_string_lossy().into_owned());
    let parts: Vec<_> = up.chain(down).collect();
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_goes_up_and_down() {
        let way = |from: &str, to: &str| relative(Path::new(from), Path::new(to));
        assert_eq!(way("/no-such/a", "/no-such/a/web"), "web");
        assert_eq!(way("/no-such/a/b", "/no-such/c/web"), "../../c/web");
        assert_eq!(way("/no-such/a", "/no-such/a"), ".");
    }

    #[test]
    fn members_and_exclude_decide() {
        let takes = |text: &str, below: &str| takes_in(&text.parse().unwrap(), Path::new(below));
        assert!(takes("members = [\"apps/*\"]", "apps/score"));
        assert!(takes("members = [\"./apps/score\"]", "apps/score"));
        assert!(takes("members = [\"**\"]", "a/b/c"));
        assert!(!takes("members = [\"apps/*\"]", "apps/deep/score"));
        assert!(!takes("members = [\"apps/*\"]\nexclude = [\"apps/score\"]", "apps/score"));
        assert!(takes("members = [\"apps/score\"]\nexclude = [\"apps\"]", "apps/score"));
        assert!(!takes("", "score"));
    }

    #[test]
    fn the_nearest_workspace_above_is_the_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        assert_eq!(Workspace::of(&root.join("a/b")), None);
        std::fs::write(root.join("Cargo.toml"), "[workspace]\nmembers = [\"a/*\"]").unwrap();
        let found = Workspace { root: root.clone(), has_sdk: false };
        assert_eq!(Workspace::of(&root.join("a/b")), Some(found));
        std::fs::create_dir(root.join("a")).unwrap();
        std::fs::write(root.join("a/Cargo.toml"), "[workspace]").unwrap();
        assert_eq!(Workspace::of(&root.join("a/b")), None);
    }
}
