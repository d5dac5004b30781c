//! `fanout`: broadcasts. Owns the rooms, their members, and how many members have received which broadcast.
//!
//! Invariant: a broadcast is over when every member of its room has received it, and each member receives each one
//! once, in order. It does not know how a room reaches its members.

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
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::task::spawn_local;

/// The connections before anything is sent.
pub(super) struct Fanout(Vec<(Rc<BenchLink>, BenchReader)>);

/// A broadcast that some members have not received.
struct Pending {
    due: u64,
    left: usize,
}

/// A room in which one member speaks.
pub(super) struct Room {
    speaker: Rc<BenchLink>,
    members: RefCell<Vec<Rc<Member>>>,
    /// How many were sent; also the number of the next one.
    sent: Cell<u64>,
    /// How many all members have received, in order; also the number of the first pending one.
    over: Cell<u64>,
    pending: RefCell<VecDeque<Pending>>,
    is_broken: Cell<bool>,
    payload_bytes: usize,
    /// Without a rate, how many are on their way.
    in_flight: Option<u64>,
    tally: Rc<Tally>,
    lasts: Rc<Tally>,
}

/// A member that receives.
struct Member {
    link: Rc<BenchLink>,
    heard: Cell<u64>,
    row: RefCell<MessageSequence>,
}

impl Fanout {
    /// Opens the connections, all before the first broadcast.
    ///
    /// # Errors
    /// As [`open::all`].
    ///
    /// # Cancel safety
    /// All are closed.
    pub(super) async fn prepare(target: &Rc<Target>, plan: &LoadPlan) -> anyhow::Result<Self> {
        let (target, rooms) = (target.clone(), plan.rooms);
        let opening = open::all(plan.clients, async move |number| {
            target.open(&room_name("fanout", number % rooms)).await
        });
        opening.await.map(Self)
    }

    /// Broadcasts until the window ends. A broadcast that all members have received is counted in `lasts`.
    pub(super) fn start(
        self,
        plan: &LoadPlan,
        tally: &Rc<Tally>,
        lasts: &Rc<Tally>,
    ) -> Vec<Rc<Room>> {
        let mut rooms: Vec<Rc<Room>> = Vec::new();
        for (number, (link, reader)) in self.0.into_iter().enumerate() {
            let at = number % plan.rooms;
            if at == rooms.len() {
                rooms.push(Rc::new(Room {
                    speaker: link.clone(),
                    members: RefCell::default(),
                    sent: Cell::new(0),
                    over: Cell::new(0),
                    pending: RefCell::default(),
                    is_broken: Cell::new(false),
                    payload_bytes: plan.payload_bytes,
                    in_flight: plan.rate.is_none().then_some(plan.in_flight as u64),
                    tally: tally.clone(),
                    lasts: lasts.clone(),
                }));
            }
            let member = Member { link, heard: Cell::new(0), row: RefCell::default() };
            let (room, member) = (rooms[at].clone(), Rc::new(member));
            room.members.borrow_mut().push(member.clone());
            spawn_local(room.listen(member, reader));
        }
        for room in &rooms {
            room.top_up();
        }
        if let Some(rate) = plan.rate {
            in_turns(&rooms, rate, tally, Room::send_due);
        }
        rooms
    }
}

impl Room {
    /// Returns how many deliveries did not happen.
    pub(super) fn missing(&self) -> u64 {
        let members = self.members.borrow();
        members.iter().map(|member| self.sent.get() - member.heard.get()).sum()
    }

    /// Closes the connections of all members.
    pub(super) fn close(&self) {
        self.members.borrow().iter().for_each(|member| member.link.close());
    }

    async fn listen(self: Rc<Self>, member: Rc<Member>, mut reader: BenchReader) {
        loop {
            match reader.read(|body| self.heard(&member, body)).await {
                Ok(_) => self.top_up(),
                Err(err) => return self.broke(&member, &err),
            }
        }
    }

    /// Sends the missing broadcasts.
    fn top_up(&self) {
        let Some(in_flight) = self.in_flight else { return };
        let now = self.tally.run.now();
        while self.sent.get() - self.over.get() < in_flight
            && self.tally.run.is_open(now)
            && !self.is_broken.get()
        {
            self.send(now);
        }
    }

    /// Sends a due broadcast, unless the server is too far behind.
    fn send_due(&self, due: u64) {
        let behind = self.sent.get() - self.over.get();
        let is_behind = behind >= OUT_MAX || !self.speaker.takes(self.payload_bytes);
        if is_behind || self.is_broken.get() {
            return self.tally.not_sent();
        }
        self.send(due);
    }

    fn send(&self, due: u64) {
        let number = self.sent.replace(self.sent.get() + 1);
        let members = self.members.borrow().len();
        self.pending.borrow_mut().push_back(Pending { due, left: members });
        self.tally.run.sent(members as u64);
        self.tally.send(&self.speaker, |Buffers { body, frames }| {
            message::write(body, Kind::Cast, Stamp { number, due }, self.payload_bytes);
            frames::text(frames, body);
        });
    }

    fn heard(&self, member: &Member, body: &[u8]) {
        let now = self.tally.run.now();
        let Some(Stamp { number, due }) = message::read(body, Kind::Cast, self.payload_bytes)
        else {
            return self.tally.check(Came::Unsent);
        };
        let came = member.row.borrow_mut().take(number, self.sent.get());
        self.tally.check(came);
        if !matches!(came, Came::Once | Came::Late) {
            return;
        }
        member.heard.set(member.heard.get() + 1);
        self.tally.came(due, now);
        self.tally.run.settled(1);
        self.one_less(number, now);
    }

    /// Notes that one more member has received a broadcast.
    fn one_less(&self, number: u64, now: u64) {
        let mut pending = self.pending.borrow_mut();
        let at = number.checked_sub(self.over.get()).and_then(|at| usize::try_from(at).ok());
        if let Some(of) = at.and_then(|at| pending.get_mut(at)) {
            of.left = of.left.saturating_sub(1);
            if of.left == 0 {
                self.lasts.came(of.due, now);
            }
        }
        while pending.front().is_some_and(|first| first.left == 0) {
            pending.pop_front();
            self.over.set(self.over.get() + 1);
        }
    }

    /// Stops a room that lost a member: its broadcasts could never reach all members.
    fn broke(&self, member: &Member, err: &Broken) {
        self.is_broken.set(true);
        self.tally.found(|check| check.broke(err));
        self.tally.run.settled(self.sent.get() - member.heard.get());
    }
}
