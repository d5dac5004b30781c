//! The time from a save to new live code. Owns projects of templates, their edits, and the bars of those in Rust.
//!
//! Invariant: an edit changes the code that is built, and the next one waits until it serves. It does not know how
//! `room dev` notices a save.

use crate::figures::median;
use crate::page::Row;
use crate::scale::Bench;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use tokio::time::Instant;

/// Edits; the median counts.
const EDITS: u32 = 9;
/// The project's name.
const NAME: &str = "edited";
/// The texts that say that the server is there, and that it serves the saved code.
const READY: &str = "saves are picked up";
const RELOADED: &str = "reloaded in ";

/// The parts of an edit's time, in milliseconds.
struct Edit {
    /// From the save to the line that says so.
    all: f64,
    /// The part of cargo, or of the bundler and the check of types.
    cargo: f64,
    /// Compiling the module for this machine.
    compile: f64,
}

/// Returns the measured rows.
///
/// # Errors
/// The project cannot be made, or an edit is never served.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let edits = edit(bench, "chat", "src/lib.rs", |number| {
        format!("#[used]\nstatic EDIT: u32 = {number};\n")
    })?;
    let of = |part: fn(&Edit) -> f64| median(edits.iter().map(part).collect());
    let (all, own) = (of(|edit| edit.all), of(|edit| edit.all - edit.cargo - edit.compile));
    Ok(vec![
        Row::alone(
            "an edit of the chat example, from the save to new code that is live, p50",
            (all, "ms"),
            Some(("< 1,500 ms", all < 1_500.0)),
        ),
        Row::alone("of that, cargo", (of(|edit| edit.cargo), "ms"), None),
        Row::alone("of that, compiling for this machine", (of(|edit| edit.compile), "ms"), None),
        Row::alone("the rest: `room dev` itself", (own, "ms"), Some(("< 50 ms", own < 50.0))),
    ])
}

/// Returns the median time from a save of a script to new live code, in milliseconds.
///
/// # Errors
/// As [`rows`].
pub(crate) fn of_a_script(bench: &Bench) -> Result<f64> {
    let edits = edit(bench, "typescript", "src/server.ts", |number| {
        format!("Object.assign(globalThis, {{ edit: {number} }});\n")
    })?;
    Ok(median(edits.iter().map(|edit| edit.all).collect()))
}

/// Makes a project of a template, and edits a file of it: each edit puts other text behind it.
fn edit(
    bench: &Bench,
    template: &str,
    file: &str,
    text: impl Fn(u32) -> String,
) -> Result<Vec<Edit>> {
    let folder = tempfile::tempdir()?;
    let mut making = Command::new(&bench.tool);
    making.args(["new", NAME, "--template", template]).current_dir(folder.path());
    if !making.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success() {
        bail!("`room new` failed");
    }
    let project = folder.path().join(NAME);
    let mut dev = Dev::start(&bench.tool, &project)?;
    let code = project.join(file);
    let before = fs::read_to_string(&code)?;
    let mut edits = Vec::new();
    for number in 0..EDITS {
        let begun = Instant::now();
        fs::write(&code, format!("{before}\n{}", text(number)))?;
        let line = dev.line_with(RELOADED)?;
        let all = begun.elapsed().as_secs_f64() * 1e3;
        let (cargo, compile) = (part(&line, "build ")?, part(&line, "compile ")?);
        edits.push(Edit { all, cargo, compile });
    }
    Ok(edits)
}

/// Returns the milliseconds after this word. The line has them in seconds.
fn part(line: &str, word: &str) -> Result<f64> {
    let told = line.split_once(word).and_then(|(_, rest)| rest.split(' ').next());
    let told = told.with_context(|| format!("no {word:?} in {line:?}"))?;
    Ok(told.parse::<f64>()? * 1e3)
}

/// `room dev`, until it is dropped.
struct Dev {
    process: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Dev {
    /// Starts it. It serves when this returns.
    fn start(tool: &Path, project: &Path) -> Result<Self> {
        let mut command = Command::new(tool);
        command.args(["dev", "--ephemeral"]).current_dir(project);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let said = process.stderr.take().context("its stderr is piped")?;
        let mut this = Self { process, lines: BufReader::new(said).lines() };
        this.line_with(READY)?;
        Ok(this)
    }

    /// Returns the next line with this text in it.
    fn line_with(&mut self, text: &str) -> Result<String> {
        for line in &mut self.lines {
            let line = line?;
            if line.contains(text) {
                return Ok(line);
            }
        }
        bail!("`room dev` ended before it said {text:?}")
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // A process that ended by itself need not be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
