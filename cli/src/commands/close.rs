//! `room kick`, `room close` and `room delete-room`. Owns the confirmation before data is lost.
//!
//! Invariant: a room is deleted only if the user confirms it: on a terminal by an answer, elsewhere by a flag. It
//! does not know what happens to the clients.

use super::inspect::amounts;
use super::yes;
use crate::args::operate::{CloseArgs, DeleteRoomArgs, KickArgs};
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::operator::Operator;
use crate::print::counted;
use serde_json::json;
use std::process::ExitCode;

/// Closes one connection.
pub(crate) fn kick(args: &KickArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::find(&args.server)?;
    let room = operator.room(&args.room)?;
    let mut body = json!({ "connection": args.connection, "code": args.code });
    if let Some(reason) = &args.reason {
        body["reason"] = reason.as_str().into();
    }
    let answer = operator.about(&room, ("POST", "kick"), body.to_string().as_bytes())?;
    operator.print(&answer, |answer| {
        format!("closed {} of {} with {}", args.connection, room.name, answer["code"])
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Closes all connections of a room.
pub(crate) fn close(args: &CloseArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::find(&args.server)?;
    let room = operator.room(&args.room)?;
    let answer = operator.about(&room, ("POST", "close"), &[])?;
    operator.print(&answer, |answer| {
        format!("closed {} and its {}", room.name, counted(&answer["connections"], "connection"))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Deletes a room.
pub(crate) fn delete_room(args: &DeleteRoomArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::find(&args.server)?;
    let room = operator.room(&args.room)?;
    if !args.yes && !yes(&room.name)? {
        return Err(Mistake::new(Code::NotConfirmed, "nothing was deleted").into());
    }
    let answer = operator.about(&room, ("DELETE", ""), &[])?;
    operator.print(&answer, |answer| {
        format!("deleted {} with {}", room.name, amounts(&answer["keys"], &answer["bytes"]))
    })?;
    Ok(ExitCode::SUCCESS)
}
