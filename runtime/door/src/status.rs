//! THE table: how an error looks to clients. Owns every status, close code and public text.
//!
//! Invariant: a stranger reads what to do, and nothing about the inside of the server. The room's author reads the
//! whole error, and the log always has it. It does not know how the answer travels.

use http::StatusCode;
use room_auth::AuthError;
use room_core::config::Audience;
use room_core::event::{BodyFault, CloseFrame};
use room_core::id::{NameError, NodeId, PartyName, RoomId};
use room_core::metrics::Refusal;
use room_core::presence::PresenceRefusal;
use room_rooms::room::RoomError;
use room_rooms::rooms::Unreachable;

/// Every error that can keep a client from its room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DoorError {
    /// The URL names no valid room or connection.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The path has no route.
    #[error("not found")]
    NotFound,
    /// No project of the server has the host that the client names.
    #[error("no project has this host")]
    UnknownHost,
    /// The server has no project yet.
    #[error("no project is served yet")]
    NoProject,
    /// No project was deployed yet.
    #[error("the server is starting")]
    Starting,
    /// There is no module to serve. Its author reads why.
    #[error("nothing is served yet: {0}")]
    Unbuilt(String),
    /// The URL is too long.
    #[error("the URL is longer than {0} bytes")]
    UriTooLong(u64),
    /// The body is too large.
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(u64),
    /// The body did not arrive in time, or broke off.
    #[error("the body did not arrive")]
    BodyMissing,
    /// Two servers could parse this head differently.
    #[error("this is not a valid HTTP request: {0}")]
    Head(&'static str),
    /// The upgrade request is not a valid WebSocket handshake.
    #[error("this is not a valid WebSocket handshake: {0}")]
    Handshake(String),
    /// The query has a parameter of the server's that cannot be read.
    #[error("{name} is invalid: {problem}")]
    Query {
        /// The parameter.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The client speaks another version of the WebSocket protocol.
    #[error("this server speaks version 13 of the WebSocket protocol")]
    WebSocketVersion,
    /// All memory for clients' messages is taken.
    #[error("the server's buffers are full")]
    BuffersFull,
    /// The client's address has as many connections open as the limit allows.
    #[error("this address has {0} connections open, as many as it may have: close one first")]
    AddressFull(u64),
    /// The client's address begins connections too fast.
    #[error(
        "this address connects too fast: address_connects_per_s allows {max}; try again in {after_s} s"
    )]
    ConnectsTooFast {
        /// The limit.
        max: u64,
        /// The seconds after which it may connect.
        after_s: u64,
    },
    /// A message that is said to be text is not.
    #[error("the message is not valid UTF-8, and its content-type says that it is text")]
    NotText,
    /// The request has no key of the project's publishers.
    #[error("the request has no valid key of [publish]: send one as `Authorization: Bearer …`")]
    PublishKey,
    /// The publisher's key is not for this room.
    #[error("this key may not publish to {0}")]
    PublishScope(RoomId),
    /// A publication is invalid.
    #[error("this cannot be published: {0}")]
    Publication(String),
    /// The batch has more messages than the limit allows.
    #[error("the batch has more than {0} messages (publish_batch_max)")]
    BatchTooLarge(u64),
    /// The party's module takes no publications.
    #[error("the module of party {0} has no on_publish: build it with a newer room-sdk")]
    NoPublish(PartyName),
    /// The party does not keep the connections of clients between two polls.
    #[error(
        "party {0} has no `resume` in room.toml, and long polling needs it: set it, as in resume = \"2m\""
    )]
    NoResume(PartyName),
    /// The path takes POST alone.
    #[error("this path takes POST alone")]
    OnlyPost,
    /// The project does not list the origin of the page that opens the WebSocket.
    #[error("the project's origins do not list {0}")]
    Origin(String),
    /// `[auth]` does not let the client in.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The room lives on another node, and this request is not forwarded.
    #[error("the room lives on node {}: ask that node", .0.as_str())]
    Elsewhere(NodeId),
    /// Another node forwarded the request, and this node would forward it again.
    #[error(
        "node {} was sent a request for a room of node {}: all nodes of a space must be given the same names",
        .own.as_str(), .home.as_str()
    )]
    Looped {
        /// The home of the room, as this node sees it.
        home: NodeId,
        /// This node.
        own: NodeId,
    },
    /// The room is on its way from one node of the cluster to another, for longer than a request waits.
    #[error("the room moves to another node")]
    Moving,
    /// This node cannot connect to the room's home, or lost the connection.
    #[error("node {}, on which the room lives, cannot be reached", .0.as_str())]
    NodeDown(NodeId),
    /// The room's home does not answer.
    #[error("node {}, on which the room lives, did not answer in time", .0.as_str())]
    NodeSilent(NodeId),
    /// This node forwards as many requests as the limit allows.
    #[error("this node already forwards as many requests as it may (forwards_max = {0})")]
    ForwardsFull(u64),
    /// As many hooks run as the limit with this name allows.
    #[error("as many hooks run as {0} allows: try again later")]
    HooksFull(&'static str),
    /// The party or the room cannot be reached.
    #[error(transparent)]
    Room(#[from] Unreachable),
}

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientError {
    /// The status of a plain response.
    pub(super) status: StatusCode,
    /// The close frame of a WebSocket, which is accepted and then closed.
    pub(super) frame: CloseFrame,
    /// The body of a plain response.
    pub(super) text: String,
    /// The id under which the log has the details that the text omits.
    pub(super) id: Option<String>,
    /// The number of seconds after which the same request may succeed.
    pub(super) retry_after: Option<u32>,
    /// The header that says why a token is not believed: RFC 6750 section 3.
    pub(super) challenge: Option<&'static str>,
}

impl DoorError {
    /// The number of seconds that a client is asked to wait before it tries again.
    pub const RETRY_AFTER: u32 = 1;

    /// Returns the status and the close code. A 44xx code means that trying again is useless, and 1011 to 1013 mean
    /// that it may help.
    fn codes(&self) -> (u16, u16) {
        match self {
            Self::Name(_) | Self::Head(_) | Self::Handshake(_) | Self::Query { .. } => (400, 4400),
            Self::WebSocketVersion => (426, 4426),
            Self::AddressFull(_) | Self::ConnectsTooFast { .. } => (429, 1013),
            Self::Origin(_)
            | Self::PublishScope(_)
            | Self::Auth(AuthError::Forbidden(_) | AuthError::Origin) => (403, 4403),
            Self::NotText | Self::Publication(_) | Self::Auth(AuthError::Several) => (400, 4400),
            Self::Auth(error) if error.is_transient() => (503, 1013),
            Self::PublishKey | Self::Auth(_) => (401, 4401),
            Self::BatchTooLarge(_) => (413, 1009),
            Self::NoPublish(_) | Self::NoResume(_) => (501, 1011),
            Self::OnlyPost => (405, 4405),
            Self::NotFound | Self::UnknownHost | Self::Room(Unreachable::UnknownParty(_)) => {
                (404, 4404)
            }
            Self::Starting | Self::NoProject | Self::Unbuilt(_) | Self::BuffersFull => (503, 1013),
            Self::BodyMissing => (408, 4408),
            Self::BodyTooLarge(_) => (413, 1009),
            Self::UriTooLong(_) => (414, 4414),
            Self::Elsewhere(_) => (421, 4421),
            Self::Looped { .. } => (508, 4508),
            Self::NodeDown(_) | Self::Moving | Self::ForwardsFull(_) | Self::HooksFull(_) => {
                (503, 1013)
            }
            Self::NodeSilent(_) => (504, 1013),
            Self::Room(Unreachable::Room(error)) => match error {
                RoomError::Busy | RoomError::Full | RoomError::Contended | RoomError::Gone => {
                    (503, 1013)
                }
                RoomError::Draining | RoomError::Moved => (503, 1012),
                RoomError::TooFast(_) | RoomError::UserFull(_) => (429, 1008),
                RoomError::NotYours | RoomError::ReadOnly => (403, 4403),
                RoomError::Over => (410, 4410),
                RoomError::Presence(refusal) => match refusal {
                    PresenceRefusal::NotKept => (501, 1011),
                    PresenceRefusal::Forbidden | PresenceRefusal::ByRoom => (403, 4403),
                    PresenceRefusal::TooLarge { .. } => (413, 1009),
                    PresenceRefusal::Full { .. } => (503, 1013),
                    PresenceRefusal::NotFound
                    | PresenceRefusal::NotPresent
                    | PresenceRefusal::Invalid(_) => (400, 4400),
                },
                RoomError::TimedOut => (504, 1013),
                RoomError::Body(BodyFault::TooLarge) => (413, 1009),
                RoomError::Body(_) => (408, 4408),
                RoomError::Guest(_) | RoomError::Storage(_) | RoomError::Broken => (500, 1011),
            },
        }
    }

    /// Returns under which reason a refused WebSocket is counted.
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::Name(_) | Self::Head(_) | Self::Handshake(_) | Self::UriTooLong(_) => {
                Refusal::Malformed
            }
            Self::WebSocketVersion
            | Self::BodyMissing
            | Self::BodyTooLarge(_)
            | Self::Query { .. }
            // No handshake is a message or a publication.
            | Self::NotText
            | Self::PublishKey
            | Self::PublishScope(_)
            | Self::Publication(_)
            | Self::BatchTooLarge(_)
            | Self::NoPublish(_)
            | Self::NoResume(_)
            | Self::OnlyPost => Refusal::Malformed,
            Self::NotFound | Self::UnknownHost | Self::Room(Unreachable::UnknownParty(_)) => {
                Refusal::NotFound
            }
            Self::Origin(_) => Refusal::Origin,
            Self::Auth(_) => Refusal::Auth,
            Self::Starting | Self::NoProject | Self::Unbuilt(_) => Refusal::Starting,
            Self::BuffersFull
            | Self::AddressFull(_)
            | Self::ForwardsFull(_)
            | Self::HooksFull(_) => Refusal::Busy,
            Self::ConnectsTooFast { .. } => Refusal::Rate,
            Self::Elsewhere(_) | Self::Looped { .. } | Self::Moving => Refusal::Elsewhere,
            Self::NodeDown(_) | Self::NodeSilent(_) => Refusal::Elsewhere,
            Self::Room(Unreachable::Room(error)) => match error {
                RoomError::Busy => Refusal::Busy,
                RoomError::TooFast(_) => Refusal::Rate,
                RoomError::Full => Refusal::Full,
                RoomError::UserFull(_) => Refusal::UserFull,
                RoomError::Contended => Refusal::Contended,
                RoomError::Guest(_) => Refusal::Guest,
                RoomError::Storage(_) => Refusal::Storage,
                RoomError::Broken => Refusal::Broken,
                RoomError::TimedOut => Refusal::TimedOut,
                RoomError::Gone => Refusal::Gone,
                RoomError::Draining => Refusal::Draining,
                RoomError::Moved => Refusal::Elsewhere,
                // No handshake has a body.
                RoomError::Body(_)
                | RoomError::NotYours
                | RoomError::ReadOnly
                | RoomError::Presence(_)
                | RoomError::Over => Refusal::Malformed,
            },
        }
    }

    /// Returns true if the error's own text has nothing that a stranger should not read.
    fn is_public(&self) -> bool {
        let inner = matches!(
            self,
            Self::Room(Unreachable::Room(RoomError::Guest(_) | RoomError::Storage(_)))
        );
        !inner
    }

    /// Returns the error as this audience may see it. Hidden details are logged under the id that the client sees.
    pub fn show(&self, audience: Audience) -> ClientError {
        let (status, code) = self.codes();
        let mut kept_under = None;
        let text = match audience {
            Audience::Public if !self.is_public() => {
                let id = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
                tracing::warn!(id, error = %self, "a client got an internal error");
                let text = format!("the room failed; the server's log has the cause under {id}");
                kept_under = Some(id);
                text
            }
            Audience::Public | Audience::Developer => self.to_string(),
        };
        let retryable = match self {
            Self::Starting
            | Self::NoProject
            | Self::Unbuilt(_)
            | Self::BuffersFull
            | Self::AddressFull(_)
            | Self::ConnectsTooFast { .. }
            | Self::ForwardsFull(_)
            | Self::HooksFull(_)
            | Self::Moving
            | Self::NodeDown(_)
            | Self::NodeSilent(_) => true,
            Self::Room(Unreachable::Room(error)) => error.is_retryable(),
            Self::Auth(error) => error.is_transient(),
            _ => false,
        };
        ClientError {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            frame: CloseFrame::new(code, &text),
            text,
            id: kept_under,
            retry_after: retryable.then(|| self.retry_after()),
            challenge: self.challenge(),
        }
    }

    /// Returns the header `www-authenticate` of a plain response.
    fn challenge(&self) -> Option<&'static str> {
        match self {
            // A request without a token did nothing wrong.
            Self::Auth(AuthError::Missing) | Self::PublishKey => Some("Bearer"),
            Self::Auth(AuthError::Several) => Some("Bearer error=\"invalid_request\""),
            Self::Auth(AuthError::Forbidden(_)) => Some("Bearer error=\"insufficient_scope\""),
            Self::Auth(error) if !error.is_transient() && *error != AuthError::Origin => {
                Some("Bearer error=\"invalid_token\"")
            }
            _ => None,
        }
    }

    /// Returns after how many seconds a retryable request may succeed.
    fn retry_after(&self) -> u32 {
        let seconds = match self {
            Self::ConnectsTooFast { after_s, .. } => *after_s,
            Self::Room(Unreachable::Room(RoomError::TooFast(overrun))) => overrun.seconds(),
            _ => u64::from(Self::RETRY_AFTER),
        };
        u32::try_from(seconds).unwrap_or(u32::MAX).max(Self::RETRY_AFTER)
    }
}

/// Returns the status of a plain request that a hook refused with this close code. 4403 becomes 403, and so does every
/// code that does not map to an HTTP error.
pub(super) fn status_of_refusal(code: u16) -> StatusCode {
    let status = code.checked_sub(4000).filter(|status| (400..500).contains(status));
    status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::FORBIDDEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use room_core::id::PartyName;
    use room_guest::GuestFault;
    use room_rooms::room::RateOverrun;
    use room_store::StoreError;
    use std::time::Duration;

    fn room(error: RoomError) -> DoorError {
        DoorError::Room(error.into())
    }

    /// Returns one error of each kind.
    fn errors() -> Vec<DoorError> {
        vec![
            DoorError::Name(NameError::Empty("room")),
            DoorError::Query { name: "_since", problem: "an id is …".to_owned() },
            DoorError::NotFound,
            DoorError::Room(Unreachable::UnknownParty(PartyName::parse("x").unwrap())),
            DoorError::UnknownHost,
            DoorError::NoProject,
            DoorError::Starting,
            DoorError::Unbuilt("it does not compile".to_owned()),
            DoorError::Origin("https://a.example".to_owned()),
            DoorError::Auth(AuthError::Missing),
            DoorError::Auth(AuthError::Several),
            DoorError::Auth(AuthError::Expired),
            DoorError::Auth(AuthError::Forbidden("sending")),
            DoorError::Auth(AuthError::Origin),
            DoorError::Auth(AuthError::ProviderDown),
            DoorError::UriTooLong(10),
            DoorError::BodyTooLarge(10),
            DoorError::BodyMissing,
            DoorError::Head("it has two Host headers"),
            DoorError::Handshake("no key".to_owned()),
            DoorError::WebSocketVersion,
            DoorError::BuffersFull,
            DoorError::AddressFull(10),
            DoorError::ConnectsTooFast { max: 10, after_s: 3 },
            DoorError::NotText,
            DoorError::PublishKey,
            DoorError::PublishScope(RoomId::new(PartyName::parse("x").unwrap(), "y", 9).unwrap()),
            DoorError::Publication("it has no text".to_owned()),
            DoorError::BatchTooLarge(10),
            DoorError::NoPublish(PartyName::parse("x").unwrap()),
            DoorError::NoResume(PartyName::parse("x").unwrap()),
            DoorError::OnlyPost,
            DoorError::Elsewhere(NodeId::new("b")),
            DoorError::Looped { home: NodeId::new("b"), own: NodeId::new("a") },
            DoorError::Moving,
            DoorError::NodeDown(NodeId::new("b")),
            DoorError::NodeSilent(NodeId::new("b")),
            DoorError::ForwardsFull(10),
            DoorError::HooksFull("door_instances_max"),
            room(RoomError::Busy),
            room(RoomError::Full),
            room(RoomError::UserFull(10)),
            room(RoomError::Contended),
            room(RoomError::Gone),
            room(RoomError::Draining),
            room(RoomError::Moved),
            room(RoomError::TimedOut),
            room(RoomError::TooFast(RateOverrun {
                limit: "connection_messages_per_s",
                max: 10,
                after: Duration::from_millis(1_001),
            })),
            room(RoomError::NotYours),
            room(RoomError::ReadOnly),
            room(RoomError::Over),
            room(PresenceRefusal::NotKept.into()),
            room(PresenceRefusal::Forbidden.into()),
            room(PresenceRefusal::ByRoom.into()),
            room(PresenceRefusal::NotPresent.into()),
            room(PresenceRefusal::TooLarge { bytes: 11, max: 10 }.into()),
            room(PresenceRefusal::Full { limit: "presence_users_max", max: 10 }.into()),
            room(PresenceRefusal::Invalid("the data is not valid JSON".to_owned()).into()),
            room(RoomError::Body(BodyFault::TooLarge)),
            room(RoomError::Body(BodyFault::Stalled)),
            room(RoomError::Broken),
            room(RoomError::Guest(GuestFault::Rejected("secret".to_owned()))),
            room(RoomError::Storage(StoreError::Io("secret".to_owned()))),
        ]
    }

    /// Returns what a client sees of an error, as a line.
    fn line(error: &DoorError) -> String {
        let shown = error.show(Audience::Public);
        let text = shown.text.split(" under ").next().unwrap_or_default().to_owned();
        let retry = if shown.retry_after.is_some() { "retry" } else { "" };
        format!("{} {} {text} {retry}\n", shown.status.as_u16(), shown.frame.code)
    }

    #[test]
    fn every_door_error_maps_to_its_status_and_close_code() {
        let table: String = errors().iter().map(line).collect();
        expect![[r#"
            400 4400 the room name is empty 
            400 4400 _since is invalid: an id is … 
            404 4404 not found 
            404 4404 party x not found 
            404 4404 no project has this host 
            503 1013 no project is served yet retry
            503 1013 the server is starting retry
            503 1013 nothing is served yet: it does not compile retry
            403 4403 the project's origins do not list https://a.example 
            401 4401 this room needs a token, and the request has none 
            400 4400 the request has more than one token: send it in one place 
            401 4401 the token has expired 
            403 4403 the ticket does not allow sending 
            403 4403 a page of another site cannot use the cookie: list its origin in `origins` of [serve] 
            503 1013 the keys of the issuer cannot be fetched now: try again later retry
            414 4414 the URL is longer than 10 bytes 
            413 1009 the body is larger than 10 bytes 
            408 4408 the body did not arrive 
            400 4400 this is not a valid HTTP request: it has two Host headers 
            400 4400 this is not a valid WebSocket handshake: no key 
            426 4426 this server speaks version 13 of the WebSocket protocol 
            503 1013 the server's buffers are full retry
            429 1013 this address has 10 connections open, as many as it may have: close one first retry
            429 1013 this address connects too fast: address_connects_per_s allows 10; try again in 3 s retry
            400 4400 the message is not valid UTF-8, and its content-type says that it is text 
            401 4401 the request has no valid key of [publish]: send one as `Authorization: Bearer …` 
            403 4403 this key may not publish to x/y 
            400 4400 this cannot be published: it has no text 
            413 1009 the batch has more than 10 messages (publish_batch_max) 
            501 1011 the module of party x has no on_publish: build it with a newer room-sdk 
            501 1011 party x has no `resume` in room.toml, and long polling needs it: set it, as in resume = "2m" 
            405 4405 this path takes POST alone 
            421 4421 the room lives on node b: ask that node 
            508 4508 node a was sent a request for a room of node b: all nodes of a space must be given the same names 
            503 1013 the room moves to another node retry
            503 1013 node b, on which the room lives, cannot be reached retry
            504 1013 node b, on which the room lives, did not answer in time retry
            503 1013 this node already forwards as many requests as it may (forwards_max = 10) retry
            503 1013 as many hooks run as door_instances_max allows: try again later retry
            503 1013 the room is busy retry
            503 1013 the room is full 
            429 1008 this user has 10 connections to the room, as many as user_connections_max allows: close one first 
            503 1013 connections with this id replace each other too often: an id belongs to one connection 
            503 1013 the room stopped retry
            503 1012 the server is shutting down retry
            503 1012 the room moves to another node retry
            504 1013 the room did not answer in time retry
            429 1008 too fast: connection_messages_per_s allows 10; try again in 2 s retry
            403 4403 no connection has this id and this secret 
            403 4403 the client's ticket does not allow sending 
            410 4410 the connection has ended 
            501 1011 the party keeps no presence: write `presence = true` 
            403 4403 the client may not show itself: its ticket lacks `presence`, or its id is the name of a signed-in user 
            403 4403 only the room's code shows users here: room.toml has `by = "room"` in `presence` 
            400 4400 the user is not present: set its data before its flags 
            413 1009 the data has 11 bytes, and presence_data_bytes_max allows 10: show less 
            503 1013 presence_users_max allows 10, and that is used up 
            400 4400 the data is not valid JSON 
            413 1009 the request's body is larger than body_pieces_bytes_max allows 
            408 4408 the request's body did not arrive in time 
            500 1011 the room failed repeatedly and rests retry
            500 1011 the room failed; the server's log has the cause 
            500 1011 the room failed; the server's log has the cause 
        "#]]
        .assert_eq(&table);
    }

    #[test]
    fn a_developer_reads_the_guests_error_text() {
        let error = room(RoomError::Guest(GuestFault::Rejected("no such move".to_owned())));
        assert!(error.show(Audience::Developer).text.contains("no such move"));
        assert!(!error.show(Audience::Public).text.contains("no such move"));
    }

    #[test]
    fn a_refusal_of_a_plain_request_is_an_http_error() {
        assert_eq!(status_of_refusal(4401), StatusCode::UNAUTHORIZED);
        assert_eq!(status_of_refusal(4999), StatusCode::FORBIDDEN);
        assert_eq!(status_of_refusal(1000), StatusCode::FORBIDDEN);
    }
}
