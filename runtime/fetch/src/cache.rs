//! Responses that the hooks of a project share. Owns how long and how many are kept, and that hooks which need the same
//! one at the same time cause one request.
//!
//! Invariant: only responses with a status of 200 to 299 are kept, and what is kept stays within its bounds. A request
//! goes on when the hook that caused it has ended, because others may wait for it. It does not know what is requested.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use room_core::event::Response;
use room_core::fetch::FetchFailure;
use room_core::limits::fixed::HOOK_CACHE_KEY_BYTES_MAX;
use room_core::limits::{Limits, ms, size};
use room_core::lock::lock;
use room_core::metrics::{CacheLookup, DoorMetrics};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// The kept responses of a project, by the keys that its hooks chose. Cheap to clone; clones are the same cache.
#[derive(Clone)]
pub struct FetchCache(Arc<CacheInner>);

struct CacheInner {
    entries: Mutex<CacheEntries>,
    limits: Arc<Limits>,
    metrics: Arc<DoorMetrics>,
}

#[derive(Default)]
struct CacheEntries {
    by_key: HashMap<String, CacheEntry>,
    /// Of the kept responses.
    bytes: usize,
    /// The number of requests that were started.
    started: u64,
}

enum CacheEntry {
    /// The request with this number, on its way.
    Awaited(u64, Shared<Landing>),
    Kept {
        until: Instant,
        response: Response,
    },
}

type Landing = BoxFuture<'static, Result<Response, FetchFailure>>;

impl FetchCache {
    /// Returns an empty cache of a project with these limits.
    pub fn new(limits: &Arc<Limits>, metrics: Arc<DoorMetrics>) -> Self {
        let (entries, limits) = (Mutex::default(), limits.clone());
        Self(Arc::new(CacheInner { entries, limits, metrics }))
    }

    /// Returns the response that is kept under a key, or else the one that `fetch` leads to, which is then kept for
    /// this time, at most [`Limits::hook_cache_ms_max`]. Callers that come meanwhile wait for the same one, and share
    /// its failure.
    ///
    /// # Errors
    /// [`FetchFailure`] of `fetch`, or [`FetchFailure::Invalid`]: the key is too long.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the request goes on.
    pub async fn get(
        &self,
        key: &str,
        kept_ms: u64,
        fetch: impl Future<Output = Result<Response, FetchFailure>> + Send + 'static,
    ) -> Result<Response, FetchFailure> {
        if key.len() > HOOK_CACHE_KEY_BYTES_MAX {
            return Err(FetchFailure::Invalid(format!(
                "the key of a cached response has {} bytes, at most {HOOK_CACHE_KEY_BYTES_MAX} are allowed",
                key.len()
            )));
        }
        let lookups = &self.0.metrics.hook_cache;
        let landing = {
            let mut entries = lock(&self.0.entries);
            match entries.by_key.get(key) {
                Some(CacheEntry::Kept { until, response }) if Instant::now() < *until => {
                    lookups.count(CacheLookup::Hit);
                    return Ok(response.clone());
                }
                Some(CacheEntry::Awaited(_, landing)) => {
                    lookups.count(CacheLookup::Shared);
                    landing.clone()
                }
                Some(CacheEntry::Kept { .. }) | None => {
                    lookups.count(CacheLookup::Miss);
                    entries.forget(key);
                    entries.started += 1;
                    let number = entries.started;
                    let landing = self.clone().land(key.to_owned(), number, kept_ms, fetch);
                    entries
                        .by_key
                        .insert(key.to_owned(), CacheEntry::Awaited(number, landing.clone()));
                    landing
                }
            }
        };
        landing.await
    }

    /// Forgets every response: another deployment may fetch from other hosts. Callers that wait get theirs.
    pub fn clear(&self) {
        let mut entries = lock(&self.0.entries);
        entries.by_key.clear();
        entries.bytes = 0;
    }

    /// Starts a request whose response is kept under a key.
    fn land(
        self,
        key: String,
        number: u64,
        kept_ms: u64,
        fetch: impl Future<Output = Result<Response, FetchFailure>> + Send + 'static,
    ) -> Shared<Landing> {
        let landing = tokio::spawn(async move {
            let answer = fetch.await;
            let until = Instant::now() + ms(kept_ms.min(self.0.limits.hook_cache_ms_max));
            self.landed(&key, number, &answer, until);
            answer
        });
        let outcome = landing.map(|ended| {
            ended.unwrap_or_else(|error| Err(FetchFailure::Unreachable(error.to_string())))
        });
        outcome.boxed().shared()
    }

    /// Keeps the response of a request, unless the cache was cleared since the request began.
    fn landed(
        &self,
        key: &str,
        number: u64,
        answer: &Result<Response, FetchFailure>,
        until: Instant,
    ) {
        let mut entries = lock(&self.0.entries);
        let awaited = entries.by_key.get(key);
        if !awaited
            .is_some_and(|entry| matches!(entry, CacheEntry::Awaited(own, _) if *own == number))
        {
            return;
        }
        entries.by_key.remove(key);
        let Ok(response) = answer else { return };
        if !(200..=299).contains(&response.status) {
            return;
        }
        let bytes = bytes_of(key, response);
        let limits = &self.0.limits;
        if bytes > size(limits.hook_cache_bytes_max) {
            return;
        }
        entries.make_space(bytes, limits);
        // The body may be a part of a larger buffer.
        let body = Bytes::copy_from_slice(&response.body);
        let response = Response { body, ..response.clone() };
        entries.bytes += bytes;
        entries.by_key.insert(key.to_owned(), CacheEntry::Kept { until, response });
    }
}

impl CacheEntries {
    /// Drops the responses that end first until another one of this size is within the limits.
    fn make_space(&mut self, bytes: usize, limits: &Limits) {
        let full = |own: &Self, kept: usize| {
            kept >= size(limits.hook_cache_entries_max)
                || own.bytes + bytes > size(limits.hook_cache_bytes_max)
        };
        let mut kept: Vec<(Instant, String)> = Vec::new();
        for (key, entry) in &self.by_key {
            if let CacheEntry::Kept { until, .. } = entry {
                kept.push((*until, key.clone()));
            }
        }
        kept.sort_unstable_by(|a, b| b.cmp(a));
        while full(self, kept.len())
            && let Some((_, key)) = kept.pop()
        {
            self.forget(&key);
        }
    }

    fn forget(&mut self, key: &str) {
        if let Some(CacheEntry::Kept { response, .. }) = self.by_key.remove(key) {
            self.bytes = self.bytes.saturating_sub(bytes_of(key, &response));
        }
    }
}

/// Returns the size of a response in the cache.
fn bytes_of(key: &str, response: &Response) -> usize {
    let headers: usize =
        response.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    key.len() + headers + response.body.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::metrics::Metrics;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::{Duration, advance};

    fn response(status: u16, bytes: usize) -> Response {
        Response { status, headers: Vec::new(), body: vec![b'x'; bytes].into() }
    }

    /// A cache whose requests are counted.
    struct Counted {
        cache: FetchCache,
        requests: Arc<AtomicUsize>,
    }

    impl Counted {
        fn new(limits: Limits) -> Self {
            Self {
                cache: FetchCache::new(&Arc::new(limits), Metrics::new().door),
                requests: Arc::default(),
            }
        }

        /// Asks for a key. A request takes a second.
        async fn get(
            &self,
            key: &str,
            kept_ms: u64,
            answer: Response,
        ) -> Result<Response, FetchFailure> {
            let requests = self.requests.clone();
            let fetch = async move {
                requests.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(answer)
            };
            self.cache.get(key, kept_ms, fetch).await
        }

        fn requests(&self) -> usize {
            self.requests.load(Ordering::SeqCst)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_hooks_at_once_make_one_request() {
        let counted = Counted::new(Limits::default());
        let asked = (0..1_000).map(|_| counted.get("jwks", 5_000, response(200, 3)));
        for answer in futures_util::future::join_all(asked).await {
            assert_eq!(answer.unwrap().body.len(), 3);
        }
        assert_eq!(counted.requests(), 1);
        advance(Duration::from_millis(4_999)).await;
        counted.get("jwks", 5_000, response(200, 4)).await.unwrap();
        assert_eq!(counted.requests(), 1);
        advance(Duration::from_millis(1)).await;
        let renewed = counted.get("jwks", 5_000, response(200, 4)).await.unwrap();
        assert_eq!((counted.requests(), renewed.body.len()), (2, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_without_success_and_a_failure_are_not_kept() {
        let counted = Counted::new(Limits::default());
        for round in 1..=2 {
            assert_eq!(counted.get("a", 5_000, response(503, 0)).await.unwrap().status, 503);
            assert_eq!(counted.requests(), round);
        }
        let failing = async { Err(FetchFailure::TimedOut { ms: 1 }) };
        assert!(counted.cache.get("b", 5_000, failing).await.is_err());
        assert_eq!(counted.get("b", 5_000, response(200, 0)).await.unwrap().status, 200);
        let long = "k".repeat(HOOK_CACHE_KEY_BYTES_MAX + 1);
        assert_eq!(counted.get(&long, 1, response(200, 0)).await.unwrap_err().code(), "invalid");
    }

    #[tokio::test(start_paused = true)]
    async fn the_cache_stays_within_its_bounds() {
        let limits = Limits {
            hook_cache_entries_max: 3,
            hook_cache_bytes_max: 100,
            hook_cache_ms_max: 60_000,
            ..Limits::default()
        };
        let counted = Counted::new(limits);
        for key in ["a", "b", "c", "d"] {
            counted.get(key, 50_000, response(200, 20)).await.unwrap();
        }
        assert_eq!((lock(&counted.cache.0.entries).by_key.len(), counted.requests()), (3, 4));
        counted.get("d", 50_000, response(200, 20)).await.unwrap();
        counted.get("a", 50_000, response(200, 20)).await.unwrap();
        assert_eq!(counted.requests(), 5, "a was the first that made space");
        counted.get("large", 50_000, response(200, 90)).await.unwrap();
        counted.get("huge", 50_000, response(200, 101)).await.unwrap();
        let kept = lock(&counted.cache.0.entries);
        assert_eq!((kept.by_key.len(), kept.bytes), (1, 95));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cleared_cache_keeps_no_response_of_before() {
        let counted = Counted::new(Limits::default());
        let asking = counted.get("a", 5_000, response(200, 1));
        tokio::pin!(asking);
        assert!(futures_util::poll!(asking.as_mut()).is_pending());
        counted.cache.clear();
        assert_eq!(asking.await.unwrap().body.len(), 1);
        assert_eq!(counted.get("a", 5_000, response(200, 2)).await.unwrap().body.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_goes_on_when_the_hook_that_caused_it_ended() {
        let counted = Counted::new(Limits::default());
        {
            let asking = counted.get("a", 5_000, response(200, 1));
            tokio::pin!(asking);
            assert!(futures_util::poll!(asking.as_mut()).is_pending());
        }
        counted.get("a", 5_000, response(200, 2)).await.unwrap();
        assert_eq!(counted.requests(), 1);
    }
}
