//! `room bench`. Owns the defaults that depend on the scenario, and the exit code.
//!
//! Invariant: measurements are printed, also if the user ended the run or a check failed; after a failed check the
//! exit code is 2. It does not know how a load is made.

use crate::args::bench::{BenchArgs, Scenario};
use crate::bench::{self, Ended, LoadOutcome, LoadPlan, RunLength, Target};
use crate::codes::Code;
use crate::dev::Stop;
use crate::mistake::Mistake;
use crate::print::{self, BAD};
use anyhow::Context as _;
use serde::Serialize;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// The scenarios if the command line names none.
const USUAL: [Scenario; 3] = [Scenario::Echo, Scenario::Fanout, Scenario::Durable];
/// Echoes a second in `mixed`.
const MIXED_RATE: u64 = 1_000;
/// The wait for messages on their way when the time is over.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes that a client may have on their way.
const IN_FLIGHT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The output for machines.
#[derive(Serialize)]
struct Report<'a> {
    url: &'a str,
    runs: &'a [LoadOutcome],
}

/// Loads a server.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let scenarios = if args.scenarios.is_empty() { &USUAL[..] } else { &args.scenarios };
    let groups: Vec<Vec<LoadPlan>> =
        scenarios.iter().map(|scenario| plans(*scenario, args)).collect::<Result<_, _>>()?;
    let target = Rc::new(Target::of(&args.url, &args.party)?);
    let length = RunLength {
        warm_up: Duration::from_secs(args.warmup_seconds),
        measured: Duration::from_secs(args.seconds),
        patience: PATIENCE,
    };
    // One thread: messages between two threads would be work that is not the server's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("no thread could be started")?;
    let outcomes = runtime.block_on(async {
        let mut stop = Stop::listen()?;
        bench::probe(&target).await?;
        let mut outcomes = Vec::new();
        for group in &groups {
            let (found, ended) = bench::measure(&target, group, length, &mut stop).await?;
            outcomes.extend(found);
            if ended == Ended::ByUser {
                break;
            }
        }
        anyhow::Ok(outcomes)
    })?;
    show(args, &outcomes)
}

fn show(args: &BenchArgs, outcomes: &[LoadOutcome]) -> anyhow::Result<ExitCode> {
    if args.json {
        let report = Report { url: &args.url, runs: outcomes };
        print::data(serde_json::to_string_pretty(&report)?);
    } else {
        print::data(bench::table(outcomes));
    }
    let faults = outcomes.iter().filter_map(|outcome| {
        let faults = outcome.check.faults()?;
        Some(format!("{}: {faults}", outcome.plan.scenario.name()))
    });
    let faults: Vec<String> = faults.collect();
    if faults.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    print::talk(format_args!(
        "{BAD}error{BAD:#}: not everything came back as it should: {}",
        faults.join("; ")
    ));
    Ok(ExitCode::from(2))
}

/// Returns the plans of a scenario.
///
/// # Errors
/// A mistake: it is impossible.
fn plans(scenario: Scenario, args: &BenchArgs) -> Result<Vec<LoadPlan>, Mistake> {
    if scenario != Scenario::Mixed {
        return Ok(vec![plan(scenario, args, args.rate)?]);
    }
    let rate = args.rate.unwrap_or(MIXED_RATE);
    let parts = [
        (Scenario::Echo, rate),
        (Scenario::Fanout, rate / 10),
        (Scenario::Durable, rate / 5),
        (Scenario::Connect, rate / 50),
    ];
    parts.map(|(part, rate)| plan(part, args, Some(rate.max(1)))).into_iter().collect()
}

fn plan(scenario: Scenario, args: &BenchArgs, rate: Option<u64>) -> Result<LoadPlan, Mistake> {
    // Some bounds of the command line are those of any number that a machine can hold.
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (usual_clients, usual_rooms) = match scenario {
        Scenario::Echo | Scenario::Mixed => (100, 100),
        Scenario::Fanout | Scenario::Idle => (1_000, 10),
        Scenario::Durable => (16, 16),
        Scenario::Connect => (10, 10),
        Scenario::Cold => (1, 1),
    };
    let asked = args.rooms.map_or(0, number);
    let clients = args.clients.map_or(usual_clients.max(asked), number);
    // A room each, unless it is the rooms that many share.
    let usual_rooms = if usual_rooms == usual_clients { clients } else { usual_rooms.min(clients) };
    let rooms = args.rooms.map_or(usual_rooms, number);
    if rooms > clients {
        let message = format!("{clients} clients cannot be in {rooms} rooms");
        return Err(Mistake::new(Code::BadLoad, message).help("raise --clients, or lower --rooms"));
    }
    let (in_flight, payload_bytes) = (number(args.in_flight), number(args.payload));
    if in_flight.saturating_mul(payload_bytes) > IN_FLIGHT_BYTES_MAX {
        let message = format!(
            "{in_flight} messages of {payload_bytes} bytes on their way are more than {} MiB a client",
            IN_FLIGHT_BYTES_MAX / 1_024 / 1_024
        );
        return Err(Mistake::new(Code::BadLoad, message).help("lower --in-flight or --payload"));
    }
    Ok(LoadPlan { scenario, clients, rooms, in_flight, rate, payload_bytes, pid: args.pid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser as _;

    fn planned(line: &str) -> Result<Vec<(usize, usize, Option<u64>)>, String> {
        let line = format!("room bench http://x {line}");
        let Command::Bench(args) = Args::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("it is a load");
        };
        let plans = plans(args.scenarios[0], &args).map_err(|err| err.to_string())?;
        Ok(plans.iter().map(|plan| (plan.clients, plan.rooms, plan.rate)).collect())
    }

    #[test]
    fn defaults_fit_the_given_options() {
        assert_eq!(planned("echo"), Ok(vec![(100, 100, None)]));
        assert_eq!(planned("echo --clients 7"), Ok(vec![(7, 7, None)]));
        assert_eq!(planned("echo --rooms 200"), Ok(vec![(200, 200, None)]));
        assert_eq!(planned("fanout"), Ok(vec![(1_000, 10, None)]));
        assert_eq!(planned("fanout --clients 3"), Ok(vec![(3, 3, None)]));
        assert_eq!(planned("idle --rooms 5 --rate 3"), Ok(vec![(1_000, 5, Some(3))]));
        let mixed = planned("mixed --rate 100").unwrap();
        let rates: Vec<_> = mixed.iter().filter_map(|(_, _, rate)| *rate).collect();
        assert_eq!(rates, [100, 10, 20, 2]);
    }

    #[test]
    fn impossible_options_are_refused_before_anything_starts() {
        assert_eq!(
            planned("echo --clients 3 --rooms 4"),
            Err("3 clients cannot be in 4 rooms".to_owned())
        );
        let large = planned("echo --in-flight 1000 --payload 1000000").unwrap_err();
        assert!(large.contains("more than 16 MiB a client"), "{large}");
    }
}
