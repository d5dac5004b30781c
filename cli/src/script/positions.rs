//! Where the lines of a bundle come from. Owns the reading of source maps.
//!
//! Invariant: files are named relative to the project's folder. It does not know who needs the positions.

use anyhow::Context as _;
use oxc_sourcemap::SourceMap;
use std::path::{Component, Path, PathBuf};

/// A table from positions of a bundle to positions of the project's files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BundlePositions {
    /// The names of the project's files.
    files: Vec<String>,
    /// In order: line and column of the bundle, the file's place in `files`, line and column there. All count from 1.
    entries: Vec<[u32; 5]>,
}

impl BundlePositions {
    /// Its bytes, as the engine reads them: counts and numbers as little-endian 32 bits.
    pub(super) fn encode(&self) -> Vec<u8> {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = count(self.files.len()).to_vec();
        for file in &self.files {
            bytes.extend(count(file.len()));
            bytes.extend(file.as_bytes());
        }
        bytes.extend(self.entries.iter().flatten().flat_map(|number| number.to_le_bytes()));
        bytes
    }
}

/// Reads the source map of a bundle in the folder `out`, for the project in `root`.
///
/// # Errors
/// The text is not a source map.
pub(super) fn of(map: &str, out: &Path, root: &Path) -> anyhow::Result<BundlePositions> {
    let map = SourceMap::from_json_string(map).context("the bundler's source map is odd")?;
    let files = map.get_sources().map(|source| named(&out.join(source), root)).collect();
    let entries = map.get_tokens().filter_map(|token| {
        let file = token.get_source_id()?;
        Some([
            token.get_dst_line() + 1,
            token.get_dst_col() + 1,
            file,
            token.get_src_line() + 1,
            token.get_src_col() + 1,
        ])
    });
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable();
    Ok(BundlePositions { files, entries })
}

/// A path relative to the project, without `..` where that is possible.
fn named(path: &Path, root: &Path) -> String {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain.strip_prefix(root).unwrap_or(&plain).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_bundle_names_the_projects_file() {
        // Generated line 1, column 0 is line 3, column 2 of the source.
        let map =
            r#"{"version":3,"sources":["../../../src/server.ts"],"names":[],"mappings":"AAEE"}"#;
        let read = of(map, Path::new("/p/.room/scripts/x"), Path::new("/p")).unwrap();
        assert_eq!(
            read,
            BundlePositions {
                files: vec!["src/server.ts".to_owned()],
                entries: vec![[1, 1, 0, 3, 3]]
            }
        );
        let bytes = read.encode();
        assert_eq!(bytes.len(), 4 + 4 + "src/server.ts".len() + 20);
        assert_eq!(bytes[..8], [1, 0, 0, 0, 13, 0, 0, 0]);
    }

    #[test]
    fn a_text_that_is_not_a_source_map_is_an_error() {
        assert!(of("{", Path::new("/p"), Path::new("/p")).is_err());
    }
}
