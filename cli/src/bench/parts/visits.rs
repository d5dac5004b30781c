//! `connect` and `cold`: connections that open, are greeted and close. Owns which visitor visits which room when.
//!
//! Invariant: a visit ends before the same visitor starts the next one, and is over when the server has closed the
//! connection. It does not know what a room does before it greets.

use crate::args::bench::Scenario;
use crate::bench::figures::LoadPlan;
use crate::bench::link::{BenchLink, BenchReader, Broken};
use crate::bench::open;
use crate::bench::parts::{OUT_MAX, room_name};
use crate::bench::run::{Run, Tally};
use crate::bench::target::{ENTER_MAX, Target};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::sync::Notify;
use tokio::task::spawn_local;

/// The room that is warm, as one connection stays in it.
const WARM: &str = "warm";

/// The planned visits.
pub(super) struct Visits {
    target: Rc<Target>,
    plan: LoadPlan,
    /// The connection that keeps the warm room in memory.
    host: Option<(Rc<BenchLink>, BenchReader)>,
}

impl Visits {
    /// Opens the connection that stays open.
    ///
    /// # Errors
    /// As [`open::all`].
    ///
    /// # Cancel safety
    /// All are closed.
    pub(super) async fn prepare(target: &Rc<Target>, plan: &LoadPlan) -> anyhow::Result<Self> {
        let hosts = usize::from(plan.scenario == Scenario::Cold);
        let opener = target.clone();
        let opening = open::all(hosts, async move |_| opener.open(&room_name("cold", WARM)).await);
        let host = opening.await?.pop();
        Ok(Self { target: target.clone(), plan: plan.clone(), host })
    }

    /// Visits until the window ends. Visits to the warm room are counted in `warm`.
    pub(super) fn start(self, tally: &Rc<Tally>, warm: &Rc<Tally>) {
        let due = Rc::new(Due {
            run: tally.run.clone(),
            waiting: self.plan.rate.map(|_| RefCell::default()),
            is_over: Cell::new(false),
            more: Notify::new(),
        });
        if let Some((_link, mut reader)) = self.host {
            spawn_local(async move { while reader.read(|_| {}).await.is_ok() {} });
        }
        let made = Rc::new(Cell::new(0));
        for _ in 0..self.plan.clients {
            let visitor = Visitor {
                target: self.target.clone(),
                plan: self.plan.clone(),
                due: due.clone(),
                made: made.clone(),
                tally: tally.clone(),
                warm: warm.clone(),
            };
            spawn_local(visitor.run());
        }
        if let Some(rate) = self.plan.rate {
            let tally = tally.clone();
            spawn_local(async move {
                tally.run.pace(rate, |at| due.push(at, &tally)).await;
                due.is_over.set(true);
                due.more.notify_waiters();
            });
        }
    }
}

/// When visits are due.
struct Due {
    run: Rc<Run>,
    /// With a rate, the visits that no visitor has started.
    waiting: Option<RefCell<VecDeque<u64>>>,
    is_over: Cell<bool>,
    more: Notify,
}

impl Due {
    fn push(&self, due: u64, tally: &Tally) {
        let Some(waiting) = &self.waiting else { return };
        if waiting.borrow().len() as u64 >= OUT_MAX {
            return tally.not_sent();
        }
        waiting.borrow_mut().push_back(due);
        self.run.sent(1);
        self.more.notify_one();
    }

    /// Returns when the next visit is due; `None` if there are no more.
    async fn next(&self) -> Option<u64> {
        let Some(waiting) = &self.waiting else {
            let now = self.run.now();
            return self.run.is_open(now).then(|| {
                self.run.sent(1);
                now
            });
        };
        loop {
            let due = waiting.borrow_mut().pop_front();
            if due.is_some() || self.is_over.get() {
                return due;
            }
            self.more.notified().await;
        }
    }
}

/// A visitor that makes one visit after the other.
struct Visitor {
    target: Rc<Target>,
    plan: LoadPlan,
    due: Rc<Due>,
    /// How many visits all visitors have started.
    made: Rc<Cell<usize>>,
    tally: Rc<Tally>,
    warm: Rc<Tally>,
}

impl Visitor {
    async fn run(self) {
        while let Some(due) = self.due.next().await {
            let visited = tokio::time::timeout(2 * ENTER_MAX, self.visit(due)).await;
            let visited = visited.unwrap_or(Err(Broken::Silent(2 * ENTER_MAX)));
            self.tally.run.settled(1);
            match visited {
                Ok(()) => self.tally.found(|check| check.looked_at += 1),
                Err(err) => {
                    self.tally.found(|check| check.broke(&err));
                    // A visitor that is refused at once would do nothing else.
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
            }
        }
    }

    async fn visit(&self, due: u64) -> Result<(), Broken> {
        let number = self.made.replace(self.made.get() + 1);
        let (room, tally) = match self.plan.scenario {
            Scenario::Cold if number % 2 == 1 => (room_name("cold", WARM), &self.warm),
            Scenario::Cold => (room_name("cold", number), &self.tally),
            _ => (room_name("connect", number % self.plan.rooms), &self.tally),
        };
        let tcp = self.target.dial().await?;
        // The activation of a room counts from the first byte of the handshake, where nothing else waits.
        let is_cold = self.plan.scenario == Scenario::Cold && self.plan.rate.is_none();
        let due = if is_cold { self.tally.run.now() } else { due };
        let (link, mut reader) = self.target.enter(tcp, &room).await?;
        tally.came(due, self.tally.run.now());
        link.close();
        reader.closed().await
    }
}

/// The pause of a visitor after a refusal.
const REFUSED_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
