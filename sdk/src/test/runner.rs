//! The loop that a room runs in under test.
//!
//! Owns the room's instance and the order of its events. Invariant: one event is one turn, kept whole
//! or dropped whole; after a panic the next event meets a fresh instance. It does not know how a test
//! asks for an event.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::limits;
use super::mock::{set_tags, with_world, world as with_current};
use super::replacements::{Newcomer, Replacements};
use super::streams;
use super::timers::{DeliveredTimer, PendingTimer, Ticks};
use super::world::{Ended, Inbox, Keys, Link, LogLine, Pending, Phase, World};
use crate::connection::{Close, Connection};
use crate::context::Context;
use crate::cron::Cron;
use crate::host::ConnectionData;
use crate::http::{Header, Lobby, Request, Response, Verdict};
use crate::instance::Live;
use crate::log::Level;
use crate::message::Message;
use crate::stream::{BodyFault, BodyPiece, StreamEnd};
use crate::timer::Timer;
use crate::{Result, Room};

/// The number of times a failed alarm or timer is retried: after 2 s, 4 s, … 64 s.
pub(super) const ALARM_RETRIES_MAX: u32 = 6;
/// An alarm that is set to now each time it fires would never end; the test fails instead.
const ALARMS_AT_ONCE_MAX: u32 = 1_000;
/// The code by which a hook refuses that returned an error.
const HOOK_ERROR_CODE: u16 = 4401;
/// The text that a client receives after a fault.
pub(super) const FAILED: &str = "the room failed";
/// The text for a client whose id changes hands too often.
const CONTENDED: &str =
    "connections with this id replace each other too often: an id belongs to one connection";

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

    /// Opens a connection, or does not; returns the number of the client either way.
    pub(super) fn connect(&mut self, id: &str, request: Request) -> usize {
        let client = self.world.clients.len();
        self.world.clients.push(Inbox::default());
        if let Err((code, reason)) = self.try_connect(client, id, request) {
            let close = Close { code, reason, clean: true };
            self.world.clients[client].closed = Some(close);
        }
        self.settle();
        client
    }

    fn try_connect(
        &mut self,
        client: usize,
        id: &str,
        mut request: Request,
    ) -> Result<(), (u16, String)> {
        let failed = |_| (1011, FAILED.to_owned());
        let (verdict, added) = self.decide(R::on_before_connect, &request).map_err(failed)?;
        match verdict {
            Verdict::Forward(Request { headers, uri, .. }) => {
                request = Request { headers, uri, ..request };
            }
            Verdict::Respond(mut response) => {
                response.headers.extend(added);
                let reason = format!("answered with {}", response.status_code());
                self.world.clients[client].response = Some(response);
                return Err((1006, reason));
            }
            Verdict::Refuse { code, reason } => {
                self.world.clients[client].headers = added;
                return Err((code, reason));
            }
        }
        self.start().map_err(failed)?;
        let Some(replacements) = self.replace(id) else {
            return Err((1013, CONTENDED.to_owned()));
        };
        self.open((client, replacements), id, &request).map_err(failed)?;
        self.world.clients[client].headers = added;
        Ok(())
    }

    /// Ends the connection that has this id already. Its `on_close` runs before the new `on_connect`. Returns what
    /// the newcomer knows of those before it; none if they replaced each other too often, and it is turned away.
    fn replace(&mut self, id: &str) -> Option<Replacements> {
        let now_ms = self.world.now_ms;
        let Some(old) = self.world.links.iter_mut().find(|link| link.data.id == id) else {
            return Some(Replacements::default());
        };
        let client = old.client;
        match old.replacements.meet(now_ms) {
            Newcomer::Replaces(known) => {
                let reason = "replaced by a newer connection with the same id".to_owned();
                self.world.end(client, Close { code: 4409, reason, clean: false });
                self.settle();
                Some(known)
            }
            Newcomer::Refused { first } => {
                if first {
                    self.warn_of(id);
                }
                None
            }
        }
    }

    /// Says whose newcomers are refused.
    fn warn_of(&mut self, id: &str) {
        let (max, window_ms) = (limits::REPLACEMENTS_MAX, limits::REPLACEMENT_WINDOW_MS);
        let message = format!(
            "connections with the id {id:?} replaced each other {max} times in {window_ms} ms, and newer ones are \
             refused until that time is over: give each tab an id of its own"
        );
        self.world.logs.push(LogLine { level: Level::Warn, message, fields: Vec::new() });
    }

    /// The turn of `tags` and `on_connect`.
    fn open(
        &mut self,
        (client, replacements): (usize, Replacements),
        id: &str,
        request: &Request,
    ) -> Result<(), String> {
        let uri = request.uri.clone();
        let data = ConnectionData { id: id.to_owned(), uri, ..ConnectionData::default() };
        let phase = Phase::Open;
        self.world.links.push(Link { data: data.clone(), client, phase, replacements });
        let opened = self.turn(|live| {
            let conn = Connection::from_data(data);
            let tags = live.turn(|room, ctx| room.tags(ctx, &conn, request))?;
            limits::check_tags(&tags)?;
            let conn = Connection::from_data(set_tags(client, tags));
            live.turn(|room, ctx| room.on_connect(ctx, &conn, request))
        });
        if opened.is_err() {
            self.world.links.retain(|link| link.client != client);
        }
        opened
    }

    /// Hands on a message from a client, unless it is too large.
    pub(super) fn message(&mut self, client: usize, message: Message) {
        if !limits::may_come(&message) {
            let error = format!("a message is larger than {} bytes", limits::MESSAGE_BYTES_MAX);
            self.fail(client, 1009, &error);
        } else if let Some(link) = self.world.link_of(client) {
            let conn = Connection::from_id(link.data.id.clone());
            let _ = self.call(|room, ctx| room.on_message(ctx, &conn, message));
        }
        self.settle();
    }

    /// Ends a connection that broke the protocol. The client is gone at once; the room has it among the
    /// open ones until `on_error` returned.
    fn fail(&mut self, client: usize, code: u16, error: &str) {
        let Some(link) = self.world.link_of(client) else { return };
        let conn = Connection::from_data(link.data.clone());
        let close = Close { code, reason: error.to_owned(), clean: false };
        self.world.clients[client].closed = Some(close.clone());
        let _ = self.call(|room, ctx| room.on_error(ctx, &conn, error));
        self.world.end(client, close);
    }

    /// Ends a connection from the client's side.
    pub(super) fn end(&mut self, client: usize, close: Close) {
        self.world.end(client, close);
        self.settle();
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

    /// Moves the clock, and stops at each alarm, timer and tick on the way.
    pub(super) fn advance(&mut self, millis: u64) {
        let until = self.world.now_ms.saturating_add(millis);
        while let Some(due_ms) = self.next_due().filter(|due_ms| *due_ms <= until) {
            self.world.now_ms = self.world.now_ms.max(due_ms);
            self.settle();
        }
        self.world.now_ms = until;
    }

    /// When the clock stops next.
    fn next_due(&self) -> Option<u64> {
        let alarm = self.world.alarm.map(|alarm| alarm.due_ms);
        let timer = self.world.due_timer(u64::MAX).map(|(_, timer)| timer.due_ms);
        let tick = self.world.ticks.map(|ticks| ticks.due_ms);
        let answer = self.world.answers.iter().map(|answer| answer.due_ms).min();
        let stream = self.world.streams.due();
        [alarm, timer, tick, answer, stream].into_iter().flatten().min()
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

    /// Delivers what follows from earlier events: ended connections, due alarms, timers and ticks.
    pub(super) fn settle(&mut self) {
        let (mut alarms, mut due_now) = (0, self.world.timers.len());
        loop {
            let timer = self.world.due_timer(self.world.now_ms);
            if let Some(ended) = self.world.ended.pop_front() {
                self.ended(ended);
            } else if let Some((number, end)) = self.world.streams.ended.pop_front() {
                let id = streams::id(number);
                let _ = self.call(|room, ctx| room.on_stream_close(ctx, &id, end));
            } else if let Some((number, end)) = self.world.streams.overdue(self.world.now_ms) {
                let late = Response::text("the room did not answer in time").with_status(504);
                self.world.streams.cut(number, end, Some(late));
            } else if let Some(alarm) = self.due_alarm() {
                alarms += 1;
                assert!(alarms < ALARMS_AT_ONCE_MAX, "the alarm is set to now again and again");
                self.alarm(alarm);
            } else if let Some((number, timer)) = timer {
                // Those that were there come to an end; those that each schedules for now may not.
                match due_now.checked_sub(1) {
                    Some(left) => due_now = left,
                    None => alarms += 1,
                }
                assert!(alarms < ALARMS_AT_ONCE_MAX, "timers are set to now again and again");
                self.timer(number, &timer);
            } else if let Some(answer) = self.world.due_answer(self.world.now_ms) {
                self.deliver(answer);
            } else if let Some(ticks) = self.world.ticks.filter(|t| t.due_ms <= self.world.now_ms) {
                self.tick(ticks);
            } else {
                return;
            }
        }
    }

    /// Delivers a timer: gone, or moved to its next time, with its turn.
    fn timer(&mut self, number: u64, timer: &PendingTimer) {
        let (after, before) = (timer.again(self.world.now_ms), timer.clone());
        self.world.delivered = Some(DeliveredTimer { number, before, after: after.clone() });
        // `on_start` is a turn of its own.
        let delivered = self.start().and_then(|()| {
            self.turn(|live| {
                with_current(|world| world.set_timer(number, after));
                live.turn(|room, ctx| room.on_timer(ctx, Timer::from_data(timer.data.clone())))
            })
        });
        self.world.delivered = None;
        // A room that cancelled it, and flushed that, has no timer to try again.
        if delivered.is_err() && self.world.timers.contains_key(&number) {
            self.timer_failed(number, timer.clone());
        }
    }

    fn timer_failed(&mut self, number: u64, mut timer: PendingTimer) {
        let now_ms = self.world.now_ms;
        if timer.data.tries == ALARM_RETRIES_MAX {
            let tag = &timer.data.tag;
            self.report(Level::Error, format!("the timer {tag:?} failed too often and is dropped"));
            self.world.replace_timer(number, timer.again(now_ms));
        } else {
            timer.data.tries += 1;
            timer.due_ms = now_ms.saturating_add(1_000 << timer.data.tries);
            self.world.replace_timer(number, Some(timer));
        }
    }

    /// Calls `on_cron` once.
    pub(super) fn cron(&mut self, cron: Cron) {
        // A failure is among the errors.
        let _ = self.call(|room, ctx| room.on_cron(ctx, cron));
        self.settle();
    }

    /// Delivers a tick. The next is due one pause after this one was; those that were missed are skipped.
    fn tick(&mut self, ticks: Ticks) {
        let Ticks { every_ms, due_ms } = ticks;
        let missed = (self.world.now_ms - due_ms) / every_ms;
        let due_ms = due_ms.saturating_add((missed + 1).saturating_mul(every_ms));
        self.world.ticks = Some(Ticks { every_ms, due_ms });
        let _ = self.call(|room, ctx| room.on_tick(ctx));
    }

    fn due_alarm(&self) -> Option<Pending> {
        self.world.alarm.filter(|alarm| alarm.due_ms <= self.world.now_ms)
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { data, close } = ended;
        let conn = Connection::from_data(data.clone());
        self.world.about = Some(data);
        let _ = self.call(|room, ctx| room.on_close(ctx, &conn, close));
        self.world.about = None;
    }

    fn alarm(&mut self, alarm: Pending) {
        self.world.alarm = None;
        self.world.alarm_tries = alarm.failures;
        let rung = self.call(|room, ctx| room.on_alarm(ctx));
        self.world.alarm_tries = 0;
        if rung.is_ok() {
            return;
        }
        if alarm.failures == ALARM_RETRIES_MAX {
            self.report(Level::Error, "the alarm failed too often and is dropped".to_owned());
        } else if self.world.alarm.is_none() {
            let failures = alarm.failures + 1;
            let due_ms = self.world.now_ms.saturating_add(1_000 << failures);
            self.world.alarm = Some(Pending { failures, due_ms });
        }
    }

    /// Calls `on_expire` until it succeeds or the retries are used up, and deletes the room.
    pub(super) fn expire(&mut self) {
        for failures in 0..=ALARM_RETRIES_MAX {
            if self.call(|room, ctx| room.on_expire(ctx)).is_ok() {
                break;
            }
            if failures == ALARM_RETRIES_MAX {
                let text = "on_expire failed too often; the room is deleted all the same";
                self.report(Level::Error, text.to_owned());
            } else {
                self.world.now_ms = self.world.now_ms.saturating_add(2_000 << failures);
            }
        }
        drop(self.world.store_all(Keys::new()));
        self.world.alarm = None;
        self.world.timers.clear();
        self.world.timers_bytes = 0;
        self.world.outcalls.clear();
        self.world.answers.clear();
        self.drop_instance();
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
    fn decide(
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
