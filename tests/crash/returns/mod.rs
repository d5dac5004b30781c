//! Clients that are lost and come back while a server that stores its messages is killed, or its machine loses power.
//! Owns the order of a run.
//!
//! Invariant: a speaker says numbered messages, each in one turn with an answer to the speaker itself. The speaker is a
//! client that comes back, too: what it got the answer of was said, and nothing else. The `judge` compares that with what
//! each client heard. It does not know how a kind of client is connected, or how a server is started and killed.

mod clients;
mod judge;
mod kinds;

use clients::{Card, ClientKind, Events, Heard, SILENCE, Sockets, Spot, Wanderer};
use judge::{Fault, Saying, judge};
use kinds::{Polls, Sessions};
use room_tests::Dice;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The room of all clients.
const ROOM: &str = "returns";
/// The kinds of clients. Each has to be continued in a run that kills the server.
const KINDS: [&str; 4] = [Sockets::NAME, Events::NAME, Sessions::NAME, Polls::NAME];
/// How long clients may need to hear the end, when nothing is killed any more.
const END_WAIT: Duration = Duration::from_secs(60);

/// How many clients there are, for how long they are lost and come back, and how often the server is killed.
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) time: Duration,
    pub(crate) kills: u64,
    pub(crate) seed: u64,
}

/// A server that stores what the rooms of its party `main` send, whose guest is the puppet.
pub(crate) trait KilledServer {
    /// Starts it on the data of before, and returns its address.
    async fn start(&mut self) -> SocketAddr;

    /// Returns true if what it says from the moment of its death on does not count, as of a machine without power.
    fn loses_words(&self) -> bool;

    /// Kills it.
    async fn kill(&mut self, dice: &mut Dice);

    /// Removes what it has left.
    fn remove(self);
}

impl Plan {
    /// Returns the plan that the environment asks for.
    pub(crate) fn from_env() -> Self {
        Self {
            clients: usize::try_from(number("RETURNING_CLIENTS", 60)).unwrap(),
            time: Duration::from_millis(number("RETURNING_MS", 4_000)),
            kills: number("RETURNING_KILLS", 2),
            seed: number("CRASH_SEED", 1),
        }
    }
}

/// Returns a number from the environment, or another.
pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var_os(name).and_then(|number| number.to_str()?.parse().ok());
    given.unwrap_or(otherwise)
}

/// What a run found.
#[derive(Default)]
pub(crate) struct Report {
    said: usize,
    heard: usize,
    /// The arrivals by the kind of the client, and by their name.
    arrivals: BTreeMap<&'static str, BTreeMap<String, u64>>,
    kills: u64,
    faults: Vec<Fault>,
}

impl Report {
    /// Returns true if each client heard what it was owed, and the run did what it was for.
    pub(crate) fn is_clean(&self) -> bool {
        let continued = |kind: &&str| {
            self.arrivals.get(kind).is_some_and(|arrivals| arrivals.contains_key("continued"))
        };
        let is_tried = self.kills == 0 || KINDS.iter().all(continued);
        self.faults.is_empty() && self.said > 0 && is_tried
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { said, heard, arrivals, kills, faults } = self;
        write!(f, "{said} messages said, {heard} heard, {kills} kills, arrivals {arrivals:?}")?;
        faults.iter().take(8).try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// Runs a plan.
pub(crate) async fn run(plan: &Plan, mut server: impl KilledServer) -> Report {
    let spot = Arc::new(Spot::new(server.start().await));
    let mut dice = Dice(plan.seed);
    let mut wanderers = JoinSet::new();
    for number in 0..plan.clients {
        let own = Wanderer::new(number, spot.clone(), Dice(dice.roll()));
        match number % 4 {
            0 => wanderers.spawn(own.run::<Sockets>()),
            1 => wanderers.spawn(own.run::<Events>()),
            2 => wanderers.spawn(own.run::<Sessions>()),
            _ => wanderers.spawn(own.run::<Polls>()),
        };
    }
    // All are there before anything is said, so that each is owed everything.
    let all = async { spot.arrived.wait_for(plan.clients).await };
    tokio::time::timeout(END_WAIT, all).await.expect("all clients connect");
    let speaking = tokio::spawn(speak(spot.clone(), plan.clients, Dice(dice.roll())));
    let part = plan.time / u32::try_from(plan.kills + 1).unwrap_or(u32::MAX);
    let mut report = Report::default();
    for _ in 0..plan.kills {
        tokio::time::sleep(part).await;
        if server.loses_words() {
            spot.lose_words();
        }
        server.kill(&mut dice).await;
        report.kills += 1;
        spot.moved(server.start().await);
    }
    tokio::time::sleep(part).await;
    spot.is_over.store(true, Ordering::SeqCst);
    let said = tokio::time::timeout(END_WAIT, speaking).await;
    let said = said.expect("the speaker ends").unwrap();
    report.said = said.len();
    let ends = tokio::time::timeout(END_WAIT, async {
        let mut ended = Vec::new();
        while let Some(one) = wanderers.join_next().await {
            ended.push(one.unwrap());
        }
        ended
    });
    for one in ends.await.expect("every client hears the end") {
        report.heard += one.heard.len();
        let arrivals = report.arrivals.entry(one.kind).or_default();
        for arrival in &one.arrivals {
            *arrivals.entry(arrival.clone()).or_default() += 1;
        }
        report.faults.extend(judge(one.number, &one.heard, &one.arrivals, &said));
    }
    server.kill(&mut dice).await;
    server.remove();
    report
}

/// Says messages until the time is over, and then the last one. Returns those that were said, in the order of the room.
async fn speak(spot: Arc<Spot>, clients: usize, mut dice: Dice) -> Vec<Saying> {
    let mut own = Card::new("speaker");
    let mut drawn: BTreeMap<u64, Saying> = BTreeMap::new();
    let (mut said, mut number): (Vec<Saying>, u64) = (Vec::new(), 0);
    loop {
        let life = spot.life();
        let Some(mut link) = Sockets::open(spot.addr(), ROOM, &own).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        while !said.last().is_some_and(|saying| saying.is_last) {
            number += 1;
            let is_last = spot.is_over.load(Ordering::SeqCst);
            let saying = Saying::draw(number, clients, is_last, &mut dice);
            let (script, mark) = (saying.script(), json!([{"say": format!("mark {number}")}]));
            drawn.insert(number, saying);
            let sent = Sockets::say(&mut link, &script).await;
            if sent.is_none() || Sockets::say(&mut link, &mark).await.is_none() {
                break;
            }
            // A turn that names a client which is gone fails, and has no answer but the mark behind it.
            let mark = format!("mark {number}");
            let answers = async {
                loop {
                    let heard = Sockets::next(&mut link).await.filter(|_| spot.life() == life)?;
                    match heard {
                        Heard::Welcome(welcome) => own.welcome(&welcome),
                        Heard::Message { id, text } => {
                            own.heard(id);
                            if let Some(done) = text.strip_prefix("done ") {
                                said.extend(drawn.remove(&done.parse::<u64>().unwrap()));
                            } else if text == mark {
                                return Some(());
                            }
                        }
                    }
                }
            };
            if !matches!(tokio::time::timeout(SILENCE, answers).await, Ok(Some(()))) {
                break;
            }
        }
        if said.last().is_some_and(|saying| saying.is_last) {
            return said;
        }
    }
}

/// Waits until a number has been reached.
pub(crate) struct Count(tokio::sync::watch::Sender<usize>);

impl Count {
    fn new() -> Self {
        Self(tokio::sync::watch::Sender::new(0))
    }

    fn add(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    async fn wait_for(&self, wanted: usize) {
        let mut counted = self.0.subscribe();
        drop(counted.wait_for(|count| *count >= wanted).await);
    }
}

/// Returns a moment so many milliseconds from now, at most.
fn soon(dice: &mut Dice, ms_max: usize) -> Instant {
    Instant::now() + Duration::from_millis(dice.below(ms_max) as u64)
}
