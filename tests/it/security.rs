//! The requests that an attacker can send, and their results.
//!
//! Other files test who may send an operator's requests (`admin`, `server`), uploads that break off or are too large
//! (`deploys`), the cost of a guest's faults (`faults`, `fault_matrix`), bounds of names, URLs and bodies (`door`),
//! invalid frames, compressed ones among them (`sockets`), and a guest's influence on a log's lines (the runtime's
//! `wasm::log`).

mod assets;
mod framing;
mod headers;
mod operators;
mod origins;
