//! The loop that a room runs in under test.
//!
//! Owns the room's instance and the order of its events. Invariant: one event is one turn, kept whole
//! or dropped whole; after a panic the next event meets a fresh instance. It does not know how a test
//! asks for an event.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::limits;
use super::mock::with_world;
use super::streams;
use super::world::{LogLine, World};
use crate::context::Context;
use crate::http::{Header, Lobby, Request, Response, Verdict};
use crate::instance::Live;
use crate::log::Level;
use crate::stream::{BodyFault, BodyPiece, StreamEnd};
use crate::{Result, Room};

/// The code by which a hook refuses that returned an error.
const HOOK_ERROR_CODE: u16 = 4401;
/// The text that a client receives after a fault.
pub(super) const FAILED: &str = "the room failed";

#[derive(Debug)]
pub(super) struct Runner<R> {
    live: Option<Live<R>>,
    pub(super) world: World,
    pub(super) errors: Vec<String>,
}

impl<R: Room> Runner<R> {
    pub(super) fn new(world: World) -> Self {
        Self { live: None, world, errors: Vec::new() }
    }

    /// Sends a request; returns its number.
    pub(super) fn request(&mut self, request: Request, body_follows: bool) -> u64 {
        let number = self.world.streams.arrive(body_follows);
        let own = self.world.streams.own.take();
        if let Some(response) = self.answer(request, own) {
            self.world.streams.client(number).answer(response);
        }
        self.settle();
        number
    }

    /// Runs a request; returns its response, unless that is open.
    fn answer(&mut self, request: Request, own: Option<(u64, bool)>) -> Option<Response> {
        let Ok((verdict, added)) = self.decide(R::on_before_request, &request) else {
            return Some(Response::text(FAILED).with_status(500));
        };
        let mut response = match verdict {
            Verdict::Forward(Request { headers, uri, .. }) => {
                if let Some((number, _)) = own {
                    self.world.streams.client(number).added = added;
                }
                return self.requested(Request { headers, uri, ..request }, own);
            }
            Verdict::Respond(response) => response,
            Verdict::Refuse { code, reason } => {
                let status = Some(code - 4000).filter(|code| (400..=499).contains(code));
                Response::text(reason).with_status(status.unwrap_or(403))
            }
        };
        response.headers.extend(added);
        Some(response)
    }

    /// The turn of a request that has reached the room; none is the answer if its response stays open. A call of another
    /// room has no response of its `own` that could.
    pub(super) fn requested(
        &mut self,
        request: Request,
        own: Option<(u64, bool)>,
    ) -> Option<Response> {
        let number = own.map_or(0, |(number, _)| number);
        // `on_start` is a turn of its own, and about no request.
        let response = self.start().and_then(|()| {
            self.world.streams.own = own;
            self.turn(|live| {
                let response = live.request(request)?;
                limits::check_response(&response)?;
                Ok(response)
            })
        });
        self.world.streams.own = None;
        let refusal = self.world.refusal.take();
        let failed = || refusal.unwrap_or_else(|| Response::text(FAILED).with_status(500));
        match response {
            // It is open, or a flush has completed it.
            Ok(_) if self.world.streams.is_deferred(number) => None,
            Ok(response) => Some(self.world.streams.with_added(number, response)),
            Err(_) if self.world.streams.is_open(number) => {
                self.world.streams.cut(number, StreamEnd::Failed, Some(failed()));
                None
            }
            Err(_) => Some(failed()),
        }
    }

    /// Ends an open response early.
    pub(super) fn cut_stream(&mut self, number: u64, end: StreamEnd) {
        let late = matches!(end, StreamEnd::Late)
            .then(|| Response::text("the room did not answer in time").with_status(504));
        self.world.streams.cut(number, end, late);
        self.settle();
    }

    /// Hands on a piece of a request's body, if its response is open.
    pub(super) fn piece(&mut self, number: u64, piece: BodyPiece) {
        if !self.world.streams.is_open(number) {
            return;
        }
        self.world.streams.touch(number, self.world.now_ms);
        let fault = match &piece {
            BodyPiece::Failed(fault) => Some(*fault),
            BodyPiece::More(_) | BodyPiece::Last(_) => None,
        };
        let id = streams::id(number);
        let taken = self.call(|room, ctx| room.on_body(ctx, &id, piece));
        let waits = self.world.streams.waits(number);
        let otherwise = match (taken, fault) {
            (Err(_), _) => Some(Response::text(FAILED).with_status(500)),
            (Ok(()), Some(BodyFault::TooLarge)) if waits => Some(Response::status(413)),
            (Ok(()), Some(_)) if waits => Some(Response::status(408)),
            _ => None,
        };
        if otherwise.is_some() {
            self.world.streams.cut(number, StreamEnd::Failed, otherwise);
        }
        self.settle();
    }

    /// Drops the instance; the next event starts another.
    pub(super) fn drop_instance(&mut self) {
        self.live = None;
        self.world.ticks = None;
    }

    /// Starts an instance in place of the one there is, which stays if that fails.
    pub(super) fn restart(&mut self) {
        let old = self.live.take();
        if self.start().is_err() {
            self.live = old;
        }
    }

    /// Starts an instance if there is none.
    pub(super) fn start(&mut self) -> Result<(), String> {
        if self.live.is_none() {
            self.world.begin();
            let started = guarded(&mut self.world, Live::start);
            self.live = Some(self.finish(started)?);
        }
        Ok(())
    }

    /// Runs one callback as a turn.
    pub(super) fn call<T>(
        &mut self,
        callback: impl FnOnce(&mut R, &Context) -> Result<T>,
    ) -> Result<T, String> {
        self.turn(|live| live.turn(callback))
    }

    /// Starts the room if needed, then runs one turn and keeps all of its effects or none.
    pub(super) fn turn<T>(
        &mut self,
        run: impl FnOnce(&mut Live<R>) -> Result<T, String>,
    ) -> Result<T, String> {
        // Nobody has ended and no alarm has failed as far as `on_start` knows.
        let (about, tries) = (self.world.about.take(), mem::take(&mut self.world.alarm_tries));
        self.start()?;
        (self.world.about, self.world.alarm_tries) = (about, tries);
        let Some(mut live) = self.live.take() else {
            return Err("the room stopped".to_owned());
        };
        self.world.begin();
        let outcome = guarded(&mut self.world, || run(&mut live));
        // A panic may have left the struct half changed, so only an intact one is kept.
        if !matches!(outcome, Err(Fault::Panicked(_))) {
            self.live = Some(live);
        }
        self.finish(outcome)
    }

    fn finish<T>(&mut self, outcome: Result<T, Fault>) -> Result<T, String> {
        let error = match outcome {
            Ok(value) => {
                self.world.commit();
                return Ok(value);
            }
            Err(Fault::Returned(error)) => error,
            Err(Fault::Panicked(message)) => format!("panicked: {message}"),
        };
        self.world.roll_back();
        match self.world.refusal.as_ref().map(|refusal| limits::check_refusal(&error, refusal)) {
            // An answer and no failure.
            Some(Ok(())) => return Err(error),
            Some(Err(problem)) => self.report(Level::Error, problem),
            None => self.report(Level::Error, error.clone()),
        }
        self.world.refusal = None;
        Err(error)
    }

    pub(super) fn report_fault(&mut self, error: String) {
        self.report(Level::Error, error);
    }

    pub(super) fn report(&mut self, level: Level, message: String) {
        self.errors.push(message.clone());
        self.world.logs.push(LogLine { level, message, fields: Vec::new() });
    }

    /// Asks a hook that runs before the room is reached. Returns its verdict, and the headers that it adds to
    /// the answer. What it returns as an error is a refusal; the error here is its fault.
    pub(super) fn decide(
        &mut self,
        hook: fn(Request, &Lobby) -> Result<Verdict>,
        request: &Request,
    ) -> Result<(Verdict, Vec<Header>), String> {
        let lobby = Lobby { party: self.world.party.clone(), room: self.world.name.clone() };
        let given = request.clone();
        self.world.added = Some(Vec::new());
        let verdict =
            guarded(&mut self.world, || hook(given, &lobby).map_err(|error| error.to_string()));
        let mut added = self.world.added.take().unwrap_or_default();
        let checked = match verdict {
            Ok(verdict) => limits::check_verdict(verdict, request),
            Err(Fault::Returned(error)) => {
                added.clear();
                let reason = limits::cut_reason(&error);
                Ok(Verdict::Refuse { code: HOOK_ERROR_CODE, reason })
            }
            Err(Fault::Panicked(message)) => Err(format!("panicked: {message}")),
        };
        if let Err(fault) = &checked {
            self.report(Level::Error, fault.clone());
        }
        checked.map(|verdict| (verdict, added))
    }
}

/// Why a turn was dropped.
pub(super) enum Fault {
    Returned(String),
    Panicked(String),
}

/// Runs room code in its world, and catches its panics.
pub(super) fn guarded<T>(
    world: &mut World,
    code: impl FnOnce() -> Result<T, String>,
) -> Result<T, Fault> {
    // The struct that a panic leaves is dropped, and the world is rolled back.
    match with_world(world, || catch_unwind(AssertUnwindSafe(code))) {
        Ok(result) => result.map_err(Fault::Returned),
        Err(panic) => Err(Fault::Panicked(panic_text(panic.as_ref()))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned())
}
