//! The mock host as rooms call it.
//!
//! Owns the slot in which the world of the room that runs now lies. Invariant: a world lies there
//! only while a callback of its room runs. It does not know which callback that is.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::mem;
use std::ops::Bound;

use super::fetches;
use super::limits;
use super::streams::{ClientEnd, id};
use super::turn::{Output, Undo};
use super::world::{Keys, LogLine, Pending, Phase, World};
use crate::connection::{Close, Transport};
use crate::delivery::Delivery;
use crate::error::{
    ConnectionError, HistoryError, OutcallError, PresenceError, StorageError, StreamError,
    TimerError, too_deep,
};
use crate::history::SentMessages;
use crate::hook_fetch::HookFetch;
use crate::host::{
    ConnectionData, Entry, GrantRecord, Host, IdentityRecord, ListOptions, OutcallRecord, Page,
    SentOptions, TimerRecord, UserRecord,
};
use crate::http::{Response, Rest};
use crate::log::Level;
use crate::message::Message;
use crate::outcall::{OutcallFailure, PendingRequest};

thread_local! {
    static CURRENT: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Runs `callback` with `world` as the one that host calls reach.
pub(super) fn with_world<T>(world: &mut World, callback: impl FnOnce() -> T) -> T {
    let outer = CURRENT.replace(Some(mem::take(world)));
    let value = callback();
    *world = CURRENT.replace(outer).expect("only this function takes worlds away");
    value
}

/// Calls with the world of the room that runs now.
pub(super) fn world<T>(call: impl FnOnce(&mut World) -> T) -> T {
    CURRENT.with_borrow_mut(|slot| {
        call(slot.as_mut().expect(
            "a room's context works only inside its callbacks: run it with room_sdk::test::TestRoom",
        ))
    })
}

/// Sets the tags of a connection that is opening; returns how it stands now.
pub(super) fn set_tags(client: usize, tags: Vec<String>) -> ConnectionData {
    world(|world| {
        let link = world.link_of(client).expect("a connection stays while it opens");
        link.data.tags = tags;
        link.data.clone()
    })
}

/// The host of native builds.
#[derive(Debug)]
pub struct Mock;

impl Host for Mock {
    fn connections(tag: Option<&str>) -> Vec<ConnectionData> {
        world(|world| {
            world.turn_mut();
            world.open(tag).map(|link| link.data.clone()).collect()
        })
    }

    fn connection_ids(tag: Option<&str>) -> Vec<String> {
        Self::connections(tag).into_iter().map(|data| data.id).collect()
    }

    fn connection(id: &str) -> Option<ConnectionData> {
        world(|world| {
            world.turn_mut();
            let about = world.about.as_ref().filter(|about| about.id == id).cloned();
            about.or_else(|| world.open_by_id(id).ok().map(|link| link.data.clone()))
        })
    }

    fn transport(id: &str) -> Option<Transport> {
        world(|world| {
            world.turn_mut();
            let is_about = world.about.as_ref().is_some_and(|about| about.id == id);
            let is_there = is_about || world.open_by_id(id).is_ok();
            is_there.then(|| world.transports.get(id).copied().unwrap_or_default())
        })
    }

    fn send(id: &str, message: Message) -> Result<(), ConnectionError> {
        world(|world| {
            let client = world.open_by_id(id)?.client;
            world.hold(&[client], &message, &Delivery::Reliable)
        })
    }

    fn send_as(id: &str, message: Message, delivery: &Delivery) -> Result<(), ConnectionError> {
        world(|world| {
            let client = world.open_by_id(id)?.client;
            limits::check_delivery(delivery)?;
            world.hold(&[client], &message, delivery)
        })
    }

    fn broadcast_as(
        message: Message,
        tag: Option<&str>,
        without: &[String],
        delivery: &Delivery,
    ) -> Result<(), ConnectionError> {
        limits::check_delivery(delivery)?;
        world(|world| world.broadcast((message, delivery), tag, without))
    }

    fn broadcast(
        message: Message,
        tag: Option<&str>,
        without: &[String],
    ) -> Result<(), ConnectionError> {
        world(|world| world.broadcast((message, &Delivery::Reliable), tag, without))
    }

    fn history(options: &SentOptions) -> Result<SentMessages, HistoryError> {
        world(|world| {
            world.turn_mut();
            world.memory.read(options)
        })
    }

    fn set_presence(connection: &str, data: &str) -> Result<(), PresenceError> {
        world(|world| world.set_presence(connection, data))
    }

    fn clear_presence(connection: &str) -> Result<(), PresenceError> {
        world(|world| world.clear_presence(connection))
    }

    fn flag_presence(connection: &str, flag: &str, for_ms: u32) -> Result<(), PresenceError> {
        world(|world| world.flag_presence(connection, flag, for_ms))
    }

    fn present_users() -> Result<Vec<UserRecord>, PresenceError> {
        world(|world| {
            world.turn_mut();
            world.user_records()
        })
    }

    fn present_user(name: &str) -> Result<Option<UserRecord>, PresenceError> {
        world(|world| {
            world.turn_mut();
            world.user_record(name)
        })
    }

    fn close(id: &str, code: u16, reason: &str) -> Result<(), ConnectionError> {
        world(|world| {
            world.turn_mut();
            limits::check_close(code, reason)?;
            let Ok(link) = world.open_by_id(id) else {
                let known = world.is_closed(id);
                return known.then_some(()).ok_or(ConnectionError::NotFound);
            };
            let client = link.client;
            world.count_output()?;
            world.open_by_id(id)?.phase = Phase::Closing;
            let close = Close { code, reason: reason.to_owned(), clean: true };
            let turn = world.turn_mut();
            turn.journal.push(Undo::Closing { client });
            turn.outputs.push(Output::Close { client, close });
            Ok(())
        })
    }

    fn set_state(id: &str, state: &[u8]) -> Result<(), ConnectionError> {
        world(|world| {
            world.turn_mut();
            if let Some(about) = world.about.as_mut().filter(|about| about.id == id) {
                limits::check_state(state)?;
                let old = mem::replace(&mut about.state, state.to_vec());
                world.turn_mut().journal.push(Undo::StateOfEnded(old));
                return Ok(());
            }
            let link = world.open_by_id(id)?;
            limits::check_state(state)?;
            let client = link.client;
            let old = mem::replace(&mut link.data.state, state.to_vec());
            world.turn_mut().journal.push(Undo::State { client, old });
            Ok(())
        })
    }

    fn get(key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        limits::check_key(key)?;
        world(|world| {
            world.turn_mut();
            Ok(world.storage.get(key).cloned())
        })
    }

    fn get_many(keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        if keys.len() > limits::TURN_WRITES_MAX {
            return Err(limits::too_many_writes("turn_writes_max", limits::TURN_WRITES_MAX as u64));
        }
        keys.iter().map(|key| Self::get(key)).collect()
    }

    fn put(key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        Self::put_many(&[(key.to_vec(), value.to_vec())])
    }

    fn put_many(entries: &[Entry]) -> Result<(), StorageError> {
        for (key, value) in entries {
            limits::check_key(key)?;
            limits::check_value(value)?;
        }
        // Of two entries with one key the later wins.
        let entries: Keys = entries.iter().cloned().collect();
        world(|world| {
            check_room(world, &entries)?;
            let sizes = entries.iter().map(|(key, value)| (key.clone(), key.len() + value.len()));
            count_writes(world, &sizes.collect::<Vec<_>>())?;
            for (key, value) in entries {
                let old = world.store(key.clone(), Some(value));
                world.turn_mut().journal.push(Undo::Key { key, old });
            }
            Ok(())
        })
    }

    fn delete(key: &[u8]) -> Result<bool, StorageError> {
        Ok(Self::delete_many(&[key.to_vec()])? == 1)
    }

    fn delete_many(keys: &[Vec<u8>]) -> Result<u32, StorageError> {
        keys.iter().try_for_each(|key| limits::check_key(key))?;
        world(|world| {
            // A missing key counts nothing.
            let there = keys.iter().filter(|key| world.storage.contains_key(*key)).cloned();
            let there: BTreeSet<Vec<u8>> = there.collect();
            let sizes = there.iter().map(|key| (key.clone(), key.len()));
            count_writes(world, &sizes.collect::<Vec<_>>())?;
            let deleted = u32::try_from(there.len()).unwrap_or(u32::MAX);
            for key in there {
                let old = world.store(key.clone(), None);
                world.turn_mut().journal.push(Undo::Key { key, old });
            }
            Ok(deleted)
        })
    }

    fn list(options: &ListOptions) -> Result<Page, StorageError> {
        if options.start.is_some() && options.start_after.is_some() {
            let why = "start and start_after contradict each other".to_owned();
            return Err(StorageError::InvalidRange(why));
        }
        world(|world| {
            world.turn_mut();
            Ok(page(world, options))
        })
    }

    fn delete_all() -> Result<(), StorageError> {
        world(|world| {
            let turn = world.turn_mut();
            turn.written.clear();
            turn.write_bytes = 0;
            let keys = world.store_all(Keys::new());
            world.turn_mut().journal.push(Undo::AllKeys(keys));
            replace_alarm(world, None);
            let numbers: Vec<u64> = world.timers.keys().copied().collect();
            numbers.into_iter().for_each(|number| world.set_timer(number, None));
            let numbers: Vec<u64> = world.outcalls.keys().copied().collect();
            numbers.into_iter().for_each(|number| world.set_outcall(number, None));
            Ok(())
        })
    }

    fn bytes() -> Result<u64, StorageError> {
        world(|world| {
            world.turn_mut();
            Ok(world.stored_bytes)
        })
    }

    fn bytes_max() -> u64 {
        world(|world| world.room_bytes_max.unwrap_or(limits::ROOM_BYTES_MAX))
    }

    fn alarm() -> Option<u64> {
        world(|world| {
            world.turn_mut();
            world.alarm.map(|alarm| alarm.due_ms)
        })
    }

    fn set_alarm(at: u64) {
        world(|world| {
            replace_alarm(world, Some(Pending { due_ms: at, failures: 0 }));
        });
    }

    fn delete_alarm() {
        world(|world| replace_alarm(world, None));
    }

    fn alarm_tries() -> u32 {
        world(|world| {
            world.turn_mut();
            world.alarm_tries
        })
    }

    fn schedule(timer: TimerRecord) -> Result<String, TimerError> {
        world(|world| world.schedule(timer))
    }

    fn cancel(id: &str) -> bool {
        world(|world| world.cancel(id))
    }

    fn timers() -> Vec<TimerRecord> {
        world(|world| {
            world.turn_mut();
            world.timers_in_order()
        })
    }

    fn tick(every_ms: Option<u32>) -> Result<(), TimerError> {
        world(|world| world.tick(every_ms))
    }

    fn ask(outcall: OutcallRecord) -> Result<String, OutcallError> {
        world(|world| world.ask(outcall))
    }

    fn cancel_outcall(id: &str) -> bool {
        world(|world| world.cancel_outcall(id))
    }

    fn rooms(party: &str, after: Option<&str>) -> Result<(Vec<String>, bool), OutcallError> {
        world(|world| {
            world.turn_mut();
            let names = world.others.iter().filter(|(own, _)| own == party).map(|(_, name)| name);
            let behind = names.filter(|name| after.is_none_or(|after| name.as_str() > after));
            Ok((behind.cloned().collect(), false))
        })
    }

    fn outcalls() -> Vec<PendingRequest> {
        world(|world| {
            world.turn_mut();
            world.pending_outcalls()
        })
    }

    fn request() -> Option<(String, bool)> {
        world(|world| {
            world.turn_mut();
            world.streams.own.map(|(number, follows)| (id(number), follows))
        })
    }

    fn defer() -> Result<String, StreamError> {
        world(World::defer)
    }

    fn respond(id: &str, response: Response) -> Result<(), StreamError> {
        world(|world| world.respond(id, response))
    }

    fn begin(id: &str, head: Response) -> Result<(), StreamError> {
        let head = Response { rest: Rest::Stream(id.to_owned()), ..head };
        world(|world| world.respond(id, head))
    }

    fn write(id: &str, piece: &[u8]) -> Result<(), StreamError> {
        world(|world| world.write_stream(id, piece))
    }

    fn end(id: &str) -> Result<(), StreamError> {
        world(|world| world.end_stream(id, ClientEnd::Complete))
    }

    fn abort(id: &str) -> Result<(), StreamError> {
        world(|world| world.end_stream(id, ClientEnd::BrokenOff))
    }

    fn open_streams() -> Vec<String> {
        world(|world| {
            world.turn_mut();
            world.streams.ids()
        })
    }

    fn identity_of(connection: &str) -> Option<IdentityRecord> {
        world(|world| {
            world.turn_mut();
            world.identities.get(connection).cloned()
        })
    }

    fn ticket(grant: GrantRecord) -> Result<String, String> {
        world(|world| world.ticket(&grant))
    }

    fn party() -> String {
        world(|world| world.party.clone())
    }

    fn name() -> String {
        world(|world| world.name.clone())
    }

    fn flush() {
        world(|world| {
            let delivered = world.keep_delivered();
            let answering = world.keep_answering();
            world.commit();
            world.begin();
            if let Some(number) = answering {
                world.set_outcall(number, None);
            }
            if let Some((number, after)) = delivered {
                world.set_timer(number, after);
            }
        });
    }

    fn savepoint() -> crate::Result<u32> {
        world(|world| {
            let turn = world.turn_mut();
            if turn.savepoints.len() >= limits::TURN_SAVEPOINTS_MAX {
                return Err(too_deep("turn_savepoints_max", limits::TURN_SAVEPOINTS_MAX as u64));
            }
            Ok(turn.mark())
        })
    }

    fn roll_back(savepoint: u32) {
        world(|world| world.roll_back_to(savepoint));
    }

    fn release(savepoint: u32) {
        world(|world| drop(world.turn_mut().take_mark(savepoint)));
    }

    fn refuse(response: Response) {
        world(|world| world.refusal = Some(response));
    }

    fn add_response_header(name: &str, value: &[u8]) {
        world(|world| {
            let added = world.added.as_mut();
            let added = added.expect("a lobby works only inside the hook that it was given to");
            if let Err(problem) = limits::check_added(added, name, value) {
                panic!("{problem}");
            }
            added.push((name.to_ascii_lowercase(), value.to_vec()));
        });
    }

    fn fetch_now(fetch: HookFetch) -> Result<Response, OutcallFailure> {
        world(|world| fetches::fetch(world, fetch))
    }

    fn log(level: Level, message: &str, fields: &[(&str, String)]) {
        let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let line = LogLine { level, message: message.to_owned(), fields };
        // A helper that logs can be tested without a room; then nobody reads its lines.
        CURRENT.with_borrow_mut(|slot| {
            if let Some(world) = slot {
                world.logs.push(line);
            }
        });
    }

    fn now_ms() -> u64 {
        world(|world| world.now_ms)
    }

    fn var(name: &str) -> Option<String> {
        world(|world| world.vars.get(name).cloned())
    }

    fn vars() -> Vec<(String, String)> {
        world(|world| world.vars.clone().into_iter().collect())
    }
}

fn replace_alarm(world: &mut World, alarm: Option<Pending>) {
    world.turn_mut();
    let old = mem::replace(&mut world.alarm, alarm);
    world.turn_mut().journal.push(Undo::Alarm(old));
}

/// Counts changes of different keys, each with its bytes: all, or none if they are too many for the
/// turn. A key that the turn changes again counts once, as it is then.
fn count_writes(world: &mut World, changes: &[(Vec<u8>, usize)]) -> Result<(), StorageError> {
    let turn = world.turn_mut();
    let replaced = changes.iter().filter_map(|(key, _)| turn.written.get(key));
    let (again, replaced) = (replaced.clone().count(), replaced.sum::<usize>());
    if turn.written.len() - again + changes.len() > limits::TURN_WRITES_MAX {
        return Err(limits::too_many_writes("turn_writes_max", limits::TURN_WRITES_MAX as u64));
    }
    let added: usize = changes.iter().map(|(_, bytes)| bytes).sum();
    let bytes = turn.write_bytes - replaced + added;
    if bytes > limits::TURN_WRITE_BYTES_MAX {
        let max = limits::TURN_WRITE_BYTES_MAX as u64;
        return Err(limits::too_many_writes("turn_write_bytes_max", max));
    }
    turn.write_bytes = bytes;
    turn.written.extend(changes.iter().cloned());
    Ok(())
}

/// Refuses what would leave more in the room than it may hold. What makes it smaller is never refused.
fn check_room(world: &World, entries: &Keys) -> Result<(), StorageError> {
    let bytes = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.len() + value.len()) as u64;
    let added: u64 = entries.iter().map(bytes).sum();
    let there = entries.keys().filter_map(|key| Some((key, world.storage.get(key)?)));
    let replaced: u64 = there.map(bytes).sum();
    let max = world.room_bytes_max.unwrap_or(limits::ROOM_BYTES_MAX);
    if added > replaced && world.stored_bytes - replaced + added > max {
        return Err(limits::too_many_writes("room_bytes_max", max));
    }
    Ok(())
}

/// The next page of a listing.
fn page(world: &World, options: &ListOptions) -> Page {
    let start = match (&options.start, &options.start_after) {
        (Some(start), _) => Bound::Included(start.as_slice()),
        (None, Some(after)) => Bound::Excluded(after.as_slice()),
        (None, None) => Bound::Unbounded,
    };
    let wanted = |key: &[u8]| {
        options.end.as_ref().is_none_or(|end| key < end.as_slice())
            && options.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix))
    };
    let mut entries: Vec<Entry> = world
        .storage
        .range::<[u8], _>((start, Bound::Unbounded))
        .filter(|(key, _)| wanted(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if options.reverse {
        entries.reverse();
    }
    let limit = options.limit.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(usize::MAX).min(limits::LIST_PAGE_ENTRIES_MAX);
    let more = entries.len() > limit;
    entries.truncate(limit);
    Page { entries, more }
}
