//! The ticks of a room in memory. Owns when the next one is due.
//!
//! Invariant: a tick is due one pause after the one before was due, and a late room skips the ticks that it missed. It
//! does not know what a tick does.

use room_core::turn::TickChange;
use std::time::Duration;
use tokio::time::Instant;

/// The ticks of a room.
#[derive(Debug, Default)]
pub(super) struct Ticks(Option<Rhythm>);

#[derive(Clone, Copy, Debug)]
struct Rhythm {
    every: Duration,
    due: Instant,
}

impl Ticks {
    /// Starts them in place of those before, or ends them. The rhythm that they have already stays.
    pub(super) fn change(&mut self, change: TickChange) {
        self.0 = match (change, self.0) {
            (TickChange::Stop, _) => None,
            (TickChange::Every(ms), Some(old)) if old.every == Duration::from_millis(ms) => {
                Some(old)
            }
            (TickChange::Every(ms), _) => {
                let every = Duration::from_millis(ms);
                Instant::now().checked_add(every).map(|due| Rhythm { every, due })
            }
        };
    }

    /// Ends them.
    pub(super) fn stop(&mut self) {
        self.0 = None;
    }

    /// Returns when the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.map(|rhythm| rhythm.due)
    }

    /// Returns their pause.
    pub(super) fn every(&self) -> Option<Duration> {
        self.0.map(|rhythm| rhythm.every)
    }

    /// Returns true if the room has to handle one now.
    pub(super) fn is_due(&self) -> bool {
        // A room without ticks reads no clock.
        self.next().is_some_and(|due| due <= Instant::now())
    }

    /// Moves to the first tick that is due after now.
    pub(super) fn taken(&mut self) {
        let Some(Rhythm { every, due }) = &mut self.0 else { return };
        let late = Instant::now().saturating_duration_since(*due);
        let into = late.as_nanos() % every.as_nanos().max(1);
        let missed = late - Duration::from_nanos(u64::try_from(into).unwrap_or(u64::MAX));
        *due += missed + *every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ticks_keep_their_rhythm_and_skip_what_was_missed() {
        let start = Instant::now();
        let at =
            |ticks: &Ticks| ticks.next().map(|due| due - start).unwrap_or_default().as_millis();
        let mut ticks = Ticks::default();
        assert!(!ticks.is_due());
        ticks.change(TickChange::Every(10));
        assert_eq!((at(&ticks), ticks.is_due()), (10, false));
        tokio::time::advance(Duration::from_millis(13)).await;
        assert!(ticks.is_due());
        ticks.taken();
        // Three late, and the next one is not.
        assert_eq!((at(&ticks), ticks.is_due()), (20, false));
        // Started again with the same pause, the rhythm stays.
        ticks.change(TickChange::Every(10));
        assert_eq!(at(&ticks), 20);
        tokio::time::advance(Duration::from_millis(34)).await;
        ticks.taken();
        assert_eq!((at(&ticks), ticks.is_due()), (50, false));
        ticks.change(TickChange::Every(25));
        assert_eq!(at(&ticks), 47 + 25);
        ticks.change(TickChange::Stop);
        assert!(ticks.next().is_none() && !ticks.is_due());
        ticks.change(TickChange::Every(u64::MAX));
        assert!(!ticks.is_due());
    }
}
