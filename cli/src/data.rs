//! The place of the rooms' data, and the process that has it open. Owns the way to it: directly, or through the
//! server.
//!
//! Invariant: the lock of the folder decides, so files that a crashed server left mislead nobody. It does not know
//! what is done with the data.

use crate::args::{DataArgs, ProjectArgs};
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::project::{EPHEMERAL, Project, STATE, shown};
use crate::server::Server;
use room_runtime::offline::OfflineError;
use room_runtime::{Limits, RoomId, StoreError};
use std::path::{Path, PathBuf};

/// The data of some rooms.
pub(crate) struct DataFolder {
    pub(crate) dir: PathBuf,
    pub(crate) limits: Limits,
    /// The folder in which a server of the same project that keeps its data in memory writes its address.
    ephemeral: Option<PathBuf>,
}

/// The result of work on a folder, or the server that can do it.
pub(crate) enum Way<T> {
    /// It was done here.
    Direct(T),
    /// The server has to do it.
    Through(Server),
}

impl DataFolder {
    /// Returns the folder that the command line names, or the one that `room dev` uses.
    ///
    /// # Errors
    /// A mistake: there is neither, or `room.toml` is invalid.
    pub(crate) fn find(args: &DataArgs) -> anyhow::Result<Self> {
        let project = ProjectArgs { path: None, project: args.project.clone() };
        let (dir, project, ephemeral) = match &args.data {
            Some(dir) => (dir.clone(), Project::look(&project)?, None),
            None => {
                let project = Project::find(&project).map_err(|err| match err.is::<Mistake>() {
                    true => {
                        err.context("the data of which project? --data names the folder itself")
                    }
                    false => err,
                })?;
                let ephemeral = project.own(EPHEMERAL);
                (project.own(STATE), Some(project), Some(ephemeral))
            }
        };
        let limits = project.map(|project| project.manifest.limits).unwrap_or_default();
        Ok(Self { dir, limits, ephemeral })
    }

    /// Returns the folders in which a server may have written its address, in the order in which to ask.
    pub(crate) fn announcements(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.dir.as_path()).chain(self.ephemeral.as_deref())
    }

    /// Returns the result of an attempt to work on the folder. If a process has it open, that server is to be asked.
    ///
    /// # Errors
    /// A mistake, or a failure of the disk.
    pub(crate) fn way<T>(&self, done: Result<T, OfflineError>) -> anyhow::Result<Way<T>> {
        match done {
            Ok(done) => Ok(Way::Direct(done)),
            Err(OfflineError::Store(StoreError::InUse(_))) => {
                Server::of(&self.dir).map(Way::Through)
            }
            Err(err) => Err(self.refused(err)),
        }
    }

    /// Returns why the folder cannot be used, worded for the user.
    pub(crate) fn refused(&self, err: OfflineError) -> anyhow::Error {
        let dir = shown(&self.dir);
        let mistake = match &err {
            OfflineError::NoStore(_) => {
                Mistake::new(Code::NoData, format_args!("there is no data in {dir}"))
                    .help("`room dev` makes it when it runs; --data names another folder")
            }
            OfflineError::HasStore(_) => Mistake::new(
                Code::HasData,
                format_args!("{dir} contains data, which restore never replaces"),
            )
            .help(format_args!(
                "stop the server if one runs on it, and move it away: \
                         `mv {dir} {dir}.old`; or restore into another folder with --data"
            )),
            OfflineError::Store(StoreError::Corrupt(_) | StoreError::Closed) => return err.into(),
            OfflineError::Store(_) => Mistake::new(Code::StoreRefused, &err),
        };
        mistake.into()
    }
}

/// Returns the path of an operator's work on a room, relative to the path of all their work.
pub(crate) fn path_of(room: &RoomId, work: &str) -> String {
    format!("rooms/{}/{}/{work}", room.party(), encoded(room.name()))
}

/// Returns a text as part of a path or a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
