//! Messages that a client may miss.
//!
//! Owns [`Delivery`]. Invariant: an ordinary message reaches a client or ends its connection; only one that the room sends
//! with another delivery may be left out. It does not know what waits for a client.

/// How a message waits for a client that takes less than the room sends, or that is away.
///
/// ```
/// # use room_sdk::prelude::*;
/// # fn example(ctx: &Context, conn: &Connection) -> Result {
/// ctx.broadcast(&"ada types").volatile().except(conn);
/// ctx.broadcast(&(120, 80)).latest("pointer:ada").except(conn);
/// conn.send_as(&0.75, Delivery::Latest("progress".to_owned()))
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// It waits until the client takes it. A client for which too much waits is closed, and one that is away gets it when
    /// it comes back (`resume` of the party).
    #[default]
    Reliable,
    /// It does not wait: a client for which more than a little waits already (`volatile_bytes_max` and
    /// `volatile_frames_max` of `[limits]`), or that is away, does not get it.
    Volatile,
    /// It takes the place of the message with the same key that waits for the client, if there is one, and stands behind all
    /// others. A client that is away does not get it. The key has 1 to 128 bytes.
    Latest(String),
}
