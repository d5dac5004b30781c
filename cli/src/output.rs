//! A file that a command makes. Owns that it is whole or not there.
//!
//! Invariant: an existing file is replaced only if the user asked for that, and only by a whole one. It does not know
//! what is in it.

use crate::codes::Code;
use crate::mistake::Mistake;
use crate::project::shown;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The treatment of an existing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It is kept, and nothing is done.
    Kept,
    /// It is replaced.
    Replaced,
}

/// A file that is being made. If it is dropped before it is finished, it never existed.
#[derive(Debug)]
pub(crate) struct OutputFile {
    path: PathBuf,
    part: PathBuf,
}

impl OutputFile {
    /// Checks that there can be such a file.
    ///
    /// # Errors
    /// A mistake: it exists already, or its folder does not.
    pub(crate) fn at(path: &Path, existing: Existing) -> anyhow::Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(Mistake::new(
                Code::NotAFile,
                format_args!("{} is not a file", path.display()),
            )
            .into());
        };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or(Path::new("."));
        if !dir.is_dir() {
            let message = format!("there is no folder {}", dir.display());
            return Err(Mistake::new(Code::NoFolder, message)
                .help("make it first, or name another file")
                .into());
        }
        if path.is_dir() {
            return Err(
                Mistake::new(Code::NotAFile, format_args!("{} is a folder", shown(path))).into()
            );
        }
        if path.exists() && existing == Existing::Kept {
            let message = format!("{} exists", shown(path));
            return Err(Mistake::new(Code::Exists, message)
                .help("name another file, or add --force")
                .into());
        }
        // In the same folder, or it could not be renamed.
        let part = format!(".{}.{}.part", name.to_string_lossy(), std::process::id());
        Ok(Self { path: path.to_owned(), part: dir.join(part) })
    }

    /// Returns the path to write to until the file is whole.
    pub(crate) fn part(&self) -> &Path {
        &self.part
    }

    /// Opens it for writing.
    ///
    /// # Errors
    /// A mistake: the folder cannot be written to.
    pub(crate) fn create(&self) -> anyhow::Result<File> {
        File::create(&self.part).map_err(|err| self.refused(&err))
    }

    /// Syncs the file, so that it survives a crash, and gives it its name.
    ///
    /// # Errors
    /// A mistake: the disk is full, or the folder cannot be written to.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let finished = File::open(&self.part)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&self.part, &self.path));
        finished.map_err(|err| self.refused(&err))
    }

    fn refused(&self, err: &std::io::Error) -> anyhow::Error {
        Mistake::new(
            Code::NotWritable,
            format_args!("{} cannot be written: {err}", shown(&self.path)),
        )
        .into()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        // It has its name already, or is useless.
        drop(std::fs::remove_file(&self.part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_written_file_is_complete_or_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let write = |existing, word: &str| {
            let new = OutputFile::at(&path, existing).unwrap();
            new.create().unwrap().write_all(word.as_bytes()).unwrap();
            new
        };
        drop(write(Existing::Kept, "unfinished"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        write(Existing::Kept, "one").finish().unwrap();
        assert_eq!(text(&path), "one");
        let refused = OutputFile::at(&path, Existing::Kept).unwrap_err().to_string();
        assert!(refused.ends_with("file exists"), "{refused}");
        write(Existing::Replaced, "two").finish().unwrap();
        assert_eq!(text(&path), "two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
