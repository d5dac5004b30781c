//! What other nodes of a cluster deploy, set and delete. Owns when this node looks, and what it does about it.
//!
//! Invariant: this node serves every project's newest version that it can load, within a look of its being recorded. If
//! it cannot load a version, it goes on with the version before and tries again, and other projects do not wait. It does not
//! know how a project is served.

use super::ServerCore;
use super::records::{KeepError, RecordHome};
use super::slots::Changer;
use room_core::limits::{ms, size};
use room_database::{RecordMark, RecordState};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a node knows of the records of its cluster.
struct Followed {
    /// The change number at the last look.
    change: Option<i64>,
    /// When the rest is tried again; `None` if this node serves everything up to that number.
    retry: Option<Instant>,
}

impl ServerCore {
    /// Looks at the cluster's records with each heartbeat, until the server stops.
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn follow(self, stop: CancellationToken) {
        let Some(home) = self.records().cloned() else { return };
        let mut due = tokio::time::interval(ms(self.0.limits.node_heartbeat_ms));
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut followed = Followed { change: None, retry: None };
        let mut is_away = false;
        while stop.run_until_cancelled(due.tick()).await.is_some() {
            let looked = self.look(&home, &mut followed).await;
            match &looked {
                Err(error) if !is_away => {
                    tracing::warn!(%error, "deployments of other nodes are not seen")
                }
                Ok(()) if is_away => tracing::info!("deployments of other nodes are seen again"),
                _ => {}
            }
            is_away = looked.is_err();
        }
    }

    async fn look(&self, home: &RecordHome, followed: &mut Followed) -> Result<(), KeepError> {
        let change = home.records().change().await?;
        let is_due = followed.retry.is_some_and(|retry| retry <= Instant::now());
        if followed.change == Some(change) && !is_due {
            return Ok(());
        }
        // The rest may be newer than this number, and then the next look finds nothing to do.
        self.0.tokens.look().await?;
        let is_whole = self.catch_up_all(home).await?;
        let retry = Instant::now() + ms(self.0.limits.project_retry_ms);
        *followed = Followed { change: Some(change), retry: (!is_whole).then_some(retry) };
        Ok(())
    }

    /// Brings all projects to the state of the records. Returns whether all got there.
    ///
    /// # Errors
    /// [`KeepError`]: the records cannot be read.
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn catch_up_all(&self, home: &RecordHome) -> Result<bool, KeepError> {
        let kept = home.records().projects().await?;
        let here = self.0.slots.all().into_iter().map(|(name, _)| name);
        let gone = here.filter(|name| !kept.iter().any(|(kept, ..)| kept == name));
        let gone: Vec<String> = gone.collect();
        let (mut all, mut running) = (true, JoinSet::new());
        let changed = kept.into_iter().filter(|(name, mark, state)| !self.has(name, *mark, *state));
        for name in changed.map(|(name, ..)| name).chain(gone) {
            if running.len() >= size(self.0.limits.projects_opening_max) {
                all &= matches!(running.join_next().await, Some(Ok(true)));
            }
            let (core, home) = (self.clone(), home.clone());
            running.spawn(async move { core.catch_up_one(&home, &name).await });
        }
        while let Some(done) = running.join_next().await {
            all &= matches!(done, Ok(true));
        }
        Ok(all)
    }

    /// Brings a project to the state of the records. Returns whether it got there.
    async fn catch_up_one(&self, home: &RecordHome, name: &str) -> bool {
        // An operator changes it here at this moment. The next look comes back to it.
        let claim = self.0.slots.claim(name, usize::MAX, Changer::Follower);
        let Ok(claim) = claim else { return false };
        let caught_up = match home.records().project(name).await {
            Ok(record) => self.catch_up((&claim, home), name, record.as_ref()).await,
            Err(error) => Err(KeepError::from(error).into()),
        };
        if let Err(error) = &caught_up {
            tracing::error!(project = name, %error, "the newest version cannot be served here");
        }
        caught_up.is_ok()
    }

    /// Returns true if this node serves this state of a project's records.
    fn has(&self, name: &str, mark: RecordMark, state: RecordState) -> bool {
        match (self.found(name), state) {
            (Ok(site), RecordState::Served) => {
                site.catalog().mark() == Some(mark) && site.behind().is_none()
            }
            (Err(_), RecordState::Deleted) => true,
            _ => false,
        }
    }
}
