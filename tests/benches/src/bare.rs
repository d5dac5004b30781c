//! The baseline: axum's WebSocket in its simplest use. Owns a map of rooms.
//!
//! Invariant: it speaks the echo and cast parts of `rooms-examples/bench`, with neither wasm nor storage nor any
//! promise. It does not know who loads it.

use anyhow::Result;
use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use room_runtime::lock::lock;
use serde::Deserialize;
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Frames that wait for one member; a member that is further behind loses frames.
const QUEUE: usize = 1_024;

type Members = Vec<mpsc::Sender<Utf8Bytes>>;
type Rooms = Arc<Mutex<HashMap<String, Members>>>;

#[derive(Deserialize)]
struct Tag<'a> {
    t: &'a str,
}

/// Serves on a free port, which it prints, until the process is killed.
#[tokio::main]
pub(crate) async fn serve() -> Result<()> {
    let router =
        Router::new().route("/parties/{party}/{room}", any(open)).with_state(Rooms::default());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    Ok(axum::serve(
        axum::serve::ListenerExt::tap_io(listener, |tcp| {
            // A socket that refuses the option is served all the same.
            let _ = tcp.set_nodelay(true);
        }),
        router,
    )
    .await?)
}

async fn open(
    Path((_, room)): Path<(String, String)>,
    State(rooms): State<Rooms>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(move |socket| run(socket, room, rooms))
}

async fn run(socket: WebSocket, room: String, rooms: Rooms) {
    let (queue, mut queued) = mpsc::channel(QUEUE);
    lock(&rooms).entry(room.clone()).or_default().push(queue);
    let (mut sink, mut stream) = socket.split();
    if sink.send(Message::Text("{\"t\":\"hello\"}".into())).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            Some(text) = queued.recv() => if sink.send(Message::Text(text)).await.is_err() {
                return;
            },
            frame = stream.next() => {
                let Some(Ok(Message::Text(text))) = frame else { return };
                match serde_json::from_str::<Tag<'_>>(&text) {
                    Ok(Tag { t: "cast" }) => {
                        let rooms = lock(&rooms);
                        for member in rooms.get(&room).into_iter().flatten() {
                            // A full queue loses the frame, which the load would notice.
                            let _ = member.try_send(text.clone());
                        }
                    }
                    _ => if sink.send(Message::Text(text)).await.is_err() {
                        return;
                    },
                }
            }
        }
    }
}
