//! Every bound of the runtime, in one place. Owns the numbers, their units and their relations.
//!
//! Invariant: no queue, buffer, retry, size or wait in this crate is bounded by a number that is not a field
//! here, or a row of [`Limits::FIXED`]. It does not know who asks: the parts get the whole struct from
//! `Runtime::start`.

pub mod fixed;
mod relations;

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One row of the table of limits, from which `room limits` prints and the schema of `room.toml` is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LimitRow {
    /// The key in `room.toml [limits]`.
    pub name: &'static str,
    /// What the number counts.
    pub unit: &'static str,
    /// The value without an override.
    pub default: u64,
    /// What it bounds.
    pub what: &'static str,
    /// What happens when it is reached.
    pub at_bound: &'static str,
}

/// Limits that may be set to 0.
const MAY_BE_ZERO: [&str; 7] = [
    "drain_spread_ms",
    "address_connects_per_s",
    "connection_messages_per_s",
    "connection_bytes_per_s",
    "room_messages_per_s",
    "room_bytes_per_s",
    "user_connections_max",
];

impl LimitRow {
    /// Returns the least value of this limit.
    pub fn min(&self) -> u64 {
        u64::from(!MAY_BE_ZERO.contains(&self.name))
    }
}

macro_rules! limits {
    ($($name:ident: $unit:literal = $default:expr, $what:literal, $at_bound:literal;)*) => {
        /// Every bound, with its default. The unit is the last word of the name (`ms`, `bytes`) or a count.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $(
                #[doc = concat!($what, ", in ", $unit, ". At the bound: ", $at_bound, ".")]
                pub $name: u64,
            )*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// The table of all limits, in the order of this file.
            pub const TABLE: &'static [LimitRow] = &[$(LimitRow {
                name: stringify!($name),
                unit: $unit,
                default: $default,
                what: $what,
                at_bound: $at_bound,
            },)*];

            /// Returns the value of the limit with this name; `None` if there is no such limit.
            pub fn value_of(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($name) => Some(self.$name),)*
                    _ => None,
                }
            }

            /// Returns the limits as pairs of name and value, in the order of [`Limits::TABLE`].
            pub fn values(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

limits! {
    // Sizes a client meets.
    message_bytes_max: "bytes" = MIB, "Size of one WebSocket message of a client", "close 1009";
    room_message_bytes_max: "bytes" = 32 * MIB, "Size of one WebSocket message of a room, and of one write to a stream", "the send is refused";
    body_bytes_max: "bytes" = 4 * MIB, "Size of an HTTP request's body", "413";
    body_pieces_bytes_max: "bytes" = GIB, "Size of an HTTP request's body that reaches its room in pieces", "the room gets an error piece; 413 if it does not answer";
    body_piece_bytes_max: "bytes" = 64 * KIB, "Size of one piece of such a body", "the rest is the next piece";
    uri_bytes_max: "bytes" = 8 * KIB, "Length of a request's path and query", "414";
    header_bytes_max: "bytes" = 64 * KIB, "Size of a request's head", "431";
    headers_max: "headers" = 100, "Headers of a request", "431";
    room_name_bytes_max: "bytes" = 256, "Length of a room's name after decoding", "400";
    auto_response_bytes_max: "bytes" = 2 * KIB, "Length of each text of a party's `auto_response`", "the project is refused";
    origins_max: "origins" = 64, "Origins that a project lists", "the project is refused";
    connection_id_bytes_max: "bytes" = 256, "Length of a connection's id (`_pk`)", "400";

    token_bytes_max: "bytes" = 8 * KIB, "Length of the token or the ticket that a client shows", "401, or close 4401";
    claims_bytes_max: "bytes" = 4 * KIB, "Size of the claims of a token or a ticket, as JSON", "401, or close 4401; the ticket is refused";

    // What a client may occupy.
    buffered_bytes_max: "bytes" = 2 * GIB, "Bytes of unfinished messages, mailboxes, outboxes, streams and request bodies of this node together, counted in pages of 4 KiB; a holder of less than a page is not counted", "the newest demand is refused as at its own bound: an unfinished message or a slow client is closed with 1013, a request is answered 503, a socket stops reading; an empty mailbox or outbox still takes one item";
    connections_max: "connections" = 20_000, "Open TCP connections of this node", "further connections wait in the kernel's backlog";
    connections_per_address_max: "connections" = 10_000, "Open connections of one client's address, or of one IPv6 network of 64 bits; behind a trusted proxy, requests and sockets of one client", "429; beyond an eighth more, connections are closed without an answer";
    rates_burst_s: "s" = 10, "Seconds whose units of the rates below may come at once", "what follows comes at the pace of the rate";
    address_connects_per_s: "connections/s" = 0, "Connections to rooms that one client's address begins, counted as by `connections_per_address_max`; 0 for no bound", "429 with `retry-after`, before a hook or a room runs";
    rated_addresses_max: "addresses" = 65_536, "Addresses whose connections a node counts by `address_connects_per_s`", "those that have not connected for longest begin anew";
    connection_messages_per_s: "messages/s" = 0, "Messages of one connection; 0 for no bound", "the message is lost, and its client closed with 1008; a POST is answered 429 with `retry-after`";
    connection_bytes_per_s: "bytes/s" = 0, "Bytes of the messages of one connection; 0 for no bound", "as with `connection_messages_per_s`";
    room_messages_per_s: "messages/s" = 0, "Messages of all clients to one room, and publications to it; 0 for no bound", "as with `connection_messages_per_s`, for the client that sent it; a publication is answered 429";
    room_bytes_per_s: "bytes/s" = 0, "Bytes of such messages to one room; 0 for no bound", "as with `room_messages_per_s`";
    half_open_max: "connections" = 4_096, "Connections that have not sent the head of their first request", "the one that has been silent longest is closed";
    room_connections_max: "connections" = 5_000, "Open connections of one room, with those whose clients are away", "accepted and closed with 1013";
    user_connections_max: "connections" = 0, "Connections of one user to one room, with those whose clients are away; a user is the `sub` of a token or a ticket; 0 for no bound", "accepted and closed with 1008; 429 for event streams and polls";
    replacements_max: "replacements" = 10, "Connections with one id that replace each other within `replacement_window_ms`", "the newer one is accepted and closed with 1013, and the log names the id";
    replacement_window_ms: "ms" = 60_000, "Time within which replacements of one id are counted together", "the count starts again";
    outbox_bytes_max: "bytes" = 36 * MIB, "Bytes queued for one connection, and for one stream", "that connection is closed with 1013, and that stream is cut; its room never waits";
    outbox_frames_max: "frames" = 16_384, "Frames queued for one connection, and writes queued for one stream", "that connection is closed with 1013, and that stream is cut; its room never waits";
    volatile_frames_max: "frames" = 64, "Frames queued for a connection up to which it gets a volatile message", "it does not get the message, which is counted";
    volatile_bytes_max: "bytes" = 64 * KIB, "Bytes queued for a connection up to which it gets a volatile message", "it does not get the message, which is counted";
    latest_key_bytes_max: "bytes" = 128, "Length of the key of a message that replaces a waiting one (`latest`)", "the send is refused";
    resume_ms_max: "ms" = 600_000, "Time for which a client of a party with `resume` may be away: its connection stays, and so does its room", "the project is refused";
    session_rooms_max: "rooms" = 64, "Rooms that one socket of the subprotocol `room.1` has joined or is joining", "a further `join` is refused with `session_full`";
    session_waiting_max: "messages" = 256, "Messages of one socket of `room.1` that wait for space in mailboxes", "a message to a room without space is refused with `busy`; the other rooms are unaffected";
    session_waiting_bytes_max: "bytes" = 4 * MIB, "Bytes of these messages", "as with `session_waiting_max`";
    message_id_bytes_max: "bytes" = 64, "Length of the id by which a client's message is known when it is sent again", "the message is refused with `malformed`";
    message_ids_max: "ids" = 256, "Ids of messages that a connection remembers, with those that wait for the disk", "the oldest is forgotten: a message with it is carried out again";
    token_notice_ms: "ms" = 30_000, "Time before the end of a token at which a client of `room.1` gets notice", "the client gets `token_expires`, and shows a newer token or is closed with 4401";
    history_messages_max: "messages" = 4_096, "Messages to clients that one room of a party with `resume` or `history` remembers, and no more than half of `outbox_frames_max`", "the oldest is forgotten: a client that returns for it is told of the gap";
    history_bytes_max: "bytes" = 4 * MIB, "Bytes of these messages, and no more than half of `outbox_bytes_max`", "the oldest are forgotten: a client that returns for them is told of the gap";
    history_node_bytes_max: "bytes" = 256 * MIB, "Bytes of these messages of all rooms of this node, of the connections of clients that are away, and of the ids of clients' messages, counted in pages of 4 KiB; a holder of less than a page is not counted", "the room that sends forgets its own oldest messages; the connection of a client that leaves ends at once";
    presence_users_max: "users" = 1_000, "Present users of one room of a party with `presence`", "a further one is refused: `busy` to its client, an error to the room's code";
    presence_user_bytes_max: "bytes" = 256, "Length of the name of a present user", "it is refused";
    presence_data_bytes_max: "bytes" = 4 * KIB, "Size of what a user shows, as JSON", "it is refused: `too_large` to its client, an error to the room's code";
    presence_room_bytes_max: "bytes" = 512 * KIB, "Bytes of the names, the data and the flags of a room's present users, and 64 for each", "as with `presence_users_max`";
    presence_flags_max: "flags" = 8, "Flags of a present user", "a further one is refused";
    presence_flag_bytes_max: "bytes" = 32, "Length of the name of such a flag", "it is refused";
    presence_flag_ms_max: "ms" = 60_000, "Time after which such a flag ends by itself", "a longer one is refused: it is to be renewed";
    presence_grace_ms_max: "ms" = 300_000, "Time for which a user without a connection is present: its room stays in memory", "the project is refused";
    presence_every_ms_min: "ms" = 10, "Shortest time between two diffs of presence to a room's clients", "the project is refused";
    presence_every_ms_max: "ms" = 10_000, "Longest time between two such diffs", "the project is refused";
    socket_read_bytes: "bytes" = 2 * KIB, "Read buffer of a socket at rest", "a larger frame is read in several steps";
    socket_write_bytes: "bytes" = 16 * KIB, "Bytes a socket gathers before it writes to the network", "the socket writes without waiting for the end of the batch";
    socket_batch_frames_max: "frames" = 256, "Frames a socket reads or writes before it switches to the other direction", "the rest follows in the next batch";

    // Times a client meets.
    header_ms_max: "ms" = 10_000, "Time for a client to send the head of its first request", "the connection is closed";
    keep_alive_ms_max: "ms" = 75_000, "Time from a response to the end of the next request's head on the same connection", "the connection is closed";
    tls_handshake_ms_max: "ms" = 10_000, "Time for a client to complete the TLS handshake", "the connection is closed";
    proxy_header_ms_max: "ms" = 5_000, "Time for a trusted proxy to send the header of the PROXY protocol", "the connection is closed, and counted";
    proxy_header_bytes_max: "bytes" = 4 * KIB, "Size of the header of the PROXY protocol, version 2", "the connection is closed, and counted";
    proxy_log_ms: "ms" = 10_000, "Time between two log lines about refused PROXY headers", "further ones are counted, and the next line has their number";
    body_ms_max: "ms" = 30_000, "Time for a client to send a request's body", "408";
    piece_ms_max: "ms" = 30_000, "Time for a client to send the next piece of a body that reaches its room in pieces", "the room gets an error piece; 408 if it does not answer";
    message_ms_max: "ms" = 30_000, "Time for a client to finish a WebSocket message that it has started, not counting time for which the server stopped reading", "close 1008";
    ping_interval_ms: "ms" = 30_000, "Time between two pings of the server", "a ping is sent";
    pong_ms_max: "ms" = 15_000, "Time for a client to send anything after a ping", "the connection counts as dropped: on_close with 1006";
    close_ms_max: "ms" = 5_000, "Time for a client to answer a close frame, and for a room to answer the messages before an invalid frame", "the socket is dropped; answers that are still missing are not sent";
    linger_ms_max: "ms" = 30_000, "Time for a client to end a connection that the server has ended, and to send what it had queued after the head of a refused message", "the connection is closed; the refused message is answered";
    linger_quiet_ms_max: "ms" = 5_000, "Time for which a client may send nothing after the server has ended its connection", "the connection is closed";
    linger_bytes_max: "bytes" = 64 * MIB, "Bytes that a client may still send after the server's last answer, or after the head of a refused message; the server discards them", "the connection is closed, and the client may see a reset instead of the answer; the refused message is answered";
    refused_quiet_ms: "ms" = 500, "Time without a byte after which a client whose message is refused has sent everything that it had queued", "close 1009, or 1013 if the buffers are full";
    write_ms_max: "ms" = 30_000, "Time for which a client may take no byte of what waits for it", "the connection is closed: a WebSocket counts as dropped (on_close with 1006), and a response breaks off";
    accept_backoff_ms_max: "ms" = 1_000, "Longest pause after a failed accept", "the server accepts again";
    drain_ms_max: "ms" = 10_000, "Time for rooms and sockets to end when the server stops, after `drain_spread_ms`", "the remaining ones are dropped";
    drain_spread_ms: "ms" = 0, "Window over which the closes of sockets with 1012 are spread when the server stops; 0 closes all at once", "the close of every socket has started";

    // A room's queue and life.
    mailbox_events_max: "events" = 1_024, "Events that wait in one room's mailbox", "a socket stops reading; a request is answered 503";
    mailbox_bytes_max: "bytes" = 16 * MIB, "Bytes of the events that wait in one room's mailbox", "a socket stops reading; a request is answered 503";
    mailbox_batch_max: "events" = 64, "Events a room takes from its mailbox at once, and so the messages that its guest takes in one call", "the rest follows in the next batch, and the next call";
    mailbox_wait_ms_max: "ms" = 5_000, "Time a socket waits for space in a mailbox", "that connection is closed with 1013";
    request_ms_max: "ms" = 30_000, "Time from a request's delivery to its answer", "504; the turn goes on";
    answer_later_ms_max: "ms" = 60_000, "Time for a room to begin a response that it left to a later turn, from the request or the last piece of its body", "504, and on_stream_close";
    streams_max: "streams" = 1_000, "Responses of one room that are open after their on_request: streams, and answers of later turns", "a further one is refused";
    stream_idle_ms_max: "ms" = 3_600_000, "Time without a write to a stream of a room", "the stream is cut, and on_stream_close; an EventSource connects again";
    stream_keep_alive_ms: "ms" = 15_000, "Time without a write to a stream of server-sent events (`text/event-stream`)", "the server sends a comment, which no page sees";
    sse_retry_ms: "ms" = 2_000, "Time after which an EventSource connects again, up to as much more by chance", "it connects again";
    poll_ms_max: "ms" = 25_000, "Time for which a client's long poll waits for a message", "it is answered without one, and the client polls again";
    poll_answer_bytes_max: "bytes" = MIB, "Size of the answer to a long poll", "the message that exceeds it is its last one, and the client gets the rest with its next poll";
    publish_batch_max: "messages" = 256, "Messages in one batch of `/_room/publish`", "413";
    publish_batch_bytes_max: "bytes" = 4 * MIB, "Size of the body of such a batch", "413";
    publish_once_ms: "ms" = 600_000, "Time for which a room knows the idempotency key of a publication", "a repetition is carried out again";
    connect_ms_max: "ms" = 10_000, "Time from an upgrade's delivery to its answer", "503";
    rooms_active_max: "rooms" = 10_000, "Rooms with a live instance, per project and per process, at most what the kernel's mappings allow", "the least recently used idle room is evicted; if no room is idle, the new room answers 503";
    rooms_memory_bytes_max: "bytes" = 16 * GIB, "Linear memories of live rooms together, per project and per process; pages that a guest never touched count, too", "as with `rooms_active_max`";
    place_wait_ms_max: "ms" = 2_000, "Time a room waits for the slot of a room that is leaving memory", "the waiting room answers 503";
    idle_evict_ms: "ms" = 30_000, "Time without an event after which a room without connections leaves memory", "the room is evicted";
    hibernate_ms: "ms" = 10_000, "Time without an event after which a party with `hibernate` drops a room's instance", "the instance is dropped, the sockets stay";
    faults_max: "faults" = 8, "Consecutive faults within `fault_window_ms`", "the room is broken for `broken_ms_min`, doubling up to `broken_ms_max`";
    fault_window_ms: "ms" = 10_000, "Time within which consecutive faults are counted together", "the count starts again";
    broken_ms_min: "ms" = 1_000, "First back-off of a broken room", "the next event tries again";
    broken_ms_max: "ms" = 60_000, "Longest back-off of a broken room", "the next event tries again";
    reload_rooms_max: "rooms" = 32, "Rooms that take over a new module at the same time, per project and per process", "the others wait";
    reload_ms_max: "ms" = 30_000, "Time for all rooms of a party to take over a new module", "the old module is restored";

    // One turn of a guest.
    turn_ms_max: "ms" = 1_000, "Time a callback may compute", "the turn is dropped and the instance discarded";
    turn_wall_ms_max: "ms" = 10_000, "Time a callback may take, sleeping included", "the turn is dropped and the instance discarded";
    tick_ms: "ms" = 10, "Time after which a busy guest yields its thread; the process has one value for all projects", "other rooms run";
    memory_bytes_max: "bytes" = 64 * MIB, "Linear memory of an instance, at most 128 MiB", "the allocation fails, and most guests then trap";
    stack_bytes_max: "bytes" = 3 * MIB, "Stack of an instance; the process has one size for all projects", "the turn is dropped and the instance discarded";
    turn_sends_max: "messages" = 10_000, "Messages, broadcasts, closes, and writes to streams of one turn", "the send is refused";
    turn_send_bytes_max: "bytes" = 32 * MIB, "Bytes sent by one turn, a broadcast counted once", "the send is refused";
    turn_writes_max: "writes" = 10_000, "Keys written by one turn, or requested in one call", "the call is refused";
    turn_write_bytes_max: "bytes" = 8 * MIB, "Bytes of keys and values written by one turn", "the write is refused";
    turn_savepoints_max: "savepoints" = 16, "Transactions of one turn that are open at the same time, one in the other", "the transaction is refused";
    key_bytes_max: "bytes" = 2_048, "Length of a storage key", "the call is refused";
    value_bytes_max: "bytes" = MIB, "Size of a stored value", "the write is refused";
    list_page_entries_max: "entries" = 1_000, "Entries in one page of a listing", "the page reports that there are more entries";
    list_page_bytes_max: "bytes" = MIB, "Bytes in one page of a listing", "the page reports that there are more entries";
    connection_state_bytes_max: "bytes" = 16 * KIB, "Size of a connection's state", "the state is refused";
    connection_tags_max: "tags" = 9, "Tags of a connection besides its id", "the connect fails";
    tag_bytes_max: "bytes" = 256, "Length of a tag", "the connect fails";
    response_bytes_max: "bytes" = 16 * MIB, "Size of a response's body", "500";
    log_line_bytes_max: "bytes" = 8 * KIB, "Length of a line in a room's log", "the line is cut";
    log_lines_max: "lines" = 1_000, "Log lines of one turn", "further lines are dropped and counted";
    fault_text_bytes_max: "bytes" = 8 * KIB, "Length of a guest's own error text", "the text is cut";

    // Rooms that live on other nodes of the space.
    forwards_max: "requests" = 10_000, "Requests and WebSockets of clients that a server forwards to other nodes at the same time", "503";
    forward_connect_ms_max: "ms" = 2_000, "Time to connect to another node", "503";
    forward_answer_ms_max: "ms" = 120_000, "Time that another node has to answer a forwarded request, the arrival of its body included", "504";

    // The database of a cluster.
    database_connections_max: "connections" = 8, "Connections of a node to the cluster's database", "a further one is waited for";
    database_connect_ms_max: "ms" = 2_000, "Time to connect to the cluster's database", "the attempt fails, and another one follows";
    database_answer_ms_max: "ms" = 5_000, "Time that the cluster's database has to answer, and time to wait for a free connection to it", "commits of that time fail as with a full disk";
    database_page_rows_max: "rows" = 256, "Rows that one question asks of the cluster's database", "the next question asks for the rest";
    database_page_bytes_max: "bytes" = MIB, "Bytes of the values that one question asks of the cluster's database; a single value may be larger", "the next question asks for the rest";
    node_heartbeat_ms: "ms" = 500, "Time between two heartbeats of a node in its cluster", "the next heartbeat is sent";
    node_lease_ms: "ms" = 2_000, "Time after its last heartbeat for which a node of a cluster is alive", "the others take over its rooms, and it runs none until it has joined again";
    project_retry_ms: "ms" = 5_000, "Time after which a node of a cluster tries again to serve a project's version that it could not load", "it is tried again";
    project_claim_ms_max: "ms" = 30_000, "Time that an operator's change of a project waits while its node of a cluster takes over another node's change", "409";
    shard_look_ms: "ms" = 50, "Time between two looks of a node at who has which rooms, while they move; otherwise it is `node_heartbeat_ms`", "the next look";
    shards_leave_max: "shards" = 64, "Shards, of 1,024, whose rooms a node gives to other nodes at the same time", "the others follow";
    home_wait_ms_max: "ms" = 5_000, "Time that a request waits while its room is on the way to another node", "503; a WebSocket is closed with 1013";

    // Requests of rooms to other servers.
    fetches_node_max: "requests" = 512, "Requests of rooms and hooks to other servers that run at the same time, per process", "a further one fails as busy";
    fetch_hosts_max: "hosts" = 64, "Hosts that a project lists in `[fetch]`", "the project is refused";
    fetch_ms_max: "ms" = 30_000, "Time for a request to another server and its whole response, redirects included", "it fails as timed out";
    fetch_stream_ms_max: "ms" = 600_000, "Time for a request to another server whose response is read in pieces", "it fails as timed out";
    fetch_connect_ms_max: "ms" = 5_000, "Time to resolve the name of another server, to connect and to complete the TLS handshake", "the request fails as unreachable";
    fetch_quiet_ms_max: "ms" = 30_000, "Time for which another server may send nothing of a response's body", "the request fails as timed out";
    fetch_redirects_max: "redirects" = 10, "Redirects that one request to another server follows", "it fails";
    fetch_headers_max: "headers" = 100, "Headers of a request to another server, and of its response", "it fails";
    fetch_header_bytes_max: "bytes" = 64 * KIB, "Size of the URL and the headers of a request to another server, and of its response's head", "it fails as too large";
    fetch_request_bytes_max: "bytes" = 4 * MIB, "Size of the body of a request to another server", "it fails as too large";
    fetch_response_bytes_max: "bytes" = 16 * MIB, "Size of the body of another server's response; at most half of `memory_bytes_max`, and no more than `buffered_bytes_max`", "the request fails as too large";
    fetch_stream_bytes_max: "bytes" = 256 * MIB, "Size of the body of another server's response that is read in pieces", "the request fails as too large";
    fetch_chunk_bytes_max: "bytes" = 64 * KIB, "Size of one piece of another server's response", "the rest is the next piece";
    fetch_lookups_max: "lookups" = 32, "Names of other servers that are resolved at the same time, per process", "further ones wait, at most `fetch_connect_ms_max`";
    fetching_hooks_max: "hooks" = 16, "Before-hooks that run at the same time in a project that lists hosts in `[fetch]`, and at most `door_instances_max`; they may wait for other servers", "further requests wait, at most `connect_ms_max`, and are then answered 503";
    hook_fetches_max: "requests" = 8, "Requests to other servers that one hook makes", "a further one fails as invalid";
    hook_fetch_ms_max: "ms" = 5_000, "Time that a hook waits for one response; at most half of `turn_wall_ms_max`", "the request fails as timed out";
    hook_cache_entries_max: "responses" = 1_024, "Responses that a project's hooks keep on this node", "the one that would end first is dropped";
    hook_cache_bytes_max: "bytes" = 16 * MIB, "Bytes of these responses", "those that would end first are dropped; a larger one is not kept";
    hook_cache_ms_max: "ms" = 86_400_000, "Time for which a hook keeps a response", "it is kept no longer";
    fetch_idle_max: "connections" = 64, "Connections to other servers that are kept for the next request, per process", "the one that is unused for longest is closed";
    fetch_idle_ms_max: "ms" = 30_000, "Time for which an unused connection to another server is kept", "it is closed";

    // The keys of an issuer of tokens, and tickets.
    jwks_bytes_max: "bytes" = 256 * KIB, "Size of the keys that an issuer publishes", "they are not read: earlier ones stay in use, or clients get 503";
    jwks_ms: "ms" = 600_000, "Age at which an issuer's keys are fetched again", "the next client's token has them fetched";
    jwks_retry_ms: "ms" = 10_000, "Time between two fetches of an issuer's keys", "a token with an unknown key is refused without a fetch";
    jwks_stale_ms_max: "ms" = 86_400_000, "Age of an issuer's keys that stay in use while newer ones cannot be fetched", "clients with tokens get 503";
    ticket_ms_max: "ms" = 86_400_000, "Time for which a ticket is valid", "a longer one is refused when it is made";
    tickets_used_max: "tickets" = 100_000, "Used tickets of single use that are remembered until their end", "503 for further tickets of single use";

    // The certificate's files.
    tls_reload_ms: "ms" = 10_000, "Time between two checks of the certificate and its key", "they are read again, and replace the old ones if they changed and match";
    tls_file_bytes_max: "bytes" = MIB, "Size of the certificate's file, its chain included, and of its key's", "the pair is refused";

    // Requests of operators to a running node.
    admin_transfers_max: "transfers" = 4, "Backups, exports and imports at the same time", "503";
    projects_opening_max: "projects" = 8, "Projects that a server opens at the same time when it starts", "the others wait";
    admin_changes_max: "changes" = 64, "Operators' changes of a server that run at the same time", "503";
    import_bytes_max: "bytes" = 2 * GIB, "Size of an import of a room", "413";
    inspect_ms_max: "ms" = 1_000, "Time a room has to report its state to an operator", "the room is shown as busy, with the facts that are known without it";
    fault_records_max: "faults" = 8, "Recent faults of a room in memory that are kept for inspection", "the oldest is dropped";
    fault_records_bytes_max: "bytes" = 32 * KIB, "Bytes of the texts and backtraces of a room's recent faults", "the oldest are dropped; the newest is kept";
    admin_page_entries_max: "entries" = 1_000, "Rooms, connections or keys in one answer to an operator", "the answer has a cursor for the next one";
    admin_page_bytes_max: "bytes" = MIB, "Bytes of keys, values and states in one answer to an operator, which has at least one entry", "the answer has a cursor for the next one";
    admin_scan_rooms_max: "rooms" = 20_000, "Stored rooms that are scanned in one step, and for one page that is sorted by name", "the page is shorter, and has a cursor for the next one";
    admin_scan_ms_max: "ms" = 30_000, "Time to scan all stored rooms, to sort or to count them", "504";
    admin_scans_max: "scans" = 2, "Scans of many stored rooms at the same time", "further scans wait";
    stored_count_ms: "ms" = 10_000, "Age at which the number of stored rooms is counted again on request, or ten times the time that counting took", "the rooms are counted again";
    import_ms_max: "ms" = 600_000, "Time for the lines of an import to arrive", "408";

    // Watching the log and rooms.
    log_ring_lines: "lines" = 10_000, "Lines of the node's log that are kept for watchers", "the oldest is dropped; a watcher that had not read it gets the number of lines that it missed";
    log_ring_bytes: "bytes" = 4 * MIB, "Bytes of these lines", "the oldest is dropped; a watcher that had not read it gets the number of lines that it missed";
    log_batch_bytes: "bytes" = 64 * KIB, "Bytes of the log, or of a room's messages, that a watcher receives at once, or one line if that is larger", "the rest follows when the watcher has taken them";
    log_watchers_max: "watchers" = 32, "Clients that watch the log at the same time", "503";
    log_filter_bytes_max: "bytes" = 1_024, "Length of a text by which a watcher filters the log", "400";
    tap_watchers_max: "watchers" = 16, "Clients that watch rooms' messages at the same time", "503";
    tap_lines_max: "messages" = 1_024, "Messages of a room that wait for a client that watches it", "the oldest is dropped; the client gets the number of messages that it missed";
    tap_bytes_max: "bytes" = MIB, "Bytes of the messages that wait for a client that watches a room", "the oldest is dropped; the client gets the number of messages that it missed";
    tap_excerpt_bytes: "bytes" = 2 * KIB, "Bytes of a message that are shown to a watcher of its room", "the rest is omitted and marked as such";
    log_heartbeat_ms: "ms" = 10_000, "Time without a line after which a watcher of the log or of a room gets a keep-alive", "the keep-alive is sent";

    // Modules and the store.
    module_bytes_max: "bytes" = 64 * MIB, "Size of a module", "the module is refused";
    sign_in_codes_max: "links" = 16, "Links to the dashboard that nobody has used yet", "the oldest becomes invalid";
    overlay_pages_max: "pages" = 64, "Pages that show a developer's notices at the same time", "a further page shows none and gets 503";
    door_instances_max: "instances" = 32, "Before-hooks that run at the same time, per project and per process", "further requests wait, at most `connect_ms_max`";
    held_bytes_max: "bytes" = 32 * MIB, "Bytes of a room's outputs that wait for the disk", "the room handles no further event until the disk has confirmed them";
    commit_bytes_max: "bytes" = 64 * MIB, "Bytes of the commits that wait for the disk", "rooms that write wait";
    commit_turns_max: "turns" = 16_384, "Commits that wait for the disk", "rooms that write wait";
    room_bytes_max: "bytes" = 1024 * MIB, "Bytes of keys and values stored for one room", "the write is refused";
    room_cache_bytes_max: "bytes" = 64 * KIB, "Bytes of a live room's keys and values that are kept in memory after they were read or written", "they are read from the store again";
    room_loaded_bytes_max: "bytes" = MIB, "Bytes of a live room's keys, values and remembered messages that are kept in memory where the cluster's database has them", "the room's keys, or its messages, are read from the database by page";
    rooms_loaded_bytes_max: "bytes" = 256 * MIB, "Bytes of all rooms of a project that are kept in memory so", "of further rooms, and of those that grow, keys and messages are read from the database by page";
    apply_gather_ms: "ms" = 10, "Time for which durable turns are gathered before they are applied to the tree, unless a reader waits", "they are applied together";
    log_segment_bytes: "bytes" = 16 * MIB, "Size of a file of the commit log", "the next file starts, and the tree is synced";
    snapshot_log_bytes: "bytes" = 64 * MIB, "Size of the commit log at which a snapshot is made, or the size of the last snapshot if that is more", "the log is cut when the snapshot is complete";
    copy_slice_bytes: "bytes" = MIB, "Bytes that a snapshot or a backup reads at once", "waiting turns are applied before it continues";
    store_retry_ms: "ms" = 1_000, "Pause before a failed store is retried, and between two checks of its log", "the store is retried";
    chunk_bytes: "bytes" = 4 * KIB, "Size of the pieces a value is stored in", "the value takes another piece";
    alarm_tries_max: "tries" = 6, "Retries of a failed alarm, timer or cron, after 2 s, 4 s, …", "it is dropped with an error in the log";
    alarm_retry_ms_min: "ms" = 2_000, "Pause before the first retry of an alarm, timer or cron, doubled for each further retry", "it is retried";
    alarms_batch_max: "alarms" = 1_024, "Rooms with due alarms or timers that are rung at once, and at most half of `rooms_active_max`", "the rest follow in the next batch";
    timers_max: "timers" = 10_000, "Pending timers of a room", "the timer is refused";
    timers_bytes_max: "bytes" = 4 * MIB, "Bytes of the tags and data of a room's pending timers", "the timer is refused";
    timer_data_bytes_max: "bytes" = 64 * KIB, "Size of a timer's data", "the timer is refused";
    timer_tag_bytes_max: "bytes" = 256, "Length of a timer's tag", "the timer is refused";
    timer_every_ms_min: "ms" = 1_000, "Shortest time from one delivery of a repeating timer to the next", "the timer is refused";
    timers_batch_max: "timers" = 128, "Due timers that a room handles before other rooms have their turn to ring", "the rest follow in the next batch";
    outcalls_max: "requests" = 1_000, "Requests of a room to other servers and rooms that have no answer yet", "the request is refused";
    outcalls_bytes_max: "bytes" = 4 * MIB, "Bytes of a room's requests that have no answer yet, and of the answers whose turns failed", "the request is refused; an answer beyond it by more than one response is dropped";
    outcall_tag_bytes_max: "bytes" = 256, "Length of a request's tag", "the request is refused";
    outcalls_running_max: "requests" = 64, "Requests of a room that are under way at the same time", "the rest start when one ends";
    call_data_bytes_max: "bytes" = MIB, "Size of what a call between rooms carries, and of what it returns", "the call is refused, or fails";
    call_ms_max: "ms" = 86_400_000, "Time for which a call between rooms is tried", "it fails; it may have been carried out";
    call_retry_ms_min: "ms" = 250, "Pause before a call whose room was busy is tried again, doubled each time up to 60 s", "it is tried again";
    receipts_max: "receipts" = 10_000, "Calls that a room carried out and whose callers do not have the answer yet", "further calls wait";
    receipts_bytes_max: "bytes" = 4 * MIB, "Bytes of the answers to such calls", "further calls wait";
    fetch_retry_total_ms_max: "ms" = 3_600_000, "Time for which a failing request to another server is tried again", "it fails";
    crons_max: "crons" = 64, "Crons of a project", "the project is refused";
    crons_batch_max: "rooms" = 32, "Rooms that all crons of a project call at the same time, and at most a quarter of `rooms_active_max`", "the rest follow as soon as one has answered";
    cron_retries_max: "rooms" = 1_000, "Rooms that a cron calls again because they failed", "the cron calls no further room until one of them has succeeded or is given up";
    webhooks_pending_max: "webhooks" = 10_000, "Webhooks of a project that wait for their receiver", "newer ones become dead letters";
    webhooks_dead_max: "webhooks" = 1_000, "Dead letters of a project: webhooks that were given up", "the oldest is discarded with a warning in the log";
    webhooks_running_max: "webhooks" = 8, "Webhooks of a project that are sent at the same time, at most one of a room", "the rest follow when one is answered";
    webhooks_node_max: "webhooks" = 64, "Webhooks that all projects of a process send at the same time", "further ones wait";
    webhook_ms_max: "ms" = 15_000, "Time for the receiver of a webhook to answer", "the try has failed";
    webhook_tries_max: "tries" = 10, "Tries of a webhook: after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, and each 24 h after that, and up to a tenth longer", "it becomes a dead letter";
    webhook_retry_ms_max: "ms" = 86_400_000, "Longest pause between two tries of a webhook", "it is tried again";
    tick_every_ms_min: "ms" = 10, "Shortest time from one tick of a room to the next", "the ticks are refused";
    use_note_ms: "ms" = 86_400_000, "Age at which the stored time of a room's last use is outdated, in a party without `ttl`; with a `ttl`, an eighth of it", "it is stored again with the room's next commit; in a party with `ttl`, at once";
    expiries_batch_max: "rooms" = 32, "Unused rooms that expire at the same time, and at most a quarter of `rooms_active_max`", "the rest follow in the next batch";
    rename_rooms_max: "rooms" = 64, "Rooms of a renamed party that get their new name at the same time", "the rest follow in the next batch";
    expiry_pause_ms: "ms" = 100, "Time between two batches of unused rooms", "the next batch expires";
    expiry_look_ms_max: "ms" = 10_000, "Longest time between two scans for unused rooms; a changed `ttl` takes effect at most that late", "the next scan starts";
    service_note_ms: "ms" = 60_000, "Time between two saves of the service clock; a crash loses at most that much of it", "the clock is saved";
    alarm_look_ms_max: "ms" = 10_000, "Longest time between two scans for due alarms and crons; after the machine slept, they are at most that late", "the next scan starts";
}

/// The upper bound of an instance's memory, in bytes: a slot of the pool reserves this much.
pub const MEMORY_BYTES_CEILING: u64 = 128 * MIB;

/// The largest piece that survived power cuts in sled in measurements.
const CHUNK_BYTES_CEILING: u64 = 4 * KIB;

impl Limits {
    /// Returns these limits of a project reduced to those of its process: limits of the whole process have the
    /// process's values, and no share is larger than the whole.
    ///
    /// # Errors
    /// [`Misfit`]: after the reduction, the limits contradict each other.
    pub fn within_process(&self, process: &Self) -> Result<Self, Misfit> {
        let memory = self.rooms_memory_bytes_max.min(process.rooms_memory_bytes_max);
        let within = Self {
            tick_ms: process.tick_ms,
            stack_bytes_max: process.stack_bytes_max,
            rooms_active_max: self.rooms_active_max.min(process.rooms_active_max),
            rooms_memory_bytes_max: memory,
            memory_bytes_max: self.memory_bytes_max.min(memory),
            reload_rooms_max: self.reload_rooms_max.min(process.reload_rooms_max),
            door_instances_max: self.door_instances_max.min(process.door_instances_max),
            history_node_bytes_max: process.history_node_bytes_max,
            forwards_max: process.forwards_max,
            forward_connect_ms_max: process.forward_connect_ms_max,
            forward_answer_ms_max: process.forward_answer_ms_max,
            database_connections_max: process.database_connections_max,
            database_connect_ms_max: process.database_connect_ms_max,
            database_answer_ms_max: process.database_answer_ms_max,
            database_page_rows_max: process.database_page_rows_max,
            database_page_bytes_max: process.database_page_bytes_max,
            node_heartbeat_ms: process.node_heartbeat_ms,
            node_lease_ms: process.node_lease_ms,
            project_retry_ms: process.project_retry_ms,
            project_claim_ms_max: process.project_claim_ms_max,
            shard_look_ms: process.shard_look_ms,
            shards_leave_max: process.shards_leave_max,
            home_wait_ms_max: process.home_wait_ms_max,
            fetches_node_max: process.fetches_node_max,
            webhooks_node_max: process.webhooks_node_max,
            fetch_lookups_max: process.fetch_lookups_max,
            fetch_idle_max: process.fetch_idle_max,
            fetch_idle_ms_max: process.fetch_idle_ms_max,
            ..self.clone()
        };
        match within.problems() {
            problems if problems.is_empty() => Ok(within),
            problems => Err(Misfit(problems)),
        }
    }
}

/// The reasons why a project's limits do not fit into those of its process, as sentences for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("within the limits of the process, {}", .0.join("; "))]
pub struct Misfit(Vec<String>);

/// Converts a limit in milliseconds to a duration.
pub fn ms(limit: u64) -> Duration {
    Duration::from_millis(limit)
}

/// Converts a limit to a size in memory. A limit beyond the address space becomes the largest size.
pub fn size(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_project_has_no_more_than_its_process() {
        let process = Limits { tick_ms: 5, rooms_active_max: 100, ..Limits::default() };
        let small = Limits { rooms_active_max: 7, tick_ms: 50, faults_max: 3, ..Limits::default() };
        let within = small.within_process(&process).unwrap();
        assert_eq!((within.rooms_active_max, within.tick_ms, within.faults_max), (7, 5, 3));
        let large = Limits { rooms_active_max: 1_000, ..Limits::default() };
        assert_eq!(large.within_process(&process).unwrap().rooms_active_max, 100);
        assert_eq!(process.within_process(&process).unwrap(), process);
    }

    #[test]
    fn capping_a_project_by_its_process_may_leave_contradicting_limits() {
        let process = Limits { tick_ms: 50, rooms_memory_bytes_max: 16 * MIB, ..Limits::default() };
        let hasty = Limits { turn_ms_max: 20, ..Limits::default() };
        let misfit = hasty.within_process(&process).unwrap_err().to_string();
        let begins =
            "within the limits of the process, room_message_bytes_max must be less than memory";
        assert!(misfit.starts_with(begins), "{misfit}");
        assert!(misfit.contains("; tick_ms must not exceed turn_ms_max"), "{misfit}");
    }

    /// Generates limits that differ from the defaults in places and agree with each other.
    fn agreeing() -> impl Strategy<Value = Limits> {
        let factors = prop::sample::select(vec![0.0, 0.01, 0.25, 0.5, 2.0, 100.0]);
        let changes = prop::collection::vec((0..Limits::TABLE.len(), factors), 0..12);
        let names = ["tick_ms", "turn_ms_max", "rooms_memory_bytes_max", "memory_bytes_max"];
        let places = prop::sample::select(names.to_vec());
        let more =
            prop::collection::vec((places, prop::sample::select(vec![0.02, 0.3, 1.5, 40.0])), 0..4);
        (changes, more).prop_map(|(changes, more)| {
            let changes = changes.into_iter().map(|(at, factor)| (Limits::TABLE[at].name, factor));
            let mut limits = Limits::default();
            for (name, factor) in changes.chain(more) {
                let mut all = serde_json::to_value(&limits).unwrap();
                let value = all[name].as_u64().unwrap() as f64 * factor;
                all[name] = (value as u64).into();
                let changed: Limits = serde_json::from_value(all).unwrap();
                // A change that breaks a relation is left out.
                if changed.problems().is_empty() {
                    limits = changed;
                }
            }
            limits
        })
    }

    proptest! {
        #[test]
        fn fitted_limits_agree_and_never_exceed_the_process(
            project in agreeing(),
            process in agreeing(),
        ) {
            match project.within_process(&process) {
                Ok(within) => {
                    prop_assert_eq!(within.problems(), [""; 0]);
                    prop_assert_eq!(within.tick_ms, process.tick_ms);
                    prop_assert!(within.rooms_active_max <= process.rooms_active_max);
                    prop_assert!(within.memory_bytes_max <= process.rooms_memory_bytes_max);
                    // A second reduction changes nothing.
                    prop_assert_eq!(within.within_process(&process), Ok(within.clone()));
                }
                Err(Misfit(problems)) => prop_assert!(!problems.is_empty()),
            }
        }
    }

    #[test]
    fn the_table_and_the_values_have_the_same_rows() {
        let values = Limits::default().values();
        assert_eq!(values.len(), Limits::TABLE.len());
        for ((name, value), row) in values.into_iter().zip(Limits::TABLE) {
            assert_eq!((name, value), (row.name, row.default));
            assert_eq!(Limits::default().value_of(name), Some(value));
        }
        assert_eq!(Limits::default().value_of("no_such_limit"), None);
    }
}
