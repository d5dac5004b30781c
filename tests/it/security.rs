//! What somebody who means harm can send, and what becomes of it.
//!
//! Elsewhere are: who may ask for an operator's work (`admin`, `server`), uploads that break off or are too
//! large (`deploys`), what a guest's faults cost (`faults`,
//! `fault_matrix`), bounds of names, URLs and bodies (`door`), frames that are none, compressed ones among
//! them (`sockets`), and what a guest can make of a log's lines (the runtime's `wasm::log`).

mod assets;
mod framing;
mod headers;
mod operators;
mod origins;
