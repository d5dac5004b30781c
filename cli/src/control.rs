//! The way in which a command finds the server that has a data folder open. Owns the file with its address.
//!
//! Invariant: only the user who started the server can read it, and a file that a crashed server left grants nothing.
//! It does not know what is asked of the server.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The file, in the data folder.
const FILE: &str = "control.json";
/// The version of its content.
const FORMAT: u32 = 1;

/// The address of a server, and the token that lets a command ask it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Control {
    format: u32,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

impl Control {
    /// Returns the file that the server of this folder has written; `None` if it has not, or in an unknown version.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        let json = std::fs::read(dir.join(FILE)).ok()?;
        serde_json::from_slice(&json).ok().filter(|control: &Self| control.format == FORMAT)
    }
}

/// The file while its server runs. Dropping this removes it.
pub(crate) struct Announced {
    dir: PathBuf,
    address: SocketAddr,
}

impl Announced {
    /// Writes the address of this server.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(crate) fn new(dir: &Path, listens: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let control =
            Control { format: FORMAT, address: from_here(listens), token: token.to_owned() };
        let (path, new) = (dir.join(FILE), dir.join(format!("{FILE}.new")));
        let written = || -> anyhow::Result<()> {
            std::fs::create_dir_all(dir)?;
            // An existing one is a crashed server's, and may be readable by others.
            if new.exists() {
                std::fs::remove_file(&new)?;
            }
            private(&new)?.write_all(&serde_json::to_vec_pretty(&control)?)?;
            Ok(std::fs::rename(&new, &path)?)
        };
        written().with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self { dir: dir.to_owned(), address: from_here(listens) })
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // Another server may have written its own since, on a disk without locks.
        if Control::read(&self.dir).is_some_and(|control| control.address == self.address) {
            // A file that stays grants nothing.
            drop(std::fs::remove_file(self.dir.join(FILE)));
        }
    }
}

/// Returns a new file that nobody else can read.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Returns the address by which a command on this machine reaches it.
fn from_here(listens: SocketAddr) -> SocketAddr {
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listens.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_reads_the_announcement_and_it_is_removed_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let listens = SocketAddr::from(([0, 0, 0, 0], 1999));
        std::fs::write(dir.path().join("control.json.new"), "left behind").unwrap();
        let announced = Announced::new(dir.path(), listens, "secret").unwrap();
        let control = Control::read(dir.path()).unwrap();
        assert_eq!(control.address, SocketAddr::from(([127, 0, 0, 1], 1999)));
        assert_eq!(control.token, "secret");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = dir.path().join(FILE).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let newer =
            Announced::new(dir.path(), SocketAddr::from(([0, 0, 0, 0], 2000)), "newer").unwrap();
        drop(announced);
        assert_eq!(Control::read(dir.path()).unwrap().token, "newer");
        drop(newer);
        assert!(Control::read(dir.path()).is_none());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_unreadable_announcement_counts_as_absent() {
        let dir = tempfile::tempdir().unwrap();
        let newer = r#"{"format":2,"address":"127.0.0.1:1","token":"x"}"#;
        for text in ["", "{}", newer] {
            std::fs::write(dir.path().join(FILE), text).unwrap();
            assert!(Control::read(dir.path()).is_none(), "{text}");
        }
    }
}
