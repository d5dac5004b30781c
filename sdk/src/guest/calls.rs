//! The calls of a component to the runtime.
//!
//! Owns [`Wasm`], the host of a component. Invariant: each function passes one call on, and translates its types alone. It
//! does not know rooms.

use std::time::UNIX_EPOCH;

use crate::Result;
use crate::bindings::room::runtime::{
    alarm, answer, connections, delivery, fetch_now, history, identity, log, outcalls, presence,
    room, storage, streams, timers, transports, types,
};
use crate::connection::Transport;
use crate::delivery::Delivery;
use crate::error::{
    ConnectionError, HistoryError, OutcallError, PresenceError, StorageError, StreamError,
    TimerError, too_deep,
};
use crate::history::SentMessages;
use crate::hook_fetch::HookFetch;
use crate::host::{
    ConnectionData, Entry, GrantRecord, Host, IdentityRecord, ListOptions, OutcallRecord,
    OutcallTarget, Page, SentOptions, TimerRecord, UserRecord,
};
use crate::http::Response;
use crate::log::Level;
use crate::message::Message;
use crate::outcall::{OutcallFailure, PendingRequest, Redirects};

/// The host of a component: the runtime.
pub struct Wasm;

impl Host for Wasm {
    fn connections(tag: Option<&str>) -> Vec<ConnectionData> {
        connections::list(tag).into_iter().map(Into::into).collect()
    }

    fn connection_ids(tag: Option<&str>) -> Vec<String> {
        connections::ids(tag)
    }

    fn connection(id: &str) -> Option<ConnectionData> {
        connections::get(id).map(Into::into)
    }

    fn transport(id: &str) -> Option<Transport> {
        transports::transport_of(id).map(|transport| match transport {
            transports::Transport::Websocket => Transport::WebSocket,
            transports::Transport::Sse => Transport::Sse,
            transports::Transport::LongPoll => Transport::LongPoll,
        })
    }

    fn send(id: &str, message: Message) -> Result<(), ConnectionError> {
        Ok(connections::send(id, &message.into())?)
    }

    fn broadcast(
        message: Message,
        tag: Option<&str>,
        without: &[String],
    ) -> Result<(), ConnectionError> {
        Ok(connections::broadcast(&message.into(), tag, without)?)
    }

    fn send_as(id: &str, message: Message, delivery: &Delivery) -> Result<(), ConnectionError> {
        Ok(delivery::send(id, &message.into(), &delivery.into())?)
    }

    fn broadcast_as(
        message: Message,
        tag: Option<&str>,
        without: &[String],
        delivery: &Delivery,
    ) -> Result<(), ConnectionError> {
        Ok(delivery::broadcast(&message.into(), tag, without, &delivery.into())?)
    }

    fn set_presence(connection: &str, data: &str) -> Result<(), PresenceError> {
        Ok(presence::set(connection, data)?)
    }

    fn clear_presence(connection: &str) -> Result<(), PresenceError> {
        Ok(presence::clear(connection)?)
    }

    fn flag_presence(connection: &str, flag: &str, for_ms: u32) -> Result<(), PresenceError> {
        Ok(presence::flag(connection, flag, for_ms)?)
    }

    fn present_users() -> Result<Vec<UserRecord>, PresenceError> {
        Ok(presence::users()?.into_iter().map(Into::into).collect())
    }

    fn present_user(name: &str) -> Result<Option<UserRecord>, PresenceError> {
        Ok(presence::user(name)?.map(Into::into))
    }

    fn close(id: &str, code: u16, reason: &str) -> Result<(), ConnectionError> {
        let frame = types::CloseFrame { code, reason: reason.to_owned() };
        Ok(connections::close(id, &frame)?)
    }

    fn set_state(id: &str, state: &[u8]) -> Result<(), ConnectionError> {
        Ok(connections::set_state(id, state)?)
    }

    fn get(key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(storage::get(key)?)
    }

    fn get_many(keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        Ok(storage::get_many(keys)?)
    }

    fn put(key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        Ok(storage::put(key, value)?)
    }

    fn put_many(entries: &[Entry]) -> Result<(), StorageError> {
        Ok(storage::put_many(entries)?)
    }

    fn delete(key: &[u8]) -> Result<bool, StorageError> {
        Ok(storage::delete(key)?)
    }

    fn delete_many(keys: &[Vec<u8>]) -> Result<u32, StorageError> {
        Ok(storage::delete_many(keys)?)
    }

    fn list(options: &ListOptions) -> Result<Page, StorageError> {
        let ListOptions { start, start_after, end, prefix, reverse, limit } = options.clone();
        let page = storage::list(&storage::ListOptions {
            start,
            start_after,
            end,
            prefix,
            reverse,
            limit,
        })?;
        Ok(Page { entries: page.entries, more: page.more })
    }

    fn delete_all() -> Result<(), StorageError> {
        Ok(storage::delete_all()?)
    }

    fn bytes() -> Result<u64, StorageError> {
        Ok(storage::bytes()?)
    }

    fn bytes_max() -> u64 {
        storage::bytes_max()
    }

    fn alarm() -> Option<u64> {
        alarm::get()
    }

    fn set_alarm(at: u64) {
        alarm::set(at);
    }

    fn delete_alarm() {
        alarm::delete();
    }

    fn alarm_tries() -> u32 {
        alarm::tries()
    }

    fn schedule(timer: TimerRecord) -> Result<String, TimerError> {
        Ok(timers::schedule(timer.at_ms, timer.every_ms, &timer.tag, &timer.data)?)
    }

    fn cancel(id: &str) -> bool {
        timers::cancel(id)
    }

    fn history(options: &SentOptions) -> Result<SentMessages, HistoryError> {
        let SentOptions { limit, before, after } = options.clone();
        let page = history::read(&history::Query { limit, before, after })?;
        Ok(SentMessages {
            messages: page.messages.into_iter().map(Into::into).collect(),
            more: page.more,
        })
    }

    fn timers() -> Vec<TimerRecord> {
        timers::list().into_iter().map(Into::into).collect()
    }

    fn tick(every_ms: Option<u32>) -> Result<(), TimerError> {
        Ok(timers::tick(every_ms)?)
    }

    fn ask(outcall: OutcallRecord) -> Result<String, OutcallError> {
        let OutcallRecord { tag, target } = outcall;
        Ok(match target {
            OutcallTarget::Fetch { request, options } => {
                let redirects = match options.redirects {
                    Redirects::Follow => outcalls::Redirects::Follow,
                    Redirects::Manual => outcalls::Redirects::Manual,
                    Redirects::Error => outcalls::Redirects::Error,
                };
                outcalls::fetch(
                    &request.into(),
                    &outcalls::FetchOptions {
                        tag,
                        timeout_ms: options.timeout_ms,
                        redirects,
                        retries: options.retries,
                        chunks: options.chunks,
                        best_effort: options.best_effort,
                    },
                )?
            }
            OutcallTarget::Call { to, data } => outcalls::call(&to.into(), &tag, &data)?,
            OutcallTarget::Request { to, request } => {
                outcalls::fetch_room(&to.into(), &tag, &request.into())?
            }
        })
    }

    fn cancel_outcall(id: &str) -> bool {
        outcalls::cancel(id)
    }

    fn rooms(party: &str, after: Option<&str>) -> Result<(Vec<String>, bool), OutcallError> {
        let page = outcalls::rooms(party, after, u32::MAX)?;
        Ok((page.names, page.more))
    }

    fn outcalls() -> Vec<PendingRequest> {
        let pending = |it: outcalls::PendingOutcall| PendingRequest {
            id: it.id,
            tag: it.tag,
            target: it.target,
            tries: it.tries,
        };
        outcalls::pending().into_iter().map(pending).collect()
    }

    fn request() -> Option<(String, bool)> {
        streams::request().map(|own| (own.id, own.body_follows))
    }

    fn defer() -> Result<String, StreamError> {
        Ok(streams::defer()?)
    }

    fn respond(id: &str, response: Response) -> Result<(), StreamError> {
        Ok(streams::respond(id, &response.into())?)
    }

    fn begin(id: &str, head: Response) -> Result<(), StreamError> {
        Ok(streams::begin(id, &head.into())?)
    }

    fn write(id: &str, piece: &[u8]) -> Result<(), StreamError> {
        Ok(streams::write(id, piece)?)
    }

    fn end(id: &str) -> Result<(), StreamError> {
        Ok(streams::end(id)?)
    }

    fn abort(id: &str) -> Result<(), StreamError> {
        Ok(streams::abort(id)?)
    }

    fn open_streams() -> Vec<String> {
        streams::open()
    }

    fn identity_of(connection: &str) -> Option<IdentityRecord> {
        identity::of_connection(connection).map(Into::into)
    }

    fn ticket(grant: GrantRecord) -> Result<String, String> {
        identity::ticket(&grant.into())
    }

    fn party() -> String {
        room::party()
    }

    fn name() -> String {
        room::name()
    }

    fn flush() {
        room::flush();
    }

    fn savepoint() -> Result<u32> {
        room::savepoint().map_err(|types::Limit { name, max }| too_deep(&name, max))
    }

    fn roll_back(savepoint: u32) {
        room::rollback(savepoint);
    }

    fn release(savepoint: u32) {
        room::release(savepoint);
    }

    fn refuse(response: Response) {
        room::refuse(&response.into());
    }

    fn add_response_header(name: &str, value: &[u8]) {
        answer::add_header(name, value);
    }

    fn fetch_now(fetch: HookFetch) -> Result<Response, OutcallFailure> {
        let HookFetch { request, timeout_ms, redirects, cached } = fetch;
        let options = fetch_now::Options {
            timeout: timeout_ms,
            redirects: match redirects {
                Redirects::Follow => fetch_now::Redirects::Follow,
                Redirects::Manual => fetch_now::Redirects::Manual,
                Redirects::Error => fetch_now::Redirects::Error,
            },
            caching: cached.map(|(key, ms)| fetch_now::Caching { key, ms }),
        };
        match fetch_now::fetch(&request.into(), &options) {
            Ok(response) => Ok(response.into()),
            Err(fetch_now::Failure { code, message }) => Err(OutcallFailure { code, message }),
        }
    }

    fn log(level: Level, message: &str, fields: &[(&str, String)]) {
        let fields: Vec<_> = fields.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        log::write(level.into(), message, &fields);
    }

    fn now_ms() -> u64 {
        let since = UNIX_EPOCH.elapsed().unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn var(name: &str) -> Option<String> {
        std::env::var_os(name)?.into_string().ok()
    }

    fn vars() -> Vec<(String, String)> {
        let pairs = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let mut vars: Vec<_> = pairs.collect();
        vars.sort();
        vars
    }
}
