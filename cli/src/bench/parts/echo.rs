//! `echo`: messages that come back to their sender. Owns the clients and the numbers of their messages.
//!
//! Invariant: each client has as many messages on their way as it should, or sends when they are due. It does
//! not know what a room does with them.

use crate::bench::check::{Came, MessageSequence};
use crate::bench::figures::LoadPlan;
use crate::bench::frames;
use crate::bench::link::{BenchLink, BenchReader, Broken};
use crate::bench::message::{self, Kind, Stamp};
use crate::bench::open;
use crate::bench::parts::{OUT_MAX, in_turns, room_name};
use crate::bench::run::{Buffers, Tally};
use crate::bench::target::Target;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::task::spawn_local;

/// The connections before anything is sent.
pub(super) struct Echo(Vec<(Rc<BenchLink>, BenchReader)>);

/// A connection whose messages are numbered.
pub(super) struct EchoClient {
    link: Rc<BenchLink>,
    /// How many were sent; also the number of the next one.
    sent: Cell<u64>,
    /// How many came back.
    back: Cell<u64>,
    row: RefCell<MessageSequence>,
    is_broken: Cell<bool>,
    payload_bytes: usize,
    tally: Rc<Tally>,
}

impl Echo {
    /// Opens the connections.
    ///
    /// # Errors
    /// As [`open::all`].
    ///
    /// # Cancel safety
    /// All are closed.
    pub(super) async fn prepare(target: &Rc<Target>, plan: &LoadPlan) -> anyhow::Result<Self> {
        let (target, rooms) = (target.clone(), plan.rooms);
        let opening = open::all(plan.clients, async move |number| {
            target.open(&room_name("echo", number % rooms)).await
        });
        opening.await.map(Self)
    }

    /// Sends until the window ends.
    pub(super) fn start(self, plan: &LoadPlan, tally: &Rc<Tally>) -> Vec<Rc<EchoClient>> {
        let mut clients = Vec::new();
        for (link, reader) in self.0 {
            let client = EchoClient::new(link, plan.payload_bytes, tally);
            let in_flight = if plan.rate.is_none() { plan.in_flight as u64 } else { 0 };
            client.top_up(in_flight);
            spawn_local(client.clone().run(reader, in_flight));
            clients.push(client);
        }
        if let Some(rate) = plan.rate {
            in_turns(&clients, rate, tally, EchoClient::send_due);
        }
        clients
    }
}

impl EchoClient {
    /// Makes a client that has sent nothing.
    pub(super) fn new(link: Rc<BenchLink>, payload_bytes: usize, tally: &Rc<Tally>) -> Rc<Self> {
        Rc::new(Self {
            link,
            sent: Cell::new(0),
            back: Cell::new(0),
            row: RefCell::default(),
            is_broken: Cell::new(false),
            payload_bytes,
            tally: tally.clone(),
        })
    }

    /// Reads until the connection breaks, and keeps so many messages on their way.
    pub(super) async fn run(self: Rc<Self>, mut reader: BenchReader, in_flight: u64) {
        loop {
            match reader.read(|body| self.take(body)).await {
                Ok(_) => self.top_up(in_flight),
                Err(err) => return self.broke(&err),
            }
        }
    }

    /// Returns how many were sent and did not come back.
    pub(super) fn missing(&self) -> u64 {
        self.sent.get() - self.back.get()
    }

    /// Closes the connection.
    pub(super) fn close(&self) {
        self.link.close();
    }

    /// Sends the missing messages with one write.
    fn top_up(&self, in_flight: u64) {
        let now = self.tally.run.now();
        // A broken connection is no longer read, so this is not called for it again.
        if self.missing() < in_flight && self.tally.run.is_open(now) {
            self.send(in_flight - self.missing(), now);
        }
    }

    /// Sends one that is due, unless too many are on their way already.
    pub(super) fn send_due(&self, due: u64) {
        let is_behind = self.missing() >= OUT_MAX || !self.link.takes(self.payload_bytes);
        if is_behind || self.is_broken.get() {
            return self.tally.not_sent();
        }
        self.send(1, due);
    }

    fn send(&self, count: u64, due: u64) {
        let first = self.sent.replace(self.sent.get() + count);
        self.tally.run.sent(count);
        self.tally.send(&self.link, |Buffers { body, frames }| {
            for number in first..first + count {
                message::write(body, Kind::Echo, Stamp { number, due }, self.payload_bytes);
                frames::text(frames, body);
            }
        });
    }

    fn take(&self, body: &[u8]) {
        let now = self.tally.run.now();
        let Some(Stamp { number, due }) = message::read(body, Kind::Echo, self.payload_bytes)
        else {
            return self.tally.check(Came::Unsent);
        };
        let came = self.row.borrow_mut().take(number, self.sent.get());
        self.tally.check(came);
        if matches!(came, Came::Once | Came::Late) {
            self.back.set(self.back.get() + 1);
            self.tally.came(due, now);
            self.tally.run.settled(1);
        }
    }

    fn broke(&self, err: &Broken) {
        self.is_broken.set(true);
        self.tally.found(|check| check.broke(err));
        self.tally.run.settled(self.missing());
    }
}
