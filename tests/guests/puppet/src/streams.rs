//! Responses that stay open, and bodies that come in pieces. Owns the paths and the steps about them.
//!
//! Invariant: an id that is empty stands for the newest open response. It does not know what tests expect.

use crate::{Puppet, note};
use room_sdk::BodyFault;
use room_sdk::prelude::*;
use serde::Deserialize;
use serde_json::json;

/// A step about a response that is open. The first text of each is its id.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StreamStep {
    /// Writes a text.
    Write(String, String),
    /// Writes so many bytes of text.
    WriteBytes(String, usize),
    /// Writes so many bytes of text so many times.
    WriteOften(String, u32, usize),
    /// Writes an event with a name and data.
    Event(String, String, String),
    /// Ends it.
    End(String),
    /// Breaks it off.
    Abort(String),
    /// Answers with a status and a text.
    Respond(String, u16, String),
    /// Begins it, as plain text.
    Begin(String),
    /// Says the ids of the open ones.
    Ids(()),
}

impl StreamStep {
    pub(crate) fn run(self, ctx: &Context, say: &dyn Fn(String) -> Result) -> Result {
        match self {
            Self::Write(id, text) => find(ctx, id).write_text(text),
            Self::WriteBytes(id, bytes) => find(ctx, id).write("x".repeat(bytes)),
            Self::WriteOften(id, times, bytes) => {
                let stream = find(ctx, id);
                (0..times).try_for_each(|_| stream.write("x".repeat(bytes)))
            }
            Self::Event(id, name, data) => {
                find(ctx, id).event(&ServerEvent::text(data).named(&name))
            }
            Self::End(id) => find(ctx, id).end(),
            Self::Abort(id) => find(ctx, id).abort(),
            Self::Respond(id, status, text) => {
                let id = find(ctx, id);
                ctx.respond(id.id(), Response::text(text).with_status(status))
            }
            Self::Begin(id) => {
                let stream = find(ctx, id);
                ctx.respond(stream.id(), Response::stream(&stream))
            }
            Self::Ids(()) => say(ids(ctx).join(",")),
        }
    }
}

/// Returns the ids of the open responses.
pub(crate) fn ids(ctx: &Context) -> Vec<String> {
    ctx.streams().iter().map(|stream| stream.id().to_owned()).collect()
}

fn find(ctx: &Context, id: String) -> ResponseStream {
    match id.is_empty() {
        true => ctx.streams().pop().unwrap_or_else(|| ctx.stream(id)),
        false => ctx.stream(id),
    }
}

/// The body of a request, as far as it came.
#[derive(Default)]
pub(crate) struct Upload {
    pieces: u64,
    largest: usize,
    bytes: u64,
    /// A sum that depends on the order.
    sum: u64,
}

impl Upload {
    fn take(&mut self, piece: &[u8]) {
        self.pieces += 1;
        self.largest = self.largest.max(piece.len());
        self.bytes += piece.len() as u64;
        for byte in piece {
            self.sum = self.sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
    }
}

/// Returns the response to a request whose path asks for an open one; `None` for other paths.
pub(crate) fn respond(ctx: &Context, request: &Request) -> Result<Option<Response>> {
    let response = match request.rest() {
        "/events" => Response::events(&ctx.open_stream()?).with_body("retry: 10\n\n"),
        "/stream" => {
            let stream = ctx.open_stream()?;
            let first = request.query("first").unwrap_or_default();
            stream.write_text(first)?;
            Response::stream(&stream).with_header("content-type", "text/plain")
        }
        "/stored-stream" => {
            let stream = ctx.open_stream()?;
            stream.write_text("stored")?;
            ctx.storage().put("stream", &stream.id())?;
            Response::stream(&stream)
        }
        "/flushed" => {
            let stream = ctx.open_stream()?;
            stream.write_text("flushed,")?;
            ctx.respond(stream.id(), Response::stream(&stream))?;
            ctx.flush()?;
            ensure!(request.query("fails").is_none(), "asked to fail");
            stream.write_text("ended")?;
            stream.end()?;
            Response::status(200)
        }
        "/mistaken" => {
            ctx.open_stream()?;
            Response::text("not the stream")
        }
        "/later" => Response::later(),
        "/upload" => match ctx.body_follows() {
            true => Response::later(),
            false => Response::text(format!("whole {}", request.body().len())),
        },
        "/refused" => Response::text("no thanks").with_status(403),
        _ => return Ok(None),
    };
    Ok(Some(response))
}

/// Takes a piece of a body, and answers after the last one.
pub(crate) fn take(room: &mut Puppet, ctx: &Context, id: &str, piece: BodyPiece) -> Result {
    let upload = room.uploads.entry(id.to_owned()).or_default();
    match piece {
        BodyPiece::More(bytes) => upload.take(&bytes),
        BodyPiece::Last(bytes) => {
            upload.take(&bytes);
            let Upload { pieces, largest, bytes, sum } = upload;
            let told = json!({"pieces": pieces, "largest": largest, "bytes": bytes, "sum": sum});
            room.uploads.remove(id);
            return ctx.respond(id, Response::json(&told)?);
        }
        BodyPiece::Failed(fault) => {
            let bytes = upload.bytes;
            room.uploads.remove(id);
            if ctx.storage().get::<bool>("answers")?.is_some() {
                let text = format!("{fault:?} after {bytes}");
                ctx.respond(id, Response::text(text).with_status(422))?;
            }
            let aborted = fault == BodyFault::Aborted;
            return note(
                ctx,
                if aborted { "body aborted".to_owned() } else { format!("body {fault:?} {bytes}") },
            );
        }
    }
    Ok(())
}
