//! The server of the clients that come back. Owns its life on one data folder.
//!
//! Invariant: each start finds the store's own books in order, and the folder of the run is gone at the end. It does not
//! know clients.

use crate::ground::{Crash, Ground};
use crate::load::Words;
use crate::returns::KilledServer;
use crate::server::{Program, Server};
use room_tests::Dice;
use std::net::SocketAddr;

/// A server that stores what its rooms send, and dies by one kind of crash.
pub(crate) struct RememberingServer {
    program: Program,
    ground: Ground,
    /// The process, if one runs.
    server: Option<Server>,
}

impl RememberingServer {
    pub(crate) fn new(crash: Crash) -> Self {
        let program = Program::remembering();
        let ground = Ground::new(crash, program.scratch());
        Self { program, ground, server: None }
    }
}

impl KilledServer for RememberingServer {
    async fn start(&mut self) -> SocketAddr {
        let server = self.program.start(&self.ground.data(), "localhost:1").await.unwrap();
        assert_eq!(server.problems, Vec::<String>::new());
        self.server.insert(server).addr
    }

    fn loses_words(&self) -> bool {
        self.ground.words() == Words::Lost
    }

    async fn kill(&mut self, dice: &mut Dice) {
        self.ground.strike();
        self.server.take().unwrap().kill().await;
        self.ground.settle(dice);
    }

    fn remove(self) {
        drop(self.ground);
        self.program.remove();
    }
}
