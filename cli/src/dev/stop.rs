//! The signals that end a session. Owns which those are.
//!
//! Invariant: while this exists none of them ends the process by itself, so that the session can restore what it
//! changed. It does not know what that is.

use anyhow::Context as _;
#[cfg(unix)]
use std::io::IsTerminal as _;
#[cfg(unix)]
use std::task::Poll;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Returns true if this process was started to outlive its parent (`nohup`).
#[cfg(target_os = "linux")]
fn outlives(_at_terminal: bool) -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

/// Returns true if the system's facts about a process say that it ignores SIGHUP, the first of all signals.
#[cfg(target_os = "linux")]
fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1)
}

/// Returns false: other systems do not report it, and at a terminal it is unlikely.
#[cfg(all(unix, not(target_os = "linux")))]
fn outlives(at_terminal: bool) -> bool {
    !at_terminal
}

/// The request to end the session.
pub(crate) struct Stop {
    #[cfg(unix)]
    signals: Vec<Signal>,
}

impl Stop {
    /// Listens to Ctrl-C, to the system, and to the end of the parent, unless the process should outlive that
    /// (`nohup`). At a terminal it also listens to its Ctrl-\.
    ///
    /// # Errors
    /// The system reports no signals.
    #[cfg(unix)]
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        let at_terminal = std::io::stdin().is_terminal();
        kinds.extend(at_terminal.then(SignalKind::quit));
        kinds.extend((!outlives(at_terminal)).then(SignalKind::hangup));
        let signals: Result<_, _> = kinds.into_iter().map(signal).collect();
        Ok(Self { signals: signals.context("signals cannot be waited for")? })
    }

    /// Listens to Ctrl-C.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self {})
    }

    /// Completes when a signal came.
    ///
    /// # Cancel safety
    /// Loses nothing.
    pub(crate) async fn asked(&mut self) {
        #[cfg(unix)]
        std::future::poll_fn(|context| {
            // Polls all: only a polled signal wakes this task.
            let came = self.signals.iter_mut().map(|signal| signal.poll_recv(context).is_ready());
            if came.fold(false, |any, one| any | one) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        #[cfg(not(unix))]
        drop(tokio::signal::ctrl_c().await);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::ignores_hangup;

    #[test]
    fn a_process_started_by_nohup_is_recognised_by_its_ignored_signals() {
        let status = |ignored: &str| format!("Name:\troom\nSigBlk:\t0001\nSigIgn:\t{ignored}\n");
        assert!(ignores_hangup(&status("0000000000000001")));
        assert!(ignores_hangup(&status("0000000000001003")));
        assert!(!ignores_hangup(&status("0000000000001000")));
        assert!(!ignores_hangup(""));
    }
}
