//! The page with the figures. Owns the part of it that a run writes.
//!
//! Invariant: only the text between the two marks is replaced, and it names the machine of the measurement. It does
//! not know what the figures are of.

use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

const BEGIN: &str = "<!-- figures: written by `cargo run --profile dist -p room-benches` -->";
const END: &str = "<!-- end of figures -->";

/// One row of the table.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) room: f64,
    pub(crate) axum: Option<f64>,
    pub(crate) raw: Option<f64>,
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
        Self { what, unit, room, axum: None, raw: None, bar }
    }
}

/// Puts a table into the page, and prints it.
///
/// # Errors
/// The page is not there, has no marks, or cannot be written.
pub(crate) fn write(rows: &[Row]) -> Result<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../runtime/PERFORMANCE.md");
    let text = std::fs::read_to_string(&path).context("runtime/PERFORMANCE.md cannot be read")?;
    let table = format!("{}\n{}", machine(), table(rows));
    let text = replaced(&text, &table).context("runtime/PERFORMANCE.md lacks its two marks")?;
    std::fs::write(&path, text).context("runtime/PERFORMANCE.md cannot be written")?;
    print(rows)
}

/// Prints a table.
///
/// # Errors
/// The reader has ended.
pub(crate) fn print(rows: &[Row]) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{}\n{}", machine(), table(rows))?)
}

/// Returns the text with this between its marks.
fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", table.trim()))
}

fn table(rows: &[Row]) -> String {
    let mut out = "| | room | bare axum | raw loop | to axum | to the raw loop | bar | |\n\
                   |---|---:|---:|---:|---:|---:|---|---|\n"
        .to_owned();
    for Row { what, unit, room, axum, raw, bar } in rows {
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
            cell(axum),
            cell(raw),
            ratio(axum),
            ratio(raw),
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
        let once = replaced(page, "new\n").unwrap();
        assert_eq!(replaced(&once, "new").unwrap(), once);
        assert!(once.contains("\n\nnew\n\n"));
        assert_eq!(once.split(BEGIN).next(), page.split(BEGIN).next());
        assert_eq!(once.split(END).nth(1), page.split(END).nth(1));
        assert!(replaced("no marks", "new").is_none());
    }

    #[test]
    fn a_row_has_ratios_a_bar_and_whether_the_bar_is_met() {
        let echo = Row {
            what: "echo",
            unit: "",
            room: 98_986.4,
            axum: Some(126_853.0),
            raw: Some(0.0),
            bar: Some(("≥ 0.9 of axum", false)),
        };
        let idle = Row { what: "idle", unit: "KiB", room: 9.96, axum: None, raw: None, bar: None };
        let text = table(&[echo, idle]);
        let rows: Vec<&str> = text.lines().skip(2).collect();
        let wanted = [
            "| echo | 98986 | 126853 | 0 | 0.78 |  | ≥ 0.9 of axum | **missed** |",
            "| idle | 10.0 KiB |  |  |  |  |  |  |",
        ];
        assert_eq!(rows, wanted);
    }
}
