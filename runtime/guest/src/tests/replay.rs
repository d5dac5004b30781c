//! A turn is a function of its event, the stored entries, the connections, and its samples: a recorded turn
//! happens again, byte for byte.

use super::super::samples::SampleSource;
use super::super::{GuestFault, Instance, LiveSamples};
use super::tape::{Player, Recorder, Sample, Tape};
use super::{limits, puppet, room, seeded};
use crate::Code;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use room_core::clock::Clock;
use room_core::connection::{Connections, Link, connection};
use room_core::event::{CloseFrame, CloseHandshake, Ending, Event, GuestAnswer, Message, Request};
use room_core::id::{ConnectionId, Serial};
use room_core::limits::Limits;
use room_core::span::{Entries, Key, Span};
use room_core::turn::{AlarmChange, Cleared, Effects, Output, ReadError, Tags, Turn, View, Writes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const TURNS: usize = 1_000;

/// The stored entries of the room.
#[derive(Clone, Default)]
struct Stored {
    keys: BTreeMap<Key, Bytes>,
    alarm: Option<u64>,
}

impl View for Stored {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(self.keys.get(key).cloned())
    }

    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, ReadError> {
        Ok(self.keys.get(key).map(Bytes::len))
    }

    fn scan<'a>(&'a self, span: &Span) -> Entries<'a, ReadError> {
        let mut entries: Vec<_> = if span.is_empty() {
            Vec::new()
        } else {
            let range = self.keys.range::<Key, _>((span.start.as_ref(), span.end.as_ref()));
            range.map(|(key, value)| Ok((key.clone(), value.clone()))).collect()
        };
        if span.direction == room_core::span::Direction::Reverse {
            entries.reverse();
        }
        Box::new(entries.into_iter())
    }

    fn alarm(&self) -> Option<u64> {
        self.alarm
    }

    fn bytes_at_most(&self) -> u64 {
        self.bytes()
    }

    fn bytes(&self) -> u64 {
        self.keys.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}

/// An event with all other inputs of its turn, and the outcome, serialised.
#[derive(Serialize, Deserialize)]
struct Step {
    event: Event,
    samples: Vec<Sample>,
    outcome: Vec<u8>,
}

/// The part of a room that its turns see.
struct World {
    code: Code,
    limits: Arc<Limits>,
    stored: Stored,
    connections: Arc<Connections>,
    instance: Option<Instance>,
}

impl World {
    fn new() -> Self {
        let limits = limits();
        let (stored, connections) = Default::default();
        Self { code: puppet(&limits), limits, stored, connections, instance: None }
    }

    fn edit(&mut self) -> &mut Connections {
        Arc::make_mut(&mut self.connections)
    }

    /// Delivers an event, the start to a new instance first. Returns the outcome, serialised.
    async fn take(
        &mut self,
        event: &Event,
        source: impl FnOnce() -> Box<dyn SampleSource>,
    ) -> Vec<u8> {
        if *event == Event::Start {
            self.instance = Some(Instance::new(&self.code, &room(), source()).await.unwrap());
        }
        let turn = self.begin(event);
        let mut instance = self.instance.take().unwrap();
        let called = instance.call(event, turn).await;
        let is_spared = called.as_ref().err().is_none_or(GuestFault::spares_instance);
        self.instance = is_spared.then_some(instance);
        self.end(event, called)
    }

    /// Delivers messages in one call, as long as the instance lives, and empties the tape after each. Returns
    /// their outcomes, serialised.
    async fn take_batch(&mut self, steps: &[Step], tape: &Tape) -> Vec<Vec<u8>> {
        let mut instance = self.instance.take().unwrap();
        let mut call = instance.batch_call().unwrap();
        let mut outcomes = Vec::with_capacity(steps.len());
        for Step { event, samples, .. } in steps {
            let Event::Message { connection, message } = event else { panic!("{event:?}") };
            tape.with(|left| left.extend(samples.iter().cloned()));
            let turn = self.begin(event);
            let called = call.turn(&(connection.clone(), message.clone()), turn).await;
            assert_eq!(tape.take(), [], "the turn of {event:?} asked for less than before");
            let is_spared = called.as_ref().err().is_none_or(GuestFault::spares_instance);
            outcomes.push(self.end(event, called.map(|turn| (GuestAnswer::Done, turn))));
            if !is_spared {
                return outcomes;
            }
        }
        call.end().await.unwrap();
        self.instance = Some(instance);
        outcomes
    }

    /// Begins the turn of an event.
    fn begin(&mut self, event: &Event) -> Box<Turn> {
        let subject = match event {
            Event::Connect { connection, .. } => {
                self.edit().insert(connection.clone());
                Some(connection.serial)
            }
            Event::Close { connection, .. } => {
                if let Some(known) = self.edit().get_mut(connection.serial) {
                    known.link = Link::Closing;
                }
                Some(connection.serial)
            }
            _ => None,
        };
        let view = Arc::new(self.stored.clone());
        let turn = Turn::new(view, self.connections.clone(), subject, self.limits.clone());
        Box::new(if *event == Event::Alarm { turn.for_alarm(0) } else { turn })
    }

    /// Ends a turn: its effects happen, or none. Returns the outcome, serialised.
    fn end(
        &mut self,
        event: &Event,
        called: Result<(GuestAnswer, Box<Turn>), GuestFault>,
    ) -> Vec<u8> {
        let outcome = called
            .map(|(answer, turn)| (answer, turn.finish().unwrap()))
            .map_err(|fault| fault.to_string());
        match (event, &outcome) {
            (Event::Close { connection, .. }, _) => drop(self.edit().remove(connection.serial)),
            (Event::Connect { connection, .. }, Err(_)) => {
                drop(self.edit().remove(connection.serial))
            }
            _ => {}
        }
        let bytes = postcard::to_allocvec(&outcome).unwrap();
        if let Ok((_, effects)) = outcome {
            self.apply(effects);
        }
        bytes
    }

    fn apply(&mut self, effects: Effects) {
        let Writes { cleared, keys, alarm, .. } = effects.writes;
        if cleared == Cleared::Yes {
            self.stored.keys.clear();
        }
        for (key, value) in keys {
            match value {
                Some(value) => self.stored.keys.insert(key, value),
                None => self.stored.keys.remove(&key),
            };
        }
        match alarm {
            AlarmChange::Keep => {}
            AlarmChange::Set(at) => self.stored.alarm = Some(at),
            AlarmChange::Delete => self.stored.alarm = None,
        }
        let connections = self.edit();
        for (serial, state) in effects.states {
            connections.get_mut(serial).unwrap().state = state;
        }
        for serial in effects.closed {
            connections.get_mut(serial).unwrap().link = Link::Closing;
        }
        if let Some(Tags { to, tags }) = effects.tags {
            connections.get_mut(to).unwrap().tags = tags;
        }
    }

    /// Draws an event that may come next.
    fn next(&self, dice: &mut StdRng, joined: u64) -> Event {
        if self.instance.is_none() {
            return Event::Start;
        }
        let open: Vec<_> = self.connections.open(None).cloned().collect();
        let request = |method: &str, uri: &str, body: Bytes| Request {
            method: method.to_owned(),
            uri: format!("http://localhost/parties/main/lobby{uri}"),
            headers: vec![("x-test".to_owned(), b"yes".to_vec())],
            body,
        };
        let join = || {
            let query = "?tags=red,blue&state=new&hello=one,two";
            let connection = connection(&format!("c{joined}"), joined, &[]);
            Event::Connect { connection, request: request("GET", query, Bytes::new()) }
        };
        let Some(one) = open.get(dice.random_range(0..open.len().max(1))) else { return join() };
        match dice.random_range(0..20) {
            0 if open.len() < 8 => join(),
            1 => {
                let ending = Ending {
                    frame: CloseFrame::new(1000, "bye"),
                    handshake: CloseHandshake::Clean,
                };
                Event::Close { connection: one.clone(), ending }
            }
            2 => Event::Error { connection: one.clone(), error: "invalid frame".to_owned() },
            3 | 4 => Event::Alarm,
            5 | 6 => {
                Event::Request(request("POST", "", script(dice, one.id.as_str()).into()), None)
            }
            7 => Event::Request(request("GET", "", Bytes::new()), None),
            8 => Event::Message {
                connection: one.id.clone(),
                message: Message::Binary(Bytes::from_static(b"\0\xff")),
            },
            _ => Event::Message {
                connection: one.id.clone(),
                message: Message::text(script(dice, one.id.as_str())),
            },
        }
    }
}

/// Draws a script that the puppet carries out in one turn.
fn script(dice: &mut StdRng, id: &str) -> String {
    let count = dice.random_range(1..6);
    let mut steps: Vec<Value> = (0..count).map(|_| step(dice, id)).collect();
    match dice.random_range(0..20) {
        0 => steps.push(json!({"err": "asked to"})),
        1 => steps.push(json!({"panic": "asked to"})),
        _ => {}
    }
    Value::Array(steps).to_string()
}

fn step(dice: &mut StdRng, id: &str) -> Value {
    let key = format!("key {}", dice.random_range(0..5));
    match dice.random_range(0..20) {
        0 | 1 => json!("random"),
        2 | 3 => json!("time"),
        4 => json!("not_a_number"),
        5 | 6 => json!({"put": [key, dice.random_range(0..100)]}),
        7 => json!({"get": key}),
        8 => json!({"delete": key}),
        9 => json!({"list": {"reverse": true}}),
        10 => json!({"add": "count"}),
        11 => json!({"broadcast": "to all"}),
        12 => json!({"broadcast_tagged": ["to some", "red"]}),
        13 => json!({"broadcast_except": ["to others", [id]]}),
        14 => json!({"send_to": [id, "to one"]}),
        15 | 16 => json!({"alarm_in": dice.random_range(0..10_000)}),
        17 => json!("alarm_is_set"),
        18 if dice.random_range(0..10) == 0 => json!("delete_all"),
        18 => json!({"put_bytes": [key, 300]}),
        _ => json!("report"),
    }
}

/// Records the turns of a room, with samples of the system.
async fn recorded(seed: u64) -> Vec<Step> {
    let (mut world, tape) = (World::new(), Tape::default());
    let (mut dice, mut joined) = (StdRng::seed_from_u64(seed), 0);
    let mut steps = Vec::with_capacity(TURNS);
    while steps.len() < TURNS {
        joined += 1;
        let event = world.next(&mut dice, joined);
        let source = LiveSamples::of_system(Clock::system());
        let recorder = Recorder { source, tape: tape.clone() };
        let outcome = world.take(&event, || Box::new(recorder)).await;
        steps.push(Step { event, samples: tape.take(), outcome });
    }
    steps
}

/// Replays recorded turns, and returns their outcomes.
async fn replayed(steps: &[Step]) -> Vec<Vec<u8>> {
    let (mut world, tape) = (World::new(), Tape::default());
    let mut outcomes = Vec::with_capacity(steps.len());
    for Step { event, samples, .. } in steps {
        tape.with(|left| left.extend(samples.iter().cloned()));
        let played = tape.clone();
        outcomes.push(world.take(event, || Box::new(Player(played))).await);
        assert_eq!(tape.take(), [], "the turn of {event:?} asked for less than before");
    }
    outcomes
}

/// Replays recorded turns, messages that follow on each other in one call. Returns the outcomes, and the number
/// of turns of the longest call.
async fn replayed_in_batches(steps: &[Step]) -> (Vec<Vec<u8>>, usize) {
    let (mut world, tape) = (World::new(), Tape::default());
    let (mut outcomes, mut longest) = (Vec::with_capacity(steps.len()), 0);
    while let Some(step) = steps.get(outcomes.len()) {
        let rest = &steps[outcomes.len()..];
        let messages = rest.iter().take_while(|one| matches!(one.event, Event::Message { .. }));
        let count = messages.count();
        if count == 0 {
            tape.with(|left| left.extend(step.samples.iter().cloned()));
            outcomes.push(world.take(&step.event, || Box::new(Player(tape.clone()))).await);
            assert_eq!(tape.take(), []);
            continue;
        }
        let taken = world.take_batch(&rest[..count], &tape).await;
        longest = longest.max(taken.len());
        outcomes.extend(taken);
    }
    (outcomes, longest)
}

fn read(outcome: &[u8]) -> Result<(GuestAnswer, Effects), String> {
    postcard::from_bytes(outcome).unwrap()
}

#[tokio::test]
async fn replaying_a_thousand_turns_gives_identical_effects() {
    let steps = recorded(7).await;
    // The replay reads what a file would hold.
    let recording = postcard::to_allocvec(&steps).unwrap();
    let steps: Vec<Step> = postcard::from_bytes(&recording).unwrap();
    assert_eq!(steps.len(), TURNS);
    for (at, (step, again)) in steps.iter().zip(replayed(&steps).await).enumerate() {
        if step.outcome != again {
            panic!(
                "turn {at}, {:?}: {:?} became {:?}",
                step.event,
                read(&step.outcome),
                read(&again)
            );
        }
    }
    // The recording was worth it: each kind of input and of effect occurs, and other samples have other
    // outcomes.
    let samples: Vec<_> = steps.iter().flat_map(|step| &step.samples).collect();
    assert!(samples.iter().any(|sample| matches!(sample, Sample::Wall(_))));
    assert!(samples.iter().any(|sample| matches!(sample, Sample::Monotonic(_))));
    assert!(samples.iter().any(|sample| matches!(sample, Sample::Random(_))));
    let outcomes: Vec<_> = steps.iter().map(|step| read(&step.outcome)).collect();
    let effects = || outcomes.iter().flatten().map(|(_, effects)| effects);
    let says = |kind: fn(&Output) -> bool| effects().flat_map(|all| &all.outputs).any(kind);
    assert!(says(|output| matches!(output, Output::Send { .. })));
    assert!(says(|output| matches!(output, Output::Broadcast { tag: Some(_), .. })));
    assert!(effects().any(|all| matches!(all.writes.alarm, AlarmChange::Set(_))));
    assert!(effects().any(|all| !all.writes.keys.is_empty()));
    assert!(outcomes.iter().any(Result::is_err));
    let others = recorded(7).await;
    assert!(steps.iter().zip(&others).any(|(one, other)| one.outcome != other.outcome));
}

#[tokio::test]
async fn turns_that_share_a_call_have_the_effects_of_turns_in_calls_of_their_own() {
    let steps = recorded(11).await;
    let (outcomes, longest) = replayed_in_batches(&steps).await;
    assert_eq!(outcomes.len(), TURNS);
    for (at, (step, outcome)) in steps.iter().zip(&outcomes).enumerate() {
        let (alone, shared) = (&step.outcome, outcome);
        assert!(alone == shared, "turn {at}, {:?}: {:?}", step.event, (read(alone), read(shared)));
    }
    let is_lost =
        |step: &Step| matches!(step.event, Event::Message { .. }) && read(&step.outcome).is_err();
    assert!(longest > 3 && steps.iter().any(is_lost), "{longest}");
}

/// Returns each text that the puppet sends for one script.
async fn said(script: Value, source: Box<dyn SampleSource>) -> Vec<String> {
    let mut world = World::new();
    world.take(&Event::Start, || source).await;
    let request = Request {
        method: "GET".to_owned(),
        uri: "http://localhost/parties/main/lobby".to_owned(),
        headers: Vec::new(),
        body: Bytes::new(),
    };
    let connection = connection("a", 1, &[]);
    world.take(&Event::Connect { connection, request }, || unreachable!("it has started")).await;
    let (connection, message) =
        (ConnectionId::parse("a", 256).unwrap(), Message::text(script.to_string()));
    let event = Event::Message { connection, message };
    let outcome = world.take(&event, || unreachable!("it has started")).await;
    let (_, effects) = read(&outcome).unwrap();
    let texts = effects.outputs.into_iter().map(|output| match output {
        Output::Send { to: Serial(1), message: Message::Text(text) } => text.as_str().to_owned(),
        other => panic!("{other:?}"),
    });
    texts.collect()
}

#[tokio::test]
async fn a_guests_randomness_is_determined_by_its_source() {
    let asked = || json!(["random", "random"]);
    let first = said(asked(), seeded(1)).await;
    assert_ne!(first[0], first[1]);
    assert_eq!(said(asked(), seeded(1)).await, first);
    // Each part differs: none is a constant, and none is drawn from elsewhere.
    let parts = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (first, other) = (parts(&first[0]), parts(&said(asked(), seeded(2)).await[0]));
    assert_ne!(first, other);
    assert_ne!(said(asked(), LiveSamples::of_system(Clock::system())).await[0], first.join(" "));
}

#[tokio::test]
async fn every_nan_has_the_canonical_bits() {
    let said = said(json!(["not_a_number"]), seeded(1)).await;
    let canonical = "7ff8000000000000";
    assert_eq!(said, [format!("{} 7fc00000", [canonical; 5].join(" "))]);
}
