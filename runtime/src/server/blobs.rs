//! Modules and static files by their hash. Owns that a blob that is there is whole.
//!
//! Invariant: a file under a hash has the bytes of that hash; what was interrupted left nothing under it.
//! It does not know what the bytes are.

use super::file::{self, FileError};
use super::release::BlobId;
use crate::clock::age;
use futures_util::{Stream, StreamExt};
use hashbrown::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// How long a blob may lie unused: a deployment uploads first, and names what it needs at its end.
const UNUSED_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The blobs of a server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Blobs {
    dir: PathBuf,
    bytes_max: u64,
}

/// Why a blob was not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum BlobError {
    /// The bytes are others than were announced.
    #[error("what arrived is {found} and not {wanted}: it was changed or cut off on its way")]
    Other {
        /// What was announced.
        wanted: BlobId,
        /// What came.
        found: BlobId,
    },
    /// There are too many bytes.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// The sender broke off.
    #[error("it broke off: {0}")]
    BrokenOff(String),
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Blobs {
    /// The blobs of a folder, which is made if it is not there. What was interrupted before is removed.
    ///
    /// # Errors
    /// [`FileError`].
    pub(super) fn open(dir: &Path, bytes_max: u64) -> Result<Self, FileError> {
        let opened = || {
            std::fs::create_dir_all(dir)?;
            for entry in std::fs::read_dir(dir)? {
                let path = entry?.path();
                if path.extension().is_some_and(|end| end == "part") {
                    std::fs::remove_file(path)?;
                }
            }
            Ok(())
        };
        opened().map_err(|error| FileError::new(dir, error))?;
        Ok(Self { dir: dir.to_owned(), bytes_max })
    }

    /// Where a blob lies if it is there.
    pub(super) fn path(&self, id: BlobId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// True if it is there.
    pub(super) fn has(&self, id: BlobId) -> bool {
        self.path(id).is_file()
    }

    /// What is in a blob.
    ///
    /// # Errors
    /// [`FileError`], also if it is not there.
    pub(super) fn read(&self, id: BlobId) -> Result<Vec<u8>, FileError> {
        let path = self.path(id);
        std::fs::read(&path).map_err(|error| FileError::new(&path, error))
    }

    /// Keeps bytes as they come. How many there were.
    ///
    /// # Errors
    /// [`BlobError`]; nothing is kept.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing is kept.
    pub(super) async fn put<B: AsRef<[u8]>, E: std::fmt::Display>(
        &self,
        id: BlobId,
        mut bytes: impl Stream<Item = Result<B, E>> + Unpin,
    ) -> Result<u64, BlobError> {
        let part = Part(self.dir.join(format!("{}.part", uuid::Uuid::new_v4().simple())));
        let failed = |error: io::Error| BlobError::from(FileError::new(&part.0, error));
        let mut file = File::create_new(&part.0).await.map_err(failed)?;
        let (mut hasher, mut length) = (blake3::Hasher::new(), 0);
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(|error| BlobError::BrokenOff(error.to_string()))?;
            let piece = piece.as_ref();
            length += piece.len() as u64;
            if length > self.bytes_max {
                return Err(BlobError::TooLarge(self.bytes_max));
            }
            hasher.update(piece);
            file.write_all(piece).await.map_err(failed)?;
        }
        let found = BlobId::of_hash(hasher.finalize());
        if found != id {
            return Err(BlobError::Other { wanted: id, found });
        }
        file.sync_all().await.map_err(failed)?;
        tokio::fs::rename(&part.0, self.path(id)).await.map_err(failed)?;
        file::sync_folder(&self.dir).map_err(failed)?;
        Ok(length)
    }

    /// Removes what nobody needs and nobody has just uploaded.
    pub(super) fn collect(&self, needed: &HashSet<BlobId>) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let id = entry.file_name().to_str().and_then(|name| name.parse::<BlobId>().ok());
            let Some(id) = id else { continue };
            if !needed.contains(&id) && age(&entry.metadata()?) > UNUSED_MAX {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// A file that is not whole yet. It is gone with this, unless it got its name.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // It has its name, or was never made, or goes at the next start.
        drop(std::fs::remove_file(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn pieces(
        of: &[&'static [u8]],
    ) -> stream::Iter<std::vec::IntoIter<Result<&'static [u8], String>>> {
        stream::iter(of.iter().map(|piece| Ok(*piece)).collect::<Vec<_>>())
    }

    fn files(dir: &Path) -> usize {
        std::fs::read_dir(dir).unwrap().count()
    }

    #[tokio::test]
    async fn only_what_arrived_whole_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path(), 10).unwrap();
        let id = BlobId::of(b"whole");
        let cut = blobs.put(id, pieces(&[b"who"])).await;
        assert!(matches!(cut, Err(BlobError::Other { wanted, .. }) if wanted == id));
        let broken = stream::iter([Ok(&b"who"[..]), Err("gone".to_owned())]);
        assert!(matches!(blobs.put(id, broken).await, Err(BlobError::BrokenOff(_))));
        let large = blobs.put(id, pieces(&[b"12345678", b"9ab"])).await;
        assert!(matches!(large, Err(BlobError::TooLarge(10))));
        assert_eq!((blobs.has(id), files(dir.path())), (false, 0));
        assert_eq!(blobs.put(id, pieces(&[b"who", b"le"])).await.unwrap(), 5);
        assert_eq!(blobs.put(id, pieces(&[b"whole"])).await.unwrap(), 5);
        assert_eq!((blobs.read(id).unwrap(), files(dir.path())), (b"whole".to_vec(), 1));
    }

    #[tokio::test]
    async fn what_was_interrupted_goes_at_the_next_start_and_what_is_new_stays() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.part"), "left").unwrap();
        let blobs = Blobs::open(dir.path(), 10).unwrap();
        assert_eq!(files(dir.path()), 0);
        let (old, new) = (BlobId::of(b"old"), BlobId::of(b"new"));
        blobs.put(old, pieces(&[b"old"])).await.unwrap();
        blobs.put(new, pieces(&[b"new"])).await.unwrap();
        let file = std::fs::File::options().write(true).open(blobs.path(old)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        blobs.collect(&HashSet::from([old])).unwrap();
        assert!(blobs.has(old) && blobs.has(new));
        blobs.collect(&HashSet::new()).unwrap();
        assert!(!blobs.has(old) && blobs.has(new));
    }
}
