//! The static files of versions, laid out to be served. Owns the folder of each version.
//!
//! Invariant: an existing folder has all files of its version, each with the bytes of its hash at the last check. It
//! does not know who serves them.

use super::blobs::{Blobs, of_file};
use super::catalog::Version;
use super::file::{self, FileError};
use super::folder::remove_all;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Lays out the static files of a version in a folder of its own below `assets`. If the folder exists, checks that it
/// is whole. Returns the folder, or `None` if the version has no files. Blocks.
///
/// # Errors
/// [`FileError`]: a file cannot be written, or its blob is damaged.
pub(super) fn lay_out(
    assets: &Path,
    version: &Version,
    blobs: &Blobs,
) -> Result<Option<PathBuf>, FileError> {
    if version.release.assets.is_empty() {
        return Ok(None);
    }
    let dir = assets.join(version.number.to_string());
    if is_whole(&dir, version) {
        return Ok(Some(dir));
    }
    for asset in &version.release.assets {
        blobs.check(asset.blob)?;
    }
    let new = dir.with_extension("new");
    let laid_out = || {
        remove_all(&new)?;
        fs::create_dir_all(&new)?;
        for asset in &version.release.assets {
            let path = new.join(&asset.path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            let blob = blobs.path(asset.blob);
            // A hard link, or a copy where links are impossible.
            fs::hard_link(&blob, &path).or_else(|_| fs::copy(&blob, &path).map(drop))?;
        }
        remove_all(&dir)?;
        fs::rename(&new, &dir)?;
        file::sync_folder(assets)
    };
    laid_out().map_err(|error: io::Error| FileError::new(&dir, error))?;
    Ok(Some(dir))
}

/// Returns true if all files of a version exist with the right bytes.
fn is_whole(dir: &Path, version: &Version) -> bool {
    if !dir.is_dir() {
        return false;
    }
    let hurt = version
        .release
        .assets
        .iter()
        .find(|asset| !of_file(&dir.join(&asset.path)).is_ok_and(|found| found == asset.blob));
    if let Some(asset) = hurt {
        let path = dir.join(&asset.path);
        tracing::warn!("{} is damaged; the version's files are laid out again", path.display());
    }
    hurt.is_none()
}

/// Removes the static files of all versions but one. They can be laid out again. Blocks.
pub(super) fn forget(assets: &Path, but: u64) {
    let but = but.to_string();
    let entries = fs::read_dir(assets).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name() != but.as_str()) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "old files stay");
        }
    }
}
