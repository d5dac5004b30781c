//! A server on loopback that answers with given bytes, whatever it is asked.

use super::hosts;
use room_core::config::FetchHosts;
use room_core::lock::lock;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// What the server does after its answer.
#[derive(Clone)]
pub(super) enum Then {
    /// It closes the connection.
    Close,
    /// It sends nothing more, and keeps the connection.
    Hang,
    /// It sends these bytes again and again.
    Repeat(Vec<u8>),
    /// It answers the next request in the same way.
    Next,
    /// It closes the connection when the next request has arrived, and answers that one over another connection.
    NextButOne,
}

/// Returns the bytes for a request, which it gets as text.
type PeerAnswer = dyn Fn(&str) -> Vec<u8> + Send + Sync;

/// The server. It stops when it is dropped.
pub(super) struct Peer {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
}

impl Peer {
    /// Returns a server that answers each request with these bytes.
    pub(super) async fn answering(answer: &[u8], then: Then) -> Self {
        let answer = answer.to_vec();
        Self::routing(move |_| answer.clone(), then).await
    }

    /// Returns a server that answers each request, which it gets as text, with bytes.
    pub(super) async fn routing(
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
        then: Then,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (shown, counted) = (seen.clone(), connections.clone());
        let answer: Arc<PeerAnswer> = Arc::new(answer);
        let serving = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (answer, then, shown) = (answer.clone(), then.clone(), shown.clone());
                tasks.spawn(async move { converse(stream, &*answer, then, &shown).await });
            }
        });
        Self { addr, seen, connections, _serving: AbortOnDropHandle::new(serving) }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// Returns a list with this server alone.
    pub(super) fn hosts(&self) -> FetchHosts {
        hosts(&[&self.addr.to_string()])
    }

    /// Returns the requests that arrived.
    pub(super) fn seen(&self) -> Vec<String> {
        lock(&self.seen).clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Answers the requests of one connection. An error is the client's end of it.
pub(super) async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &PeerAnswer,
    then: Then,
    seen: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut answered = false;
    loop {
        let request = read(&mut stream).await?;
        lock(seen).push(request.clone());
        if answered && matches!(then, Then::NextButOne) {
            return None;
        }
        stream.write_all(&answer(&request)).await.ok()?;
        stream.flush().await.ok()?;
        answered = true;
        match &then {
            Then::Close => {
                stream.shutdown().await.ok()?;
                // A reset would overtake the answer.
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.ok()?;
                return None;
            }
            Then::Hang => std::future::pending().await,
            Then::Repeat(bytes) => loop {
                stream.write_all(bytes).await.ok()?;
                tokio::task::yield_now().await;
            },
            Then::Next | Then::NextButOne => {}
        }
    }
}

/// Returns one request with its body; `None` if the connection ends.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&request).into_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8_lossy(&body))
}
