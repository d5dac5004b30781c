//! Bytes on disk. The only file that names sled; owns what must be done around it.
//!
//! Invariant: no value of more than a few KiB reaches sled, and a sync ends with an fsync of our own.
//! It does not know rooms.
//!
//! sled 0.34 loses acknowledged writes at a power cut when used as it comes: its `flush` is a
//! `sync_file_range`, and values that it moves to blob files are not synced at all. So large values
//! are cut into pieces here, its own flusher is off, and each flush is followed by an fsync of the
//! file that it wrote.
//!
//! ```text
//! 'v' key              → 0 value                      a value in one piece
//! 'v' key              → 1 length, pieces             a value in pieces
//! 'p' len key, number  → piece
//! ```

use super::backend::{Backend, Keys, StoreError};
use super::keys;
use crate::limits::{Limits, size};
use crate::span::{Direction, Entries, Key, Overlay, Span};
use bytes::Bytes;
use hashbrown::HashSet;
use std::fs::File;
use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

const VALUE: u8 = b'v';
const PIECE: u8 = b'p';
const WHOLE: u8 = 0;
const CUT: u8 = 1;
/// Memory that sled may use for its pages.
const CACHE_BYTES: u64 = 128 * 1024 * 1024;

/// How often a folder that seems in use is asked for, and the pause between: half a second in all.
const LOCK_TRIES: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A sled tree with values cut into pieces.
pub(super) struct Sled {
    tree: sled::Db,
    /// The file that sled's log lies in, to be synced by us.
    log: File,
    chunk_bytes: usize,
}

impl Sled {
    pub(super) fn open(dir: &Path, limits: &Limits) -> Result<Self, StoreError> {
        let in_dir = |error: std::io::Error| StoreError::Io(format!("{}: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(in_dir)?;
        let tree = open_tree(dir)?;
        let log = File::open(dir.join("db")).map_err(in_dir)?;
        let this = Self { tree, log, chunk_bytes: size(limits.chunk_bytes) };
        this.check_format()?;
        Ok(this)
    }

    /// A new folder gets the format's name; one that has data must have it.
    fn check_format(&self) -> Result<(), StoreError> {
        let found = match self.get(&keys::format())? {
            Some(name) => String::from_utf8_lossy(&name).into_owned(),
            None if self.tree.is_empty() => {
                let name = Bytes::from_static(keys::FORMAT.as_bytes());
                self.apply(&Overlay::from([(keys::format(), Some(name))]))?;
                return self.sync();
            }
            None => "none".to_owned(),
        };
        if found == keys::FORMAT {
            return Ok(());
        }
        Err(StoreError::Format { found, wanted: keys::FORMAT })
    }

    /// The value behind what lies under its key.
    fn decode(&self, key: &[u8], stored: &sled::IVec) -> Result<Bytes, StoreError> {
        match stored.split_first() {
            Some((&WHOLE, value)) => Ok(Bytes::copy_from_slice(value)),
            Some((&CUT, header)) => self.join(key, header),
            _ => Err(StoreError::Corrupt(format!("no value: {stored:02x?}"))),
        }
    }

    fn join(&self, key: &[u8], header: &[u8]) -> Result<Bytes, StoreError> {
        let (length, pieces) = decode_header(header)?;
        let mut value = Vec::with_capacity(length);
        for number in 0..pieces {
            let piece = self.tree.get(piece_key(key, number)).map_err(error)?;
            let piece =
                piece.ok_or_else(|| StoreError::Corrupt("a piece is missing".to_owned()))?;
            value.extend_from_slice(&piece);
        }
        if value.len() != length {
            return Err(StoreError::Corrupt("the pieces of a value do not add up".to_owned()));
        }
        Ok(value.into())
    }

    /// The keys of a span with what lies under them.
    fn stored(
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
        let read = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, stored) = entry.map_err(error)?;
            Ok((key[1..].to_vec(), stored))
        };
        let range = self.tree.range::<Key, _>((start, end));
        match span.direction {
            Direction::Forward => Box::new(range.map(read)),
            Direction::Reverse => Box::new(range.rev().map(read)),
        }
    }

    /// How many pieces the value has that is stored now.
    fn pieces(&self, key: &[u8]) -> Result<u32, StoreError> {
        let stored = self.tree.get(value_key(key)).map_err(error)?;
        match stored.as_deref().and_then(<[u8]>::split_first) {
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

impl Backend for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let stored = self.tree.get(value_key(key)).map_err(error)?;
        stored.map(|stored| self.decode(key, &stored)).transpose()
    }

    fn keys<'a>(&'a self, span: &Span) -> Keys<'a> {
        Box::new(self.stored(span).map(|entry| Ok(entry?.0)))
    }

    fn scan<'a>(&'a self, span: &Span, shadow: HashSet<Key>) -> Entries<'a, StoreError> {
        let visible = self.stored(span).filter(move |entry| match entry {
            Ok((key, _)) => !shadow.contains(key),
            Err(_) => true,
        });
        Box::new(visible.map(|entry| {
            let (key, stored) = entry?;
            let value = self.decode(&key, &stored)?;
            Ok((key, value))
        }))
    }

    fn apply(&self, batch: &Overlay) -> Result<(), StoreError> {
        let mut merged = sled::Batch::default();
        for (key, value) in batch {
            self.add(&mut merged, key, value.as_ref())?;
        }
        self.tree.apply_batch(merged).map_err(error)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.tree.flush().map_err(error)?;
        self.log.sync_data().map_err(|error| StoreError::Io(error.to_string()))
    }

    /// sled shows what it was given, durable or not: only opening it anew shows what the disk has.
    fn forget_unsynced(&self) -> Result<(), StoreError> {
        Err(StoreError::Io(
            "a write failed; restart the server to go on with what the disk has".to_owned(),
        ))
    }
}

fn value_key(key: &[u8]) -> Key {
    [&[VALUE], key].concat()
}

fn piece_key(key: &[u8], number: u32) -> Key {
    // Keys are bounded far below this by their limits.
    let len = u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[PIECE], &len[..], key, &number.to_be_bytes()].concat()
}

fn encode_header(length: usize, pieces: u32) -> Vec<u8> {
    [&[CUT], &(length as u64).to_be_bytes()[..], &pieces.to_be_bytes()].concat()
}

fn decode_header(header: &[u8]) -> Result<(usize, u32), StoreError> {
    let damaged = || StoreError::Corrupt(format!("no header of pieces: {header:02x?}"));
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

/// Opens sled's tree. sled gives a folder up a moment after it was closed, by threads of its own: one that
/// seems in use is asked for again for a while.
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

/// sled says that a folder is locked by an error whose text names the lock.
fn open_error(dir: &Path, error: &sled::Error) -> StoreError {
    match error {
        sled::Error::Io(io) if io.to_string().contains("could not acquire lock") => {
            StoreError::InUse(dir.display().to_string())
        }
        other => StoreError::Io(format!("{}: {other}", dir.display())),
    }
}
