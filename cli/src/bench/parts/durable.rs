//! `durable`: increments that the room answers when they are on the disk. Owns the counts of each room.
//!
//! Invariant: no count of a room is repeated or left out, and no client's counts go back. It does not know where a
//! room keeps them.

use crate::bench::check::{Came, MessageSequence};
use crate::bench::figures::LoadPlan;
use crate::bench::frames;
use crate::bench::link::{BenchLink, BenchReader, Broken};
use crate::bench::message;
use crate::bench::open;
use crate::bench::parts::{OUT_MAX, in_turns};
use crate::bench::run::{Buffers, Tally};
use crate::bench::target::{ENTER_MAX, Target};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::task::spawn_local;

/// A connection, and for the first one of each room the count with which the room started.
type Opened = (Rc<BenchLink>, BenchReader, Option<u64>);

/// The connections before anything counts.
pub(super) struct Durable(Vec<Opened>);

/// The counts of a room.
struct Counter {
    counts: RefCell<MessageSequence>,
    /// One more than the highest possible count.
    end: Cell<u64>,
}

/// A client that counts.
pub(super) struct DurableClient {
    link: Rc<BenchLink>,
    counter: Rc<Counter>,
    sent: Cell<u64>,
    back: Cell<u64>,
    row: RefCell<MessageSequence>,
    /// The highest count that it received.
    highest: Cell<u64>,
    /// When the increments on their way were due, and the number of the first of them.
    due: RefCell<VecDeque<u64>>,
    due_from: Cell<u64>,
    is_broken: Cell<bool>,
    tally: Rc<Tally>,
}

impl Durable {
    /// Opens the connections, and reads the earlier count of each room.
    ///
    /// # Errors
    /// As [`open::all`].
    ///
    /// # Cancel safety
    /// All are closed.
    pub(super) async fn prepare(target: &Rc<Target>, plan: &LoadPlan) -> anyhow::Result<Self> {
        let (target, rooms) = (target.clone(), plan.rooms);
        let opening = open::all(plan.clients, async move |number| {
            // The rooms are the same in every run, as their storage stays.
            let (link, mut reader) = target.open(&format!("bench-{}", number % rooms)).await?;
            let first = match number < rooms {
                true => Some(first_count(&link, &mut reader).await?),
                false => None,
            };
            Ok((link, reader, first))
        });
        opening.await.map(Self)
    }

    /// Sends increments until the window ends.
    pub(super) fn start(self, plan: &LoadPlan, tally: &Rc<Tally>) -> Vec<Rc<DurableClient>> {
        let (mut clients, mut counters) = (Vec::new(), Vec::new());
        for (number, (link, reader, first)) in self.0.into_iter().enumerate() {
            if let Some(first) = first {
                let counts = RefCell::new(MessageSequence::from(first + 1));
                counters.push(Rc::new(Counter { counts, end: Cell::new(first + 1) }));
            }
            let client = Rc::new(DurableClient {
                link,
                counter: counters[number % plan.rooms].clone(),
                sent: Cell::new(0),
                back: Cell::new(0),
                row: RefCell::default(),
                highest: Cell::new(0),
                due: RefCell::default(),
                due_from: Cell::new(0),
                is_broken: Cell::new(false),
                tally: tally.clone(),
            });
            let in_flight = if plan.rate.is_none() { plan.in_flight as u64 } else { 0 };
            client.top_up(in_flight);
            spawn_local(client.clone().run(reader, in_flight));
            clients.push(client);
        }
        if let Some(rate) = plan.rate {
            in_turns(&clients, rate, tally, DurableClient::send_due);
        }
        clients
    }
}

/// Increments once, before anything counts, and returns the count.
async fn first_count(link: &Rc<BenchLink>, reader: &mut BenchReader) -> Result<u64, Broken> {
    let (mut body, mut out, mut answer) = (Vec::new(), Vec::new(), Vec::new());
    message::write_increment(&mut body, 0);
    frames::text(&mut out, &body);
    link.send(&out);
    let reading = reader.read(|body| answer = body.to_vec());
    tokio::time::timeout(ENTER_MAX, reading).await.map_err(|_| Broken::Silent(ENTER_MAX))??;
    let count = message::read_count(&answer).map(|(_, count)| count);
    count.ok_or_else(|| Broken::Stranger(String::from_utf8_lossy(&answer).escape_debug().collect()))
}

/// Returns the increments without an answer, and the counts that were left out although all were answered.
pub(super) fn missing(clients: &[Rc<DurableClient>]) -> (u64, u64) {
    let lost = clients.iter().map(|client| client.missing()).sum();
    let mut left_out = 0;
    for (number, client) in clients.iter().enumerate() {
        let is_of = |other: &&Rc<DurableClient>| Rc::ptr_eq(&other.counter, &client.counter);
        if clients[..number].iter().any(|other| is_of(&other)) {
            continue;
        }
        // A count whose answer did not come is lost, and not left out.
        let unheard: u64 = clients[number..].iter().filter(is_of).map(|of| of.missing()).sum();
        left_out += client.counter.counts.borrow().gaps().saturating_sub(unheard);
    }
    (lost, left_out)
}

impl DurableClient {
    /// Closes all connections.
    pub(super) fn close(&self) {
        self.link.close();
    }

    fn missing(&self) -> u64 {
        self.sent.get() - self.back.get()
    }

    async fn run(self: Rc<Self>, mut reader: BenchReader, in_flight: u64) {
        loop {
            match reader.read(|body| self.take(body)).await {
                Ok(_) => self.top_up(in_flight),
                Err(err) => {
                    self.is_broken.set(true);
                    self.tally.found(|check| check.broke(&err));
                    return self.tally.run.settled(self.missing());
                }
            }
        }
    }

    fn top_up(&self, in_flight: u64) {
        let now = self.tally.run.now();
        while self.missing() < in_flight && self.tally.run.is_open(now) && !self.is_broken.get() {
            self.send(now);
        }
    }

    fn send_due(&self, due: u64) {
        let is_behind = self.missing() >= OUT_MAX || !self.link.takes(message::BYTES_MIN);
        if is_behind || self.is_broken.get() {
            return self.tally.not_sent();
        }
        self.send(due);
    }

    fn send(&self, due: u64) {
        let number = self.sent.replace(self.sent.get() + 1);
        self.due.borrow_mut().push_back(due);
        self.counter.end.set(self.counter.end.get() + 1);
        self.tally.run.sent(1);
        self.tally.send(&self.link, |Buffers { body, frames }| {
            message::write_increment(body, number);
            frames::text(frames, body);
        });
    }

    fn take(&self, body: &[u8]) {
        let now = self.tally.run.now();
        let Some((number, count)) = message::read_count(body) else {
            return self.tally.check(Came::Unsent);
        };
        let came = self.row.borrow_mut().take(number, self.sent.get());
        self.tally.check(came);
        let counted = self.counter.counts.borrow_mut().take(count, self.counter.end.get());
        // Counts of several clients cross on their way, so one may be late, but not for the same client.
        let is_wrong = matches!(counted, Came::Twice | Came::Unsent) || count <= self.highest.get();
        self.tally.found(|check| check.wrong_counts += u64::from(is_wrong));
        self.highest.set(self.highest.get().max(count));
        if matches!(came, Came::Once | Came::Late) {
            self.back.set(self.back.get() + 1);
            self.tally.run.settled(1);
            if let Some(due) = self.due_of(number) {
                self.tally.came(due, now);
            }
        }
    }

    /// Returns when an increment was due; `None` if a later one was answered first.
    fn due_of(&self, number: u64) -> Option<u64> {
        let mut waiting = self.due.borrow_mut();
        let mut due = None;
        while self.due_from.get() <= number {
            due = waiting.pop_front();
            self.due_from.set(self.due_from.get() + 1);
        }
        due
    }
}
