//! `idle`: connections that do nothing. Owns them, and the readings of the server's memory.
//!
//! Invariant: the memory of each is the difference between two readings, with a first few open at both, so that
//! memory that a server allocates once is not counted. At the end each connection is asked whether it is still there.
//! It does not know what the server keeps for one.

use super::echo::EchoClient;
use crate::bench::figures::LoadPlan;
use crate::bench::link::{BenchLink, BenchReader};
use crate::bench::memory::{Held, Resident, resident};
use crate::bench::open;
use crate::bench::parts::room_name;
use crate::bench::run::Tally;
use crate::bench::target::Target;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::task::spawn_local;

/// One of so many connections is open before the first reading.
const FIRST: usize = 10;

/// The connections before anything is measured.
pub(super) struct Idle {
    members: Vec<(Rc<BenchLink>, BenchReader)>,
    first: usize,
    before: Result<Resident, String>,
    addr: SocketAddr,
    pid: Option<u32>,
}

/// The connections while they are held.
pub(super) struct Holding {
    /// The clients that hold them.
    pub(super) clients: Vec<Rc<EchoClient>>,
    first: usize,
    before: Result<Resident, String>,
    addr: SocketAddr,
    pid: Option<u32>,
}

impl Idle {
    /// Opens the connections, the first few before the reading.
    ///
    /// # Errors
    /// As [`open::all`].
    ///
    /// # Cancel safety
    /// All are closed.
    pub(super) async fn prepare(target: &Rc<Target>, plan: &LoadPlan) -> anyhow::Result<Self> {
        let (rooms, addr, pid) = (plan.rooms, target.addr, plan.pid);
        let opener = |from: usize| {
            let target = target.clone();
            async move |number| target.open(&room_name("idle", (from + number) % rooms)).await
        };
        let first = plan.clients.div_ceil(FIRST);
        let mut members = open::all(first, opener(0)).await?;
        let before = resident(addr, pid);
        members.extend(open::all(plan.clients - first, opener(first)).await?);
        Ok(Self { members, first, before, addr, pid })
    }

    /// Holds them.
    pub(super) fn start(self, plan: &LoadPlan, tally: &Rc<Tally>) -> Holding {
        let Self { members, first, before, addr, pid } = self;
        let held = members.into_iter().map(|(link, reader)| {
            let client = EchoClient::new(link, plan.payload_bytes, tally);
            spawn_local(client.clone().run(reader, 0));
            client
        });
        Holding { clients: held.collect(), first, before, addr, pid }
    }
}

impl Holding {
    /// Reads the memory again, and asks each connection whether it is there.
    pub(super) fn ask(&self, tally: &Tally) -> Held {
        let after = resident(self.addr, self.pid);
        let more = self.clients.len() - self.first;
        let now = tally.run.now();
        self.clients.iter().for_each(|client| client.send_due(now));
        Held::between(&self.before, &after, more as u64)
    }
}
