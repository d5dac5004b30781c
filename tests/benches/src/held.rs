//! What a server's process holds and has used. Owns the reading of `/proc`.
//!
//! Invariant: a figure is of the process that was named, at one moment. It does not know what the
//! process does.

use anyhow::{Context, Result};

/// In how many parts of a second the kernel tells processor time, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Held {
    /// Memory that is resident, in bytes; a page that is mapped more than once counts once. The kernel's `VmRSS`
    /// counts the image of a module once for each room.
    pub(crate) resident: f64,
    /// Address space that is reserved, in bytes.
    pub(crate) reserved: f64,
    /// Mappings, of which the kernel allows `vm.max_map_count`.
    pub(crate) mappings: f64,
}

impl Held {
    /// Looks at a process.
    ///
    /// # Errors
    /// There is none, or it is another user's.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let bytes = |file, name| -> Result<f64> {
            let kib = kib(&read(pid, file)?, name).with_context(|| format!("{file} lacks {name}"));
            Ok(kib? * 1_024.0)
        };
        Ok(Self {
            resident: bytes("smaps_rollup", "Pss:")?,
            reserved: bytes("status", "VmSize:")?,
            mappings: read(pid, "maps")?.lines().count() as f64,
        })
    }

    /// Returns how much more is resident than was before, for each of so many, in bytes.
    pub(crate) fn each(self, before: Self, count: usize) -> f64 {
        (self.resident - before.resident) / count as f64
    }
}

/// Returns the processor time that a process has used, in seconds.
///
/// # Errors
/// As [`Held::of`].
pub(crate) fn used(pid: u32) -> Result<f64> {
    let stat = read(pid, "stat")?;
    Ok(ticks(&stat).context("a process has its times")? / TICKS_PER_SECOND)
}

/// Returns how many files a process has open, its connections among them.
///
/// # Errors
/// As [`Held::of`].
pub(crate) fn files(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))
}

fn kib(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// User and system time of a process's `stat`, whose second word may have anything in its brackets.
fn ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace().skip(11);
    let mut next = || words.next()?.parse::<f64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_kernel_are_read() {
        assert_eq!(kib("Name:\tx\nVmRSS:\t    2048 kB\n", "VmRSS:"), Some(2_048.0));
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0";
        assert_eq!(ticks(stat), Some(42.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_holds_something() {
        let held = Held::of(std::process::id()).unwrap();
        assert!(held.resident > 0.0 && held.reserved >= held.resident && held.mappings > 1.0);
    }
}
