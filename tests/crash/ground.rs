//! The place of a server's data, and the effect of a crash on it. Owns the folder and its end.
//!
//! Invariant: a crash leaves a state that a real one could leave, and never takes away durable data. It does not know
//! what the data means, but for [`Garble`](crate::files).

use crate::files;
use crate::load::Words;
use crate::power::Power;
use crate::scratch::kept;
use room_tests::Dice;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The kind of crash of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process dies. The machine lives, and so does everything that was written.
    Kill,
    /// The machine loses power: only synced data survives.
    PowerCut,
    /// The machine loses power, and every file but our log is left as noise.
    Garble,
}

/// A data folder.
pub(crate) struct Ground {
    place: Place,
}

enum Place {
    Folder(TempDir),
    Garbled(TempDir),
    Power(Power),
}

impl Ground {
    /// Returns a new folder for crashes of this kind, below the run's own.
    pub(crate) fn new(crash: Crash, scratch: &Path) -> Self {
        let dir = || tempfile::tempdir_in(scratch).unwrap();
        let place = match crash {
            Crash::Kill => Place::Folder(dir()),
            Crash::Garble => Place::Garbled(dir()),
            Crash::PowerCut => Place::Power(Power::new(scratch)),
        };
        Self { place }
    }

    /// Returns the folder for a server, which creates it itself.
    pub(crate) fn data(&self) -> PathBuf {
        match &self.place {
            Place::Folder(dir) | Place::Garbled(dir) => dir.path().join("data"),
            Place::Power(power) => power.mount_point().join("data"),
        }
    }

    /// Returns whether the server's messages from the moment of the crash on count. A machine without power sends
    /// nothing. Ours continues for a moment, and its syncs are not to be believed then: the kernel reports success for
    /// a sync whose journal another sync has just seen fail.
    pub(crate) fn words(&self) -> Words {
        match &self.place {
            Place::Power(_) => Words::Lost,
            Place::Folder(_) | Place::Garbled(_) => Words::Heard,
        }
    }

    /// The moment of the crash: the server still runs.
    pub(crate) fn strike(&self) {
        if let Place::Power(power) = &self.place {
            power.cut();
        }
    }

    /// Leaves the state after the crash, now that the server is dead. Returns the number of garbled files.
    pub(crate) fn settle(&mut self, dice: &mut Dice) -> u64 {
        let data = self.data();
        let garbled = match &mut self.place {
            Place::Folder(_) => return 0,
            Place::Power(power) => {
                power.restore();
                0
            }
            Place::Garbled(_) => files::garble(&data, dice),
        };
        files::restart_machine(&data);
        garbled
    }

    /// Keeps the data for the person who looks into a failure.
    pub(crate) fn keep(self) -> PathBuf {
        let to = kept();
        match self.place {
            Place::Folder(dir) | Place::Garbled(dir) => copy(dir.path(), &to),
            Place::Power(power) => copy(&power.mount_point(), &to),
        }
        to
    }
}

/// Copies the readable files of a folder.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            drop(std::fs::create_dir(&to));
            copy(&entry.path(), &to);
        } else {
            drop(std::fs::copy(entry.path(), &to));
        }
    }
}
