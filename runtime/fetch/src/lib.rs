//! Requests of rooms to other servers. Owns the connections to them, and that each goes where the project allows.
//!
//! Invariant: a connection goes to an address that was checked after the name was resolved, and the name is not resolved
//! again. Every redirect is checked as the first URL was. Every size, wait and number has a bound. No proxy of the
//! environment is used. This crate does not know rooms, nor why they ask.

mod body;
mod cache;
mod reach;
mod redirect;
mod signature;
mod target;
mod tls;
mod wire;

use body::FetchBody;
use bytes::Bytes;
pub use cache::FetchCache;
use redirect::FetchStep;
use room_core::byte_budget::ByteBudget;
use room_core::config::FetchHosts;
use room_core::event::Response;
use room_core::fetch::{FetchFailure, FetchHead, FetchRequest, Redirects};
use room_core::limits::{Limits, ms, size};
pub use signature::WebhookSecret;
use std::net::SocketAddr;
use std::sync::Arc;
use target::Target;
use tls::TlsRoots;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use wire::{IdleWires, SendFailure, Wire};

/// Sends requests to other servers. Cheap to clone; clones share the connections and the permits of their process.
///
/// It speaks HTTP/1.1, and decodes no body: it asks for none that is compressed, unless the request does so itself.
#[derive(Clone)]
pub struct FetchClient {
    shared: Arc<FetchShared>,
    limits: Arc<Limits>,
}

/// What the projects of a process share.
struct FetchShared {
    /// One permit for each request.
    places: Arc<Semaphore>,
    /// One permit for each name that is being resolved.
    lookups: Arc<Semaphore>,
    /// One permit for each webhook, so that receivers that hang hold up no request of a room.
    webhooks: Arc<Semaphore>,
    idle: IdleWires,
    roots: TlsRoots,
    bytes: ByteBudget,
}

/// A part of a response whose body is read in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchPart {
    /// The head, once, before the pieces.
    Head(FetchHead),
    /// A piece of the body, of 1 to [`Limits::fetch_chunk_bytes_max`] bytes.
    Chunk(Bytes),
}

impl FetchClient {
    /// Returns a client for a process with these limits, without a connection. The bodies of responses count in `bytes`
    /// until they are complete.
    pub fn new(limits: &Arc<Limits>, bytes: ByteBudget) -> Self {
        Self::with_roots(limits, bytes, TlsRoots::of_system())
    }

    fn with_roots(limits: &Arc<Limits>, bytes: ByteBudget, roots: TlsRoots) -> Self {
        let permits = |count| Arc::new(Semaphore::new(size(count).min(Semaphore::MAX_PERMITS)));
        let shared = FetchShared {
            places: permits(limits.fetches_node_max),
            lookups: permits(limits.fetch_lookups_max),
            webhooks: permits(limits.webhooks_node_max),
            idle: IdleWires::new(limits),
            roots,
            bytes,
        };
        Self { shared: Arc::new(shared), limits: limits.clone() }
    }

    /// Returns the client of a project with these limits. What the process bounds stays bounded by the process.
    pub fn for_project(&self, limits: Arc<Limits>) -> Self {
        Self { shared: self.shared.clone(), limits }
    }

    /// Sends a request, and returns the whole response. `idempotency_key` becomes the header `Idempotency-Key`, unless
    /// the request has one.
    ///
    /// # Errors
    /// [`FetchFailure`]. The server may have received the request, unless the failure is one of the request itself, of
    /// the host or of its address.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the connection is closed. The server may have received the request.
    pub async fn fetch(
        &self,
        request: &FetchRequest,
        hosts: &FetchHosts,
        idempotency_key: Option<&str>,
    ) -> Result<Response, FetchFailure> {
        let max = self.limits.fetch_ms_max;
        let limit = request.timeout_ms.unwrap_or(max).min(max);
        let whole = async {
            let _place = self.place()?;
            let (head, body) = self.open(request, hosts, idempotency_key).await?;
            let body = body.within("fetch_response_bytes_max", self.response_bytes_max())?;
            let body = body.whole(self.shared.bytes.permit()).await?;
            Ok(Response { status: head.status, headers: head.headers, body })
        };
        timeout(ms(limit), whole).await.unwrap_or(Err(FetchFailure::TimedOut { ms: limit }))
    }

    /// Returns the size of the largest response that a room can hold, and the node can receive, in bytes. So a project that
    /// lowers those limits need not lower this one, too.
    fn response_bytes_max(&self) -> u64 {
        let Limits { fetch_response_bytes_max, memory_bytes_max, buffered_bytes_max, .. } =
            *self.limits;
        fetch_response_bytes_max.min(memory_bytes_max / 2).min(buffered_bytes_max)
    }

    /// Sends a request, and passes the parts of its response to `sink` as they arrive. It reads no further while `sink`
    /// is full, and stops when nobody receives any more.
    ///
    /// # Errors
    /// As [`FetchClient::fetch`]. Parts that were passed on before are valid.
    ///
    /// # Cancel safety
    /// As [`FetchClient::fetch`].
    pub async fn fetch_stream(
        &self,
        request: &FetchRequest,
        hosts: &FetchHosts,
        idempotency_key: Option<&str>,
        sink: mpsc::Sender<FetchPart>,
    ) -> Result<(), FetchFailure> {
        let max = self.limits.fetch_stream_ms_max;
        let limit = request.timeout_ms.unwrap_or(max).min(max);
        let until_head = self.limits.fetch_ms_max;
        let parts = async {
            let _place = self.place()?;
            let opening = timeout(ms(until_head), self.open(request, hosts, idempotency_key));
            let opened = opening.await;
            let (head, body) = opened.unwrap_or(Err(FetchFailure::TimedOut { ms: until_head }))?;
            let body = body.within("fetch_stream_bytes_max", self.limits.fetch_stream_bytes_max);
            let mut body = body?;
            if sink.send(FetchPart::Head(head)).await.is_err() {
                return Ok(());
            }
            while let Some(chunk) = body.chunk().await? {
                if sink.send(FetchPart::Chunk(chunk)).await.is_err() {
                    return Ok(());
                }
            }
            Ok(())
        };
        timeout(ms(limit), parts).await.unwrap_or(Err(FetchFailure::TimedOut { ms: limit }))
    }

    /// Sends a webhook, when fewer than [`Limits::webhooks_node_max`] are being sent, and returns the status of the
    /// response. Follows no redirect.
    ///
    /// # Errors
    /// [`FetchFailure`], as for [`FetchClient::fetch`].
    ///
    /// # Cancel safety
    /// As [`FetchClient::fetch`].
    pub async fn send_webhook(
        &self,
        request: &FetchRequest,
        hosts: &FetchHosts,
    ) -> Result<u16, FetchFailure> {
        let place = self.shared.webhooks.acquire().await;
        let _place = place.map_err(|_| FetchFailure::Busy("webhooks_node_max".to_owned()))?;
        let limit = self.limits.webhook_ms_max;
        let until = Instant::now() + ms(limit);
        let manual = FetchRequest { redirects: Redirects::Manual, ..request.clone() };
        let opened = timeout_at(until, self.open(&manual, hosts, None)).await;
        let (head, mut body) = opened.unwrap_or(Err(FetchFailure::TimedOut { ms: limit }))?;
        // The status is the answer. The body is read and dropped, so that the connection serves the next webhook.
        let rest = async { while let Ok(Some(_)) = body.chunk().await {} };
        drop(timeout_at(until, rest).await);
        Ok(head.status)
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, FetchFailure> {
        let place = self.shared.places.clone().try_acquire_owned();
        place.map_err(|_| FetchFailure::Busy("fetches_node_max".to_owned()))
    }

    /// Sends a request, follows redirects, and returns the last response before its body.
    async fn open(
        &self,
        request: &FetchRequest,
        hosts: &FetchHosts,
        idempotency_key: Option<&str>,
    ) -> Result<(FetchHead, FetchBody), FetchFailure> {
        request.check(&self.limits)?;
        let mut step = FetchStep::first(&request.request, idempotency_key)?;
        let max = u32::try_from(self.limits.fetch_redirects_max).unwrap_or(u32::MAX);
        let mut followed = 0;
        loop {
            let (head, body) = self.ask(&step, hosts).await?;
            let Some(location) = redirect::location(&head) else { return Ok((head, body)) };
            match request.redirects {
                Redirects::Manual => return Ok((head, body)),
                Redirects::Error => return Err(FetchFailure::TooManyRedirects(0)),
                Redirects::Follow if followed >= max => {
                    return Err(FetchFailure::TooManyRedirects(max));
                }
                Redirects::Follow => followed += 1,
            }
            step = step.redirected(head.status, location)?;
        }
    }

    /// Sends one request over a connection that is kept, or over a fresh one.
    async fn ask(
        &self,
        step: &FetchStep,
        hosts: &FetchHosts,
    ) -> Result<(FetchHead, FetchBody), FetchFailure> {
        let target = Target::of(&step.url, hosts)?;
        let limit = self.limits.fetch_connect_ms_max;
        let late = || {
            let host = &target.host;
            FetchFailure::Unreachable(format!(
                "{host} was not connected within fetch_connect_ms_max ({limit} ms)"
            ))
        };
        let resolving = reach::addresses(&target, hosts, &self.shared.lookups);
        let addresses = timeout(ms(limit), resolving).await.unwrap_or_else(|_| Err(late()))?;
        if let Some(wire) = self.shared.idle.take(&target, &addresses) {
            match self.send(wire, step, &target).await {
                Err(refused) if refused.may_repeat(step.is_repeatable()) => {}
                answered => return answered.map_err(|refused| refused.failure),
            }
        }
        let connecting = self.connect(&target, &addresses);
        let wire = timeout(ms(limit), connecting).await.unwrap_or_else(|_| Err(late()))?;
        self.send(wire, step, &target).await.map_err(|refused| refused.failure)
    }

    async fn connect(
        &self,
        target: &Target,
        addresses: &[SocketAddr],
    ) -> Result<Wire, FetchFailure> {
        let (stream, address) = reach::connect(target, addresses, &self.limits).await?;
        match target.tls_name()? {
            None => Wire::new(stream, target, address, &self.limits).await,
            Some(name) => {
                let stream = self.shared.roots.secure(stream, name, &target.host).await?;
                Wire::new(stream, target, address, &self.limits).await
            }
        }
    }

    async fn send(
        &self,
        mut wire: Wire,
        step: &FetchStep,
        target: &Target,
    ) -> Result<(FetchHead, FetchBody), SendFailure> {
        let response = wire.send(step.message(target)?, &self.limits).await?;
        let head = wire::head(&response, step)?;
        let idle = self.shared.idle.clone();
        Ok((head, FetchBody::new(response.into_body(), wire, idle, &self.limits)))
    }
}

#[cfg(test)]
mod tests;
