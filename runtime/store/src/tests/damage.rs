//! Every file of a store's folder, damaged in every way: either nothing is lost, or an error names the damage
//! and nothing is served.

use super::super::{Settled, Store, StoreError};
use super::image::{Image, copy_folder, rewrite};
use super::{commit, listed, room, writes};
use room_core::limits::Limits;
use std::path::{Path, PathBuf};

/// Turns of each room, each of which writes a key of its own.
const TURNS: u32 = 12;
const ROOMS: [&str; 3] = ["one", "two", "three"];

/// Sets limits for segments of a few turns, so that the newest segment holds some, too.
fn limits() -> Limits {
    Limits { log_segment_bytes: 2_000, store_retry_ms: 1, apply_gather_ms: 1, ..Limits::default() }
}

/// A change to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// One byte of the written part is changed, at this percentage of it.
    Flipped(usize),
    /// The file ends after this percentage of the written part.
    Cut(usize),
    Emptied,
    Deleted,
    /// The file of the same name in another store takes its place.
    Swapped,
    /// The file is as it was some turns ago.
    Older,
}

const ALL: [Damage; 9] = [
    Damage::Flipped(0),
    Damage::Flipped(50),
    Damage::Flipped(99),
    Damage::Cut(30),
    Damage::Cut(90),
    Damage::Emptied,
    Damage::Deleted,
    Damage::Swapped,
    Damage::Older,
];

/// Three copies of folders: of the store, of the store some turns ago, and of another store.
struct Folders {
    whole: PathBuf,
    older: PathBuf,
    other: PathBuf,
    scratch: tempfile::TempDir,
}

impl Folders {
    /// Makes stores that were killed, or closed in order.
    async fn new(closed: bool) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let [whole, older, other] =
            ["whole", "older", "other"].map(|name| scratch.path().join(name));
        let mut image = Image::of_folder();
        for (from, to, keep) in [(0, TURNS / 2, &older), (TURNS / 2, TURNS, &whole)] {
            image = work(image, "mine", from..to, closed).await;
            copy_folder(image.dir(), keep);
        }
        let image = work(Image::of_folder(), "other", 0..TURNS, closed).await;
        copy_folder(image.dir(), &other);
        Self { whole, older, other, scratch }
    }

    /// Copies the store and damages one file; `None` if the damage changes nothing, or needs a file that
    /// another folder lacks.
    fn damaged(&self, file: &Path, damage: Damage) -> Option<PathBuf> {
        let dir = self.scratch.path().join("damaged");
        drop(std::fs::remove_dir_all(&dir));
        copy_folder(&self.whole, &dir);
        let path = dir.join(file);
        let length =
            |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let before = std::fs::read(&path).unwrap();
        match damage {
            Damage::Flipped(percent) => rewrite(&path, |mut bytes| {
                let at = length(&bytes).saturating_sub(1) * percent / 100;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1;
                }
                bytes
            }),
            Damage::Cut(percent) => rewrite(&path, |mut bytes| {
                bytes.truncate(length(&bytes) * percent / 100);
                bytes
            }),
            Damage::Emptied => rewrite(&path, |_| Vec::new()),
            Damage::Deleted => std::fs::remove_file(&path).unwrap(),
            Damage::Swapped => drop(std::fs::copy(self.other.join(file), &path).ok()?),
            Damage::Older => drop(std::fs::copy(self.older.join(file), &path).ok()?),
        }
        (std::fs::read(&path).ok() != Some(before)).then_some(dir)
    }
}

/// Lets three rooms make turns, one after the other, and takes what the store leaves.
async fn work(mut image: Image, value: &str, turns: std::ops::Range<u32>, closed: bool) -> Image {
    let store = image.store(&limits());
    for name in ROOMS {
        let one = store.room(&room(name)).await.unwrap();
        for turn in turns.clone() {
            let key = format!("{turn:02}");
            let done = commit(&store, &one, writes(&[(&key, Some(value))])).await;
            assert_eq!(done, Settled::Durable);
        }
    }
    // Waits until the tree has everything, as it has some milliseconds after every turn.
    store.applied().await.unwrap();
    if closed {
        store.close();
    } else {
        // The log writes a mark after some milliseconds without a commit, and a process that is killed leaves
        // it.
        let newest = files(&image.dir().join("log")).pop().unwrap();
        let marked = async {
            while !super::super::log::is_marked(&newest).unwrap() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), marked).await.unwrap();
        image.take(&store);
    }
    image
}

/// Lists the files of a folder, including those in its subfolders.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns whether all of the rooms' turns are there: false if something is missing or belongs to another
/// store.
async fn has_all(dir: &Path) -> Result<bool, StoreError> {
    let store = Store::open(dir, &limits())?;
    let all: Vec<String> = (0..TURNS).map(|turn| format!("{turn:02}")).collect();
    let mut whole = true;
    for name in ROOMS {
        let one = store.room(&room(name)).await?;
        whole &= listed(&one) == all.join(" ");
        whole &= all.iter().all(|key| one.view().get(key.as_bytes()) == Ok(super::value("mine")));
    }
    whole &= store.verify().await?.problems.is_empty();
    store.close();
    Ok(whole)
}

/// Describes the outcome of a damage, for the table.
async fn outcome(dir: &Path) -> String {
    match has_all(dir).await {
        Ok(true) => "nothing is lost".to_owned(),
        Ok(false) => "ACKNOWLEDGED TURNS ARE LOST WITHOUT A WORD".to_owned(),
        Err(StoreError::Corrupt(text) | StoreError::Format { found: text, .. }) => {
            format!("named: {}", text.replace(&dir.display().to_string(), "DIR"))
        }
        Err(other) => format!("NOT NAMED AS DAMAGE: {other}"),
    }
}

async fn is_harmless_or_named(closed: bool) {
    let folders = Folders::new(closed).await;
    let (mut table, mut wrong) = (String::new(), 0);
    for file in files(&folders.whole) {
        let file = file.strip_prefix(&folders.whole).unwrap();
        for damage in ALL {
            let Some(dir) = folders.damaged(file, damage) else { continue };
            let first = outcome(&dir).await;
            // Turns that were not served must not be served at the next start either, and served ones stay.
            let again = outcome(&dir).await;
            let bad =
                first.starts_with(char::is_uppercase) || again.starts_with(char::is_uppercase);
            let changed = first.starts_with("named") != again.starts_with("named");
            wrong += u32::from(bad || changed);
            table += &format!("{} {damage:?}: {first}\n", file.display());
            if changed || bad {
                table += &format!("    and at the next start: {again}\n");
            }
        }
    }
    assert!(table.lines().count() > 30, "{table}");
    assert_eq!(wrong, 0, "{table}");
}

#[tokio::test]
async fn damage_of_any_file_of_a_killed_store_is_harmless_or_named() {
    is_harmless_or_named(false).await;
}

#[tokio::test]
async fn damage_of_any_file_of_a_closed_store_is_harmless_or_named() {
    is_harmless_or_named(true).await;
}

/// Takes the way on that the error names.
#[tokio::test]
async fn a_store_without_its_state_file_continues_with_the_readable_records() {
    let folders = Folders::new(false).await;
    let newest = files(&folders.whole.join("log")).pop().unwrap();
    let newest = newest.strip_prefix(&folders.whole).unwrap();
    let dir = folders.damaged(newest, Damage::Deleted).unwrap();
    let error = Store::open(&dir, &limits()).err().unwrap().to_string();
    assert!(error.contains("is missing") && error.contains("remove the file `state`"), "{error}");
    std::fs::remove_file(dir.join("state")).unwrap();
    let store = Store::open(&dir, &limits()).unwrap();
    let one = store.room(&room("one")).await.unwrap();
    assert!(listed(&one).starts_with("00 01 02"));
    assert_eq!(commit(&store, &one, writes(&[("new", Some("1"))])).await, Settled::Durable);
    store.close();
    assert!(Store::open(&dir, &limits()).is_ok());
}
