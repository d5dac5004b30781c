//! The names of stores: which store is the same, and which is another.

use super::super::Store;
use super::{commit, limits, room, writes};
use std::path::Path;

fn open(dir: &Path) -> Store {
    Store::open(dir, &limits()).unwrap()
}

/// Copies a folder, file by file.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if entry.is_dir() {
            copy(&entry, &to);
        } else {
            std::fs::copy(entry, to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_store_keeps_its_name_and_a_restored_backup_has_another() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let store = open(&at("one"));
    let id = store.id();
    let one = store.room(&room("one")).await.unwrap();
    commit(&store, &one, writes(&[("a", Some("1"))])).await;
    store.backup(at("backup")).await.unwrap();
    // As a crash leaves it, which loses the note as well in the second copy: the log has the name, too.
    copy(&at("one"), &at("crashed"));
    copy(&at("one"), &at("damaged"));
    std::fs::write(at("damaged").join("state"), "garbage").unwrap();
    store.close();
    drop((store, one));
    for same in ["one", "crashed", "damaged"] {
        assert_eq!(open(&at(same)).id(), id, "{same}");
    }
    Store::restore(&at("backup"), &at("restored")).unwrap();
    let restored = open(&at("restored")).id();
    let others = [restored, open(&at("new")).id(), Store::in_memory(&limits()).unwrap().id()];
    assert!(others.iter().all(|other| *other != id && *other != 0));
    assert_eq!(open(&at("restored")).id(), restored);
}
