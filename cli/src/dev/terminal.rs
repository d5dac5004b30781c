//! The terminal of the keys. Owns its mode: single keys, without echo.
//!
//! Invariant: while this exists the terminal delivers each key as it is pressed. When this is dropped, as it is at
//! every end but SIGKILL, the terminal is as it was found. A process in the background touches nothing, as the system
//! would stop it for that. Signals of the keyboard and the conversion of line ends stay as they are. It does not know
//! what a key means.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read};
use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};
use std::io::{IsTerminal as _, stdin};
use std::time::Duration;

/// The bytes of one read.
const READ_BYTES: usize = 64;
/// The pause of a process in the background before it checks again whether it is in the foreground, while a user
/// types for another process.
const BACKGROUND_LOOK: Duration = Duration::from_millis(250);

/// The terminal while it delivers single keys.
pub(super) struct Terminal {
    /// The mode that was found; `None` until this process has been in the foreground.
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

    /// Sets the mode again: after a stop, the shell has set its own mode.
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

/// Reads keys until the terminal is gone or `take` refuses one.
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

/// Returns the pressed key. Bytes that come together are not a key: they were pasted, or are the sequence of an arrow
/// or the like.
fn key(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [key] => Some(*key),
        _ => None,
    }
}

/// Returns true if this process may use the terminal: it is in its foreground, or there is no job control.
fn is_ours() -> bool {
    tcgetpgrp(stdin()).map_or(true, |group| group == getpgrp())
}

/// Returns the found mode with single keys.
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
    fn pasted_text_and_arrow_keys_trigger_nothing() {
        assert_eq!(key(b"x"), Some(b'x'));
        for bytes in [&b""[..], b"xy", b"\x1b[A", "é".as_bytes()] {
            assert_eq!(key(bytes), None);
        }
    }
}
