//! The turns of answers and calls of a room under test.
//!
//! Owns what becomes of an answer whose turn failed. Invariant: a request is gone with the turn of its answer. It does not
//! know who answers.

use super::due::ALARM_RETRIES_MAX;
use super::mock::world as with_current;
use super::outcalls::{GivenAnswer, PendingAnswer, id_of};
use super::runner::Runner;
use crate::Room;
use crate::log::Level;
use crate::outcall::{Answer, Call, Chunk, Fetched, OutcallFailure};

impl<R: Room> Runner<R> {
    /// Gives a request its answer.
    pub(super) fn answered(&mut self, number: u64, answer: GivenAnswer) {
        if let Some(record) = self.world.outcalls.get(&number) {
            let (tag, due_ms) = (record.tag.clone(), self.world.now_ms);
            let answer = PendingAnswer { number, tag, answer, due_ms, failures: 0 };
            self.world.answers.push(answer);
        }
        self.settle();
    }

    /// Delivers an answer; the request is gone with its turn.
    pub(super) fn deliver(&mut self, pending: PendingAnswer) {
        let number = pending.number;
        let (id, tag, answer) = (id_of(number), pending.tag.clone(), pending.answer.clone());
        self.world.answers.retain(|answer| answer.number != number);
        self.world.answering = self.world.outcalls.get(&number).map(|it| (number, it.clone()));
        // `on_start` is a turn of its own.
        let delivered = self.start().and_then(|()| {
            self.turn(|live| {
                with_current(|world| world.set_outcall(number, None));
                live.turn(|room, ctx| match answer {
                    GivenAnswer::Response(answer) => {
                        room.on_response(ctx, Fetched { id, tag, answer })
                    }
                    GivenAnswer::Returned(answer) => {
                        room.on_answer(ctx, Answer { id, tag, answer })
                    }
                })
            })
        });
        self.world.answering = None;
        if delivered.is_ok() {
            return;
        }
        let PendingAnswer { failures, tag, .. } = &pending;
        if *failures == ALARM_RETRIES_MAX {
            let text = format!("the answer to the request {tag:?} failed too often and is dropped");
            self.report(Level::Error, text);
            self.world.replace_outcall(number, None);
        } else {
            let failures = failures + 1;
            let due_ms = self.world.now_ms.saturating_add(1_000 << failures);
            self.world.answers.push(PendingAnswer { failures, due_ms, ..pending });
        }
    }

    /// Delivers a part of a response. Returns false if its turn failed, which ends the request.
    pub(super) fn chunk(&mut self, number: u64, chunk: Chunk) -> bool {
        let taken = self.call(|room, ctx| room.on_chunk(ctx, chunk)).is_ok();
        if !taken {
            let failure = OutcallFailure::new("chunk-failed", "the turn of a chunk failed");
            self.answered(number, GivenAnswer::Response(Err(failure)));
        }
        self.settle();
        taken
    }

    /// Carries out a call of another room.
    pub(super) fn called(&mut self, call: Call) -> Result<Vec<u8>, OutcallFailure> {
        let returned = self.call(|room, ctx| room.on_call(ctx, call));
        self.settle();
        returned.map(|reply| reply.0).map_err(|error| OutcallFailure::new("refused", &error))
    }
}
