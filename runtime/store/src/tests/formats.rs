//! Stores that were written before records had versions: they open, and continue in the present format.

use super::super::sled::Sled;
use super::super::{Store, copies, keys, log};
use super::image::{Image, rewrite};
use super::{commit, listed, room, writes};
use hashbrown::HashSet;
use room_core::id::SequenceNumber;
use room_core::limits::Limits;
use room_core::span::Overlay;
use std::path::Path;

fn limits() -> Limits {
    Limits { log_segment_bytes: 400, store_retry_ms: 1, ..Limits::default() }
}

/// Converts a store's folder to the form from before records had versions.
fn age(dir: &Path) {
    for name in super::super::files::list(dir).unwrap() {
        let path = dir.join(&name);
        if name.starts_with("tree-") {
            let tree = Sled::open(&path, &limits()).unwrap();
            forget_numbers(&tree);
        } else if name.starts_with("snapshot-") {
            rewrite(&path, copies::unversioned);
        }
    }
    for name in super::super::files::list(&dir.join("log")).unwrap() {
        rewrite(&dir.join("log").join(name), log::unversioned);
    }
    rewrite(&dir.join("state"), |state| {
        let mut state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        state.as_object_mut().unwrap().remove("opened").unwrap();
        serde_json::to_vec(&state).unwrap()
    });
}

fn forget_numbers(tree: &dyn super::super::backend::Tree) {
    let entries = tree.scan(&keys::all_infos(), HashSet::new());
    let aged: Overlay = entries
        .map(|entry| {
            let (key, value) = entry.unwrap();
            let info = keys::decode_info(&value).unwrap();
            let aged = keys::RoomFacts { number: SequenceNumber::default(), ..info };
            (key, Some(keys::encode_info(&aged)))
        })
        .collect();
    tree.apply(&aged).unwrap();
    tree.sync().unwrap();
}

/// Makes a room with a few turns, as an older version left it.
async fn aged(limits: &Limits) -> Image {
    let image = Image::of_folder();
    let store = image.store(limits);
    let one = store.room(&room("one")).await.unwrap();
    for turn in 0..10 {
        one.sequence().take(1);
        commit(&store, &one, writes(&[(&format!("key {turn}"), Some("value"))])).await;
    }
    drop(one);
    store.close();
    drop(store);
    age(image.dir());
    image
}

const ALL: &str = "key 0 key 1 key 2 key 3 key 4 key 5 key 6 key 7 key 8 key 9";

/// Opens the store, and leaves a turn with two numbers.
async fn goes_on(image: &Image, limits: &Limits, seq: u64, keys: &str) -> SequenceNumber {
    let store = image.store(limits);
    let one = store.room(&room("one")).await.unwrap();
    assert_eq!(listed(&one), keys);
    let first = one.sequence().take(2);
    assert_eq!(first.seq, seq);
    commit(&store, &one, writes(&[("key 0", Some("again"))])).await;
    drop(one);
    assert_eq!(store.verify().await.unwrap().problems, Vec::<String>::new());
    store.close();
    first
}

#[tokio::test]
async fn a_store_with_unversioned_records_opens_and_continues() {
    let image = aged(&limits()).await;
    let first = goes_on(&image, &limits(), 1, ALL).await;
    // The store reads a log with records of both kinds from its start.
    image.cut_power();
    rewrite(&image.dir().join("state"), |state| {
        String::from_utf8(state).unwrap().replace("true", "false").into_bytes()
    });
    let second = goes_on(&image, &limits(), 3, ALL).await;
    assert!(second.epoch > first.epoch && first.epoch > 0);
}

#[tokio::test]
async fn a_backup_with_unversioned_records_is_restored() {
    let image = Image::of_folder();
    let store = image.store(&limits());
    let one = store.room(&room("one")).await.unwrap();
    one.sequence().take(5);
    commit(&store, &one, writes(&[("key", Some("value"))])).await;
    let (new, old) = (image.scratch().join("new"), image.scratch().join("old"));
    store.backup(new.clone()).await.unwrap();
    std::fs::copy(&new, &old).unwrap();
    rewrite(&old, copies::unversioned);
    for (copy, seq) in [(new, 5), (old, 0)] {
        let dir = copy.with_extension("restored");
        Store::restore(&copy, &dir).unwrap();
        let restored = Store::open(&dir, &limits()).unwrap();
        let again = restored.room(&room("one")).await.unwrap();
        assert_eq!((listed(&again), again.sequence().last().seq), ("key".to_owned(), seq));
        // Numbers that the other store gave since the copy was made are not given again.
        assert!(again.sequence().last().epoch > one.sequence().last().epoch);
    }
}

#[tokio::test]
async fn a_log_of_a_later_version_is_refused() {
    let image = Image::of_folder();
    image.store(&limits()).close();
    let log = image.dir().join("log");
    let name = super::super::files::list(&log).unwrap().pop().unwrap();
    rewrite(&log.join(name), |file| log::with_version(file, 4));
    let error = Store::open(image.dir(), &limits()).err().unwrap().to_string();
    assert!(error.contains("has format log 4, this version reads format log 3"), "{error}");
}
