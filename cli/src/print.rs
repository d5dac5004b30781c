//! The only file that prints. Owns the two ways out: data to stdout, messages to stderr.
//!
//! Invariant: colour and escapes reach terminals only, and `NO_COLOR` is honoured: every line goes through anstream,
//! but for data without any, and the one that clears a terminal. A reader that ends (`room schema | head`) is not an
//! error. It does not know what a line means.

use crate::codes::Code;
use crate::mistake::Mistake;
use anstyle::{AnsiColor, Color, Style};
use miette::{GraphicalReportHandler, GraphicalTheme};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

/// Text that is less important than the rest.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Text that is more important than the rest.
pub(crate) const BOLD: Style = Style::new().bold();
/// It went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// It may go wrong.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// It went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Text that can be clicked or copied.
pub(crate) const LINK: Style = AnsiColor::Cyan.on_default();

/// The drawing is light and the rest is dark, whatever colours the terminal has.
pub(crate) const LIGHT: Style =
    AnsiColor::BrightWhite.on_default().bg_color(Some(Color::Ansi(AnsiColor::Black)));

/// Returns `text` in `style`.
pub(crate) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes requested data to stdout.
pub(crate) fn data(text: impl Display) {
    let _gone_reader = writeln!(anstream::stdout(), "{text}");
}

/// Writes a piece of data to stdout. More may follow.
///
/// # Errors
/// The reader has ended.
pub(crate) fn more_data(text: impl Display) -> std::io::Result<()> {
    writeln!(anstream::stdout(), "{text}")
}

/// Returns the writer for data that is written as it comes: it has no colour.
pub(crate) fn bytes() -> impl std::io::Write {
    std::io::stdout().lock()
}

/// Writes a message to the person at the terminal, on stderr.
pub(crate) fn talk(line: impl Display) {
    let _gone_reader = writeln!(anstream::stderr(), "{line}");
}

/// Clears the screen, if messages go to one.
pub(crate) fn clear() {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // Not through anstream: NO_COLOR is about colours.
        let _gone_reader = stderr.write_all(b"\x1b[2J\x1b[3J\x1b[H");
    }
}

/// Returns true if messages go to a terminal at which a person may watch progress.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("CI").is_none()
}

/// Writes over the last line of messages, and does not end it. Call [`is_watched`] before.
pub(crate) fn over(line: &str) {
    let mut stderr = anstream::stderr();
    clear_line();
    let _gone_reader = write!(stderr, "{line}").and_then(|()| stderr.flush());
}

/// Shows progress in a line that the next one replaces, if a person may watch.
pub(crate) fn progress(line: impl Display) {
    if is_watched() {
        over(&line.to_string());
    }
}

/// Clears the line in which another program shows its progress, if messages go to a terminal.
pub(crate) fn clear_line() {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _gone_reader = stderr.write_all(b"\r\x1b[K");
    }
}

/// Prints clap's answer to an invalid command line: help is data, the rest is a mistake.
pub(crate) fn usage(refusal: &clap::Error) -> ExitCode {
    let text = refusal.render();
    if refusal.use_stderr() {
        talk(text.ansi().to_string().trim_end());
        ExitCode::from(1)
    } else {
        data(text.ansi().to_string().trim_end());
        ExitCode::SUCCESS
    }
}

/// Prints why a command failed, and chooses its exit code.
pub(crate) fn failure(err: &anyhow::Error) -> ExitCode {
    report(err);
    ExitCode::from(if is_mistake(err) { 1 } else { 2 })
}

/// Prints an error without ending anything.
pub(crate) fn report(err: &anyhow::Error) {
    match err.downcast_ref::<Mistake>() {
        Some(mistake) => talk(all_drawn(mistake, &GraphicalTheme::unicode())),
        None => {
            talk(format_args!("{BAD}error{BAD:#}: {}", causes(err)));
            if !is_mistake(err) {
                talk(format_args!(
                    "{DIM}this is a failure of room itself, not of your project{DIM:#}"
                ));
            }
        }
    }
}

/// Draws a mistake, or all that it groups, and says how to learn more.
fn all_drawn(mistake: &Mistake, theme: &GraphicalTheme) -> String {
    let mut drawings: Vec<_> = mistake.held().iter().map(|held| drawn(held, theme)).collect();
    drawings.push(drawn(mistake, theme));
    let codes = mistake.held().iter().chain([mistake]).filter_map(Mistake::code).map(Code::text);
    let codes: Vec<_> = codes.collect::<BTreeSet<_>>().into_iter().collect();
    let hint = match codes[..] {
        [code] => format!("for more about this, run `room explain {code}`"),
        _ => format!("for more, run `room explain` with one of {}", codes.join(", ")),
    };
    drawings.join("\n\n") + "\n" + &theme.styles.help.style(hint).to_string()
}

/// Draws a mistake with the line it is in.
fn drawn(mistake: &Mistake, theme: &GraphicalTheme) -> String {
    let mut theme = theme.clone();
    let code = mistake.code().map(|code| format!("[{}]", code.text())).unwrap_or_default();
    theme.characters.error = format!("error{code}:");
    let mut out = String::new();
    let drawn = GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .with_links(false)
        .render_report(&mut out, mistake);
    match drawn {
        Ok(()) => {
            let text = out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
            text.trim().to_owned()
        }
        Err(_) => mistake.to_string(),
    }
}

/// Returns the error and its causes on one line, outermost first. A cause that its error already quotes is left out.
pub(crate) fn causes(err: &anyhow::Error) -> String {
    let mut out = err.to_string();
    for cause in err.chain().skip(1).map(ToString::to_string) {
        if !out.contains(&cause) {
            out.push_str(": ");
            out.push_str(&cause);
        }
    }
    out
}

fn is_mistake(err: &anyhow::Error) -> bool {
    err.chain().any(|cause| cause.is::<Mistake>())
}

/// Returns an error without colour, for readers elsewhere.
pub(crate) fn plain_report(err: &anyhow::Error) -> String {
    err.downcast_ref::<Mistake>().map_or_else(|| causes(err), plain)
}

/// Returns the drawing without colour.
pub(crate) fn plain(mistake: &Mistake) -> String {
    all_drawn(mistake, &GraphicalTheme::unicode_nocolor())
}

/// Returns a text such as `1 room` or `3 rooms`.
pub(crate) fn counted(number: impl Display, thing: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Returns a local time.
pub(crate) fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(chrono::DateTime::from_timestamp_millis);
    time.map_or_else(String::new, |time| {
        time.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S").to_string()
    })
}
