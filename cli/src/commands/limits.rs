//! `room limits`. Owns the layout of a limit.
//!
//! Invariant: every limit of the runtime is shown, with the value that applies here, and every bound that no operator
//! sets. It does not know what a limit bounds beyond the words in the runtime's table.

use crate::args::LimitsArgs;
use crate::print::{self, BOLD, DIM, LINK, styled};
use crate::project::Project;
use room_runtime::{LimitRow, Limits};
use serde::Serialize;
use std::process::ExitCode;

/// One limit with the value that applies here.
#[derive(Debug, Serialize)]
struct LimitLine {
    #[serde(flatten)]
    limit: LimitRow,
    value: u64,
    overridden: bool,
    fixed: bool,
}

/// Prints the limits.
pub(crate) fn run(args: &LimitsArgs) -> anyhow::Result<ExitCode> {
    let project = Project::look(&args.project)?;
    let limits = project.map(|project| project.manifest.limits).unwrap_or_default();
    let rows = rows(&limits);
    if args.json {
        print::data(serde_json::to_string_pretty(&rows)?);
    } else {
        print::data(table(&rows));
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(limits: &Limits) -> Vec<LimitLine> {
    let values = limits.values().into_iter().zip(Limits::TABLE);
    let row = |((_, value), limit): ((_, u64), &LimitRow)| LimitLine {
        limit: *limit,
        value,
        overridden: value != limit.default,
        fixed: false,
    };
    let fixed = |limit: &LimitRow| LimitLine {
        limit: *limit,
        value: limit.default,
        overridden: false,
        fixed: true,
    };
    values.map(row).chain(Limits::FIXED.iter().map(fixed)).collect()
}

/// Returns each limit on two lines: its value, then what it bounds and what happens there.
fn table(rows: &[LimitLine]) -> String {
    let width = rows.iter().map(|row| row.limit.name.len()).max().unwrap_or(0);
    let lines = rows.iter().map(|row| {
        let LimitRow { name, unit, default, what, at_bound } = row.limit;
        let own = match row {
            LimitLine { fixed: true, .. } => styled(LINK, "  (fixed)"),
            LimitLine { overridden: true, .. } => {
                styled(LINK, format_args!("  (room.toml; default {default})"))
            }
            _ => String::new(),
        };
        let name = styled(BOLD, format_args!("{name:width$}"));
        let value = row.value;
        let text = styled(DIM, format_args!("  {what}. At the bound: {at_bound}."));
        format!("{name}  {value:>10} {unit}{own}\n{text}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_limit_set_by_the_project_is_marked() {
        let limits = Limits { turn_ms_max: 2_000, ..Limits::default() };
        let rows = rows(&limits);
        let own: Vec<_> = rows.iter().filter(|row| row.overridden).collect();
        assert_eq!(own.len(), 1);
        let text = table(&rows);
        let text = anstream::adapter::strip_str(&text).to_string();
        let mut lines = text.lines().skip_while(|line| !line.starts_with("turn_ms_max"));
        expect!["turn_ms_max                           2000 ms  (room.toml; default 1000)"]
            .assert_eq(lines.next().unwrap());
        expect!["  Time a callback may compute. At the bound: the turn is dropped and the instance discarded."]
            .assert_eq(lines.next().unwrap());
    }

    #[test]
    fn fixed_limits_are_listed_and_marked() {
        let text = table(&rows(&Limits::default()));
        let text = anstream::adapter::strip_str(&text).to_string();
        let line = text.lines().find(|line| line.starts_with("projects_max"));
        expect!["projects_max                          1000 projects  (fixed)"]
            .assert_eq(line.unwrap());
    }
}
