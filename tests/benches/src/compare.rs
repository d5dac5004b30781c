//! The cost of a room beside servers that promise nothing. Owns those runs, their bars, and the order of both.
//!
//! Invariant: every ratio is of one session, with the same load on all, in turns, so that a machine that slows down
//! does so for all. It does not know how any of the servers works.

use crate::disk;
use crate::figures::Report;
use crate::page::{self, Row};
use crate::process::bench;
use crate::rooms::{self, Setup};
use crate::scale::{self, Bench};
use anyhow::{Context, Result};

/// Runs of each server and scenario; the median counts.
const RUNS: usize = 3;

/// A loaded server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    Room,
    Axum,
    Raw,
    /// The runtime, with a disk.
    RoomOnDisk,
    /// The raw loop, with sled.
    Sled,
}

/// The value that is read from a report, and its unit.
type Reading = (fn(&Report) -> f64, &'static str);

/// A bar: in words, and as a comparison of the room's number with the baseline's.
type Bar = (&'static str, fn(f64, f64) -> bool);

/// One row of the table.
struct Line {
    what: &'static str,
    reading: Reading,
    bar: Option<Bar>,
}

/// A load, its servers, and the value to read. The first server is the one under test.
struct Case {
    load: &'static [&'static str],
    servers: &'static [Served],
    lines: &'static [Line],
}

const ALL: &[Served] = &[Served::Room, Served::Axum, Served::Raw];
const A_SECOND: Reading = (|report| report.figures.per_second, "");
const P99: Reading = (|report| report.figures.p99_us, "µs");

const CASES: [Case; 7] = [
    Case {
        load: &["echo", "--clients", "100"],
        servers: ALL,
        lines: &[
            Line {
                what: "echo, 100 rooms, 1 in flight, a second",
                reading: A_SECOND,
                bar: Some(("≥ 0.9 of axum", |room, axum| room >= 0.9 * axum)),
            },
            Line {
                what: "the same, p99",
                reading: P99,
                bar: Some(("≤ 1.5 of axum", |room, axum| room <= 1.5 * axum)),
            },
        ],
    },
    Case {
        load: &["echo", "--clients", "100", "--in-flight", "16"],
        servers: ALL,
        lines: &[
            Line {
                what: "echo, 100 rooms, 16 in flight, a second",
                reading: A_SECOND,
                bar: Some(("≥ 2 of axum", |room, axum| room >= 2.0 * axum)),
            },
            Line { what: "the same, p99", reading: P99, bar: None },
        ],
    },
    Case {
        load: &["fanout", "--clients", "1000", "--rooms", "10"],
        servers: ALL,
        lines: &[
            Line {
                what: "fanout, 10 rooms of 100, deliveries a second",
                reading: A_SECOND,
                bar: Some(("≥ 0.9 of axum", |room, axum| room >= 0.9 * axum)),
            },
            Line { what: "the same, p99", reading: P99, bar: None },
        ],
    },
    Case {
        load: &["fanout", "--clients", "5000", "--rooms", "1"],
        servers: ALL,
        lines: &[Line {
            what: "fanout, one room of 5,000, broadcast to last delivery, p50",
            reading: (|report| report.beside.p50_us, "µs"),
            bar: Some(("≤ 1.2 of axum", |room, axum| room <= 1.2 * axum)),
        }],
    },
    Case {
        load: &["cold"],
        servers: &[Served::Room],
        lines: &[
            Line {
                what: "first visit to a cold room, over a warm one, p50",
                reading: (|report| report.figures.p50_us - report.beside.p50_us, "µs"),
                bar: Some(("< 300 µs", |room, _| room < 300.0)),
            },
            Line {
                what: "the same, p99",
                reading: (|report| report.figures.p99_us - report.beside.p99_us, "µs"),
                bar: Some(("< 2,000 µs", |room, _| room < 2_000.0)),
            },
        ],
    },
    Case {
        load: &["durable", "--clients", "64", "--rooms", "64"],
        servers: &[Served::RoomOnDisk, Served::Sled],
        lines: &[
            Line {
                what: "durable, 64 rooms, acknowledged a second; the raw loop has sled",
                reading: A_SECOND,
                bar: Some(("≥ 0.8 of the raw loop", |room, sled| room >= 0.8 * sled)),
            },
            Line { what: "the same, p99", reading: P99, bar: None },
        ],
    },
    Case {
        load: &["idle", "--clients", "5000", "--rooms", "10", "--seconds", "2"],
        servers: ALL,
        lines: &[Line {
            what: "an idle connection holds",
            reading: (|report| report.connection_bytes / 1_024.0, "KiB"),
            bar: Some(("≤ 12 KiB", |room, _| room <= 12.0)),
        }],
    },
];

/// Runs everything, and writes the table to the page and to stdout.
///
/// # Errors
/// Something does not build, a server or the load fails, or the page cannot be written.
pub(crate) fn table() -> Result<()> {
    let with = Bench::build()?;
    let mut runs: Vec<Vec<Vec<Report>>> =
        CASES.iter().map(|case| vec![Vec::new(); case.servers.len()]).collect();
    for _ in 0..RUNS {
        for (case, runs) in CASES.iter().zip(&mut runs) {
            for (server, runs) in case.servers.iter().zip(runs) {
                let report = run(&with, *server, case.load);
                runs.push(report.with_context(|| format!("{server:?}, {:?}", case.load))?);
            }
        }
    }
    let mut rows = Vec::new();
    for (case, runs) in CASES.iter().zip(&runs) {
        let medians: Vec<Report> = runs.iter().map(|runs| Report::median(runs)).collect();
        rows.extend(case.lines.iter().map(|line| row(case, line, &medians)));
    }
    rows.extend(scale::rows(&with, &[])?);
    page::write(&page::FIGURES, &rows)
}

/// Loads one server once.
fn run(Bench { tool, module, .. }: &Bench, server: Served, load: &[&str]) -> Result<Report> {
    let folder = match server {
        Served::RoomOnDisk | Served::Sled => Some(disk::folder()?),
        Served::Room | Served::Axum | Served::Raw => None,
    };
    let data = folder.as_ref().map(|folder| folder.path().join("data"));
    match server {
        Served::Axum => bench(tool, &["axum"], load),
        Served::Raw => bench(tool, &["raw"], load),
        Served::Sled => {
            let data = data.context("it has a folder")?;
            bench(tool, &["raw", data.to_str().context("the folder's path is not UTF-8")?], load)
        }
        Served::Room | Served::RoomOnDisk => {
            let setup = Setup { disk: data, ..Setup::default() };
            let server = rooms::arguments(module, &setup)?;
            bench(tool, &server.each_ref().map(String::as_str), load)
        }
    }
}

fn row(case: &Case, line: &Line, medians: &[Report]) -> Row {
    let (read, unit) = line.reading;
    let of = |wanted: &[Served]| {
        let found = case.servers.iter().zip(medians).find(|(server, _)| wanted.contains(server));
        found.map(|(_, report)| read(report))
    };
    let room = of(&[Served::Room, Served::RoomOnDisk]).unwrap_or_default();
    let (axum, raw) = (of(&[Served::Axum]), of(&[Served::Raw, Served::Sled]));
    let bar =
        line.bar.map(|(words, is_met)| (words, is_met(room, axum.or(raw).unwrap_or_default())));
    Row { what: line.what, unit, room, beside: [axum, raw], bar }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;

    #[test]
    fn a_bar_is_compared_with_the_baseline_it_names() {
        let report = |per_second| Report {
            figures: Figures { per_second, ..Figures::default() },
            ..Report::default()
        };
        let echo =
            row(&CASES[0], &CASES[0].lines[0], &[report(90.0), report(100.0), report(200.0)]);
        assert_eq!(echo.beside, [Some(100.0), Some(200.0)]);
        assert_eq!(echo.bar, Some(("≥ 0.9 of axum", true)));
        let durable = &CASES[5];
        let durable = row(durable, &durable.lines[0], &[report(79.0), report(100.0)]);
        assert_eq!(durable.beside, [None, Some(100.0)]);
        assert_eq!(durable.bar, Some(("≥ 0.8 of the raw loop", false)));
    }
}
