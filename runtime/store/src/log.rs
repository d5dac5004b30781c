//! The commit log: every turn that changed something, in order, in files. Owns the meaning of durable.
//!
//! Invariant: a synced record is read back at every later opening, until the keeper cuts it away on purpose.
//! A record whose sync failed is void as soon as anything is written after it. It does not know what becomes
//! of the records.
//!
//! The log is a row of segments. Each names the offset after which it continues, so the records after that
//! offset in the segment before are void: torn by a crash, or written by a sync that failed. Each also names
//! its store, so that a segment of another store is not mistaken for its own. A segment's file has its full
//! length from the start and holds zeros where nothing was written, because a sync is cheaper where the
//! length does not change (114 µs instead of 160 µs on the machine of the measurements). The folder notes
//! number and length of the newest segment before anything is written to it, so that a check notices one that
//! was cut or removed.
//!
//! ```text
//! segment = "roomlog\n" · u32 version · u64 after · u128 store · u32 CRC-32 of these · frames · zeros
//! ```
//!
//! Versions 1 and 2 are still read: their records have no versions, and version 1 has no `store`. When no
//! commit waits any more, the log writes a mark: a frame without a body that says up to where all is durable.

use crate::backend::{Appended, Journal};
use crate::folder::StoreFolder;
use crate::frame::{self, HEAD_BYTES, LogFrame};
use crate::{Offset, Record, StoreError, files};
use bytes::{Buf, BufMut, Bytes};
use room_core::limits::{Limits, size};
use room_core::metrics::StoreMetrics;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: &[u8; 8] = b"roomlog\n";
const VERSION: u32 = 3;
const HEADER_BYTES: usize = 40;
/// The version before stores had names.
const NAMELESS: u32 = 1;
const NAMELESS_HEADER_BYTES: usize = 24;
const SUFFIX: &str = "log";

/// The end of the log, which is written to.
pub(super) struct Log {
    folder: Arc<StoreFolder>,
    /// `None` before the first write, and after one that failed: nothing may follow what that left in the file.
    segment: Option<LogSegment>,
    /// The segment before, until there is a newer one: it keeps its full length, because the folder expects
    /// that of the newest segment that it noted.
    ended: Option<LogSegment>,
    next_number: u64,
    durable: Offset,
    segment_bytes: u64,
    /// The encoded records of a group. The next group uses its space again.
    buffer: Vec<u8>,
    written: Arc<AtomicU64>,
    metrics: Arc<StoreMetrics>,
}

struct LogSegment {
    path: PathBuf,
    file: File,
    end: u64,
}

impl Log {
    /// Continues the log of this folder after `after`, in a new segment, which the first write begins.
    /// `written` counts the bytes of records, those of earlier segments included.
    ///
    /// # Errors
    /// [`StoreError::Io`]: the log is unchanged.
    pub(super) fn go_on(
        folder: Arc<StoreFolder>,
        after: Offset,
        written: Arc<AtomicU64>,
        limits: &Limits,
        metrics: Arc<StoreMetrics>,
    ) -> Result<Self, StoreError> {
        // A segment that was started and not finished does not count, so the log uses its number again.
        let last = segments(&folder.log())?.pop();
        let next_number = last.as_ref().map_or(1, |segment| segment.number + 1);
        Ok(Self {
            folder,
            segment: None,
            ended: None,
            next_number,
            durable: after,
            segment_bytes: limits.log_segment_bytes,
            buffer: Vec::new(),
            written,
            metrics,
        })
    }

    /// Starts a segment, and syncs it before anything is written to it.
    fn begin_segment(&mut self) -> Result<(), StoreError> {
        let dir = self.folder.log();
        let path = dir.join(format!("{:020}.{SUFFIX}", self.next_number));
        let file = files::at(&path, || {
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).open(&path)?;
            file.set_len(self.segment_bytes)?;
            file.write_all_at(&header(self.durable, self.folder.id()), 0)?;
            file.sync_all()?;
            Ok(file)
        })?;
        files::sync_dir(&dir)?;
        self.folder.note_segment(self.next_number, self.segment_bytes)?;
        if let Some(before) = self.ended.take() {
            before.shorten();
        }
        self.next_number += 1;
        self.segment = Some(LogSegment { path, file, end: HEADER_BYTES as u64 });
        Ok(())
    }

    /// Returns the segment with space for this many bytes more; starts one if necessary.
    fn segment_for(&mut self, bytes: usize) -> Result<&mut LogSegment, StoreError> {
        let is_full = |segment: &LogSegment| {
            segment.end > HEADER_BYTES as u64 && segment.end + bytes as u64 > self.segment_bytes
        };
        if self.segment.as_ref().is_none_or(is_full) {
            self.end_segment();
            self.begin_segment()?;
        }
        self.segment.as_mut().ok_or(StoreError::Closed)
    }

    /// Ends this segment: nothing more is written to it.
    fn end_segment(&mut self) {
        if let Some(segment) = self.segment.take() {
            self.ended = Some(segment);
        }
    }

    fn write(&mut self, buffer: &[u8]) -> Result<(), StoreError> {
        let segment = self.segment_for(buffer.len())?;
        files::at(&segment.path, || {
            segment.file.write_all_at(buffer, segment.end)?;
            segment.file.sync_data()
        })?;
        segment.end += buffer.len() as u64;
        Ok(())
    }
}

impl Journal for Log {
    fn append(
        &mut self,
        records: &mut dyn Iterator<Item = &Record>,
    ) -> Result<Vec<Appended>, StoreError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let (mut last, mut appended) = (self.durable, Vec::new());
        for record in records {
            frame::encode(record, self.durable, &mut buffer);
            last = record.offset;
            // The log has its disk to itself, so it refuses no record.
            appended.push(Appended::Durable);
        }
        let wrote = self.write(&buffer);
        match &wrote {
            Ok(()) => {
                self.durable = last;
                self.written.fetch_add(buffer.len() as u64, Ordering::Relaxed);
                self.metrics.log_bytes.increment(buffer.len() as u64);
            }
            // A second sync that succeeds would prove nothing about what the first one lost.
            Err(_) => self.end_segment(),
        }
        buffer.shrink_to(size(self.segment_bytes));
        self.buffer = buffer;
        wrote.map(|()| appended)
    }

    fn resume(&mut self) -> Result<(), StoreError> {
        self.end_segment();
        self.begin_segment()
    }

    fn mark(&mut self) {
        let Some(segment) = &mut self.segment else { return };
        if segment.end + HEAD_BYTES as u64 > self.segment_bytes || self.durable == Offset::default()
        {
            return;
        }
        self.buffer.clear();
        frame::encode_mark(self.durable, self.durable, &mut self.buffer);
        // The next group overwrites one that is written in part. Until then it reads as a torn end.
        if segment.file.write_all_at(&self.buffer, segment.end).is_ok() {
            segment.end += HEAD_BYTES as u64;
        }
    }
}

impl Drop for Log {
    /// Keeps the length of the newest segment: a process that is killed while it closes the store must not
    /// leave a segment that looks cut.
    fn drop(&mut self) {
        if let Some(LogSegment { path, end, .. }) = self.segment.take() {
            self.folder.keep_end(path, end);
        }
    }
}

impl LogSegment {
    /// Gives back the disk space after the last frame.
    fn shorten(&self) {
        if let Err(error) = self.file.set_len(self.end) {
            tracing::warn!(path = %self.path.display(), %error, "cannot shorten a segment of the log");
        }
    }
}

/// Reads the records after `from`, in order, and returns the offset of the last one.
///
/// It skips what a crash tore at the end: no client got an acknowledgement for that.
///
/// # Errors
/// [`StoreError::Corrupt`] if something is damaged or missing that was once on disk; [`StoreError::Format`]
/// for a segment of an unknown version; any error that `each` returns.
pub(super) fn read(
    dir: &Path,
    from: Offset,
    mut each: impl FnMut(Record) -> Result<(), StoreError>,
) -> Result<Offset, StoreError> {
    let segments = segments(dir)?;
    let mut last = from;
    for (at, found) in segments.iter().enumerate() {
        let FoundSegment { path, after, .. } = found;
        let goes_on = segments.get(at + 1).map(|next| next.after);
        if goes_on.is_some_and(|after| after <= from) {
            continue;
        }
        if *after > last {
            return Err(StoreError::Corrupt(format!(
                "the log has nothing between offset {} and {}, where {} begins; put back the files that are missing, or restore a backup",
                last.0,
                after.0,
                path.display()
            )));
        }
        read_segment(found, goes_on, &mut |frame| {
            if frame.offset > from {
                last = frame.offset;
                each(frame.record()?)?;
            }
            Ok(())
        })?;
    }
    Ok(last)
}

/// Reads the frames of one segment, up to the offset at which the next segment starts.
fn read_segment(
    FoundSegment { path, after, header_bytes, .. }: &FoundSegment,
    goes_on: Option<Offset>,
    each: &mut dyn FnMut(LogFrame) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut rest = Bytes::from(files::at(path, || fs::read(path))?).split_off(*header_bytes);
    let length = rest.len();
    let mut last = *after;
    while let Some((frame, behind)) = frame::decode(&rest) {
        if frame.is_mark() && frame.durable <= last {
            rest = behind;
            continue;
        }
        if frame.offset <= last || goes_on.is_some_and(|offset| frame.offset > offset) {
            break;
        }
        last = frame.offset;
        each(frame)?;
        rest = behind;
    }
    let is_damaged = match goes_on {
        Some(offset) => last < offset,
        None => knows_of_later(&rest, last),
    };
    if is_damaged {
        let at = header_bytes + length - rest.len();
        return Err(StoreError::Corrupt(format!(
            "{} is damaged at byte {at}, and turns that were acknowledged lie behind that; restore a backup, or move it and all later files of its folder away to go on with offset {}",
            path.display(),
            last.0
        )));
    }
    Ok(())
}

/// Returns true if a frame anywhere in these bytes says that more than `last` was on disk before it.
fn knows_of_later(bytes: &Bytes, last: Offset) -> bool {
    let zeros = [0; 4096];
    let unwritten = bytes.rchunks(zeros.len()).take_while(|chunk| *chunk == &zeros[..chunk.len()]);
    let end = bytes.len() - unwritten.map(<[u8]>::len).sum::<usize>();
    (0..end).any(|at| {
        let frame = frame::decode(&bytes.slice(at..));
        frame.is_some_and(|(frame, _)| frame.durable > last)
    })
}

/// Returns the number of the newest file, whether it is a whole segment or not.
pub(super) fn newest(dir: &Path) -> Result<Option<u64>, StoreError> {
    Ok(numbers(dir)?.last().map(|(number, _)| *number))
}

/// Returns the size of all segments, in bytes.
pub(super) fn length(dir: &Path) -> Result<u64, StoreError> {
    numbers(dir)?.iter().map(|(_, path)| files::length(path)).sum()
}

/// Removes the segments that hold nothing after `upto`, but never the newest.
///
/// # Errors
/// [`StoreError`]: some may be left.
pub(super) fn cut(dir: &Path, upto: Offset) -> Result<(), StoreError> {
    let segments = segments(dir)?;
    for (at, segment) in segments.iter().enumerate() {
        if segments.get(at + 1).is_some_and(|next| next.after <= upto) {
            files::at(&segment.path, || fs::remove_file(&segment.path))?;
        }
    }
    files::sync_dir(dir)
}

/// The folder's notes about its log, which the check compares with the files.
pub(super) struct Expected {
    /// The store.
    pub(super) id: u128,
    /// The newest segment that was noted, and its length in bytes.
    pub(super) newest: Option<(u64, u64)>,
    /// The offset of the snapshot, up to which the log is not needed; zero without a snapshot.
    pub(super) snapshot: Offset,
}

/// Finds files that are missing, cut, or of another store. It does not read their contents.
///
/// # Errors
/// [`StoreError::Corrupt`] names the file, and how to continue.
pub(super) fn check(dir: &Path, expected: &Expected) -> Result<(), StoreError> {
    let segments = segments(dir)?;
    let corrupt = |what: String| Err(StoreError::Corrupt(format!("{what}; {WAYS_ON}")));
    for FoundSegment { path, store, .. } in &segments {
        if store.is_some_and(|store| store != expected.id) {
            return corrupt(format!("{} belongs to another store", path.display()));
        }
    }
    if let Some(first) = segments.first()
        && first.after > expected.snapshot
    {
        return corrupt(format!(
            "the log begins behind offset {} with {}, and the turns before it are in no snapshot",
            first.after.0,
            first.path.display()
        ));
    }
    for pair in segments.windows(2) {
        if pair[1].number != pair[0].number + 1 {
            let missing = dir.join(format!("{:020}.{SUFFIX}", pair[0].number + 1));
            return corrupt(format!("{} is missing", missing.display()));
        }
    }
    let Some((number, bytes)) = expected.newest else { return Ok(()) };
    match segments.last() {
        Some(last) if last.number > number => Ok(()),
        Some(last) if last.number == number => {
            let length = files::length(&last.path)?;
            if length >= bytes {
                return Ok(());
            }
            corrupt(format!("{} has {length} bytes and had {bytes}", last.path.display()))
        }
        _ => {
            let missing = dir.join(format!("{number:020}.{SUFFIX}"));
            corrupt(format!("{} is missing", missing.display()))
        }
    }
}

/// Returns the store that the segments name; `None` if none of them names one.
pub(super) fn store_of(dir: &Path) -> Result<Option<u128>, StoreError> {
    Ok(segments(dir)?.iter().rev().find_map(|segment| segment.store))
}

/// The operator's choices where acknowledged turns may be missing.
pub(super) const WAYS_ON: &str = "acknowledged turns may be lost: put the file back as it was, or restore a backup; to go on \
    with what can be read, remove the file `state` beside `log`";

/// A segment in the folder.
struct FoundSegment {
    number: u64,
    path: PathBuf,
    /// The offset after which it continues.
    after: Offset,
    /// The store that it belongs to, if its header names one.
    store: Option<u128>,
    header_bytes: usize,
}

/// Lists the segments in order. A newest file without a whole header was started and never written to, and is
/// left out.
fn segments(dir: &Path) -> Result<Vec<FoundSegment>, StoreError> {
    let files = numbers(dir)?;
    let newest = files.last().map(|(number, _)| *number);
    let mut segments = Vec::with_capacity(files.len());
    for (number, path) in files {
        match header_of(&path)? {
            Some(SegmentHeader { after, store, bytes }) => {
                segments.push(FoundSegment { number, path, after, store, header_bytes: bytes });
            }
            None if Some(number) == newest && !holds_frames(&path)? => {}
            None => {
                return Err(StoreError::Corrupt(format!(
                    "{} has no header of a log; restore a backup, or move it and all later files of its folder away to go on without their turns",
                    path.display()
                )));
            }
        }
    }
    Ok(segments)
}

/// The contents of a segment's header.
struct SegmentHeader {
    after: Offset,
    store: Option<u128>,
    bytes: usize,
}

fn header_of(path: &Path) -> Result<Option<SegmentHeader>, StoreError> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    files::at(path, || File::open(path)?.take(HEADER_BYTES as u64).read_to_end(&mut header))?;
    decode_header(&header)
}

/// Returns true if something was written after the header: then there was a whole header once.
fn holds_frames(path: &Path) -> Result<bool, StoreError> {
    let bytes = Bytes::from(files::at(path, || fs::read(path))?);
    let frames = |from: usize| bytes.slice(from.min(bytes.len())..);
    let lie_behind = |header: usize| frame::decode(&frames(header)).is_some();
    Ok(lie_behind(HEADER_BYTES) || lie_behind(NAMELESS_HEADER_BYTES))
}

/// Lists the files of the segments in order, with their numbers.
fn numbers(dir: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let mut numbers: Vec<_> = files::list(dir)?
        .into_iter()
        .filter_map(|name| {
            let number = name.strip_suffix(SUFFIX)?.strip_suffix('.')?.parse().ok()?;
            Some((number, dir.join(name)))
        })
        .collect();
    numbers.sort();
    Ok(numbers)
}

fn header(after: Offset, store: u128) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.put_u32(VERSION);
    header.put_u64(after.0);
    header.put_u128(store);
    let sum = crc32fast::hash(&header[MAGIC.len()..]);
    header.put_u32(sum);
    header
}

/// Decodes a segment's header; `None` if the bytes are not a header.
fn decode_header(header: &[u8]) -> Result<Option<SegmentHeader>, StoreError> {
    let Some(body) = header.strip_prefix(MAGIC) else { return Ok(None) };
    let Some(version) = body.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else {
        return Ok(None);
    };
    let bytes = if version == NAMELESS { NAMELESS_HEADER_BYTES } else { HEADER_BYTES };
    let Some(body) = body.get(..bytes - MAGIC.len()) else { return Ok(None) };
    let (mut told, mut sum) = body.split_at(body.len() - 4);
    if crc32fast::hash(told) != sum.get_u32() {
        return Ok(None);
    }
    if version > VERSION {
        let (found, wanted) = (format!("log {version}"), format!("log {VERSION}"));
        return Err(StoreError::Format { found, wanted });
    }
    told.advance(4);
    let after = Offset(told.get_u64());
    let store = (version != NAMELESS).then(|| told.get_u128());
    Ok(Some(SegmentHeader { after, store, bytes }))
}

/// Returns true if a segment ends with a mark.
#[cfg(test)]
pub(super) fn is_marked(path: &Path) -> Result<bool, StoreError> {
    let mut rest = Bytes::from(files::at(path, || fs::read(path))?).split_off(HEADER_BYTES);
    let mut is_marked = false;
    while let Some((frame, behind)) = frame::decode(&rest) {
        is_marked = frame.is_mark();
        rest = behind;
    }
    Ok(is_marked)
}

/// Returns a segment's bytes in the form from before records had versions.
#[cfg(test)]
pub(super) fn unversioned(file: Vec<u8>) -> Vec<u8> {
    let (length, file) = (file.len(), with_version(file, 2));
    let frames = Bytes::from(file.clone()).split_off(HEADER_BYTES);
    let mut old = file[..HEADER_BYTES].to_vec();
    frame::unversioned(frames, &mut old);
    old.resize(length, 0);
    old
}

/// Returns a segment's bytes with another version in the header.
#[cfg(test)]
pub(super) fn with_version(mut file: Vec<u8>, version: u32) -> Vec<u8> {
    let told = MAGIC.len()..HEADER_BYTES - 4;
    file[told.start..told.start + 4].copy_from_slice(&version.to_be_bytes());
    let sum = crc32fast::hash(&file[told.clone()]);
    file[told.end..told.end + 4].copy_from_slice(&sum.to_be_bytes());
    file
}
