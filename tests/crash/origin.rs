//! The server that rooms fetch from. Owns what it received, which outlives every crash.
//!
//! Invariant: a request is noted before it is answered. While the machine of the rooms has no power nothing is noted or
//! answered. It does not know which requests there should be.

use crate::audit::{Hook, Receipt};
use crate::load::Words;
use room_tests::{Origin, Received, Requests, response, within};
use std::sync::{Arc, Mutex};

/// The path of requests that are answered always, and never noted.
const PROBE: &str = "/probe";

/// A server that rooms post to `/ROOM/ID`, and that gets the project's webhooks.
pub(crate) struct Target {
    server: Origin,
    heard: Arc<Mutex<HeardRequests>>,
}

#[derive(Default)]
struct HeardRequests {
    receipts: Vec<Receipt>,
    hooks: Vec<Hook>,
    deaf: bool,
}

impl Target {
    pub(crate) async fn start() -> Self {
        let heard: Arc<Mutex<HeardRequests>> = Arc::default();
        let notes = heard.clone();
        let server = Origin::start(move |request, _| notes.lock().unwrap().note(request)).await;
        Self { server, heard }
    }

    /// Returns the host as a project lists it.
    pub(crate) fn host(&self) -> String {
        self.server.host()
    }

    /// Returns everything that was received so far.
    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        self.heard.lock().unwrap().receipts.clone()
    }

    /// Returns every webhook that was received so far.
    pub(crate) fn hooks(&self) -> Vec<Hook> {
        self.heard.lock().unwrap().hooks.clone()
    }

    /// Notes nothing from here on, if the network dies with the rooms.
    pub(crate) fn expect_end(&self, words: Words) {
        self.heard.lock().unwrap().deaf = words == Words::Lost;
    }

    /// Notes everything again, now that the rooms' process is dead.
    pub(crate) async fn end(&self) {
        let addr: std::net::SocketAddr = self.host().parse().unwrap();
        // Behind all connections of the dead process.
        within("the server of the test", addr.get(PROBE)).await;
        self.heard.lock().unwrap().deaf = false;
    }
}

impl HeardRequests {
    /// Notes a request, and returns its response.
    fn note(&mut self, request: &Received) -> Option<String> {
        if request.path != PROBE {
            if self.deaf {
                return None;
            }
            if let Some(id) = request.header("webhook-id") {
                self.hooks.push(hook(id, &request.body));
                return Some(response(200, "received"));
            }
            let path = request.path.trim_start_matches('/');
            let (room, id) = path.split_once('/').unwrap_or((path, ""));
            let key = request.header("idempotency-key").map(str::to_owned);
            self.receipts.push(Receipt { room: room.to_owned(), id: id.to_owned(), key });
        }
        Some(response(200, "received"))
    }
}

fn hook(id: &str, body: &str) -> Hook {
    let said: serde_json::Value = serde_json::from_str(body).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (room, who) = (text(&said["data"]["room"]), text(&said["data"]["connection"]["id"]));
    Hook { id: id.to_owned(), room, who, body: body.to_owned() }
}
