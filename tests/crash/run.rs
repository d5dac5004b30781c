//! A run of crashes. Owns the order: start, audit, load, crash, and again on the surviving data.
//!
//! Invariant: a folder lives through many crashes and is audited after each. The first broken rule ends a folder,
//! which is kept and named together with the seed that it was drawn from. The run continues with a new folder, so its
//! tally is of all crashes. It does not know what a crash does to a folder.

use crate::audit::{
    Admitted, Echo, History, Kind, Problem, State, Witness, audit_hooks, audit_keys, missing_hooks,
};
use crate::ground::{Crash, Ground};
use crate::load::{Load, rooms};
use crate::origin::Target;
use crate::server::{Program, Server, end};
use crate::tally::Tally;
use room_tests::{DEADLINE, Dice};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// Crashes of one folder.
const CRASHES_PER_FOLDER: u64 = 50;
/// One audit in so many waits until every due alarm has rung, and every request has its answer.
const WAIT_EVERY: u64 = 16;
/// Most answers after which a server is killed.
const ANSWERS_MAX: usize = 900;
/// Longest time between the last of these and the crash.
const MOMENT_US_MAX: usize = 3_000;
/// Longest time between the start of a process and a crash while it opens the folder.
const OPENING_US_MAX: usize = 60_000;
/// Broken rules of one folder that are printed.
const PROBLEMS_SHOWN_MAX: usize = 12;

/// The kind of crash, the number of crashes, and the seed.
pub(crate) struct Plan {
    pub(crate) what: &'static str,
    pub(crate) crash: Crash,
    pub(crate) crashes: u64,
    pub(crate) seed: u64,
}

/// Runs a plan.
pub(crate) async fn run(plan: &Plan) -> Tally {
    let program = Program::new();
    let mut tally = Tally::new(plan.what);
    while tally.crashes < plan.crashes {
        let number = tally.folders;
        tally.folders += 1;
        let mut folder = Folder::new(plan, number, program.scratch()).await;
        let crashes = CRASHES_PER_FOLDER.min(plan.crashes - tally.crashes);
        let Err(problems) = folder.live(&program, crashes, &mut tally).await else {
            folder.count(&mut tally);
            continue;
        };
        problems.iter().for_each(|problem| tally.found(problem));
        let Plan { what, seed, .. } = plan;
        say(&format!("CRASH_SEED={seed}: {what}, folder {number}, crash {}:", folder.crashes));
        for problem in problems.iter().take(PROBLEMS_SHOWN_MAX) {
            say(&format!("  {:?}: {}", problem.kind, problem.text));
        }
        say(&format!("  {} in all; kept in {}", problems.len(), folder.ground.keep().display()));
    }
    program.remove();
    say(&tally.to_string());
    tally
}

#[expect(clippy::print_stderr, reason = "output of a test")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// The rules that were broken.
type Problems = Vec<Problem>;

/// A data folder with all known facts about it.
struct Folder {
    ground: Ground,
    target: Target,
    histories: BTreeMap<String, History>,
    /// The connections of all clients that ended with a crash.
    admitted: Admitted,
    /// What the rooms held at the last audit.
    states: BTreeMap<String, State>,
    dice: Dice,
    crashes: u64,
}

impl Folder {
    async fn new(plan: &Plan, number: u64, scratch: &Path) -> Self {
        Self {
            ground: Ground::new(plan.crash, scratch),
            target: Target::start().await,
            admitted: Admitted::new(),
            states: BTreeMap::new(),
            histories: rooms().map(|room| (room, History::default())).collect(),
            dice: Dice(plan.seed.wrapping_add(number.wrapping_mul(0x5851_f42d_4c95_7f2d))),
            crashes: 0,
        }
    }

    /// Counts what happened in it, at its end.
    fn count(&self, tally: &mut Tally) {
        tally.alarms += self.histories.values().map(History::alarms_rang).sum::<u64>();
        let receipts = self.target.receipts();
        let fetches: BTreeSet<_> = receipts.iter().map(|one| (&one.room, &one.id)).collect();
        tally.repeated += (receipts.len() - fetches.len()) as u64;
        tally.webhooks += self.admitted.values().sum::<u64>();
        for State { requests, .. } in self.states.values() {
            tally.calls += requests.calls.values().sum::<u64>();
            tally.fetches += requests.fetches.values().sum::<u64>();
            tally.given_up += requests.gave_up.len() as u64;
        }
    }

    /// Crashes so often, and audits after each.
    async fn live(
        &mut self,
        program: &Program,
        crashes: u64,
        tally: &mut Tally,
    ) -> Result<(), Problems> {
        while self.crashes < crashes {
            if self.dice.below(8) == 0 {
                self.crash_while_opening(program, tally).await;
                continue;
            }
            let (server, states) = self.start(program, tally).await?;
            if self.dice.below(usize::try_from(WAIT_EVERY).unwrap_or(1)) == 0 {
                self.wait(&server, Until::NoneIsOverdue).await?;
            }
            self.load_and_crash(server, &states, tally).await?;
        }
        let (server, _) = self.start(program, tally).await?;
        self.wait(&server, Until::NoneWaits).await?;
        server.kill().await;
        Ok(())
    }

    /// Starts a server on the surviving data, and audits every room.
    async fn start(
        &mut self,
        program: &Program,
        tally: &mut Tally,
    ) -> Result<(Server, BTreeMap<String, State>), Problems> {
        let before = Instant::now();
        let started = program.start(&self.ground.data(), &self.target.host()).await;
        let server = started.map_err(|said| {
            tally.not_opened += 1;
            vec![Problem::new(Kind::Lost, format!("the folder does not open: {said}"))]
        })?;
        tally.start_max = tally.start_max.max(before.elapsed());
        let books = server.problems.iter().map(|text| Problem::new(Kind::Broken, text));
        let mut problems: Problems = books.collect();
        let states = self.audit(&server, &mut problems).await;
        tally.sets += states.values().map(|state| state.stamps.len() as u64).sum::<u64>();
        if problems.is_empty() { Ok((server, states)) } else { Err(problems) }
    }

    /// Reads every room and compares it with its history.
    async fn audit(&mut self, server: &Server, problems: &mut Problems) -> BTreeMap<String, State> {
        let mut states = BTreeMap::new();
        problems.extend(audit_keys(&self.target.receipts()));
        problems.extend(audit_hooks(&self.admitted, &self.target.hooks()));
        for (room, history) in &mut self.histories {
            match read(server, room, &self.target).await {
                Ok((state, echo, found)) => {
                    let found = found.into_iter().chain(history.audit(&state));
                    let found = found.chain(history.audit_requests(&state.requests, &echo));
                    problems.extend(found.map(|problem| Problem {
                        text: format!("{room}: {}", problem.text),
                        ..problem
                    }));
                    states.insert(room.clone(), state);
                }
                Err(said) => problems.push(Problem::new(Kind::Lost, said)),
            }
        }
        self.states.clone_from(&states);
        states
    }

    /// Waits until alarms have rung, and requests have their answers.
    async fn wait(&mut self, server: &Server, until: Until) -> Result<(), Problems> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let mut problems = Vec::new();
            let states = self.audit(server, &mut problems).await;
            if !problems.is_empty() {
                return Err(problems);
            }
            let rings = |state: &State| match until {
                Until::NoneIsOverdue => state.overdue().next().is_some(),
                Until::NoneWaits => !state.pending.is_empty(),
            };
            let waits =
                |state: &State| rings(state) || state.requests.unanswered().next().is_some();
            let missing = missing_hooks(&self.admitted, &self.target.hooks());
            let waiting = states.into_iter().find(|(_, state)| waits(state));
            if waiting.is_none() && missing.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let figures = server.figures().await;
                let Some((room, state)) = waiting else {
                    let text = format!("webhooks of {missing:?} do not come\n  {figures}");
                    return Err(vec![Problem::new(Kind::Lost, text)]);
                };
                let requests: Vec<_> = state.requests.unanswered().collect();
                let kind = if requests.is_empty() { Kind::Alarm } else { Kind::Lost };
                let pending = &state.pending;
                let text = format!(
                    "{room}: alarms do not ring, or requests have no answer: {pending:?} {requests:?}\n  {figures}"
                );
                return Err(vec![Problem::new(kind, text)]);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets clients work until there were enough answers, and crashes.
    async fn load_and_crash(
        &mut self,
        server: Server,
        states: &BTreeMap<String, State>,
        tally: &mut Tally,
    ) -> Result<(), Problems> {
        // Now and then a server dies early in its work.
        let most = if self.dice.below(4) == 0 { 30 } else { ANSWERS_MAX };
        let answers = 1 + self.dice.below(most) as u64;
        let load = Load::start(server.addr, states, answers, &mut self.dice).await;
        let enough = load.enough().await;
        self.moment(MOMENT_US_MAX);
        load.expect_end(self.ground.words());
        self.strike();
        server.kill().await;
        let mut problems = self.learn(load.end().await, tally);
        if !enough {
            let text = format!("{answers} answers did not come");
            problems.push(Problem::new(Kind::Broken, text));
        }
        self.crashed(tally).await;
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Lets a random time pass. Nobody knows how far the server gets in it.
    fn moment(&mut self, us_max: usize) {
        std::thread::sleep(Duration::from_micros(self.dice.below(us_max) as u64));
    }

    async fn crash_while_opening(&mut self, program: &Program, tally: &mut Tally) {
        let child = program.spawn(&self.ground.data(), &self.target.host());
        self.moment(OPENING_US_MAX);
        self.strike();
        end(child).await;
        self.crashed(tally).await;
        tally.while_opening += 1;
    }

    /// The moment of a crash.
    fn strike(&self) {
        self.target.expect_end(self.ground.words());
        self.ground.strike();
    }

    async fn crashed(&mut self, tally: &mut Tally) {
        self.target.end().await;
        tally.garbled += self.ground.settle(&mut self.dice);
        tally.crashes += 1;
        self.crashes += 1;
    }

    fn learn(&mut self, witnesses: Vec<Witness>, tally: &mut Tally) -> Problems {
        let mut by_room: BTreeMap<String, Vec<Witness>> = BTreeMap::new();
        for witness in witnesses {
            tally.messages += witness.messages;
            tally.counts += witness.acked_counts;
            let own = (witness.room.clone(), witness.who.clone());
            *self.admitted.entry(own).or_default() += 1;
            by_room.entry(witness.room.clone()).or_default().push(witness);
        }
        let mut problems = Vec::new();
        for (room, witnesses) in by_room {
            problems.extend(self.histories.entry(room).or_default().learn(witnesses));
        }
        problems
    }
}

/// Reads a room and its mirror, and returns what was heard of the room, and what is wrong with the mirror alone.
async fn read(
    server: &Server,
    room: &str,
    target: &Target,
) -> Result<(State, Echo, Vec<Problem>), String> {
    let state = server.state(room).await?;
    // What the room knows as answered was heard before.
    let mirror = server.state(&format!("{room}-mirror")).await?;
    let found = mirror.problems();
    let receipts = target.receipts().into_iter();
    let fetches = receipts.filter(|one| one.room == room).map(|one| one.id).collect();
    Ok((state, Echo { calls: mirror.requests.heard, fetches }, found))
}

/// The alarms to wait for.
#[derive(Clone, Copy)]
enum Until {
    NoneIsOverdue,
    NoneWaits,
}
