//! The keys that an issuer publishes. Owns when they are fetched, and how long they stay in use.
//!
//! Invariant: one fetch runs at a time, and at most one begins within `jwks_retry_ms`, however many tokens name keys that
//! nobody has. A fetch goes on when the client that began it leaves. Keys stay in use while newer ones cannot be fetched,
//! up to `jwks_stale_ms_max`. It does not know how the keys are fetched.

use crate::failure::AuthError;
use crate::keys::Key;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use room_core::limits::{Limits, ms, size};
use room_core::lock::lock;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Fetches the keys: their JSON, or `None` if that failed.
pub type KeyFetch = Arc<dyn Fn() -> BoxFuture<'static, Option<Vec<u8>>> + Send + Sync>;

/// The keys of one issuer. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Jwks(Arc<JwksInner>);

struct JwksInner {
    fetch: KeyFetch,
    bytes_max: usize,
    fresh: Duration,
    pause: Duration,
    stale_max: Duration,
    state: Mutex<JwksState>,
}

#[derive(Default)]
struct JwksState {
    /// The keys, and when they were fetched.
    keys: Option<(Arc<[Key]>, Instant)>,
    /// When the last fetch began.
    tried: Option<Instant>,
    running: Option<Shared<BoxFuture<'static, ()>>>,
}

/// What is known of the keys that fit a token.
enum Look {
    /// These may have signed it.
    Found(Arc<[Key]>),
    /// A fetch may find them.
    Wait(Shared<BoxFuture<'static, ()>>),
    Failed(AuthError),
}

impl Jwks {
    /// Makes the store of an issuer's keys. The first token that needs one fetches them.
    pub fn new(fetch: KeyFetch, limits: &Limits) -> Self {
        Self(Arc::new(JwksInner {
            fetch,
            bytes_max: size(limits.jwks_bytes_max),
            fresh: ms(limits.jwks_ms),
            pause: ms(limits.jwks_retry_ms),
            stale_max: ms(limits.jwks_stale_ms_max),
            state: Mutex::default(),
        }))
    }

    /// Returns the issuer's keys, if one of them fits.
    ///
    /// # Errors
    /// [`AuthError::UnknownKey`] if none fits, [`AuthError::ProviderDown`] if none is known.
    ///
    /// # Cancel safety
    /// A fetch that it began goes on.
    pub(crate) async fn keys(&self, fits: impl Fn(&Key) -> bool) -> Result<Arc<[Key]>, AuthError> {
        match self.look(&fits, FetchRight::May) {
            Look::Found(keys) => Ok(keys),
            Look::Failed(error) => Err(error),
            Look::Wait(fetched) => {
                fetched.await;
                match self.look(&fits, FetchRight::MayNot) {
                    Look::Found(keys) => Ok(keys),
                    Look::Failed(error) => Err(error),
                    Look::Wait(_) => Err(AuthError::ProviderDown),
                }
            }
        }
    }

    fn look(&self, fits: &impl Fn(&Key) -> bool, right: FetchRight) -> Look {
        let (mut state, now) = (lock(&self.0.state), Instant::now());
        let usable = state.keys.as_ref().filter(|(_, at)| now - *at < self.0.stale_max);
        let fresh = usable.is_some_and(|(_, at)| now - *at < self.0.fresh);
        let found = usable.filter(|(keys, _)| keys.iter().any(fits)).map(|(keys, _)| keys.clone());
        let failed = match usable {
            Some(_) => AuthError::UnknownKey,
            None => AuthError::ProviderDown,
        };
        let rested = state.tried.is_none_or(|tried| now - tried >= self.0.pause);
        match (found, &state.running) {
            (Some(keys), _) if fresh || right == FetchRight::MayNot => Look::Found(keys),
            // Another client waits for newer ones.
            (Some(keys), Some(_)) => Look::Found(keys),
            (None, Some(running)) if right == FetchRight::May => Look::Wait(running.clone()),
            (_, None) if rested && right == FetchRight::May => {
                let running = self.begin(&mut state, now);
                Look::Wait(running)
            }
            (Some(keys), None) => Look::Found(keys),
            (None, _) => Look::Failed(failed),
        }
    }

    /// Begins a fetch in a task of its own.
    fn begin(&self, state: &mut JwksState, now: Instant) -> Shared<BoxFuture<'static, ()>> {
        state.tried = Some(now);
        let jwks = self.clone();
        let task = tokio::spawn(async move {
            let fetched = (jwks.0.fetch)().await;
            let keys = fetched.filter(|json| json.len() <= jwks.0.bytes_max);
            let keys = keys.and_then(|json| Key::read_set(&json));
            let mut state = lock(&jwks.0.state);
            if let Some(keys) = keys {
                state.keys = Some((keys.into(), Instant::now()));
            }
            state.running = None;
        });
        let running = task.map(drop).boxed().shared();
        state.running = Some(running.clone());
        running
    }
}

/// Whether a look may lead to a fetch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FetchRight {
    May,
    MayNot,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Issuer, jwks_of};
    use room_core::config::AuthAlgorithm;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// An issuer whose answer a test sets, and who counts.
    struct Provider {
        asked: AtomicUsize,
        answer: Mutex<Option<Vec<u8>>>,
    }

    impl Provider {
        fn new(answer: Option<Vec<u8>>) -> Arc<Self> {
            Arc::new(Self { asked: AtomicUsize::new(0), answer: Mutex::new(answer) })
        }

        fn jwks(self: &Arc<Self>) -> Jwks {
            let own = self.clone();
            let fetch: KeyFetch = Arc::new(move || {
                let own = own.clone();
                async move {
                    own.asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(ms(100)).await;
                    lock(&own.answer).clone()
                }
                .boxed()
            });
            Jwks::new(fetch, &Limits::default())
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    async fn find(jwks: &Jwks, id: &str) -> Result<(), AuthError> {
        jwks.keys(|key| key.fits(AuthAlgorithm::EdDsa, Some(id))).await.map(drop)
    }

    #[tokio::test(start_paused = true)]
    async fn made_up_keys_cause_one_fetch_within_the_pause() {
        let issuer = Issuer::ed("a");
        let provider = Provider::new(Some(jwks_of(&[&issuer])));
        let jwks = provider.jwks();
        let first = (0..50).map(|n| {
            let jwks = jwks.clone();
            tokio::spawn(async move { find(&jwks, &format!("x{n}")).await })
        });
        for one in first.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap(), Err(AuthError::UnknownKey));
        }
        assert_eq!(provider.asked(), 1);
        assert_eq!(find(&jwks, "a").await, Ok(()));
        assert_eq!(find(&jwks, "y").await, Err(AuthError::UnknownKey));
        assert_eq!(provider.asked(), 1);
        tokio::time::advance(ms(Limits::default().jwks_retry_ms)).await;
        assert_eq!(find(&jwks, "y").await, Err(AuthError::UnknownKey));
        assert_eq!(provider.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_key_is_found_and_an_old_one_is_forgotten() {
        let (old, new) = (Issuer::ed("old"), Issuer::ed("new"));
        let provider = Provider::new(Some(jwks_of(&[&old])));
        let jwks = provider.jwks();
        assert_eq!(find(&jwks, "old").await, Ok(()));
        *lock(&provider.answer) = Some(jwks_of(&[&new]));
        tokio::time::advance(ms(Limits::default().jwks_retry_ms)).await;
        assert_eq!(find(&jwks, "new").await, Ok(()));
        assert_eq!(find(&jwks, "old").await, Err(AuthError::UnknownKey));
    }

    #[tokio::test(start_paused = true)]
    async fn keys_stay_in_use_while_the_issuer_is_down_and_not_forever() {
        let limits = Limits::default();
        let issuer = Issuer::ed("a");
        let provider = Provider::new(None);
        let jwks = provider.jwks();
        assert_eq!(find(&jwks, "a").await, Err(AuthError::ProviderDown));
        // A failed fetch is not repeated for each client.
        assert_eq!(find(&jwks, "a").await, Err(AuthError::ProviderDown));
        assert_eq!(provider.asked(), 1);
        *lock(&provider.answer) = Some(jwks_of(&[&issuer]));
        tokio::time::advance(ms(limits.jwks_retry_ms)).await;
        assert_eq!(find(&jwks, "a").await, Ok(()));
        for answer in
            [None, Some(b"<html>".to_vec()), Some(vec![b' '; size(limits.jwks_bytes_max) + 1])]
        {
            *lock(&provider.answer) = answer;
            tokio::time::advance(ms(limits.jwks_ms)).await;
            assert_eq!(find(&jwks, "a").await, Ok(()));
        }
        assert_eq!(provider.asked(), 5);
        tokio::time::advance(ms(limits.jwks_stale_ms_max)).await;
        assert_eq!(find(&jwks, "a").await, Err(AuthError::ProviderDown));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_does_not_end_the_fetch() {
        let issuer = Issuer::ed("a");
        let provider = Provider::new(Some(jwks_of(&[&issuer])));
        let jwks = provider.jwks();
        let hasty = tokio::time::timeout(ms(1), find(&jwks, "a")).await;
        assert!(hasty.is_err());
        assert_eq!(find(&jwks, "a").await, Ok(()));
        assert_eq!(provider.asked(), 1);
    }
}
