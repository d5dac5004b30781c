//! The body of a response. Owns how much of it is read, and how long nothing may arrive.
//!
//! Invariant: no more bytes are kept than a limit allows, whatever length the server names. A connection is kept for the
//! next request only if its response was read to its end. It does not know what the bytes mean.

use crate::wire::{self, IdleWires, Wire};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use room_core::byte_budget::BytePermit;
use room_core::fetch::FetchFailure;
use room_core::limits::{Limits, ms, size};
use tokio::time::timeout;

/// A body that has not been read yet.
pub(crate) struct FetchBody {
    incoming: Incoming,
    /// The connection, until the body is read.
    wire: Option<Wire>,
    idle: IdleWires,
    /// What is left of bytes that are more than one piece.
    rest: Bytes,
    /// The bytes that arrived.
    arrived: u64,
    bound: BodyBound,
    quiet_ms_max: u64,
    chunk_bytes_max: usize,
}

/// The limit of a body's size, with its name.
struct BodyBound {
    limit: &'static str,
    bytes_max: u64,
}

impl BodyBound {
    fn exceeded(&self) -> FetchFailure {
        FetchFailure::TooLarge { limit: self.limit.to_owned(), bytes: self.bytes_max }
    }
}

impl FetchBody {
    pub(crate) fn new(incoming: Incoming, wire: Wire, idle: IdleWires, limits: &Limits) -> Self {
        let bytes_max = limits.fetch_response_bytes_max;
        Self {
            incoming,
            wire: Some(wire),
            idle,
            rest: Bytes::new(),
            arrived: 0,
            bound: BodyBound { limit: "fetch_response_bytes_max", bytes_max },
            quiet_ms_max: limits.fetch_quiet_ms_max,
            chunk_bytes_max: size(limits.fetch_chunk_bytes_max),
        }
    }

    /// Returns the same body, which may have as many bytes as this limit allows.
    ///
    /// # Errors
    /// [`FetchFailure::TooLarge`]: the server announced more.
    pub(crate) fn within(self, limit: &'static str, bytes_max: u64) -> Result<Self, FetchFailure> {
        let bound = BodyBound { limit, bytes_max };
        match self.incoming.size_hint().lower() > bytes_max {
            true => Err(bound.exceeded()),
            false => Ok(Self { bound, ..self }),
        }
    }

    /// Returns the next piece; `None` at the end.
    ///
    /// # Errors
    /// [`FetchFailure`]. Nothing follows then.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, FetchFailure> {
        while self.rest.is_empty() {
            let arriving = timeout(ms(self.quiet_ms_max), self.incoming.frame()).await;
            let late = |_| FetchFailure::TimedOut { ms: self.quiet_ms_max };
            let Some(frame) = arriving.map_err(late)? else {
                // What is kept is ready for another request, or closes.
                self.wire.take().into_iter().for_each(|wire| self.idle.keep(wire));
                return Ok(None);
            };
            let frame = frame.map_err(|error| wire::broken(&error))?;
            // Trailers have no place in a response of ours.
            let Ok(bytes) = frame.into_data() else { continue };
            self.arrived = self.arrived.saturating_add(bytes.len() as u64);
            if self.arrived > self.bound.bytes_max {
                return Err(self.bound.exceeded());
            }
            self.rest = bytes;
        }
        let length = self.rest.len().min(self.chunk_bytes_max);
        Ok(Some(self.rest.split_to(length)))
    }

    /// Returns all of it. The bytes count in `permit` until then.
    ///
    /// # Errors
    /// [`FetchFailure`].
    pub(crate) async fn whole(mut self, mut permit: BytePermit) -> Result<Bytes, FetchFailure> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if !permit.cover(whole.len() + chunk.len()) {
                return Err(FetchFailure::Busy("buffered_bytes_max".to_owned()));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}
