//! `room backup` and `room restore`. Owns the report about a backup.
//!
//! Invariant: a backup is reported only after it was read back whole. It does not know what is in it.

use super::wait_for;
use crate::args::{BackupArgs, RestoreArgs};
use crate::codes::Code;
use crate::data::{DataFolder, Way};
use crate::mistake::Mistake;
use crate::output::OutputFile;
use crate::place::RoomsPlace;
use crate::print::{self, BOLD, DIM, styled};
use crate::project::shown;
use crate::server::Server;
use room_runtime::StoreError;
use room_runtime::offline::{self, OfflineError};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// A backup that was made.
#[derive(Debug, Serialize)]
struct BackupReport {
    file: PathBuf,
    bytes: u64,
}

/// Makes a backup.
pub(crate) fn backup(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    let place = RoomsPlace::find(&args.data, &args.elsewhere)?;
    let new = OutputFile::at(&args.file, args.force.existing())?;
    let through = |server: &Server| server.ask("POST", "backup", &[], &mut new.create()?);
    let bytes = match &place {
        RoomsPlace::Elsewhere(elsewhere) => through(&elsewhere.server)?,
        RoomsPlace::Here(folder) => {
            let limits = &folder.limits;
            let done =
                wait_for(async { Ok(offline::backup(&folder.dir, new.part(), limits).await) })?;
            match folder.way(done)? {
                Way::Direct(bytes) => bytes,
                Way::Through(server) => through(&server)?,
            }
        }
    };
    new.finish()?;
    let made = BackupReport { file: args.file.clone(), bytes };
    if args.json {
        print::data(serde_json::to_string_pretty(&made)?);
    } else {
        let bytes = styled(DIM, print::counted(bytes, "byte"));
        print::data(format_args!("{}  {bytes}", styled(BOLD, shown(&made.file))));
    }
    Ok(ExitCode::SUCCESS)
}

/// Restores data from a backup.
pub(crate) fn restore(args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    let folder = DataFolder::find(&args.data)?;
    if !args.file.is_file() {
        let message = format!("there is no file {}", args.file.display());
        return Err(Mistake::new(Code::NoFile, message)
            .help("`room backup FILE` makes one")
            .into());
    }
    offline::restore(&args.file, &folder.dir).map_err(|err| match err {
        // The backup is damaged: there is no other data yet.
        OfflineError::Store(StoreError::Corrupt(what)) => Mistake::new(Code::BadBackup, what)
            .help("take another backup; nothing was restored")
            .into(),
        err => folder.refused(err),
    })?;
    print::talk(format_args!("restored into {}", shown(&folder.dir)));
    Ok(ExitCode::SUCCESS)
}
