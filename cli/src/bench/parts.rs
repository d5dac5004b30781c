//! The parts of a run: one scenario each. Owns their common steps, from the first connection to the outcome.
//!
//! Invariant: a part's connections are open before any part starts, and are closed when all have ended. It does not
//! know how long a run takes.

mod durable;
mod echo;
mod fanout;
mod idle;
mod visits;

use super::figures::{Beside, LoadOutcome, LoadPlan};
use super::memory::Held;
use super::run::{Run, Tally};
use super::target::Target;
use crate::args::bench::Scenario;
use durable::Durable;
use echo::Echo;
use fanout::Fanout;
use idle::Idle;
use std::fmt::Display;
use std::rc::Rc;
use std::sync::OnceLock;
use tokio::task::spawn_local;
use visits::Visits;

/// The most messages on their way under a rate: a server that is further behind will not catch up.
const OUT_MAX: u64 = 65_536;

/// Returns the name of a room that no other run uses, since the check tells rooms apart by their outputs.
fn room_name(what: &str, which: impl Display) -> String {
    static RUN: OnceLock<String> = OnceLock::new();
    let run = RUN.get_or_init(|| format!("{:x}", chrono::Utc::now().timestamp_millis()));
    format!("bench-{run}-{what}-{which}")
}

/// Lets the senders take turns, so many times a second, until the window ends.
fn in_turns<T: 'static>(all: &[Rc<T>], rate: u64, tally: &Rc<Tally>, send_due: fn(&T, u64)) {
    let (all, run) = (all.to_vec(), tally.run.clone());
    spawn_local(async move {
        let mut turns = all.iter().cycle();
        let send = |due| turns.next().into_iter().for_each(|one| send_due(one, due));
        run.pace(rate, send).await;
    });
}

/// A scenario whose connections are open.
pub(crate) struct Prepared {
    plan: LoadPlan,
    part: Part,
}

enum Part {
    Echo(Echo),
    Fanout(Fanout),
    Durable(Durable),
    Visits(Visits),
    Idle(Idle),
}

/// A running scenario.
pub(crate) struct Running {
    plan: LoadPlan,
    part: Sending,
    tally: Rc<Tally>,
    beside: Rc<Tally>,
    held: Option<Held>,
}

enum Sending {
    Echo(Vec<Rc<echo::EchoClient>>),
    Fanout(Vec<Rc<fanout::Room>>),
    Durable(Vec<Rc<durable::DurableClient>>),
    Visits,
    Idle(idle::Holding),
}

impl Prepared {
    /// Opens the connections of a scenario.
    ///
    /// # Errors
    /// A mistake: not all connections could be opened.
    ///
    /// # Cancel safety
    /// The opened ones are closed.
    pub(crate) async fn of(target: &Rc<Target>, plan: &LoadPlan) -> anyhow::Result<Self> {
        let part = match plan.scenario {
            Scenario::Echo | Scenario::Mixed => Part::Echo(Echo::prepare(target, plan).await?),
            Scenario::Fanout => Part::Fanout(Fanout::prepare(target, plan).await?),
            Scenario::Durable => Part::Durable(Durable::prepare(target, plan).await?),
            Scenario::Connect | Scenario::Cold => {
                Part::Visits(Visits::prepare(target, plan).await?)
            }
            Scenario::Idle => Part::Idle(Idle::prepare(target, plan).await?),
        };
        Ok(Self { plan: plan.clone(), part })
    }

    /// Starts.
    ///
    /// # Errors
    /// Never: a histogram's bounds are right.
    pub(crate) fn start(self, run: &Rc<Run>) -> anyhow::Result<Running> {
        let (tally, beside, plan) = (Tally::new(run)?, Tally::new(run)?, self.plan);
        let part = match self.part {
            Part::Echo(echo) => Sending::Echo(echo.start(&plan, &tally)),
            Part::Fanout(fanout) => Sending::Fanout(fanout.start(&plan, &tally, &beside)),
            Part::Durable(durable) => Sending::Durable(durable.start(&plan, &tally)),
            Part::Visits(visits) => {
                visits.start(&tally, &beside);
                Sending::Visits
            }
            Part::Idle(idle) => Sending::Idle(idle.start(&plan, &tally)),
        };
        Ok(Running { plan, part, tally, beside, held: None })
    }
}

impl Running {
    /// Returns the progress, in words.
    pub(crate) fn progress(&self) -> String {
        format!("{} {}", self.plan.scenario.name(), self.tally.progress())
    }

    /// Does the rest of the work when the window has ended.
    pub(crate) fn ending(&mut self) {
        if let Sending::Idle(holding) = &self.part {
            self.held = Some(holding.ask(&self.tally));
        }
    }

    /// Closes all connections and returns the outcome.
    pub(crate) fn outcome(self) -> LoadOutcome {
        let beside = match self.plan.scenario {
            Scenario::Fanout => Some("last delivery"),
            Scenario::Cold => Some("warm room"),
            _ => None,
        };
        let (count, latency_us, not_sent, mut check) = self.tally.sums();
        match &self.part {
            Sending::Echo(clients) => {
                check.lost = clients.iter().map(|client| client.missing()).sum();
                clients.iter().for_each(|client| client.close());
            }
            Sending::Idle(holding) => {
                check.lost = holding.clients.iter().map(|client| client.missing()).sum();
                holding.clients.iter().for_each(|client| client.close());
            }
            Sending::Fanout(rooms) => {
                check.lost = rooms.iter().map(|room| room.missing()).sum();
                rooms.iter().for_each(|room| room.close());
            }
            Sending::Durable(clients) => {
                let (lost, left_out) = durable::missing(clients);
                check.lost = lost;
                check.wrong_counts += left_out;
                clients.iter().for_each(|client| client.close());
            }
            Sending::Visits => {}
        }
        let seconds = self.tally.run.seconds();
        let per_second = if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let beside = beside.map(|what| Beside { what, latency_us: self.beside.sums().1 });
        LoadOutcome {
            plan: self.plan,
            seconds,
            count,
            per_second,
            latency_us,
            beside,
            not_sent,
            check,
            memory: self.held,
        }
    }
}
