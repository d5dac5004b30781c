//! The builds of `room dev`, at most one at a time. Owns the running one.
//!
//! Invariant: starting a build ends the one before it, compilers included. It does not know what is done with its
//! result.

use crate::building::{Build, BuildPlan, Noise};
use crate::cargo::disk_time;
use crate::script::ScriptForm;
use anyhow::Context as _;
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Runs builds in the background.
#[derive(Debug, Default)]
pub(super) struct Builder {
    running: Option<JoinHandle<Built>>,
}

/// A build that ended by itself.
#[derive(Debug)]
pub(super) struct Built {
    /// Its result.
    pub(super) outcome: anyhow::Result<Build>,
    /// When it started.
    pub(super) started: SystemTime,
    /// How long it took.
    pub(super) took: Duration,
}

impl Builder {
    /// Starts a build, and ends the one that runs.
    pub(super) fn start(&mut self, plan: BuildPlan, profile: String, noise: Noise) {
        self.cancel();
        self.running = Some(tokio::spawn(async move {
            let (start, started) = (Instant::now(), disk_time());
            let outcome = plan.build(&profile, noise, ScriptForm::Attached).await;
            Built { outcome, started, took: start.elapsed() }
        }));
    }

    /// Ends the running build, if there is one.
    pub(super) fn cancel(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }

    /// Returns true if a build runs.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Waits for the end of the running build; forever if none runs.
    ///
    /// # Cancel safety
    /// The build continues, and is there for the next call.
    pub(super) async fn finished(&mut self) -> Built {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let ended = running.await;
        self.running = None;
        ended.unwrap_or_else(|err| Built {
            outcome: Err(err).context("the build ended in the middle"),
            started: disk_time(),
            took: Duration::ZERO,
        })
    }
}
