//! The folder of a project. Owns how it is created and how it is removed.
//!
//! Invariant: a project whose deletion has started is not served again, and a project whose first deployment did not
//! end leaves no folder, also after a crash. Marker files record both. Each marker contains the project's name, so
//! that a marker moved to another project has no effect there. It does not know what a project is.
//!
//! ```text
//! NAME/deleted   the deletion of the project has started
//! NAME/new       its first deployment has started
//! NAME.gone/     the remains of a deleted project
//! ```

use super::catalog::VERSIONS;
use super::file::{self, FileError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The marker of a deletion.
const DELETED: &str = "deleted";
/// The marker of a first deployment.
const NEW: &str = "new";
/// The extension of the folder's name while it is removed.
pub(super) const GONE: &str = "gone";

/// The folder of a project. It need not exist.
#[derive(Clone, Debug)]
pub(super) struct ProjectFolder {
    path: PathBuf,
    name: String,
}

/// What a start finds in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundProject {
    /// A project.
    Project,
    /// The remains of a deletion, or of a first deployment that did not end.
    Remains,
}

/// Whether a folder existed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FolderCreation {
    Now,
    Before,
}

impl ProjectFolder {
    /// Returns the folder of the project of this name.
    pub(super) fn of(projects: &Path, name: &str) -> Self {
        Self { path: projects.join(name), name: name.to_owned() }
    }

    /// Returns the folder's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the folder is a project or remains. Blocks.
    ///
    /// # Errors
    /// [`FileError`]: the marker of a deletion is damaged, or belongs to another project.
    pub(super) fn look(&self) -> Result<FoundProject, FileError> {
        if self.is_deleted()? {
            return Ok(FoundProject::Remains);
        }
        let new = file::read(&self.path.join(NEW))?;
        let unserved = new.is_some_and(|text| self.is_own(&text));
        Ok(match unserved && !self.path.join(VERSIONS).exists() {
            true => FoundProject::Remains,
            false => FoundProject::Project,
        })
    }

    /// Creates the folder, marked as new, if it does not exist. Blocks.
    ///
    /// # Errors
    /// [`FileError`]: it cannot be created, or the deletion of the existing folder has started.
    pub(super) fn make(&self) -> Result<FolderCreation, FileError> {
        if self.path.exists() {
            return match self.is_deleted()? {
                true => Err(FileError::damaged(
                    &self.path,
                    "the deletion of this project has begun; delete it again to finish it",
                )),
                false => Ok(FolderCreation::Before),
            };
        }
        let made = || {
            fs::create_dir(&self.path)?;
            self.path.parent().map_or(Ok(()), file::sync_folder)
        };
        made().map_err(|error| FileError::new(&self.path, error))?;
        self.mark(NEW)?;
        Ok(FolderCreation::Now)
    }

    /// Creates the folder, if it does not exist, for a project whose records and rooms are in a cluster's database. Blocks.
    ///
    /// # Errors
    /// [`FileError`].
    pub(super) fn cache(&self) -> Result<(), FileError> {
        // Operators' backups and exports are made below `rooms`, as in a folder with the data of rooms.
        let rooms = self.path.join("rooms");
        fs::create_dir_all(&rooms).map_err(|error| FileError::new(&rooms, error))
    }

    /// Removes the mark, because the first version is served. Blocks.
    pub(super) fn settle(&self) {
        // If a version is recorded, the marker has no effect.
        match fs::remove_file(self.path.join(NEW)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "{} stays", self.path.join(NEW).display());
            }
            _ => {}
        }
    }

    /// Records that the deletion has started. From then on the project is never served again. Blocks.
    ///
    /// # Errors
    /// [`FileError`]: the deletion is not recorded.
    pub(super) fn begin_deletion(&self) -> Result<(), FileError> {
        self.mark(DELETED)
    }

    /// Removes the folder with all its files, if it exists. Blocks.
    ///
    /// # Errors
    /// [`FileError`]: if its deletion had started, the next start removes the remaining files.
    pub(super) fn remove(&self) -> Result<(), FileError> {
        let gone = self.path.with_extension(GONE);
        let removed = || {
            remove_all(&gone)?;
            // One rename frees the name, and moves the marker along with all other files.
            match fs::rename(&self.path, &gone) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                moved => moved?,
            }
            self.path.parent().map_or(Ok(()), file::sync_folder)?;
            remove_all(&gone)
        };
        removed().map_err(|error| FileError::new(&self.path, error))
    }

    fn mark(&self, marker: &str) -> Result<(), FileError> {
        file::replace(&self.path.join(marker), self.name.as_bytes())
    }

    fn is_deleted(&self) -> Result<bool, FileError> {
        let path = self.path.join(DELETED);
        match file::read(&path)? {
            None => Ok(false),
            Some(text) if self.is_own(&text) => Ok(true),
            Some(_) => Err(FileError::damaged(
                &path,
                "the marker of a deletion is damaged, or another project's. Delete the project again to \
                 finish its deletion, or remove this file to serve the project, and start again",
            )),
        }
    }

    fn is_own(&self, text: &[u8]) -> bool {
        text == self.name.as_bytes()
    }
}

/// Removes a folder if it exists.
pub(super) fn remove_all(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_change_is_distinguished_from_a_project() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ProjectFolder::of(dir.path(), "chat");
        assert_eq!(folder.make().unwrap(), FolderCreation::Now);
        assert_eq!(folder.look().unwrap(), FoundProject::Remains);
        fs::write(folder.path().join(VERSIONS), "{}").unwrap();
        assert_eq!(
            (folder.look().unwrap(), folder.make().unwrap()),
            (FoundProject::Project, FolderCreation::Before)
        );
        folder.settle();
        fs::remove_file(folder.path().join(VERSIONS)).unwrap();
        assert_eq!(folder.look().unwrap(), FoundProject::Project);
        folder.begin_deletion().unwrap();
        assert_eq!(folder.look().unwrap(), FoundProject::Remains);
        assert!(folder.make().unwrap_err().to_string().contains("has begun"));
        folder.remove().unwrap();
        folder.remove().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_marker_of_another_project_deletes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (chat, game) =
            (ProjectFolder::of(dir.path(), "chat"), ProjectFolder::of(dir.path(), "game"));
        for folder in [&chat, &game] {
            folder.make().unwrap();
            folder.settle();
        }
        chat.begin_deletion().unwrap();
        fs::rename(chat.path().join(DELETED), game.path().join(DELETED)).unwrap();
        let error = game.look().unwrap_err().to_string();
        assert!(error.contains("deleted") && error.contains("remove this file"), "{error}");
        assert!(game.make().is_err());
        fs::remove_file(game.path().join(DELETED)).unwrap();
        fs::write(game.path().join(NEW), "chat").unwrap();
        assert_eq!(game.look().unwrap(), FoundProject::Project);
    }
}
