//! A server of PostgreSQL for tests, and a way to it that can be broken. Owns its processes and its folder.
//!
//! Invariant: a server ends with the last test that uses it, and each test has a database of its own. It does not know
//! what is tested.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::DatabaseSettings;
use room_core::lock::lock;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tempfile::TempDir;

/// Where Debian's package has PostgreSQL's programs, below a folder for each version.
const PROGRAMS: &str = "/usr/lib/postgresql";
/// A user that owns nothing: PostgreSQL does not run as root.
const NOBODY: u32 = 65_534;
/// Time for a server to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two questions whether a server is ready.
const PAUSE: Duration = Duration::from_millis(20);

/// A server of PostgreSQL, which ends when this is dropped.
pub struct TestPostgres {
    process: Mutex<Child>,
    dir: TempDir,
    port: u16,
    databases: AtomicU32,
}

impl TestPostgres {
    /// Starts a server on a free port of the loopback address. `settings` are lines of `postgresql.conf`. It does not wait
    /// for the disk unless they say `fsync = on`.
    pub fn start(settings: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("room-postgres").tempdir().unwrap();
        if is_root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let data = dir.path().join("data");
        let made = program("initdb")
            .args([
                "--username=room",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "initdb failed");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let lines = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nfsync = off\nmax_connections = 200\n{settings}\n"
        );
        let file = data.join("postgresql.conf");
        fs::write(&file, lines).unwrap();
        if is_root() {
            chown(&file, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let server =
            Self { process: Mutex::new(launch(&data)), dir, port, databases: AtomicU32::new(0) };
        server.until_ready();
        server
    }

    /// Returns a server that all tests of this process share. It does not wait for the disk, and must not be killed.
    pub fn shared() -> Arc<Self> {
        static SERVER: Mutex<Weak<TestPostgres>> = Mutex::new(Weak::new());
        let mut server = lock(&SERVER);
        server.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Self::start(""));
            *server = Arc::downgrade(&started);
            started
        })
    }

    /// Returns its port on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database, and returns its URL.
    pub fn database(&self) -> String {
        let name = format!("room_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://room@127.0.0.1:{}/{name}?sslmode=disable", self.port)
    }

    /// Makes an empty database, and returns how to connect to it.
    pub fn settings(&self) -> DatabaseSettings {
        DatabaseSettings::parse(&self.database(), None).unwrap()
    }

    /// Runs a statement as the superuser, and returns what it prints.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let url = format!("postgres://room@127.0.0.1:{}/{database}", self.port);
        let ran = program("psql")
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
            ])
            .args(["--command", statement, &url])
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    }

    /// Stops the server at once, without an orderly end, as a crash does.
    pub fn kill(&self) {
        self.stop("immediate");
    }

    /// Starts the server again on its data, after [`TestPostgres::kill`].
    pub fn restart(&self) {
        *lock(&self.process) = launch(&self.dir.path().join("data"));
        self.until_ready();
    }

    fn stop(&self, mode: &str) {
        let data = self.dir.path().join("data");
        let stopped = program("pg_ctl")
            .args(["stop", "--mode", mode, "--pgdata"])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            drop(lock(&self.process).kill());
        }
        drop(lock(&self.process).wait());
    }

    fn until_ready(&self) {
        let port = self.port.to_string();
        for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
            let asked = program("pg_isready")
                .args(["--quiet", "--host=127.0.0.1", "--port", &port])
                .status()
                .unwrap();
            if asked.success() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("PostgreSQL does not start");
    }
}

impl Drop for TestPostgres {
    fn drop(&mut self) {
        self.stop("immediate");
    }
}

/// A way to a server that a test can break. It ends with the process.
pub struct TestProxy {
    port: u16,
    broken: Arc<BrokenWay>,
}

#[derive(Default)]
struct BrokenWay {
    loses_answers: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl TestProxy {
    /// Starts a proxy before the server on this port.
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let broken = Arc::<BrokenWay>::default();
        let way = broken.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is away refuses, and so does the proxy.
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let mut streams = lock(&way.streams);
                for (from, to, are_answers) in [(&client, &server, false), (&server, &client, true)]
                {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    streams.extend([from.try_clone().unwrap(), to.try_clone().unwrap()]);
                    let way = way.clone();
                    std::thread::spawn(move || pass_on(from, to, are_answers, &way));
                }
            }
        });
        Self { port, broken }
    }

    /// Returns its port on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Loses the server's answers from now on, or passes them on again.
    pub fn lose_answers(&self, loses: bool) {
        self.broken.loses_answers.store(loses, Ordering::SeqCst);
    }

    /// Breaks all connections. New ones are made.
    pub fn cut(&self) {
        for stream in lock(&self.broken.streams).drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, are_answers: bool, way: &BrokenWay) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let is_lost = are_answers && way.loses_answers.load(Ordering::SeqCst);
        if !is_lost && to.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}

fn launch(data: &Path) -> Child {
    program("postgres")
        .arg("-D")
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns a program of the newest version that is installed, to run as nobody if this process is root.
fn program(name: &str) -> Command {
    let mut versions: Vec<PathBuf> = fs::read_dir(PROGRAMS)
        .expect("PostgreSQL is missing: install Debian's package `postgresql`")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("bin/postgres").exists())
        .collect();
    versions.sort_by_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.parse::<u32>().unwrap_or_default()
    });
    let newest =
        versions.pop().expect("PostgreSQL is missing: install Debian's package `postgresql`");
    let mut command = Command::new(newest.join("bin").join(name));
    command.current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
