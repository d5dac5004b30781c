//! The errors of the subprotocol `room.1`. Owns their names, which are in one table.
//!
//! Invariant: each error has a name for programs, and a sentence for people. `sdk/PROTOCOL.md` has the same table. It
//! does not know frames.

use crate::status::DoorError;
use room_auth::AuthError;
use room_core::config::Audience;
use room_core::presence::PresenceRefusal;
use room_rooms::room::RoomError;
use room_rooms::rooms::Unreachable;

macro_rules! session_errors {
    ($($variant:ident $name:literal $meaning:literal;)*) => {
        /// The name of an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum SessionErrorName {
            $(#[doc = $meaning] $variant,)*
        }

        impl SessionErrorName {
            /// All names, in the order of the table.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the name as programs read it.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the sentence of the table.
            #[cfg(test)]
            pub(crate) const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

session_errors! {
    // Of frames.
    Malformed "malformed" "The frame cannot be read, or a key is missing or invalid. `message` says which.";
    UnknownType "unknown_type" "The server does not know frames of this `type`.";
    UnknownChannel "unknown_channel" "The session has no such channel, or has it no longer.";
    TooLarge "too_large" "The message is larger than `message_bytes_max`, or what a user shows than `presence_data_bytes_max`.";
    // Of joins.
    SessionFull "session_full" "The session has `session_rooms_max` rooms: leave one first.";
    BadRoom "bad_room" "The name of the room, the connection's id or another part of the `join` is invalid.";
    NotFound "not_found" "The project has no such party.";
    Elsewhere "elsewhere" "The room lives on another node: open a socket of its own for it.";
    Origin "origin" "The project does not list the origin of the page.";
    Unauthorized "unauthorized" "The room needs a token, or the token is not valid.";
    Forbidden "forbidden" "The token or the ticket does not allow it.";
    Refused "refused" "The project's `on_before_connect` refused. `close` is its close code.";
    Full "full" "The room has `room_connections_max` connections.";
    UserFull "user_full" "The client's user has `user_connections_max` connections to the room.";
    Contended "contended" "Connections with this id replaced each other too often.";
    Starting "starting" "The server has nothing to serve yet.";
    // Of messages, and of joins, too.
    Busy "busy" "The room or the server has no space now. Nothing was done.";
    TooFast "too_fast" "More comes than a rate allows. Nothing was done.";
    ReadOnly "read_only" "The client may not send to this room.";
    Failed "failed" "The room's turn failed, and did nothing.";
    Resting "resting" "The room failed repeatedly and rests. Nothing was done.";
    TimedOut "timed_out" "The room did not answer in time.";
    Stopped "stopped" "The room stopped before it answered.";
    Draining "draining" "The server is shutting down.";
    Over "over" "The connection has ended.";
    // Of presence.
    NoPresence "no_presence" "The party keeps no presence: its `room.toml` lacks `presence`.";
    NotPresent "not_present" "A flag needs a user that is present: set `data` before it, or with it.";
    // Of tokens.
    OtherClient "other_client" "The newer token is of another client. The session keeps the older one.";
    TokenExpires "token_expires" "The token of the channel ends in `retry_ms`: show a newer one before.";
    TokenExpired "token_expired" "The token of the channel has ended. `closed` with 4401 follows.";
    // Of channels.
    TooSlow "too_slow" "The client took too little, and messages are lost. `closed` with 1013 follows.";
}

/// An error for the client of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionRefusal {
    /// The client's number of the frame that is refused, if it gave one.
    pub(crate) reference: Option<u64>,
    pub(crate) name: SessionErrorName,
    pub(crate) message: String,
    /// When the same frame may succeed.
    pub(crate) retry_ms: Option<u64>,
    /// The close code of a hook's refusal.
    pub(crate) close: Option<u16>,
}

impl SessionRefusal {
    pub(crate) fn new(
        reference: Option<u64>,
        name: SessionErrorName,
        message: impl Into<String>,
    ) -> Self {
        Self { reference, name, message: message.into(), retry_ms: None, close: None }
    }

    /// Returns an error of the door as this audience may see it.
    pub(crate) fn of(reference: Option<u64>, error: &DoorError, audience: Audience) -> Self {
        let shown = error.show(audience);
        let retry_ms = match error {
            DoorError::Room(Unreachable::Room(RoomError::TooFast(overrun))) => {
                u64::try_from(overrun.after.as_millis()).ok().map(|ms| ms.max(1))
            }
            _ => shown.retry_after.map(|seconds| u64::from(seconds).saturating_mul(1_000)),
        };
        Self { reference, name: name_of(error), message: shown.text, retry_ms, close: None }
    }

    /// Returns an error of a room as this audience may see it.
    pub(crate) fn of_room(reference: Option<u64>, error: RoomError, audience: Audience) -> Self {
        Self::of(reference, &DoorError::Room(error.into()), audience)
    }
}

/// Returns the name of an error of the door.
fn name_of(error: &DoorError) -> SessionErrorName {
    use SessionErrorName as Name;
    match error {
        DoorError::NotFound
        | DoorError::UnknownHost
        | DoorError::Room(Unreachable::UnknownParty(_)) => Name::NotFound,
        DoorError::Origin(_) => Name::Origin,
        DoorError::Auth(error) if error.is_transient() => Name::Busy,
        DoorError::Auth(AuthError::Forbidden(_) | AuthError::Origin) => Name::Forbidden,
        DoorError::Auth(_) => Name::Unauthorized,
        DoorError::Starting | DoorError::NoProject | DoorError::Unbuilt(_) => Name::Starting,
        DoorError::BuffersFull
        | DoorError::AddressFull(_)
        | DoorError::ForwardsFull(_)
        | DoorError::HooksFull(_)
        | DoorError::Moving
        | DoorError::NodeDown(_)
        | DoorError::NodeSilent(_) => Name::Busy,
        DoorError::ConnectsTooFast { .. } => Name::TooFast,
        DoorError::Elsewhere(_) | DoorError::Looped { .. } => Name::Elsewhere,
        DoorError::Room(Unreachable::Room(error)) => match error {
            RoomError::Busy => Name::Busy,
            RoomError::Full => Name::Full,
            RoomError::UserFull(_) => Name::UserFull,
            RoomError::Contended => Name::Contended,
            RoomError::TooFast(_) => Name::TooFast,
            RoomError::ReadOnly => Name::ReadOnly,
            RoomError::Guest(_) | RoomError::Storage(_) | RoomError::Body(_) => Name::Failed,
            RoomError::Broken => Name::Resting,
            RoomError::TimedOut => Name::TimedOut,
            RoomError::Gone => Name::Stopped,
            RoomError::Draining => Name::Draining,
            RoomError::Moved => Name::Elsewhere,
            RoomError::NotYours | RoomError::Over => Name::Over,
            RoomError::Presence(refusal) => match refusal {
                PresenceRefusal::NotKept => Name::NoPresence,
                PresenceRefusal::NotPresent => Name::NotPresent,
                PresenceRefusal::Forbidden | PresenceRefusal::ByRoom => Name::Forbidden,
                PresenceRefusal::TooLarge { .. } => Name::TooLarge,
                PresenceRefusal::Full { .. } => Name::Busy,
                PresenceRefusal::NotFound => Name::Over,
                PresenceRefusal::Invalid(_) => Name::Malformed,
            },
        },
        // No join of a session meets the others.
        _ => Name::BadRoom,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_table_of_errors() {
        let page = include_str!("../../../../../sdk/PROTOCOL.md");
        let row = |name: &SessionErrorName| format!("| `{}` | {} |", name.as_str(), name.meaning());
        let rows: Vec<String> = SessionErrorName::ALL.iter().map(row).collect();
        assert!(page.contains(&rows.join("\n")), "the page lacks:\n{}", rows.join("\n"));
    }

    #[test]
    fn each_error_has_a_name_of_its_own() {
        let names: Vec<_> = SessionErrorName::ALL.iter().map(|name| name.as_str()).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name}");
        }
    }
}
