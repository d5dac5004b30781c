//! Bytes on disk. Owns the workarounds for sled; the only file that names it.
//!
//! Invariant: no value of more than a few KiB reaches sled, and a sync ends with an fsync of our own. A panic
//! of sled's is an error here. It does not know rooms.
//!
//! sled 0.34 loses acknowledged writes at a power cut when used as it comes: its `flush` is a
//! `sync_file_range`, and it does not sync at all the values that it moves to blob files. After a crash it
//! may refuse to open, or panic. So nothing is durable by being here: the log has every turn, large values
//! are cut into pieces, sled's own flusher is off, and after each flush this file calls fsync on the file
//! that sled wrote.
//!
//! ```text
//! 'v' key              : 0 value                      a value in one piece
//! 'v' key              : 1 length, pieces             a value in pieces
//! 'p' len key, number  : piece
//! ```

use crate::backend::{Keys, StoreError, Tree};
use crate::files;
use bytes::Bytes;
use hashbrown::HashSet;
use room_core::limits::{Limits, size};
use room_core::span::{Direction, Entries, Key, Overlay, Span};
use std::fs::File;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

const VALUE: u8 = b'v';
const PIECE: u8 = b'p';
const WHOLE: u8 = 0;
const CUT: u8 = 1;
/// Memory that sled may use for its pages.
const CACHE_BYTES: u64 = 128 * 1024 * 1024;

/// The number of times a folder that seems in use is tried, and the pause between two tries: half a second in all.
const LOCK_TRIES: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A sled tree with values cut into pieces.
pub(super) struct Sled {
    values: Values,
    /// The file of sled's log, which this file syncs.
    log: File,
    chunk_bytes: usize,
}

/// The values behind sled's entries. Clones are the same.
#[derive(Clone)]
struct Values(sled::Db);

impl Sled {
    /// Opens the tree in this folder, and makes it if it does not exist.
    ///
    /// # Errors
    /// [`StoreError`]: sled cannot read what is there, or another process has it open.
    pub(super) fn open(dir: &Path, limits: &Limits) -> Result<Self, StoreError> {
        files::at(dir, || std::fs::create_dir_all(dir))?;
        let values = Values(caught(|| open_tree(dir))?);
        let log = files::at(dir, || File::open(dir.join("db")))?;
        Ok(Self { values, log, chunk_bytes: size(limits.chunk_bytes) })
    }

    /// Returns the number of pieces of the value that is stored now.
    fn pieces(&self, key: &[u8]) -> Result<u32, StoreError> {
        match self.values.stored(key)?.as_deref().and_then(<[u8]>::split_first) {
            Some((&CUT, header)) => Ok(decode_header(header)?.1),
            _ => Ok(0),
        }
    }

    fn add(
        &self,
        batch: &mut sled::Batch,
        key: &[u8],
        value: Option<&Bytes>,
    ) -> Result<(), StoreError> {
        let had = self.pieces(key)?;
        let mut has = 0;
        match value {
            None => batch.remove(value_key(key)),
            Some(value) if value.len() <= self.chunk_bytes => {
                batch.insert(value_key(key), [&[WHOLE], value.as_ref()].concat());
            }
            Some(value) => {
                for piece in value.chunks(self.chunk_bytes) {
                    batch.insert(piece_key(key, has), piece);
                    has += 1;
                }
                batch.insert(value_key(key), encode_header(value.len(), has));
            }
        }
        (has..had).for_each(|number| batch.remove(piece_key(key, number)));
        Ok(())
    }
}

impl Tree for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        caught(|| {
            let stored = self.values.stored(key)?;
            stored.map(|stored| self.values.decode(key, &stored)).transpose()
        })
    }

    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, StoreError> {
        caught(|| match self.values.stored(key)?.as_deref().and_then(<[u8]>::split_first) {
            Some((&CUT, header)) => Ok(Some(decode_header(header)?.0)),
            Some((&WHOLE, value)) => Ok(Some(value.len())),
            Some((kind, _)) => {
                Err(StoreError::Corrupt(format!("no stored value starts with the byte {kind}")))
            }
            None => Ok(None),
        })
    }

    fn keys(&self, span: &Span) -> Keys {
        Box::new(self.values.range(span).map(|entry| Ok(entry?.0)))
    }

    fn scan(&self, span: &Span, shadow: HashSet<Key>) -> Entries<'static, StoreError> {
        let visible = self.values.range(span).filter(move |entry| match entry {
            Ok((key, _)) => !shadow.contains(key),
            Err(_) => true,
        });
        let values = self.values.clone();
        Box::new(visible.map(move |entry| {
            let (key, stored) = entry?;
            let value = caught(|| values.decode(&key, &stored))?;
            Ok((key, value))
        }))
    }

    fn apply(&self, batch: &Overlay) -> Result<(), StoreError> {
        caught(|| {
            let mut merged = sled::Batch::default();
            for (key, value) in batch {
                self.add(&mut merged, key, value.as_ref())?;
            }
            self.values.0.apply_batch(merged).map_err(error)
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        caught(|| self.values.0.flush().map_err(error))?;
        self.log.sync_data().map_err(|error| StoreError::Io(error.to_string()))
    }
}

impl Values {
    /// Returns the bytes under a key.
    fn stored(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        self.0.get(value_key(key)).map_err(error)
    }

    /// Decodes the value from the bytes under its key.
    fn decode(&self, key: &[u8], stored: &sled::IVec) -> Result<Bytes, StoreError> {
        match stored.split_first() {
            Some((&WHOLE, value)) => Ok(Bytes::copy_from_slice(value)),
            Some((&CUT, header)) => self.join(key, header),
            _ => Err(StoreError::Corrupt(format!("invalid value: {stored:02x?}"))),
        }
    }

    fn join(&self, key: &[u8], header: &[u8]) -> Result<Bytes, StoreError> {
        let (length, pieces) = decode_header(header)?;
        let mut value = Vec::new();
        for number in 0..pieces {
            let piece = self.0.get(piece_key(key, number)).map_err(error)?;
            let piece =
                piece.ok_or_else(|| StoreError::Corrupt("a piece is missing".to_owned()))?;
            value.extend_from_slice(&piece);
        }
        if value.len() != length {
            return Err(StoreError::Corrupt("the pieces of a value do not add up".to_owned()));
        }
        Ok(value.into())
    }

    /// Returns the keys of a span with the bytes under them.
    fn range(
        &self,
        span: &Span,
    ) -> Box<dyn Iterator<Item = Result<(Key, sled::IVec), StoreError>>> {
        if span.is_empty() {
            return Box::new(std::iter::empty());
        }
        let start = match &span.start {
            Bound::Unbounded => Bound::Included(vec![VALUE]),
            bound => bound.as_ref().map(|key| value_key(key)),
        };
        let end = match &span.end {
            Bound::Unbounded => Bound::Excluded(vec![VALUE + 1]),
            bound => bound.as_ref().map(|key| value_key(key)),
        };
        let (mut range, direction) = (self.0.range::<Key, _>((start, end)), span.direction);
        let mut next = move || match direction {
            Direction::Forward => range.next(),
            Direction::Reverse => range.next_back(),
        };
        // The iterator ends with its first error, so that a caller that continues cannot be caught in a loop.
        let mut failed = false;
        Box::new(std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let entry = caught(|| next().transpose().map_err(error)).transpose()?;
            failed = entry.is_err();
            Some(entry.map(|(key, stored)| (key[1..].to_vec(), stored)))
        }))
    }
}

/// Turns a panic into an error: sled has been seen to panic over files that a crash left.
fn caught<T>(act: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    std::panic::catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|_| Err(StoreError::Corrupt("sled panicked".to_owned())))
}

fn value_key(key: &[u8]) -> Key {
    [&[VALUE], key].concat()
}

fn piece_key(key: &[u8], number: u32) -> Key {
    // The limits on keys keep them far below this.
    let len = u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[PIECE], &len[..], key, &number.to_be_bytes()].concat()
}

fn encode_header(length: usize, pieces: u32) -> Vec<u8> {
    [&[CUT], &(length as u64).to_be_bytes()[..], &pieces.to_be_bytes()].concat()
}

fn decode_header(header: &[u8]) -> Result<(usize, u32), StoreError> {
    let damaged =
        || StoreError::Corrupt(format!("invalid header of a value in pieces: {header:02x?}"));
    let (length, pieces) = header.split_first_chunk::<8>().ok_or_else(damaged)?;
    let pieces = pieces.try_into().map_err(|_| damaged())?;
    Ok((size(u64::from_be_bytes(*length)), u32::from_be_bytes(pieces)))
}

fn error(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { at, .. } => StoreError::Corrupt(format!("at {at:?}")),
        other => StoreError::Io(other.to_string()),
    }
}

/// Opens sled's tree. sled's own threads give a folder up a moment after it was closed, so a folder that
/// seems in use is retried for a while.
fn open_tree(dir: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(dir).flush_every_ms(None).cache_capacity(CACHE_BYTES);
    for _ in 0..LOCK_TRIES {
        match config.open().map_err(|error| open_error(dir, &error)) {
            Err(StoreError::InUse(_)) => std::thread::sleep(LOCK_PAUSE),
            opened => return opened,
        }
    }
    Err(StoreError::InUse(dir.display().to_string()))
}

/// Converts sled's error. sled reports a locked folder by an error whose text names the lock.
fn open_error(dir: &Path, error: &sled::Error) -> StoreError {
    match error {
        sled::Error::Io(io) if io.to_string().contains("could not acquire lock") => {
            StoreError::InUse(dir.display().to_string())
        }
        other => StoreError::Io(format!("{}: {other}", dir.display())),
    }
}
