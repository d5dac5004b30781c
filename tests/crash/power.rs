//! A disk whose power can be cut. Owns two file systems, one in a file of the other, and their mounts.
//!
//! ```text
//! tmpfs ▸ outer.img ▸ ext4 ▸ inner.img ▸ ext4 ▸ the server's data
//!         what the disk    what the disk was sent,
//!         has durably      and may still lose
//! ```
//!
//! The outer file system's cache plays the cache of a disk: written but unflushed data of the inner one lies there,
//! in memory. A cut shuts the outer file system down by `EXT4_IOC_SHUTDOWN` without flushing its journal: from then
//! on nothing reaches `outer.img`. The data survives that was synced, or that the kernel wrote back by itself, by its
//! timers. Then the test mounts both again, and both replay their journals. The server's messages after the start of
//! a cut do not count.
//!
//! Not covered: a disk that tears a sector, or that lies about its flushes.
//!
//! Invariant: all mounts are below one temporary folder, in a mount namespace that is this process's
//! own, and are gone with it. It does not know what is stored.

use rustix::ioctl::{Setter, ioctl};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Bytes of the file system that the server writes to.
const INNER_BYTES: u64 = 384 << 20;
/// Bytes that the file system around it needs for itself.
const AROUND_BYTES: u64 = 64 << 20;
/// `_IOR('X', 125, u32)`: stops a file system of ext4.
const SHUTDOWN: u32 = 0x8004_587d;
/// With `SHUTDOWN`: without flushing the journal.
const NO_LOG_FLUSH: u32 = 2;
/// Set in the process that has a mount namespace of its own.
const INSIDE: &str = "ROOM_CRASH_INSIDE";

/// A disk, mounted.
pub(crate) struct Power {
    dir: TempDir,
    /// The mounts, in order.
    mounted: Vec<PathBuf>,
}

/// The place in which a test that cuts power can run.
pub(crate) enum Stage {
    /// In this process.
    Inside,
    /// In a process of its own, which has run it: true if it succeeded.
    Ran(bool),
    /// Not on this machine, with the reason.
    Nowhere(String),
}

/// Runs the test of this name in a process with a mount namespace of its own, unless this is the one.
pub(crate) fn stage(test: &str) -> Stage {
    if std::env::var_os(INSIDE).is_some() {
        return Stage::Inside;
    }
    if let Err(why) = able() {
        return Stage::Nowhere(why);
    }
    // Mounts in a namespace of its own end with the last process in it, whatever happens to it.
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"]);
    command.arg(exe).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    Stage::Ran(command.status().unwrap().success())
}

/// Checks whether this machine lets this process make disks, and returns the reason if it does not.
fn able() -> Result<(), String> {
    let try_run = |command: &mut Command| {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !Path::new("/dev/loop-control").exists() {
        return Err("there are no loop devices".to_owned());
    }
    if !try_run(Command::new("mkfs.ext4").arg("-V")) {
        return Err("there is no mkfs.ext4".to_owned());
    }
    let apart = ["--pdeathsig", "KILL", "unshare", "--mount", "true"];
    if !try_run(Command::new("setpriv").args(apart)) {
        return Err("this user may not mount, or setpriv and unshare are not there".to_owned());
    }
    Ok(())
}

impl Power {
    /// Makes both file systems and mounts them, below the run's folder.
    pub(crate) fn new(scratch: &Path) -> Self {
        let dir = tempfile::tempdir_in(scratch).unwrap();
        let mut this = Self { dir, mounted: Vec::new() };
        for name in ["ram", "outer", "inner"] {
            std::fs::create_dir(this.path(name)).unwrap();
        }
        let size = format!("size={}", INNER_BYTES + 2 * AROUND_BYTES);
        this.mount(&["-t", "tmpfs", "-o", &size], Path::new("tmpfs"), "ram");
        let image = File::create(this.outer_image()).unwrap();
        image.set_len(INNER_BYTES + AROUND_BYTES).unwrap();
        make_file_system(&this.outer_image());
        this.mount(&["-o", "loop"], &this.outer_image(), "outer");
        // Every block exists from the start, so the outer file system has nothing to allocate.
        let mut inner = File::create(this.inner_image()).unwrap();
        let mut zeros = std::io::Read::take(std::io::repeat(0), INNER_BYTES);
        std::io::copy(&mut zeros, &mut inner).unwrap();
        make_file_system(&this.inner_image());
        inner.sync_all().unwrap();
        this.mount(&["-o", "loop"], &this.inner_image(), "inner");
        this
    }

    /// Returns the folder for the server's data.
    pub(crate) fn mount_point(&self) -> PathBuf {
        self.path("inner")
    }

    /// Cuts the power. No write reaches the disk from here on.
    pub(crate) fn cut(&self) {
        shut_down(&self.path("outer"));
    }

    /// Mounts the surviving data again. No process may use the disk at this time.
    pub(crate) fn restore(&mut self) {
        self.unmount();
        self.unmount();
        self.mount(&["-o", "loop"], &self.outer_image(), "outer");
        self.mount(&["-o", "loop"], &self.inner_image(), "inner");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn outer_image(&self) -> PathBuf {
        self.path("ram").join("outer.img")
    }

    fn inner_image(&self) -> PathBuf {
        self.path("outer").join("inner.img")
    }

    fn mount(&mut self, options: &[&str], what: &Path, name: &str) {
        let path = self.path(name);
        run(Command::new("mount").args(options).args([what, &path]));
        self.mounted.push(path);
    }

    /// Unmounts the last mount.
    fn unmount(&mut self) {
        let path = self.mounted.pop().unwrap();
        run(Command::new("umount").arg(path));
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        // After a failure a process may still have a file open. A detached mount goes when that process closes it.
        for path in self.mounted.drain(..).rev() {
            drop(Command::new("umount").arg("--lazy").arg(path).status());
        }
    }
}

/// Makes a file system that writes nothing later by itself, and leaves no holes.
fn make_file_system(image: &Path) {
    let options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
    let plain = ["-q", "-F", "-m", "0", "-E", options].map(OsStr::new);
    run(Command::new("mkfs.ext4").args(plain).arg(image));
}

#[expect(unsafe_code, reason = "there is no safe way to ask a file system to stop")]
fn shut_down(mount_point: &Path) {
    let folder = File::open(mount_point).unwrap();
    // SAFETY: `SHUTDOWN` reads one u32 at the pointer, which is what `Setter` passes, and writes
    // nothing.
    let asked = unsafe { ioctl(folder, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) };
    asked.unwrap();
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}");
}
