//! Which node a room belongs on. Owns the hash ring.
//!
//! Invariant: every node with the same members gives the same answer, whatever its version or
//! machine. The hash proposes an owner; it does not know whether that node is alive.

mod ring;

pub use ring::Ring;
