//! The place of the rooms that a command line names: in a data folder here, or on a server elsewhere. Owns which of
//! both it is.
//!
//! Invariant: a flag overrides the environment: --data overrides ROOM_TO, --to overrides ROOM_DATA. An ambiguous
//! place is an error, never a guess. It does not know what is done with the rooms.

use crate::args::remote::ElsewhereArgs;
use crate::args::{DataArgs, ProjectArgs};
use crate::codes::Code;
use crate::data::DataFolder;
use crate::mistake::Mistake;
use crate::project::Project;
use crate::remote;
use crate::server::Server;
use room_runtime::{Limits, NameError, PartyName, RoomId};
use std::ffi::OsStr;

/// The place of rooms.
pub(crate) enum RoomsPlace {
    /// In a folder of this machine.
    Here(DataFolder),
    /// On a deployed server.
    Elsewhere(Elsewhere),
}

/// A project on a server.
pub(crate) struct Elsewhere {
    /// The part of the server that answers for the project's rooms.
    pub(crate) server: Server,
    /// Its name for people.
    pub(crate) name: String,
    /// The limits of the project here, if there is one. The server has its own.
    limits: Limits,
}

impl RoomsPlace {
    /// Returns the place of the rooms that a command line names.
    ///
    /// # Errors
    /// A mistake: it names both, or the place does not exist.
    pub(crate) fn find(data: &DataArgs, elsewhere: &ElsewhereArgs) -> anyhow::Result<Self> {
        let is = |name: &str, value: Option<&OsStr>| value == std::env::var_os(name).as_deref();
        let by_flag = |name, value: Option<&OsStr>| value.is_some() && !is(name, value);
        let (dir, url) = (data.data.as_deref(), elsewhere.to.as_deref());
        let data_flag = by_flag("ROOM_DATA", dir.map(AsRef::as_ref));
        let to_flag = by_flag("ROOM_TO", url.map(AsRef::as_ref));
        let Some(url) = url else { return Ok(Self::Here(DataFolder::find(data)?)) };
        match (dir.is_some(), data_flag, to_flag) {
            (true, true, false) => return Ok(Self::Here(DataFolder::find(data)?)),
            (true, true, true) | (true, false, false) => {
                let message = "both a data folder and a server elsewhere are named";
                return Err(Mistake::new(Code::TwoPlaces, message)
                    .help("give one: --data or --to (ROOM_DATA and ROOM_TO count as well)")
                    .into());
            }
            (true, false, true) | (false, ..) => {}
        }
        let project = ProjectArgs { path: None, project: data.project.clone() };
        let (project, name) = match &elsewhere.name {
            Some(name) => (Project::look(&project)?, name.clone()),
            None => {
                let project = Project::find(&project).map_err(|err| match err.is::<Mistake>() {
                    true => err.context("which project of the server? --name says so"),
                    false => err,
                })?;
                let name = project.manifest.name.clone();
                (Some(project), name)
            }
        };
        let token = elsewhere.token.as_deref().unwrap_or_default();
        let server = remote::server(url, token, elsewhere.ca_file.as_deref())?;
        Ok(Self::Elsewhere(Elsewhere {
            server: server.of_project(&name),
            name: format!("{name} at {url}"),
            limits: project.map(|project| project.manifest.limits).unwrap_or_default(),
        }))
    }

    /// Returns the limits by which data is checked before it is sent there.
    pub(crate) fn limits(&self) -> &Limits {
        match self {
            Self::Here(folder) => &folder.limits,
            Self::Elsewhere(elsewhere) => &elsewhere.limits,
        }
    }

    /// Returns the room with this name and party.
    ///
    /// # Errors
    /// A mistake: the names are invalid.
    pub(crate) fn room(&self, party: &str, room: &str) -> anyhow::Result<RoomId> {
        let wrong = |err: NameError| Mistake::new(Code::BadRoomName, err);
        let max = usize::try_from(self.limits().room_name_bytes_max).unwrap_or(usize::MAX);
        Ok(RoomId::new(PartyName::parse(party).map_err(wrong)?, room, max).map_err(wrong)?)
    }
}
