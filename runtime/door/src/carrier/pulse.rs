//! When a client is pinged, and when it counts as lost. Owns the times. Pure.
//!
//! Invariant: a client that sends nothing for `pong_ms_max` after a ping is lost. The time runs from when the ping is
//! written, so a client that is slow to read the frames before the ping does not count as lost. It does not know how
//! frames are read or written.

use room_core::limits::{Limits, ms};
use std::time::Duration;
use tokio::time::Instant;

/// The state of one client's pings.
pub(super) struct Pulse {
    stage: PulseStage,
    /// When the ping after the current one is due.
    next: Instant,
    /// True if the client has sent something since the last ping was requested.
    heard: bool,
    interval: Duration,
    patience: Duration,
}

#[derive(Clone, Copy)]
enum PulseStage {
    Resting,
    /// A ping is requested, and not written yet.
    Asked,
    /// A ping is written. The client has until this time to answer.
    Out(Instant),
}

/// What the carrier must do about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PulseAct {
    Nothing,
    Ping,
    Lost,
}

impl Pulse {
    /// Starts with a client that is alive now.
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let interval = ms(limits.ping_interval_ms);
        let (stage, next) = (PulseStage::Resting, now + interval);
        Self { stage, next, heard: false, interval, patience: ms(limits.pong_ms_max) }
    }

    /// Notes that the client sent something.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// Notes that the ping is written.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.stage = PulseStage::Out(now + self.patience);
    }

    /// Returns when to call `beat` again, or `None` until the requested ping is written.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.stage {
            PulseStage::Resting => Some(self.next),
            PulseStage::Asked => None,
            PulseStage::Out(until) => Some(until),
        }
    }

    /// Returns what to do at this time. A returned ping counts as requested.
    pub(super) fn beat(&mut self, now: Instant) -> PulseAct {
        if let PulseStage::Out(until) = self.stage
            && now >= until
        {
            if !self.heard {
                return PulseAct::Lost;
            }
            self.stage = PulseStage::Resting;
        }
        if matches!(self.stage, PulseStage::Resting) && now >= self.next {
            self.next += self.interval;
            (self.stage, self.heard) = (PulseStage::Asked, false);
            return PulseAct::Ping;
        }
        PulseAct::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns a pulse with a ping every ten seconds, and three seconds for an answer.
    fn pulse(now: Instant) -> Pulse {
        let limits = Limits { ping_interval_ms: 10_000, pong_ms_max: 3_000, ..Limits::default() };
        Pulse::new(&limits, now)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_answers_is_pinged_at_each_interval() {
        let begun = Instant::now();
        let mut pulse = pulse(begun);
        for round in 1..=3 {
            let at = begun + 10 * round * SECOND;
            assert_eq!(pulse.due(), Some(at));
            assert_eq!(pulse.beat(at - SECOND), PulseAct::Nothing);
            assert_eq!(pulse.beat(at), PulseAct::Ping);
            pulse.pinged(at + SECOND);
            pulse.heard();
            assert_eq!(pulse.due(), Some(at + 4 * SECOND));
            assert_eq!(pulse.beat(at + 4 * SECOND), PulseAct::Nothing);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_silent_after_a_ping_is_lost() {
        let begun = Instant::now();
        let mut pulse = pulse(begun);
        pulse.heard();
        assert_eq!(pulse.beat(begun + 10 * SECOND), PulseAct::Ping);
        // Bytes from before the ping are not an answer, and no time runs until the ping is written.
        assert_eq!((pulse.due(), pulse.beat(begun + 100 * SECOND)), (None, PulseAct::Nothing));
        pulse.pinged(begun + 100 * SECOND);
        assert_eq!(pulse.beat(begun + 102 * SECOND), PulseAct::Nothing);
        assert_eq!(pulse.beat(begun + 103 * SECOND), PulseAct::Lost);
    }
}
