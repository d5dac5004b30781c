//! The keys of `room dev`. Owns which there are and what they are for.
//!
//! Invariant: keys are read only from a terminal, and pasted text is not a key. It does not know how their work is
//! done.

#[cfg(unix)]
use super::terminal::{self, Terminal};
use crate::print::{BOLD, styled};
use anyhow::Context as _;
#[cfg(unix)]
use rustix::process::Signal;
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The most keys that wait during other work. The reader waits before it takes more.
const WAITING_MAX: usize = 16;

/// The request of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// The project's page in a browser.
    Open,
    /// The server's own page in a browser.
    Dashboard,
    /// A build without a save.
    Rebuild,
    /// The address for other machines, as a code.
    Code,
    /// An empty screen.
    Clear,
    /// Deletion of all that rooms have stored, after a confirmation.
    Reset,
    /// The end of the session.
    Quit,
    /// The list of the keys.
    Help,
    /// Any other key, which does not confirm.
    Other,
    /// The confirmation.
    Yes,
}

/// The keys, each with its name in one line and its meaning.
const KEYS: [(char, Key, &str, &str); 8] = [
    ('o', Key::Open, "open", "open the project's page in a browser"),
    ('d', Key::Dashboard, "dashboard", "open the dashboard: rooms, storage, messages, logs"),
    ('r', Key::Rebuild, "rebuild", "build now, without a save"),
    ('u', Key::Code, "url", "show the address for other machines as a QR code"),
    ('c', Key::Clear, "clear", "clear the screen"),
    ('x', Key::Reset, "reset", "delete everything that rooms have stored; asks for y first"),
    ('q', Key::Quit, "quit", "stop, as Ctrl-C does"),
    ('h', Key::Help, "help", "show these lines; so does ?"),
];

impl Key {
    fn of(byte: u8) -> Self {
        let byte = char::from(byte);
        let known = KEYS.iter().find(|(key, ..)| *key == byte);
        match byte {
            'y' => Self::Yes,
            '?' => Self::Help,
            _ => known.map_or(Self::Other, |(_, key, ..)| *key),
        }
    }
}

/// Whether other machines reach the server, and there is an address to show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Only this machine.
    Here,
    /// The network, too.
    Lan,
}

/// Returns the useful keys.
fn useful(reach: Reach) -> impl Iterator<Item = &'static (char, Key, &'static str, &'static str)> {
    KEYS.iter().filter(move |(_, key, ..)| *key != Key::Code || reach == Reach::Lan)
}

/// Returns all keys on one line.
pub(super) fn line(reach: Reach) -> String {
    let keys = useful(reach).map(|(key, _, name, _)| format!("{} {name}", styled(BOLD, key)));
    keys.collect::<Vec<_>>().join(" · ")
}

/// Returns a line for each key.
pub(super) fn help(reach: Reach) -> String {
    let lines =
        useful(reach).map(|(key, _, _, meaning)| format!("  {}  {meaning}", styled(BOLD, key)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The pressed keys, and the terminal while it delivers them.
pub(super) struct TerminalKeys {
    pressed: mpsc::Receiver<Key>,
    #[cfg(unix)]
    terminal: Option<Terminal>,
    #[cfg(unix)]
    continued: tokio::signal::unix::Signal,
}

impl TerminalKeys {
    /// Listens to the keys, if there is a terminal.
    ///
    /// # Errors
    /// The system reports no signals.
    #[cfg(unix)]
    pub(super) fn listen() -> anyhow::Result<Self> {
        let (send, pressed) = mpsc::channel(WAITING_MAX);
        let terminal = Terminal::take();
        if terminal.is_some() {
            // A thread of its own, as nothing can end a read. It ends with the process.
            std::thread::spawn(move || {
                terminal::read_keys(|byte| send.blocking_send(Key::of(byte)).is_ok());
            });
        }
        let continued = signal(SignalKind::from_raw(Signal::CONT.as_raw()));
        let continued = continued.context("signals cannot be waited for")?;
        Ok(Self { pressed, terminal, continued })
    }

    /// Returns no keys: on this system the terminal sends none.
    #[cfg(not(unix))]
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self { pressed: mpsc::channel(WAITING_MAX).1 })
    }

    /// Returns true if there is a terminal for them.
    pub(super) fn are_there(&self) -> bool {
        #[cfg(unix)]
        return self.terminal.is_some();
        #[cfg(not(unix))]
        false
    }

    /// Waits for the next key; if there is no terminal, forever.
    ///
    /// # Cancel safety
    /// Loses nothing: a key that is taken is answered at once.
    pub(super) async fn next(&mut self) -> Key {
        loop {
            #[cfg(unix)]
            let pressed = tokio::select! {
                pressed = self.pressed.recv() => pressed,
                _ = self.continued.recv() => {
                    if let Some(terminal) = &mut self.terminal {
                        terminal.resume();
                    }
                    continue;
                }
            };
            #[cfg(not(unix))]
            let pressed = self.pressed.recv().await;
            match pressed {
                Some(key) => return key,
                // The reader has ended.
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::CommandFactory as _;

    #[test]
    fn every_key_is_in_the_manual_and_means_one_thing() {
        let mut command = Args::command();
        let dev = command.find_subcommand_mut("dev").expect("it is a command");
        let manual = dev.render_long_help().to_string();
        let manual = manual.split_whitespace().collect::<Vec<_>>().join(" ");
        for (byte, key, name, _) in KEYS {
            assert_eq!(Key::of(u8::try_from(byte).unwrap()), key);
            assert!(manual.contains(&format!("{byte} {name}")), "{byte} {name}");
        }
        assert_eq!(Key::of(b'?'), Key::Help);
        for byte in [b'X', b'\n', 0x1b, 0xff] {
            assert_eq!(Key::of(byte), Key::Other);
        }
    }
}
