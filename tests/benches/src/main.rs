//! Measures the runtime on this machine, each scenario against something in the same run.
//!
//! - `cargo run --profile dist -p room-benches`: what a room costs beside a bare axum server and a raw loop, written to
//!   `runtime/PERFORMANCE.md`
//! - `cargo run --profile dist -p room-benches -- durable`: durable turns a second, many rooms to one flush
//! - `cargo run --profile dist -p room-benches -- faults`: what neighbours of a faulty guest notice
//! - `cargo run --profile count -p room-benches --features valgrind -- count`: instructions an event takes, against
//!   those in `counts.toml`
//! - `cargo run --profile dist -p room-benches -- scale`: what many rooms and clients cost; `scale live`: that part alone
//! - `cargo run --profile dist -p room-benches -- scripts`: a room in JavaScript beside workerd and the same room in
//!   Rust, written to `runtime/PERFORMANCE.md`; needs npm
//!
//! Owns the words of the command line. Invariant: servers and load are processes of their own: servers this
//! program, the load `room bench`. It does not know what is measured.

mod bare;
mod beside;
mod compare;
mod count;
mod crowd;
mod crowded;
mod disk;
mod durable;
mod edits;
mod faults;
mod figures;
mod frames;
mod greedy;
mod growth;
mod guest;
mod held;
mod memory;
mod neighbours;
mod page;
mod process;
mod projects;
mod raw;
mod returning;
mod rollout;
mod rooms;
mod scale;
mod scripts;
mod served;
mod steady;
mod tool;
mod workerd;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare::table(),
        ["durable"] => durable::table(),
        ["faults"] => faults::table(),
        ["count", ref how @ ..] => count::command(how),
        ["scale", ref parts @ ..] => scale::table(parts),
        ["scripts"] => scripts::table(),
        ["serve", "axum"] => bare::serve(),
        ["serve", "raw"] => raw::serve(None),
        ["serve", "raw", folder] => raw::serve(Some(folder.into())),
        ["serve", "workerd"] => workerd::serve(),
        ["serve", "room", module, setup] => rooms::serve(module.as_ref(), setup),
        ["beside", addr, ref fault @ ..] => beside::run_and_print(addr.parse()?, fault),
        _ => bail!("usage: room-benches [durable | faults | count | scale [PART]… | scripts]"),
    }
}
