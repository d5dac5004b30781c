//! The progress of slow work. Owns the line in which it is shown.
//!
//! Invariant: it is shown on a terminal alone, in one line that is gone at the end, whatever ends it. If messages are
//! piped, nothing is written. It does not know what is done.

use crate::print::{self, DIM, GOOD, styled};

/// The number of the bar's characters.
const WIDTH: u64 = 24;
/// The line is redrawn when this part of the whole is done: often enough to be seen moving.
const STEPS: u64 = 200;

/// A line with the bytes that are done, out of all. Dropping it removes the line.
pub(crate) struct Progress {
    what: &'static str,
    done: u64,
    total: u64,
    /// The progress when it was drawn; `None` if nobody can see it.
    drawn: Option<u64>,
}

impl Progress {
    /// Starts with nothing done.
    pub(crate) fn of(what: &'static str, total: u64) -> Self {
        let drawn = (total > 0 && print::is_watched()).then_some(0);
        let progress = Self { what, done: 0, total, drawn };
        progress.draw();
        progress
    }

    /// Makes a progress that is not shown.
    pub(crate) fn unseen() -> Self {
        Self { what: "", done: 0, total: 0, drawn: None }
    }

    /// Notes that so many more bytes are done.
    pub(crate) fn more(&mut self, bytes: usize) {
        self.done = self.done.saturating_add(bytes as u64).min(self.total);
        let step = self.done * STEPS / self.total.max(1);
        if self.drawn.is_some_and(|drawn| drawn < step) {
            self.drawn = Some(step);
            self.draw();
        }
    }

    fn draw(&self) {
        if self.drawn.is_some() {
            print::over(&line(self.what, self.done, self.total));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            print::clear_line();
        }
    }
}

/// Returns a line such as `uploading ━━━━━━──────  1.2 of 2.4 MiB`.
fn line(what: &str, done: u64, total: u64) -> String {
    let full = usize::try_from(done * WIDTH / total.max(1)).unwrap_or(0);
    let rest = usize::try_from(WIDTH).unwrap_or(0).saturating_sub(full);
    let bar = styled(GOOD, "━".repeat(full)) + &styled(DIM, "─".repeat(rest));
    format!("{what} {bar} {} of {}", amount(done), amount(total))
}

/// Returns bytes in a unit for people.
pub(crate) fn amount(bytes: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    match bytes {
        ..KIB => format!("{bytes} B"),
        KIB..MIB => format!("{} KiB", bytes / KIB),
        _ => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_line_shows_how_much_is_done() {
        let shown =
            |done, total| anstream::adapter::strip_str(&line("uploading", done, total)).to_string();
        assert_eq!(shown(0, 100), "uploading ──────────────────────── 0 B of 100 B");
        assert_eq!(
            shown(3 << 19, 3 << 20),
            "uploading ━━━━━━━━━━━━──────────── 1.5 MiB of 3.0 MiB"
        );
        assert_eq!(shown(2048, 2048), "uploading ━━━━━━━━━━━━━━━━━━━━━━━━ 2 KiB of 2 KiB");
    }

    #[test]
    fn more_bytes_than_announced_count_as_complete() {
        // A file may have grown since its size was read.
        let mut progress = Progress::of("uploading", 10);
        progress.more(25);
        assert_eq!(progress.done, 10);
    }
}
