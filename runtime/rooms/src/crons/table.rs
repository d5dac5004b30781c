//! The crons of a project, and how far each has come. Owns which of them is due.
//!
//! Invariant: a cron has calls of one time at a time, and a planned time that was noted as done is not called again.
//! Pure: it does not know clocks, rooms or files.

use room_core::config::Cron;
use room_store::{CronNote, CronNotes, CronOutcome};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The crons, in the order of the project.
#[derive(Default)]
pub(super) struct CronTable(Vec<CronEntry>);

struct CronEntry {
    cron: Arc<Cron>,
    note: CronNote,
    /// The first planned time that is not done.
    next_ms: Option<u64>,
    /// The time whose calls are being made.
    running: Option<u64>,
    /// An operator who asked for calls now.
    asked: Option<oneshot::Sender<CronOutcome>>,
    /// Whether this node makes its calls. Only for an operator does a node make those of another one.
    is_here: bool,
}

/// The calls of one time.
pub(super) struct CronJob {
    pub(super) cron: Arc<Cron>,
    /// The planned time; for an operator, the time of the calls.
    pub(super) at_ms: u64,
    pub(super) cause: CronCause,
}

/// Why rooms are called.
pub(super) enum CronCause {
    Planned,
    /// An operator asked for it, and gets the outcome.
    Asked(oneshot::Sender<CronOutcome>),
}

/// A cron as an operator sees it.
#[derive(Clone, Debug)]
pub struct CronReport {
    /// The cron.
    pub cron: Arc<Cron>,
    /// Its next planned time, in milliseconds since 1970.
    pub next_ms: Option<u64>,
    /// The time whose calls are being made.
    pub running: Option<u64>,
    /// How its last calls ended.
    pub outcome: Option<CronOutcome>,
}

/// The reason why a cron's rooms are not called now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CronAskError {
    /// There is no cron with this name.
    Unknown,
    /// Its calls are being made already.
    Running,
}

impl CronTable {
    /// Puts crons in place of those before. `notes` are those of earlier starts.
    pub(super) fn replace(&mut self, crons: Vec<Cron>, notes: &CronNotes, now_ms: u64) {
        let mut before = std::mem::take(&mut self.0);
        for cron in crons {
            match before.iter().position(|entry| *entry.cron == cron) {
                Some(same) => self.0.push(before.swap_remove(same)),
                None => self.0.push(CronEntry::new(cron, notes, now_ms)),
            }
        }
    }

    /// Notes which crons this node makes the calls of. Returns true if it makes those of a cron that was another node's.
    pub(super) fn take_over(&mut self, is_here: impl Fn(&Cron) -> bool) -> bool {
        let mut is_new = false;
        for entry in &mut self.0 {
            let was_here = std::mem::replace(&mut entry.is_here, is_here(&entry.cron));
            is_new |= entry.is_here && !was_here;
        }
        is_new
    }

    /// Takes over what other nodes have noted since.
    pub(super) fn catch_up(&mut self, notes: &CronNotes) {
        for entry in self.0.iter_mut().filter(|entry| entry.running.is_none()) {
            let noted = notes.get(&entry.cron.setting.name);
            let ahead = noted.filter(|noted| {
                noted.setting == entry.note.setting && noted.done_ms > entry.note.done_ms
            });
            if let Some(ahead) = ahead {
                entry.note = ahead.clone();
                entry.next_ms = entry.cron.schedule.next_after(ahead.done_ms);
            }
        }
    }

    /// Returns the calls that are due, and the next planned time.
    pub(super) fn due(&mut self, now_ms: u64) -> (Vec<CronJob>, Option<u64>) {
        let (mut jobs, mut next) = (Vec::new(), None);
        for entry in self.0.iter_mut().filter(|entry| entry.running.is_none()) {
            let (at_ms, cause) = match (entry.asked.take(), entry.next_ms) {
                (Some(reply), _) => (now_ms, CronCause::Asked(reply)),
                _ if !entry.is_here => continue,
                (None, Some(next_ms)) if next_ms <= now_ms => {
                    let last = entry.cron.schedule.last_within(entry.note.done_ms, now_ms);
                    (last.unwrap_or(next_ms), CronCause::Planned)
                }
                (None, next_ms) => {
                    next = next.into_iter().chain(next_ms).min();
                    continue;
                }
            };
            entry.running = Some(at_ms);
            jobs.push(CronJob { cron: entry.cron.clone(), at_ms, cause });
        }
        (jobs, next)
    }

    /// Notes how calls ended. Returns false if the cron is gone.
    pub(super) fn ended(&mut self, job: &CronJob, outcome: &CronOutcome) -> bool {
        let Some(entry) = self.0.iter_mut().find(|entry| Arc::ptr_eq(&entry.cron, &job.cron))
        else {
            return false;
        };
        entry.running = None;
        entry.note.outcome = Some(outcome.clone());
        if matches!(job.cause, CronCause::Planned) {
            entry.note.done_ms = job.at_ms;
            entry.next_ms = entry.cron.schedule.next_after(job.at_ms);
        }
        true
    }

    /// Notes that calls were not made here: the room's node makes them.
    pub(super) fn left(&mut self, job: &CronJob) {
        let entry = self.0.iter_mut().find(|entry| Arc::ptr_eq(&entry.cron, &job.cron));
        if let Some(entry) = entry {
            entry.running = None;
        }
    }

    /// Returns true if the cron is still the project's.
    pub(super) fn has(&self, cron: &Arc<Cron>) -> bool {
        self.0.iter().any(|entry| Arc::ptr_eq(&entry.cron, cron))
    }

    pub(super) fn ask(
        &mut self,
        name: &str,
    ) -> Result<oneshot::Receiver<CronOutcome>, CronAskError> {
        let entry = self.0.iter_mut().find(|entry| entry.cron.setting.name == name);
        let entry = entry.ok_or(CronAskError::Unknown)?;
        if entry.running.is_some() || entry.asked.is_some() {
            return Err(CronAskError::Running);
        }
        let (reply, answer) = oneshot::channel();
        entry.asked = Some(reply);
        Ok(answer)
    }

    pub(super) fn notes(&self) -> CronNotes {
        let note = |entry: &CronEntry| (entry.cron.setting.name.clone(), entry.note.clone());
        self.0.iter().map(note).collect()
    }

    pub(super) fn list(&self) -> Vec<CronReport> {
        let report = |entry: &CronEntry| CronReport {
            cron: entry.cron.clone(),
            next_ms: entry.next_ms,
            running: entry.running,
            outcome: entry.note.outcome.clone(),
        };
        self.0.iter().map(report).collect()
    }
}

impl CronEntry {
    fn new(cron: Cron, notes: &CronNotes, now_ms: u64) -> Self {
        // A setting is plain text and numbers, which JSON can hold.
        let setting = serde_json::to_string(&cron.setting).unwrap_or_default();
        let known = notes.get(&cron.setting.name).filter(|note| note.setting == setting).cloned();
        let mut note = known.unwrap_or(CronNote { setting, done_ms: now_ms, outcome: None });
        // After the machine's clock was set back, the times since then come again.
        note.done_ms = note.done_ms.min(now_ms);
        let next_ms = cron.schedule.next_after(note.done_ms);
        Self { cron: Arc::new(cron), note, next_ms, running: None, asked: None, is_here: true }
    }
}
