//! The mock host as rooms call it.
//!
//! Owns the slot in which the world of the room that runs now lies. Invariant: a world lies there
//! only while a callback of its room runs. It does not know which callback that is.

use std::cell::RefCell;
use std::mem;
use std::ops::Bound;

use super::limits;
use super::turn::{Output, Undo};
use super::world::{LogLine, Pending, Phase, World};
use crate::connection::Close;
use crate::error::{ConnectionError, StorageError};
use crate::host::{ConnectionData, Entry, Host, ListOptions, Page};
use crate::log::Level;
use crate::message::Message;

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

fn world<T>(call: impl FnOnce(&mut World) -> T) -> T {
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
pub(crate) struct Mock;

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
            let about = world.turn_mut().about.as_ref().filter(|about| about.id == id).cloned();
            about.or_else(|| world.open_by_id(id).ok().map(|link| link.data.clone()))
        })
    }

    fn send(id: &str, message: Message) -> Result<(), ConnectionError> {
        world(|world| {
            let client = world.open_by_id(id)?.client;
            world.hold(&[client], &message)
        })
    }

    fn broadcast(
        message: Message,
        tag: Option<&str>,
        without: &[String],
    ) -> Result<(), ConnectionError> {
        world(|world| {
            let clients: Vec<usize> = world
                .open(tag)
                .filter(|link| !without.contains(&link.data.id))
                .map(|link| link.client)
                .collect();
            world.hold(&clients, &message)
        })
    }

    fn close(id: &str, code: u16, reason: &str) -> Result<(), ConnectionError> {
        world(|world| {
            limits::check_close(code, reason)?;
            let link = world.open_by_id(id)?;
            link.phase = Phase::Closing;
            let client = link.client;
            let close = Close { code, reason: reason.to_owned(), clean: true };
            let turn = world.turn_mut();
            turn.journal.push(Undo::Closing { client });
            turn.outputs.push(Output::Close { client, close });
            Ok(())
        })
    }

    fn set_state(id: &str, state: &[u8]) -> Result<(), ConnectionError> {
        world(|world| {
            limits::check_state(state)?;
            let link = world.open_by_id(id)?;
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
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        world(|world| {
            count_writes(world, entries.len(), bytes)?;
            for (key, value) in entries.iter().cloned() {
                let old = world.storage.insert(key.clone(), value);
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
        let bytes = keys.iter().map(Vec::len).sum();
        world(|world| {
            count_writes(world, keys.len(), bytes)?;
            let mut deleted = 0;
            for key in keys {
                if let Some(old) = world.storage.remove(key) {
                    let undo = Undo::Key { key: key.clone(), old: Some(old) };
                    world.turn_mut().journal.push(undo);
                    deleted += 1;
                }
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
            count_writes(world, 1, 0)?;
            let keys = mem::take(&mut world.storage);
            world.turn_mut().journal.push(Undo::AllKeys(keys));
            replace_alarm(world, None);
            Ok(())
        })
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

    fn party() -> String {
        world(|world| world.party.clone())
    }

    fn name() -> String {
        world(|world| world.name.clone())
    }

    fn flush() {
        world(|world| {
            let about = world.turn_mut().about.take();
            world.commit();
            world.begin(about);
        });
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
}

fn replace_alarm(world: &mut World, alarm: Option<Pending>) {
    world.turn_mut();
    let old = mem::replace(&mut world.alarm, alarm);
    world.turn_mut().journal.push(Undo::Alarm(old));
}

fn count_writes(world: &mut World, writes: usize, bytes: usize) -> Result<(), StorageError> {
    let turn = world.turn_mut();
    let refused = |limit: &str| Err(StorageError::TooManyWrites(limit.to_owned()));
    if turn.writes + writes > limits::TURN_WRITES_MAX {
        return refused("turn_writes_max");
    }
    if turn.write_bytes + bytes > limits::TURN_WRITE_BYTES_MAX {
        return refused("turn_write_bytes_max");
    }
    turn.writes += writes;
    turn.write_bytes += bytes;
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
