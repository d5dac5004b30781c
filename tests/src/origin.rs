//! A server that rooms send requests to. Owns what it received.
//!
//! Invariant: each request is noted before it is answered. It speaks as much HTTP/1.1 as the tests need, one request a
//! connection, and does not know rooms.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A request that the server received.
#[derive(Clone, Debug)]
pub struct Received {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path with the query.
    pub path: String,
    /// With names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Received {
    /// Returns the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Returns the bytes of a response for a request, and the number of requests before it.
type AnswerFn = dyn Fn(&Received, usize) -> Option<String> + Send + Sync;

/// A server on loopback. It stops when it is dropped.
pub struct Origin {
    addr: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Origin {
    /// Starts a server that answers each request with these bytes, which are a whole response; `None` is no answer: the
    /// connection closes. `answer` gets the request and how many came before it.
    pub async fn start(
        answer: impl Fn(&Received, usize) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let (open, _) = watch::channel(true);
        Self::behind(open.subscribe(), answer).await
    }

    /// Starts a server that answers as with [`Origin::start`], but only while the gate is open.
    pub async fn behind(
        gate: watch::Receiver<bool>,
        answer: impl Fn(&Received, usize) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer) = (received.clone(), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, answer, gate) = (noted.clone(), answer.clone(), gate.clone());
                tokio::spawn(async move { serve(stream, &noted, (gate, &*answer)).await });
            }
        });
        Self { addr, received, task }
    }

    /// Starts a server that answers each request with this status and text.
    pub async fn of(status: u16, text: &'static str) -> Self {
        Self::start(move |_, _| Some(response(status, text))).await
    }

    /// Returns the URL of a path on the server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Returns the host as a project lists it.
    pub fn host(&self) -> String {
        self.addr.to_string()
    }

    /// Returns what the server received so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

/// Returns a whole response with a body of text.
pub fn response(status: u16, text: &str) -> String {
    format!("HTTP/1.1 {status} status\r\ncontent-length: {}\r\n\r\n{text}", text.len())
}

async fn serve(
    mut stream: TcpStream,
    noted: &Mutex<Vec<Received>>,
    (mut gate, answer): (watch::Receiver<bool>, &AnswerFn),
) {
    let Some(request) = read(&mut stream).await else { return };
    let before = {
        let mut noted = noted.lock().unwrap();
        noted.push(request.clone());
        noted.len() - 1
    };
    // A gate without an owner stays as it is.
    drop(gate.wait_for(|open| *open).await);
    if let Some(response) = answer(&request, before) {
        // A client that has left misses it.
        drop(stream.write_all(response.as_bytes()).await);
        drop(stream.shutdown().await);
    }
}

async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    Some(Received { method, path, headers, body })
}
