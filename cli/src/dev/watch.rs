//! Saves. Owns that each change of a file's content is reported once.
//!
//! Invariant: saving a file with the same content is not a change. Changes are found whether the system reports
//! them or not: the watcher scans now and then anyway, and more often after it has found a change that the system had
//! not reported. It does not know what a change leads to.
//!
//! Each folder is watched by itself, so that `target/` and the like cost nothing. An event only says that it is time
//! for a scan, and the scan finds the change.

mod scope;
mod snapshot;
#[cfg(test)]
mod tests;

use crate::print::{self, WARN, styled};
use notify_debouncer_full::notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};
pub(crate) use scope::Scope;
use snapshot::{Difference, Snapshot};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// How long the files must be quiet: an editor's save is several steps.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// The time between two checks for that.
const TICK: Duration = Duration::from_millis(5);
/// The time between two scans if the system reports changes.
const LOOK: Duration = Duration::from_secs(2);
/// The time between two scans if it does not.
const POLL: Duration = Duration::from_millis(300);

/// How saves are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// By the system's events, as long as it sends them.
    Events,
    /// By repeated scans.
    Polling,
}

/// Files that were saved with a new content, made, or removed.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Those that matter.
    pub(crate) files: BTreeSet<PathBuf>,
    /// Those that matter if the last build failed.
    pub(crate) perhaps: BTreeSet<PathBuf>,
    /// When the first of these saves was noticed.
    pub(super) since: Instant,
}

/// Watches the files of a scope.
pub(crate) struct Watcher {
    /// The system's events; `None` if only scans are left.
    debouncer: Option<Debouncer<RecommendedWatcher, RecommendedCache>>,
    events: mpsc::Receiver<Instant>,
    wake: mpsc::Sender<Instant>,
    scope: Scope,
    seen: Snapshot,
    folders: BTreeSet<PathBuf>,
    /// True if the watcher found a change that the system did not report, and the system has reported nothing since.
    in_doubt: bool,
}

impl Changes {
    /// Returns true if a file of this name is among them.
    pub(super) fn touch(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.file_name().is_some_and(|found| found == name))
    }
}

impl Watcher {
    /// Starts to watch.
    pub(crate) fn new(scope: Scope, notice: Notice) -> Self {
        // One waiting event is enough: it asks for a scan, and the scan finds everything.
        let (wake, events) = mpsc::channel(1);
        let send = wake.clone();
        let handler = move |result: DebounceEventResult| {
            let since = match &result {
                // Reading a file is an event too, and a scan reads.
                Ok(events) => events.iter().filter(|e| !e.kind.is_access()).map(|e| e.time).min(),
                // A watch that lost events: scan now.
                Err(_) => Some(Instant::now().into_std()),
            };
            if let Some(since) = since {
                let _one_waits_already = send.try_send(Instant::from_std(since));
            }
        };
        let debouncer = match notice {
            Notice::Events => new_debouncer(DEBOUNCE, Some(TICK), handler).ok(),
            Notice::Polling => None,
        };
        let (seen, folders) = (Snapshot::default(), BTreeSet::new());
        let mut watcher = Self { debouncer, events, wake, scope, seen, folders, in_doubt: false };
        watcher.look();
        watcher
    }

    /// Returns how it notices saves.
    pub(super) fn notice(&self) -> Notice {
        if self.debouncer.is_some() { Notice::Events } else { Notice::Polling }
    }

    /// Watches another scope from here on. A new file in it counts as changed if it changed after `read`, the time by
    /// which a build has read it.
    pub(crate) fn watch(&mut self, scope: Scope, read: Option<SystemTime>) {
        if scope == self.scope {
            return;
        }
        let known = std::mem::take(&mut self.seen);
        self.scope = scope;
        self.look();
        // A save between the last scan and this one is still to be reported.
        self.seen.take_over(known, read);
        let _one_waits_already = self.wake.try_send(Instant::now());
    }

    /// Waits for the next changes.
    ///
    /// # Cancel safety
    /// Loses nothing: it does not wait between the last scan and the answer.
    pub(crate) async fn changed(&mut self) -> Changes {
        loop {
            let pause = if self.debouncer.is_some() { LOOK } else { POLL };
            let since = tokio::select! {
                // This struct holds the other end, so the channel does not close.
                event = self.events.recv() => {
                    self.in_doubt = false;
                    event
                }
                () = sleep(pause) => None,
            };
            let since = match since {
                Some(since) => since,
                None => match self.look_anyway().await {
                    Some(since) => since,
                    None => continue,
                },
            };
            let Difference { files, perhaps } = self.look();
            if !files.is_empty() || !perhaps.is_empty() {
                return Changes { files, perhaps, since };
            }
        }
    }

    /// Scans for a change that the system did not report. Returns when it found one.
    async fn look_anyway(&mut self) -> Option<Instant> {
        let now = self.scope.scan(&self.seen);
        let difference = now.differs_from(&self.seen);
        if difference.is_empty() {
            return None;
        }
        let since = Instant::now();
        let is_watched =
            |file: &PathBuf| file.parent().is_some_and(|folder| self.folders.contains(folder));
        let untold = self.debouncer.is_some() && difference.all().any(is_watched);
        if untold && std::mem::replace(&mut self.in_doubt, true) {
            self.poll("the system does not report saves here");
        }
        // It may be in the middle of a save.
        sleep(DEBOUNCE).await;
        Some(since)
    }

    /// Stops using the system's events.
    fn poll(&mut self, why: &str) {
        self.debouncer = None;
        let text = format!("{why}: the files are checked every {} ms", POLL.as_millis());
        print::talk(styled(WARN, text));
    }

    /// Scans everything. Returns the differences from the last scan. New folders are watched too.
    fn look(&mut self) -> Difference {
        let mut now = self.scope.scan(&self.seen);
        while self.follow(&now) {
            // A file may have come into a new folder before its watch did.
            now = self.scope.scan(&self.seen);
        }
        let changed = now.differs_from(&self.seen);
        self.seen = now;
        changed
    }

    /// Watches the folders of a scan. Returns true if one of them is new.
    fn follow(&mut self, scan: &Snapshot) -> bool {
        let Some(debouncer) = &mut self.debouncer else { return false };
        let (mut grew, mut refused) = (false, None);
        for gone in self.folders.difference(&scan.folders) {
            let _gone_by_itself = debouncer.unwatch(gone);
        }
        self.folders.retain(|folder| scan.folders.contains(folder));
        for folder in &scan.folders {
            if self.folders.contains(folder) {
                continue;
            }
            match debouncer.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.folders.insert(folder.clone());
                    grew = true;
                }
                // A folder that just went away is missing from the next scan.
                Err(err) if folder.is_dir() => refused = Some(err),
                Err(_) => {}
            }
        }
        if let Some(err) = refused {
            self.poll(&format!("the system does not report saves ({err})"));
            return false;
        }
        grew
    }
}
