//! What a store leaves when its process or its machine stops. Pure files; nobody writes to them but the tests.

use super::super::Store;
use super::super::testing::Disk;
use super::cluster::Cluster;
use room_core::limits::Limits;
use room_database::SHARDS;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The remains of a store after its process or its machine stops: a disk in memory, a folder, or a cluster's database.
pub(super) struct Image {
    kind: Kind,
    scratch: tempfile::TempDir,
    taken: usize,
}

enum Kind {
    Memory(Disk),
    Folder(PathBuf),
    Cluster(Arc<Cluster>, String),
}

impl Image {
    pub(super) fn of_memory(disk: Disk) -> Self {
        Self { kind: Kind::Memory(disk), scratch: tempfile::tempdir().unwrap(), taken: 0 }
    }

    pub(super) fn of_folder() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self { kind: Kind::Folder(scratch.path().join("0")), scratch, taken: 0 }
    }

    /// A store on a cluster's database. Each has a project of its own.
    pub(super) fn of_cluster(cluster: Arc<Cluster>, project: String) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self { kind: Kind::Cluster(cluster, project), scratch, taken: 0 }
    }

    /// Opens a store on it.
    pub(super) fn store(&self, limits: &Limits) -> Store {
        match &self.kind {
            Kind::Memory(disk) => disk.store(limits),
            Kind::Folder(dir) => Store::open(dir, limits).unwrap(),
            // Each life of a process is another incarnation.
            Kind::Cluster(cluster, project) => cluster.node(0..SHARDS).store_with(project, limits),
        }
    }

    /// Returns a folder for other files.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns the folder, if it is one.
    pub(super) fn dir(&self) -> &Path {
        match &self.kind {
            Kind::Memory(_) | Kind::Cluster(..) => self.scratch(),
            Kind::Folder(dir) => dir,
        }
    }

    /// Becomes what the store would leave if its process were killed now.
    pub(super) fn take(&mut self, store: &Store) {
        if let Kind::Folder(dir) = &mut self.kind {
            self.taken += 1;
            let copy = self.scratch.path().join(self.taken.to_string());
            // While these locks are held the files do not change: copying a folder takes time.
            let shared = store.applier.shared();
            let _still = (store.keeper.still(), shared.copy());
            copy_folder(dir, &copy);
            *dir = copy;
        }
    }

    /// Becomes what the machine may leave when it stops: only synced data is certain.
    pub(super) fn cut_power(&self) {
        if let Kind::Folder(dir) = &self.kind {
            rewrite(&dir.join("state"), |state| {
                let state = String::from_utf8(state).unwrap();
                state.replacen("\"boot\": \"", "\"boot\": \"before ", 1).into_bytes()
            });
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                if entry.file_name().to_string_lossy().starts_with("tree-") {
                    rewrite(&entry.path().join("db"), |db| {
                        db.chunks(512).flat_map(|page| [&[0xa5; 64][..], page].concat()).collect()
                    });
                }
            }
        }
    }
}

/// Copies a folder.
pub(super) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// Replaces the content of a file, if it is there.
pub(super) fn rewrite(path: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    if let Ok(content) = std::fs::read(path) {
        std::fs::write(path, change(content)).unwrap();
    }
}
