//! The signals that end a session. Owns which those are.
//!
//! Invariant: once this exists none of them ends the process by itself, so that what has to be put back is.
//! It does not know what that is.

use anyhow::Context as _;
#[cfg(unix)]
use std::io::IsTerminal as _;
#[cfg(unix)]
use std::task::Poll;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The wish that the session ends.
pub(crate) struct Stop {
    #[cfg(unix)]
    signals: Vec<Signal>,
}

impl Stop {
    /// Listens to Ctrl-C, and to the system; at a terminal also to its Ctrl-\ and its going away. A process
    /// without one may have been told to outlive it (`nohup`).
    ///
    /// # Errors
    /// The system tells nothing of signals.
    #[cfg(unix)]
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        if std::io::stdin().is_terminal() {
            kinds.extend([SignalKind::hangup(), SignalKind::quit()]);
        }
        let signals: Result<_, _> = kinds.into_iter().map(signal).collect();
        Ok(Self { signals: signals.context("signals cannot be waited for")? })
    }

    /// Listens to Ctrl-C.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self {})
    }

    /// Completes when one came.
    ///
    /// # Cancel safety
    /// Loses nothing.
    pub(crate) async fn asked(&mut self) {
        #[cfg(unix)]
        std::future::poll_fn(|context| {
            // All are asked: only one that was asked wakes this.
            let came = self.signals.iter_mut().map(|signal| signal.poll_recv(context).is_ready());
            if came.fold(false, |any, one| any | one) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        #[cfg(not(unix))]
        drop(tokio::signal::ctrl_c().await);
    }
}
