//! Relations that must hold between limits. Owns the sentences about them for the operator.
//!
//! Invariant: under accepted limits, no limit allows an operation that another limit makes impossible. It does not know
//! who sets the limits.

use super::{CHUNK_BYTES_CEILING, Limits, MEMORY_BYTES_CEILING};

/// A condition, and the sentence to report if it does not hold.
type Relation = (fn(&Limits) -> bool, &'static str);

/// Each sentence starts with the limit that is most likely to be wrong.
const RELATIONS: &[Relation] = &[
    (
        |l| l.node_heartbeat_ms.saturating_mul(3) <= l.node_lease_ms,
        "node_heartbeat_ms must be at most a third of node_lease_ms, or one late heartbeat would end a node",
    ),
    (
        |l| l.shard_look_ms <= l.node_heartbeat_ms,
        "shard_look_ms must not exceed node_heartbeat_ms, or nodes would look less often while rooms move",
    ),
    // Sizes in a guest. Its memory has to hold a whole message and its own data.
    (
        |l| l.memory_bytes_max <= MEMORY_BYTES_CEILING,
        "memory_bytes_max may be at most 134217728 (128 MiB)",
    ),
    (
        |l| l.memory_bytes_max <= l.rooms_memory_bytes_max,
        "memory_bytes_max must not exceed rooms_memory_bytes_max",
    ),
    (
        |l| l.message_bytes_max < l.memory_bytes_max,
        "message_bytes_max must be less than memory_bytes_max, or no room could hold such a message",
    ),
    (
        |l| l.room_message_bytes_max < l.memory_bytes_max,
        "room_message_bytes_max must be less than memory_bytes_max, or no room could make such a message",
    ),
    (
        |l| l.response_bytes_max < l.memory_bytes_max,
        "response_bytes_max must be less than memory_bytes_max, or no room could make such a response",
    ),
    (
        |l| l.body_bytes_max.saturating_add(l.header_bytes_max) < l.memory_bytes_max,
        "body_bytes_max and header_bytes_max together must be less than memory_bytes_max, or no room could hold such a request",
    ),
    (
        |l| l.body_piece_bytes_max < l.memory_bytes_max,
        "body_piece_bytes_max must be less than memory_bytes_max, or no room could hold such a piece",
    ),
    (
        |l| l.value_bytes_max < l.memory_bytes_max,
        "value_bytes_max must be less than memory_bytes_max, or no room could hold such a value",
    ),
    (
        |l| l.list_page_bytes_max < l.memory_bytes_max,
        "list_page_bytes_max must be less than memory_bytes_max, or no room could hold such a page",
    ),
    (
        |l| l.connection_state_bytes_max < l.memory_bytes_max,
        "connection_state_bytes_max must be less than memory_bytes_max, or no room could hold such a state",
    ),
    (
        |l| l.fetch_request_bytes_max < l.memory_bytes_max,
        "fetch_request_bytes_max must be less than memory_bytes_max, or no room could make such a request",
    ),
    (
        |l| l.fetch_chunk_bytes_max < l.memory_bytes_max,
        "fetch_chunk_bytes_max must be less than memory_bytes_max, or no room could hold such a piece",
    ),
    // Who is in a room.
    (
        |l| l.presence_data_bytes_max < l.presence_room_bytes_max,
        "presence_data_bytes_max must be less than presence_room_bytes_max, or no user could show that much",
    ),
    (
        |l| l.presence_room_bytes_max < l.memory_bytes_max,
        "presence_room_bytes_max must be less than memory_bytes_max, or no room could read who is there",
    ),
    (
        |l| l.presence_every_ms_min <= l.presence_every_ms_max,
        "presence_every_ms_min must not exceed presence_every_ms_max",
    ),
    // Sizes in queues.
    (
        |l| l.message_bytes_max <= l.mailbox_bytes_max,
        "message_bytes_max must not exceed mailbox_bytes_max, or such a message could never be delivered",
    ),
    (
        |l| l.body_bytes_max.saturating_add(l.header_bytes_max) <= l.mailbox_bytes_max,
        "body_bytes_max and header_bytes_max together must not exceed mailbox_bytes_max, or such a request could never be delivered",
    ),
    (
        |l| l.body_piece_bytes_max <= l.mailbox_bytes_max,
        "body_piece_bytes_max must not exceed mailbox_bytes_max, or such a piece could never be delivered",
    ),
    (
        |l| l.message_bytes_max.max(l.body_bytes_max) <= l.buffered_bytes_max,
        "message_bytes_max and body_bytes_max must not exceed buffered_bytes_max, or the largest could never be received",
    ),
    (
        |l| l.room_message_bytes_max <= l.outbox_bytes_max,
        "room_message_bytes_max must not exceed outbox_bytes_max, or such a message could never be sent",
    ),
    (
        |l| l.room_message_bytes_max <= l.turn_send_bytes_max,
        "room_message_bytes_max must not exceed turn_send_bytes_max, or no turn could send such a message",
    ),
    (
        |l| l.auto_response_bytes_max <= l.outbox_bytes_max,
        "auto_response_bytes_max must not exceed outbox_bytes_max, or such an answer could never be sent",
    ),
    (
        |l| l.auto_response_bytes_max <= l.message_bytes_max,
        "auto_response_bytes_max must not exceed message_bytes_max, or no client could send such a request",
    ),
    // Sizes in a request's head.
    (
        |l| l.uri_bytes_max <= l.header_bytes_max,
        "uri_bytes_max must not exceed header_bytes_max, or such a path could never be requested",
    ),
    (
        |l| l.room_name_bytes_max <= l.uri_bytes_max,
        "room_name_bytes_max must not exceed uri_bytes_max, or such a room could never be requested",
    ),
    (
        |l| l.connection_id_bytes_max <= l.uri_bytes_max,
        "connection_id_bytes_max must not exceed uri_bytes_max, or no client could have such an id",
    ),
    (
        |l| l.token_bytes_max <= l.header_bytes_max,
        "token_bytes_max must not exceed header_bytes_max, or no client could send such a token",
    ),
    // Times.
    (|l| l.tick_ms <= l.turn_ms_max, "tick_ms must not exceed turn_ms_max"),
    (|l| l.turn_ms_max <= l.turn_wall_ms_max, "turn_ms_max must not exceed turn_wall_ms_max"),
    (
        |l| l.fetch_connect_ms_max <= l.fetch_ms_max,
        "fetch_connect_ms_max must not exceed fetch_ms_max",
    ),
    (|l| l.broken_ms_min <= l.broken_ms_max, "broken_ms_min must not exceed broken_ms_max"),
    // Sizes in the store.
    (
        |l| l.value_bytes_max.saturating_add(l.key_bytes_max) <= l.turn_write_bytes_max,
        "value_bytes_max and key_bytes_max together must not exceed turn_write_bytes_max, or no turn could write such a value",
    ),
    (
        |l| l.value_bytes_max.saturating_add(l.key_bytes_max) <= l.room_bytes_max,
        "value_bytes_max and key_bytes_max together must not exceed room_bytes_max, or no room could store such a value",
    ),
    (
        |l| l.turn_write_bytes_max <= l.commit_bytes_max,
        "turn_write_bytes_max must not exceed commit_bytes_max, or such a turn could never commit",
    ),
    (
        |l| l.chunk_bytes <= CHUNK_BYTES_CEILING,
        "chunk_bytes may be at most 4096: sled loses larger pieces at a power cut",
    ),
    (
        |l| l.timer_data_bytes_max.saturating_add(l.timer_tag_bytes_max) <= l.timers_bytes_max,
        "timer_data_bytes_max and timer_tag_bytes_max together must not exceed timers_bytes_max, or no room could have such a timer",
    ),
    (
        |l| l.timers_bytes_max < l.memory_bytes_max,
        "timers_bytes_max must be less than memory_bytes_max, or no room could list its timers",
    ),
    (
        |l| l.timers_bytes_max <= l.commit_bytes_max,
        "timers_bytes_max must not exceed commit_bytes_max, or such a turn could never commit",
    ),
    // Sizes in logs and taps.
    (
        |l| l.log_line_bytes_max <= l.log_ring_bytes,
        "log_line_bytes_max must not exceed log_ring_bytes, or such a line could never be watched",
    ),
    (
        |l| l.tap_excerpt_bytes <= l.tap_bytes_max,
        "tap_excerpt_bytes must not exceed tap_bytes_max, or such a message could never be watched",
    ),
];

impl Limits {
    /// Returns a sentence for the operator about every limit below its minimum and every relation that does not hold.
    pub fn problems(&self) -> Vec<String> {
        let rows = self.values().into_iter().zip(Self::TABLE);
        let small = rows.filter(|((_, value), row)| *value < row.min());
        let mut problems: Vec<String> = small
            .map(|((name, _), row)| format!("{name} must be at least {}", row.min()))
            .collect();
        let broken = RELATIONS.iter().filter(|(holds, _)| !holds(self));
        problems.extend(broken.map(|(_, sentence)| (*sentence).to_owned()));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_with_each_other() {
        assert_eq!(Limits::default().problems(), Vec::<String>::new());
    }

    /// Returns the default limits, with these values replaced.
    fn with(values: &[(&str, u64)]) -> Limits {
        let mut all = serde_json::to_value(Limits::default()).unwrap();
        for (name, value) in values {
            all[*name] = (*value).into();
        }
        serde_json::from_value(all).unwrap()
    }

    const MIB: u64 = 1 << 20;
    const ALL: u64 = u64::MAX;
    /// Limits that break one relation, and the start of its sentence.
    const CASES: &[(&[(&str, u64)], &str)] = &[
        (&[("node_heartbeat_ms", 700)], "node_heartbeat_ms must be at most"),
        (&[("shard_look_ms", 501)], "shard_look_ms must not exceed"),
        (&[("memory_bytes_max", 129 * MIB)], "memory_bytes_max may be"),
        (&[("rooms_memory_bytes_max", 63 * MIB)], "memory_bytes_max must not exceed rooms_"),
        (
            &[("message_bytes_max", 64 * MIB), ("mailbox_bytes_max", ALL)],
            "message_bytes_max must be less than memory",
        ),
        (
            &[
                ("room_message_bytes_max", 64 * MIB),
                ("outbox_bytes_max", ALL),
                ("turn_send_bytes_max", ALL),
            ],
            "room_message_bytes_max must be less than memory",
        ),
        (&[("response_bytes_max", 64 * MIB)], "response_bytes_max must be less"),
        (
            &[("body_bytes_max", 64 * MIB), ("mailbox_bytes_max", ALL)],
            "body_bytes_max and header_bytes_max together must be less than memory",
        ),
        (
            &[
                ("value_bytes_max", 64 * MIB),
                ("turn_write_bytes_max", ALL),
                ("commit_bytes_max", ALL),
            ],
            "value_bytes_max must be less than memory",
        ),
        (&[("list_page_bytes_max", 64 * MIB)], "list_page_bytes_max must be less"),
        (&[("connection_state_bytes_max", 64 * MIB)], "connection_state_bytes_max must be"),
        (&[("presence_data_bytes_max", MIB)], "presence_data_bytes_max must be less than presence"),
        (&[("presence_room_bytes_max", 64 * MIB)], "presence_room_bytes_max must be less than mem"),
        (&[("presence_every_ms_min", 20_000)], "presence_every_ms_min must not exceed"),
        (&[("message_bytes_max", 17 * MIB)], "message_bytes_max must not exceed mailbox"),
        (&[("body_piece_bytes_max", 17 * MIB)], "body_piece_bytes_max must not exceed mailbox"),
        (
            &[("body_piece_bytes_max", 64 * MIB), ("mailbox_bytes_max", ALL)],
            "body_piece_bytes_max must be less than memory",
        ),
        (
            &[("body_bytes_max", 16 * MIB)],
            "body_bytes_max and header_bytes_max together must not exceed mailbox",
        ),
        (
            &[("buffered_bytes_max", 3 * MIB)],
            "message_bytes_max and body_bytes_max must not exceed",
        ),
        (&[("fetch_request_bytes_max", 64 * MIB)], "fetch_request_bytes_max must be less"),
        (&[("fetch_chunk_bytes_max", 64 * MIB)], "fetch_chunk_bytes_max must be less"),
        (&[("fetch_connect_ms_max", 30_001)], "fetch_connect_ms_max must not exceed fetch_ms"),
        (&[("outbox_bytes_max", 31 * MIB)], "room_message_bytes_max must not exceed outbox"),
        (&[("turn_send_bytes_max", 31 * MIB)], "room_message_bytes_max must not exceed turn_"),
        (
            &[("outbox_bytes_max", 1_024), ("room_message_bytes_max", 1_024)],
            "auto_response_bytes_max must not exceed outbox",
        ),
        (&[("message_bytes_max", 1_024)], "auto_response_bytes_max must not exceed message"),
        (&[("uri_bytes_max", MIB)], "uri_bytes_max must not exceed header"),
        (&[("room_name_bytes_max", 9_000)], "room_name_bytes_max must not exceed uri"),
        (&[("connection_id_bytes_max", 9_000)], "connection_id_bytes_max must not exceed uri"),
        (&[("token_bytes_max", MIB)], "token_bytes_max must not exceed header"),
        (&[("tick_ms", 1_001)], "tick_ms must not exceed turn_ms_max"),
        (&[("turn_ms_max", 10_001)], "turn_ms_max must not exceed turn_wall_ms_max"),
        (&[("broken_ms_min", 60_001)], "broken_ms_min must not exceed broken_ms_max"),
        // A turn counts keys, too.
        (
            &[("timers_bytes_max", 64 * MIB), ("commit_bytes_max", ALL)],
            "timers_bytes_max must be less than memory",
        ),
        (
            &[("timers_bytes_max", 9 * MIB), ("commit_bytes_max", 8 * MIB)],
            "timers_bytes_max must not exceed commit",
        ),
        (
            &[("timer_data_bytes_max", 4 * MIB)],
            "timer_data_bytes_max and timer_tag_bytes_max together must not",
        ),
        (
            &[("value_bytes_max", 8 * MIB)],
            "value_bytes_max and key_bytes_max together must not exceed turn_",
        ),
        (
            &[("room_bytes_max", MIB)],
            "value_bytes_max and key_bytes_max together must not exceed room_",
        ),
        (&[("commit_bytes_max", 7 * MIB)], "turn_write_bytes_max must not exceed commit"),
        (&[("chunk_bytes", 4_097)], "chunk_bytes may be at most 4096"),
        (&[("log_line_bytes_max", 5 * MIB)], "log_line_bytes_max must not exceed log_ring"),
        (&[("tap_excerpt_bytes", 2 * MIB)], "tap_excerpt_bytes must not exceed tap_bytes"),
    ];

    #[test]
    fn each_broken_relation_is_reported_alone() {
        for (values, begins) in CASES {
            let problems = with(values).problems();
            assert_eq!(problems.len(), 1, "{begins}: {problems:?}");
            assert!(problems[0].starts_with(begins), "{begins}: {problems:?}");
        }
        for (_, sentence) in RELATIONS {
            let named = CASES.iter().filter(|(_, begins)| sentence.starts_with(begins));
            assert_eq!(named.count(), 1, "one case for: {sentence}");
        }
    }

    #[test]
    fn sums_that_overflow_are_too_large() {
        let limits = with(&[("body_bytes_max", u64::MAX), ("value_bytes_max", u64::MAX)]);
        let problems = limits.problems().join("\n");
        for name in ["body_bytes_max and", "value_bytes_max and"] {
            assert!(problems.contains(name), "{name}: {problems}");
        }
    }

    #[test]
    fn a_limit_is_at_least_one_unless_zero_means_off() {
        let limits = Limits { drain_spread_ms: 0, faults_max: 0, ..Limits::default() };
        assert_eq!(limits.problems(), ["faults_max must be at least 1"]);
    }
}
