//! The fastest baseline: frames parsed by hand, on one thread. Owns its connections and rooms.
//!
//! Invariant: all readable bytes are parsed at once, and all their answers are written with one call for each
//! connection. It speaks the echo and cast parts of `rooms-examples/bench`, and with a folder its increments: the
//! waiting ones become one batch of sled's, followed by the flush and the fsync that the runtime trusts. It does not
//! know who loads it.

use crate::frames::{Received, answer, received};
use anyhow::{Context, Result, bail};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};

const READ_BYTES: usize = 256 * 1024;
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The answer to the one key that the load sends.
const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
    connection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A connection, and the bytes that the kernel has not taken.
struct Conn {
    tcp: TcpStream,
    out: RefCell<Vec<u8>>,
    flushes: Cell<bool>,
}

/// An increment that is not on the disk.
struct Increment {
    conn: Rc<Conn>,
    room: String,
    number: u64,
    count: u64,
}

struct Server {
    rooms: RefCell<HashMap<String, Vec<Rc<Conn>>>>,
    scratch: RefCell<Vec<u8>>,
    counts: RefCell<HashMap<String, u64>>,
    waiting: RefCell<Vec<Increment>>,
    more: Notify,
}

/// Serves on a free port, which it prints, until the process is killed.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn serve(folder: Option<PathBuf>) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    let server = Rc::new(Server {
        rooms: RefCell::default(),
        scratch: RefCell::new(vec![0; READ_BYTES]),
        counts: RefCell::default(),
        waiting: RefCell::default(),
        more: Notify::new(),
    });
    let serving = async {
        let committing = server.clone();
        let commits = async move {
            match folder {
                Some(folder) => committing.commit(&folder).await,
                None => std::future::pending().await,
            }
        };
        let accepting = async {
            loop {
                let (tcp, _) = listener.accept().await?;
                tcp.set_nodelay(true)?;
                let server = server.clone();
                // The load reports a connection that breaks off.
                spawn_local(async move { drop(server.run(tcp).await) });
            }
        };
        tokio::select! {
            ended = commits => ended,
            ended = accepting => ended,
        }
    };
    LocalSet::new().run_until(serving).await
}

impl Server {
    /// Serves one connection to its end.
    async fn run(&self, tcp: TcpStream) -> Result<()> {
        let conn = Conn { tcp, out: RefCell::default(), flushes: Cell::new(false) };
        let conn = Rc::new(conn);
        let mut bytes = Vec::new();
        let room = loop {
            self.fill(&conn, &mut bytes).await?;
            if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                let line = bytes.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
                let room = String::from_utf8_lossy(line).into_owned();
                bytes.drain(..end + 4);
                break room;
            }
            if bytes.len() > HEAD_BYTES_MAX {
                bail!("this head has no end");
            }
        };
        conn.out.borrow_mut().extend_from_slice(UPGRADED);
        answer(&mut conn.out.borrow_mut(), br#"{"t":"hello"}"#);
        self.rooms.borrow_mut().entry(room.clone()).or_default().push(conn.clone());
        conn.write();
        let ended = self.listen(&conn, &room, bytes).await;
        let mut rooms = self.rooms.borrow_mut();
        if let Some(members) = rooms.get_mut(&room) {
            members.retain(|member| !Rc::ptr_eq(member, &conn));
            if members.is_empty() {
                rooms.remove(&room);
            }
        }
        ended
    }

    async fn listen(&self, conn: &Rc<Conn>, room: &str, mut bytes: Vec<u8>) -> Result<()> {
        loop {
            let (mut at, mut is_cast) = (0, false);
            while let Some((frame, length)) = received(&mut bytes[at..])? {
                at += length;
                match frame {
                    Received::Close => {
                        conn.out.borrow_mut().extend_from_slice(&[0x88, 2, 3, 232]);
                        conn.write();
                        return Ok(());
                    }
                    Received::Text(body) if body.starts_with(br#"{"t":"cast""#) => {
                        is_cast = true;
                        for member in self.rooms.borrow().get(room).into_iter().flatten() {
                            answer(&mut member.out.borrow_mut(), body);
                        }
                    }
                    Received::Text(body) if body.starts_with(br#"{"t":"incr""#) => {
                        self.increment(conn, room, body)?;
                    }
                    Received::Text(body) => answer(&mut conn.out.borrow_mut(), body),
                }
            }
            bytes.drain(..at);
            if is_cast {
                let rooms = self.rooms.borrow();
                rooms.get(room).into_iter().flatten().for_each(|member| member.write());
            }
            conn.write();
            self.fill(conn, &mut bytes).await?;
        }
    }

    /// Waits for more bytes.
    async fn fill(&self, conn: &Conn, bytes: &mut Vec<u8>) -> Result<()> {
        loop {
            conn.tcp.readable().await?;
            let mut scratch = self.scratch.borrow_mut();
            match conn.tcp.try_read(&mut scratch) {
                Ok(0) => bail!("the client has disconnected"),
                Ok(count) => {
                    bytes.extend_from_slice(&scratch[..count]);
                    return Ok(());
                }
                Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                Err(err) => return Err(err.into()),
            }
        }
    }

    fn increment(&self, conn: &Rc<Conn>, room: &str, body: &[u8]) -> Result<()> {
        let asked: serde_json::Value = serde_json::from_slice(body)?;
        let number = asked["s"].as_u64().unwrap_or_default();
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(room.to_owned()).or_default();
        *count += 1;
        let (conn, room, count) = (conn.clone(), room.to_owned(), *count);
        self.waiting.borrow_mut().push(Increment { conn, room, number, count });
        self.more.notify_one();
        Ok(())
    }

    /// Makes waiting increments durable, over and over. Those that come during a commit are the next batch.
    async fn commit(&self, folder: &Path) -> Result<()> {
        let db = sled::Config::new().path(folder).flush_every_ms(None).open()?;
        let log = std::sync::Arc::new(File::open(folder.join("db")).context("sled has no log")?);
        loop {
            let increments = self.waiting.take();
            if increments.is_empty() {
                self.more.notified().await;
                continue;
            }
            let mut batch = sled::Batch::default();
            for Increment { room, count, .. } in &increments {
                batch.insert(room.as_bytes(), count.to_string().as_bytes());
            }
            let (db, log) = (db.clone(), log.clone());
            spawn_blocking(move || {
                db.apply_batch(batch)?;
                db.flush()?;
                anyhow::Ok(log.sync_data()?)
            })
            .await??;
            for Increment { conn, number, count, .. } in &increments {
                let text = format!(r#"{{"t":"count","s":{number},"n":{count}}}"#);
                answer(&mut conn.out.borrow_mut(), text.as_bytes());
            }
            increments.iter().for_each(|increment| increment.conn.write());
        }
    }
}

impl Conn {
    /// Writes the waiting bytes, and later those that the kernel does not take now.
    fn write(self: &Rc<Self>) {
        if self.flushes.get() || !self.write_some() {
            return;
        }
        self.flushes.set(true);
        let conn = self.clone();
        spawn_local(async move {
            while conn.tcp.writable().await.is_ok() && conn.write_some() {}
            conn.flushes.set(false);
        });
    }

    /// Returns true if some are left.
    fn write_some(&self) -> bool {
        let mut out = self.out.borrow_mut();
        if out.is_empty() {
            return false;
        }
        match self.tcp.try_write(&out) {
            Ok(count) => drop(out.drain(..count)),
            Err(err) if err.kind() == ErrorKind::WouldBlock => {}
            // The reader reports the error.
            Err(_) => out.clear(),
        }
        !out.is_empty()
    }
}
