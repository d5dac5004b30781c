//! A terminal. Owns both ends of it: the person's and the process's.
//!
//! Invariant: it is open as long as both ends are. It does not know what runs at it.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;

/// A new terminal: the end of the person, and the end of the process.
pub(crate) fn open() -> (File, File) {
    let person: OwnedFd =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
    grantpt(&person).and_then(|()| unlockpt(&person)).expect("it is ours");
    let name = ptsname(&person, Vec::new()).expect("it has a name");
    let name = name.into_string().expect("it is UTF-8");
    let process = OpenOptions::new().read(true).write(true).open(name).expect("it is ours");
    (person.into(), process)
}
