//! How the turns of one room end. Owns their counts, and what a fault of the guest means for the room.
//!
//! Invariant: each turn is counted once, and a room whose guest fails repeatedly rests. It does not know what a turn has
//! changed.

use super::super::RoomError;
use super::super::figures::FaultRecord;
use super::{Committed, Turns};
use room_core::event::GuestAnswer;
use room_core::metrics::TurnEnd;
use room_core::report;
use room_guest::{GuestFault, Overrun};
use tokio::time::Instant;

impl Turns {
    /// Returns true from a fault of the guest until a turn succeeds again.
    pub(in super::super) fn is_failing(&self) -> bool {
        self.faults.is_failing()
    }

    /// Forgets the faults so far.
    pub(in super::super) fn forgive(&mut self) {
        self.faults.forget();
        self.figures.note_no_rest();
    }

    /// Draws the room's conclusions from the outcome of a turn.
    pub(super) fn judge(&mut self, event: &'static str, outcome: &Result<Committed, RoomError>) {
        match outcome {
            Ok(_) => self.faults.success(),
            Err(error) => self.fault(event, error),
        }
    }

    /// Counts how a turn ended.
    pub(super) fn count(&self, outcome: &Result<Committed, RoomError>) {
        match outcome {
            Ok(Committed { answer: GuestAnswer::Refused(_), .. }) => {
                self.parts.metrics.turns.count(TurnEnd::Rejected);
            }
            Ok(_) => self.parts.metrics.turns.count(TurnEnd::Committed),
            Err(RoomError::Guest(fault)) => self.parts.metrics.turns.count(end_of(fault)),
            Err(_) => {}
        }
    }

    /// Notes a fault of the guest. A room that fails repeatedly rests.
    pub(super) fn fault(&mut self, event: &'static str, error: &RoomError) {
        let RoomError::Guest(fault) = error else {
            return;
        };
        self.note_fault(event, fault);
        let text = match fault {
            GuestFault::Trapped { backtrace, .. } => format!("turn dropped: {fault}\n{backtrace}"),
            _ => format!("turn dropped: {fault}"),
        };
        self.log().fault(event, &text);
        if fault.spares_instance() {
            return;
        }
        let now = Instant::now();
        if let Some(rest) = self.faults.fault(now, &self.parts.limits) {
            self.figures.note_rest(now + rest);
            let rest_ms = rest.as_millis();
            report!(error, self.log(), [], "the room failed repeatedly and rests for {rest_ms} ms");
        }
    }

    fn note_fault(&self, event: &'static str, fault: &GuestFault) {
        let backtrace = match fault {
            GuestFault::Trapped { backtrace, .. } => Some(backtrace.clone()),
            GuestFault::Rejected(_) | GuestFault::Overrun(_) => None,
        };
        let (at_ms, reason) = (self.parts.clock.wall_ms(), fault.to_string());
        self.tap.failed(event, &reason);
        self.figures.note_fault(FaultRecord { at_ms, event, reason, backtrace });
    }
}

/// Returns the label under which a fault is counted.
fn end_of(fault: &GuestFault) -> TurnEnd {
    match fault {
        GuestFault::Rejected(_) => TurnEnd::Rejected,
        GuestFault::Trapped { .. } => TurnEnd::Trapped,
        GuestFault::Overrun(Overrun::Time { .. } | Overrun::Wall { .. }) => TurnEnd::OutOfTime,
        GuestFault::Overrun(Overrun::Memory { .. }) => TurnEnd::OutOfMemory,
        GuestFault::Overrun(Overrun::Stack) => TurnEnd::OutOfStack,
    }
}
