//! The labels of metrics. Owns each label's name, and all values that it may have.
//!
//! Invariant: a label has a closed list of words, so nothing that a room, a client or another server says becomes one. It
//! does not know which metric has which label.

/// A label: a closed list of words.
pub trait LabelValues {
    /// The name of the label.
    const NAME: &'static str;
    /// The words, in the order of [`LabelValues::place`].
    const ALL: &'static [&'static str];

    /// Returns the position of its word in the list.
    fn place(self) -> usize;

    /// Returns the value with this word; `None` if it is not in the list.
    fn of_word(word: &str) -> Option<Self>
    where
        Self: Sized;
}

macro_rules! words {
    ($($(#[$doc:meta])* $words:ident $label:literal { $($value:ident $word:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum $words { $(#[doc = concat!("`", $word, "`")] $value,)* }

            impl LabelValues for $words {
                const NAME: &'static str = $label;
                const ALL: &'static [&'static str] = &[$($word,)*];

                fn place(self) -> usize {
                    self as usize
                }

                fn of_word(word: &str) -> Option<Self> {
                    match word {
                        $($word => Some(Self::$value),)*
                        _ => None,
                    }
                }
            }
        )*
    };
}

words! {
    /// The outcome of a turn.
    TurnEnd "outcome" {
        Committed "ok",
        Rejected "rejected",
        Trapped "trapped",
        OutOfTime "out_of_time",
        OutOfMemory "out_of_memory",
        OutOfStack "out_of_stack",
    }
    /// The reason why the server refused a WebSocket handshake.
    Refusal "reason" {
        Malformed "malformed",
        NotFound "not_found",
        Starting "starting",
        Elsewhere "elsewhere",
        Origin "origin",
        Hook "hook",
        Auth "auth",
        Busy "busy",
        Rate "rate",
        Full "full",
        UserFull "user_full",
        Contended "contended",
        Guest "guest",
        Storage "storage",
        Broken "broken",
        TimedOut "timed_out",
        Gone "gone",
        Draining "draining",
    }
    /// Why a client did not get a message that it may miss.
    MissedMessage "reason" {
        Volatile "volatile",
        Replaced "replaced",
    }
    /// What the answer to a long poll was.
    PollEnd "answer" {
        Welcome "welcome",
        Messages "messages",
        Empty "empty",
        Closed "closed",
        Superseded "superseded",
    }
    /// The reason why a client with `[auth]` was refused.
    AuthRefusal "reason" {
        Missing "missing",
        Several "several",
        Malformed "malformed",
        Algorithm "algorithm",
        UnknownKey "unknown_key",
        Signature "signature",
        Expired "expired",
        NotYetValid "not_yet_valid",
        Issuer "issuer",
        Audience "audience",
        Claims "claims",
        OtherRoom "other_room",
        Used "used",
        Forbidden "forbidden",
        Origin "origin",
        ProviderDown "provider_down",
        Busy "busy",
    }
    /// The fault in a connection's PROXY protocol header.
    BadPreamble "reason" {
        Malformed "malformed",
        TooLarge "too_large",
        TimedOut "timed_out",
        BrokenOff "broken_off",
    }
    /// The bound on connections that refused one.
    Crowd "reason" {
        Address "address",
        HalfOpen "half_open",
    }
    /// The limit that refused a message.
    RateBound "limit" {
        ConnectionMessages "connection_messages_per_s",
        ConnectionBytes "connection_bytes_per_s",
        RoomMessages "room_messages_per_s",
        RoomBytes "room_bytes_per_s",
    }
    /// The reason why an open response ended before its room completed it.
    StreamCut "reason" {
        Left "left",
        Slow "slow",
        Idle "idle",
        Late "late",
        Failed "failed",
    }
    /// Why a client that came back is to start afresh.
    ResumeGap "gap" {
        TooOld "too_old",
        UnknownId "unknown_id",
        UnknownConnection "unknown_connection",
    }
    /// The first digit of a response's status.
    StatusClass "status" {
        Switched "1xx",
        Success "2xx",
        Redirected "3xx",
        ClientError "4xx",
        ServerError "5xx",
    }
    /// The end of a request to another server.
    FetchEnd "outcome" {
        Success "ok",
        ClientError "4xx",
        ServerError "5xx",
        Invalid "invalid",
        HostNotAllowed "host-not-allowed",
        AddressNotAllowed "address-not-allowed",
        Unreachable "unreachable",
        Protocol "protocol",
        TimedOut "timed-out",
        TooLarge "too-large",
        TooManyRedirects "too-many-redirects",
        Busy "busy",
        ChunkFailed "chunk-failed",
        Other "other",
    }
    /// The end of a call of another room, or of a request to one.
    CallEnd "outcome" {
        Success "ok",
        ClientError "4xx",
        ServerError "5xx",
        Refused "refused",
        Failed "failed",
        Interrupted "interrupted",
        Expired "expired",
        NoOnCall "no-on-call",
        InvalidRoom "invalid-room",
        UnknownParty "unknown-party",
        OtherNode "other-node",
        Other "other",
    }
    /// What a hook found in the cache of responses.
    CacheLookup "result" {
        Hit "hit",
        Shared "shared",
        Miss "miss",
    }
}

impl FetchEnd {
    /// Returns the end with a response of this status.
    pub fn of_status(status: u16) -> Self {
        match status {
            0..=399 => Self::Success,
            400..=499 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }

    /// Returns the end with a failure of this code.
    pub fn of_code(code: &str) -> Self {
        Self::of_word(code).unwrap_or(Self::Other)
    }
}

impl CallEnd {
    /// Returns the end with a response of this status.
    pub fn of_status(status: u16) -> Self {
        match status {
            0..=399 => Self::Success,
            400..=499 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }

    /// Returns the end with a failure of this code.
    pub fn of_code(code: &str) -> Self {
        Self::of_word(code).unwrap_or(Self::Other)
    }
}
