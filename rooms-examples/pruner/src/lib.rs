//! A board of notes that forgets them after a week.
//!
//! Owns the notes. Invariant: a note is kept for at least a week, and no longer than a week and a day: the cron `prune`
//! of the project removes older ones every night. It does not know when the night is: `room.toml` does.

use room_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a note is kept.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The room. All of it is in storage.
#[derive(Default)]
pub struct Board;

/// One note.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    text: String,
    at: Timestamp,
}

impl Room for Board {
    /// `GET` lists the notes, `POST` adds one.
    fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
        match request.method() {
            "GET" => {
                let notes = ctx.storage().list::<Note>().prefix("note:").into_iter();
                let texts = notes.map(|entry| Ok(entry?.1.text));
                Response::json(&texts.collect::<Result<Vec<_>>>()?)
            }
            "POST" => {
                add(ctx, request.text()?.to_owned())?;
                Ok(Response::status(201))
            }
            _ => Err(StatusError::new(405, "use GET or POST").into()),
        }
    }

    fn on_cron(&mut self, ctx: &Context, cron: Cron) -> Result {
        match cron.name() {
            "prune" => prune(ctx),
            // A crash may repeat the call, with the same time: the note of that week is written once.
            "weekly" if ctx.storage().get("weekly")? == Some(cron.at()) => Ok(()),
            "weekly" => {
                ctx.storage().put("weekly", &cron.at())?;
                add(ctx, "What is up this week?".to_owned())
            }
            other => bail!("no cron has the name {other:?}"),
        }
    }
}

/// Adds a note. Keys are in the order of their times.
fn add(ctx: &Context, text: String) -> Result {
    let number: u64 = ctx.storage().get("number")?.unwrap_or_default();
    ctx.storage().put("number", &(number + 1))?;
    let at = ctx.now();
    ctx.storage().put(format!("note:{:015}:{number:010}", at.as_millis()), &Note { text, at })
}

/// Removes the notes that are older than a week.
fn prune(ctx: &Context) -> Result {
    let mut old = Vec::new();
    for entry in ctx.storage().list::<Note>().prefix("note:") {
        let (key, note) = entry?;
        if ctx.now().since(note.at) <= WEEK {
            break;
        }
        old.push(key);
    }
    log::info!("forgot {} notes", old.len());
    old.into_iter().try_for_each(|key| ctx.storage().delete(key).map(drop))
}

room_sdk::export!(Board);
