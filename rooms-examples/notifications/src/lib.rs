//! Notifications for a page that has no WebSocket.
//!
//! Owns the notices of one room, and who has read them. Each page hears the room by server-sent events, or by long polling
//! where those do not get through, and posts what its reader does: the room does not ask by which way. A notice that one
//! page has read is read in all of them.

use room_sdk::prelude::*;
use serde::{Deserialize, Serialize};

const NOTICES: &str = "notices";
/// So many notices are kept.
const KEPT: usize = 50;
/// A text with more characters is refused.
const TEXT_MAX: usize = 200;

/// The room. All that it knows is in storage.
#[derive(Debug, Default)]
pub struct Notifications;

/// A notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Notice {
    id: u64,
    text: String,
    read: bool,
}

/// What a page posts.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum FromPage {
    Notify {
        text: String,
    },
    Read {
        id: u64,
    },
    /// The reader of a page is writing a notice.
    Writes,
}

/// What a page hears.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ToPage<'a> {
    All { notices: &'a [Notice], by: &'static str },
    New { notice: &'a Notice },
    Read { id: u64 },
    Writes,
}

fn notices(ctx: &Context) -> Result<Vec<Notice>> {
    Ok(ctx.storage().get(NOTICES)?.unwrap_or_default())
}

/// Keeps a new notice, and tells all of it.
fn notify(ctx: &Context, text: String) -> Result {
    ensure!(
        (1..=TEXT_MAX).contains(&text.chars().count()),
        "a notice has 1 to {TEXT_MAX} characters"
    );
    let mut all = notices(ctx)?;
    let id = all.last().map_or(1, |last| last.id + 1);
    let notice = Notice { id, text, read: false };
    ctx.broadcast(&ToPage::New { notice: &notice });
    all.push(notice);
    let old = all.len().saturating_sub(KEPT);
    all.drain(..old);
    ctx.storage().put(NOTICES, &all)
}

/// Marks a notice as read, if it is still kept.
fn read(ctx: &Context, id: u64) -> Result {
    let mut all = notices(ctx)?;
    let Some(notice) = all.iter_mut().find(|notice| notice.id == id) else {
        return Ok(());
    };
    notice.read = true;
    ctx.broadcast(&ToPage::Read { id });
    ctx.storage().put(NOTICES, &all)
}

impl Room for Notifications {
    fn on_connect(&mut self, ctx: &Context, conn: &Connection, _: &Request) -> Result {
        let by = conn.transport().as_str();
        conn.send(&ToPage::All { notices: &notices(ctx)?, by })
    }

    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        match message.json()? {
            FromPage::Notify { text } => notify(ctx, text)?,
            FromPage::Read { id } => read(ctx, id)?,
            FromPage::Writes => {
                // Nobody misses it who does not see it now.
                ctx.broadcast(&ToPage::Writes).volatile().except(conn);
            }
        }
        Ok(())
    }
}

room_sdk::export!(Notifications);
