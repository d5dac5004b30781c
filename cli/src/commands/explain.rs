//! `room explain`. Owns the layout of a page about a kind of mistake.
//!
//! Invariant: it prints what the table has, and all of it. It does not know projects, and needs none.

use crate::args::ExplainArgs;
use crate::codes::{Code, PAGES, Page};
use crate::mistake::Mistake;
use crate::print::{self, BOLD, styled};
use std::process::ExitCode;

/// Prints one page, or the list of all.
pub(crate) fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    match &args.code {
        Some(code) => {
            let page = find(code)?;
            print::data(if args.json { serde_json::to_string_pretty(page)? } else { whole(page) });
        }
        None if args.json => print::data(serde_json::to_string_pretty(PAGES)?),
        None => {
            PAGES.iter().for_each(|page| {
                print::data(format_args!("{}  {}", styled(BOLD, page.code), page.title))
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn find(code: &str) -> Result<&'static Page, Mistake> {
    let found = PAGES.iter().find(|page| page.code.eq_ignore_ascii_case(code));
    found.ok_or_else(|| {
        Mistake::new(Code::Unexplained, format_args!("there is no code {code}"))
            .help("`room explain` lists all; what the compiler says, `rustc --explain` explains")
    })
}

fn whole(page: &Page) -> String {
    let Page { code, title, meaning, example, remedy } = page;
    let example = example.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let name = styled(BOLD, format_args!("{code}: {title}"));
    format!("{name}\n\n{meaning}\n\n{example}\n{remedy}")
}
