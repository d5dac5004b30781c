//! `room export` and `room import`. Owns where the lines of a room come from and go to.
//!
//! Invariant: lines are checked before they replace anything. It does not know what they say.

use super::wait_for;
use crate::args::{ExportArgs, ImportArgs};
use crate::codes::Code;
use crate::data::{Way, path_of};
use crate::mistake::Mistake;
use crate::output::OutputFile;
use crate::place::RoomsPlace;
use crate::print;
use crate::server::Server;
use room_runtime::{ContentError, Limits, RoomContent, RoomId, offline};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;

/// Writes a room's storage.
pub(crate) fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let place = RoomsPlace::find(&args.data, &args.elsewhere)?;
    let room = place.room(&args.party, &args.room)?;
    match &args.output {
        Some(path) => {
            let new = OutputFile::at(path, args.force.existing())?;
            write(&place, &room, &mut || new.create())?;
            new.finish()?;
        }
        None => match write(&place, &room, &mut || Ok(print::bytes())) {
            // The reader of the output has ended.
            Err(err) if is_gone(&err) => {}
            written => written?,
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the lines of a room. `open` is called when there is something to write.
fn write<W: Write>(
    place: &RoomsPlace,
    room: &RoomId,
    open: &mut dyn FnMut() -> anyhow::Result<W>,
) -> anyhow::Result<()> {
    let through = |server: &Server, open: &mut dyn FnMut() -> anyhow::Result<W>| {
        let mut out = open()?;
        server.ask("GET", &path_of(room, "export"), &[], &mut out)?;
        anyhow::Ok(out.flush()?)
    };
    let folder = match place {
        RoomsPlace::Here(folder) => folder,
        RoomsPlace::Elsewhere(elsewhere) => return through(&elsewhere.server, open),
    };
    let done = wait_for(async { Ok(offline::export(&folder.dir, room, &folder.limits).await) })?;
    match folder.way(done)? {
        Way::Direct(Some(content)) => {
            let mut out = BufWriter::new(open()?);
            content.write(&mut out)?;
            out.flush()?;
        }
        Way::Direct(None) => {
            return Err(Mistake::new(
                Code::NothingStored,
                format_args!("nothing is stored for the room {room}"),
            )
            .into());
        }
        Way::Through(server) => through(&server, open)?,
    }
    Ok(())
}

fn is_gone(err: &anyhow::Error) -> bool {
    let mut errors = err.chain().filter_map(|err| err.downcast_ref::<io::Error>());
    errors.any(|err| err.kind() == io::ErrorKind::BrokenPipe)
}

/// Replaces a room's storage.
pub(crate) fn import(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let place = RoomsPlace::find(&args.data, &args.elsewhere)?;
    let content = read(&args.file, place.limits())?;
    let party = args.party.as_deref().unwrap_or(content.room().party().as_str());
    let name = args.room.as_deref().unwrap_or(content.room().name());
    let room = place.room(party, name)?;
    let content = content.renamed(room.clone());
    let keys = content.keys();
    let through = |server: &Server, content: &RoomContent| {
        let mut lines = Vec::new();
        content.write(&mut lines)?;
        server.ask("PUT", &path_of(&room, "import"), &lines, &mut io::sink())
    };
    match &place {
        RoomsPlace::Elsewhere(elsewhere) => drop(through(&elsewhere.server, &content)?),
        RoomsPlace::Here(folder) => {
            // A server accepts the same lines again.
            let (again, limits) = (content.clone(), &folder.limits);
            let done = wait_for(async { Ok(offline::import(&folder.dir, content, limits).await) })?;
            if let Way::Through(server) = folder.way(done)? {
                through(&server, &again)?;
            }
        }
    }
    print::talk(format_args!("{room} has {} now", print::counted(keys, "key")));
    Ok(ExitCode::SUCCESS)
}

/// Reads lines from a file, or from stdin.
fn read(file: &Path, limits: &Limits) -> anyhow::Result<RoomContent> {
    let from: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let opened = File::open(file);
        Box::new(opened.map_err(|err| {
            Mistake::new(Code::Unreadable, format_args!("{} cannot be read: {err}", file.display()))
        })?)
    };
    match RoomContent::read(BufReader::new(from), limits) {
        Ok(content) => Ok(content),
        Err(err @ ContentError::Line { .. }) => {
            let message = format!("{}: {err}", file.display());
            Err(Mistake::new(Code::BadLines, message)
                .help("nothing was imported; `room export` shows what it looks like")
                .into())
        }
        Err(err) => {
            Err(Mistake::new(Code::Unreadable, format_args!("{}: {err}", file.display())).into())
        }
    }
}
