//! The page with the figures. Owns the part of it that a run writes.
//!
//! Invariant: only the text between the two marks is replaced, and it names the machine of the measurement. It does
//! not know what the figures are of.

use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

/// A part of the page: what is measured, and what it is compared with.
pub(crate) struct Part {
    /// The lines before and behind it.
    marks: [&'static str; 2],
    /// The name of the first column, and those of the baselines.
    room: &'static str,
    baselines: [&'static str; 2],
}

/// The room in Rust beside servers that promise nothing.
pub(crate) const FIGURES: Part = Part {
    marks: [
        "<!-- figures: written by `cargo run --profile dist -p room-benches` -->",
        "<!-- end of figures -->",
    ],
    room: "room",
    baselines: ["bare axum", "raw loop"],
};

/// The room in JavaScript beside workerd.
pub(crate) const SCRIPTS: Part = Part {
    marks: [
        "<!-- scripts: written by `cargo run --profile dist -p room-benches -- scripts` -->",
        "<!-- end of scripts -->",
    ],
    room: "room in JavaScript",
    baselines: ["workerd", "room in Rust"],
};

/// One row of a table.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) room: f64,
    /// The same of the baselines.
    pub(crate) beside: [Option<f64>; 2],
    /// Its bar, and whether the row meets it.
    pub(crate) bar: Option<(&'static str, bool)>,
}

impl Row {
    /// Returns a row of the runtime alone.
    pub(crate) fn alone(
        what: &'static str,
        (room, unit): (f64, &'static str),
        bar: Option<(&'static str, bool)>,
    ) -> Self {
        Self { what, unit, room, beside: [None; 2], bar }
    }
}

/// Puts a table into the page, and prints it.
///
/// # Errors
/// The page is not there, has no marks, or cannot be written.
pub(crate) fn write(part: &Part, rows: &[Row]) -> Result<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../runtime/PERFORMANCE.md");
    let text = std::fs::read_to_string(&path).context("runtime/PERFORMANCE.md cannot be read")?;
    let table = format!("{}\n{}", machine(), table(part, rows));
    let text = replaced(part, &text, &table);
    let text = text.with_context(|| format!("runtime/PERFORMANCE.md lacks {:?}", part.marks))?;
    std::fs::write(&path, text).context("runtime/PERFORMANCE.md cannot be written")?;
    print(part, rows)
}

/// Prints a table.
///
/// # Errors
/// The reader has ended.
pub(crate) fn print(part: &Part, rows: &[Row]) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{}\n{}", machine(), table(part, rows))?)
}

/// Returns the text with this between the marks of a part.
fn replaced(part: &Part, text: &str, table: &str) -> Option<String> {
    let [begin, end] = part.marks;
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n\n{}\n\n{end}{after}", table.trim()))
}

fn table(Part { room, baselines: [one, other], .. }: &Part, rows: &[Row]) -> String {
    let mut out = format!(
        "| | {room} | {one} | {other} | to {one} | to {other} | bar | |\n\
         |---|---:|---:|---:|---:|---:|---|---|\n"
    );
    for Row { what, unit, room, beside: [one, other], bar } in rows {
        let ratio = |base: &Option<f64>| match base {
            Some(base) if *base > 0.0 => format!("{:.2}", room / base),
            _ => String::new(),
        };
        let number = |number: f64| match (number.abs(), *unit) {
            (_, "") => format!("{number:.0}"),
            (..100.0, unit) => format!("{number:.1} {unit}"),
            (_, unit) => format!("{number:.0} {unit}"),
        };
        let cell = |base: &Option<f64>| base.map(number).unwrap_or_default();
        let (words, is_met) = bar.unwrap_or_default();
        let verdict = match (bar, is_met) {
            (None, _) => "",
            (Some(_), true) => "met",
            (Some(_), false) => "**missed**",
        };
        // Writing to a text cannot fail.
        let _never = writeln!(
            out,
            "| {what} | {} | {} | {} | {} | {} | {words} | {verdict} |",
            number(*room),
            cell(one),
            cell(other),
            ratio(one),
            ratio(other),
        );
    }
    out
}

/// Returns a sentence about the machine of this measurement.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let kernel = read("/proc/sys/kernel/osrelease");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // The folder has the profile's name.
    let exe = std::env::current_exe().unwrap_or_default();
    let profile = match exe.parent().and_then(|dir| dir.file_name()).and_then(|name| name.to_str())
    {
        Some("dist") => "a build of the profile dist".to_owned(),
        other => format!("**a build of the profile {}, not dist**", other.unwrap_or("unknown")),
    };
    format!(
        "{}, {cores} cores, {} {}; {profile}, the medians of three runs.\n",
        cpu.unwrap_or("a processor without a name").trim(),
        std::env::consts::OS,
        kernel.trim(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_marks_is_replaced() {
        let page = include_str!("../../../runtime/PERFORMANCE.md");
        for part in [&FIGURES, &SCRIPTS] {
            let [begin, end] = part.marks;
            let once = replaced(part, page, "new\n").unwrap();
            assert_eq!(replaced(part, &once, "new").unwrap(), once);
            assert!(once.contains("\n\nnew\n\n"));
            assert_eq!(once.split(begin).next(), page.split(begin).next());
            assert_eq!(once.split(end).nth(1), page.split(end).nth(1));
            assert!(replaced(part, "no marks", "new").is_none());
        }
    }

    #[test]
    fn a_row_has_ratios_a_bar_and_whether_the_bar_is_met() {
        let echo = Row {
            what: "echo",
            unit: "",
            room: 98_986.4,
            beside: [Some(126_853.0), Some(0.0)],
            bar: Some(("≥ 0.9 of axum", false)),
        };
        let idle = Row::alone("idle", (9.96, "KiB"), None);
        let text = table(&FIGURES, &[echo, idle]);
        let rows: Vec<&str> = text.lines().skip(2).collect();
        let wanted = [
            "| echo | 98986 | 126853 | 0 | 0.78 |  | ≥ 0.9 of axum | **missed** |",
            "| idle | 10.0 KiB |  |  |  |  |  |  |",
        ];
        assert_eq!(rows, wanted);
    }
}
