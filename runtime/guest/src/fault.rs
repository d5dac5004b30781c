//! The faults of a guest. Owns the translation of wasmtime's errors into words for its author.
//!
//! Invariant: a fault names the limit that was exceeded and how to raise it. It does not know what becomes of
//! the room.

use crate::budget::Budget;

/// A guest's own fault. Its turn is dropped; so is its instance, unless the fault is
/// [`GuestFault::Rejected`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestFault {
    /// The callback returned an error; the instance is fine.
    #[error("the callback returned an error: {0}")]
    Rejected(String),
    /// The guest trapped or panicked.
    #[error("the guest trapped: {message}")]
    Trapped {
        /// The kind of trap.
        message: String,
        /// The guest's frames, innermost first.
        backtrace: String,
    },
    /// The turn exceeded a bound of its budget.
    #[error("{0}")]
    Overrun(Overrun),
}

/// A bound of the budget that a turn exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overrun {
    /// It computed for too long.
    #[error("the callback computed for more than {ms} ms; raise turn_ms_max in room.toml [limits]")]
    Time {
        /// The limit.
        ms: u64,
    },
    /// It took too long, sleeping included.
    #[error(
        "the callback took more than {ms} ms; raise turn_wall_ms_max in room.toml [limits], or use an alarm instead of sleeping"
    )]
    Wall {
        /// The limit.
        ms: u64,
    },
    /// It needed too much memory.
    #[error(
        "the guest needs more than {bytes} bytes of memory; raise memory_bytes_max in room.toml [limits]"
    )]
    Memory {
        /// The limit.
        bytes: u64,
    },
    /// Its calls were nested too deep.
    #[error(
        "the guest's stack is full; raise stack_bytes_max in room.toml [limits], or recurse less"
    )]
    Stack,
}

impl GuestFault {
    /// Translates an error of wasmtime.
    pub(super) fn of(error: &wasmtime::Error, budget: &Budget) -> Self {
        if let Some(overrun) = error.downcast_ref::<Overrun>() {
            return Self::Overrun(*overrun);
        }
        let trap = error.downcast_ref::<wasmtime::Trap>().copied();
        match trap {
            Some(wasmtime::Trap::StackOverflow) => return Self::Overrun(Overrun::Stack),
            Some(wasmtime::Trap::AllocationTooLarge) => {
                return Self::Overrun(Overrun::Memory { bytes: budget.limits().memory_bytes_max });
            }
            _ => {}
        }
        if let Some(overrun) = budget.memory_overrun() {
            return Self::Overrun(overrun);
        }
        let message = match trap {
            Some(wasmtime::Trap::UnreachableCodeReached) => {
                "panic or unreachable code (a panic's message is in the log line before)".to_owned()
            }
            Some(trap @ wasmtime::Trap::MemoryOutOfBounds) => {
                format!(
                    "{trap} (endless recursion looks like this when the guest's own stack is full)"
                )
            }
            Some(trap) => trap.to_string(),
            None => error.root_cause().to_string(),
        };
        let text_max = room_core::limits::size(budget.limits().fault_text_bytes_max);
        let backtrace = error.downcast_ref::<wasmtime::WasmBacktrace>().map(ToString::to_string);
        Self::Trapped {
            message: cut(message, text_max),
            backtrace: cut(backtrace.unwrap_or_default(), text_max),
        }
    }

    /// Returns true if the instance can continue.
    pub fn spares_instance(&self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}

/// Returns the text, cut to at most `bytes_max`.
pub(super) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let mut end = bytes_max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}
