//! The room as a WebAssembly component.
//!
//! Owns the instance that the runtime calls, and its callbacks. Invariant: besides the bindings, this file and those below
//! it alone know `wit-bindgen`. It does not know what a turn is: the runtime keeps or drops the effects of a call by its
//! result.

mod calls;
mod convert;

pub use calls::Wasm;

use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic;

use crate::bindings::exports::room::runtime::{
    batch, cron_events, door, events, expiry, fetch, outcall_events, publish_events, stream_events,
    timer_events,
};
use crate::bindings::room::runtime::{attachment, inbox, outcalls, timers, types};
use crate::connection::{Close, Connection};
use crate::context::Context;
use crate::cron::Cron;
use crate::host::{Host as _, RoomAddress};
use crate::http::Verdict;
use crate::instance::Live;
use crate::log::Level;
use crate::outcall::{Answer, Call, Chunk, Fetched, Reply};
use crate::project::ProjectEnv;
use crate::stream::whole;
use crate::timer::Timer;
use crate::{Result, Room};

thread_local! {
    /// The started room, as a `Live<R>`; a component has one thread and holds one room.
    static LIVE: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// The exports of a component whose room is an `R`; [`export!`](crate::export) names it.
#[derive(Debug)]
pub struct Component<R>(PhantomData<R>);

/// What the builder put behind the code of this module; empty if it put nothing there.
pub fn attached() -> Vec<u8> {
    attachment::read()
}

impl<R: Room> Component<R> {
    /// Runs a callback of the started room.
    fn turn<T>(callback: impl FnOnce(&mut R, &Context) -> Result<T>) -> Result<T, String> {
        Self::live(|live| live.turn(callback))
    }

    fn live<T>(call: impl FnOnce(&mut Live<R>) -> Result<T, String>) -> Result<T, String> {
        LIVE.with_borrow_mut(|slot| match slot.as_mut().and_then(|live| live.downcast_mut()) {
            Some(live) => call(live),
            None => Err("the room was not started".to_owned()),
        })
    }
}

impl<R: Room> events::Guest for Component<R> {
    fn on_start() -> Result<(), String> {
        report_panics();
        let live = Live::<R>::start()?;
        LIVE.set(Some(Box::new(live)));
        Ok(())
    }

    fn tags(conn: types::Connection, request: types::Request) -> Result<Vec<String>, String> {
        let (conn, request) = (Connection::from_data(conn.into()), request.into());
        Self::turn(|room, ctx| room.tags(ctx, &conn, &request))
    }

    fn on_connect(conn: types::Connection, request: types::Request) -> Result<(), String> {
        let (conn, request) = (Connection::from_data(conn.into()), request.into());
        Self::turn(|room, ctx| room.on_connect(ctx, &conn, &request))
    }

    fn on_message(conn: String, message: types::Message) -> Result<(), String> {
        let conn = Connection::from_id(conn);
        Self::turn(|room, ctx| room.on_message(ctx, &conn, message.into()))
    }

    fn on_close(
        conn: types::Connection,
        frame: types::CloseFrame,
        clean: bool,
    ) -> Result<(), String> {
        let conn = Connection::from_data(conn.into());
        let close = Close { code: frame.code, reason: frame.reason, clean };
        Self::turn(|room, ctx| room.on_close(ctx, &conn, close))
    }

    fn on_error(conn: types::Connection, error: String) -> Result<(), String> {
        let conn = Connection::from_data(conn.into());
        Self::turn(|room, ctx| room.on_error(ctx, &conn, &error))
    }

    fn on_request(request: types::Request) -> Result<types::Response, String> {
        Self::live(|live| live.request(request.into())).map(Into::into)
    }

    fn on_alarm() -> Result<(), String> {
        Self::turn(|room, ctx| room.on_alarm(ctx))
    }
}

impl<R: Room> batch::Guest for Component<R> {
    fn run() {
        let mut outcome = Ok(());
        while let Some(inbox::Delivery { connection, message }) = inbox::next(as_text(&outcome)) {
            outcome = <Self as events::Guest>::on_message(connection, message);
        }
    }
}

fn as_text(outcome: &Result<(), String>) -> Result<(), &str> {
    outcome.as_ref().map(|&()| ()).map_err(String::as_str)
}

impl<R: Room> expiry::Guest for Component<R> {
    fn on_expire() -> Result<(), String> {
        Self::turn(|room, ctx| room.on_expire(ctx))
    }
}

impl<R: Room> timer_events::Guest for Component<R> {
    fn on_timer(timer: timers::Timer) -> Result<(), String> {
        let timer = Timer::from_data(timer.into());
        Self::turn(|room, ctx| room.on_timer(ctx, timer))
    }

    fn on_tick() -> Result<(), String> {
        Self::turn(|room, ctx| room.on_tick(ctx))
    }
}

impl<R: Room> outcall_events::Guest for Component<R> {
    fn on_response(
        id: String,
        tag: String,
        answer: Result<types::Response, outcalls::Failure>,
    ) -> Result<(), String> {
        let answer = answer.map(Into::into).map_err(Into::into);
        Self::turn(|room, ctx| room.on_response(ctx, Fetched { id, tag, answer }))
    }

    fn on_chunk(chunk: outcalls::Chunk) -> Result<(), String> {
        let outcalls::Chunk { id, tag, status, offset, bytes } = chunk;
        let chunk = Chunk { id, tag, status, offset, bytes };
        Self::turn(|room, ctx| room.on_chunk(ctx, chunk))
    }

    fn on_call(
        caller: outcalls::RoomAddress,
        id: String,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        let from = RoomAddress { party: caller.party, room: caller.room };
        Self::turn(|room, ctx| room.on_call(ctx, Call { id, from, data })).map(|Reply(data)| data)
    }

    fn on_answer(
        id: String,
        tag: String,
        answer: Result<Vec<u8>, outcalls::Failure>,
    ) -> Result<(), String> {
        let answer = answer.map_err(Into::into);
        Self::turn(|room, ctx| room.on_answer(ctx, Answer { id, tag, answer }))
    }
}

impl<R: Room> stream_events::Guest for Component<R> {
    fn on_body(id: String, piece: stream_events::BodyPiece) -> Result<(), String> {
        Self::turn(|room, ctx| room.on_body(ctx, &id, piece.into()))
    }

    fn on_stream_close(id: String, reason: stream_events::StreamEnd) -> Result<(), String> {
        Self::turn(|room, ctx| room.on_stream_close(ctx, &id, reason.into()))
    }
}

impl<R: Room> publish_events::Guest for Component<R> {
    fn on_publish(message: types::Message) -> Result<(), String> {
        Self::turn(|room, ctx| room.on_publish(ctx, message.into()))
    }
}

impl<R: Room> cron_events::Guest for Component<R> {
    fn on_cron(name: String, at: u64) -> Result<(), String> {
        Self::turn(|room, ctx| room.on_cron(ctx, Cron::new(name, at)))
    }
}

impl<R: Room> door::Guest for Component<R> {
    fn on_before_connect(
        request: types::Request,
        lobby: door::Lobby,
    ) -> Result<door::Verdict, String> {
        report_panics();
        let verdict = R::on_before_connect(request.into(), &lobby.into()).and_then(checked);
        verdict.map(Into::into).map_err(|error| error.to_string())
    }

    fn on_before_request(
        request: types::Request,
        lobby: door::Lobby,
    ) -> Result<door::Verdict, String> {
        report_panics();
        let verdict = R::on_before_request(request.into(), &lobby.into()).and_then(checked);
        verdict.map(Into::into).map_err(|error| error.to_string())
    }
}

impl<R: Room> fetch::Guest for Component<R> {
    fn on_fetch(request: types::Request) -> Result<Option<types::Response>, String> {
        report_panics();
        let response = R::on_fetch(request.into(), &ProjectEnv::new());
        let response = response.and_then(|own| own.map(whole).transpose());
        response.map(|own| own.map(Into::into)).map_err(|error| error.to_string())
    }

    fn on_socket(request: types::Request) -> Result<fetch::SocketVerdict, String> {
        report_panics();
        let verdict = R::on_socket(request.into(), &ProjectEnv::new());
        verdict.map(Into::into).map_err(|error| error.to_string())
    }
}

/// A hook's decision, if its response is whole.
fn checked(verdict: Verdict) -> Result<Verdict> {
    match verdict {
        Verdict::Respond(response) => whole(response).map(Verdict::Respond),
        verdict => Ok(verdict),
    }
}

/// Sends a panic's message and place to the log, before the trap that follows.
fn report_panics() {
    panic::set_hook(Box::new(|panic| Wasm::log(Level::Error, &panic.to_string(), &[])));
}
