//! Random lives of a few rooms, against a plain map: turns that are kept and turns that are dropped, reads
//! and listings, alarms, evictions, crashes of the process and of the machine, exports.
//!
//! All stores run the same lives. A failure is shrunk, and prints the remaining steps. For more lives, a
//! quarter of the number of cases: `PROPTEST_CASES=10000 cargo test -p room-runtime --lib plain_map`.

use super::super::testing::Disk;
use super::super::{CommitExtras, LastUse, OutboundChange, RoomContent, RoomStore, Store};
use super::cluster::Cluster;
use super::image::Image;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use room_core::id::{ModuleHash, PartyName, RoomId, SequenceNumber};
use room_core::jobs::{JobsChange, Wake};
use room_core::limits::Limits;
use room_core::span::{Direction, Key, ListOptions, Overlay};
use room_core::turn::{Turn, Writes};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const ROOMS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Turn {
        room: usize,
        acts: Vec<Act>,
        kept: bool,
        used: Used,
    },
    Use {
        room: usize,
        at: u64,
    },
    End {
        room: usize,
    },
    Evict {
        room: usize,
    },
    Crash(Crash),
    Export {
        room: usize,
    },
    Replace {
        from: usize,
        to: usize,
    },
    Delete {
        room: usize,
    },
    Jobs {
        room: usize,
        changes: Vec<(Key, Option<u8>)>,
        wake: Option<u64>,
    },
    /// Remembers as many messages, and forgets as many of the oldest, or everything before.
    Say {
        room: usize,
        messages: usize,
        forgets: usize,
        is_fresh: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum Crash {
    /// Closed in order.
    Not,
    /// The process was killed: the kernel has what it wrote.
    Process,
    /// The machine stopped: the tree's files may hold anything, and the log may end in anything.
    Machine,
}

#[derive(Clone, Debug)]
enum Act {
    Get(Key),
    Put(Key, Vec<u8>),
    Delete(Key),
    DeleteAll,
    List(ListOptions),
    SetAlarm(u64),
    DeleteAlarm,
}

/// The time of a room's use: a time of service.
type Used = Option<u64>;

fn key() -> impl Strategy<Value = Key> {
    prop::collection::vec(prop::sample::select(vec![0, b'a', b'b', 0xff]), 1..4)
}

fn act() -> impl Strategy<Value = Act> {
    // Some are longer than a piece, some are not.
    let value = (any::<u8>(), 0..40usize).prop_map(|(byte, len)| vec![byte; len]);
    let bound = || prop::option::weighted(0.3, key());
    let list = (bound(), bound(), bound(), any::<bool>(), prop::option::of(0..5u32), any::<bool>());
    let list = list.prop_map(|(start, end, prefix, reverse, limit, after)| {
        let (start, start_after) = if after { (None, start) } else { (start, None) };
        let direction = Direction::of_reverse(reverse);
        ListOptions { start, start_after, end, prefix, direction, limit }
    });
    prop_oneof![
        3 => key().prop_map(Act::Get),
        6 => (key(), value).prop_map(|(key, value)| Act::Put(key, value)),
        2 => key().prop_map(Act::Delete),
        1 => Just(Act::DeleteAll),
        3 => list.prop_map(Act::List),
        1 => (1..9u64).prop_map(Act::SetAlarm),
        1 => Just(Act::DeleteAlarm),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let room = || 0..ROOMS;
    let used = prop::option::of(1..9u64);
    let turn = (room(), prop::collection::vec(act(), 1..8), prop::bool::weighted(0.8), used);
    let change = (key(), prop::option::of(0..9u8));
    let jobs = (room(), prop::collection::vec(change, 0..4), prop::option::of(1..9u64));
    let crash = prop::sample::select(vec![Crash::Not, Crash::Process, Crash::Machine]);
    prop_oneof![
        12 => turn.prop_map(|(room, acts, kept, used)| Step::Turn { room, acts, kept, used }),
        4 => jobs.prop_map(|(room, changes, wake)| Step::Jobs { room, changes, wake }),
        2 => (room(), 1..9u64).prop_map(|(room, at)| Step::Use { room, at }),
        1 => room().prop_map(|room| Step::End { room }),
        2 => room().prop_map(|room| Step::Evict { room }),
        6 => (room(), 0..4usize, 0..3usize, prop::bool::weighted(0.1)).prop_map(
            |(room, messages, forgets, is_fresh)| Step::Say { room, messages, forgets, is_fresh }
        ),
        1 => crash.prop_map(Step::Crash),
        1 => room().prop_map(|room| Step::Export { room }),
        1 => (room(), room()).prop_map(|(from, to)| Step::Replace { from, to }),
        1 => room().prop_map(|room| Step::Delete { room }),
    ]
}

/// The expected state of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    keys: BTreeMap<Key, Bytes>,
    alarm: Option<u64>,
    jobs: BTreeMap<Key, Bytes>,
    /// When it has to be awake for its jobs.
    wake: Option<u64>,
    /// The messages that it remembers, and the id up to which everything is forgotten.
    sent: BTreeMap<SequenceNumber, Bytes>,
    floor: Option<SequenceNumber>,
    used: Used,
    /// The position of the last durable number; 0 where nothing is known of the room.
    seq: u64,
    /// Whether anything is known of it, even if nothing is left.
    known: bool,
}

/// A store, its expected state, and its live rooms.
struct World {
    place: Image,
    store: Store,
    rooms: Vec<Option<RoomStore>>,
    models: Vec<Model>,
    /// The last epoch of each room.
    epochs: Vec<u64>,
    limits: Arc<Limits>,
    exports: usize,
}

fn id(room: usize) -> RoomId {
    RoomId::new(PartyName::parse("main").unwrap(), &format!("room {room}"), 256).unwrap()
}

impl World {
    fn on(place: Image) -> Self {
        // Makes rare things happen all the time.
        let limits = Limits {
            chunk_bytes: 8,
            log_segment_bytes: 200,
            snapshot_log_bytes: 400,
            copy_slice_bytes: 50,
            room_cache_bytes_max: 60,
            room_loaded_bytes_max: 120,
            database_page_rows_max: 3,
            database_page_bytes_max: 50,
            store_retry_ms: 1,
            ..Limits::default()
        };
        let store = place.store(&limits);
        let rooms = (0..ROOMS).map(|_| None).collect();
        let models = vec![Model::default(); ROOMS];
        let epochs = vec![0; ROOMS];
        Self { place, store, rooms, models, epochs, limits: Arc::new(limits), exports: 0 }
    }

    async fn room(&mut self, room: usize) -> &RoomStore {
        if self.rooms[room].is_none() {
            let mut store = self.store.room(&id(room)).await.unwrap();
            let jobs: BTreeMap<_, _> = store.take_jobs().into_iter().collect();
            assert_eq!(jobs, self.models[room].jobs);
            // Numbers continue after the last durable one, in an epoch that no earlier number had.
            let last = store.sequence().last();
            assert_eq!(last.seq, self.models[room].seq);
            assert!(last.epoch > self.epochs[room]);
            self.epochs[room] = last.epoch;
            self.rooms[room] = Some(store);
        }
        self.rooms[room].as_ref().unwrap()
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Turn { room, acts, kept, used } => self.turn(*room, acts, *kept, *used).await,
            Step::Jobs { room, changes, wake } => self.jobs(*room, changes, *wake).await,
            Step::Say { room, messages, forgets, is_fresh } => {
                self.say(*room, *messages, (*forgets, *is_fresh)).await;
            }
            Step::Use { room, at } => {
                let touch = LastUse { at_ms: *at, tries: 0 };
                let store = self.room(*room).await;
                let (noted, last) = (store.note_use(touch).await.unwrap(), store.sequence().last());
                let model = &mut self.models[*room];
                assert_eq!(noted, model.known);
                model.used = if model.known { Some(*at) } else { None };
                model.seq = if model.known { last.seq } else { 0 };
            }
            Step::End { room } => {
                self.room(*room).await.commit_end(ModuleHash::of(b"code")).await.unwrap();
                self.models[*room] = Model::default();
            }
            Step::Evict { room } => self.rooms[*room] = None,
            Step::Crash(crash) => self.crash(*crash).await,
            Step::Export { room } => {
                let content = self.export(*room).await;
                let known = content.unwrap_or_else(|| RoomContent::of(id(*room)));
                let model = &self.models[*room];
                let wanted = (model.keys.clone(), model.alarm);
                assert_eq!((known.entries, known.alarm.map(|alarm| alarm.due_ms)), wanted);
                assert_eq!((known.jobs, known.wake.due_ms()), (model.jobs.clone(), model.wake));
                assert_eq!((known.sent, known.sent_floor), (model.sent.clone(), model.floor));
            }
            Step::Replace { from, to } => {
                if let Some(content) = self.export(*from).await {
                    self.rooms[*to] = None;
                    let used = Some(LastUse { at_ms: 9, tries: 0 });
                    self.store.import(content.renamed(id(*to)), used).await.unwrap();
                    let Model { keys, alarm, jobs, wake, sent, floor, .. } =
                        self.models[*from].clone();
                    let is_left = alarm.is_some() || !jobs.is_empty() || floor.is_some();
                    let known = !keys.is_empty() || is_left;
                    let seq = if known { self.models[*to].seq } else { 0 };
                    let used = known.then_some(9);
                    self.models[*to] =
                        Model { keys, alarm, jobs, wake, sent, floor, used, seq, known };
                }
            }
            Step::Delete { room } => {
                self.rooms[*room] = None;
                self.store.import(RoomContent::of(id(*room)), None).await.unwrap();
                self.models[*room] = Model::default();
            }
        }
    }

    async fn turn(&mut self, room: usize, acts: &[Act], kept: bool, used: Used) {
        let (mut model, limits) = (self.models[room].clone(), self.limits.clone());
        let store = self.room(room).await;
        let event = store.sequence().take(1);
        let mut turn = Turn::new(store.view(), Arc::default(), None, limits);
        acts.iter().for_each(|act| act_on_both(act, &mut turn, &mut model));
        let effects = turn.finish().unwrap();
        if kept {
            if !effects.writes.is_empty() {
                let touch = used.map(|at_ms| LastUse { at_ms, tries: 0 });
                store.commit(effects.writes, ModuleHash::of(b"code"), touch).await.unwrap();
                (model.known, model.used) = (true, used.or(model.used));
                model.seq = event.seq;
            }
            self.models[room] = model;
        }
    }

    /// Waits until every commit is durable, though the tree may not have all of them.
    async fn durable(&self) {
        let last = self.store.committer.last();
        self.store.settled().wait_for(|settled| *settled >= last).await.unwrap();
    }

    async fn crash(&mut self, crash: Crash) {
        self.durable().await;
        self.rooms.iter_mut().for_each(|room| *room = None);
        match crash {
            Crash::Not => self.store.close(),
            Crash::Process => self.place.take(&self.store),
            Crash::Machine => {
                self.place.take(&self.store);
                self.place.cut_power();
            }
        }
        self.store.close();
        self.store = self.place.store(&self.limits);
    }

    async fn export(&mut self, room: usize) -> Option<RoomContent> {
        self.durable().await;
        self.exports += 1;
        let file = self.place.scratch().join(format!("export-{}", self.exports));
        self.store.export(&id(room), file).await.unwrap()
    }

    /// Changes a room's jobs. It is awake at `wake` if it has any then.
    async fn jobs(&mut self, room: usize, changes: &[(Key, Option<u8>)], wake: Option<u64>) {
        let mut model = self.models[room].clone();
        let mut entries = Overlay::new();
        for (key, value) in changes {
            let value = value.map(|value| Bytes::copy_from_slice(&[value]));
            match &value {
                Some(value) => model.jobs.insert(key.clone(), value.clone()),
                None => model.jobs.remove(key),
            };
            entries.insert(key.clone(), value);
        }
        let wake = match (model.jobs.is_empty(), wake) {
            (true, _) => Wake::NoJobs,
            (false, None) => Wake::Idle,
            (false, Some(at)) => Wake::At(at),
        };
        let jobs = Some(JobsChange { entries, wake: Some(wake) });
        let writes = Writes { jobs, ..Writes::default() };
        let store = self.room(room).await;
        store.commit(writes, ModuleHash::of(b"code"), None).await.unwrap();
        let seq = store.sequence().last().seq;
        self.models[room] = Model { wake: wake.due_ms(), seq, known: true, ..model };
    }

    /// Remembers messages, and forgets some.
    async fn say(&mut self, room: usize, messages: usize, (forgets, is_fresh): (usize, bool)) {
        let mut model = self.models[room].clone();
        let store = self.room(room).await;
        let floor = match (forgets, model.floor) {
            // The first commit says where the messages begin.
            (_, None) => Some(store.sequence().last()),
            (0, _) if !is_fresh => None,
            _ if is_fresh => Some(store.sequence().last()),
            (count, _) => model.sent.keys().nth(count - 1).copied(),
        };
        let first = store.sequence().take(messages);
        let entries: BTreeMap<_, _> = (0..messages)
            .map(|at| (first.after(at as u64), Bytes::from(vec![b'm'; at * 9])))
            .collect();
        let change = OutboundChange { is_fresh, floor, entries: entries.clone() };
        if is_fresh {
            model.sent.clear();
        }
        model.floor = model.floor.max(floor);
        model.sent.retain(|id, _| Some(*id) > model.floor);
        model.sent.extend(entries);
        let extras = CommitExtras { outbound: Some(Box::new(change)), ..CommitExtras::default() };
        let code = ModuleHash::of(b"code");
        store.commit_with(Writes::default(), code, None, extras).await.unwrap();
        let seq = store.sequence().last().seq;
        self.models[room] = Model { seq, known: true, ..model };
    }

    /// Checks that everything is as expected.
    async fn check(&mut self) {
        self.durable().await;
        self.store.applied().await.unwrap();
        let verified = self.store.verify().await.unwrap();
        assert_eq!(verified.problems, Vec::<String>::new());
        let (mut alarms, mut uses) = (Vec::new(), Vec::new());
        for room in 0..ROOMS {
            let model = self.models[room].clone();
            let bytes: usize = model.keys.iter().map(|(k, v)| k.len() + v.len()).sum();
            let view = self.room(room).await.view();
            let entries = view.scan(&room_core::span::Span::ALL).map(Result::unwrap);
            assert_eq!(entries.collect::<BTreeMap<_, _>>(), model.keys);
            assert_eq!((view.bytes(), view.alarm()), (bytes as u64, model.alarm));
            let reader = self.room(room).await.outbound();
            let newest = SequenceNumber { epoch: u64::MAX, seq: u64::MAX };
            let sent = reader.read(model.floor.unwrap_or_default(), newest).unwrap();
            assert_eq!(sent.into_iter().collect::<BTreeMap<_, _>>(), model.sent);
            let facts = self.room(room).await.facts();
            let known = facts.outbound.map(|facts| (facts.floor, facts.entries, facts.newest));
            let sent = model.floor.map(|floor| {
                let newest = model.sent.keys().next_back().copied().unwrap_or(floor);
                (floor, model.sent.len() as u64, newest)
            });
            assert_eq!(known, sent);
            let due = model.alarm.into_iter().chain(model.wake).min();
            alarms.extend(due.map(|at| (at, id(room))));
            uses.extend(model.used.map(|at| (at, id(room))));
        }
        alarms.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.to_string().cmp(&b.1.to_string())));
        assert_eq!(super::alarms(&self.store), alarms);
        uses.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.to_string().cmp(&b.1.to_string())));
        assert_eq!(self.store.last_use().unwrap(), uses.last().map_or(0, |(at, _)| *at));
        assert_eq!(super::uses(&self.store), uses);
    }
}

/// Does one thing to the turn and to the model, and compares their answers.
fn act_on_both(act: &Act, turn: &mut Turn, model: &mut Model) {
    match act {
        Act::Get(key) => assert_eq!(turn.get(key).unwrap(), model.keys.get(key).cloned()),
        Act::Put(key, value) => {
            turn.put(vec![(key.clone(), value.clone().into())]).unwrap();
            model.keys.insert(key.clone(), value.clone().into());
        }
        Act::Delete(key) => {
            let there = u32::from(model.keys.remove(key).is_some());
            assert_eq!(turn.delete(vec![key.clone()]).unwrap(), there);
        }
        Act::DeleteAll => {
            turn.delete_all();
            (model.keys, model.alarm) = (BTreeMap::new(), None);
        }
        Act::List(options) => {
            let page = turn.list(options).unwrap();
            assert_eq!(page.entries, listed(&model.keys, options));
        }
        Act::SetAlarm(at) => {
            turn.set_alarm(*at);
            model.alarm = Some(*at);
        }
        Act::DeleteAlarm => {
            turn.delete_alarm();
            model.alarm = None;
        }
    }
    assert_eq!(turn.alarm(), model.alarm);
}

/// Lists keys the simple way.
fn listed(keys: &BTreeMap<Key, Bytes>, options: &ListOptions) -> Vec<(Key, Bytes)> {
    let asked_for = |key: &Key| {
        options.start.as_ref().is_none_or(|start| key >= start)
            && options.start_after.as_ref().is_none_or(|start| key > start)
            && options.end.as_ref().is_none_or(|end| key < end)
            && options.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix))
    };
    let mut found: Vec<_> = keys.iter().filter(|(key, _)| asked_for(key)).collect();
    if options.direction == Direction::Reverse {
        found.reverse();
    }
    let limit = options.limit.map_or(usize::MAX, |limit| limit as usize);
    found.into_iter().take(limit).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn live(place: Image, steps: &[Step]) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::on(place);
        for step in steps {
            world.take(step).await;
        }
        world.check().await;
        world.crash(Crash::Machine).await;
        world.check().await;
        world.store.close();
    });
}

fn a_quarter() -> ProptestConfig {
    let all = ProptestConfig::default();
    ProptestConfig { cases: all.cases / 4, ..all }
}

proptest! {
    #![proptest_config(a_quarter())]

    #[test]
    fn a_store_in_memory_is_a_plain_map(steps in prop::collection::vec(step(), 1..40)) {
        live(Image::of_memory(Disk::default()), &steps);
    }

    #[test]
    fn a_store_on_disk_is_a_plain_map(steps in prop::collection::vec(step(), 1..40)) {
        live(Image::of_folder(), &steps);
    }
}

/// All lives have one database, and each has a project of its own.
#[test]
fn a_store_on_a_database_is_a_plain_map() {
    let (cluster, projects) = (Cluster::start(), AtomicU32::new(0));
    let lives = TestRunner::new(a_quarter()).run(&prop::collection::vec(step(), 1..40), |steps| {
        let project = projects.fetch_add(1, Ordering::Relaxed).to_string();
        live(Image::of_cluster(cluster.clone(), project), &steps);
        Ok(())
    });
    lives.unwrap();
}
