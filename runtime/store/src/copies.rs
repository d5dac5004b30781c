//! A copy of stored data in a file: a snapshot, a backup, or one room. Owns its format.
//!
//! Invariant: read from its start to its end mark, a copy gives a state that every room in it really had, all
//! at the same offset, although rooms went on while it was made. It does not know who asks.
//!
//! A copy is a row of records, as the log is. Some hold pieces of the tree. The records between them are the
//! turns that were applied to the tree while the copy was made: they correct the pieces that were read before
//! them.
//!
//! ```text
//! copy = "roomcopy" · u32 version · frames · end mark: a frame without a body, at its offset + 1
//! ```

use crate::frame::{self, HEAD_BYTES, LogFrameHead};
use crate::{Offset, Record, StoreError, files};
use bytes::Buf;
use room_core::id::RoomId;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"roomcopy";
const VERSION: u32 = 2;
/// The version before records had versions, which is still read, because each record shows its own version.
const UNVERSIONED: u32 = 1;
const HEADER_BYTES: usize = 12;

/// A copy in progress.
pub(super) struct CopyWriter {
    path: PathBuf,
    file: BufWriter<File>,
    /// The room to copy; `None` for all rooms.
    only: Option<RoomId>,
    frame: Vec<u8>,
    bytes: u64,
    /// The first error of a write. It must not fail the applier, which passes on its records.
    failed: Option<StoreError>,
}

impl CopyWriter {
    /// Starts a copy in a new file.
    ///
    /// # Errors
    /// [`StoreError::Io`]: the file may exist, without useful content.
    pub(super) fn create(path: &Path, only: Option<RoomId>) -> Result<Self, StoreError> {
        let file = files::at(path, || {
            let mut file = BufWriter::new(File::create(path)?);
            file.write_all(MAGIC)?;
            file.write_all(&VERSION.to_be_bytes())?;
            Ok(file)
        })?;
        let (frame, bytes) = (Vec::new(), HEADER_BYTES as u64);
        Ok(Self { path: path.to_owned(), file, only, frame, bytes, failed: None })
    }

    /// Adds a record, if it concerns a room of the copy.
    pub(super) fn hear(&mut self, record: &Record) {
        if self.only.as_ref().is_some_and(|only| *only != record.room) {
            return;
        }
        self.frame.clear();
        frame::encode(record, Offset::default(), &mut self.frame);
        self.write();
    }

    fn write(&mut self) {
        if self.failed.is_none() {
            self.failed = files::at(&self.path, || self.file.write_all(&self.frame)).err();
            self.bytes += self.frame.len() as u64;
        }
    }

    /// Returns true if a write failed, so that this will not become a copy.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Ends the copy: everything up to this offset is in it, and it is on disk. Returns its size in bytes.
    ///
    /// # Errors
    /// [`StoreError::Io`]: the first error since the copy was started.
    pub(super) fn finish(mut self, end: Offset) -> Result<u64, StoreError> {
        self.frame.clear();
        frame::encode_mark(Offset(end.0 + 1), Offset::default(), &mut self.frame);
        self.write();
        if let Some(error) = self.failed {
            return Err(error);
        }
        files::at(&self.path, || {
            self.file.flush()?;
            self.file.get_ref().sync_all()
        })?;
        Ok(self.bytes)
    }
}

/// Reads the records of a copy in order, from its start to its end. Returns the offset at which it was made.
///
/// # Errors
/// [`StoreError::Corrupt`] if it is not a copy, is damaged, or ends too early; [`StoreError::Format`] for a
/// copy of an unknown version; any error that `each` returns.
pub(super) fn read(
    path: &Path,
    mut each: impl FnMut(Record) -> Result<(), StoreError>,
) -> Result<Offset, StoreError> {
    let mut file = files::at(path, || File::open(path))?;
    let length = files::at(path, || Ok(file.metadata()?.len()))?;
    check_header(path, &mut file)?;
    let (mut file, mut at) = (BufReader::new(file), HEADER_BYTES as u64);
    loop {
        let mut head = [0; HEAD_BYTES];
        whole(path, at, file.read_exact(&mut head))?;
        let head = LogFrameHead::decode(&head);
        let damaged = || damaged(path, at);
        if head.body_len() as u64 > length.saturating_sub(at) {
            return Err(damaged());
        }
        let mut body = vec![0; head.body_len()];
        whole(path, at, file.read_exact(&mut body))?;
        let frame = head.with(body.into()).ok_or_else(damaged)?;
        at += (HEAD_BYTES + frame.body.len()) as u64;
        if frame.is_mark() {
            return Ok(Offset(frame.offset.0 - 1));
        }
        each(frame.record()?)?;
    }
}

fn check_header(path: &Path, file: &mut File) -> Result<(), StoreError> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    files::at(path, || file.take(HEADER_BYTES as u64).read_to_end(&mut header))?;
    match header.strip_prefix(MAGIC) {
        Some(mut version) if version.len() == 4 => match version.get_u32() {
            VERSION | UNVERSIONED => Ok(()),
            found => Err(StoreError::Format {
                found: format!("copy {found}"),
                wanted: format!("copy {VERSION}"),
            }),
        },
        _ => Err(StoreError::Corrupt(format!("{} is not a copy of a store", path.display()))),
    }
}

fn whole<T>(path: &Path, at: u64, read: io::Result<T>) -> Result<T, StoreError> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(damaged(path, at)),
        read => files::at(path, || read),
    }
}

fn damaged(path: &Path, at: u64) -> StoreError {
    StoreError::Corrupt(format!("{} is damaged or cut short at byte {at}", path.display()))
}

/// Returns a copy's bytes in the form from before records had versions.
#[cfg(test)]
pub(super) fn unversioned(file: Vec<u8>) -> Vec<u8> {
    let frames = bytes::Bytes::from(file).split_off(HEADER_BYTES);
    let mut old = [&MAGIC[..], &UNVERSIONED.to_be_bytes()].concat();
    frame::unversioned(frames, &mut old);
    old
}
