//! The requests of hooks to other servers. Owns what hooks share of them: the client, and the kept responses.
//!
//! Invariant: a hook waits at most `hook_fetch_ms_max` for one response, and the hosts are those of the deployment that
//! the hook belongs to. It does not know what a hook does with a response.

use futures_util::FutureExt;
use room_core::config::FetchHosts;
use room_core::event::Response;
use room_core::fetch::FetchFailure;
use room_core::limits::{Limits, ms};
use room_core::metrics::{DoorMetrics, FetchEnd};
use room_fetch::{FetchCache, FetchClient};
use room_guest::{HookFetches, HookRequest};
use std::sync::Arc;
use tokio::time::{Instant, timeout};

/// The way of a project's hooks to other servers. Cheap to clone.
#[derive(Clone)]
pub(super) struct HookClient {
    client: FetchClient,
    cache: FetchCache,
    metrics: Arc<DoorMetrics>,
    wait_ms_max: u64,
}

impl HookClient {
    pub(super) fn new(
        client: FetchClient,
        limits: &Arc<Limits>,
        metrics: Arc<DoorMetrics>,
    ) -> Self {
        // The hook has as much time again to act on a failure.
        let wait_ms_max = limits.hook_fetch_ms_max.min(limits.turn_wall_ms_max / 2);
        let cache = FetchCache::new(limits, metrics.clone());
        Self { client, cache, metrics, wait_ms_max }
    }

    /// Forgets the responses that hooks have kept.
    pub(super) fn forget(&self) {
        self.cache.clear();
    }

    /// Returns the way of a hook that may fetch from these hosts.
    pub(super) fn of(&self, hosts: &FetchHosts) -> HookFetches {
        let (own, hosts) = (self.clone(), hosts.clone());
        HookFetches::new(move |asked| own.clone().send(asked, hosts.clone()).boxed())
    }

    async fn send(self, asked: HookRequest, hosts: FetchHosts) -> Result<Response, FetchFailure> {
        let HookRequest { mut fetch, caching } = asked;
        let limit = fetch.timeout_ms.unwrap_or(self.wait_ms_max).min(self.wait_ms_max);
        // Another hook that waits for the same response may have more time than this one.
        fetch.timeout_ms = Some(if caching.is_some() { self.wait_ms_max } else { limit });
        let Self { client, cache, metrics, .. } = self;
        let sending = async move {
            let begun = Instant::now();
            let fetched = client.fetch(&fetch, &hosts, None).await;
            metrics.hook_fetch_seconds.record(begun.elapsed());
            metrics.hook_fetches.count(match &fetched {
                Ok(response) => FetchEnd::of_status(response.status),
                Err(failure) => FetchEnd::of_code(failure.code()),
            });
            fetched
        };
        let answered = async {
            match caching {
                Some((key, kept_ms)) => cache.get(&key, kept_ms, sending).await,
                None => sending.await,
            }
        };
        timeout(ms(limit), answered).await.unwrap_or(Err(FetchFailure::TimedOut { ms: limit }))
    }
}
