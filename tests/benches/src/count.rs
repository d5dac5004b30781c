//! Instructions that an event takes, counted by valgrind. Owns those runs, their table and the stored figures.
//!
//! Invariant: everything counted happens in one process, on one thread but for the store's, one event after the
//! other, or sixteen that arrive together, so that a count does not depend on other work of the machine. It is made
//! once with N events and once with 2N, and the difference counts: instructions before the first event and after the
//! last one do not. The client's part is in it. It does not know how long anything takes.

use crate::frames::{Client, text};
use crate::rooms::{Remembered, Setup};
use crate::{guest, process, rooms};
use anyhow::{Context, Result, anyhow, bail};
use room_runtime::Limits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// By how much a count may exceed the stored one, in percent. Runs of one build on one thread differ by less than
/// half of one percent. The rest is for the effect of changes elsewhere on inlining.
const TOLERANCE_PERCENT: f64 = 3.0;
/// The same where a second thread takes part: between a machine at rest and one with other work, and between two
/// machines, runs of one build have differed by nine.
const THREADED_TOLERANCE_PERCENT: f64 = 15.0;
/// Runs of a case in which a second thread takes part. Whether it sleeps between two commits or finds the next one
/// waiting is the scheduler's choice, which one run in a few makes for all events: 5 % between two machines. The
/// smallest of the runs is the count in which it slept least.
const THREADED_RUNS: u32 = 3;
/// Functions that are not counted: a clock calibrates itself at the start, in a varying number of steps.
const UNSTEADY: [&str; 2] = ["quanta::", "clock_gettime"];
/// The command that stores the counts.
const UPDATE: &str =
    "cargo run --profile count -p room-benches --features valgrind -- count --update";

/// A case: the key of its figure, its message, and the number of clients that receive the answer.
struct Case {
    name: &'static str,
    message: &'static str,
    clients: usize,
    /// The number of messages that are sent in one piece, and so wait for the room together.
    at_once: u64,
    /// The number of counted events.
    events: u64,
    /// The number of runs; the smallest count is kept.
    runs: u32,
    /// What the room remembers of its answers.
    remembered: Remembered,
}

const CASES: [Case; 6] = [
    Case {
        name: "turn",
        message: r#"{"t":"echo","x":"0123456789"}"#,
        clients: 1,
        at_once: 1,
        events: 2_000,
        runs: 1,
        remembered: Remembered::Nothing,
    },
    Case {
        name: "turn_of_sixteen",
        message: r#"{"t":"echo","x":"0123456789"}"#,
        clients: 1,
        at_once: 16,
        events: 3_200,
        runs: 1,
        remembered: Remembered::Nothing,
    },
    Case {
        name: "durable_turn",
        message: r#"{"t":"incr","s":1}"#,
        clients: 1,
        at_once: 1,
        events: 2_000,
        runs: THREADED_RUNS,
        remembered: Remembered::Nothing,
    },
    Case {
        name: "broadcast_to_100",
        message: r#"{"t":"cast","x":"0123456789"}"#,
        clients: 100,
        at_once: 1,
        events: 100,
        runs: 1,
        remembered: Remembered::Nothing,
    },
    Case {
        name: "turn_remembered",
        message: r#"{"t":"cast","x":"0123456789"}"#,
        clients: 1,
        at_once: 1,
        events: 2_000,
        runs: 1,
        remembered: Remembered::InMemory,
    },
    Case {
        name: "turn_stored",
        message: r#"{"t":"cast","x":"0123456789"}"#,
        clients: 1,
        at_once: 1,
        events: 2_000,
        runs: THREADED_RUNS,
        remembered: Remembered::Stored,
    },
];

/// The stored figures.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counts {
    /// The versions of compiler and valgrind: other versions may count otherwise.
    made_with: String,
    /// Instructions that one event takes.
    instructions: BTreeMap<String, u64>,
}

/// Runs the command in the arguments after `count`.
pub(crate) fn command(how: &[&str]) -> Result<()> {
    match *how {
        [] => check(),
        ["--update"] => update(),
        ["events", case, events, module, cache] => {
            run(case, events.parse()?, module.as_ref(), cache.as_ref())
        }
        _ => bail!("usage: room-benches count [--update]"),
    }
}

fn check() -> Result<()> {
    let stored: Counts = toml::from_str(&std::fs::read_to_string(file())?)?;
    let counted = count()?;
    write!(std::io::stdout(), "{}", table(&counted, &stored))?;
    match complaint(&counted, &stored) {
        Some(complaint) => bail!(complaint),
        None => Ok(()),
    }
}

fn update() -> Result<()> {
    let counted = count()?;
    let stored = std::fs::read_to_string(file()).unwrap_or_default();
    let stored = toml::from_str(&stored).unwrap_or_default();
    write!(std::io::stdout(), "{}", table(&counted, &stored))?;
    let head = format!("# Instructions that one event takes. Written by\n# `{UPDATE}`.\n");
    Ok(std::fs::write(file(), head + &toml::to_string(&counted)?)?)
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("counts.toml")
}

/// Runs everything under valgrind.
fn count() -> Result<Counts> {
    if !cfg!(feature = "valgrind") {
        bail!("under valgrind this runs only with its feature, as in `{UPDATE}`");
    }
    let made_with = format!("{}, {}", version("rustc")?, version("valgrind")?);
    let module = guest::build("room-example-bench")?;
    let folder = tempfile::tempdir()?;
    let mut instructions = BTreeMap::new();
    // The first run compiles the module, which the others find in the cache.
    counted(&CASES[0], 0, (&module, folder.path()), 0)?;
    for case in &CASES {
        let files = (module.as_path(), folder.path());
        // Side by side, each on a core of its own.
        let (once, twice) = std::thread::scope(|scope| {
            let twice = scope.spawn(move || smallest(case, 2 * case.events, files, 1));
            (smallest(case, case.events, files, 0), twice.join())
        });
        let twice = twice.map_err(|_| anyhow!("a run of {} panicked", case.name))??;
        let each = twice.saturating_sub(once?) / case.events;
        instructions.insert(case.name.to_owned(), each);
    }
    Ok(Counts { made_with, instructions })
}

fn version(program: &str) -> Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output =
        output.with_context(|| format!("{program} is not on the PATH; is it installed?"))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Returns the smallest count of the case's runs.
fn smallest(case: &Case, events: u64, files: (&Path, &Path), core: usize) -> Result<u64> {
    let mut smallest = u64::MAX;
    for _ in 0..case.runs {
        smallest = smallest.min(counted(case, events, files, core)?);
    }
    Ok(smallest)
}

/// Returns the instructions of a whole process that handles so many events. `files` are the module, and the folder for the
/// counts and the cache.
fn counted(case: &Case, events: u64, (module, folder): (&Path, &Path), core: usize) -> Result<u64> {
    let counts = folder.join(format!("counts-{core}"));
    // On one core, so that the scheduling of threads does not depend on the load of other cores.
    let output = process::on_core(core, "valgrind".as_ref())?
        .args(["--tool=cachegrind", "--cache-sim=no"])
        .arg(format!("--cachegrind-out-file={}", counts.display()))
        .arg(std::env::current_exe()?)
        .args(["count", "events", case.name, &events.to_string()])
        .args([module, &folder.join("cache")])
        // valgrind counts a string instruction once for each of its bytes, and libc clears 4 KiB with one.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS")
        .output()?;
    if !output.status.success() {
        bail!("{} does not run: {}", case.name, String::from_utf8_lossy(&output.stderr));
    }
    match sum(&std::fs::read_to_string(counts)?) {
        0 => bail!("valgrind has counted nothing"),
        sum => Ok(sum),
    }
}

/// Returns the sum over cachegrind's file, which has a line for each line of a function, without the unsteady
/// functions.
fn sum(counts: &str) -> u64 {
    let (mut sum, mut steady) = (0, true);
    for line in counts.lines() {
        if let Some(function) = line.strip_prefix("fn=") {
            steady = !UNSTEADY.iter().any(|unsteady| function.starts_with(unsteady));
        } else if line.starts_with(|first: char| first.is_ascii_digit()) && steady {
            let count = line.split(' ').nth(1).and_then(|count| count.parse::<u64>().ok());
            sum += count.unwrap_or_default();
        }
    }
    sum
}

/// Starts a node, and lets one client after the other send a message that all receive.
#[tokio::main(flavor = "current_thread")]
async fn run(case: &str, events: u64, module: &Path, cache: &Path) -> Result<()> {
    let case = CASES.iter().find(|one| one.name == case).context("no such case")?;
    let (limits, remembered) = (limits(), case.remembered);
    let setup = Setup { limits, remembered, ..Setup::default() };
    let runtime = rooms::node(module, setup, Some(cache)).await?;
    let mut clients = Vec::new();
    for _ in 0..case.clients {
        clients.push(Client::connect(runtime.addr(), "counted").await?);
    }
    let at_once = usize::try_from(case.at_once)?;
    let messages = text(case.message).repeat(at_once);
    for _ in 0..events / case.at_once {
        clients[0].write(&messages).await?;
        for client in &mut clients {
            let mut came = 0;
            while came < at_once {
                came += client.read().await?;
            }
            if came > at_once {
                bail!("the server sent more than the client had sent");
            }
        }
    }
    drop(clients);
    runtime.drain().await;
    Ok(())
}

/// Returns limits with few places, as valgrind has not the address space for many, and without a clock that ticks, as
/// every event takes long.
fn limits() -> Limits {
    const HOUR_MS: u64 = 3_600_000;
    Limits {
        rooms_active_max: 4,
        door_instances_max: 1,
        reload_rooms_max: 1,
        tick_ms: HOUR_MS,
        turn_ms_max: HOUR_MS,
        turn_wall_ms_max: HOUR_MS,
        connect_ms_max: HOUR_MS,
        ping_interval_ms: HOUR_MS,
        apply_gather_ms: HOUR_MS,
        ..Limits::default()
    }
}

/// Returns a row for each case.
fn table(counted: &Counts, stored: &Counts) -> String {
    let mut table =
        format!("{:20}{:>10}{:>10}{:>11}\n", "instructions", "counted", "stored", "change");
    for (name, now) in &counted.instructions {
        let then = stored.instructions.get(name).copied().unwrap_or_default();
        let change = match then {
            0 => "new".to_owned(),
            then => format!("{:+.1} %", change_percent(*now, then)),
        };
        table += &format!("{name:20}{now:>10}{then:>10}{change:>11}\n");
    }
    table
}

/// Names the cases that take more instructions than stored. Fewer are not a failure: the table shows them, and the
/// author of the change stores them.
fn complaint(counted: &Counts, stored: &Counts) -> Option<String> {
    let mut said = String::new();
    for (name, now) in &counted.instructions {
        let then = stored.instructions.get(name).copied().unwrap_or_default();
        let percent = change_percent(*now, then);
        let is_threaded = CASES.iter().any(|case| case.name == name && case.runs > 1);
        let tolerated = if is_threaded { THREADED_TOLERANCE_PERCENT } else { TOLERANCE_PERCENT };
        if percent > tolerated {
            said += &format!(
                "{name} takes more instructions than stored ({percent:+.1} %, and {tolerated} are \
                 tolerated): find out why\n"
            );
        }
    }
    if said.is_empty() {
        return None;
    }
    if counted.made_with != stored.made_with {
        let (now, then) = (&counted.made_with, &stored.made_with);
        said += &format!("those stored were made with {then}, these with {now}\n");
    }
    Some(format!(
        "{said}if this is intended, store it, and give the reason in the commit: `{UPDATE}`"
    ))
}

fn change_percent(now: u64, then: u64) -> f64 {
    (now as f64 / then.max(1) as f64 - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(made_with: &str, turn: u64) -> Counts {
        let instructions = BTreeMap::from([("turn".to_owned(), turn)]);
        Counts { made_with: made_with.to_owned(), instructions }
    }

    #[test]
    fn instructions_that_read_a_clock_are_not_counted() {
        let file = "desc: x\nevents: Ir\nfl=a.rs\nfn=a::b\n0 5\n12 70\nfn=quanta::c\n1 900\nfl=d\nfn=d\n0 1\nsummary: 976\n";
        assert_eq!(sum(file), 76);
    }

    #[test]
    fn only_a_count_that_grew_beyond_the_tolerance_is_a_failure() {
        let stored = counts("one compiler", 10_000);
        for near in [5_000, 9_701, 10_000, 10_299] {
            assert_eq!(complaint(&counts("another compiler", near), &stored), None);
        }
        let more = complaint(&counts("one compiler", 10_400), &stored).unwrap();
        assert!(more.contains("turn takes more") && more.contains("+4.0 %"), "{more}");
        assert!(more.contains(UPDATE) && !more.contains("compiler"), "{more}");
        let other = complaint(&counts("another compiler", 10_400), &stored).unwrap();
        assert!(other.contains("with one compiler, these with another compiler"), "{other}");
        assert!(complaint(&stored, &Counts::default()).is_some());
    }
}
