//! A folder for data on a real disk. Owns it, and the proof that it is one.
//!
//! Invariant: the folder lies beside the program, on a file system that keeps its data, and is removed afterwards. It
//! does not know who writes there.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;
use tokio::time::{Duration, Instant};

/// File systems that lie in memory, where a flush costs nothing.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];
/// How long the disk alone is measured.
const PROBED: Duration = Duration::from_secs(1);

/// Returns an empty folder on the disk of this program.
///
/// # Errors
/// The program lies in memory, or the folder cannot be written to.
pub(crate) fn folder() -> Result<TempDir> {
    let exe = std::env::current_exe()?;
    let beside = exe.parent().context("a program lies in a folder")?;
    let (kind, device) = file_system(beside)?;
    if IN_MEMORY.contains(&kind.as_str()) {
        bail!("{device} lies in memory ({kind}): build to a folder on a disk");
    }
    tempfile::Builder::new()
        .prefix("bench-data-")
        .tempdir_in(beside)
        .context("cannot make a folder for the data")
}

/// Returns a sentence with the kind of the disk and how often a second it makes 4 KiB durable.
pub(crate) fn describe() -> Result<String> {
    let folder = folder()?;
    let (kind, device) = file_system(folder.path())?;
    let mut file = File::create(folder.path().join("probe"))?;
    let (start, mut count) = (Instant::now(), 0_u64);
    while start.elapsed() < PROBED {
        file.write_all(&[7; 4 * 1024])?;
        file.sync_data()?;
        count += 1;
    }
    let a_second = count / PROBED.as_secs();
    Ok(format!("{kind} on {device}, which makes 4 KiB durable {a_second} times a second"))
}

/// Returns the type and the device of a path's file system.
fn file_system(path: &Path) -> Result<(String, String)> {
    let path = path.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    let found = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, below, kind) = (words.next()?, words.next()?, words.next()?);
        path.starts_with(below).then(|| (below.len(), kind.to_owned(), device.to_owned()))
    });
    // Of two mounts on one folder the later one hides the earlier, and `max_by_key` takes the last.
    let (_, kind, device) =
        found.max_by_key(|(length, ..)| *length).context("no mount is known")?;
    Ok((kind, device))
}
