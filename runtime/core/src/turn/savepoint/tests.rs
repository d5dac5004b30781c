//! Savepoints against a model that copies the whole turn.

use super::*;
use crate::connection::{Connections, connection};
use crate::event::{CloseFrame, Message};
use crate::id::SequenceNumber;
use crate::jobs::{JobTable, Timer};
use crate::limits::Limits;
use crate::span::ListOptions;
use crate::turn::{Effects, Entries, ReadError, Span, TimerPlan, View};
use proptest::prelude::*;
use std::sync::Arc;

/// A store with the keys `a` to `d`.
struct Four;

impl View for Four {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(matches!(key, b"a" | b"b" | b"c" | b"d").then(|| Bytes::from_static(b"old")))
    }

    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, ReadError> {
        Ok(self.get(key)?.map(|value| value.len()))
    }

    fn scan<'a>(&'a self, _: &Span) -> Entries<'a, ReadError> {
        let entry = |key: &u8| Ok((vec![*key], Bytes::from_static(b"old")));
        Box::new(b"abcd".iter().map(entry))
    }

    fn alarm(&self) -> Option<u64> {
        Some(1)
    }

    fn bytes_at_most(&self) -> u64 {
        self.bytes()
    }

    fn bytes(&self) -> u64 {
        16
    }
}

/// The id of a job of the room's first event, or its second, which the turn is about.
fn job(seq: u64, index: u32) -> JobId {
    JobId { number: SequenceNumber { epoch: 1, seq }, index }
}

/// Returns the turn of a repeating timer, of two that the room has, with limits that its steps soon meet.
fn turn() -> Turn {
    let limits = Limits {
        turn_sends_max: 6,
        turn_send_bytes_max: 24,
        turn_writes_max: 5,
        turn_write_bytes_max: 24,
        room_bytes_max: 30,
        timers_max: 4,
        timers_bytes_max: 12,
        turn_savepoints_max: 3,
        ..Limits::default()
    };
    let mut connections = Connections::default();
    for (id, serial) in [("x", 1), ("y", 2), ("z", 3)] {
        connections.insert(connection(id, serial, &[]));
    }
    let timer = |at_ms| {
        let (tag, data) = ("tag".to_owned(), Bytes::new());
        Timer { at_ms, due_ms: at_ms, every_ms: Some(1_000), tag, data, tries: 0 }
    };
    let stored = [1, 2].map(|index| (job(1, index).key(), Job::Timer(timer(5)).encode()));
    let (table, _) = JobTable::of(stored.into());
    Turn::new(Arc::new(Four), Arc::new(connections), Some(Serial(1)), limits.into())
        .with_jobs(Some(table.into()), job(2, 0))
        .for_job(job(1, 1), Some(Job::Timer(timer(1_005))))
}

/// A call of a guest.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize),
    Delete(u8),
    DeleteAll,
    Alarm(Option<u64>),
    Schedule(u64, usize),
    Cancel(u64, u32),
    Tick(Option<u64>),
    Send(u8, usize),
    Broadcast(usize),
    Close(u8),
    State(u8, usize),
    Tags(u8),
    /// A part whose savepoint is released or rolled back.
    Part(Vec<Step>, End),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Release,
    RollBack,
    /// The guest forgets it. What encloses it decides.
    Leave,
}

fn id(n: u8) -> String {
    ["x", "y", "z"][usize::from(n % 3)].to_owned()
}

/// Carries out one call, and returns what the guest sees of it.
fn call(turn: &mut Turn, step: &Step) -> String {
    let text = |len: usize| Message::text("m".repeat(len));
    match step {
        Step::Put(key, len) => {
            format!("{:?}", turn.put(vec![(vec![b'a' + key], vec![7; *len].into())]))
        }
        Step::Delete(key) => format!("{:?}", turn.delete(vec![vec![b'a' + key]])),
        Step::DeleteAll => {
            turn.delete_all();
            String::new()
        }
        Step::Alarm(Some(at)) => {
            turn.set_alarm(*at);
            String::new()
        }
        Step::Alarm(None) => {
            turn.delete_alarm();
            String::new()
        }
        Step::Schedule(at_ms, len) => {
            let data = vec![1; *len].into();
            format!(
                "{:?}",
                turn.schedule(TimerPlan { at_ms: *at_ms, data, ..TimerPlan::default() })
            )
        }
        Step::Cancel(seq, index) => format!("{:?}", turn.cancel(&job(*seq, *index).to_string())),
        Step::Tick(every_ms) => format!("{:?}", turn.tick(*every_ms)),
        Step::Send(to, len) => format!("{:?}", turn.send(&id(*to), text(*len))),
        Step::Broadcast(len) => format!("{:?}", turn.broadcast(text(*len), None, &[])),
        Step::Close(to) => format!("{:?}", turn.close(&id(*to), CloseFrame::new(4000, ""))),
        Step::State(to, len) => format!("{:?}", turn.set_state(&id(*to), vec![1; *len].into())),
        Step::Tags(tag) => {
            format!("{:?}", turn.set_tags(Serial(1), vec![char::from(b'a' + tag).to_string()]))
        }
        Step::Part(..) => unreachable!("a part is more than one call"),
    }
}

/// Returns what a guest can read.
fn seen(turn: &mut Turn) -> String {
    let entries = turn.list(&ListOptions::default()).unwrap().entries;
    let open: Vec<_> = turn.open(None).map(|open| open.id.to_string()).collect();
    let of_x = turn.connection("x").map(|x| (turn.state_of(x).clone(), turn.tags_of(x).to_vec()));
    let timed = (turn.alarm(), turn.timers(), turn.effects.ticks);
    format!("{entries:?} {} {timed:?} {open:?} {of_x:?}", turn.bytes().unwrap())
}

/// Carries out steps on a turn with savepoints, and on one that is copied whole. `depth` savepoints are open.
fn run(turn: &mut Turn, model: &mut Turn, steps: &[Step], depth: &mut usize) {
    for step in steps {
        let Step::Part(part, end) = step else {
            assert_eq!(call(turn, step), call(model, step), "{step:?}");
            continue;
        };
        let Ok(savepoint) = turn.savepoint() else {
            assert_eq!(*depth, 3);
            continue;
        };
        *depth += 1;
        let (within, before) = (*depth, model.clone());
        run(turn, model, part, depth);
        match end {
            End::Release => turn.release(savepoint).unwrap(),
            End::RollBack => {
                turn.roll_back(savepoint).unwrap();
                // An id of a job is given once, even if the job was undone.
                let next = model.jobs.carried.next;
                *model = before;
                model.jobs.carried.next = next;
            }
            End::Leave => continue,
        }
        // Those that were left open within it are gone, too.
        *depth = within - 1;
        assert_eq!(turn.release(savepoint), Err(NoSavepoint(savepoint)));
        assert_eq!(seen(turn), seen(model));
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..7_u8, 0..9_usize).prop_map(|(key, len)| Step::Put(key, len)),
        2 => (0..7_u8).prop_map(Step::Delete),
        1 => Just(Step::DeleteAll),
        1 => prop::option::of(2..9_u64).prop_map(Step::Alarm),
        3 => (2..9_u64, 0..5_usize).prop_map(|(at_ms, len)| Step::Schedule(at_ms, len)),
        2 => (1..3_u64, 0..5_u32).prop_map(|(seq, index)| Step::Cancel(seq, index)),
        1 => prop::option::of(9..12_u64).prop_map(Step::Tick),
        2 => (0..3_u8, 0..9_usize).prop_map(|(to, len)| Step::Send(to, len)),
        1 => (0..9_usize).prop_map(Step::Broadcast),
        1 => (0..3_u8).prop_map(Step::Close),
        2 => (0..3_u8, 0..9_usize).prop_map(|(to, len)| Step::State(to, len)),
        1 => (0..3_u8).prop_map(Step::Tags),
    ];
    let end = prop_oneof![2 => Just(End::Release), 3 => Just(End::RollBack), 1 => Just(End::Leave)];
    let nested = step.prop_recursive(4, 64, 8, move |inner| {
        (prop::collection::vec(inner, 0..8), end.clone())
            .prop_map(|(steps, end)| Step::Part(steps, end))
    });
    prop::collection::vec(nested, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nested_savepoints_equal_copies_of_the_turn(steps in steps()) {
        let (mut with_savepoints, mut copied) = (turn(), turn());
        run(&mut with_savepoints, &mut copied, &steps, &mut 0);
        prop_assert_eq!(seen(&mut with_savepoints), seen(&mut copied));
        prop_assert_eq!(with_savepoints.send_bytes, copied.send_bytes);
        prop_assert_eq!(with_savepoints.write_bytes, copied.write_bytes);
        let jobs = |turn: &Turn| (turn.jobs.changes.clone(), turn.jobs.tallies);
        prop_assert_eq!(jobs(&with_savepoints), jobs(&copied));
        prop_assert_eq!(with_savepoints.finish(), copied.finish());
    }
}

#[test]
fn a_number_that_is_not_open_changes_nothing() {
    let mut turn = turn();
    assert_eq!(turn.roll_back(0), Err(NoSavepoint(0)));
    let outer = turn.savepoint().unwrap();
    turn.set_alarm(7);
    let inner = turn.savepoint().unwrap();
    assert_eq!(turn.roll_back(inner + 1), Err(NoSavepoint(inner + 1)));
    assert_eq!(turn.release(u32::MAX), Err(NoSavepoint(u32::MAX)));
    assert_eq!(turn.alarm(), Some(7));
    assert_eq!(turn.roll_back(outer), Ok(()));
    assert_eq!(turn.roll_back(inner), Err(NoSavepoint(inner)));
    assert_eq!((turn.alarm(), turn.has_savepoint()), (Some(1), false));
}

#[test]
fn open_savepoints_are_bounded_and_their_number_returns() {
    let mut turn = turn();
    let first = turn.savepoint().unwrap();
    for _ in 0..2 {
        turn.savepoint().unwrap();
    }
    assert_eq!(turn.savepoint(), Err(Refusal::UsedUp("turn_savepoints_max")));
    turn.release(first).unwrap();
    assert!(turn.savepoint().is_ok());
}

#[test]
fn a_savepoint_notes_each_key_once_however_often_it_is_written() {
    let mut turn = turn();
    turn.savepoint().unwrap();
    for round in 0..100 {
        let keys = [b'a', b'b', b'e'].map(|key| (vec![key], Bytes::from(vec![round])));
        turn.put(keys.to_vec()).unwrap();
        turn.set_state("x", vec![round].into()).unwrap();
        turn.cancel(&job(1, 2).to_string());
    }
    let noted = &turn.savepoints.open[0];
    assert_eq!((noted.keys.replaced.len(), noted.keys.untouched.len()), (0, 3));
    assert_eq!((noted.states.untouched.len(), noted.jobs.untouched.len()), (1, 1));
    for _ in 0..100 {
        turn.delete_all();
        turn.put(vec![(b"e".to_vec(), Bytes::new())]).unwrap();
    }
    let noted = &turn.savepoints.open[0];
    assert_eq!((noted.keys.replaced.len(), noted.keys.untouched.len()), (0, 0));
    assert_eq!(noted.keys.all.as_ref().map(std::collections::BTreeMap::len), Some(0));
    // The timer of the turn's own event is at its next time from the beginning.
    assert_eq!((noted.jobs.replaced.len(), noted.jobs.untouched.len()), (1, 1));
}

#[test]
fn a_rollback_brings_back_the_timers_that_delete_all_removed() {
    let mut turn = turn();
    let mine = turn.schedule(TimerPlan { at_ms: 7, ..TimerPlan::default() }).unwrap();
    let before = turn.timers();
    let savepoint = turn.savepoint().unwrap();
    turn.delete_all();
    let undone = turn.schedule(TimerPlan { at_ms: 8, ..TimerPlan::default() }).unwrap();
    assert_eq!(turn.timers().len(), 1);
    turn.roll_back(savepoint).unwrap();
    assert_eq!(turn.timers(), before);
    let next = turn.schedule(TimerPlan { at_ms: 8, ..TimerPlan::default() }).unwrap();
    assert_eq!((mine, undone, next), (job(2, 0), job(2, 1), job(2, 2)));
}

#[test]
fn an_undone_turn_commits_nothing() {
    let mut turn = turn();
    turn.delete_all();
    turn.put(vec![(b"e".to_vec(), Bytes::new())]).unwrap();
    turn.schedule(TimerPlan { at_ms: 8, ..TimerPlan::default() }).unwrap();
    turn.tick(Some(100)).unwrap();
    turn.send("x", Message::text("m")).unwrap();
    assert_eq!(turn.undone().finish(), Ok(Effects::default()));
}
