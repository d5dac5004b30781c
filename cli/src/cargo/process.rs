//! A child that can be ended as a whole. Owns its process group.
//!
//! Invariant: when a [`Group`] is dropped before its end, every process that it started receives a signal to end. It
//! does not know what runs in it.

use anyhow::Context as _;
use std::process::ExitStatus;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// A child process with its descendants.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
}

impl Group {
    /// Starts a command in a process group of its own: Ctrl-C in the terminal reaches `room` alone,
    /// which decides.
    pub(crate) fn spawn(mut command: Command) -> std::io::Result<Self> {
        #[cfg(unix)]
        command.process_group(0);
        Ok(Self { child: command.kill_on_drop(true).spawn()? })
    }

    /// Returns its stdout, once.
    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Returns its stderr, once.
    pub(crate) fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits for its end.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub(crate) async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        self.child.wait().await.context("a process that was started cannot be waited for")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The id is there only until the child has been waited for, so it is nobody else's.
        #[cfg(unix)]
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok())
            && let Some(group) = rustix::process::Pid::from_raw(id)
        {
            let _already_gone =
                rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        }
    }
}
