//! Measures the runtime on this machine, each scenario against something in the same run.
//!
//! - `cargo run --release -p room-benches`: what a room costs beside a bare axum server
//! - `cargo run --release -p room-benches -- durable`: durable turns a second, many rooms to one flush
//! - `cargo run --release -p room-benches -- faults`: what neighbours of a faulty guest notice
//!
//! Owns the words of the command line. Invariant: servers and load are processes of their own, started
//! from this program. It does not know what is measured.

mod bare;
mod compare;
mod disk;
mod durable;
mod faults;
mod frames;
mod guest;
mod load;
mod process;
mod rooms;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare::table(),
        ["durable"] => durable::table(),
        ["faults"] => faults::table(),
        ["serve", "bare"] => bare::serve(),
        ["serve", "room", module, setup] => rooms::serve(module.as_ref(), setup),
        ["load", addr, ref load @ ..] => load::run_and_print(addr.parse()?, load),
        _ => bail!("usage: room-benches [durable | faults]"),
    }
}
