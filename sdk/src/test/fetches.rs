//! Requests of hooks to other servers, in tests.
//!
//! Owns the test's answers, and the responses that hooks keep. Invariant: a kept response is used until the test's clock
//! has passed its time. It does not know sockets: no request leaves the test.

use std::collections::BTreeMap;
use std::fmt;

use super::world::World;
use crate::hook_fetch::HookFetch;
use crate::http::{Request, Response};
use crate::outcall::OutcallFailure;

/// What the test answers.
type Answer = Box<dyn FnMut(&Request) -> Result<Response, OutcallFailure>>;

/// The other servers of a test.
#[derive(Default)]
pub(super) struct OtherServers {
    answer: Option<Answer>,
    /// The kept responses, with the time until which they are used.
    kept: BTreeMap<String, (u64, Response)>,
}

impl fmt::Debug for OtherServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtherServers").field("kept", &self.kept).finish_non_exhaustive()
    }
}

impl OtherServers {
    pub(super) fn answer(
        &mut self,
        answer: impl FnMut(&Request) -> Result<Response, OutcallFailure> + 'static,
    ) {
        self.answer = Some(Box::new(answer));
    }
}

/// Answers a request of the hook that runs now.
pub(super) fn fetch(world: &mut World, fetch: HookFetch) -> Result<Response, OutcallFailure> {
    if world.turn.is_some() {
        let message = "a room's turn cannot wait for another server: only hooks can fetch and wait";
        return Err(OutcallFailure::new("not-in-a-hook", message));
    }
    let (now_ms, servers) = (world.now_ms, &mut world.other_servers);
    if let Some((key, _)) = &fetch.cached
        && let Some((until_ms, response)) = servers.kept.get(key)
        && now_ms < *until_ms
    {
        return Ok(response.clone());
    }
    let uri = &fetch.request.uri;
    let Some(answer) = &mut servers.answer else {
        let message =
            format!("the hook fetches {uri}, and the test has no answer: use `answer_hooks`");
        return Err(OutcallFailure::new("unreachable", &message));
    };
    let response = answer(&fetch.request)?;
    if let Some((key, ms)) = fetch.cached
        && (200..=299).contains(&response.status)
    {
        servers.kept.insert(key, (now_ms.saturating_add(ms), response.clone()));
    }
    Ok(response)
}
