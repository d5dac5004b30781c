//! Recovery of a store's folder when its files are damaged, its disk is full, or its tree fails.

use super::super::backend::{Keys, Tree};
use super::super::memory::Memory;
use super::super::testing::Disk;
use super::super::{Offset, Settled, Store, StoreError, StoreParts, log};
use super::image::{Image, rewrite};
use super::{commit, listed, room, value, works_again, writes};
use bytes::Bytes;
use hashbrown::HashSet;
use room_core::limits::Limits;
use room_core::metrics::Metrics;
use room_core::span::{Entries, Key, Overlay, Span};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// Sets limits for segments of a few turns, without a snapshot unless a test wants one.
fn limits() -> Limits {
    Limits { log_segment_bytes: 400, store_retry_ms: 1, ..Limits::default() }
}

/// Makes a store with ten turns, one key each, kills it, and returns what it leaves.
async fn killed_after_ten_turns(limits: &Limits) -> Image {
    let mut image = Image::of_folder();
    let store = image.store(limits);
    let one = store.room(&room("one")).await.unwrap();
    for turn in 0..10 {
        let done = commit(&store, &one, writes(&[(&format!("key {turn}"), Some("value"))])).await;
        assert_eq!(done, Settled::Durable);
    }
    image.take(&store);
    image
}

const ALL: &str = "key 0 key 1 key 2 key 3 key 4 key 5 key 6 key 7 key 8 key 9";

async fn keys_in(dir: &Path, limits: &Limits) -> String {
    let store = Store::open(dir, limits).unwrap();
    let one = store.room(&room("one")).await.unwrap();
    let keys = listed(&one);
    assert_eq!(store.verify().await.unwrap().problems, Vec::<String>::new());
    store.close();
    keys
}

/// Lists the log's files, oldest first.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = super::super::files::list(&dir.join("log"))
        .unwrap()
        .into_iter()
        .map(|name| dir.join("log").join(name))
        .collect();
    files.sort();
    files
}

fn trees(dir: &Path) -> Vec<String> {
    let mut names = super::super::files::list(dir).unwrap();
    names.retain(|name| name.starts_with("tree-"));
    names
}

#[tokio::test]
async fn a_killed_store_has_every_acknowledged_turn() {
    let image = killed_after_ten_turns(&limits()).await;
    assert_eq!(keys_in(image.dir(), &limits()).await, ALL);
}

#[tokio::test]
async fn an_opening_after_an_orderly_close_starts_no_segment_before_the_first_turn() {
    let image = killed_after_ten_turns(&limits()).await;
    let count = || segments(image.dir()).len();
    let killed = count();
    image.store(&limits()).close();
    image.store(&limits()).close();
    let store = image.store(&limits());
    assert_eq!(count(), killed + 1, "nothing was written");
    let one = store.room(&room("one")).await.unwrap();
    assert_eq!(commit(&store, &one, writes(&[("later", Some("value"))])).await, Settled::Durable);
    store.close();
    drop((one, store));
    assert_eq!(count(), killed + 2);
    assert_eq!(keys_in(image.dir(), &limits()).await, format!("{ALL} later"));
}

#[tokio::test]
async fn a_tree_that_does_not_open_is_rebuilt() {
    let image = killed_after_ten_turns(&limits()).await;
    // Closed in order, so that there is no other reason to distrust the tree.
    image.store(&limits()).close();
    let before = trees(image.dir());
    for tree in &before {
        rewrite(&image.dir().join(tree).join("db"), |db| vec![0xa5; db.len().max(4_096)]);
    }
    assert_eq!(keys_in(image.dir(), &limits()).await, ALL);
    assert_ne!(trees(image.dir()), before);
}

#[tokio::test]
async fn a_tree_that_is_missing_or_lost_synced_data_is_rebuilt() {
    for old in [true, false] {
        let image = killed_after_ten_turns(&limits()).await;
        let tree = image.dir().join(&trees(image.dir())[0]);
        std::fs::remove_dir_all(&tree).unwrap();
        if old {
            // An empty tree in its place has less than its checkpoint says.
            std::fs::create_dir(&tree).unwrap();
            rewrite(&image.dir().join("state"), |state| {
                let state = String::from_utf8(state).unwrap();
                state.replace("\"checkpoint\": 0", "\"checkpoint\": 5").into_bytes()
            });
        }
        assert_eq!(keys_in(image.dir(), &limits()).await, ALL, "{old}");
    }
}

#[tokio::test]
async fn the_tree_is_not_trusted_after_a_power_cut() {
    let image = killed_after_ten_turns(&limits()).await;
    let before = trees(image.dir());
    image.cut_power();
    assert_eq!(keys_in(image.dir(), &limits()).await, ALL);
    assert_ne!(trees(image.dir()), before);
}

#[tokio::test]
async fn a_damaged_state_file_counts_as_missing() {
    let image = killed_after_ten_turns(&limits()).await;
    rewrite(&image.dir().join("state"), |state| state[..state.len() / 2].to_vec());
    assert_eq!(keys_in(image.dir(), &limits()).await, ALL);
}

#[tokio::test]
async fn a_torn_end_of_the_log_is_skipped_and_never_returns() {
    let image = killed_after_ten_turns(&limits()).await;
    let newest = segments(image.dir()).pop().unwrap();
    for round in 0..3 {
        rewrite(&newest, |mut file| {
            let written = file.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            // The start of a turn that was never acknowledged: a head without its body.
            let torn = [&file[40..76], &[round; 30]].concat();
            let length = file.len();
            file.truncate(written);
            let mut file = [file, torn].concat();
            // It has its full length from the start.
            file.resize(length.max(file.len()), 0);
            file
        });
        assert_eq!(keys_in(image.dir(), &limits()).await, ALL);
    }
}

#[tokio::test]
async fn a_segment_without_a_complete_header_is_ignored() {
    let image = killed_after_ten_turns(&limits()).await;
    for begun in [&b""[..], b"room", &[0; 400]] {
        let newest = segments(image.dir()).pop().unwrap();
        let number: u64 = newest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let next = newest.with_file_name(format!("{:020}.log", number + 1));
        std::fs::write(next, begun).unwrap();
        // Twice, because the next write lies after it.
        assert_eq!(keys_in(image.dir(), &limits()).await, ALL);
        assert_eq!(keys_in(image.dir(), &limits()).await, ALL);
    }
}

#[tokio::test]
async fn a_newest_segment_whose_header_is_damaged_is_named() {
    let limits = Limits { log_segment_bytes: 100_000, ..limits() };
    let image = killed_after_ten_turns(&limits).await;
    let newest = segments(image.dir()).pop().unwrap();
    rewrite(&newest, |mut file| {
        file[12] ^= 1;
        file
    });
    let error = Store::open(image.dir(), &limits).err().unwrap().to_string();
    assert!(error.contains("has no header of a log; restore a backup"), "{error}");
}

#[tokio::test]
async fn damage_among_acknowledged_turns_is_named_and_nothing_is_changed() {
    // The tree must need the log, or it would not be read.
    let image = killed_after_ten_turns(&limits()).await;
    image.cut_power();
    for at in [0, 1, segments(image.dir()).len() - 2] {
        let path = &segments(image.dir())[at];
        let whole = std::fs::read(path).unwrap();
        rewrite(path, |mut file| {
            file[60] ^= 1;
            file
        });
        let error = Store::open(image.dir(), &limits()).err().unwrap().to_string();
        assert!(error.contains("is damaged at byte 40") && error.contains("backup"), "{error}");
        std::fs::write(path, whole).unwrap();
    }
    std::fs::rename(&segments(image.dir())[1], image.dir().join("elsewhere")).unwrap();
    let error = Store::open(image.dir(), &limits()).err().unwrap().to_string();
    assert!(error.contains("is damaged") || error.contains("has nothing between"), "{error}");
    std::fs::rename(
        image.dir().join("elsewhere"),
        image.dir().join("log/00000000000000000002.log"),
    )
    .unwrap();
    assert_eq!(keys_in(image.dir(), &limits()).await, ALL);
}

#[tokio::test]
async fn damage_in_the_newest_segment_is_distinguished_from_a_torn_end() {
    let limits = Limits { log_segment_bytes: 100_000, ..limits() };
    let image = killed_after_ten_turns(&limits).await;
    image.cut_power();
    // The newest segment was only started when the store was opened. The one before has all turns.
    let newest = segments(image.dir()).pop().unwrap();
    rewrite(&newest, |mut file| {
        file[60] ^= 1;
        file
    });
    let error = Store::open(image.dir(), &limits).err().unwrap().to_string();
    assert!(error.contains("turns that were acknowledged lie behind"), "{error}");
}

#[tokio::test]
async fn a_snapshot_replaces_the_log_before_it() {
    let limits = Limits { snapshot_log_bytes: 1, ..limits() };
    let image = killed_after_ten_turns(&limits).await;
    let store = image.store(&limits);
    let one = store.room(&room("one")).await.unwrap();
    while segments(image.dir()).len() > 2
        || super::super::files::list(image.dir()).unwrap().len() < 5
    {
        commit(&store, &one, writes(&[("key 0", Some("again"))])).await;
    }
    store.close();
    image.cut_power();
    rewrite(&image.dir().join("state"), |state| {
        String::from_utf8(state).unwrap().replace("true", "false").into_bytes()
    });
    assert_eq!(keys_in(image.dir(), &limits).await, ALL);
}

#[tokio::test]
async fn formats_of_another_version_are_refused_and_left_unchanged() {
    let image = killed_after_ten_turns(&limits()).await;
    let refused = |dir: &Path| Store::open(dir, &limits()).err().unwrap().to_string();
    rewrite(&image.dir().join("state"), |state| {
        String::from_utf8(state).unwrap().replace("\"format\": 2", "\"format\": 3").into_bytes()
    });
    for _ in 0..2 {
        assert!(refused(image.dir()).contains("has format 3, this version reads format 2"));
    }
    let old = tempfile::tempdir().unwrap();
    std::fs::write(old.path().join("db"), b"").unwrap();
    assert!(refused(old.path()).contains("has format 1, this version reads format 2"));
}

#[tokio::test]
async fn a_backup_made_under_load_restores_a_past_consistent_state() {
    let limits = Limits { copy_slice_bytes: 30, ..limits() };
    let place = Image::of_folder();
    let store = place.store(&limits);
    let one = store.room(&room("one")).await.unwrap();
    let turn = |n: u32| {
        let stamp = n.to_string();
        let keys: Vec<_> = (0..20).map(|key| (format!("key {key:02}"), stamp.clone())).collect();
        let keys: Vec<_> = keys.iter().map(|(key, n)| (key.as_str(), Some(n.as_str()))).collect();
        writes(&keys)
    };
    commit(&store, &one, turn(0)).await;
    let file = place.scratch().join("backup");
    let mut backup = std::pin::pin!(store.backup(file.clone()));
    let mut count = 0;
    loop {
        tokio::select! {
            biased;
            done = &mut backup => break assert!(done.unwrap() > 0),
            _ = async { commit(&store, &one, turn(count + 1)).await } => count += 1,
        }
    }
    let dir = place.scratch().join("restored");
    Store::restore(&file, &dir).unwrap();
    let restored = Store::open(&dir, &limits).unwrap();
    let view = restored.room(&room("one")).await.unwrap().view();
    let stamps: HashSet<_> = view.scan(&Span::ALL).map(|entry| entry.unwrap().1).collect();
    assert_eq!(stamps.len(), 1, "the backup shows a turn in part");
    assert_eq!(restored.verify().await.unwrap().problems, Vec::<String>::new());
    let error = Store::restore(&file, &dir).unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
}

#[tokio::test]
async fn a_damaged_or_truncated_backup_is_refused() {
    let place = Image::of_folder();
    let store = place.store(&limits());
    let one = store.room(&room("one")).await.unwrap();
    commit(&store, &one, writes(&[("a", Some("1"))])).await;
    let file = place.scratch().join("backup");
    store.backup(file.clone()).await.unwrap();
    let (whole, dir) = (std::fs::read(&file).unwrap(), place.scratch().join("restored"));
    for at in 0..whole.len() {
        std::fs::write(&file, &whole[..at]).unwrap();
        assert!(Store::restore(&file, &dir).is_err(), "cut at {at}");
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&file, changed).unwrap();
        assert!(Store::restore(&file, &dir).is_err(), "changed at {at}");
    }
    assert!(!dir.exists());
}

/// A file system of a few megabytes, where this process may mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(dir.path())
            .output();
        mount.is_ok_and(|mount| mount.status.success()).then_some(Self(dir))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status());
    }
}

#[tokio::test]
async fn a_full_disk_loses_no_acknowledged_turn_and_work_resumes_when_there_is_space() {
    // Only root may mount. Another test covers the same with a disk that fails on command.
    let Some(small) = Small::new() else {
        let must = std::env::var_os("CRASH_MUST").is_some();
        assert!(!must, "CRASH_MUST is set, and no file system can be mounted");
        return;
    };
    let limits = Limits { log_segment_bytes: 1 << 20, ..limits() };
    let ballast = small.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; 16 << 20]).unwrap();
    let store = Store::open(&small.0.path().join("data"), &limits).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        // Which fails first, the log or the tree, is a matter of luck.
        let one = match store.room(&room("one")).await {
            Ok(one) => one,
            Err(error) => break error,
        };
        let key = format!("{acknowledged:05}");
        match commit(&store, &one, writes(&[(&key, Some(&"x".repeat(10_000)))])).await {
            Settled::Lost(error) => break error,
            _ => acknowledged += 1,
        }
    };
    assert!(error.to_string().contains("No space left"), "{error}");
    std::fs::remove_file(&ballast).unwrap();
    works_again(&store).await;
    let one = store.room(&room("one")).await.unwrap();
    assert_eq!(commit(&store, &one, writes(&[("after", Some("1"))])).await, Settled::Durable);
    // The tree may find only now that it could not write before.
    works_again(&store).await;
    let one = store.room(&room("one")).await.unwrap();
    assert_eq!(listed(&one).split(' ').count(), acknowledged + 1);
    store.close();
    let again = Store::open(&small.0.path().join("data"), &limits).unwrap();
    let one = again.room(&room("one")).await.unwrap();
    assert_eq!(listed(&one).split(' ').count(), acknowledged + 1);
}

/// A tree that fails, or waits at a key, on a test's command.
#[derive(Default)]
struct Moody {
    memory: Memory,
    fails: AtomicBool,
    /// A reader of the key `slow` waits here twice.
    slow: Option<Arc<Barrier>>,
}

impl Moody {
    fn check(&self) -> Result<(), StoreError> {
        match self.fails.load(Ordering::SeqCst) {
            true => Err(StoreError::Corrupt("asked to fail".to_owned())),
            false => Ok(()),
        }
    }
}

impl Tree for Moody {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if key.ends_with(b"slow")
            && let Some(barrier) = &self.slow
        {
            barrier.wait();
            barrier.wait();
        }
        self.check()?;
        self.memory.get(key)
    }

    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, StoreError> {
        self.memory.value_len(key)
    }

    fn keys(&self, span: &Span) -> Keys {
        self.memory.keys(span)
    }

    fn scan(&self, span: &Span, shadow: HashSet<Key>) -> Entries<'static, StoreError> {
        self.memory.scan(span, shadow)
    }

    fn apply(&self, batch: &Overlay) -> Result<(), StoreError> {
        self.check()?;
        self.memory.apply(batch)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.check()
    }
}

fn store_with(tree: Arc<dyn Tree>, disk: &Disk, limits: &Limits) -> Store {
    let remade = disk.clone();
    Store::on(StoreParts {
        journal: Box::new(disk.clone()),
        tree,
        rebuild: Box::new(move || remade.tree()),
        service: Default::default(),
        crons: Default::default(),
        renames: Default::default(),
        tickets: Default::default(),
        on_disk: None,
        id: 1,
        opened: 1,
        last: Offset::default(),
        place: None,
        limits,
        metrics: Metrics::new().store,
    })
    .unwrap()
}

#[tokio::test]
async fn a_tree_that_fails_in_use_is_rebuilt_and_nothing_is_lost() {
    let (tree, disk) = (Arc::new(Moody::default()), Disk::default());
    let store = store_with(tree.clone(), &disk, &limits());
    let one = store.room(&room("one")).await.unwrap();
    commit(&store, &one, writes(&[("a", Some("1"))])).await;
    store.applied().await.unwrap();
    tree.fails.store(true, Ordering::SeqCst);
    // It is durable, although the tree does not take it.
    assert_eq!(commit(&store, &one, writes(&[("b", Some("2"))])).await, Settled::Durable);
    works_again(&store).await;
    store.applied().await.unwrap();
    let one = store.room(&room("one")).await.unwrap();
    assert_eq!(listed(&one), "a b");
    assert_eq!(store.verify().await.unwrap().problems, Vec::<String>::new());
}

#[tokio::test]
async fn a_damaged_entry_fails_its_turn_and_is_repaired_afterwards() {
    let (tree, disk) = (Arc::new(Moody::default()), Disk::default());
    let limits = Limits { room_cache_bytes_max: 1, ..limits() };
    let store = store_with(tree.clone(), &disk, &limits);
    let one = store.room(&room("one")).await.unwrap();
    commit(&store, &one, writes(&[("a", Some("1"))])).await;
    store.applied().await.unwrap();
    tree.fails.store(true, Ordering::SeqCst);
    assert!(one.view().get(b"a").is_err());
    works_again(&store).await;
    assert_eq!(one.view().get(b"a"), Ok(value("1")));
}

/// Uses one thread for all rooms: if a read kept it, nothing else would happen.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_slow_read_of_one_room_does_not_hold_up_another() {
    let barrier = Arc::new(Barrier::new(2));
    let tree = Moody { slow: Some(barrier.clone()), ..Moody::default() };
    let store = store_with(Arc::new(tree), &Disk::default(), &limits());
    let slow = store.room(&room("one")).await.unwrap();
    let reading = tokio::spawn(async move { slow.view().get(b"slow") });
    let entered = barrier.clone();
    tokio::task::spawn_blocking(move || entered.wait()).await.unwrap();
    // The read waits for the disk now.
    let other = tokio::spawn(async move {
        let two = store.room(&room("two")).await.unwrap();
        let done = commit(&store, &two, writes(&[("a", Some("1"))])).await;
        (done, two.view().get(b"a"))
    });
    let other = tokio::time::timeout(Duration::from_secs(20), other).await.unwrap().unwrap();
    assert_eq!(other, (Settled::Durable, Ok(value("1"))));
    tokio::task::spawn_blocking(move || barrier.wait()).await.unwrap();
    assert_eq!(reading.await.unwrap(), Ok(None));
}

#[tokio::test]
async fn the_log_names_the_room_the_turn_and_the_code() {
    let image = killed_after_ten_turns(&limits()).await;
    let mut turns = Vec::new();
    let last = log::read(&image.dir().join("log"), Offset(7), |record| {
        turns.push((record.room.to_string(), record.turn, record.change.keys.len()));
        Ok(())
    });
    assert_eq!(last, Ok(Offset(10)));
    assert_eq!(turns, [8, 9, 10].map(|turn| ("main/one".to_owned(), turn, 1)));
}
