//! The terminal that keys are pressed at. Owns its mode: single keys, without echo.
//!
//! Invariant: while this exists the terminal gives each key as it is pressed, and when this is dropped, as
//! it is at every end but SIGKILL, the terminal is as it was found; a process in the background touches
//! nothing, as it would be stopped for it. Signals of the keyboard and the breaking of lines stay as they
//! are. It does not know what a key means.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read};
use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};
use std::io::{IsTerminal as _, stdin};
use std::time::Duration;

/// How many bytes are read at a time.
const READ_BYTES: usize = 64;
/// How long a process in the background waits, when somebody types for another one, before it looks again
/// whether it is its own turn.
const BACKGROUND_LOOK: Duration = Duration::from_millis(250);

/// The terminal while it gives single keys.
pub(super) struct Terminal {
    /// How it was found; none while this process has not been in the foreground yet.
    found: Option<Termios>,
}

impl Terminal {
    /// Makes stdin give single keys, if it is a terminal.
    pub(super) fn take() -> Option<Self> {
        if !stdin().is_terminal() {
            return None;
        }
        let mut terminal = Self { found: None };
        terminal.resume();
        Some(terminal)
    }

    /// Does it again: after a stop, the shell has put its own mode in place.
    pub(super) fn resume(&mut self) {
        if !is_ours() {
            return;
        }
        if self.found.is_none() {
            self.found = tcgetattr(stdin()).ok();
        }
        if let Some(found) = &self.found {
            set(&single_keys(found));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(found) = &self.found
            && is_ours()
        {
            set(found);
        }
    }
}

/// Reads keys until the terminal is gone or nobody takes them.
pub(super) fn read_keys(mut take: impl FnMut(u8) -> bool) {
    let stdin = stdin();
    let mut bytes = [0; READ_BYTES];
    loop {
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        if !is_ours() {
            std::thread::sleep(BACKGROUND_LOOK);
            continue;
        }
        match read(&stdin, &mut bytes) {
            Ok(0) => return,
            Ok(count) => {
                if key(&bytes[..count]).is_some_and(|key| !take(key)) {
                    return;
                }
            }
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Returns the key that was pressed. What comes together with others is none: it was pasted, or is the sequence of an
/// arrow or the like.
fn key(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [key] => Some(*key),
        _ => None,
    }
}

/// Returns whether this process may use the terminal: it is in its foreground, or nobody controls jobs there.
fn is_ours() -> bool {
    tcgetpgrp(stdin()).map_or(true, |group| group == getpgrp())
}

/// Returns the mode with single keys, but for that the one that was found.
fn single_keys(found: &Termios) -> Termios {
    let mut mode = found.clone();
    mode.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    mode.special_codes[SpecialCodeIndex::VMIN] = 1;
    mode.special_codes[SpecialCodeIndex::VTIME] = 0;
    mode
}

fn set(mode: &Termios) {
    // A terminal that is gone needs no mode.
    let _gone = tcsetattr(stdin(), OptionalActions::Now, mode);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pasted_and_arrows_are_no_keys() {
        assert_eq!(key(b"x"), Some(b'x'));
        for bytes in [&b""[..], b"xy", b"\x1b[A", "é".as_bytes()] {
            assert_eq!(key(bytes), None);
        }
    }
}
