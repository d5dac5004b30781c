//! Compressed forms of static files. Owns the memory that they are kept in.
//!
//! Invariant: a file's forms are made once for each content of the file, and kept only if they are smaller. All of a
//! project's forms together keep to `asset_variants_bytes_max`. It does not know requests.

use super::encoding::ContentCoding;
use ::http::HeaderValue;
use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hashbrown::HashMap;
use room_core::clock::changed;
use room_core::limits::fixed::{
    ASSET_VARIANT_SOURCE_BYTES_MAX, ASSET_VARIANTS_BYTES_MAX, ASSETS_MAX,
};
use room_core::limits::size;
use room_core::lock::lock;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// The size from which on compression saves a packet.
const SOURCE_BYTES_MIN: u64 = 860;
/// Of eleven levels of Brotli: higher ones take ten times as long for a few per cent.
const BROTLI_LEVEL: u32 = 5;
const BROTLI_WINDOW_BITS: u32 = 22;
const BROTLI_BUFFER_BYTES: usize = 16 * 1024;

/// The forms of a project's files.
pub(super) struct Variants {
    kept: Mutex<KeptVariants>,
    /// Held while a file is compressed: one at a time.
    working: Arc<Semaphore>,
}

#[derive(Default)]
struct KeptVariants {
    files: HashMap<PathBuf, FileVariants>,
    bytes: u64,
}

/// The forms of one content of a file.
#[derive(Clone, Default)]
struct FileVariants {
    /// When the file was changed, and its length: another one is another content.
    state: (Duration, u64),
    forms: Vec<Variant>,
}

/// A compressed form.
#[derive(Clone)]
pub(super) struct Variant {
    pub(super) coding: ContentCoding,
    /// The entity tag, which follows from the bytes.
    pub(super) tag: HeaderValue,
    pub(super) bytes: Bytes,
}

impl FileVariants {
    fn bytes(&self) -> u64 {
        self.forms.iter().map(|form| form.bytes.len() as u64).sum()
    }
}

impl Variants {
    pub(super) fn new() -> Self {
        Self { kept: Mutex::default(), working: Arc::new(Semaphore::new(1)) }
    }

    /// Returns the first of these forms of a file that is kept, and makes the file's forms if it has none. `None`: the
    /// file has no such form, or another file is being compressed at the moment.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the forms are made all the same, and are kept only if a later call makes them again.
    pub(super) async fn of(&self, path: &Path, wanted: &[ContentCoding]) -> Option<Variant> {
        let state = state(&tokio::fs::metadata(path).await.ok()?);
        let known = |kept: &KeptVariants| match kept.files.get(path) {
            Some(file) if file.state == state => Some(file.clone()),
            _ => None,
        };
        let known_now = known(&lock(&self.kept));
        let file = match known_now {
            Some(file) => file,
            None => {
                let permit = self.working.clone().try_acquire_owned().ok()?;
                let source = path.to_owned();
                let made = tokio::task::spawn_blocking(move || {
                    let _permit = permit;
                    make(&source)
                });
                let made = made.await.ok()?.ok()?;
                lock(&self.kept).keep(path, made.clone());
                made
            }
        };
        let chosen = |coding: &ContentCoding| file.forms.iter().find(|form| form.coding == *coding);
        wanted.iter().find_map(chosen).cloned()
    }
}

impl KeptVariants {
    /// Keeps a file's forms, or that it has none if they find no place: it is not compressed at every request.
    fn keep(&mut self, path: &Path, mut made: FileVariants) {
        let before = self.files.remove(path).map_or(0, |file| file.bytes());
        self.bytes -= before;
        if self.bytes + made.bytes() > ASSET_VARIANTS_BYTES_MAX {
            made.forms.clear();
        }
        // The folder of `room dev` may have any number of files over time.
        if self.files.len() >= ASSETS_MAX {
            self.files.clear();
            self.bytes = 0;
        }
        self.bytes += made.bytes();
        self.files.insert(path.to_owned(), made);
    }
}

fn state(file: &std::fs::Metadata) -> (Duration, u64) {
    (changed(file), file.len())
}

/// Compresses a file, and keeps what is smaller than the file. Blocks.
fn make(path: &Path) -> io::Result<FileVariants> {
    let file = File::open(path)?;
    let state = state(&file.metadata()?);
    let mut forms = Vec::new();
    if (SOURCE_BYTES_MIN..=ASSET_VARIANT_SOURCE_BYTES_MAX).contains(&state.1) {
        let mut text = Vec::with_capacity(size(state.1));
        file.take(ASSET_VARIANT_SOURCE_BYTES_MAX + 1).read_to_end(&mut text)?;
        // A file that is being written at this moment is compressed at the next request.
        if text.len() as u64 != state.1 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        for coding in ContentCoding::ALL {
            let bytes = compressed(coding, &text)?;
            let hash = blake3::hash(&bytes).to_hex();
            let tag = HeaderValue::try_from(format!("\"{}-{}\"", &hash[..32], coding.name()));
            if let Ok(tag) = tag
                && bytes.len() < text.len()
            {
                forms.push(Variant { coding, tag, bytes: bytes.into() });
            }
        }
    }
    Ok(FileVariants { state, forms })
}

fn compressed(coding: ContentCoding, text: &[u8]) -> io::Result<Vec<u8>> {
    match coding {
        ContentCoding::Gzip => {
            let mut to = GzEncoder::new(Vec::new(), Compression::default());
            to.write_all(text)?;
            to.finish()
        }
        ContentCoding::Brotli => {
            let (level, window) = (BROTLI_LEVEL, BROTLI_WINDOW_BITS);
            let mut to = CompressorWriter::new(Vec::new(), BROTLI_BUFFER_BYTES, level, window);
            to.write_all(text)?;
            to.flush()?;
            Ok(to.into_inner())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [ContentCoding; 2] = ContentCoding::ALL;

    fn text(kib: usize) -> Vec<u8> {
        b"it repeats itself. ".iter().copied().cycle().take(kib * 1024).collect()
    }

    #[tokio::test]
    async fn a_files_forms_follow_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.js");
        let variants = Variants::new();
        std::fs::write(&path, text(4)).unwrap();
        let first = variants.of(&path, &BOTH).await.unwrap();
        assert_eq!(first.coding, ContentCoding::Brotli);
        assert!(first.bytes.len() < 1024);
        let mut unpacked = Vec::new();
        brotli::Decompressor::new(&first.bytes[..], 4096).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, text(4));
        let gzip = variants.of(&path, &[ContentCoding::Gzip]).await.unwrap();
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&gzip.bytes[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, text(4));
        assert_ne!(gzip.tag, first.tag);
        // The same content again: made once, and the bytes are shared.
        let again = variants.of(&path, &BOTH).await.unwrap();
        assert_eq!(again.bytes.as_ptr(), first.bytes.as_ptr());
        std::fs::write(&path, text(5)).unwrap();
        assert_ne!(variants.of(&path, &BOTH).await.unwrap().tag, first.tag);
    }

    #[tokio::test]
    async fn small_huge_and_incompressible_files_have_no_forms() {
        let dir = tempfile::tempdir().unwrap();
        let variants = Variants::new();
        // Bytes without a pattern: hashes of numbers.
        let noise = (0..64_u32).flat_map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes());
        let huge = size(ASSET_VARIANT_SOURCE_BYTES_MAX) / 1024 + 1;
        for (name, bytes) in
            [("small", b"hi".to_vec()), ("noise", noise.collect()), ("huge", text(huge))]
        {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert!(variants.of(&path, &BOTH).await.is_none(), "{name}");
        }
        assert!(variants.of(&dir.path().join("missing"), &BOTH).await.is_none());
    }

    #[test]
    fn the_memory_of_all_forms_is_bounded() {
        let mut kept = KeptVariants::default();
        let form = |bytes: u64| FileVariants {
            state: (Duration::ZERO, 1),
            forms: vec![Variant {
                coding: ContentCoding::Gzip,
                tag: HeaderValue::from_static("\"a\""),
                bytes: vec![0; size(bytes)].into(),
            }],
        };
        for number in 0..10 {
            kept.keep(Path::new(&number.to_string()), form(ASSET_VARIANTS_BYTES_MAX / 4));
        }
        assert_eq!(kept.bytes, ASSET_VARIANTS_BYTES_MAX);
        let held: u64 = kept.files.values().map(FileVariants::bytes).sum();
        assert_eq!((held, kept.files.len()), (ASSET_VARIANTS_BYTES_MAX, 10));
        // A file that shrinks makes place for another.
        kept.keep(Path::new("0"), form(1));
        kept.keep(Path::new("9"), form(10));
        assert_eq!(kept.files[Path::new("9")].forms.len(), 1);
    }
}
