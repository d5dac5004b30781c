//! A database, wires, and the processes of nodes. Owns their start and their end.
//!
//! Invariant: every process ends with the test, and every wait has an end. It does not know what is tested.

use crate::wire::Wire;
use room_database::shard_of;
use room_database::testing::TestPostgres;
use room_runtime::server::BlobId;
use room_runtime::{PartyName, RoomId};
use room_tests::{Reply, guest};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Duration, timeout};

/// How long a test waits for a condition before it fails. It bounds and does not measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The key of the clusters of tests.
pub(crate) const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// One cluster of a test runs at a time: there are few processors, and leases are short.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A cluster.
pub(crate) struct Cluster {
    pub(crate) postgres: TestPostgres,
    /// The URL of the database, past the wires.
    pub(crate) url: String,
    pub(crate) nodes: Vec<NodeProcess>,
    token: OnceLock<String>,
    scratch: tempfile::TempDir,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

/// One node, which need not run.
pub(crate) struct NodeProcess {
    pub(crate) name: String,
    listen: SocketAddr,
    admin: SocketAddr,
    /// The way of the other nodes to this one.
    pub(crate) from_others: Wire,
    /// The way of this node to the database.
    pub(crate) to_database: Wire,
    url: String,
    folder: PathBuf,
    child: Option<Child>,
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, asking).await.is_ok(), "waited too long for {what}");
}

/// Returns an address that nobody uses at this moment.
async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Sends a request, and returns the answer; `None` if it does not come.
pub(crate) async fn ask(
    addr: SocketAddr,
    (method, path): (&str, &str),
    token: &str,
    body: &[u8],
) -> Option<Reply> {
    let exchange = async {
        let mut tcp = TcpStream::connect(addr).await.ok()?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        tcp.write_all(&[head.as_bytes(), body].concat()).await.ok()?;
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).await.ok()?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let rest = answer.split_off(end + 4);
        Some(Reply::of(&String::from_utf8_lossy(&answer), rest))
    };
    timeout(PATIENCE, exchange).await.ok()?
}

impl Cluster {
    /// Starts a cluster of nodes with these names.
    pub(crate) async fn start(names: &[&str]) -> Self {
        let alone = ALONE.lock().await;
        let postgres = tokio::task::block_in_place(|| TestPostgres::start(""));
        let url = tokio::task::block_in_place(|| postgres.database());
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("key"), KEY).unwrap();
        let (nodes, token) = (Vec::new(), OnceLock::new());
        let mut cluster = Self { postgres, url, nodes, token, scratch, _alone: alone };
        for name in names {
            cluster.add(name).await;
        }
        cluster
    }

    /// Adds a node, and starts it.
    pub(crate) async fn add(&mut self, name: &str) {
        let (listen, admin) = (free().await, free().await);
        let node = NodeProcess {
            name: name.to_owned(),
            listen,
            admin,
            from_others: Wire::to(listen).await,
            to_database: Wire::to(address_in(&self.url)).await,
            url: self.url.clone(),
            folder: self.scratch.path().join(name),
            child: None,
        };
        std::fs::create_dir_all(&node.folder).unwrap();
        self.nodes.push(node);
        self.launch(name).await;
    }

    /// Starts a node that does not run, and waits until it is a member that serves.
    pub(crate) async fn launch(&mut self, name: &str) {
        let key = self.scratch.path().join("key");
        let at = self.at(name);
        let mut stdout = self.nodes[at].launch(&key).await;
        if self.token.get().is_none() {
            let mut line = String::new();
            timeout(PATIENCE, stdout.read_line(&mut line)).await.unwrap().unwrap();
            self.token.set(line.trim().to_owned()).unwrap();
        }
        let (node, token) = (&self.nodes[at], self.token());
        until("a node to be ready", async || node.is_ready().await).await;
        until("a node to be a member", async || {
            let nodes = node.ask(token, "GET", "nodes", b"").await;
            let nodes = nodes.filter(|reply| reply.status == 200).map(|reply| reply.json());
            nodes.is_some_and(|nodes| {
                named(&nodes, name).is_some_and(|own| own["draining"] == false)
            })
        })
        .await;
    }

    pub(crate) fn node(&self, name: &str) -> &NodeProcess {
        &self.nodes[self.at(name)]
    }

    pub(crate) fn node_mut(&mut self, name: &str) -> &mut NodeProcess {
        let at = self.at(name);
        &mut self.nodes[at]
    }

    fn at(&self, name: &str) -> usize {
        self.nodes.iter().position(|node| node.name == name).unwrap()
    }

    /// Returns a node that runs.
    pub(crate) fn any(&self) -> &NodeProcess {
        self.nodes.iter().find(|node| node.child.is_some()).unwrap()
    }

    pub(crate) fn token(&self) -> &str {
        self.token.get().unwrap()
    }

    /// Returns the clients' addresses of all nodes.
    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(NodeProcess::addr).collect()
    }

    /// Sends an operator's request to a node, which must succeed.
    pub(crate) async fn good(&self, node: &str, method: &str, path: &str, body: Value) -> Value {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let reply = self.node(node).ask(self.token(), method, path, &body).await.unwrap();
        assert_eq!(reply.status, 200, "{method} {path}: {}\n{}", reply.text(), self.logs());
        reply.json()
    }

    /// Uploads a guest of tests and a page to a node, and returns the release.
    pub(crate) async fn release(&self, node: &str, module: &str, version: &str) -> Value {
        let (module, page) = (guest(module), version.as_bytes());
        let mut ids = Vec::new();
        for bytes in [&module[..], page] {
            let id = BlobId::of(bytes).to_string();
            let path = format!("blobs/{id}");
            let reply = self.node(node).ask(self.token(), "PUT", &path, bytes).await.unwrap();
            assert_eq!(reply.status, 200, "{}", reply.text());
            ids.push(id);
        }
        json!({
            "parties": [{"name": "main", "module": ids[0]}],
            "assets": [{"path": "index.html", "blob": ids[1]}],
            "vars": {"VERSION": version},
        })
    }

    /// Deploys a guest of tests as the project `chat` over a node, and waits until all running nodes serve it.
    pub(crate) async fn deploy(&self, node: &str, module: &str, version: &str) {
        let release = self.release(node, module, version).await;
        self.good(node, "POST", "projects/chat/deploy", release).await;
        self.all_serve(version).await;
    }

    /// Waits until all running nodes serve the page of a version.
    pub(crate) async fn all_serve(&self, version: &str) {
        for node in self.nodes.iter().filter(|node| node.child.is_some()) {
            until("a node to serve the new version", async || {
                let reply = ask(node.listen, ("GET", "/"), "", b"").await;
                reply.is_some_and(|reply| reply.text() == version)
            })
            .await;
        }
    }

    /// Runs a statement in the cluster's database.
    pub(crate) fn sql(&self, statement: &str) -> String {
        let database = self.url.rsplit('/').next().unwrap().split('?').next().unwrap();
        tokio::task::block_in_place(|| self.postgres.sql(database, statement))
    }

    /// Returns the live node that has a room of the project `chat`, by the database.
    pub(crate) fn owner(&self, room: &str) -> Option<String> {
        let id = RoomId::new(PartyName::parse("main").unwrap(), room, 256).unwrap();
        let shard = shard_of("chat", &id);
        let name = self.sql(&format!(
            "SELECT name FROM room.nodes n JOIN room.shards s USING (incarnation) WHERE s.shard = {shard} AND n.alive"
        ));
        Some(name).filter(|name| !name.is_empty())
    }

    /// Waits until a live node other than this one has a room, and returns its name.
    pub(crate) async fn moved_from(&self, node: &str, room: &str) -> String {
        let mut owner = None;
        until("another node to have the room", async || {
            owner = self.owner(room).filter(|owner| owner != node);
            owner.is_some()
        })
        .await;
        owner.unwrap()
    }

    /// Returns the last lines of what the nodes said, to explain a failure.
    pub(crate) fn logs(&self) -> String {
        let said = self.nodes.iter().map(|node| {
            let text = node.said();
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            format!("--- {}\n{}", node.name, last.join("\n"))
        });
        said.collect::<Vec<_>>().join("\n")
    }
}

impl NodeProcess {
    /// Starts the process, and waits until it is ready. Returns what it prints: the first node prints a token.
    async fn launch(&mut self, key: &Path) -> BufReader<ChildStdout> {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let url = through(&self.url, self.to_database.addr);
        let mut command = room();
        command
            .args(["serve", "--drain-seconds", "1", "--data"])
            .arg(self.folder.join("data"))
            .args(["--listen", &self.listen.to_string(), "--admin", &self.admin.to_string()])
            .args(["--node", &self.name, "--advertise", &self.from_others.addr.to_string()])
            .args(["--cluster", &url, "--cluster-key"])
            .arg(key)
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        self.child = Some(child);
        until("a node to be ready", async || self.is_ready().await || self.has_ended()).await;
        assert!(!self.has_ended(), "the node {} did not start:\n{}", self.name, self.said());
        stdout
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Returns what the node has said.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// Returns the clients' address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.listen
    }

    /// Returns the operators' address.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    async fn is_ready(&self) -> bool {
        let reply = ask(self.admin, ("GET", "/_room/ready"), "", b"").await;
        reply.is_some_and(|reply| reply.status == 200)
    }

    /// Sends an operator's request.
    pub(crate) async fn ask(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Option<Reply> {
        ask(self.admin, (method, &format!("/_room/admin/{path}")), token, body).await
    }

    /// Kills the process, as a machine that loses its power.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.start_kill().unwrap();
        child.wait().await.unwrap();
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id().unwrap();
        let pid = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Stops the process in an orderly way, and returns whether it succeeded.
    pub(crate) async fn stop(&mut self) -> bool {
        self.signal(Signal::TERM);
        let mut child = self.child.take().unwrap();
        timeout(PATIENCE, child.wait()).await.unwrap().unwrap().success()
    }
}

/// Returns the command under test, without what the environment says about rooms.
pub(crate) fn room() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_room"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROOM_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Returns the node of this name in an answer about all nodes.
pub(crate) fn named<'a>(nodes: &'a Value, name: &str) -> Option<&'a Value> {
    nodes["nodes"].as_array()?.iter().find(|node| node["name"] == name)
}

/// Returns the address in the URL of a database of tests.
fn address_in(url: &str) -> SocketAddr {
    let rest = url.split_once('@').unwrap().1;
    rest.split_once('/').unwrap().0.parse().unwrap()
}

/// Returns the URL of a database at another address.
pub(crate) fn through(url: &str, addr: SocketAddr) -> String {
    url.replace(&address_in(url).to_string(), &addr.to_string())
}
