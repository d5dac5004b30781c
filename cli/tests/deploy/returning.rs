//! Clients of all four transports that are lost and come back while `room serve` is killed and started again.
//!
//! ```text
//! RETURNING_CLIENTS=1000 RETURNING_MS=60000 cargo test --workspace --test deploy -- --nocapture clients_that_return
//! ```
//!
//! Owns the server's lives. Invariant: all of them have one data folder, and the project is deployed in the first one. It
//! does not know what clients are owed.

use crate::returns::{KilledServer, Plan, run};
use crate::served::Served;
use room_runtime::server::BlobId;
use room_tests::{Dice, Requests as _, guest};
use serde_json::json;
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio::task::block_in_place;

/// A production server with one project.
struct ProductionServer {
    root: TempDir,
    /// The process, if one runs.
    served: Option<Served>,
}

impl ProductionServer {
    /// Deploys the puppet to a server that has nothing.
    async fn deploy(served: &Served) {
        let operators: SocketAddr = served.operators.rsplit('/').next().unwrap().parse().unwrap();
        let bearer = format!("Bearer {}", served.token);
        let (module, auth) = (guest("puppet"), [("authorization", bearer.as_str())]);
        let id = BlobId::of(&module).to_string();
        let path = format!("/_room/admin/blobs/{id}");
        let put = operators.request("PUT", &path, &auth, &module).await;
        assert_eq!(put.status, 200, "{}", put.text());
        let party = json!({
            "name": "main", "module": id, "sse": true,
            "resume": "1m", "history": {"keep": 4_000, "durable": true},
        });
        let release = json!({"parties": [party]}).to_string();
        let path = "/_room/admin/projects/returns/deploy";
        let deployed = operators.request("POST", path, &auth, release.as_bytes()).await;
        assert_eq!(deployed.status, 200, "{}", deployed.text());
    }
}

impl KilledServer for ProductionServer {
    async fn start(&mut self) -> SocketAddr {
        let is_first = !self.root.path().join("data").exists();
        let mut served = block_in_place(|| Served::start(self.root.path()));
        if is_first {
            block_in_place(|| served.first_token());
            Self::deploy(&served).await;
        }
        self.served.insert(served).clients.parse().unwrap()
    }

    fn loses_words(&self) -> bool {
        false
    }

    async fn kill(&mut self, _dice: &mut Dice) {
        block_in_place(|| drop(self.served.take()));
    }

    fn remove(self) {
        self.root.close().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_return_get_each_message_once_and_in_order_though_the_production_server_is_killed()
 {
    let plan = Plan::from_env();
    let server = ProductionServer { root: tempfile::tempdir().unwrap(), served: None };
    let report = run(&plan, server).await;
    eprintln!("{report}");
    assert!(report.is_clean(), "CRASH_SEED={}: {report}", plan.seed);
}
