//! One step of a script. Owns the words of the script.
//!
//! Invariant: a step that fails fails the turn. It does not know which event brought the script.

use crate::outcalls::Ask;
use crate::plan::Plan;
use crate::presence::PresenceStep;
use crate::streams::StreamStep;
use crate::{Puppet, faults, note, samples};
use room_sdk::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// A step of a script. `say` answers the sender of the script.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Says a text.
    Say(String),
    /// Says so many bytes of text.
    SayBytes(usize),
    /// Says the same text so many times.
    SayMany(u32, String),
    /// Sends a text to another connection.
    SendTo(String, String),
    /// Sends a text to all.
    Broadcast(String),
    /// Sends so many bytes of text to all.
    BroadcastBytes(usize),
    /// Sends so many bytes of text to all, so many times.
    BroadcastOften(u32, usize),
    /// Sends a text to all but these.
    BroadcastExcept(String, Vec<String>),
    /// Sends a text to those with a tag.
    BroadcastTagged(String, String),
    /// Sends a text to all who keep up.
    BroadcastVolatile(String),
    /// Sends a text to all, in place of the one with this key.
    BroadcastLatest(String, String),
    /// Closes the connection that asks.
    Close(u16, String),
    /// Closes the connection without a code.
    CloseWithoutCode,
    /// Closes another connection.
    CloseOther(String, u16, String),
    /// Replaces the state of the connection that asks.
    SetState(Value),
    /// Says the state of the connection that asks.
    State,
    /// Sets a key.
    Put(String, Value),
    /// Sets a key to so many bytes.
    PutBytes(String, usize),
    /// Sets so many keys.
    PutMany(u32),
    /// Sets so many keys to so many bytes.
    PutManyBytes(u32, usize),
    /// Says a value as JSON, `null` if there is none.
    Get(String),
    /// Asks for the same large value thousands of times in one call.
    AskTooMuch,
    /// Says how many bytes a value has.
    Size(String),
    /// Says whether the key was there, and removes it.
    Delete(String),
    /// Removes everything.
    DeleteAll,
    /// Says the keys of a range, joined by commas.
    List(Listing),
    /// Adds one to a number, and says it.
    Add(String),
    /// Says the newest messages that the room has sent, at most so many, and whether there are more.
    History(u32),
    /// Sets the alarm so many milliseconds from now.
    AlarmIn(u64),
    /// Says whether there is an alarm.
    AlarmIsSet,
    /// Removes the alarm.
    AlarmDelete,
    /// Schedules a timer with this tag so many milliseconds from now, or before.
    TimerIn(i64, String),
    /// Schedules a timer as above, which repeats at this pause.
    TimerEvery(i64, u64, String),
    /// Schedules so many timers for this number of milliseconds from now.
    TimerMany(u32, i64),
    /// Says the tags of the pending timers.
    Timers,
    /// Says how many timers with this tag it cancelled.
    TimerCancel(String),
    /// Notes a text among the room's events.
    Note(String),
    /// Asks another server or room.
    Ask(Ask),
    /// Starts ticks at this pause.
    Tick(u64),
    /// Ends the ticks.
    StopTicks,
    /// Does something with a response that is open.
    Stream(StreamStep),
    /// Does something with who is in the room.
    Presence(PresenceStep),
    /// Notes how often the alarm has failed before.
    NoteTries,
    /// Says the bytes of the storage, and their bound.
    Bytes,
    /// Carries out steps in a transaction, and says its error if it fails.
    Transaction(Value),
    /// Opens so many transactions, one in the other, and says the error of the innermost.
    Nest(u32),
    /// Calls the host to undo a savepoint that is not open.
    RollBackUnknown,
    /// Calls the host to flush while a savepoint is open.
    FlushInside,
    /// Fails with a status and a text for the client.
    Refuse(u16, String),
    /// Says what carries the messages of the connection that asks.
    Transport,
    /// Says the report.
    Report,
    /// Says the value of a variable.
    Var(String),
    /// Says a ticket for a room of the party `main`, or for all, that lasts so many milliseconds and is valid once or
    /// more often.
    Ticket(Option<String>, u64, bool),
    /// Says how many environment variables there are.
    VarCount,
    /// Writes a log line.
    Log(String),
    /// Prints.
    Print(String),
    /// Says whether a file can be opened.
    Open(String),
    /// Says a value of every source of randomness.
    Random,
    /// Says the times of the clocks.
    Time,
    /// Says the bits of NaN results.
    NotANumber,
    /// Ends the turn so far.
    Flush,
    /// Fails.
    Err(String),
    /// Panics.
    Panic(String),
    /// Traps without a message.
    Trap,
    /// Ends the process.
    Exit(i32),
    /// Sleeps.
    Sleep(u64),
    /// Computes forever.
    Loop,
    /// Asks for the next message forever.
    NextForever,
    /// Recurses forever.
    Recurse,
    /// Recurses forever, with much on the stack.
    RecurseWide,
    /// Allocates so many bytes, and keeps them as long as the instance lives.
    Keep(usize),
    /// Allocates forever.
    Alloc,
    /// Allocates so many bytes, and keeps them as long as the instance lasts.
    Leak(usize),
    /// Has a callback carry out a script the next so many times that it runs, in a turn of its own.
    Plan(String, u32, Value),
    /// Says something until it is refused, and fails.
    Flood,
    /// Says something so many times, and ignores refusals.
    FloodAnyway(u32),
}

/// The options of a listing.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Listing {
    prefix: Option<String>,
    start: Option<String>,
    start_after: Option<String>,
    end: Option<String>,
    reverse: bool,
    limit: Option<u32>,
}

pub(crate) type Say<'a> = &'a dyn Fn(String) -> Result;

impl Step {
    pub(crate) fn run(
        self,
        room: &mut Puppet,
        ctx: &Context,
        conn: Option<&Connection>,
        say: Say<'_>,
    ) -> Result {
        match self {
            Self::Say(text) => say(text),
            Self::SayBytes(bytes) => say("x".repeat(bytes)),
            Self::SayMany(times, text) => (0..times).try_for_each(|_| say(text.clone())),
            Self::SendTo(id, text) => ctx
                .connection(&id)
                .ok_or_else(|| anyhow!("{id} is gone"))?
                .send(Message::text(text)),
            Self::Broadcast(text) => ctx.broadcast(Message::text(text)).send(),
            Self::BroadcastBytes(bytes) => ctx.broadcast(Message::text("x".repeat(bytes))).send(),
            Self::BroadcastOften(times, bytes) => {
                (0..times).try_for_each(|_| ctx.broadcast(Message::text("x".repeat(bytes))).send())
            }
            Self::BroadcastExcept(text, without) => {
                let broadcast = ctx.broadcast(Message::text(text));
                without.into_iter().fold(broadcast, |broadcast, id| broadcast.except(id)).send()
            }
            Self::BroadcastTagged(text, tag) => {
                ctx.broadcast(Message::text(text)).tagged(tag).send()
            }
            Self::BroadcastVolatile(text) => ctx.broadcast(Message::text(text)).volatile().send(),
            Self::BroadcastLatest(key, text) => {
                ctx.broadcast(Message::text(text)).latest(key).send()
            }
            Self::Transport => say(me(conn)?.transport().as_str().to_owned()),
            Self::Close(code, reason) => me(conn)?.close(code, &reason),
            Self::CloseWithoutCode => me(conn)?.close_without_code(),
            Self::CloseOther(id, code, reason) => {
                let other = ctx.connection(&id).ok_or_else(|| anyhow!("{id} is gone"))?;
                other.close(code, &reason)
            }
            Self::SetState(state) => me(conn)?.set_state(&state),
            Self::State => say(me(conn)?.state::<Value>()?.unwrap_or_default().to_string()),
            Self::Leak(bytes) => {
                room.leaked.push(vec![1; bytes]);
                Ok(())
            }
            Self::Transaction(steps) => {
                let steps: Vec<Self> = serde_json::from_value(steps)?;
                let part = |ctx: &Context| {
                    steps.into_iter().try_for_each(|step| step.run(room, ctx, conn, say))
                };
                match ctx.transaction(part) {
                    Ok(()) => Ok(()),
                    Err(error) => say(format!("undone: {error:#}")),
                }
            }
            Self::Stream(step) => step.run(ctx, say),
            Self::Presence(step) => step.run(ctx, conn, say),
            Self::History(limit) => {
                let read = ctx.history().limit(limit).read()?;
                let texts = read.messages.iter().map(|sent| sent.message.as_text());
                let texts: Vec<_> = texts.map(Option::unwrap_or_default).collect();
                say(format!("{} more: {}", texts.join(","), read.more))
            }
            Self::Report => say(serde_json::to_string(&room.report(ctx)?)?),
            step => step.store(ctx, say),
        }
    }

    /// Returns the steps about storage and the alarm.
    fn store(self, ctx: &Context, say: Say<'_>) -> Result {
        let storage = ctx.storage();
        match self {
            Self::Put(key, value) => storage.put(key, &value),
            Self::PutBytes(key, bytes) => storage.raw().put(key, vec![7; bytes]),
            Self::PutMany(keys) => {
                (0..keys).try_for_each(|key| storage.put(format!("many-{key:06}"), &key))
            }
            Self::PutManyBytes(keys, bytes) => (0..keys)
                .try_for_each(|key| storage.raw().put(format!("many-{key:06}"), vec![7; bytes])),
            Self::Get(key) => say(storage.get::<Value>(key)?.unwrap_or_default().to_string()),
            Self::AskTooMuch => {
                storage.put("big", &"x".repeat(500_000))?;
                storage.get_many::<Value>(vec!["big"; 5_000]).map(drop)
            }
            Self::Size(key) => say(storage.raw().get(key)?.unwrap_or_default().len().to_string()),
            Self::Plan(callback, times, steps) => Plan { times, steps }.keep(ctx, &callback),
            Self::Delete(key) => say(storage.delete(key)?.to_string()),
            Self::DeleteAll => storage.delete_all(),
            Self::List(listing) => say(listing.keys(ctx)?.join(",")),
            Self::Add(key) => {
                let sum = storage.get::<u64>(&key)?.unwrap_or_default() + 1;
                storage.put(key, &sum)?;
                say(sum.to_string())
            }
            Self::AlarmIn(ms) => {
                ctx.alarm().set_in(Duration::from_millis(ms));
                Ok(())
            }
            Self::AlarmIsSet => say(ctx.alarm().get().is_some().to_string()),
            Self::AlarmDelete => {
                ctx.alarm().delete();
                Ok(())
            }
            Self::NoteTries => crate::note(ctx, format!("try {}", ctx.alarm().tries())),
            Self::Bytes => say(format!("{} of {}", storage.bytes()?, storage.bytes_max())),
            Self::Nest(depth) => {
                let error = nest(ctx, depth).err().map(|error| error.to_string());
                say(error.unwrap_or_default())
            }
            step => step.time(ctx, say),
        }
    }

    /// Returns the steps about timers and ticks.
    fn time(self, ctx: &Context, say: Say<'_>) -> Result {
        let from_now =
            |ms: i64| Timestamp::from_millis(ctx.now().as_millis().saturating_add_signed(ms));
        match self {
            Self::TimerIn(ms, tag) => ctx.schedule(from_now(ms), &tag, &ms).id().map(drop),
            Self::TimerEvery(ms, every, tag) => {
                let every = Duration::from_millis(every);
                ctx.schedule(from_now(ms), &tag, &ms).every(every).id().map(drop)
            }
            Self::TimerMany(count, ms) => (0..count).try_for_each(|number| {
                ctx.schedule(from_now(ms), &format!("many-{number}"), &number).id().map(drop)
            }),
            Self::Timers => {
                let timers = ctx.timers();
                say(timers.iter().map(Timer::tag).collect::<Vec<_>>().join(","))
            }
            Self::TimerCancel(tag) => {
                let timers = ctx.timers();
                let own = timers.iter().filter(|timer| timer.tag() == tag);
                say(own.filter(|timer| ctx.cancel(timer.id())).count().to_string())
            }
            Self::Note(text) => note(ctx, text),
            Self::Ask(ask) => ask.run(ctx, say),
            Self::Tick(ms) => ctx.tick(Duration::from_millis(ms)),
            Self::StopTicks => {
                ctx.stop_ticks();
                Ok(())
            }
            step => step.misbehave(ctx, say),
        }
    }

    /// Returns the steps about the world outside, and those that no good room has.
    fn misbehave(self, ctx: &Context, say: Say<'_>) -> Result {
        match self {
            Self::Var(name) => say(ctx.var(&name).unwrap_or_default()),
            Self::Ticket(room, ms, once) => {
                let ticket =
                    room.map_or_else(|| Ticket::party("main"), |room| Ticket::room("main", room));
                let ticket = ticket.lasting(Duration::from_millis(ms));
                say(ctx.ticket(if once { ticket.once() } else { ticket })?)
            }
            Self::VarCount => say(std::env::vars_os().count().to_string()),
            Self::Log(line) => {
                log::info!("{line}");
                Ok(())
            }
            Self::Print(text) => {
                use std::io::Write;
                Ok(std::io::stdout().write_all(text.as_bytes())?)
            }
            Self::Open(path) => say(std::fs::File::open(path).is_ok().to_string()),
            Self::Random => say(samples::random()),
            Self::Time => say(samples::time()),
            Self::NotANumber => say(samples::not_a_number()),
            Self::Flush => ctx.flush(),
            Self::RollBackUnknown => faults::roll_back_unknown(),
            Self::FlushInside => faults::flush_inside(),
            Self::Refuse(status, text) => Err(StatusError::new(status, text).into()),
            Self::Err(text) => Err(anyhow!(text)),
            Self::Panic(text) => panic!("{text}"),
            Self::Trap => faults::trap(),
            Self::Exit(code) => std::process::exit(code),
            Self::Sleep(ms) => {
                std::thread::sleep(Duration::from_millis(ms));
                Ok(())
            }
            Self::Loop => faults::endless_loop(),
            Self::NextForever => faults::endless_next(),
            Self::Recurse => say(faults::endless_recursion::<0>(0).to_string()),
            Self::RecurseWide => say(faults::endless_recursion::<64>(0).to_string()),
            Self::Keep(bytes) => {
                std::mem::forget(std::hint::black_box(vec![1_u8; bytes]));
                Ok(())
            }
            Self::Alloc => faults::endless_allocation(),
            Self::Flood => loop {
                say("flood".to_owned())?;
            },
            Self::FloodAnyway(times) => {
                (0..times).for_each(|_| drop(say("flood".to_owned())));
                Ok(())
            }
            _ => bail!("no such step"),
        }
    }
}

impl Listing {
    fn keys(self, ctx: &Context) -> Result<Vec<String>> {
        let mut list = ctx.storage().raw().list();
        if let Some(prefix) = self.prefix {
            list = list.prefix(prefix);
        }
        if let Some(start) = self.start {
            list = list.start(start);
        }
        if let Some(start_after) = self.start_after {
            list = list.start_after(start_after);
        }
        if let Some(end) = self.end {
            list = list.end(end);
        }
        if let Some(limit) = self.limit {
            list = list.limit(limit);
        }
        if self.reverse {
            list = list.reverse();
        }
        let text = |key: Vec<u8>| String::from_utf8_lossy(&key).into_owned();
        let keys = list.into_iter().map(|entry| Ok(text(entry?.0)));
        keys.filter(|key| !key.as_ref().is_ok_and(|key| key.starts_with('~'))).collect()
    }
}

/// Opens transactions, one in the other.
fn nest(ctx: &Context, depth: u32) -> Result {
    match depth {
        0 => Ok(()),
        _ => ctx.transaction(|ctx| nest(ctx, depth - 1)),
    }
}

fn me(conn: Option<&Connection>) -> Result<&Connection> {
    conn.ok_or_else(|| anyhow!("a request has no connection"))
}
