//! The memory of a server's process. Owns the way from an address to a process of this machine.
//!
//! Invariant: a figure is of the process that listens there, or there is a reason why there is no figure. It does not
//! know what the memory is for.

use serde::Serialize;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;

/// The cost of idle connections to the server's process.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Held {
    /// The memory could be read.
    Known {
        /// The process.
        pid: u32,
        /// Its resident memory with the first connections.
        before_bytes: u64,
        /// Its resident memory with all of them.
        after_bytes: u64,
        /// The number of connections that came in between.
        connections: u64,
        /// The difference, for each.
        per_connection_bytes: i64,
    },
    /// The memory could not be read.
    Unknown {
        /// The reason.
        unknown: String,
    },
}

impl Held {
    /// Returns the figure for the connections that came between two readings.
    pub(crate) fn between(
        before: &Result<Resident, String>,
        after: &Result<Resident, String>,
        connections: u64,
    ) -> Self {
        let (before, after) = match (before, after) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(why), _) | (_, Err(why)) => return Self::Unknown { unknown: why.clone() },
        };
        if before.pid != after.pid || connections == 0 {
            let unknown = "the server restarted during the run, or there were too few".to_owned();
            return Self::Unknown { unknown };
        }
        let grown = i64::try_from(after.bytes).unwrap_or(i64::MAX)
            - i64::try_from(before.bytes).unwrap_or(i64::MAX);
        Self::Known {
            pid: after.pid,
            before_bytes: before.bytes,
            after_bytes: after.bytes,
            connections,
            per_connection_bytes: grown / i64::try_from(connections).unwrap_or(i64::MAX),
        }
    }

    /// Returns the figure in words.
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Unknown { unknown } => format!("the server's memory is not known: {unknown}"),
            Self::Known { pid, before_bytes, after_bytes, connections, per_connection_bytes } => {
                let kib = |bytes: f64| bytes / 1_024.0;
                format!(
                    "{:.1} KiB a connection: process {pid} went from {:.1} to {:.1} MiB with {connections} more",
                    kib(*per_connection_bytes as f64),
                    kib(*before_bytes as f64) / 1_024.0,
                    kib(*after_bytes as f64) / 1_024.0,
                )
            }
        }
    }
}

/// A process's memory at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Resident {
    pid: u32,
    bytes: u64,
}

/// Reads the memory of the process that the user named, or that listens at an address.
///
/// # Errors
/// The reason why that is not possible.
pub(crate) fn resident(addr: SocketAddr, pid: Option<u32>) -> Result<Resident, String> {
    if !Path::new("/proc/self/status").exists() {
        return Err("this system has no /proc".to_owned());
    }
    let pid = match pid {
        Some(pid) => pid,
        None => listener(addr)?,
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .map_err(|err| format!("process {pid} cannot be read: {err}"))?;
    let bytes = rss(&status).ok_or_else(|| format!("process {pid} reports no memory"))?;
    Ok(Resident { pid, bytes })
}

/// Returns the resident memory in a process's status.
fn rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1_024)
}

/// Returns the process that listens at an address.
fn listener(addr: SocketAddr) -> Result<u32, String> {
    if !is_ours(addr.ip()) {
        return Err(format!("{} is another machine", addr.ip()));
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).ok());
    let inodes: Vec<String> =
        tables.iter().flatten().flat_map(|table| listening(table, addr.port())).collect();
    if inodes.is_empty() {
        return Err(format!("no process here listens on port {}", addr.port()));
    }
    let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").map_err(|err| format!("/proc cannot be read: {err}"))?;
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found = pids.filter(|pid: &u32| {
        // The files of other users' processes cannot be seen.
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|link| {
            link.to_str().is_some_and(|link| sockets.iter().any(|socket| socket == link))
        })
    });
    found.next().ok_or_else(|| {
        format!("the process on port {} belongs to another user; name it with --pid", addr.port())
    })
}

/// Returns the inodes of the sockets that listen on a port, from a table of the kernel.
fn listening(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let rows = table.lines().skip(1).filter_map(|row| {
        let words: Vec<&str> = row.split_whitespace().collect();
        let [_, local, _, state, _, _, _, _, _, inode, ..] = words[..] else { return None };
        let (_, hex) = local.rsplit_once(':')?;
        let is_it = state == LISTEN && u16::from_str_radix(hex, 16) == Ok(port);
        is_it.then(|| inode.to_owned())
    });
    rows.collect()
}

/// Returns true if an address is one of this machine: a process can listen only at those.
fn is_ours(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_tables_of_the_kernel_are_parsed() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:07CF 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0\n\
            1: 0100007F:07CF 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4343 1 0 100 0 0 10 0\n\
            2: 0100007F:07D0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4444 1 0 100 0 0 10 0\n";
        assert_eq!(listening(table, 1999), ["4242"]);
        assert!(listening("nonsense", 1999).is_empty());
        assert_eq!(rss("Name:\troom\nVmRSS:\t    2048 kB\n"), Some(2_097_152));
        assert_eq!(rss("Name:\troom\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_listening_process_is_found_and_a_missing_one_gets_a_reason() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let found = resident(addr, None).unwrap();
        assert_eq!(found.pid, std::process::id());
        assert!(found.bytes > 0);
        drop(listener);
        assert!(resident(addr, None).unwrap_err().contains("no process here listens"));
        let away = resident("192.0.2.1:80".parse().unwrap(), None).unwrap_err();
        assert_eq!(away, "192.0.2.1 is another machine");
    }

    #[test]
    fn cost_per_connection_is_the_difference_of_two_readings() {
        let at = |bytes| Ok(Resident { pid: 7, bytes });
        let held = Held::between(&at(1 << 20), &at(2 << 20), 128);
        let told = held.described();
        assert_eq!(told, "8.0 KiB a connection: process 7 went from 1.0 to 2.0 MiB with 128 more");
        let unknown = Held::between(&Err("no".to_owned()), &at(1), 1).described();
        assert_eq!(unknown, "the server's memory is not known: no");
    }
}
