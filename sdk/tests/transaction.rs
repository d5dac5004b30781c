//! Transactions: parts of a turn that are undone alone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use room_sdk::StorageError;
use room_sdk::prelude::*;
use room_sdk::test::TestRoom;

/// A step of a turn.
#[derive(Clone, Debug)]
enum Step {
    Put(String, u64),
    Delete(String),
    DeleteAll,
    Alarm(u64),
    NoAlarm,
    Timer(u64, String),
    /// Cancels the timers with a tag.
    Cancel(String),
    Tick(Option<u64>),
    Send(String),
    Broadcast(String),
    State(u64),
    Close,
    /// A transaction, and whether it ends well.
    Part(Vec<Step>, bool),
}

/// A repeatable sequence of numbers: Knuth's MMIX generator, the upper bits.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn steps(&mut self, depth: u32) -> Vec<Step> {
        (0..self.roll(9)).map(|_| self.step(depth)).collect()
    }

    fn step(&mut self, depth: u32) -> Step {
        let key = format!("key {}", self.roll(6));
        match self.roll(20) {
            0..=2 => Step::Put(key, self.roll(100)),
            3 => Step::Delete(key),
            4 => Step::DeleteAll,
            5 => Step::Alarm(10_000 + self.roll(100)),
            6 => Step::NoAlarm,
            7 => Step::Send(format!("to a {}", self.roll(100))),
            8 => Step::Broadcast(format!("to all {}", self.roll(100))),
            9 => Step::State(self.roll(100)),
            10 => Step::Close,
            11 | 12 => Step::Timer(10_000 + self.roll(100), key),
            13 => Step::Cancel(key),
            14 => Step::Tick((self.roll(2) == 0).then(|| 10 + self.roll(100))),
            _ if depth == 0 => Step::NoAlarm,
            _ => Step::Part(self.steps(depth - 1), self.roll(2) == 0),
        }
    }
}

/// What a turn may change, as a plain value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    keys: BTreeMap<String, u64>,
    alarm: Option<u64>,
    /// In the order in which they were made.
    timers: Vec<(u64, String)>,
    ticks: Option<u64>,
    to_a: Vec<String>,
    state: Option<u64>,
    a_is_closed: bool,
}

impl Model {
    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Put(key, value) => drop(self.keys.insert(key.clone(), *value)),
                Step::Delete(key) => drop(self.keys.remove(key)),
                Step::DeleteAll => {
                    (self.keys, self.alarm, self.timers) = (BTreeMap::new(), None, Vec::new());
                }
                Step::Timer(at, tag) => self.timers.push((*at, tag.clone())),
                Step::Cancel(tag) => self.timers.retain(|(_, own)| own != tag),
                Step::Tick(every) => self.ticks = *every,
                Step::Alarm(at) => self.alarm = Some(*at),
                Step::NoAlarm => self.alarm = None,
                Step::Send(text) | Step::Broadcast(text) if !self.a_is_closed => {
                    self.to_a.push(text.clone());
                }
                Step::State(state) if !self.a_is_closed => self.state = Some(*state),
                Step::Send(_) | Step::Broadcast(_) | Step::State(_) => {}
                Step::Close => self.a_is_closed = true,
                Step::Part(steps, ends_well) => {
                    let before = self.clone();
                    self.run(steps);
                    if !ends_well {
                        *self = before;
                    }
                }
            }
        }
    }
}

fn carry_out(ctx: &Context, steps: &[Step]) -> Result {
    let (storage, a) = (ctx.storage(), ctx.connection("a"));
    for step in steps {
        match step {
            Step::Put(key, value) => storage.put(key, value)?,
            Step::Delete(key) => drop(storage.delete(key)?),
            Step::DeleteAll => storage.delete_all()?,
            Step::Alarm(at) => ctx.alarm().set(Timestamp::from_millis(*at)),
            Step::NoAlarm => ctx.alarm().delete(),
            Step::Timer(at, tag) => drop(ctx.schedule(Timestamp::from_millis(*at), tag, &1)),
            Step::Cancel(tag) => {
                for timer in ctx.timers().iter().filter(|timer| timer.tag() == tag) {
                    ensure!(ctx.cancel(timer.id()), "it is there");
                }
            }
            Step::Tick(Some(every)) => ctx.tick(Duration::from_millis(*every))?,
            Step::Tick(None) => ctx.stop_ticks(),
            Step::Broadcast(text) => drop(ctx.broadcast(Message::text(text.clone()))),
            Step::Part(steps, ends_well) => {
                let part = ctx.transaction(|ctx| {
                    carry_out(ctx, steps)?;
                    ensure!(*ends_well, "it ends badly");
                    Ok(())
                });
                assert_eq!(part.is_ok(), *ends_well, "{part:?}");
            }
            // A handle of a closed connection is refused, which changes nothing.
            Step::Send(text) => drop(a.as_ref().map(|a| a.send(Message::text(text.clone())))),
            Step::State(state) => drop(a.as_ref().map(|a| a.set_state(state))),
            Step::Close => drop(a.as_ref().map(|a| a.close(4000, "bye"))),
        }
    }
    Ok(())
}

type Act = Box<dyn FnOnce(&Context) -> Result>;

thread_local! {
    /// What the room does with its next request.
    static ACT: RefCell<Option<Act>> = const { RefCell::new(None) };
}

/// Does what the test that runs in its thread says.
#[derive(Default)]
struct Actor;

impl Room for Actor {
    fn on_request(&mut self, ctx: &Context, _: Request) -> Result<Response> {
        ACT.take().ok_or_else(|| anyhow!("nothing to do"))?(ctx)?;
        let state = ctx.connection("a").map(|a| a.state::<u64>()).transpose()?;
        Response::json(&state.flatten())
    }
}

/// Does this in one turn of the room; returns its response.
fn turn(room: &TestRoom<Actor>, act: impl FnOnce(&Context) -> Result + 'static) -> Response {
    ACT.set(Some(Box::new(act)));
    room.request(Request::get("/"))
}

#[test]
fn nested_transactions_equal_a_model_that_copies_everything() {
    for seed in 0..1_000 {
        let room = TestRoom::<Actor>::builder("lobby").clock(Timestamp::from_millis(0)).build();
        let a = room.connect("a");
        let mut model = Model::default();
        let mut dice = Dice(seed);
        for _ in 0..3 {
            let steps = dice.steps(4);
            model.run(&steps);
            let response = turn(&room, move |ctx| carry_out(ctx, &steps));
            assert_eq!(response.status_code(), 200, "seed {seed}: {:?}", room.take_errors());
            let keys: BTreeMap<_, _> = room.storage().list("").into_iter().collect();
            assert_eq!(keys, model.keys, "seed {seed}");
            assert_eq!(room.alarm().map(Timestamp::as_millis), model.alarm, "seed {seed}");
            let mut timers = model.timers.clone();
            timers.sort_by_key(|(at, _)| *at);
            let tags: Vec<_> = room.timers().iter().map(|timer| timer.tag().to_owned()).collect();
            assert!(timers.iter().map(|(_, tag)| tag).eq(&tags), "seed {seed}: {tags:?}");
            let ticks = room.ticks().map(|every| every.as_millis());
            assert_eq!(ticks, model.ticks.map(u128::from), "seed {seed}");
            let to_a: Vec<_> =
                a.received().iter().filter_map(|text| Some(text.as_text()?.to_owned())).collect();
            assert_eq!(to_a, std::mem::take(&mut model.to_a), "seed {seed}");
            assert_eq!(a.closed().is_some(), model.a_is_closed, "seed {seed}");
            if model.a_is_closed {
                break;
            }
            assert_eq!(response.body_json::<Option<u64>>().ok(), Some(model.state), "seed {seed}");
        }
    }
}

#[test]
fn an_undone_part_does_not_count_against_the_limits() {
    let room = TestRoom::<Actor>::new("lobby");
    let a = room.connect("a");
    let response = turn(&room, |ctx| {
        for _ in 0..20 {
            let undone = ctx.transaction(|ctx| {
                (0..1_000).try_for_each(|n| ctx.storage().put(format!("{n}"), &n))?;
                ctx.broadcast(Message::binary(vec![0; 3 << 20])).send()?;
                bail!("again")
            });
            assert_eq!(
                undone.map_err(|error: Error| error.to_string()),
                Err::<(), _>("again".into())
            );
        }
        (0..10_000).try_for_each(|n| ctx.storage().put(format!("{n}"), &n))
    });
    assert_eq!(response.status_code(), 200, "{:?}", room.take_errors());
    assert_eq!((room.storage().len(), a.received().len()), (10_000, 0));
}

#[test]
fn a_failed_broadcast_undoes_its_transaction_and_not_the_turn() {
    let room = TestRoom::<Actor>::new("lobby");
    let a = room.connect("a");
    let response = turn(&room, |ctx| {
        ctx.broadcast(Message::text("before"));
        let part = ctx.transaction(|ctx| {
            ctx.storage().put("inside", &1)?;
            ctx.broadcast(Message::binary(vec![0; 33 << 20]));
            Ok(())
        });
        assert!(part.unwrap_err().to_string().contains("cannot broadcast"));
        ctx.storage().put("after", &1)
    });
    assert_eq!(response.status_code(), 200, "{:?}", room.take_errors());
    assert_eq!(a.received(), [Message::text("before")]);
    assert_eq!(room.storage().list::<u8>(""), [("after".to_owned(), 1)]);
}

#[test]
fn a_failed_schedule_undoes_its_transaction_and_not_the_turn() {
    let room = TestRoom::<Actor>::new("lobby");
    let response = turn(&room, |ctx| {
        ctx.schedule(ctx.now() + Duration::from_secs(60), "before", &1).id()?;
        let part = ctx.transaction(|ctx| {
            ctx.storage().delete_all()?;
            ctx.schedule(ctx.now(), &"x".repeat(1 << 20), &1);
            Ok(())
        });
        assert!(part.unwrap_err().to_string().contains("cannot schedule"));
        Ok(())
    });
    assert_eq!(response.status_code(), 200, "{:?}", room.take_errors());
    assert_eq!(room.timers().iter().map(Timer::tag).collect::<Vec<_>>(), ["before"]);
}

#[test]
fn a_panic_inside_a_transaction_fails_the_whole_turn() {
    let room = TestRoom::<Actor>::new("lobby");
    let response = turn(&room, |ctx| {
        ctx.storage().put("before", &1)?;
        ctx.transaction(|_| panic!("inside"))
    });
    assert_eq!(response.status_code(), 500);
    assert!(room.storage().is_empty());
    assert_eq!(turn(&room, |ctx| ctx.storage().put("next", &1)).status_code(), 200);
}

#[test]
fn a_flush_inside_a_transaction_is_an_error_and_commits_nothing() {
    let room = TestRoom::<Actor>::new("lobby");
    let response = turn(&room, |ctx| {
        ctx.storage().put("before", &1)?;
        ctx.transaction(|ctx| ctx.transaction(Context::flush))
    });
    assert_eq!(response.status_code(), 500);
    let error = room.last_error().unwrap_or_default();
    assert!(error.contains("a transaction cannot be flushed"), "{error}");
    assert!(room.storage().is_empty());
    let flushed = turn(&room, |ctx| {
        ctx.transaction(|ctx| ctx.storage().put("inside", &1))?;
        ctx.flush()?;
        bail!("after the flush")
    });
    assert_eq!((flushed.status_code(), room.storage().len()), (500, 1));
}

fn nest(ctx: &Context, depth: u32) -> Result {
    if depth == 0 { Ok(()) } else { ctx.transaction(|ctx| nest(ctx, depth - 1)) }
}

#[test]
fn transactions_are_nested_up_to_their_limit() {
    let room = TestRoom::<Actor>::new("lobby");
    let response = turn(&room, |ctx| {
        nest(ctx, 16)?;
        let refused = nest(ctx, 17).unwrap_err().to_string();
        assert_eq!(
            refused,
            "this turn has more open transactions than turn_savepoints_max = 16 allows; raise \
             turn_savepoints_max in room.toml [limits], or nest fewer"
        );
        Ok(())
    });
    assert_eq!(response.status_code(), 200, "{:?}", room.take_errors());
}

#[test]
fn the_size_of_the_storage_follows_the_turn() {
    let room = TestRoom::<Actor>::builder("lobby").room_bytes_max(1_000).build();
    let response = turn(&room, |ctx| {
        let storage = ctx.storage();
        assert_eq!((storage.bytes()?, storage.bytes_max()), (0, 1_000));
        storage.raw().put("key", vec![0; 97])?;
        assert_eq!(storage.bytes()?, 100);
        let undone = ctx.transaction(|ctx| {
            ctx.storage().raw().put("more", vec![0; 196])?;
            assert_eq!(ctx.storage().bytes()?, 300);
            let error = ctx.storage().raw().put("most", vec![0; 900]).unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(StorageError::TooManyWrites { .. })));
            Err::<(), _>(error)
        });
        assert!(undone.is_err());
        assert_eq!(storage.bytes()?, 100);
        storage.delete_all()?;
        assert_eq!(storage.bytes()?, 0);
        Ok(())
    });
    assert_eq!(response.status_code(), 200, "{:?}", room.take_errors());
}

#[test]
fn an_error_with_a_status_is_an_answer_and_drops_the_turn() {
    let room = TestRoom::<Actor>::new("lobby");
    let refused = |error: Error| {
        turn(&room, |ctx| {
            ctx.storage().put("lost", &1)?;
            ctx.schedule(ctx.now(), "lost", &1);
            ctx.tick(Duration::from_secs(1))?;
            Err(error)
        })
    };
    let response = refused(StatusError::new(404, "no such game").into());
    assert_eq!((response.status_code(), response.body_text()), (404, "no such game".to_owned()));
    let response = refused(Error::from(StatusError::new(409, "taken")).context("secret"));
    assert_eq!((response.status_code(), response.body_text()), (409, "taken".to_owned()));
    assert_eq!(room.take_errors(), [""; 0]);
    assert_eq!(refused(anyhow!("secret")).status_code(), 500);
    assert_eq!(room.take_errors(), ["secret"]);
    assert_eq!(refused(StatusError::new(200, "fine").into()).status_code(), 500);
    let problem = "fine (status 200) (a request is refused with 400 to 599, not with 200)";
    assert_eq!(room.take_errors(), [problem]);
    assert!(room.storage().is_empty() && room.timers().is_empty() && room.ticks().is_none());
}

/// Fails at its first alarms, and keeps the tries in its log.
#[derive(Default)]
struct Late;

impl Room for Late {
    fn on_start(&mut self, ctx: &Context) -> Result {
        ensure!(ctx.alarm().tries() == 0, "no alarm rings yet");
        Ok(())
    }

    fn on_request(&mut self, ctx: &Context, _: Request) -> Result<Response> {
        ctx.alarm().set_in(Duration::from_secs(1));
        Ok(Response::text(ctx.alarm().tries().to_string()))
    }

    fn on_alarm(&mut self, ctx: &Context) -> Result {
        let tries = ctx.alarm().tries();
        ctx.flush()?;
        ensure!(tries == ctx.alarm().tries(), "a flush changes the count");
        log::info!("try {tries}");
        ensure!(tries >= 2, "try again");
        Ok(())
    }
}

#[test]
fn an_alarm_knows_its_failed_tries() {
    let room = TestRoom::<Late>::new("lobby");
    for _ in 0..2 {
        assert_eq!(room.request(Request::get("/")).body_text(), "0");
        room.advance(Duration::from_secs(1));
        room.hibernate();
        room.advance(Duration::from_secs(60));
        assert_eq!(room.take_errors(), ["try again"; 2]);
    }
    let lines: Vec<_> = room.logs().into_iter().map(|line| line.message).collect();
    let tries: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("try ")).collect();
    assert_eq!(tries, ["0", "again", "1", "again", "2", "0", "again", "1", "again", "2"]);
}
