//! The memory and processor time of a server's process. Owns the reading of `/proc`.
//!
//! Invariant: a figure is of the named process, at one moment. It does not know what the process does.

use anyhow::{Context, Result};

/// The parts of a second in which the kernel counts processor time, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The memory of a process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Held {
    /// Memory that is resident, in bytes; a page that is mapped more than once counts once. The kernel's `VmRSS`
    /// counts the image of a module once for each room.
    pub(crate) resident: f64,
    /// Address space that is reserved, in bytes.
    pub(crate) reserved: f64,
    /// Mappings. The kernel allows `vm.max_map_count` of them.
    pub(crate) mappings: f64,
}

impl Held {
    /// Reads the memory of a process.
    ///
    /// # Errors
    /// There is no such process, or it is another user's.
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

    /// Returns by how much the resident memory has grown, for each of `count`, in bytes.
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

/// Returns the number of open files of a process, including its connections.
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

/// Returns user and system time from a process's `stat`. Its second word may have anything in its brackets.
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
    fn memory_files_of_the_kernel_are_parsed() {
        assert_eq!(kib("Name:\tx\nVmRSS:\t    2048 kB\n", "VmRSS:"), Some(2_048.0));
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0";
        assert_eq!(ticks(stat), Some(42.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_resident_memory() {
        let held = Held::of(std::process::id()).unwrap();
        assert!(held.resident > 0.0 && held.reserved >= held.resident && held.mappings > 1.0);
    }
}
