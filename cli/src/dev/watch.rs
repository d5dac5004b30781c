//! Saves. Owns which files count, and that each change of their content is reported once.
//!
//! Invariant: what `room` and cargo write themselves is never a change, and neither is a file that was
//! saved with the content it had. It does not know what a change leads to.
//!
//! Each folder is watched by itself, so that ignored ones, `target/` above all, cost nothing. An event
//! only says that it is time to look; what changed is found by looking.

mod scan;
#[cfg(test)]
mod tests;

use anyhow::Context as _;
use notify_debouncer_full::notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};
pub(super) use scan::Scope;
use scan::Snapshot;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long the files must be quiet: an editor's save is several steps.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How often that is looked at.
const TICK: Duration = Duration::from_millis(5);

/// Files that were saved with a new content, made, or removed.
#[derive(Debug)]
pub(super) struct Changes {
    /// Which.
    pub(super) files: BTreeSet<PathBuf>,
    /// When the first of these saves was noticed.
    pub(super) since: Instant,
}

/// Watches the files of a scope.
pub(super) struct Watcher {
    debouncer: Debouncer<RecommendedWatcher, RecommendedCache>,
    events: mpsc::Receiver<Instant>,
    scope: Scope,
    seen: Snapshot,
    folders: BTreeSet<PathBuf>,
}

impl Changes {
    /// Whether a file of this name is among them.
    pub(super) fn touch(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.file_name().is_some_and(|found| found == name))
    }
}

impl Watcher {
    /// Starts to watch.
    ///
    /// # Errors
    /// The system offers no way to.
    pub(super) fn new(scope: Scope) -> anyhow::Result<Self> {
        // One waiting event is enough: it says that it is time to look, and looking finds everything.
        let (send, events) = mpsc::channel(1);
        let handler = move |result: DebounceEventResult| {
            let since = match &result {
                // Reading a file is an event too, and looking reads.
                Ok(events) => events.iter().filter(|e| !e.kind.is_access()).map(|e| e.time).min(),
                // A watch that lost events: look now.
                Err(_) => Some(Instant::now().into_std()),
            };
            if let Some(since) = since {
                let _one_waits_already = send.try_send(Instant::from_std(since));
            }
        };
        let debouncer = new_debouncer(DEBOUNCE, Some(TICK), handler)
            .context("the system offers no way to watch files")?;
        let seen = Snapshot::default();
        let mut watcher = Self { debouncer, events, scope, seen, folders: BTreeSet::new() };
        watcher.look();
        Ok(watcher)
    }

    /// Watches another scope from here on. Files that come with it are no changes.
    pub(super) fn watch(&mut self, scope: Scope) {
        if scope == self.scope {
            return;
        }
        let known = std::mem::take(&mut self.seen);
        self.scope = scope;
        self.look();
        // A save between the last look and this one is still to be reported.
        self.seen.keep_known(known);
    }

    /// Waits for the next changes.
    ///
    /// # Errors
    /// The watch has ended.
    ///
    /// # Cancel safety
    /// Loses nothing: between the event and the answer it does not wait.
    pub(super) async fn changed(&mut self) -> anyhow::Result<Changes> {
        loop {
            let since = self.events.recv().await.context("files are no longer watched")?;
            let files = self.look();
            if !files.is_empty() {
                return Ok(Changes { files, since });
            }
        }
    }

    /// Looks at everything. → What differs from the last look. New folders are watched too.
    fn look(&mut self) -> BTreeSet<PathBuf> {
        let mut now = self.scope.scan();
        while self.follow(&now) {
            // A file may have come into a new folder before its watch did.
            now = self.scope.scan();
        }
        let changed = now.differs_from(&self.seen);
        self.seen = now;
        changed
    }

    /// Watches the folders of a scan. → Whether one of them is new.
    fn follow(&mut self, scan: &Snapshot) -> bool {
        let mut grew = false;
        for gone in self.folders.difference(&scan.folders) {
            let _gone_by_itself = self.debouncer.unwatch(gone);
        }
        self.folders.retain(|folder| scan.folders.contains(folder));
        for folder in &scan.folders {
            // One that cannot be watched, as it just went away, is tried again at the next look.
            if !self.folders.contains(folder)
                && self.debouncer.watch(folder, RecursiveMode::NonRecursive).is_ok()
            {
                self.folders.insert(folder.clone());
                grew = true;
            }
        }
        grew
    }
}
