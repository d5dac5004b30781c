//! Modules and static files by their hash. Owns that a stored blob is whole, and where blobs are: in a folder, which in a
//! cluster is a cache of those in the database.
//!
//! Invariant: the bytes of a blob have the hash in its name. A file with other bytes is moved aside to `HASH.damaged`,
//! so that the blob counts as missing and is uploaded again. The newest few damaged files are kept for inspection,
//! until their blob is uploaded. An interrupted upload leaves nothing. It does not know what the bytes are.

use super::file::{self, FileError};
use super::records::{KeepError, RecordHome};
use super::release::BlobId;
use futures_util::{Stream, StreamExt, stream};
use hashbrown::{HashMap, HashSet};
use room_core::clock::age;
use room_core::limits::fixed::{BLOB_UNUSED_MS_MAX, DAMAGED_BLOBS_MAX};
use room_core::limits::ms;
use room_core::lock::lock;
use room_store::blocking;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// The extension of a damaged blob.
const DAMAGED: &str = "damaged";

/// The blobs of a server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Blobs {
    dir: PathBuf,
    bytes_max: u64,
    /// The blobs that were found whole, with the length and the time of the file at that moment.
    whole: Arc<Mutex<HashMap<BlobId, (u64, Duration)>>>,
    /// In a cluster, the database with all blobs.
    home: Option<RecordHome>,
}

/// Why a blob was not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum BlobError {
    /// The bytes have another hash than announced.
    #[error(
        "the upload has the hash {found} instead of {wanted}: it was altered or truncated in transit"
    )]
    Other {
        /// The announced hash.
        wanted: BlobId,
        /// The hash of the received bytes.
        found: BlobId,
    },
    /// There are too many bytes.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// The sender broke off.
    #[error("it broke off: {0}")]
    BrokenOff(String),
    /// The disk failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The cluster's database failed.
    #[error(transparent)]
    Keep(#[from] KeepError),
}

impl Blobs {
    /// Opens the blobs of a folder, and creates the folder if it does not exist. Remains of interrupted uploads are
    /// removed.
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
        Ok(Self { dir: dir.to_owned(), bytes_max, whole: Arc::default(), home: None })
    }

    /// Makes the folder a cache of a cluster's blobs.
    pub(super) fn in_cluster(self, home: Option<RecordHome>) -> Self {
        Self { home, ..self }
    }

    /// Returns the path of a blob, whether it exists or not.
    pub(super) fn path(&self, id: BlobId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// Returns which of these blobs have not been uploaded. Blocks.
    ///
    /// # Errors
    /// [`KeepError`]: the cluster's database failed.
    pub(super) fn missing(&self, ids: HashSet<BlobId>) -> Result<Vec<BlobId>, KeepError> {
        let mut missing: Vec<BlobId> = match &self.home {
            None => ids.into_iter().filter(|id| !self.has(*id)).collect(),
            Some(home) => {
                let hashes: Vec<_> = ids.iter().map(BlobId::hash).collect();
                let missing = home.records().block_on(home.records().missing_blobs(&hashes))?;
                missing.into_iter().map(BlobId::of_bytes).collect()
            }
        };
        missing.sort();
        Ok(missing)
    }

    /// Returns true if the blob is in the folder.
    fn has(&self, id: BlobId) -> bool {
        self.path(id).is_file()
    }

    /// Fetches the blobs that are missing or damaged in the folder from the cluster's database. Without a cluster this does
    /// nothing.
    ///
    /// # Errors
    /// [`BlobError`]: some may be in the folder.
    ///
    /// # Cancel safety
    /// If dropped before it returns, some are in the folder.
    pub(super) async fn fetch(&self, ids: HashSet<BlobId>) -> Result<(), BlobError> {
        let Some(home) = &self.home else { return Ok(()) };
        for id in ids {
            // A damaged file is moved aside by the check.
            if self.has(id) && blocking(|| self.check(id)).is_ok() {
                continue;
            }
            let pieces = stream::unfold(0, async |piece| {
                let read = home.records().blob_piece(&id.hash(), piece).await.transpose()?;
                Some((read, piece + 1))
            });
            self.put_here(id, Box::pin(pieces)).await?;
        }
        Ok(())
    }

    /// Returns the bytes of a blob.
    ///
    /// # Errors
    /// [`FileError`]: the blob is not stored, or its bytes have another hash.
    pub(super) fn read(&self, id: BlobId) -> Result<Vec<u8>, FileError> {
        let bytes = std::fs::read(self.path(id)).map_err(|error| self.unreadable(id, error))?;
        self.must_be(id, BlobId::of(&bytes))?;
        Ok(bytes)
    }

    /// Checks that a blob is whole, and returns its length. The file is read the first time, and again when its length
    /// or its time has changed. Blocks.
    ///
    /// # Errors
    /// As [`Blobs::read`].
    pub(super) fn check(&self, id: BlobId) -> Result<u64, FileError> {
        let path = self.path(id);
        let unreadable = |error| self.unreadable(id, error);
        // Taken before the file is read: a write during the read changes the time, so the next check sees it.
        let state = file::state(&path).map_err(unreadable)?;
        if self.whole().get(&id) != Some(&state) {
            self.must_be(id, of_file(&path).map_err(unreadable)?)?;
            self.whole().insert(id, state);
        }
        Ok(state.0)
    }

    fn whole(&self) -> MutexGuard<'_, HashMap<BlobId, (u64, Duration)>> {
        lock(&self.whole)
    }

    fn unreadable(&self, id: BlobId, error: io::Error) -> FileError {
        match error.kind() {
            io::ErrorKind::NotFound => {
                let text = "it is missing; `room deploy` uploads it again";
                FileError::damaged(&self.path(id), text)
            }
            _ => FileError::new(&self.path(id), error),
        }
    }

    /// Moves a blob aside if its bytes have another hash than its name.
    fn must_be(&self, id: BlobId, found: BlobId) -> Result<(), FileError> {
        if found == id {
            return Ok(());
        }
        let path = self.path(id);
        let aside = self.aside(id);
        let moved = std::fs::rename(&path, &aside);
        self.thin_out(&aside);
        let error = match moved {
            Ok(()) => FileError::damaged(
                &path,
                &format!(
                    "its bytes are not those of its name: the file is damaged, and was moved to {}; \
                     `room deploy` uploads it again",
                    aside.display()
                ),
            ),
            Err(error) => FileError::damaged(
                &path,
                &format!("the file is damaged, and cannot be moved aside ({error}); remove it"),
            ),
        };
        tracing::error!(%error, "a module or a static file is damaged");
        Err(error)
    }

    /// Returns the path to which a damaged blob is moved.
    fn aside(&self, id: BlobId) -> PathBuf {
        self.dir.join(format!("{id}.{DAMAGED}"))
    }

    /// Removes the oldest of the damaged blobs, but never this one.
    fn thin_out(&self, newest: &Path) {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path()).filter(|path| path != newest);
        let damaged = paths.filter(|path| path.extension().is_some_and(|end| end == DAMAGED));
        let mut by_age: Vec<_> = damaged
            .map(|path| (path.metadata().and_then(|facts| facts.modified()).ok(), path))
            .collect();
        by_age.sort();
        let excess = (by_age.len() + 1).saturating_sub(DAMAGED_BLOBS_MAX);
        for (_, path) in by_age.into_iter().take(excess) {
            // A file that cannot be removed now is removed the next time.
            drop(std::fs::remove_file(path));
        }
    }

    /// Stores bytes as they arrive, and returns their number. In a cluster they are in the database, too, when it returns.
    ///
    /// # Errors
    /// [`BlobError`]; nothing is stored, except in the folder if the database failed.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the same holds.
    pub(super) async fn put<B: AsRef<[u8]>, E: std::fmt::Display>(
        &self,
        id: BlobId,
        bytes: impl Stream<Item = Result<B, E>> + Unpin,
    ) -> Result<u64, BlobError> {
        let length = self.put_here(id, bytes).await?;
        if let Some(home) = &self.home {
            let path = self.path(id);
            let file = File::open(&path).await.map_err(|error| FileError::new(&path, error))?;
            home.records().put_blob(&id.hash(), file).await.map_err(KeepError::from)?;
        }
        Ok(length)
    }

    /// Stores bytes in the folder as they arrive, and returns their number.
    async fn put_here<B: AsRef<[u8]>, E: std::fmt::Display>(
        &self,
        id: BlobId,
        mut bytes: impl Stream<Item = Result<B, E>> + Unpin,
    ) -> Result<u64, BlobError> {
        let part = PartialBlob(self.dir.join(format!("{}.part", uuid::Uuid::new_v4().simple())));
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
        // There seldom is a damaged copy, and it is useless now.
        drop(tokio::fs::remove_file(self.aside(id)).await);
        blocking(|| file::sync_folder(&self.dir)).map_err(failed)?;
        Ok(length)
    }

    /// Removes the blobs that no project needs, except recent uploads: a deployment uploads its blobs first, and names
    /// them at its end.
    pub(super) fn collect(&self, needed: &HashSet<BlobId>) -> io::Result<()> {
        if let Some(home) = &self.home {
            let hashes: Vec<_> = needed.iter().map(BlobId::hash).collect();
            let records = home.records();
            let collecting = records.collect_blobs(&hashes, BLOB_UNUSED_MS_MAX);
            records.block_on(collecting).map_err(io::Error::other)?;
        }
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let id = entry.file_name().to_str().and_then(|name| name.parse::<BlobId>().ok());
            let Some(id) = id else { continue };
            if !needed.contains(&id) && age(&entry.metadata()?) > ms(BLOB_UNUSED_MS_MAX) {
                std::fs::remove_file(entry.path())?;
                self.whole().remove(&id);
            }
        }
        Ok(())
    }
}

/// Returns the name of a file's bytes.
pub(super) fn of_file(path: &Path) -> io::Result<BlobId> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path)?)?;
    Ok(BlobId::of_hash(hasher.finalize()))
}

/// An incomplete file. Dropping this removes the file, unless it was renamed.
struct PartialBlob(PathBuf);

impl Drop for PartialBlob {
    fn drop(&mut self) {
        // The file was renamed, or never created, or the next start removes it.
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
    async fn only_complete_blobs_are_kept() {
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
    async fn a_damaged_blob_is_moved_aside_and_accepted_again() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path(), 10).unwrap();
        let id = BlobId::of(b"whole");
        blobs.put(id, pieces(&[b"whole"])).await.unwrap();
        for damage in [&b"whola"[..], b"who", b""] {
            let read = |blobs: &Blobs, id| blobs.read(id).map(drop);
            let check = |blobs: &Blobs, id| blobs.check(id).map(drop);
            for look in [read, check] {
                std::fs::write(blobs.path(id), damage).unwrap();
                let error = look(&blobs, id).unwrap_err().to_string();
                assert!(error.contains(&id.to_string()) && error.contains("damaged"), "{error}");
                assert!(!blobs.has(id));
                let error = look(&blobs, id).unwrap_err().to_string();
                assert!(error.contains("is missing"), "{error}");
                assert!(blobs.aside(id).is_file());
                blobs.put(id, pieces(&[b"whole"])).await.unwrap();
                look(&blobs, id).unwrap();
                assert_eq!(files(dir.path()), 1, "the damaged one is gone");
            }
        }
    }

    #[test]
    fn a_blob_is_read_again_only_when_its_file_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path(), 10).unwrap();
        let id = BlobId::of(b"whole");
        let put = |bytes: &str, seconds: u64| {
            std::fs::write(blobs.path(id), bytes).unwrap();
            let file = std::fs::File::options().write(true).open(blobs.path(id)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        };
        put("whole", 1);
        assert_eq!(blobs.check(id).unwrap(), 5);
        put("whola", 1);
        assert_eq!(blobs.check(id).unwrap(), 5, "it is not read");
        put("whola", 2);
        assert!(blobs.check(id).is_err());
        put("who", 1);
        assert!(blobs.clone().check(id).is_err());
        put("whola", 1);
        assert!(Blobs::open(dir.path(), 10).unwrap().check(id).is_err(), "a start reads it");
    }

    #[test]
    fn only_the_newest_damaged_blobs_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path(), 10).unwrap();
        let ids: Vec<_> = (0..20_u8).map(|number| BlobId::of(&[number])).collect();
        for (id, second) in ids.iter().zip(1..) {
            std::fs::write(blobs.path(*id), "damaged").unwrap();
            let file = std::fs::File::options().write(true).open(blobs.path(*id)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(second))
                .unwrap();
            assert!(blobs.check(*id).is_err());
            assert!(blobs.aside(*id).is_file());
        }
        let kept: Vec<_> = ids.iter().filter(|id| blobs.aside(**id).is_file()).collect();
        assert_eq!(kept, ids[20 - DAMAGED_BLOBS_MAX..].iter().collect::<Vec<_>>());
        assert_eq!(files(dir.path()), DAMAGED_BLOBS_MAX);
    }

    #[tokio::test]
    async fn interrupted_uploads_are_removed_at_the_next_start_and_new_blobs_stay() {
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
