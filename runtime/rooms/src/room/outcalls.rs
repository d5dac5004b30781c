//! The requests of a room that are under way. Owns their bound, and that each runs once at a time.
//!
//! Invariant: a request is under way only after the turn that made it is durable, and ends with the room: what is not
//! answered then stays in the store, and is started again. The room's limits bound what waits here: stored requests that
//! were given up do not, and those that nothing stores are counted. It does not know what an answer means.

use super::mail::{ChunkMail, OutcallMail};
use super::mailbox::Mailbox;
use super::outcome::{OutcallOutcome, count_attempt};
use super::outside::{CallOutcome, FetchedChunk, Outside, RoomCall};
use futures_util::future::Either;
use hashbrown::HashMap;
use room_core::event::{CallPayload, ResponseChunk};
use room_core::id::RoomId;
use room_core::jobs::{
    CallId, JobId, JobTally, Outcall, OutcallAnswer, OutcallFailure, OutcallTarget,
    ResponseDelivery, RoomAddress,
};
use room_core::metrics::{GaugeShare, RoomMetrics};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// The requests of one room that are under way, or wait for others to end.
#[derive(Default)]
pub(super) struct RoomOutcalls {
    running: HashMap<JobId, Running>,
    waiting: VecDeque<Waiting>,
    /// The requests that nothing stores, from their commit to their end.
    unstored: JobTally,
}

/// A request that the room has started.
#[derive(Clone)]
pub(super) struct StartedOutcall {
    pub(super) id: JobId,
    pub(super) outcall: Outcall,
    /// Whether it is one of the room's jobs.
    pub(super) is_stored: bool,
}

/// A request that is under way.
struct Running {
    started: StartedOutcall,
    begun: Instant,
    _counted: GaugeShare,
    _task: AbortOnDropHandle<()>,
}

/// A request that waits for another one to end.
struct Waiting {
    started: StartedOutcall,
    _counted: GaugeShare,
}

/// The task that passes chunks on.
type Passing = AbortOnDropHandle<bool>;

/// The way of a room's requests to the node and back.
pub(super) struct OutcallRoute<'a> {
    pub(super) outside: &'a Arc<dyn Outside>,
    pub(super) mailbox: &'a Mailbox,
    pub(super) room: &'a RoomId,
    pub(super) metrics: &'a RoomMetrics,
    /// The largest number of requests that are under way.
    pub(super) running_max: usize,
}

impl RoomOutcalls {
    /// Returns true if a request is under way, or waits for another one to end.
    pub(super) fn has(&self, id: JobId) -> bool {
        self.running.contains_key(&id)
            || self.waiting.iter().any(|waiting| waiting.started.id == id)
    }

    /// Starts a request, now or when another one ends. One that is under way already stays so.
    pub(super) fn start(&mut self, started: StartedOutcall, route: &OutcallRoute<'_>) {
        if self.has(started.id) {
            return;
        }
        if self.running.len() < route.running_max {
            self.run(started, route);
        } else {
            let counted = GaugeShare::of(&route.metrics.outcalls_waiting);
            self.waiting.push_back(Waiting { started, _counted: counted });
        }
    }

    fn run(&mut self, started: StartedOutcall, route: &OutcallRoute<'_>) {
        let id = started.id;
        let attempt = route.attempt(id, &started.outcall);
        let mailbox = route.mailbox.clone();
        let task = tokio::spawn(async move {
            let outcome = attempt.await;
            // A room that has left memory starts the request again when it is back.
            drop(mailbox.push(OutcallMail { id, outcome }));
        });
        let running = Running {
            started,
            begun: Instant::now(),
            _counted: GaugeShare::of(&route.metrics.outcalls_running),
            _task: AbortOnDropHandle::new(task),
        };
        self.running.insert(id, running);
    }

    /// Takes a request that has ended, and starts the next one that waits.
    pub(super) fn ended(&mut self, id: JobId, route: &OutcallRoute<'_>) -> Option<StartedOutcall> {
        let ended = self.running.remove(&id)?;
        count_attempt(route.metrics, &ended.started.outcall.target, ended.begun.elapsed());
        if !ended.started.is_stored {
            let (JobTally { count, bytes }, ended) = (self.unstored, ended.started.outcall.bytes());
            let (count, bytes) = (count.saturating_sub(1), bytes.saturating_sub(ended));
            self.unstored = JobTally { count, bytes };
        }
        if let Some(next) = self.waiting.pop_front() {
            self.run(next.started, route);
        }
        Some(ended.started)
    }

    /// Returns a request that is under way.
    pub(super) fn running(&self, id: JobId) -> Option<&StartedOutcall> {
        self.running.get(&id).map(|running| &running.started)
    }

    /// Returns true if no request is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Returns the number of requests that are under way.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Returns true if a request waits for another one to end.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Gives up those of these requests that wait for others to end.
    pub(super) fn give_up(&mut self, ids: &[JobId]) {
        self.waiting.retain(|waiting| !ids.contains(&waiting.started.id));
    }

    /// Counts requests that nothing stores, from their commit on.
    pub(super) fn note_unstored(&mut self, asked: &[(JobId, Outcall)]) {
        let bytes: usize = asked.iter().map(|(_, outcall)| outcall.bytes()).sum();
        self.unstored.count += asked.len();
        self.unstored.bytes += bytes;
    }

    /// Returns the number and the size of the requests that nothing stores.
    pub(super) fn unstored(&self) -> JobTally {
        self.unstored
    }

    /// Gives up all of them.
    pub(super) fn clear(&mut self) {
        self.running.clear();
        self.waiting.clear();
        self.unstored = JobTally::default();
    }
}

impl OutcallRoute<'_> {
    /// Begins one attempt of a request. Calls of other rooms are queued there when this returns.
    fn attempt(
        &self,
        id: JobId,
        outcall: &Outcall,
    ) -> impl Future<Output = OutcallOutcome> + Send + use<> {
        match &outcall.target {
            OutcallTarget::Fetch { request, delivery, .. } => {
                let key = idempotency_key(self.room, id);
                let in_chunks = *delivery == ResponseDelivery::Chunks;
                let (chunks, taken) =
                    in_chunks.then(|| self.chunks(id, outcall.tag.clone())).unzip();
                let fetched = self.outside.fetch(self.room, request.clone(), key, chunks);
                Either::Left(async move {
                    let fetched = fetched.await;
                    // A panic of the task is our bug; the body is not complete then.
                    let all_taken = match taken {
                        Some(taken) => taken.await.unwrap_or(false),
                        None => true,
                    };
                    if !all_taken && fetched.is_ok() {
                        let message = "the request ended because the turn of a chunk failed";
                        let failure = OutcallFailure::new("chunk-failed", message);
                        return OutcallOutcome::Answered(OutcallAnswer::NoResponse(failure));
                    }
                    OutcallOutcome::of_fetch(fetched)
                })
            }
            OutcallTarget::Call { to, data } => {
                let payload = CallPayload::Data(data.clone());
                Either::Right(self.call(id, to, payload, outcall))
            }
            OutcallTarget::Request { to, request } => {
                let payload = CallPayload::Request(request.clone());
                Either::Right(self.call(id, to, payload, outcall))
            }
        }
    }

    fn call(
        &self,
        id: JobId,
        to: &RoomAddress,
        payload: CallPayload,
        outcall: &Outcall,
    ) -> impl Future<Output = OutcallOutcome> + Send + use<> {
        let call =
            RoomCall { id: Self::call_id(self.room, id), payload, until_ms: outcall.deadline_ms };
        let called = self.outside.call(to, call);
        let target = outcall.target.clone();
        async move {
            match called.await {
                CallOutcome::Answered(answer) => OutcallOutcome::Answered(answer),
                CallOutcome::Failed(failure) => OutcallOutcome::Answered(target.failed(failure)),
                CallOutcome::NotNow(error) => {
                    let message =
                        format!("the call was given up, and may have been carried out: {error}");
                    let answer = target.failed(OutcallFailure::new("expired", message));
                    OutcallOutcome::NotNow { answer, counts: false }
                }
            }
        }
    }

    /// Returns the name of a room's call.
    pub(super) fn call_id(room: &RoomId, job: JobId) -> CallId {
        let (party, room) = (room.party().to_string(), room.name().to_owned());
        CallId { from: RoomAddress { party, room }, job }
    }

    /// Passes the chunks of a response on to the room: the next one when the turn of the one before is durable. The task
    /// returns true if the room took all of them.
    fn chunks(&self, id: JobId, tag: String) -> (mpsc::Sender<FetchedChunk>, Passing) {
        let (sender, mut chunks) = mpsc::channel::<FetchedChunk>(1);
        let mailbox = self.mailbox.clone();
        let passing = tokio::spawn(async move {
            let mut offset = 0;
            while let Some(FetchedChunk { status, bytes }) = chunks.recv().await {
                let (taken, is_taken) = oneshot::channel();
                let next = offset + bytes.len() as u64;
                let chunk = ResponseChunk { id, tag: tag.clone(), status, offset, bytes };
                if mailbox.push(ChunkMail { chunk, taken }).is_err() || is_taken.await.is_err() {
                    // The channel closes, which ends the request.
                    return false;
                }
                offset = next;
            }
            true
        });
        (sender, AbortOnDropHandle::new(passing))
    }
}

/// Returns what distinguishes a request from all others of its store. It is the same whenever the request is repeated.
fn idempotency_key(room: &RoomId, id: JobId) -> String {
    let name =
        percent_encoding::utf8_percent_encode(room.name(), percent_encoding::NON_ALPHANUMERIC);
    format!("{}.{name}.{id}", room.party())
}
