//! Servers that die under load, again and again. A message that anybody saw is durable. Nobody saw a message of a
//! failed turn. A client that comes back has missed nothing.
//!
//! ```text
//! cargo test -p room-tests --test crash                      a short run of each kind
//! CRASH_KILLS=1000 cargo test --release -p room-tests --test crash -- --nocapture acknowledged_turns_survive_kills
//! CRASH_CUTS=1000 cargo test --release -p room-tests --test crash -- --nocapture cuts
//! RETURNING_CLIENTS=1000 RETURNING_MS=60000 cargo test --workspace --test crash -- --nocapture clients_that_return
//! CRASH_SEED=7 …                                              other draws
//! CRASH_MUST=1 …                                              fails where no power can be cut, and does not pass
//! ```
//!
//! Each prints a tally. The draws of a run come from its seed. The moment of a crash depends on the machine, too, so
//! a seed says where to look and does not promise to fail again.
//!
//! Reading order: `audit` has the rules, `run` the order of events, `load` the clients, `server` the process,
//! `origin` the server that rooms fetch from, `returns` the clients that come back and `remembering` their server, `ground` the effects of a crash: `power` for a disk that loses unsynced data, `files` for damage made by hand. `scratch` has
//! all folders.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit;
mod files;
mod ground;
#[path = "../guests/ledger/src/layout.rs"]
mod layout;
mod load;
mod origin;
mod power;
mod remembering;
mod returns;
mod run;
mod scratch;
mod server;
mod tally;

use ground::Crash;
use power::Stage;
use remembering::RememberingServer;
use returns::number;
use run::{Plan, run, say};

async fn passes(what: &'static str, crash: Crash, crashes: u64) {
    let plan = Plan { what, crash, crashes, seed: number("CRASH_SEED", 1) };
    let tally = run(&plan).await;
    assert!(tally.is_clean(), "{tally}");
    let garbles = crash == Crash::Garble;
    assert_eq!(tally.garbled > 0, garbles, "{tally}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_turns_survive_kills() {
    passes("acknowledged_turns_survive_kills", Crash::Kill, number("CRASH_KILLS", 20)).await;
}

/// Runs a test that cuts power where that can be done.
async fn with_power(test: &'static str, inside: impl Future<Output = ()>) {
    match power::stage(test) {
        Stage::Inside => inside.await,
        Stage::Ran(well) => assert!(well, "see above"),
        Stage::Nowhere(why) => {
            let must = std::env::var_os("CRASH_MUST").is_some();
            assert!(!must, "CRASH_MUST is set, and no power can be cut: {why}");
            say(&format!("0 power cuts, skipped: {why}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_turns_survive_power_cuts() {
    let cuts = passes("power cuts", Crash::PowerCut, number("CRASH_CUTS", 8));
    with_power("acknowledged_turns_survive_power_cuts", cuts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_turns_survive_simulated_power_cuts() {
    passes("cuts by hand", Crash::Garble, number("CRASH_CUTS", 8)).await;
}

async fn all_return(crash: Crash) {
    let plan = returns::Plan::from_env();
    let report = returns::run(&plan, RememberingServer::new(crash)).await;
    say(&report.to_string());
    assert!(report.is_clean(), "CRASH_SEED={}: {report}", plan.seed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_return_get_each_message_once_and_in_order_though_the_server_is_killed() {
    all_return(Crash::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_return_get_each_message_once_and_in_order_though_all_but_the_log_is_lost() {
    all_return(Crash::Garble).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_return_get_each_message_once_and_in_order_though_the_power_is_cut() {
    let name = "clients_that_return_get_each_message_once_and_in_order_though_the_power_is_cut";
    with_power(name, all_return(Crash::PowerCut)).await;
}
